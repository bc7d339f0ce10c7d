"""From a live kernel, what computes its grid and its heuristics to texts from which they can be made again."""

from __future__ import annotations

import ast
import hashlib
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssdprof.kernels.captured.model import Origin, Sources
from ssdprof.kernels.captured.source.load import source_file
from ssdprof.kernels.captured.source.texts_collect import Collector
from ssdprof.kernels.captured.source.texts_cut import NotKept as NotKept
from ssdprof.kernels.captured.source.texts_cut import cut_jitted
from ssdprof.kernels.errors import first_line
from ssdprof.kernels.sources import source_hash


def sources_of(kernel: Any, grid: Any, heuristics: Sequence[tuple[str, Any]] = ()) -> Sources:
    """The texts of a kernel and of everything that it uses, with the values that those things have now.

    `kernel`: the `JITFunction` (or the interpreter's) without any autotuner or heuristics around it; `grid`: a function
    or numbers; `heuristics`: (meta-parameter, function), in the order in which they are evaluated. A grid that cannot
    be kept is said in `grid_absent`. Raises NotKept for a kernel or heuristics that cannot be.
    """
    if _is_gluon(kernel):
        raise NotKept(f"{kernel.__name__} is a Gluon kernel: only kernels of triton.jit are kept")
    try:
        return _collected(kernel, grid if callable(grid) else None, heuristics)
    except NotKept as error:
        if not callable(grid):
            raise
        why = first_line(str(error))
    return _collected(kernel, None, heuristics, why)


def origin_of(kernel: Any) -> Origin:
    """Where a kernel comes from; the same kinds of kernel as for `sources_of`."""
    raw = kernel.fn
    hashed = text_hash(cut_jitted(kernel).text)
    return Origin(raw.__qualname__, raw.__module__, raw.__code__.co_filename, raw.__code__.co_firstlineno, hashed)


def changed_since(origin: Origin) -> str:
    """What became of a kernel in its file: "" if it has the same text, else "changed" or "gone"."""
    try:
        whole = Path(origin.file).read_text(encoding="utf-8")
        tree = ast.parse(whole)
    except (OSError, ValueError, SyntaxError):
        return "gone"
    lines = whole.splitlines(keepends=True)
    found = [node for name, node in _functions(tree, "") if name == origin.qualname]
    hashes = {text_hash("".join(lines[node.lineno - 1 : node.end_lineno])) for node in found}
    return "" if origin.text_hash in hashes else "changed" if found else "gone"


def text_hash(text: str) -> str:
    """Of a function's text from `def` on: the first 16 hexadecimal digits of a SHA-256.

    Indentation as a whole, comments on lines of their own, docstrings and blank lines do not count.
    """
    text = textwrap.dedent(text)
    lines = text.splitlines()
    dropped: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            dropped |= set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    kept = [line.rstrip() for place, line in enumerate(lines, 1) if place not in dropped]
    whole = "\n".join(line for line in kept if line and not line.lstrip().startswith("#"))
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def sources_hash(sources: Sources) -> str:
    """Of what makes the binary: the kernel's own text and that of all it uses, as `ssdprof.kernels.sources` has it."""
    _, file = source_file(sources)
    return source_hash(Path(file), [sources.kernel.name])


def _collected(kernel: Any, grid: Any, heuristics: Sequence[tuple[str, Any]], why: str = "") -> Sources:
    collector = Collector()
    own = collector.add_kernel(kernel)
    functions = tuple((name, collector.add(function)) for name, function in heuristics)
    of_grid = collector.add(grid) if grid is not None else None
    return Sources(collector.modules(), own, of_grid, why, functions)


def _is_gluon(kernel: Any) -> bool:
    return "gluon" in type(kernel).__module__ or (hasattr(kernel, "is_gluon") and kernel.is_gluon())


def _functions(node: ast.AST, prefix: str) -> list[tuple[str, ast.FunctionDef]]:
    """The functions below a node by their qualified names."""
    found: list[tuple[str, ast.FunctionDef]] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            found.append((prefix + child.name, child))
            found += _functions(child, f"{prefix}{child.name}.<locals>.")
        elif isinstance(child, ast.ClassDef):
            found += _functions(child, f"{prefix}{child.name}.")
        else:
            found += _functions(child, prefix)
    return found
