"""Which values are alive at each point of a function, between one operation and the next."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from ssdprof.profiling.binary.registers.ir import Block, Op, Value

Alive = frozenset[Value]
_FUNCTIONS = ("tt.reduce", "tt.scan", "tt.map_elementwise")
"""Their regions work on single elements."""
SPECIALISED = "ttg.warp_specialize.partitions"


@dataclass(frozen=True, slots=True)
class Point:
    """Right after `op`, or before the first operation of a block if `op` is that of the region around it.

    `partition`: which of the specialised warps come here, counted from 0; None for the warps of the function itself.
    """

    op: Op
    alive: Alive
    partition: int | None


def points(function: Op) -> Iterator[Point]:
    """Every point. What a loop takes from outside is alive all through it, and at its end what it hands on.

    A function of several blocks is taken to go through them in order.
    """
    alive: Alive = frozenset()
    for block in reversed(function.regions[0]):
        alive = yield from _before(function, block, alive, None)


def _before(around: Op, block: Block, alive: Alive, partition: int | None) -> Generator[Point, None, Alive]:
    """The points of a block from its end on, with what is alive there; returns what is alive before it."""
    for op in reversed(block.ops):
        yield Point(op, alive, partition)
        through = alive - frozenset(op.results)
        if op.name == "scf.if":
            after = through
            for region in op.regions:
                for inner in region:
                    through |= yield from _before(op, inner, after, partition)
        elif op.name == SPECIALISED:
            for number, region in enumerate(op.regions):
                for inner in region:
                    yield from _before(op, inner, frozenset(), number)
        elif op.regions and op.name not in _FUNCTIONS:
            through |= _taken(op)
            bounds = op.operands[1:3] if op.name == "scf.for" else ()
            for region in op.regions:
                for inner in region:
                    yield from _before(op, inner, through.union(bounds), partition)
        alive = through | frozenset(op.operands)
    yield Point(around, alive, partition)
    return alive - frozenset(block.arguments)


def _taken(op: Op) -> Alive:
    """What the regions of an operation take from outside."""
    taken: set[Value] = set()
    made: set[Value] = set()
    for region in op.regions:
        for block in region:
            made.update(block.arguments)
    for inner in op.inner():
        taken.update(inner.operands)
        made.update(inner.results)
        for region in inner.regions:
            for block in region:
                made.update(block.arguments)
    return frozenset(taken - made)
