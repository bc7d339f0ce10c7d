"""A kernel's GPU IR as operations and values, read by Triton itself, with what one thread holds of each value."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssdprof.profiling.binary.ttgir import is_inside

Coordinates = tuple[int, ...]
"""Where an element is in its tensor; empty for a scalar."""
_TENSOR = re.compile(r"^tensor<((?:\d+x)+)(.*?)(?:, #.*)?>$")
_PLACE = re.compile(r'"([^"]*)"(?:\(|:(\d+):\d+)')
_SKIPPED = ("builtin.module",)


@dataclass(eq=False, slots=True)
class Value:
    """A value. `elements`: where each of the elements is that one thread holds of a tensor, by the tensor's layout.

    An element that two of a thread's places would have is there twice. `op` is what makes it; None for an argument.
    """

    text: str
    shape: tuple[int, ...]
    dtype: str
    elements: tuple[Coordinates, ...]
    location: str
    op: Op | None = None

    @property
    def is_tensor(self) -> bool:
        """Whether its elements are spread over threads."""
        return bool(self.shape)


@dataclass(eq=False, slots=True)
class Block:
    """The operations of a region in order, or of a part of it that a branch goes to."""

    arguments: list[Value]
    ops: list[Op] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Op:
    """An operation, such as `tt.load`; `regions` as lists of blocks."""

    name: str
    operands: list[Value]
    results: list[Value]
    regions: list[list[Block]]
    symbol: str = ""

    def inner(self) -> Iterator[Op]:
        """The operations in its regions, those inside them included."""
        for region in self.regions:
            for block in region:
                for op in block.ops:
                    yield op
                    yield from op.inner()


def read(ttgir: str, kernel: str) -> Op:
    """The function of `kernel`.

    Raises ValueError if the IR has no such function, RuntimeError if Triton cannot read it.
    """
    from triton._C.libtriton import gluon_ir, ir, nvidia

    context = ir.context()
    ir.load_dialects(context)
    nvidia.load_dialects(context)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.ttgir")
        file.write_text(ttgir)
        module = ir.parse_mlir_module(str(file), context)
    reader = _Reader(gluon_ir.GluonOpBuilder(context))
    module.walk(reader.add)
    found = next((op for op in reader.functions if op.symbol == kernel), None)
    if found is None:
        raise ValueError(f"no function {kernel!r} among {[op.symbol for op in reader.functions]}")
    return found


class _Reader:
    """Takes operations in the order of a walk: what is inside another comes before it."""

    def __init__(self, builder: Any) -> None:
        self.functions: list[Op] = []
        self._builder = builder
        self._values: dict[int, Value] = {}
        self._blocks: dict[int, Block] = {}
        self._regions: dict[int, list[Block]] = {}
        self._elements: dict[str, tuple[Coordinates, ...]] = {}

    def add(self, given: Any) -> None:
        """Notes one operation."""
        name = given.get_name()
        if name in _SKIPPED:
            return
        op = Op(
            name,
            [self._value(given.get_operand(i)) for i in range(given.get_num_operands())],
            [self._value(given.get_result(i)) for i in range(given.get_num_results())],
            [self._regions.get(given.get_region(i).id(), []) for i in range(given.get_num_regions())],
        )
        for value in op.results:
            value.op = op
        if name == "tt.func":
            op.symbol = given.get_str_attr("sym_name") or ""
            self.functions.append(op)
            return
        self._block(given.get_block()).ops.append(op)

    def _block(self, given: Any) -> Block:
        block = self._blocks.get(given.id())
        if block is None:
            block = Block([self._value(given.arg(i)) for i in range(given.get_num_arguments())])
            self._blocks[given.id()] = block
            self._regions.setdefault(given.get_parent().id(), []).append(block)
        return block

    def _value(self, given: Any) -> Value:
        value = self._values.get(given.id())
        if value is None:
            text = str(given.get_type())
            tensor = _TENSOR.match(text)
            shape = tuple(map(int, tensor[1].rstrip("x").split("x"))) if tensor else ()
            elements = self._held(given, text, shape) if tensor else ((),)
            value = Value(text, shape, tensor[2] if tensor else text, elements, str(given.get_loc()))
            self._values[given.id()] = value
        return value

    def _held(self, given: Any, text: str, shape: tuple[int, ...]) -> tuple[Coordinates, ...]:
        """The elements of one thread, the first of a block: Triton gives the layout as a linear one."""
        if text not in self._elements:
            layout = self._builder.get_gluon_layout_from_tensor(given)
            linear = self._builder.to_linear_layout(layout._to_ir(self._builder), list(shape))
            self._elements[text] = spanned(linear.reg_bases, len(shape))
        return self._elements[text]


def spanned(bases: list[list[int]], rank: int) -> tuple[Coordinates, ...]:
    """Where a thread's registers are: register i is at the sum without carry of the bases of the bits set in i."""
    found: list[Coordinates] = [(0,) * rank]
    for base in bases:
        found += [tuple(a ^ b for a, b in zip(one, base, strict=True)) for one in found]
    return tuple(found)


def source(location: str) -> tuple[str, str, int]:
    """The variable, file and line of a location; empty and 0 if the compiler kept none.

    Of a call that was inlined it is the line inside, unless that is one of Triton's own functions. What has no name
    there is called as what the call gives.
    """
    name, file, line = "", "", 0
    for found in _PLACE.finditer(location):
        if not found[2]:
            name = name or found[1]
        elif is_inside(found[1]):
            name = name if file else ""
        else:
            file, line = (file, line) if file else (found[1], int(found[2]))
        if name and file:
            break
    return name if file else "", file, line
