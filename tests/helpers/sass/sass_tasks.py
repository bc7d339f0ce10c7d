"""What `test_sass_executed` has done by a worker process, which imports this module by its bare name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling.binary.compiler import compiled_kernel
from ssdprof.profiling.binary.sass.executed import executed
from ssdprof.profiling.binary.sass.source import source_of
from ssdprof.profiling.binary.sass.text import Code, DisassemblyError, disassembled
from ssdprof.profiling.binary.sass.together import disassembled_together
from ssdprof.profiling.runs.work import Dot, Executed, SourceLoop

Spread = tuple[tuple[int, float], ...]
"""(trips each time, share of the times)."""
Kernels = list[tuple[str, dict[str, str], dict[str, int]]]
"""Names of `loop_kernels`, signatures and constants."""
Plain = list[Any] | str


def scan_executed(plan: LaunchPlan, over_tokens: Spread, over_state: Spread, heads: int) -> tuple[Executed, float]:
    """What a program of a chunk scan executes for sm_90, and the operations that its products need.

    `over_tokens`: the tiles of a chunk's tokens that a program goes through. A grouped one, which has `heads`, has a
    loop over these for each number of tiles, and before it as many products as in it.
    """
    kernel, _ = compiled_kernel(plan, "sm_90")
    source = source_of(kernel.asm["ttir"])
    outside = [_flops(dot) for dot, _ in source.dots[None]]
    if heads:
        shares = [sum(share for tiles, share in over_tokens if tiles == len(loop.dots) - 1) for loop in source.loops]
        loops = tuple(
            replace(loop, mean_trips=heads * share, entries=share)
            for loop, share in zip(source.loops, shares, strict=True)
        )
        each = (share for loop, share in zip(source.loops, shares, strict=True) for _ in loop.dots)
        needed = sum(flops * share for flops, share in zip(outside, each, strict=True))
    else:
        wanted = (over_state, over_tokens)[-len(source.loops) :]
        loops = tuple(_with(loop, spread) for loop, spread in zip(source.loops, wanted, strict=True))
        needed = sum(outside)
    needed += sum(loop.mean_trips * sum(map(_flops, loop.dots)) for loop in loops)
    return _executed(kernel, loops), needed


def _executed(kernel: Any, loops: tuple[SourceLoop, ...]) -> Executed:
    """What one program executes, with the trips of these loops."""
    metadata = kernel.metadata
    code = disassembled(kernel.asm["cubin"], metadata.name)
    source = source_of(kernel.asm["ttir"]).with_trips(loops)
    return executed(code, source, metadata.num_warps * metadata.num_ctas, 1)


def _with(loop: SourceLoop, spread: Spread) -> SourceLoop:
    return replace(loop, mean_trips=sum(trips * share for trips, share in spread), spread=spread)


def _flops(dot: Dot) -> float:
    return 2.0 * dot[0] * dot[1] * dot[2]


def kernel_of(name: str, signature: dict[str, str], constants: dict[str, int], trips: tuple[float, ...]) -> Executed:
    """What a program of one of `loop_kernels` executes for sm_90 with four warps, by the trips of its loops."""
    kernel = _compiled(name, signature, constants)
    loops = source_of(kernel.asm["ttir"]).loops
    return _executed(kernel, tuple(replace(loop, mean_trips=count) for loop, count in zip(loops, trips, strict=True)))


def _compiled(name: str, signature: dict[str, str], constants: dict[str, int], capability: int = 90) -> Any:
    import loop_kernels
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    function: Any = getattr(loop_kernels, name)
    names = function.arg_names
    types = {one: signature.get(one, "constexpr") for one in names}
    attributes = {(i,): [["tt.divisibility", 16]] for i, one in enumerate(names) if one in signature}
    values = {(names.index(one),): value for one, value in constants.items()}
    source = ASTSource(function, signature=types, constexprs=values, attrs=attributes)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 4})


def disassembled_both_ways(kernels: Kernels, capability: int) -> tuple[list[Plain], list[Plain], int]:
    """The code of these kernels, from one disassembly and from one of each; how many runs of
    nvdisasm the first took. A kernel without a name is no cubin.
    """
    from unittest.mock import patch

    from ssdprof.profiling.binary.sass import text, together

    cubins = []
    for name, signature, constants in kernels:
        kernel = _compiled(name, signature, constants, capability) if name else None
        cubins.append((kernel.asm["cubin"], kernel.metadata.name) if kernel else (b"no cubin", "none"))
    with patch.object(text, "listing", wraps=text.listing) as runs, patch.object(together, "listing", runs):
        at_once = list(map(plain, disassembled_together(cubins)))
    return at_once, [plain(together._alone(*one)) for one in cubins], runs.call_count


def plain(code: Code | DisassemblyError) -> Plain:
    """Instructions with the number of the instruction for each label, whose names nvdisasm counts; or what failed."""
    if isinstance(code, DisassemblyError):
        return str(code).partition(":")[0]
    return [
        (replace(one, operands=_without_labels(one.operands, code), target=""), code.labels.get(one.target))
        for one in code.instructions
    ]


def _without_labels(operands: str, code: Code) -> str:
    for label in sorted(code.labels, key=len, reverse=True):
        operands = operands.replace(f"({label})", f"({code.labels[label]})")
    return operands
