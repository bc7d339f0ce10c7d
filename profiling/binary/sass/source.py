"""The loops and products of a kernel, read from Triton's IR before it is laid out over threads (TTIR)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

from ssdprof.profiling.binary.sass.text import Place
from ssdprof.profiling.binary.ttgir import Module
from ssdprof.profiling.runs.work import Dot, SourceLoop

Chain = tuple[Place, ...]
"""A place, then those of the calls around it that were inlined."""
Spans = Mapping[tuple[str, Chain], tuple[int, int]]
_FUNCTION = re.compile(r"\s*tt\.func (?:\w+ )?@")
_LOOP = re.compile(r"(?:^|= )scf\.(?:for|while)\b")
_TENSOR = re.compile(r"tensor<([\dx]+)x([\w!.]+(?:<\w+>)?)")
_AT_THE_END = re.compile(r" loc\((#loc\d*)\)$")
_LINE = re.compile(r'^"([^"]*)":(\d+):\d+')
_REFERENCE = re.compile(r"#loc\d*")
_PRECISION = re.compile(r"inputPrecision = (tf32|bf16)(?:x(\d))?")
_DTYPES = {
    "bf16": "bfloat16", "f16": "float16", "f32": "tf32", "f64": "float64", "i8": "int8", "i32": "int32",
    "f8E4M3FN": "float8", "f8E5M2": "float8",
}  # fmt: skip
_DTYPE_BITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Source:
    """What the IR says of a kernel. For each loop, `chains`: where its `for` stands, and `spans`: by file and the calls
    around, its first and last line. By loop (None: what is in no loop) its `dots`, and the bytes per program of its
    `loads` through pointers, each with the place.
    """

    loops: tuple[SourceLoop, ...]
    chains: tuple[Chain, ...]
    spans: tuple[Spans, ...]
    dots: Mapping[int | None, tuple[tuple[Dot, Chain], ...]]
    loads: Mapping[int | None, tuple[tuple[int, Chain], ...]]

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
    dots: list[tuple[Dot, Chain]] = field(default_factory=list)
    loads: list[tuple[int, Chain]] = field(default_factory=list)
    places: set[Chain] = field(default_factory=set)


def source_of(ttir: str) -> Source:
    """The loops of the kernel's own function in the IR's order, each with one trip, and its products and loads."""
    module = Module(ttir)
    loops: list[SourceLoop] = []
    chains: dict[int, Chain] = {}
    done: dict[int | None, _Open] = {}
    stack: list[_Open] = []
    for line in module.lines:
        if _FUNCTION.match(line):
            stack = [_Open(None, _indent(line))] if " public " in line else []
        if not stack:
            continue
        text, at = line.strip(), _AT_THE_END.search(line)
        chain = chain_of(module, at[1]) if at else ()
        for one in stack[1:]:
            one.places.add(chain)
        if _LOOP.search(text.partition("(")[0]):
            loops.append(SourceLoop(0, "", len(stack) - 1, 1.0, stack[-1].number))
            stack.append(_Open(len(loops) - 1, _indent(line)))
        elif text.startswith("}") and _indent(line) == stack[-1].indent and not text.endswith("{"):
            ended = stack.pop()
            done[ended.number] = ended
            if ended.number is not None:
                chains[ended.number] = chain
        elif "tt.dot" in text:
            stack[-1].dots.append((_dot(text), chain))
        elif "tt.load " in text:
            stack[-1].loads.append((_bytes(text), chain))
    for number, chain in chains.items():
        file, first = chain[0] if chain else ("", 0)
        dots = tuple(dot for dot, _ in done[number].dots)
        loops[number] = replace(loops[number], file=file, line=first, dots=dots)
    return Source(
        tuple(loops),
        tuple(chains[number] for number in range(len(loops))),
        tuple(_spans(chains[number], done[number].places) for number in range(len(loops))),
        {number: tuple(ended.dots) for number, ended in done.items()},
        {number: tuple(ended.loads) for number, ended in done.items()},
    )


def _spans(first: Chain, places: set[Chain]) -> Spans:
    """The lines of a loop by file and calls around, without what the compiler moved into it from before its `for`."""
    spans: dict[tuple[str, Chain], tuple[int, int]] = {}
    for chain in (first, *places):
        for i, (file, line) in enumerate(chain):
            key = file, chain[i + 1 :]
            is_own = bool(first) and key == (first[0][0], first[1:])
            low, high = spans.get(key, (line, line))
            if not is_own or line >= first[0][1]:
                spans[key] = min(low, line), max(high, line)
    return spans


def chain_of(module: Module, location: str, seen: int = 0) -> Chain:
    """The file and line of a location, and those of the calls around it."""
    meaning = module.locations.get(location, "")
    if at := _LINE.match(meaning):
        return ((at[1], int(at[2])),)
    if seen > len(module.locations):
        return ()
    chains = [chain_of(module, one, seen + 1) for one in _REFERENCE.findall(meaning)]
    if meaning.startswith("callsite("):
        return tuple(place for chain in chains for place in chain)
    return next((chain for chain in chains if chain), ())


def _dot(text: str) -> Dot:
    """A product's sizes; K counts each pass of one that is done in several, and both numbers of a byte of four bits."""
    operands, _, result = text.rpartition(" -> ")
    shapes = [(tuple(map(int, shape.split("x"))), dtype) for shape, dtype in _TENSOR.findall(operands)]
    (first, dtype), (*_, n) = shapes[0], _TENSOR.findall(result)[0][0].split("x")
    name, passes = _DTYPES.get(dtype, dtype), 1
    if dtype == "f32":
        precision = _PRECISION.search(text)
        name = {"tf32": "tf32", "bf16": "bfloat16"}[precision[1]] if precision else "float32"
        passes = int(precision[2] or 1) if precision else 1
    return prod(first[:-1]), int(n), first[-1] * passes * (2 if "lhs = e2m1" in text else 1), name


def _bytes(text: str) -> int:
    """The bytes that a load's result has, from the type of its pointers."""
    found = re.search(r" : (?:tensor<([\dx]+)x)?!tt\.ptr<(\w+)", text)
    if found is None:
        return 0
    bits = _DTYPE_BITS.search(found[2])
    return prod(map(int, found[1].split("x")) if found[1] else ()) * (int(bits[0]) if bits else 32) // 8


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
