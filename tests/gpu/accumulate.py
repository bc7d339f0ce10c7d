"""The fake subject's arithmetic as a Triton kernel: two outputs, one read and written, in one storage with gaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import triton
import triton.language as tl
from fake_kernel import LANES, ROWS, FakeSubject

from ssdprof.kernels.config import NUM_STAGES, NUM_WARPS, Config, ParamTable
from ssdprof.kernels.launch import LaunchPlan, TensorRef

FORGETS = "forgets"
"""The variant that writes `total` without reading it."""


@triton.jit
def accumulate_kernel(
    x_ptr, scaled_ptr, total_ptr, weights_ptr, rows, columns, stride,
    ROWS: tl.constexpr, LANES: tl.constexpr, FORGETS: tl.constexpr,  # noqa: N803  # as the parameters are named
):  # fmt: skip
    i_row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    m_row = i_row < rows
    b_weights = tl.load(weights_ptr + i_row * stride, mask=m_row, other=0.0)
    for first in range(0, columns, LANES):
        i_lane = first + tl.arange(0, LANES)
        m = m_row[:, None] & (i_lane < columns)[None, :]
        o = i_row[:, None] * stride + i_lane[None, :]
        b_x = tl.load(x_ptr + i_row[:, None] * columns + i_lane[None, :], mask=m, other=0.0)
        b_total = b_weights[:, None] * b_x
        if not FORGETS:
            b_total += tl.load(total_ptr + o, mask=m, other=0.0)
        tl.store(scaled_ptr + o, 2 * b_x, mask=m)
        tl.store(total_ptr + o, b_total, mask=m)


@dataclass(frozen=True, slots=True)
class Accumulate(FakeSubject):
    """The kernel on a problem. It loops over all lanes, whatever the fake subject says is wrong by construction."""

    name: ClassVar[str] = "accumulate"
    params: ClassVar[ParamTable] = ParamTable((ROWS, LANES, NUM_WARPS, NUM_STAGES), ("adds", FORGETS))

    def resolve(self, config: Config) -> Config:
        config = self.params.validated(config)
        return config.with_values({LANES.name: self.columns}) if config[LANES.name] is None else config

    def source_hashes(self) -> Mapping[str, str]:
        return dict.fromkeys(self.params.variants, "acc0" * 4)

    def launch(self, config: Config) -> LaunchPlan:
        tensors = self.tensors()
        return LaunchPlan(
            module=__name__,
            function="accumulate_kernel",
            grid=(-(-self.rows // config.number(ROWS.name)),),
            args={
                **{f"{name}_ptr": TensorRef(name, meta.dtype) for name, meta in tensors.items()},
                "rows": self.rows,
                "columns": self.columns,
                "stride": tensors["scaled"].stride[0],
                "ROWS": config[ROWS.name],
                "LANES": config[LANES.name],
                "FORGETS": config.variant == FORGETS,
            },
            options={name: config[name] for name in (NUM_WARPS.name, NUM_STAGES.name)},
        )
