"""Made-up runs for the benchmarks in place of those of a GPU, and the benchmarks themselves."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fake_runs import H100_GPU, HEADER

from ssdprof.kernels.config import config_id
from ssdprof.kernels.interface import Config
from ssdprof.profiling.runs.model import Batch, Row, Run, Status
from ssdprof.profiling.runs.rank import rank, timing_of

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # where they find each other when run as scripts
FAST, MIDDLE, SLOW = (Config(64, 64, 32, 128, num_warps=4, num_stages=stages) for stages in (2, 3, 4))


def benchmark(name: str) -> Any:
    return importlib.import_module(name)


def row(config: Config, *samples_ms: float, status: Status = "ok", reason: str = "") -> Row:
    timing = timing_of([Batch(config_id(config), samples_ms, "events")]) if samples_ms else None
    return Row(config, config_id(config), status, reason, timing=timing)


def run(*rows: Row) -> Run:
    return Run(HEADER, rank(rows, None))


def give_gpu(module: ModuleType, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(benchmark("sweeps"), "gpus", lambda: (H100_GPU,))
    assert H100_GPU is module.require_gpu(SimpleNamespace(error=pytest.fail))


def give_sweeps(module: ModuleType, patch: pytest.MonkeyPatch, sweep: Callable[[list[str]], Run]) -> list[list[str]]:
    """Lets the script get its runs from `sweep`; the options of each sweep that it asks for."""
    asked: list[list[str]] = []

    def swept(options: Sequence[str], path: Path, **_: Any) -> Any:
        asked.append(list(options))
        return benchmark("sweeps").Swept(sweep(list(options)), 9.0)

    patch.setattr(module, "swept", swept)
    return asked
