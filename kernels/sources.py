"""A hash of the source behind a binary: the functions' own text and that of all they use.

Read from the source files, so nothing is imported and a run's kernel is known before Triton loads. Comments on lines of
their own, docstrings and blank lines do not count, nor does it matter which file a function is in, or where.
"""

from __future__ import annotations

import ast
import hashlib
import textwrap
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path


def source_hash(file: Path, names: Iterable[str]) -> str:
    """SHA-256 of the functions `names` of a file, and of what they use from it and from modules beside it.

    First 16 hexadecimal digits. What they use from other folders or packages does not count. Raises KeyError for a name
    that the file does not define.
    """
    texts: dict[tuple[Path, str], str] = {}
    for name in names:
        _collect(file, name, texts)
    whole = "\n".join(sorted(texts.values()))
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _collect(file: Path, name: str, texts: dict[tuple[Path, str], str]) -> None:
    if (file, name) in texts:
        return
    module = _module(file)
    node = module.defined[name]
    texts[file, name] = _text(module.lines, node)
    for used, of in _used(node):
        if of is None:
            other, original = (file, used) if used in module.defined else module.imported.get(used, (None, used))
        else:
            other, original = module.modules.get(of), used
        if other is not None and original in _module(other).defined:
            _collect(other, original, texts)


class _Module:
    """What a source file defines, and what it imports from files beside it."""

    def __init__(self, file: Path) -> None:
        text = file.read_text(encoding="utf-8")
        self.lines = text.splitlines()
        self.defined: dict[str, ast.stmt] = {}
        self.imported: dict[str, tuple[Path, str]] = {}
        self.modules: dict[str, Path] = {}
        for node in _statements(ast.parse(text).body):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                self.defined[node.name] = node
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    for name in ast.walk(target):
                        if isinstance(name, ast.Name):
                            self.defined[name.id] = node
            elif isinstance(node, ast.ImportFrom):
                self._note_imports(file, node)

    def _note_imports(self, file: Path, node: ast.ImportFrom) -> None:
        last = (node.module or "").rpartition(".")[2]
        beside = file.with_name(f"{last}.py")
        for alias in node.names:
            name = alias.asname or alias.name
            own = file.with_name(f"{alias.name}.py")
            if last and beside.is_file():
                self.imported[name] = (beside, alias.name)
            elif own.is_file() and (not last or last == file.parent.name):
                self.modules[name] = own


@lru_cache(maxsize=64)
def _module(file: Path) -> _Module:
    return _Module(file)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """A module's statements, including those under `if` and `try`."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try)):
            yield from _statements([*node.body, *node.orelse, *getattr(node, "finalbody", [])])


def _used(node: ast.AST) -> Iterator[tuple[str, str | None]]:
    """(name, None) for each name that is read, (attribute, name) for each attribute of a name; no annotations."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        yield node.attr, node.value.id
    elif isinstance(node, ast.Name):
        yield node.id, None
    for part, value in ast.iter_fields(node):
        if part not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _used(child)


def _text(lines: list[str], node: ast.stmt) -> str:
    """The lines of a definition with its decorators, without comments, docstrings and blank lines."""
    first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
    dropped: set[int] = set()
    for child in ast.walk(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(child, clean=False) is not None:
            docstring = child.body[0]
            dropped |= set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    kept = [lines[i - 1].rstrip() for i in range(first, (node.end_lineno or first) + 1) if i not in dropped]
    kept = [line for line in kept if line and not line.lstrip().startswith("#")]
    return textwrap.dedent("\n".join(kept))
