"""Whether a kernel sums the whole state under given arguments, told from its source alone; no torch, no triton."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ssdprof.kernels.foreign.files import KERNEL

STATE = "dstate"
"""The kernel's parameter that is the length of the state, called so by every engine."""
_PURE = {"min", "max", "range", "float", "int", "len", "print"}
_PLAIN = (
    *(ast.Constant, ast.Name, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context),
)
"""All that a test may consist of that the arguments decide."""


def sums_one_tile(file: str, tile: str, arguments: Mapping[str, Any]) -> bool:
    """Whether the kernel takes the state in one tile, whose length is the parameter `tile`, and loops over nothing.

    `arguments`: values by parameter; branches that they decide are taken as they decide. False if the kernel cannot be
    found in its file, does not take the length of the state, or may cover the rest of the state in some other way.
    """
    function = _function(file, os.stat(file).st_mtime_ns)
    if function is None or not {STATE, tile} <= arguments.keys():
        return False
    assigned = _names(function, ast.Store)
    constants = {name: value for name, value in arguments.items() if name not in assigned}
    statements = list(_taken(function.body, constants))
    of_state = _depending(statements, {STATE, tile})
    uses_tile = False
    for node in statements:
        if isinstance(node, ast.While) or (isinstance(node, ast.For) and _names(node.iter) & of_state):
            return False
        own_parts = (child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt))
        for call in (one for part in own_parts for one in ast.walk(part) if isinstance(one, ast.Call)):
            names = {name for argument in (*call.args, *call.keywords) for name in _names(argument)}
            if isinstance(call.func, ast.Name) and call.func.id not in _PURE and names & of_state:
                return False  # a function of theirs, which may loop
            is_range = isinstance(call.func, ast.Attribute) and call.func.attr == "arange"
            uses_tile |= is_range and any(_length(one, constants) == tile for one in call.args)
    return uses_tile


@lru_cache(maxsize=16)
def _function(file: str, _mtime_ns: int) -> ast.FunctionDef | None:
    nodes = ast.walk(ast.parse(Path(file).read_text(encoding="utf-8")))
    return next((node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == KERNEL), None)


def _taken(body: list[ast.stmt], constants: Mapping[str, Any]) -> Iterator[ast.stmt]:
    """The statements that may run, in loops and under `if` too."""
    for node in body:
        yield node
        known = _known(node.test, constants) if isinstance(node, ast.If) else None
        yield from _taken(getattr(node, "body", []), constants) if known is not False else ()
        yield from _taken(getattr(node, "orelse", []), constants) if known is not True else ()


def _known(test: ast.expr, constants: Mapping[str, Any]) -> bool | None:
    """Whether a test holds, None if the arguments do not decide it; `and` and `or` need not know all of theirs."""
    if isinstance(test, ast.BoolOp):
        decisive, known = isinstance(test.op, ast.Or), {_known(value, constants) for value in test.values}
        return decisive if decisive in known else None if None in known else not decisive
    if not all(isinstance(node, _PLAIN) for node in ast.walk(test)):
        return None
    try:
        return bool(eval(compile(ast.Expression(test), "", "eval"), {"__builtins__": {}}, constants))  # noqa: S307
    except Exception:  # of a name that is none of the arguments, or of their types
        return None


def _length(node: ast.expr, constants: Mapping[str, Any]) -> str:
    """The name that a length is, or would be by its `if … else`; empty if it is neither."""
    if isinstance(node, ast.IfExp):
        taken = _known(node.test, constants)
        return "" if taken is None else _length(node.body if taken else node.orelse, constants)
    return node.id if isinstance(node, ast.Name) else ""


def _names(node: ast.AST, kind: type[ast.expr_context] = ast.expr_context) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, kind)}


def _depending(statements: list[ast.stmt], names: set[str]) -> set[str]:
    """The names, and all that are assigned from any of them."""
    found: set[str] = set()
    while found != names:
        found = names
        for node in statements:
            value = getattr(node, "value", None)  # of an assignment of any kind
            if value is not None and _names(value) & names:
                names = names | _names(node, ast.Store)
    return found
