"""The values that hold a compiled kernel's registers where it holds the most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import get_args

from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling.binary.compiler import compiled_kernel
from ssdprof.profiling.binary.cubin import CubinResources, read_cubin
from ssdprof.profiling.binary.registers.alive import SPECIALISED, Alive, Point, points
from ssdprof.profiling.binary.registers.elements import ACCESSES, ARRANGED, Elements
from ssdprof.profiling.binary.registers.ir import Op, Value, read, source
from ssdprof.profiling.binary.registers.sizes import registers
from ssdprof.profiling.binary.ttgir import Module
from ssdprof.profiling.runs.registers import HeldInRegisters, Order, RegisterKind, Registers

_REGISTER_BYTES = 4
_PRODUCTS = ("tt.dot", "tt.dot_scaled", "ttng.warp_group_dot")
_LOADS = ("tt.load", "ttg.local_load", "tt.descriptor_load", "tt.descriptor_gather", "ttng.tmem_load", "tt.gather")
_CHAINED = (*ARRANGED, "tt.addptr", "tt.fp_to_fp", "tt.splat")
"""What a chain of operations on single elements has besides arithmetic."""
_ENDS = (*ACCESSES, "ttg.local_store", "ttg.local_alloc", "ttg.convert_layout")
"""What it may end in."""


def launch_registers(plan: LaunchPlan, arch: str) -> Registers:
    """The registers of a launch, compiled for `arch` or found in Triton's cache.

    Raises what `compile_launch` raises, and what `kernel_registers` does.
    """
    kernel, _ = compiled_kernel(plan, arch)
    resources = read_cubin(kernel.asm["cubin"], kernel.metadata.name)
    file = plan.callee().fn.__code__.co_filename
    return kernel_registers(kernel.asm["ttgir"], kernel.metadata.name, resources, file)


def kernel_registers(ttgir: str, kernel: str, resources: CubinResources, file: str = "") -> Registers:
    """The registers of `kernel`, of which Triton kept this IR, and ptxas has these `resources`.

    Raises ValueError if the IR has no such function, RuntimeError if Triton cannot read it.

    `file`: where its source is now; Triton's cache has the path of the file with the same text that was compiled first.
    """
    function = read(ttgir, kernel)
    kept, spilled = resources.registers_per_thread, -(-resources.local_bytes // _REGISTER_BYTES)
    fullest = _fullest(function, kept + spilled)
    _, at_file, line = source(_location(fullest.point.op))
    compiled_file = Module(ttgir).file if file else ""
    rows = [replace(row, file=file) if row.file and row.file == compiled_file else row for row in fullest.rows]
    return Registers(
        tuple(rows), kept, spilled, fullest.point.op.name.rpartition(".")[2],
        file if at_file and at_file == compiled_file else at_file, line, fullest.order, _partitions(function),
        fullest.point.partition,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Fullest:
    point: Point
    rows: tuple[HeldInRegisters, ...]
    order: Order


def _fullest(function: Op, limit: int) -> _Fullest:
    """The point with the most, in the first order that needs no more than `limit`; else in the last, with the least."""
    elements = Elements(function)
    found = list(points(function))
    for order in get_args(Order):
        if order == "chained":
            chains = _Chains(function, elements)
            found = [replace(point, alive=chains.of(point.alive)) for point in found]
        is_sliced = order != "whole"
        most, bits = _most(found, elements, is_sliced=is_sliced)
        if registers(bits) <= limit:
            break
    return _Fullest(most, tuple(_rows(function, most.alive, elements, is_sliced=is_sliced)), order)


def _most(found: Iterable[Point], elements: Elements, *, is_sliced: bool) -> tuple[Point, float]:
    """The point with the most bits of a thread, the first in the program of several."""
    most: tuple[Point, float] | None = None
    for point in found:  # from the end on
        numbers = frozenset[int]().union(*(elements.numbers(value) for value in point.alive))
        bits = elements.bits(numbers, is_sliced=is_sliced)
        if most is None or bits >= most[1]:
            most = point, bits
    assert most is not None  # there is a point before the first operation
    return most


class _Chains:
    """What is alive if the results of operations on single elements are made only as their one user takes them.

    A value that only the next operation of a chain takes stands for what it is made of, if that takes no more.
    """

    def __init__(self, function: Op, elements: Elements) -> None:
        self._elements = elements
        self._sources: dict[Value, Alive] = {}
        for op in function.inner():  # what an operation takes is made before it
            if _is_chained(op):
                self._sources.update((value, self._made(op, value)) for value in op.results)

    def of(self, alive: Alive) -> Alive:
        """What these values stand for."""
        return frozenset[Value]().union(*(self._sources.get(value, (value,)) for value in alive))

    def _made(self, op: Op, value: Value) -> Alive:
        users = self._elements.users(value)
        if len(users) == 1 and value.is_tensor and (_is_chained(users[0]) or users[0].name in _ENDS):
            before = self.of(frozenset(op.operands))
            if self._bits(before) <= self._bits([value]):
                return before
        return frozenset([value])

    def _bits(self, values: Iterable[Value]) -> float:
        numbers = frozenset[int]().union(*(self._elements.numbers(one) for one in values))
        return self._elements.bits(numbers, is_sliced=True)


def _is_chained(op: Op) -> bool:
    return op.name.startswith(("arith.", "math.")) or op.name in _CHAINED


def _rows(function: Op, alive: Alive, elements: Elements, *, is_sliced: bool) -> list[HeldInRegisters]:
    """A row for each value, alike ones together, the largest first; what two values share is the first one's."""
    origins, order = _origins(function), _order(function)
    taken: set[int] = set()
    found: dict[HeldInRegisters, tuple[int, int]] = {}
    for value in sorted(alive, key=lambda one: order[one]):
        own = elements.numbers(value) - taken
        taken |= own
        count = registers(elements.bits(own, is_sliced=is_sliced))
        if count:
            row = _row(value, origins, elements)
            values, total = found.get(row, (0, 0))
            found[row] = values + 1, total + count
    rows = [replace(row, values=values, registers=total) for row, (values, total) in found.items()]
    return sorted(rows, key=lambda row: -row.registers)


def _row(value: Value, origins: dict[Value, list[Value]], elements: Elements) -> HeldInRegisters:
    """What there is to say of a value; of one that a loop carries, of what the loop makes of it."""
    made = _made(value, origins)
    name, file, line = source(made.location)
    if not name or not file:
        told = (source(one.location) for one in (*origins.get(value, ()), value))
        name, file, line = next((one for one in told if one[0] and one[1]), (name, file, line))
    op = made.op.name.rpartition(".")[2] if made.op else ""
    kind = _kind(value, made, elements)
    return HeldInRegisters(kind, 0, name, op, value.shape, value.dtype.removeprefix("!tt."), 1, file, line)


def _kind(value: Value, made: Value, elements: Elements) -> RegisterKind:
    op = made.op.name if made.op else ""
    if op in _PRODUCTS:
        return "accumulator"
    if "ptr<" in value.dtype:
        return "addresses"
    if value.dtype == "i1":
        return "mask"
    if any(user.name in _PRODUCTS and value in user.operands[:2] for user in elements.users(value)):
        return "operand"
    if op in _LOADS:
        return "loaded"
    if value.dtype.startswith("i"):
        return "indices"
    return "carried" if made is not value else "computed"


def _partitions(function: Op) -> int:
    """How many groups of specialised warps there are besides the function's own."""
    return sum(len(op.regions) for op in function.inner() if op.name == SPECIALISED)


def _made(value: Value, origins: dict[Value, list[Value]]) -> Value:
    """What the loop that carries a value hands on for it, through values that only move on."""
    seen = {value}
    while value in origins and origins[value][0] not in seen:
        value = origins[value][0]
        seen.add(value)
    return value


def _origins(function: Op) -> dict[Value, list[Value]]:
    """For what a loop carries, and for its results: what it hands on, then what it begins with."""
    origins: dict[Value, list[Value]] = {}
    for op in function.inner():
        if op.name == "ttng.warp_group_dot_wait":
            origins.update((result, [one]) for result, one in zip(op.results, op.operands, strict=False))
        if op.name not in ("scf.for", "scf.while"):
            continue
        handed_on = op.regions[-1][0].ops[-1].operands
        count = len(handed_on)
        begins = op.operands[len(op.operands) - count :]
        carried = op.regions[0][0].arguments
        for argument, one, begin in zip(carried[len(carried) - count :], handed_on, begins, strict=True):
            origins[argument] = [one, begin]
        if op.name == "scf.for":
            for result, one, begin in zip(op.results, handed_on, begins, strict=True):
                origins[result] = [one, begin]
    return origins


def _order(function: Op) -> dict[Value, int]:
    """The values in the program's order."""
    order: dict[Value, int] = {}
    for op in (function, *function.inner()):
        for value in op.results:
            order.setdefault(value, len(order))
        for region in op.regions:
            for block in region:
                for value in block.arguments:
                    order.setdefault(value, len(order))
    return order


def _location(op: Op) -> str:
    """Where an operation is from: the location of what it gives or, failing that, takes."""
    return next((value.location for value in (*op.results, *op.operands)), "")
