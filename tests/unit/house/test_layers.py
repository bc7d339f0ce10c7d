"""The rooms: import-linter's contracts of pyproject.toml on links that bear the packages' names, no circle whatsoever
between modules, and modules and folders that are not too large.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROOMS = ("cli", "kernels", "profiling", "reports")
LINES_MAX, MODULES_MAX = 320, 16

needs_linter = pytest.mark.skipif(importlib.util.find_spec("importlinter") is None, reason="needs import-linter")


def linked(package: Path, rooms: Mapping[str, Path]) -> None:
    package.mkdir(parents=True)
    for name, target in rooms.items():
        (package / name).symlink_to(target)
    for file in (ROOT / "cli" / "_package").glob("*.py"):
        (package / file.name).symlink_to(file)


def changed(tmp_path: Path, module: str, text: str) -> Path:
    """Links on the package with another module in it; `module` as a path, such as profiling/runs/astray."""
    room, *folders, name = module.split("/")
    here, there = ROOT / room, tmp_path / "changed" / room
    for folder in folders:
        there.mkdir(parents=True)
        for child in here.iterdir():
            if child.name not in (folder, "__pycache__"):
                (there / child.name).symlink_to(child)
        here, there = here / folder, there / folder
    there.mkdir(parents=True)
    for child in here.iterdir():
        if child.name not in ("__pycache__", f"{name}.py"):
            (there / child.name).symlink_to(child)
    (there / f"{name}.py").write_text(text)
    linked(tmp_path / "ssdprof", {**{one: ROOT / one for one in ROOMS}, room: tmp_path / "changed" / room})
    return tmp_path


def lint_imports(links: Path) -> subprocess.CompletedProcess[str]:
    """import-linter on the packages below `links`; as a module of this Python, which need not be on the path."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--config", str(ROOT / "pyproject.toml")],
        env={**os.environ, "PYTHONPATH": str(links)},
        cwd=links,
        capture_output=True,
        text=True,
    )


@needs_linter
def test_the_contracts_are_kept(tmp_path: Path) -> None:
    linked(tmp_path / "ssdprof", {room: ROOT / room for room in ROOMS})
    found = lint_imports(tmp_path)
    assert 0 == found.returncode, found.stdout + found.stderr
    assert "7 kept, 0 broken" in found.stdout


@needs_linter
@pytest.mark.parametrize(
    ("module", "text", "broken"),
    [
        (
            "profiling/hardware/astray",
            "from ssdprof.reports.text import tables\n",
            "ssdprof.profiling.hardware.astray -> ssdprof.reports.text.tables",
        ),
        (
            "profiling/hardware/astray",
            "def later():\n    from ssdprof.profiling.runs.model import Run\n",
            "ssdprof.profiling.hardware.astray -> ssdprof.profiling.runs.model",
        ),
        (
            "profiling/ncu/astray",
            "import ssdprof.profiling.measuring.check\n",
            "ssdprof.profiling.ncu.astray -> ssdprof.profiling.measuring.check",
        ),
        (
            "profiling/workers/astray",
            "from ssdprof.profiling.sweep.request import Event\n",
            "ssdprof.profiling.workers.astray -> ssdprof.profiling.sweep.request",
        ),
        ("profiling/elsewhere", "", "ssdprof.profiling.elsewhere"),
        (
            "profiling/sweep/astray",
            "from ssdprof.kernels.ssd.params import PARAMS\n",
            "ssdprof.profiling.sweep.astray -> ssdprof.kernels.ssd.params",
        ),
        (
            "reports/text/astray",
            "from ssdprof.kernels.foreign import files\n",
            "ssdprof.reports.text.astray -> ssdprof.kernels.foreign.files",
        ),
        (
            "cli/astray",
            "from ssdprof.profiling.runs.store import load_run\n",
            "ssdprof.cli.astray -> ssdprof.profiling.runs.store",
        ),
        ("profiling/sweep/astray", "import typer\n", "ssdprof.profiling.sweep.astray -> typer"),
        (
            "kernels/ssd/astray",
            "from ssdprof.kernels.registry import subject\n",
            "ssdprof.kernels.ssd.astray -> ssdprof.kernels.registry",
        ),
    ],
)
def test_an_import_against_a_contract_would_be_found(tmp_path: Path, module: str, text: str, broken: str) -> None:
    found = lint_imports(changed(tmp_path, module, text))
    assert 1 == found.returncode
    assert broken in " ".join(found.stdout.split())
    assert "0 broken" not in found.stdout


def modules() -> dict[str, Path]:
    """Every module of the package by its name; an `__init__` by that of its package."""
    found = {f"ssdprof.{path.stem}": path for path in (ROOT / "cli" / "_package").glob("*.py")}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            if "_package" not in path.parts:
                found[".".join(["ssdprof", *path.relative_to(ROOT).with_suffix("").parts])] = path
    return {name.removesuffix(".__init__"): path for name, path in found.items()}


def imports_of(text: str, known: Mapping[str, object]) -> set[str]:
    """The known modules that a module's text imports anywhere: in functions and under TYPE_CHECKING too.

    A package counts only if a name of its own is imported, not for a module below it.
    """
    return {name for node in ast.walk(ast.parse(text)) for name in _imported(node, known)}


def _imported(node: ast.AST, known: Mapping[str, object]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in known)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports are not read here"
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            if whole in known:
                yield whole
            elif node.module in known:
                yield str(node.module)


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other in a circle (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1 or name in graph[name]:
                found.append(sorted(group))

    for name in graph:
        if name not in order:
            visit(name)
    return found


def test_no_module_imports_another_in_a_circle_not_even_in_functions_or_for_types() -> None:
    known = modules()
    graph = {name: imports_of(path.read_text(encoding="utf-8"), known) for name, path in known.items()}

    assert len(known) > 100
    assert "ssdprof.profiling.runs.rank" in graph["ssdprof.profiling.runs.recorded"]
    assert "ssdprof.kernels.ssd.function" in graph["ssdprof.kernels"]
    assert [] == circles(graph)


@pytest.mark.parametrize(
    ("expected", "graph"),
    [
        ([], {"a": {"b"}, "b": {"c"}, "c": set()}),
        ([["a", "b"]], {"a": {"b"}, "b": {"a"}}),
        ([["a"]], {"a": {"a"}}),
        ([["b", "c", "d"]], {"a": {"b"}, "b": {"c"}, "c": {"d", "e"}, "d": {"b"}, "e": set()}),
        ([["c", "d"], ["a", "b"]], {"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"c"}}),
    ],
)
def test_a_circle_would_be_found(expected: list[list[str]], graph: dict[str, set[str]]) -> None:
    assert expected == circles(graph)


def test_imports_are_seen_wherever_they_stand() -> None:
    text = """
from typing import TYPE_CHECKING
import ssdprof.a, os
if TYPE_CHECKING:
    from ssdprof.b import B
def f():
    from ssdprof import c
    def g():
        from ssdprof.d import e
"""
    known = dict.fromkeys(["ssdprof.a", "ssdprof.b", "ssdprof.c", "ssdprof.d", "ssdprof.d.e", "ssdprof"])
    assert {"ssdprof.a", "ssdprof.b", "ssdprof.c", "ssdprof.d.e"} == imports_of(text, known)


def measured_files() -> list[Path]:
    return [path for room in (*ROOMS, "benchmarks", "tests") for path in (ROOT / room).rglob("*.py")]


def test_no_module_is_longer_than_320_lines() -> None:
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in measured_files()}
    assert len(lengths) > 100
    assert {} == {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > LINES_MAX}


def test_no_folder_has_more_than_16_modules() -> None:
    counts: dict[Path, int] = {}
    for path in measured_files():
        if path.name != "__init__.py":
            counts[path.parent] = counts.get(path.parent, 0) + 1
    assert {} == {str(folder.relative_to(ROOT)): count for folder, count in counts.items() if count > MODULES_MAX}
