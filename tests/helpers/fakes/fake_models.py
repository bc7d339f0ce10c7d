"""What a config of the chunk scan moves and executes on an H100, made up around those of the published one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ssdprof.kernels.launch import LaunchPlan, TensorMeta
from ssdprof.profiling.hardware.ceilings import Size
from ssdprof.profiling.runs.modelled import Model
from ssdprof.profiling.runs.traffic import TensorTraffic, Traffic
from ssdprof.profiling.runs.work import Executed

TENSORS = (
    TensorTraffic("states", 819_200_000, 1_640_000_000, 1_640_000_000, 820_800_000, again_after=4),
    TensorTraffic("x", 819_200_000, 1_640_000_000, 823_000_000, 3_800_000, again_after=2),
    TensorTraffic("out", 819_200_000, 819_200_000, 819_200_000, 0),
    TensorTraffic("c", 102_400_000, 3_280_000_000, 1_230_000_000, 1_127_600_000, again_after=1564),
    TensorTraffic("cb", 102_400_000, 1_690_000_000, 1_210_000_000, 1_107_600_000, again_after=1564),
    TensorTraffic("dt", 12_800_000, 51_200_000, 12_800_000, 0),
    TensorTraffic("da_cumsum", 25_600_000, 102_400_000, 25_600_000, 0),
    TensorTraffic("d", 512, 25_600_000, 512, 0),
    TensorTraffic("seq_idx", 256, 256, 256, 0),
)
TRAFFIC = Traffic(
    least_bytes=2_700_000_000,
    l2_to_sm_read_bytes=8_429_200_256,
    l2_to_sm_write_bytes=819_200_000,
    dram_read_bytes=4_941_600_768,
    dram_write_bytes=819_200_000,
    tensors=TENSORS,
    programs=100_096,
    masked_pct=0.1,
)
EXECUTED = Executed(
    warp_instructions=1.1e9,
    by_class=(("tensor", 8.0e7), ("special", 2.5e7), ("integer", 3.1e8), ("shared", 2.2e8)),
    tensor_flops=(("bfloat16", 3.3e11),),
    exponentials=4.4e8,
    special_functions=4.4e8,
    shared_load_bytes=1.1e10,
    shared_store_bytes=2.0e9,
    shared_copy_bytes=8.4e9,
    shared_operand_bytes=0.0,
    local_bytes=0.0,
    l1_wavefronts=2.4e8,
    assumed=("the rounds of a loop",),
)
AXES = (("tile", 2), ("chunk", 391), ("head", 128))
MODEL = Model("H100 SXM", TRAFFIC, EXECUTED, axes=AXES)


def launch_models(plans: Sequence[LaunchPlan], *shared: Any) -> list[Model]:
    """Of several launches."""
    return [launch_model(plan, *shared) for plan in plans]


def launch_model(
    plan: LaunchPlan, tensors: Mapping[str, TensorMeta], arch: str, size: Size, peeked: object = None
) -> Model:
    """What a worker makes of a launch of the fake subject: nothing of `narrow`, and of `nan` not in time."""
    assert {"x", "scaled", "total", "weights"} == set(tensors)
    assert peeked is None, "nobody knows what its tensors hold"
    if plan.function == "narrow":
        raise RuntimeError("no TTIR")
    if plan.function.startswith("nan"):
        time.sleep(600.0)
    return Model(f"{size.gpu} of {arch}", replace(TRAFFIC, programs=plan.grid_blocks), None)
