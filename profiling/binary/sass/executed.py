"""What a launch executes: the instructions of each block of the machine code, times how often it is executed."""

from __future__ import annotations

from collections import Counter

from ssdprof.profiling.binary.sass.classes import class_of, tensor_op, thread_bytes
from ssdprof.profiling.binary.sass.flow import Flow, flow_of
from ssdprof.profiling.binary.sass.match import LANES, matched
from ssdprof.profiling.binary.sass.often import executions
from ssdprof.profiling.binary.sass.source import Source
from ssdprof.profiling.binary.sass.text import Code, Instruction
from ssdprof.profiling.runs.work import CLASSES, Executed

_LOADS = frozenset({"LDS", "LDSM"})
_STORES = frozenset({"STS", "STSM"})
_LOCAL = frozenset({"LDL", "STL"})


def executed(code: Code, source: Source, num_warps: int, grid_blocks: int) -> Executed:
    """What `grid_blocks` blocks of `num_warps` warps execute, by the trips of the loops of `source`."""
    flow = flow_of(code)
    matching = matched(flow, source, num_warps)
    often, assumed = executions(flow, matching, num_warps)
    warps = float(num_warps * grid_blocks)
    counts: Counter[Instruction] = Counter()
    for block, times in often.items():
        for instruction in flow.instructions(block):
            counts[instruction] += times * warps  # type: ignore[assignment]  # a mean is no whole number
    return _summed(flow, counts, source, grid_blocks, (*matching.assumed, *assumed))


def _summed(
    flow: Flow, counts: Counter[Instruction], source: Source, grid_blocks: int, assumed: tuple[str, ...]
) -> Executed:
    by_class = dict.fromkeys(CLASSES, 0.0)
    flops: dict[str, float] = {}
    operand_bytes = 0.0
    unnamed = False
    for instruction, times in counts.items():
        kind = class_of(instruction)
        by_class[kind] += times
        if kind == "tensor":
            op = tensor_op(instruction)
            unnamed |= op is None
            if op:
                flops[op.dtype] = flops.get(op.dtype, 0.0) + op.flops * times
                operand_bytes += op.shared_operand_bytes * times
    if unnamed:
        flops = _from_source(source, grid_blocks)
        assumed = (*assumed, "tensor operations are those of the source: the instructions do not say their shape")
    return Executed(
        warp_instructions=sum(by_class.values()),
        by_class=tuple(by_class.items()),
        tensor_flops=tuple(sorted(flops.items())),
        exponentials=_results(counts, "EX2"),
        special_functions=_results(counts),
        shared_load_bytes=_bytes(counts, _LOADS),
        shared_store_bytes=_bytes(counts, _STORES),
        shared_copy_bytes=_bytes(counts, frozenset({"LDGSTS"})),
        shared_operand_bytes=operand_bytes,
        local_bytes=_bytes(counts, _LOCAL),
        assumed=assumed,
    )


def _results(counts: Counter[Instruction], function: str = "") -> float:
    return LANES * sum(
        times
        for one, times in counts.items()
        if one.opcode == "MUFU" and (not function or function in one.modifiers)
    )


def _bytes(counts: Counter[Instruction], opcodes: frozenset[str]) -> float:
    return LANES * sum(thread_bytes(one) * times for one, times in counts.items() if one.opcode in opcodes)


def _from_source(source: Source, grid_blocks: int) -> dict[str, float]:
    """Operations of the products that the source has, of those that tensor instructions do."""
    flops: dict[str, float] = {}
    for number, dots in source.dots.items():
        trips = 1.0 if number is None else source.loops[number].mean_trips
        for (m, n, k, dtype), _ in dots:
            if dtype != "float32":
                flops[dtype] = flops.get(dtype, 0.0) + 2.0 * m * n * k * trips * grid_blocks
    return flops
