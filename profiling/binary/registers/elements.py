"""What a thread keeps of each value: elements that are the same, or one step away from another, are kept once.

The compiler turns a tensor into as many scalars as a thread holds elements of it, and then sees through what only
arranges them: a broadcast row is kept once, constants not at all, and of addresses that differ by constants one, since
loads and stores add a constant for nothing. So every element is a pair: what is kept, and how far from it (0: not at
all). Elements with the same first number share registers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ssdprof.profiling.binary.registers.ir import Block, Coordinates, Op, Value
from ssdprof.profiling.binary.registers.sizes import bits_of, vector

_Key = TypeVar("_Key", bound=Hashable)
Element = tuple[int, int]
"""What is kept, by number (0: nothing, the compiler knows it), and what it takes to get from there to the element."""
SLICES_AT_ONCE = 2
"""Of an operand that is read from shared memory as it is multiplied: one slice in use, one on its way."""
_SLICE_BITS = 256
"""Of a row of an operand in one instruction: 16 elements of 16 bits (PTX ISA, mma.sync)."""
_ADDITIONS = ("arith.addi", "arith.subi", "tt.addptr", "arith.ori", "arith.xori")
_MULTIPLICATIONS = ("arith.muli", "arith.shli", "arith.extsi", "arith.extui", "arith.trunci", "arith.index_cast")
_TOLD_APART = ("arith.cmpi", "arith.cmpf", "tt.extern_elementwise")
"""Do different things by an attribute, which is not read here."""
_ELEMENTWISE = (
    "tt.addptr", "tt.fp_to_fp", "tt.bitcast", "tt.int_to_ptr", "tt.ptr_to_int", "tt.clampf", "tt.mulhiui",
    "tt.extern_elementwise", "tt.precise_sqrt", "tt.precise_divf",
)  # fmt: skip
ACCESSES = ("tt.load", "tt.store", "ttg.async_copy_global_to_local")
"""Take addresses first, and a mask."""
ARRANGED = ("tt.expand_dims", "tt.broadcast", "tt.reshape", "tt.trans")
_WAITED = "ttng.warp_group_dot_wait"
"""Gives what it takes."""
_UNIFORM = ("tt.get_program_id", "tt.get_num_programs")
_FUNCTIONS = ("tt.reduce", "tt.scan", "tt.map_elementwise")
"""Their regions work on single elements."""
_LOOPS = ("scf.for", "scf.while")
_ROUNDS_MAX = 4
"""So often a loop is gone through to find which of the values that it carries are alike."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept: its bits in each thread, all of them and with operands of products read slice by slice.

    `is_uniform`: the same in all threads, which has registers of its own.
    """

    bits: float
    sliced_bits: float
    is_uniform: bool


class Elements:
    """The elements of each value of a function, in the order of `value.elements`."""

    def __init__(self, function: Op) -> None:
        self.kept: list[Kept] = [Kept(0, 0, True)]
        self._of: dict[Value, list[Element]] = {}
        self._numbers: dict[Hashable, int] = {}
        self._uses: dict[Value, list[Op]] = {}
        self._added_to: dict[int, int] = {}
        self._kept_for: dict[Value, frozenset[int]] = {}
        for op in function.inner():
            for value in op.operands:
                self._uses.setdefault(value, []).append(op)
        for block in function.regions[0]:
            for argument in block.arguments:
                self._of[argument] = self._fresh(argument, is_uniform=not argument.is_tensor)
            self._block(block)

    def of(self, value: Value) -> list[Element]:
        """The elements of a value."""
        found = self._of.get(value)
        if found is None:  # an argument of a region that this class does not know
            found = self._of[value] = self._fresh(value)
        return found

    def numbers(self, value: Value) -> frozenset[int]:
        """What is kept for a value in registers of single threads.

        Of addresses next to each other the first, and of their mask: one access takes up to 16 bytes of a thread.
        """
        if value not in self._kept_for:
            masked = [user.operands[0] for user in self.users(value) if user.name in ACCESSES]
            is_mask = value.dtype == "i1" and len(masked) == len(self.users(value)) > 0
            used = self.of(value)[:: min(map(vector, masked)) if is_mask else vector(value)]
            self._kept_for[value] = frozenset(number for number, _ in used if not self.kept[number].is_uniform)
        return self._kept_for[value]

    def bits(self, numbers: frozenset[int], *, is_sliced: bool) -> float:
        """What these take, in bits of each thread. `is_sliced`: operands of products are read slice by slice."""
        return sum(self.kept[one].sliced_bits if is_sliced else self.kept[one].bits for one in numbers)

    def users(self, value: Value) -> list[Op]:
        """The operations that take a value, once for each time."""
        return self._uses.get(value, [])

    def _number(self, what: Hashable) -> int:
        return self._numbers.setdefault(what, len(self._numbers) + 1)

    def _keep(self, bits: float, *, is_uniform: bool, what: Hashable = None, share: float = 1.0) -> int:
        """A number for something kept; the same again for the same `what`."""
        if what is not None and (known := self._numbers.get(("kept", what))) is not None:
            return known
        self.kept.append(Kept(bits, bits * share, is_uniform))
        number = len(self.kept) - 1
        if what is not None:
            self._numbers["kept", what] = number
        return number

    def _fresh(self, value: Value, *, is_uniform: bool = False) -> list[Element]:
        """Elements that are each kept."""
        return self._anew(value.elements, bits_of(value.dtype), is_uniform=is_uniform, share=self._share(value))

    def _anew(self, keys: Sequence[Hashable], bits: int, *, is_uniform: bool, share: float = 1.0) -> list[Element]:
        """For each key something kept; the same for equal keys."""
        return each(keys, lambda _: (self._keep(bits, is_uniform=is_uniform, share=share), 0))

    def _share(self, value: Value) -> float:
        """How much of a value is kept at once if it is an operand that can be read slice by slice; 1 if it is not."""
        users = self.users(value)
        is_read = value.op is not None and value.op.name in ("ttg.local_load", "ttg.convert_layout")
        operand = re.search(r"#ttg\.dot_op<\{opIdx = (\d), parent = #ttg\.nvidia_mma<\{versionMajor = 2", value.text)
        if operand is None or not is_read or [op.name for op in users] != ["tt.dot"]:
            return 1.0
        length = value.shape[-1 if operand[1] == "0" else -2]
        return min(1.0, SLICES_AT_ONCE * _SLICE_BITS / (length * bits_of(value.dtype)))

    def _block(self, block: Block) -> None:
        for op in block.ops:
            self._op(op)

    def _op(self, op: Op) -> None:
        if op.name in _LOOPS:
            self._loop(op)
            return
        if op.name == "scf.if":
            self._branches(op)
            return
        if op.regions and op.name not in _FUNCTIONS:
            for region in op.regions:
                for block in region:
                    for argument in block.arguments:
                        self._of[argument] = self._fresh(argument)
                    self._block(block)
        for i, value in enumerate(op.results):
            self._of[value] = self.of(op.operands[i]) if op.name == _WAITED else self._made(op, value)

    def _made(self, op: Op, value: Value) -> list[Element]:
        """The elements of a result."""
        first = self.of(op.operands[0]) if op.operands else []
        if op.name == "arith.constant":
            return [(0, self._number(("constant", id(value))))] * len(value.elements)
        if op.name in _UNIFORM:
            return self._fresh(value, is_uniform=True)
        if op.name == "tt.splat":
            return [first[0]] * len(value.elements)
        if op.name == "tt.make_range":
            kept = self._keep(bits_of(value.dtype), is_uniform=False, what=("range", value.text))
            return [(kept, self._number(("at", at)) if any(at) else 0) for at in value.elements]
        if op.name in ARRANGED:
            before = dict(zip(op.operands[0].elements, first, strict=True))
            found = [before.get(arranged(op, at)) for at in value.elements]
            if all(one is not None for one in found):
                return [one for one in found if one is not None]
        if op.name == "ttg.convert_layout" and len(set(first)) == 1 and self.kept[first[0][0]].is_uniform:
            return [first[0]] * len(value.elements)
        if op.name.startswith(("arith.", "math.")) or op.name in _ELEMENTWISE:
            columns = [self.of(operand) for operand in op.operands]
            if columns and all(len(column) == len(value.elements) for column in columns):
                return each(list(zip(*columns, strict=True)), partial(self._computed, op, value))
        return self._fresh(value)

    def _computed(self, op: Op, value: Value, of: tuple[Element, ...]) -> Element:
        """An element from those of the operands."""
        if not any(number for number, _ in of):
            return 0, self._number((op.name, of))
        is_uniform = all(self.kept[number].is_uniform for number, _ in of)
        is_alone = sum(bool(number) for number, _ in of) == 1
        steps = tuple(step if number else 0 for number, step in of)
        if op.name in _ADDITIONS and is_alone and of[0][0] and value.dtype == op.operands[0].dtype:
            return of[0][0], self._number((op.name, of[0][1], of[1:]))
        is_sum = op.name in _ADDITIONS and bool(of[0][0])
        if op.name in _ADDITIONS or (op.name in _MULTIPLICATIONS and is_alone):
            what: Hashable = (op.name, value.dtype, tuple(number or (0, step) for number, step in of))
            step = self._number((op.name, steps, of)) if any(steps) else 0
        else:
            what, step = (op if op.name in _TOLD_APART else op.name, value.dtype, of), 0
        number = self._keep(bits_of(value.dtype), is_uniform=is_uniform, what=what)
        if is_sum:
            self._added_to[number] = of[0][0]
        return number, step

    def _branches(self, op: Op) -> None:
        """What is the same after each branch stays; the rest is kept anew."""
        given: list[list[Value]] = []
        for region in op.regions:
            for block in region:
                self._block(block)
                given.append(block.ops[-1].operands)
        for i, value in enumerate(op.results):
            columns = [self.of(values[i]) for values in given]
            if any(len(column) != len(value.elements) for column in columns):
                self._of[value] = self._fresh(value)
                continue
            self._of[value] = each(list(zip(*columns, strict=True)), partial(self._merged, value))

    def _merged(self, value: Value, elements: tuple[Element, ...]) -> Element:
        if len(set(elements)) == 1:
            return elements[0]
        is_uniform = not value.is_tensor and all(self.kept[number].is_uniform for number, _ in elements)
        return self._keep(bits_of(value.dtype), is_uniform=is_uniform), 0

    def _loop(self, op: Op) -> None:
        """A value that is carried is kept in the same registers all the time; elements that are alike at first and stay
        so are kept once, and what the loop hands on unchanged is what it was before.
        """
        first, last = op.regions[0][0], op.regions[-1][0]
        count = len(op.results) if op.name == "scf.for" else len(op.operands)
        before, carried = op.operands[len(op.operands) - count :], first.arguments[len(first.arguments) - count :]
        for argument in first.arguments[: len(first.arguments) - count]:
            self._of[argument] = self._fresh(argument, is_uniform=True)
        alike: list[list[Hashable]] = [list(self.of(value)) for value in before]
        unchanged: set[int] = set()
        counted = {i for i, value in enumerate(before) if any(number and step for number, step in self.of(value))}
        for _ in range(_ROUNDS_MAX):
            for i, argument in enumerate(carried):
                was = self.of(before[i])
                if i in unchanged:
                    self._of[argument] = was
                    continue
                is_uniform = not argument.is_tensor and all(self.kept[number].is_uniform for number, _ in was)
                keys = [number for number, _ in was] if i in counted else alike[i]
                fresh = self._anew(keys, bits_of(argument.dtype), is_uniform=is_uniform)
                if i in counted:
                    fresh = [(number, step) for (number, _), (_, step) in zip(fresh, was, strict=True)]
                self._of[argument] = fresh
            self._block(first)
            if op.name == "scf.while":
                for argument, value in zip(last.arguments, first.ops[-1].operands[1:], strict=False):
                    self._of[argument] = self.of(value)
                self._block(last)
            handed_on = last.ops[-1].operands
            finer = [list(zip(alike[i], self.of(value), strict=False)) for i, value in enumerate(handed_on)]
            kept = {i for i, value in enumerate(handed_on) if self.of(value) == self.of(carried[i])}
            stray = {i for i in counted - kept if not self._counts_on(carried[i], handed_on[i])}
            split = [i for i, one in enumerate(finer) if i not in kept | counted and len(set(one)) > len(set(alike[i]))]
            if kept == unchanged and not split and not stray:
                break
            unchanged |= kept
            counted -= stray
            for i in split:
                alike[i] = list(finer[i])
        after = carried if op.name == "scf.for" else first.ops[-1].operands[1:]
        for value, argument in zip(op.results, after, strict=False):
            self._of[value] = self.of(argument)

    def _counts_on(self, argument: Value, handed_on: Value) -> bool:
        """Whether each element goes on as itself and something added: then those a constant apart stay so."""
        for (own, _), (number, _) in zip(self.of(argument), self.of(handed_on), strict=True):
            while number != own:
                if number not in self._added_to:
                    return False
                number = self._added_to[number]
        return True


def each(keys: Sequence[_Key], made: Callable[[_Key], Element]) -> list[Element]:
    """What is made of each key, once for equal ones."""
    found: dict[_Key, Element] = {}
    for key in keys:
        if key not in found:
            found[key] = made(key)
    return [found[key] for key in keys]


def arranged(op: Op, at: Coordinates) -> Coordinates:
    """Where in its operand an element of the result of an operation is that only arranges."""
    shape, result = op.operands[0].shape, op.results[0].shape
    if op.name == "tt.broadcast":
        return tuple(0 if size == 1 else i for i, size in zip(at, shape, strict=True))
    if op.name == "tt.trans":  # of more than two dimensions the order is not known here: found nowhere, all is kept
        return at[::-1] if len(at) == 2 else ()
    number = 0
    for i, size in zip(at, result, strict=True):
        number = number * size + i
    found = []
    for size in reversed(shape):
        number, i = divmod(number, size)
        found.append(i)
    return tuple(reversed(found))
