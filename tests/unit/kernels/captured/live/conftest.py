"""A program whose kernels run in Triton's interpreter, and a file for what is captured of it."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[4] / "helpers" / "programs" / "launching_program.py"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program, to run in Triton's interpreter."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    spec = spec_from_file_location("launching_program", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file goes."""
    return tmp_path / "launches.ssdprof"
