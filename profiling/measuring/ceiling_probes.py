"""The launches that measure a GPU's ceilings, as plans: which kernel keeps which unit busy, and what one turn moves.

No torch and no Triton here: a plan can be compiled in any process, before the one with the GPU launches it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from ssdprof.kernels.launch import DTYPE_BYTES, LaunchPlan, TensorMeta, TensorRef, capability

Unit = Literal["l2", "shared", "tensor", "issue", "exp"]
FIRST_ARCH = "sm_80"
"""Before it, Triton does not compile all of these kernels."""
L2_SHARE = 4
"""The buffer that measures the L2 is its size over this."""
L2_UNROLL = 4
"""Blocks that `l2_read` reads in one turn of its loop."""
SHARED_LOADS = 8
"""Loads of 16 bytes per thread in one turn of `shared`."""
ISSUED_PAIRS = 128
"""Pairs of an FFMA and a LOP3 in one turn of `issued`."""
LOOP_INSTRUCTIONS = 3
"""What a turn issues besides: a subtraction, a comparison and a branch."""
EXPONENTIALS = 64
"""MUFU.EX2 in one turn of `exponentials`."""
SHARED_STEP_BYTES = 512
DOTS = 4
TILE_BYTES = 128
"""Depth of a tile in bytes: one row of the swizzled shared memory that wgmma reads."""
TENSOR_DTYPES: Mapping[str, str] = MappingProxyType(
    {"bfloat16": "bfloat16", "float16": "float16", "tf32": "float32", "float8": "float8_e4m3fn", "int8": "int8"}
)
"""The tensor cores' dtypes by the names that the ceilings give them, and torch's dtype of the operands."""
_KERNELS = "ssdprof.profiling.measuring.ceiling_kernels"
_FIRST_WITH_FLOAT8 = 89


@dataclass(frozen=True, slots=True)
class Probe:
    """One launch that keeps a unit busy, on `blocks_per_sm` blocks per SM.

    `work`: what one block does in one turn: bytes for `l2` and `shared`, operations for `tensor` of `dtype`, warp
    instructions for `issue`, results for `exp`.
    """

    unit: Unit
    dtype: str
    plan: LaunchPlan
    tensors: Mapping[str, TensorMeta]
    blocks_per_sm: int
    work: int

    def with_turns(self, turns: int) -> LaunchPlan:
        """The launch with so many turns of its loop."""
        return replace(self.plan, args={**self.plan.args, "turns": turns})


def probes(arch: str, num_sms: int = 1, l2_bytes: int = 1 << 22) -> dict[str, Probe]:
    """By name, the launches that measure a GPU of this architecture; several of one unit, the best of which counts.

    The binaries do not depend on `num_sms` and `l2_bytes`. Empty before FIRST_ARCH.
    """
    if capability(arch) < capability(FIRST_ARCH):
        return {}
    found = {"issue": _plain("issue", "issued", num_sms, 16 * (2 * ISSUED_PAIRS + LOOP_INSTRUCTIONS), value=3)}
    found["exp"] = _plain("exp", "exponentials", num_sms, 512 * EXPONENTIALS)
    found["shared"] = _plain("shared", "shared", num_sms, 512 * SHARED_LOADS * 16, step=SHARED_STEP_BYTES)
    for num_warps, blocks_per_sm in ((8, 4), (8, 8)):
        found[f"l2 {blocks_per_sm}"] = _l2(num_sms, l2_bytes, num_warps, blocks_per_sm)
    for dtype in TENSOR_DTYPES:
        if dtype != "float8" or capability(arch) >= _FIRST_WITH_FLOAT8:
            for rows, columns, blocks_per_sm in _tiles(arch):
                found[f"tensor {dtype} {rows}x{columns}"] = _tensor(dtype, num_sms, rows, columns, blocks_per_sm)
    return found


def _tiles(arch: str) -> tuple[tuple[int, int, int], ...]:
    """(rows, columns, blocks per SM): 128 × 256 is the largest tile whose sums fit the registers of 8 warps.

    Only wgmma and tcgen05 read their operands from shared memory; mma.sync holds them in registers too.
    """
    large = ((128, 256, 1),) if 90 <= capability(arch) < 120 else ()
    return (*large, (128, 128, 2))


def _plain(unit: Unit, function: str, num_sms: int, work: int, **values: int) -> Probe:
    """A kernel without inputs, of 16 warps in each of two blocks per SM."""
    threads, grid = 512, 2 * num_sms
    args = {"out_ptr": TensorRef("out", "int32"), "turns": 1, **values, "threads": threads}
    out = TensorMeta((grid * threads,), "int32", "out")
    return Probe(unit, "", _launch(function, grid, args, threads // 32), {"out": out}, 2, work)


def _l2(num_sms: int, l2_bytes: int, num_warps: int, blocks_per_sm: int) -> Probe:
    block, grid = 4 * 32 * num_warps, blocks_per_sm * num_sms
    span = max(1, l2_bytes // L2_SHARE // (4 * block * grid))
    args = {
        "source_ptr": TensorRef("source", "int32"),
        "out_ptr": TensorRef("out", "int32"),
        "turns": 1,
        "span": span,
        "unroll": L2_UNROLL,
        "block": block,
    }
    tensors = {
        "source": TensorMeta((grid * span * block,), "int32"),
        "out": TensorMeta((grid * block,), "int32", "out"),
    }
    work = 4 * block * L2_UNROLL
    return Probe("l2", "", _launch("l2_read", grid, args, num_warps), tensors, blocks_per_sm, work)


def _tensor(dtype: str, num_sms: int, rows: int, columns: int, blocks_per_sm: int) -> Probe:
    operand, whole, grid = TENSOR_DTYPES[dtype], dtype == "int8", blocks_per_sm * num_sms
    depth, sums = TILE_BYTES // DTYPE_BYTES[operand], "int32" if whole else "float32"
    args = {
        "a_ptr": TensorRef("a", operand),
        "b_ptr": TensorRef("b", operand),
        "out_ptr": TensorRef("out", sums),
        "turns": 1,
        "rows": rows,
        "columns": columns,
        "depth": depth,
        "dots": DOTS,
        "whole": whole,
    }
    tensors = {
        "a": TensorMeta((rows, depth), operand),
        "b": TensorMeta((columns, depth), operand),
        "out": TensorMeta((grid * rows,), sums, "out"),
    }
    work = 2 * rows * columns * depth * DOTS
    return Probe("tensor", dtype, _launch("tensor", grid, args, 8), tensors, blocks_per_sm, work)


def _launch(function: str, grid: int, args: Mapping[str, Any], num_warps: int) -> LaunchPlan:
    return LaunchPlan(_KERNELS, function, (grid,), args, {"num_warps": num_warps})
