"""The loops and products of a kernel, read from Triton's IR before it is laid out over threads (TTIR)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

from ssdprof.profiling.binary.sass.text import Place
from ssdprof.profiling.binary.ttgir import Module
from ssdprof.profiling.runs.work import Dot, SourceLoop

_FUNCTION = re.compile(r"\s*tt\.func (?:\w+ )?@")
_LOOP = re.compile(r"(?:^|= )scf\.(?:for|while)\b")
_TENSOR = re.compile(r"tensor<([\dx]+)x([\w!.]+(?:<\w+>)?)")
_AT_THE_END = re.compile(r" loc\((#loc\d*)\)$")
_LINE = re.compile(r'^"([^"]*)":(\d+):\d+')
_REFERENCE = re.compile(r"#loc\d*")
_DTYPES = {
    "bf16": "bfloat16", "f16": "float16", "f32": "tf32", "f64": "float64", "i8": "int8", "i32": "int32",
    "f8E4M3FN": "float8", "f8E5M2": "float8",
}  # fmt: skip
_DTYPE_BITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Source:
    """What the IR says of a kernel. By loop (None: what is in no loop): `dots`, each with its place."""

    loops: tuple[SourceLoop, ...]
    dots: Mapping[int | None, tuple[tuple[Dot, Place], ...]]

    def with_trips(self, loops: tuple[SourceLoop, ...]) -> Source:
        """The same with the trips of `loops`, one for each of these loops. Raises ValueError if they do not match."""
        own, others = ([(loop.file, loop.line, loop.depth) for loop in ones] for ones in (self.loops, loops))
        if own != others:
            raise ValueError(f"the loops are at {own}, those with trips at {others}")
        pairs = zip(self.loops, loops, strict=True)
        told = (
            replace(loop, mean_trips=given.mean_trips, entries=given.entries, spread=given.spread)
            for loop, given in pairs
        )
        return replace(self, loops=tuple(told))


@dataclass(slots=True)
class _Open:
    """A loop whose end has not come yet."""

    number: int | None
    indent: int
    dots: list[tuple[Dot, Place]] = field(default_factory=list)
    loads: list[tuple[int, int]] = field(default_factory=list)


def source_of(ttir: str) -> Source:
    """The loops of the kernel's own function in the IR's order, each with one trip, and its products."""
    module = Module(ttir)
    loops: list[SourceLoop] = []
    found: dict[int | None, tuple[tuple[Dot, Place], ...]] = {}
    stack: list[_Open] = []
    for line in module.lines:
        if _FUNCTION.match(line):
            stack = [_Open(None, _indent(line))] if " public " in line else []
        if not stack:
            continue
        text, at = line.strip(), _AT_THE_END.search(line)
        if _LOOP.search(text.partition("(")[0]):
            loops.append(SourceLoop(0, "", len(stack) - 1, 1.0, stack[-1].number))
            stack.append(_Open(len(loops) - 1, _indent(line)))
        elif text.startswith("}") and _indent(line) == stack[-1].indent and not text.endswith("{"):
            done = stack.pop()
            found[done.number] = tuple(done.dots)
            if done.number is not None:
                file, number = place_of(module, at[1] if at else "")
                dots = tuple(dot for dot, _ in done.dots)
                loops[done.number] = replace(
                    loops[done.number], file=file, line=number, dots=dots, loads=tuple(done.loads)
                )
        elif "tt.dot" in text and at:
            stack[-1].dots.append((_dot(text), place_of(module, at[1])))
        elif "tt.load " in text and at:
            stack[-1].loads.append((place_of(module, at[1])[1], _bytes(text)))
    return Source(tuple(loops), found)


def place_of(module: Module, location: str, seen: int = 0) -> Place:
    """The file and line of a location, in a function that was inlined those inside it; empty and 0 if there are none."""
    meaning = module.locations.get(location, "")
    if at := _LINE.match(meaning):
        return at[1], int(at[2])
    if seen <= len(module.locations):
        for one in _REFERENCE.findall(meaning):
            if (found := place_of(module, one, seen + 1))[0]:
                return found
    return "", 0


def _dot(text: str) -> Dot:
    operands, _, result = text.rpartition(" -> ")
    shapes = [(tuple(map(int, shape.split("x"))), dtype) for shape, dtype in _TENSOR.findall(operands)]
    (first, dtype), (*_, n) = shapes[0], _TENSOR.findall(result)[0][0].split("x")
    name = _DTYPES.get(dtype, dtype)
    if dtype == "f32" and "inputPrecision = tf32" not in text:
        name = "float32"
    return prod(first[:-1]), int(n), first[-1], name


def _bytes(text: str) -> int:
    """The bytes that a load's result has, from the type of its pointers."""
    found = re.search(r" : (?:tensor<([\dx]+)x)?!tt\.ptr<(\w+)", text)
    if found is None:
        return 0
    bits = _DTYPE_BITS.search(found[2])
    return prod(map(int, found[1].split("x")) if found[1] else ()) * (int(bits[0]) if bits else 32) // 8


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
