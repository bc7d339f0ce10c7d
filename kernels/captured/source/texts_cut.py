"""The text of one function, cut out of its source file, and the names that it takes from elsewhere."""

from __future__ import annotations
import __future__

import ast
import linecache
import symtable
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, TypeAlias

from ssdprof.kernels.errors import UsageError


class NotKept(UsageError):  # noqa: N818  # as pytest's Skipped: says what became of it
    """A kernel, grid or heuristic whose text cannot be kept so that it runs elsewhere."""


Chains: TypeAlias = "frozenset[tuple[str, ...]]"
"""How a name is used: the attributes that are read of it, one after the other; () for the name itself."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A function's text from `def` or `lambda` on, not indented, without decorators.

    `name`: of the `def`; "" for a lambda. `reads`: names that are not its own. `early`: those that are needed when it
    is defined, of which `annotations` stand in annotations alone. `postpones`: its annotations are texts (PEP 563).
    `defaults`: values of names that stand for defaults in the text, since they are what they were when it was defined.
    """

    text: str
    name: str
    line: int
    reads: dict[str, Chains]
    early: frozenset[str]
    annotations: frozenset[str]
    postpones: bool
    defaults: dict[str, Any]


def cut_jitted(function: Any) -> Cut:
    """Of a `triton.jit` or `triton.constexpr_function`, as Triton compiles it."""
    raw = function.fn
    text = getattr(function, "src", None)
    if text is None:  # under Triton's interpreter
        return cut_python(raw, is_jitted=True)
    return _cut(text.rstrip() + "\n", raw, is_jitted=True)


def cut_python(function: FunctionType, *, is_jitted: bool = False) -> Cut:
    """Of a Python function, or of one that Triton's interpreter runs.

    Raises NotKept if its source is not there or is not what runs.
    """
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)
    if not lines:
        raise NotKept(f"{shown(function)} has no source file: define it in one")
    whole = "".join(lines)
    node = _node_of(whole, code)
    if node is None:
        raise NotKept(f"{shown(function)} is not what {code.co_filename} has by now: start the program again")
    if isinstance(node, ast.Lambda):
        return _cut(ast.get_source_segment(whole, node) or "", function, is_jitted=is_jitted)
    return _cut(textwrap.dedent("".join(lines[node.lineno - 1 : node.end_lineno])), function, is_jitted=is_jitted)


def shown(function: Any) -> str:
    """A function as messages name it."""
    raw = getattr(function, "fn", function)
    code = getattr(raw, "__code__", None)
    if code is None:
        return repr(raw)
    name = code.co_name if code.co_name != "<lambda>" else "lambda"
    return f"{name} ({code.co_filename}:{code.co_firstlineno})"


def _cut(text: str, function: FunctionType, *, is_jitted: bool) -> Cut:
    code = function.__code__
    is_lambda = code.co_name == "<lambda>"
    text = f"(\n{text}\n)" if is_lambda else text
    text, defaults = _with_defaults(text, function, is_jitted=is_jitted)
    node = ast.parse(text).body[0]
    names = _taken(symtable.symtable(text, "kept", "exec"))
    early, annotations = _early(node.value if isinstance(node, ast.Expr) else node)
    postpones = bool(code.co_flags & __future__.annotations.compiler_flag)
    for inner in ast.walk(node):
        if isinstance(inner, ast.AnnAssign):  # which Python may not look at, but Triton does
            names |= _names(inner.annotation)
    reads: dict[str, set[tuple[str, ...]]] = {name: set() for name in names | early}
    for name, chain in _chains(node):
        if name in reads:
            reads[name].add(chain)
    return Cut(
        text,
        "" if is_lambda else getattr(node, "name", ""),
        code.co_firstlineno,
        {name: frozenset(chains) for name, chains in sorted(reads.items())},
        frozenset(early),
        frozenset(annotations),
        postpones,
        defaults,
    )


def _with_defaults(text: str, function: FunctionType, *, is_jitted: bool) -> tuple[str, dict[str, Any]]:
    """A text whose defaults are names for the values that they have, where names in them may mean others by now.

    A kernel's are left as they are if they still have those values: Triton looks at them too.
    """
    node = ast.parse(text).body[0]
    inner = node.value if isinstance(node, ast.Expr) else node
    assert isinstance(inner, (ast.FunctionDef, ast.Lambda))
    positional = list(zip(inner.args.defaults, function.__defaults__ or (), strict=True))
    by_name = [
        (one, (function.__kwdefaults__ or {})[argument.arg])
        for argument, one in zip(inner.args.kwonlyargs, inner.args.kw_defaults, strict=True)
        if one is not None
    ]
    lines = [line.encode() for line in text.splitlines(keepends=True)]
    values: dict[str, Any] = {}
    for one, value in reversed(positional + by_name):  # the last first, so that the places of others stay
        if not _names(one) or callable(value) or _is_still(one, value, function, is_jitted=is_jitted):
            continue
        name = f"_default_{len(values)}_"
        values[name] = value
        first, last = one.lineno - 1, (one.end_lineno or one.lineno) - 1
        end = lines[last][one.end_col_offset :]
        lines[first : last + 1] = [lines[first][: one.col_offset] + name.encode() + end, *[b""] * (last - first)]
    return b"".join(lines).decode(), values


def _is_still(default: ast.expr, value: Any, function: FunctionType, *, is_jitted: bool) -> bool:
    if not isinstance(default, ast.Name):
        return is_jitted
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    return default.id not in cells and function.__globals__.get(default.id, cells) is value


def _taken(table: symtable.SymbolTable) -> set[str]:
    """The names that a text reads and does not define, in any of its scopes."""
    names = {one.get_name() for one in table.get_symbols() if one.is_referenced() and one.is_global()}
    return names.union(*(_taken(child) for child in table.get_children()))


def _early(node: ast.AST) -> tuple[set[str], set[str]]:
    """Names in a function's defaults and annotations, and those that stand in annotations alone."""
    if not isinstance(node, (ast.FunctionDef, ast.Lambda)):
        return set(), set()
    arguments = node.args
    defaults = [one for one in [*arguments.defaults, *arguments.kw_defaults] if one is not None]
    declared = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    annotations = [one.annotation for one in declared if one is not None and one.annotation is not None]
    if isinstance(node, ast.FunctionDef) and node.returns is not None:
        annotations.append(node.returns)
    needed = set().union(*(_names(one) for one in defaults))
    stated = set().union(*(_names(one) for one in annotations))
    used = set().union(*(_names(one) for one in (node.body if isinstance(node.body, list) else [node.body])))
    return needed | stated, stated - needed - used


def _names(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def _chains(node: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every use of a name, with the attributes that are read of it."""
    chain: list[str] = []
    inner: ast.AST = node
    while isinstance(inner, ast.Attribute):
        chain.insert(0, inner.attr)
        inner = inner.value
    if isinstance(inner, ast.Name):
        yield inner.id, tuple(chain)
        return
    for child in ast.iter_child_nodes(inner):
        yield from _chains(child)


@lru_cache(maxsize=32)
def _tree(whole: str) -> ast.Module:
    return ast.parse(whole)


def _node_of(whole: str, code: CodeType) -> ast.FunctionDef | ast.Lambda | None:
    """The definition of a code object in its file."""
    try:
        tree = _tree(whole)
    except SyntaxError:
        return None
    if code.co_name != "<lambda>":
        functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name == code.co_name]
        firsts = [min([one.lineno, *(mark.lineno for mark in one.decorator_list)]) for one in functions]
        return next((one for one, first in zip(functions, firsts, strict=True) if first == code.co_firstlineno), None)
    lambdas = [one for one in ast.walk(tree) if isinstance(one, ast.Lambda) and one.lineno == code.co_firstlineno]
    for place, one in enumerate(lambdas):
        if _same(_compiled_alone(tree, one, len(whole) + place), code):
            return one
    return None


def _compiled_alone(tree: ast.Module, node: ast.Lambda, line: int) -> CodeType | None:
    """The code that a lambda of a file has, which is found by a line that nothing else is on."""
    held, node.lineno = node.lineno, line
    end, node.end_lineno = node.end_lineno, line + 1
    try:
        pending = [compile(tree, "kept", "exec", dont_inherit=True)]
    except (SyntaxError, ValueError):
        return None
    finally:
        node.lineno, node.end_lineno = held, end
    while pending:
        code = pending.pop()
        if code.co_name == "<lambda>" and code.co_firstlineno == line:
            return code
        pending += [one for one in code.co_consts if isinstance(one, CodeType)]
    return None


def _same(one: CodeType | None, other: CodeType) -> bool:
    """Whether two code objects do the same, wherever they stand."""
    if one is None or one.co_code != other.co_code or len(one.co_consts) != len(other.co_consts):
        return False
    names = ("co_names", "co_varnames", "co_freevars", "co_cellvars", "co_argcount", "co_kwonlyargcount")
    if any(getattr(one, name) != getattr(other, name) for name in names):
        return False
    for first, second in zip(one.co_consts, other.co_consts, strict=True):
        if isinstance(first, CodeType) and isinstance(second, CodeType):
            if not _same(first, second):
                return False
        elif (type(first), repr(first)) != (type(second), repr(second)):
            return False
    return True
