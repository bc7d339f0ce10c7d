"""What a launch executes: the instructions of each block of the machine code, times how often it is executed."""

from __future__ import annotations

from ssdprof.profiling.binary.sass.classes import LANES, class_of, tensor_op, thread_bytes
from ssdprof.profiling.binary.sass.flow import flow_of
from ssdprof.profiling.binary.sass.match import matched
from ssdprof.profiling.binary.sass.often import executions
from ssdprof.profiling.binary.sass.source import Source
from ssdprof.profiling.binary.sass.text import Code, Instruction
from ssdprof.profiling.binary.sass.wavefronts import wavefronts
from ssdprof.profiling.runs.work import CLASSES, Executed

Counted = list[tuple[Instruction, float]]
_LOADS = frozenset({"LDS", "LDSM"})
_STORES = frozenset({"STS", "STSM"})
_COPIES = frozenset({"LDGSTS"})
_LOCAL, _LOCAL_STORES = frozenset({"LDL", "STL"}), frozenset({"STL"})
_SPECIALISED = "USETMAXREG"
"""With it, warps that do different work take registers from each other (PTX ISA, setmaxnreg)."""


def executed(code: Code, source: Source, warps: int, programs: int) -> Executed:
    """What `programs` programs of `warps` warps each execute, by the trips of the loops of `source`."""
    flow = flow_of(code)
    matching = matched(flow, source, warps)
    often, guessed = executions(flow, matching, warps)
    counted = [
        (instruction, times * warps * programs)
        for block, times in often.items()
        if times
        for instruction in flow.instructions(block)
    ]
    assumed = [*matching.assumed, *guessed]
    if any(one.opcode == _SPECIALISED for one, _ in counted):
        assumed.append("warps are specialised: counted as if all did the same")
    by_class = dict.fromkeys(CLASSES, 0.0)
    for instruction, times in counted:
        by_class[class_of(instruction)] += times
    flops, operand_bytes = _tensor(counted)
    if any(class_of(one) == "tensor" and tensor_op(one) is None for one, _ in counted):
        flops = _from_source(source, programs)
        assumed.append("tensor operations are those of the source: the instructions do not say their shape")
    return Executed(
        warp_instructions=sum(by_class.values()),
        by_class=tuple(by_class.items()),
        tensor_flops=tuple(sorted(flops.items())),
        exponentials=_results(counted, "EX2"),
        special_functions=_results(counted),
        shared_load_bytes=_bytes(counted, _LOADS),
        shared_store_bytes=_bytes(counted, _STORES),
        shared_copy_bytes=_bytes(counted, _COPIES),
        shared_operand_bytes=operand_bytes,
        local_bytes=_bytes(counted, _LOCAL),
        l1_wavefronts=sum(wavefronts(one) * times for one, times in counted),
        assumed=tuple(assumed),
        local_store_bytes=_bytes(counted, _LOCAL_STORES),
    )


def _tensor(counted: Counted) -> tuple[dict[str, float], float]:
    """Operations of tensor instructions by dtype, and the bytes of operands that they take from shared memory."""
    flops: dict[str, float] = {}
    operand_bytes = 0.0
    for instruction, times in counted:
        op = tensor_op(instruction) if class_of(instruction) == "tensor" else None
        if op:
            flops[op.dtype] = flops.get(op.dtype, 0.0) + op.flops * times
            operand_bytes += op.shared_operand_bytes * times
    return flops, operand_bytes


def _results(counted: Counted, function: str = "") -> float:
    """Results of special functions, or of one of them, of all threads."""
    special = ((one, times) for one, times in counted if class_of(one) == "special")
    return LANES * sum(times for one, times in special if not function or function in one.modifiers)


def _bytes(counted: Counted, opcodes: frozenset[str]) -> float:
    """Bytes that all threads of the warps move by some instructions."""
    return LANES * sum(thread_bytes(one) * times for one, times in counted if one.opcode in opcodes)


def _from_source(source: Source, programs: int) -> dict[str, float]:
    """Operations by dtype of the products that the source has, of those that tensor instructions do."""
    flops: dict[str, float] = {}
    for number, dots in source.dots.items():
        trips = 1.0 if number is None else source.loops[number].mean_trips
        for (m, n, k, dtype), _ in dots:
            if dtype != "float32":
                flops[dtype] = flops.get(dtype, 0.0) + 2.0 * m * n * k * trips * programs
    return flops
