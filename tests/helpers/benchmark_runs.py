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

from ssdprof.kernels.config import Config
from ssdprof.kernels.ssd.params import PARAMS, chunk_scan_config
from ssdprof.profiling.runs.measured import Batch, Check
from ssdprof.profiling.runs.model import Row, Run, Status
from ssdprof.profiling.runs.rank import rank, timing_of

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # where they find each other when run as scripts
FAST, MIDDLE, SLOW = (chunk_scan_config(64, 64, 32, 128, num_warps=4, num_stages=stages) for stages in (2, 3, 4))
CHECK = Check(0.0018, 0.02, 0, 64, repeatable=True, launches=10, seeds=2)


def benchmark(name: str) -> Any:
    return importlib.import_module(name)


def row(config: Config, *samples_ms: float, status: Status = "ok", reason: str = "") -> Row:
    name = PARAMS.id(config)
    timing = timing_of([Batch(name, samples_ms, "events")]) if samples_ms else None
    return Row(config, name, status, reason, check=CHECK if samples_ms else None, timing=timing)


def run(*rows: Row) -> Run:
    return Run(HEADER, rank(rows, None))


def give_gpu(module: ModuleType, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(benchmark("sweeps"), "gpus", lambda: (H100_GPU,))
    assert H100_GPU is module.require_gpu(SimpleNamespace(error=pytest.fail))


def give_sweeps(module: ModuleType, patch: pytest.MonkeyPatch, sweep: Callable[[list[str]], Run]) -> list[list[str]]:
    """Lets the script get its runs from `sweep`; the options of each sweep that it asks for."""
    asked: list[list[str]] = []

    def swept(options: Sequence[str], ids: Sequence[str] = ()) -> tuple[Run, float]:
        asked.append(list(options))
        return sweep(list(options)), 9.0

    patch.setattr(module, "swept", swept)
    return asked
