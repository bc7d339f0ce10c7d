"""Whether a kernel sums the whole state under given arguments, told from its source alone; no torch, no triton."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ssdprof.kernels.foreign.files import KERNEL

STATE = "dstate"
"""The kernel's parameter that is the length of the state, called so by every engine."""
_PURE = {"min", "max", "range", "float", "int", "len", "print"}
_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Is: operator.is_, ast.IsNot: operator.is_not,
    ast.Not: operator.not_, ast.USub: operator.neg,
}  # fmt: skip


class _UnknownError(Exception):
    """An expression that the arguments do not decide."""


def sums_one_tile(file: str, tile: str, arguments: Mapping[str, Any]) -> bool:
    """Whether the kernel takes the state in one tile, whose length is the parameter `tile`, and loops over nothing.

    `arguments`: values by parameter; branches that they decide are taken as they decide. False if the kernel cannot be
    found in its file, does not take the length of the state, or may cover the rest of the state in some other way.
    """
    function = _function(file)
    if function is None or STATE not in arguments or tile not in arguments:
        return False
    named = (node for node in ast.walk(function) if isinstance(node, ast.Name))
    assigned = {node.id for node in named if isinstance(node.ctx, ast.Store)}
    constants = {name: value for name, value in arguments.items() if name not in assigned}
    statements = list(_taken(function.body, constants))
    of_state = _depending(statements, {STATE, tile})
    uses_tile = False
    for node in statements:
        if isinstance(node, ast.While) or (isinstance(node, ast.For) and _names(node.iter) & of_state):
            return False
        for call in (one for part in _own_parts(node) for one in ast.walk(part) if isinstance(one, ast.Call)):
            names = {name for argument in _arguments(call) for name in _names(argument)}
            if isinstance(call.func, ast.Name) and call.func.id not in _PURE and names & of_state:
                return False  # a function of theirs, which may loop
            is_range = isinstance(call.func, ast.Attribute) and call.func.attr == "arange"
            uses_tile |= is_range and any(_value_of_length(one, constants) == tile for one in call.args)
    return uses_tile


@lru_cache(maxsize=16)
def _parsed(file: str, _mtime_ns: int) -> ast.Module:
    return ast.parse(Path(file).read_text(encoding="utf-8"))


def _function(file: str) -> ast.FunctionDef | None:
    tree = _parsed(file, Path(file).stat().st_mtime_ns)
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == KERNEL)
    return next(functions, None)


def _taken(body: list[ast.stmt], constants: Mapping[str, Any]) -> Iterator[ast.stmt]:
    """The statements that may run, in loops and under `if` too."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            taken = _known(node.test, constants)
            yield from _taken(node.body, constants) if taken is not False else ()
            yield from _taken(node.orelse, constants) if taken is not True else ()
        elif isinstance(node, (ast.For, ast.While, ast.With)):
            yield from _taken(node.body, constants)


def _known(test: ast.expr, constants: Mapping[str, Any]) -> bool | None:
    try:
        return bool(_evaluated(test, constants))
    except (_UnknownError, TypeError, ValueError, ZeroDivisionError):
        return None


def _evaluated(node: ast.expr, constants: Mapping[str, Any]) -> Any:
    """The value of an expression of constants; `and` and `or` need not know all of theirs."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id in constants:
        return constants[node.id]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_evaluated(node.operand, constants))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_evaluated(node.left, constants), _evaluated(node.right, constants))
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _OPERATORS:
        pair = _evaluated(node.left, constants), _evaluated(node.comparators[0], constants)
        return _OPERATORS[type(node.ops[0])](*pair)
    if isinstance(node, ast.BoolOp):
        decisive = isinstance(node.op, ast.Or)
        known = [_known(value, constants) for value in node.values]
        if decisive in known:
            return decisive
        if None not in known:
            return not decisive
    raise _UnknownError


def _value_of_length(node: ast.expr, constants: Mapping[str, Any]) -> str:
    """The name that a length is, or would be by its `if … else`; empty if it is neither."""
    if isinstance(node, ast.IfExp):
        taken = _known(node.test, constants)
        return "" if taken is None else _value_of_length(node.body if taken else node.orelse, constants)
    return node.id if isinstance(node, ast.Name) else ""


def _own_parts(node: ast.stmt) -> list[ast.AST]:
    """The expressions of a statement, without the statements below it."""
    return [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _names(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def _depending(statements: list[ast.stmt], names: set[str]) -> set[str]:
    """The names, and all that are assigned from any of them."""
    found = set(names)
    while True:
        more = set(found)
        for node in statements:
            value = node.value if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)) else None
            if value is not None and _names(value) & found:
                more |= {name for child in ast.iter_child_nodes(node) if child is not value for name in _names(child)}
        if more == found:
            return found
        found = more
