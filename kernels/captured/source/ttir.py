"""A TTIR text as values that flow into each other and what is done with them; no torch, no triton.

The order of operations is left out: a value is what any operation, loop, branch or call may make of it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

_VALUE = re.compile(r"%[A-Za-z0-9_$.\-]+(?:#\d+)?")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SYMBOL = re.compile(r'@("(?:[^"\\]|\\.)*"|[\w$.\-]+)')
_ARGUMENT = re.compile(r"(%[A-Za-z0-9_$.\-]+): ?(!tt\.ptr|!tt\.tensordesc)?")
_OPERATION = re.compile(r'(?:(%[^=]*?) = )?"?([a-z_]\w*(?:\.\w+)+)"?(.*)')
_RESULT = re.compile(r"(%[A-Za-z0-9_$.\-]+)(?::(\d+))?")
_PAIR = re.compile(r"(%[A-Za-z0-9_$.\-]+) = (%[A-Za-z0-9_$.\-]+(?:#\d+)?)")
_BRANCH = re.compile(r"\^(\w+)(?:\(([^)]*)\))?")
_FLOAT_TENSOR = re.compile(r"(?:x|<)(?:f|bf|tf)\d+\w*[,>]")

# Operand 0 is an address and the result, if any, is at that address too.
_SAME_MEMORY = {"tt.addptr", "tt.advance", "tt.make_tensor_ptr", "tt.make_tensor_descriptor"}
# The result may be any of the operands.
_MOVES = {
    "tt.splat", "tt.broadcast", "tt.expand_dims", "tt.reshape", "tt.trans", "tt.bitcast", "tt.cat", "tt.join",
    "tt.split", "tt.gather", "tt.unsplat", "tt.ptr_to_int", "tt.int_to_ptr", "tt.reduce", "tt.scan",
    "tt.map_elementwise", "tt.fp_to_fp", "tt.clampf", "tt.mulhiui", "tt.dot", "tt.dot_scaled", "tt.histogram",
    "tt.precise_sqrt", "tt.precise_divf", "tt.approx_divf",
}  # fmt: skip
_NO_MEMORY = {"tt.print", "tt.assert", "arith.cmpi", "arith.cmpf", "llvm.intr.assume"}
_READS = {"tt.load", "tt.atomic_load", "tt.atomic_poll", "tt.descriptor_load", "tt.descriptor_gather"}
_WRITES = {"tt.store", "tt.atomic_store", "tt.descriptor_store", "tt.descriptor_scatter"}
_UPDATES = {"tt.atomic_rmw", "tt.atomic_cas", "tt.descriptor_reduce"}
_FOREIGN_CODE = {
    "tt.elementwise_inline_asm": "inline assembly takes its address",
    "tt.extern_elementwise": "an external function takes its address",
}

Node: TypeAlias = int
"""A value of the text."""


@dataclass(frozen=True, slots=True)
class Access:
    """An operation that reads or writes at an address; `values`: what it may write there."""

    address: Node
    values: tuple[Node, ...]
    loads: bool
    stores: bool
    is_float_sum: bool


@dataclass
class _Region:
    """A block of braces in the text: the values named in it, and where what it yields goes."""

    operation: str
    results: list[Node] = field(default_factory=list)
    carried: list[Node] = field(default_factory=list)  # iteration arguments, of a loop's first region
    incoming: list[Node] = field(default_factory=list)  # what a block's arguments may be, of other operations
    names: dict[str, Node] = field(default_factory=dict)
    blocks: dict[str, list[Node]] = field(default_factory=dict)
    branches: list[tuple[str, list[Node]]] = field(default_factory=list)
    conditions: list[Node] = field(default_factory=list)  # what scf.condition passes on


@dataclass
class _Function:
    arguments: list[Node] = field(default_factory=list)
    results: dict[int, Node] = field(default_factory=dict)


class Program:
    """What a TTIR text says.

    `roots`: the pointer and descriptor arguments of its kernel. `edges`: of a value, (the value that may be it, or that
    may be what is read from memory where it points to; whether it is the latter). `escapes`: values that go where they
    are not followed, and why, said of an address.
    """

    def __init__(self, text: str) -> None:
        self.roots: list[Node] = []
        self._count = 0
        self.edges: dict[Node, list[tuple[Node, bool]]] = defaultdict(list)
        self.accesses: list[Access] = []
        self.escapes: list[tuple[Node, str]] = []
        self._functions: dict[str, _Function] = defaultdict(_Function)
        self._defined: set[str] = set()
        self._calls: list[tuple[str, list[Node]]] = []
        self._regions: list[_Region] = []
        self._function = _Function()
        for line in text.splitlines():
            self._line(line.strip())
        for name, given in self._calls:
            if name in self._defined:
                self._flow_each(given, self._functions[name].arguments)
            else:
                self.escapes += [(node, f"{name}, which is not in the text, takes its address") for node in given]

    def _new(self) -> Node:
        self._count += 1
        return self._count

    def _flow(self, sources: Sequence[Node], targets: Sequence[Node], *, through_memory: bool = False) -> None:
        for source in sources:
            self.edges[source] += [(target, through_memory) for target in targets]

    def _flow_each(self, sources: Sequence[Node], targets: Sequence[Node]) -> None:
        """One to one; if there are not as many, each to all."""
        if len(sources) == len(targets):
            for source, target in zip(sources, targets, strict=True):
                self._flow([source], [target])
        else:
            self._flow(sources, targets)

    def _define(self, name: str) -> Node:
        return self._regions[-1].names.setdefault(name, self._new())

    def _node(self, name: str) -> Node:
        name = name if "#" in name else f"{name}#0"
        for region in reversed(self._regions):
            if name in region.names:
                return region.names[name]
        return self._regions[0].names.setdefault(name, self._new())  # of a block that stands further below

    def _nodes(self, text: str) -> list[Node]:
        return [self._node(name) for name in _VALUE.findall(text)]

    def _line(self, line: str) -> None:
        if not line or line.startswith(("#", "//", "{-#", "module")):
            return
        symbol = _SYMBOL.search(line)
        operation = _OPERATION.match(line)
        line = _STRING.sub('""', line)
        line = re.sub(r"(?: loc\([^()]*(?:\([^()]*\)[^()]*)*\)|\s*//.*)+$", "", line)
        opens = line.endswith("{")
        if line.startswith("}"):
            self._close(opens)
        elif line.startswith("^"):
            self._block(line)
        elif operation is not None:
            results, name, _ = operation.groups()
            rest = line.partition(" = ")[2] if results else line
            self._operation(name, results or "", rest, symbol.group(1).strip('"') if symbol else "", opens)

    def _close(self, opens: bool) -> None:
        if not self._regions:
            return
        region = self._regions.pop()
        for label, given in region.branches:
            self._flow_each(given, region.blocks.get(label, []))
        if opens:
            incoming = region.conditions if region.operation == "scf.while" else region.incoming
            self._regions.append(_Region(region.operation, region.results, region.carried, incoming))

    def _block(self, line: str) -> None:
        label, _, rest = line[1:].partition("(")
        region = self._regions[-1]
        nodes = [self._define(f"{name}#0") for name, _ in _ARGUMENT.findall(rest)]
        region.blocks[label.rstrip(":")] = nodes
        if region.operation == "scf.while":
            self._flow_each(region.incoming, nodes)
        else:
            self._flow(region.incoming, nodes)

    def _operation(self, name: str, results: str, rest: str, symbol: str, opens: bool) -> None:
        if name == "tt.func":
            self._begin_function(rest, symbol)
            return
        pairs = _PAIR.findall(rest) if name in ("scf.for", "scf.while") else []
        operands = self._nodes(rest) if not pairs else [self._node(given) for _, given in pairs]
        produced = [
            self._define(f"{one}#{i}") for one, count in _RESULT.findall(results) for i in range(int(count or 1))
        ]
        if opens:
            self._open(name, pairs, operands, produced)
        elif name.endswith(("yield", ".return", "scf.condition")):
            self._leave(name, operands)
        elif name.startswith("cf."):
            self._branch(rest)
        elif name == "tt.call":
            self._calls.append((symbol, operands))
            given = self._functions[symbol].results
            for place, node in enumerate(produced):
                self._flow([given.setdefault(place, self._new())], [node])
        else:
            self._plain(name, rest, operands, produced)

    def _begin_function(self, rest: str, symbol: str) -> None:
        self._function = self._functions[symbol]
        self._defined.add(symbol)
        self._regions = [_Region("tt.func")]
        arguments = rest[: rest.rindex(")")] if ")" in rest else rest
        for name, pointer in _ARGUMENT.findall(arguments):
            node = self._define(f"{name}#0")
            self._function.arguments.append(node)
            if pointer and "tt.func public" in rest:
                self.roots.append(node)

    def _open(self, name: str, pairs: list[tuple[str, str]], operands: list[Node], produced: list[Node]) -> None:
        """An operation with regions: a loop, a branch, or one that computes on elements, such as a reduction."""
        region = _Region(name, produced)
        self._regions.append(region)
        region.carried = [self._define(f"{inner}#0") for inner, _ in pairs]
        if name == "scf.for":
            region.carried = region.carried[len(pairs) - len(produced) :]  # without the counter
            self._flow_each(operands[len(pairs) - len(produced) :], region.carried)
            self._flow_each(region.carried, produced)
        elif name == "scf.while":
            self._flow_each(operands, region.carried)
        elif not name.startswith("scf."):
            region.incoming = operands
            self._flow(operands, produced)

    def _leave(self, name: str, operands: list[Node]) -> None:
        """The end of a region or of a function, with what it hands on."""
        region = self._regions[-1]
        if region.operation == "tt.func":
            for place, node in enumerate(operands):
                self._flow([node], [self._function.results.setdefault(place, self._new())])
        elif name == "scf.condition":
            region.conditions = operands[1:]
            self._flow_each(operands[1:], region.results)
        else:
            self._flow_each(operands, region.carried)
            if region.operation != "scf.while":
                self._flow_each(operands, region.results)

    def _branch(self, rest: str) -> None:
        for label, given in _BRANCH.findall(rest):
            self._regions[-1].branches.append((label, self._nodes(given)))

    def _plain(self, name: str, rest: str, operands: list[Node], produced: list[Node]) -> None:
        if name in _READS | _WRITES | _UPDATES:
            is_sum = rest.startswith("tt.atomic_rmw fadd")
            is_sum = is_sum or (rest.startswith("tt.descriptor_reduce add,") and bool(_FLOAT_TENSOR.search(rest)))
            stores = name not in _READS
            values = tuple(operands[1:]) if stores else ()
            self.accesses.append(Access(operands[0], values, name not in _WRITES, stores, is_sum))
            self._flow(operands[:1], produced, through_memory=True)
        elif name in _SAME_MEMORY:
            self._flow(operands[:1], produced)
        elif name == "arith.select":
            self._flow(operands[1:], produced)
        elif name in _NO_MEMORY:
            return
        elif name in _MOVES or name.startswith(("arith.", "math.", "ub.")):
            self._flow(operands, produced)
        else:
            why = _FOREIGN_CODE.get(name, f"{name}, which is not followed, takes its address")
            self.escapes += [(node, why) for node in operands]
            self._flow(operands, produced, through_memory=True)
