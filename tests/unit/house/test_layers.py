"""The import contracts of pyproject.toml, checked by import-linter on links that bear the packages' names."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROOMS = ("cli", "kernels", "profiling", "reports")

pytestmark = pytest.mark.skipif(importlib.util.find_spec("importlinter") is None, reason="needs import-linter")


def linked(package: Path, rooms: dict[str, Path]) -> None:
    package.mkdir(parents=True)
    for name, target in rooms.items():
        (package / name).symlink_to(target)
    for file in (ROOT / "cli" / "_package").glob("*.py"):
        (package / file.name).symlink_to(file)


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


def test_the_contracts_are_kept(tmp_path: Path) -> None:
    linked(tmp_path / "ssdprof", {room: ROOT / room for room in ROOMS})
    found = lint_imports(tmp_path)
    assert 0 == found.returncode, found.stdout + found.stderr
    assert "3 kept, 0 broken" in found.stdout


def test_an_import_against_the_direction_would_be_found(tmp_path: Path) -> None:
    profiling = tmp_path / "changed"
    profiling.mkdir()
    for file in (ROOT / "profiling").glob("*.py"):
        (profiling / file.name).symlink_to(file)
    (profiling / "astray.py").write_text("from ssdprof.reports import tables\n")
    linked(tmp_path / "ssdprof", {**{room: ROOT / room for room in ROOMS}, "profiling": profiling})
    found = lint_imports(tmp_path)
    assert 1 == found.returncode
    assert "ssdprof.profiling.astray -> ssdprof.reports.text.tables" in found.stdout
