"""Which values of a kernel its addresses, masks, loops and branches depend on: all that has to be computed."""

from __future__ import annotations

from functools import lru_cache

from ssdprof.profiling.traffic.access import ADDRESSED, STORING, mask_operand
from ssdprof.profiling.traffic.ttir import Operation, Program


@lru_cache(maxsize=1)  # a launch is followed several times
def needed(program: Program) -> frozenset[str]:
    """The names of these values, in all functions."""
    made: dict[str, list[str]] = {}
    wanted: list[str] = []
    for function in program.functions.values():
        for operation in function.operations():
            _follow(operation, made, wanted)
            if operation.name == "tt.call" and operation.callee in program.functions:
                called = program.functions[operation.callee]
                back = [one.operands for one in called.operations() if one.name == "tt.return"]
                for i, result in enumerate(operation.results):
                    made.setdefault(result, []).extend(one[i] for one in back if i < len(one))
                for (name, _), given in zip(called.arguments, operation.operands, strict=False):
                    made.setdefault(name, []).append(given)
    found: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            wanted += made.get(name, [])
    return frozenset(found)


def _follow(operation: Operation, made: dict[str, list[str]], wanted: list[str]) -> None:
    """Adds what the results of an operation depend on, and what it needs whatever becomes of them."""
    name = operation.name
    if name in ADDRESSED:
        mask = mask_operand(operation)
        if name.startswith("tt.descriptor"):
            wanted += operation.operands[: len(operation.operands) - (name in STORING)]
        else:
            wanted += [operation.operands[0], *([mask] if mask else [])]
            for result in operation.results:  # what a load gives where its mask does not hold
                made.setdefault(result, []).extend(operation.operands[2:3])
    elif name in ("scf.for", "scf.if", "scf.while"):
        _follow_regions(operation, made, wanted)
    elif name in ("cf.br", "cf.cond_br"):
        wanted += operation.operands
        wanted += [one for _, given in operation.successors for one in given]
    else:
        for result in operation.results:
            made.setdefault(result, []).extend(operation.operands)


def _follow_regions(operation: Operation, made: dict[str, list[str]], wanted: list[str]) -> None:
    wanted += operation.operands
    yields = [block.operations[-1].operands for region in operation.regions for block in region if block.operations]
    for i, (argument, first) in enumerate(operation.pairs):
        ends = [one[i] for one in yields[-1:] if i < len(one)]
        made.setdefault(argument, []).extend([first, *ends])
    if operation.name == "scf.while":
        condition = yields[0]
        wanted.append(condition[0])
        for i, argument in enumerate(operation.regions[1][0].arguments):
            made.setdefault(argument, []).append(condition[i + 1])
        for i, result in enumerate(operation.results):
            made.setdefault(result, []).append(condition[i + 1])
        return
    for i, result in enumerate(operation.results):
        made.setdefault(result, []).extend(one[i] for one in yields if i < len(one))
        if operation.name == "scf.for":
            made[result].append(operation.pairs[i][1])
