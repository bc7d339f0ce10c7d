"""The text of Triton's GPU IR after shared memory was allocated: what has an offset there, its types and its source."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

_OFFSET = re.compile(r"allocation\.offset = (\d+) : i32")
_SIZE = re.compile(r"allocation\.size = (\d+) : i32")
_OP = re.compile(
    r'\s*(?:(?P<result>%[\w.#$-]+)(?::\d+)?(?:, %[\w.#$-]+(?::\d+)?)* = )?"?(?P<name>[\w.]+)"?(?P<rest>.*)'
)
_VALUE = re.compile(r"%[\w.$-]+(?:#\d+)?")
_LOCATION = re.compile(r"^(#loc\d*) = loc\((.*)\)$")
_AT_THE_END = re.compile(r" loc\((#loc\d*)\)$")
_NAMED = re.compile(r'^"([^"]*)"\((#loc\d*)\)$')
_LINE = re.compile(r'^"([^"]*)":(\d+):\d+')
_REFERENCE = re.compile(r"#loc\d*")
_FUNCTION = re.compile(r"\s*tt\.func (\w+ )?@([\w.$-]+)\(")
_SHAPED = re.compile(r"^(?:!ttg\.memdesc|tensor)<((?:\d+x)+)([^,>]+)(?:, (#\w[\w.]*(?:<.*)?))?")
_ORDER = re.compile(r"order = \[([^\]]*)\]")
_RANK = re.compile(r"rank = (\d+)")
_OF_TRITON = ("triton", "language")
"""Folders of Triton's own functions: what is inlined from there is known by the line that calls it."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """A type: its shape, its dtype, and its layout as written."""

    shape: tuple[int, ...]
    dtype: str
    layout: str


@dataclass(frozen=True)
class Op:
    """An operation that has shared memory: its text without the location, over as many lines as it has.

    `size_bytes` is 0 where the compiler tells the offset alone.
    """

    text: str
    function: str
    offset_bytes: int
    size_bytes: int
    location: str

    @cached_property
    def _parsed(self) -> re.Match[str]:
        found = _OP.match(self.text.partition("\n")[0])
        assert found is not None
        return found

    @property
    def name(self) -> str:
        """The operation, such as `ttg.local_alloc`."""
        return self._parsed["name"]

    @property
    def result(self) -> str:
        """The name of its result; empty if it has none."""
        return self._parsed["result"] or ""

    @property
    def operands(self) -> tuple[str, ...]:
        """The names of the values it takes, each once."""
        first = re.split(r" \{| : |<\{|\(\{", self._parsed["rest"], maxsplit=1)[0]
        return tuple(dict.fromkeys(_VALUE.findall(first)))

    @property
    def types(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The types of its operands and of its results, as far as they are written."""
        taken, _, given = _outer(self.text.rpartition("\n")[2]).partition(" -> ")
        return tuple(_split(taken)), tuple(_split(given))


@dataclass(frozen=True)
class Module:
    """A module as text."""

    text: str

    @cached_property
    def lines(self) -> list[str]:
        """Its lines."""
        return self.text.splitlines()

    @cached_property
    def locations(self) -> Mapping[str, str]:
        """What each location stands for."""
        return {found[1]: found[2] for line in self.lines if (found := _LOCATION.match(line))}

    @cached_property
    def layouts(self) -> Mapping[str, str]:
        """What each name of a layout stands for."""
        aliases = (line.split(" = ", 1) for line in self.lines if line.startswith("#") and " = " in line)
        return {name: meaning for name, meaning in aliases if not name.startswith("#loc")}

    @property
    def public(self) -> str:
        """The name of the kernel's function."""
        found = (_FUNCTION.match(line) for line in self.lines)
        return next(one[2] for one in found if one and one[1] == "public ")

    @property
    def file(self) -> str:
        """The kernel's source file when it was compiled; empty if the compiler did not keep it."""
        location = next(
            (found[1] for line in self.lines if line.startswith("} ") and (found := _AT_THE_END.search(line))), ""
        )
        return self.source(location)[1]

    def ops(self) -> Iterator[Op]:
        """Every operation with an offset in shared memory, in the program's order."""
        function = ""
        for i_line, line in enumerate(self.lines):
            if found := _FUNCTION.match(line):
                function = found[2]
            offset, location = _OFFSET.search(line), _AT_THE_END.search(line)
            if offset is None:
                continue
            size, start = _SIZE.search(line), i_line
            indent = line[: len(line) - len(line.lstrip())]
            if line.lstrip().startswith("}"):  # its regions come before its attributes
                opened = (
                    i for i in range(i_line - 1, -1, -1) if self.lines[i].startswith((f"{indent}%", f'{indent}"'))
                )
                start = next(opened)
            text = "\n".join(_AT_THE_END.sub("", one) for one in self.lines[start : i_line + 1])
            sizes = int(offset[1]), int(size[1]) if size else 0
            yield Op(text, function, *sizes, location[1] if location else "")

    def barriers(self) -> frozenset[str]:
        """The values that are initialised as barriers."""
        bases: dict[str, str] = {}
        barriers = set()
        for line in self.lines:
            parsed = _OP.match(line)
            values = _VALUE.findall(parsed["rest"]) if parsed else []
            if parsed and values and "memdesc_" in parsed["name"] and parsed["result"]:
                bases[parsed["result"]] = bases.get(values[0], values[0])
            elif parsed and values and parsed["name"].endswith(".init_barrier"):
                barriers.add(bases.get(values[0], values[0]))
        return frozenset(barriers)

    def shaped(self, text: str) -> Shaped | None:
        """A type's shape; None if it has none."""
        found = _SHAPED.match(text)
        if found is None:
            return None
        shape = tuple(map(int, found[1].rstrip("x").split("x")))
        layout = (found[3] or "").split(",")[0].rstrip(">") if (found[3] or "") in self.layouts else found[3] or ""
        return Shaped(shape, found[2], self.layouts.get(layout, layout))

    def source(self, location: str, *, seen: int = 0) -> tuple[str, str, int]:
        """The variable, file and line of a location; empty and 0 where the compiler kept none.

        Of a call that was inlined it is the line inside, unless that is one of Triton's own functions.
        """
        meaning = self.locations.get(location, "")
        if seen > len(self.locations):
            return "", "", 0
        if named := _NAMED.match(meaning):
            _, file, line = self.source(named[2], seen=seen + 1)
            return named[1], file, line
        if at := _LINE.match(meaning):
            return ("", "", 0) if is_inside(at[1]) else ("", at[1], int(at[2]))
        for one in _REFERENCE.findall(meaning):
            found = self.source(one, seen=seen + 1)
            if found[1]:
                return found
        return "", "", 0


def is_inside(file: str) -> bool:
    """Whether a location in this file says nothing to a user: Triton's own functions, or the text of an IR."""
    return all(folder in PurePath(file).parts for folder in _OF_TRITON) or file.endswith(".ttgir")


def encoding_rank(layout: str) -> int:
    """Over how many dimensions a layout of shared memory goes; 0 if its text does not say."""
    if order := _ORDER.search(layout):
        return len(order[1].split(","))
    if "nvmma_shared" in layout:
        rank = _RANK.search(layout)
        return int(rank[1]) if rank else 2
    return 0


def without_locations(text: str) -> str:
    """The text without any ` loc(…)`."""
    while (start := text.find(" loc(")) >= 0:
        depth, end = 1, start + len(" loc(")
        while depth and end < len(text):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        text = text[:start] + text[end:]
    return text


def _outer(line: str) -> str:
    """What follows the last ` : ` that no bracket encloses: an operation's types."""
    depth, start = 0, 0
    for i, letter in enumerate(line):
        depth += letter in "([{<"
        depth -= letter in ")]}" or (letter == ">" and line[i - 1] != "-")
        if depth <= 0 and line.startswith(" : ", i):
            start = i + 3
    return line[start:]


def _split(text: str) -> list[str]:
    """Types, without the parentheses around them."""
    text = text.strip()
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    parts, depth, start = [], 0, 0
    for i, letter in enumerate(text):
        depth += letter in "([{<"
        depth -= letter in ")]}" or (letter == ">" and text[i - 1] != "-")
        if letter == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    return [part for part in (*parts, text[start:].strip()) if part]
