"""The command line on bad input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_sweeps import IdlePool, ship

from ssdprof.cli.main import run as ssdprof
from ssdprof.profiling.gpu import devices as device
from ssdprof.profiling.sweep import explain as explain_module
from ssdprof.profiling.sweep import sweep as sweep_module
from ssdprof.profiling.workers import pool as pool_module

Say = Callable[..., str]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs the command line, which must fail with code 2 before any work; returns its one line."""

    def never(*_: Any) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(device, "gpus", lambda: ())
    monkeypatch.setattr(pool_module, "Pool", IdlePool)
    ship(monkeypatch)
    monkeypatch.setattr(sweep_module, "sweep", never)
    monkeypatch.setattr(explain_module, "Sweep", never)

    def line(*arguments: str) -> str:
        assert 2 == ssdprof(arguments)
        captured = capsys.readouterr()
        assert "" == captured.out
        assert 1 == captured.err.count("\n")
        assert captured.err.endswith("\n")
        return captured.err.rstrip("\n")

    return line
