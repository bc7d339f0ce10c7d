"""A kernel's TTIR as operations with regions, in the order of the text; no torch, no triton."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ssdprof.profiling.binary.ttgir import without_locations

_VALUE = re.compile(r"%[\w.$\-]+(?:#\d+)?")
_OPERATION = re.compile(r'(?:(?P<results>%[^=]*?) = )?"?(?P<name>[a-z_]\w*(?:\.\w+)+)"?(?P<rest>.*)')
_RESULT = re.compile(r"(%[\w.$\-]+)(?::(\d+))?")
_ARGUMENT = re.compile(r"(%[\w.$\-]+): ([^%]*)")
_PAIR = re.compile(r"(%[\w.$\-]+) = (%[\w.$\-]+(?:#\d+)?)")
_SYMBOL = r'@("[^"]*"|[\w.$\-]+)\('
_FUNCTION = re.compile(rf"tt\.func (?:(public|private) )?{_SYMBOL}(.*)\)")
_CALLED = re.compile(rf"{_SYMBOL}(.*)")
_LOCATION = re.compile(r" loc\((#loc\d*)\)$")
_BLOCK = re.compile(r"\^(\w+)(?:\((.*)\))?:")
_SUCCESSOR = re.compile(r"\^(\w+)(?:\(([^)]*)\))?")
_NAME = re.compile(r'^(#loc\d*) = loc\("([^"]*)"\((#loc\d*)\)\)')
_PLACE = re.compile(r'^(#loc\d*) = loc\("([^"]*)":(\d+):(\d+)\)')
_CALL = re.compile(r"^(#loc\d*) = loc\(callsite\((#loc\d*) at (#loc\d*)\)\)")
_SHAPE = re.compile(r"(?:tensor|tensordesc|ptr)<((?:\d+x)+)")
_POINTEE = re.compile(r"!tt\.ptr<(\w+)")


@dataclass
class Block:
    """A block: its arguments by name, and its operations."""

    name: str = ""
    arguments: list[str] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)


@dataclass
class Operation:
    """An operation. `attributes`: the text between its operands and its types; `types`: what follows the last colon.

    `successors`: the blocks a branch goes to, with the values it passes. `place`: where it comes from in the source.
    """

    name: str
    results: list[str]
    operands: list[str]
    attributes: str
    types: str
    regions: list[list[Block]] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    successors: list[tuple[str, list[str]]] = field(default_factory=list)
    callee: str = ""
    place: str = ""

    @property
    def result_type(self) -> str:
        """The type of its first result, or of all its operands."""
        return self.types.rpartition(" -> ")[2] if " -> " in self.types else self.types

    def inner(self) -> Iterator[Operation]:
        """The operations of its regions, those inside them included."""
        for region in self.regions:
            for block in region:
                for operation in block.operations:
                    yield operation
                    yield from operation.inner()


@dataclass
class Function:
    """A function: its arguments as (name, type), and its blocks."""

    name: str
    arguments: list[tuple[str, str]]
    blocks: list[Block]

    def operations(self) -> Iterator[Operation]:
        """All of them, those inside regions included."""
        for block in self.blocks:
            for operation in block.operations:
                yield operation
                yield from operation.inner()


class Program:
    """The functions of a text. `public`: the kernel's."""

    def __init__(self, text: str) -> None:
        self.functions: dict[str, Function] = {}
        self.public = ""
        self._names: dict[str, str] = {}
        lines = text.splitlines()
        self._places = places(lines)
        self._stack: list[tuple[Operation | None, list[Block]]] = []
        for line in lines:
            if line.startswith("#") or not (stripped := line.strip()):
                continue
            self._line(stripped)

    @property
    def kernel(self) -> Function:
        """The kernel's function."""
        return self.functions[self.public]

    def _line(self, line: str) -> None:
        located = _LOCATION.search(line)
        place = self._places.get(located[1], "") if located else ""
        line = line[: located.start()] if located else line
        if line.startswith("tt.func "):
            self._function(line)
        elif line.startswith("module"):
            return
        elif line.startswith("^"):
            found = _BLOCK.match(line)
            assert found is not None
            arguments = _VALUE.findall(without_locations(found[2] or ""))
            blocks = self._stack[-1][1]
            if len(blocks) == 1 and not blocks[0].operations and not blocks[0].arguments:
                blocks[0].name, blocks[0].arguments = found[1], arguments
            else:
                blocks.append(Block(found[1], arguments))
        elif line.startswith("}"):
            self._close(line, place)
        else:
            self._operation(line, place)

    def _function(self, line: str) -> None:
        line = without_locations(line)
        found = _FUNCTION.match(line)
        assert found is not None
        arguments = [(one[1], one[2].split(" {")[0].rstrip(", ")) for one in _ARGUMENT.finditer(found[3])]
        function = Function(found[2], arguments, [Block()])
        self.functions[found[2]] = function
        if found[1] != "private":
            self.public = found[2]
        if line.rstrip().endswith("{"):
            self._stack = [(None, function.blocks)]

    def _close(self, line: str, place: str) -> None:
        if not self._stack:
            return
        operation, _ = self._stack.pop()
        if operation is None:
            return
        if line.startswith(("} else {", "} do {", "}, {")):
            operation.regions.append([Block()])
            self._stack.append((operation, operation.regions[-1]))
            return
        operation.place = operation.place or place
        rest = line.lstrip("})").strip()
        operation.attributes += rest.rpartition(" : ")[0] if " : " in rest else rest
        if (line.startswith("})") and " : " in rest) or rest.startswith(": "):
            operation.types = rest.rpartition(": ")[2] if " -> " not in rest else rest.partition(": ")[2]

    def _operation(self, line: str, place: str) -> None:
        opens = line.endswith("{")
        found = _OPERATION.match(line[:-1].rstrip("( ") if opens else line)
        if found is None:
            return
        results = [
            f"{name}#{i}" if count else name
            for name, count in _RESULT.findall(found["results"] or "")
            for i in range(int(count or 1))
        ]
        name, rest = found["name"], found["rest"]
        operation = self._parsed(name, results, rest, place)
        self._stack[-1][1][-1].operations.append(operation)
        if opens:
            operation.regions.append([Block()])
            self._stack.append((operation, operation.regions[-1]))

    def _parsed(self, name: str, results: list[str], rest: str, place: str) -> Operation:
        before, _, types = _outer(rest)
        operation = Operation(name, results, [], before, types, place=place)
        if name in ("cf.br", "cf.cond_br"):
            operation.successors = [
                (one[1], _VALUE.findall((one[2] or "").partition(":")[0])) for one in _SUCCESSOR.finditer(before)
            ]
            operation.operands = _VALUE.findall(before.partition("^")[0])
        elif name in ("scf.for", "scf.while"):
            first = re.split(r"iter_args|\(", before, maxsplit=1)[0]
            operation.operands = _VALUE.findall(first.partition("=")[2] if name == "scf.for" else "")
            head = before if name == "scf.while" else before.partition("iter_args")[2]
            operation.pairs = _PAIR.findall(head)
            if name == "scf.for":
                operation.callee = _VALUE.findall(first)[0]
        elif name == "tt.call":
            called = _CALLED.search(before)
            assert called is not None
            operation.callee, operation.operands = called[1], _VALUE.findall(called[2])
        else:
            operation.operands = _VALUE.findall(before)
        return operation


def places(lines: list[str]) -> dict[str, str]:
    """Where each location of a text is, as `line:column`, after the lines of the calls that were inlined."""
    named, found, calls = {}, {}, {}
    for line in lines:
        if not line.startswith("#loc"):
            continue
        if one := _NAME.match(line):
            named[one[1]] = one[3]
        elif one := _PLACE.match(line):
            found[one[1]] = f"{one[3]}:{one[4]}"
        elif one := _CALL.match(line):
            calls[one[1]] = one[2], one[3]

    def place(location: str, depth: int = 0) -> str:
        if location in found or depth > len(named) + len(calls):
            return found.get(location, "")
        if location in named:
            return place(named[location], depth + 1)
        if location in calls:
            inner, outer = calls[location]
            return f"{place(outer, depth + 1)}>{place(inner, depth + 1)}"
        return ""

    return {location: place(location) for location in (*named, *found, *calls)}


def shape_of(text: str) -> tuple[int, ...]:
    """The shape of a type; empty for a scalar."""
    found = _SHAPE.search(text)
    return tuple(map(int, found[1].rstrip("x").split("x"))) if found else ()


def pointee_bytes(text: str) -> int:
    """The size of what a pointer type points to, in bytes."""
    found = _POINTEE.search(text)
    return element_bytes(found[1]) if found else 1


def element_bytes(text: str) -> int:
    """The size of an element of a type, in bytes: a Boolean takes one."""
    element = re.split(r"[x<]", text.rstrip("> "))[-1] if not text.startswith(("f", "i", "b")) else text
    if element.startswith("f8"):
        return 1
    found = re.search(r"(\d+)", element)
    return max(1, int(found[1]) // 8) if found else 1


def _outer(text: str) -> tuple[str, str, str]:
    """The text before the first ` : ` that no bracket encloses, and what follows: the types."""
    depth = 0
    for i, letter in enumerate(text):
        if letter in "([{<":
            depth += 1
        elif letter in ")]}" or (letter == ">" and text[i - 1] != "-"):
            depth -= 1
        elif letter == ":" and depth == 0 and text[i - 1] == " " and text[i + 1 : i + 2] == " ":
            return text[:i].strip(), ":", text[i + 2 :].strip()
    return text.strip(), "", ""
