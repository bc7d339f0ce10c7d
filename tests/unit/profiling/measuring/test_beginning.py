"""The beginning of a process that measures: what it loads before it is asked, and which GPU it will see."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from calls import call

from ssdprof.cli import options
from ssdprof.cli.options import TargetOptions
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.measuring import beginning
from ssdprof.profiling.workers.pool import start_measurer, start_server

SMALL = ChunkScanProblem(seqlen=16, nheads=1, ngroups=1, headdim=16, dstate=16, chunk_size=16)


def test_it_loads_what_measuring_needs_and_ends_with_the_sweep() -> None:
    with closing(start_server()) as server, closing(start_measurer(server)) as worker:
        assert (
            call(worker, "ssdprof.profiling.measuring.beginning:prepare", ChunkScan(), SMALL, "cpu", 0).copy_gbps
            is None
        )
        assert {"torch", "ssdprof.profiling.measuring.measure"} <= set(call(worker, "worker_tasks:modules"))
        assert not call(worker, "torch.cuda:is_initialized")
        looks_for_garbage, never_looked_at = call(worker, "worker_tasks:looks_for_garbage")
        assert looks_for_garbage
        assert never_looked_at > 10_000


def test_cuda_is_told_which_gpu_before_it_is_asked_for_any(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Measure:
        @staticmethod
        def prepare(*arguments: Any) -> None:
            seen.append((os.environ["CUDA_VISIBLE_DEVICES"], arguments[2:]))

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    monkeypatch.setattr(beginning, "open_context", lambda: None)
    monkeypatch.setattr(beginning.importlib, "import_module", lambda name: Measure)
    beginning.prepare(ChunkScan(), SMALL, "cuda:0", 7, "GPU-1")
    beginning.prepare(ChunkScan(), SMALL, "cpu", 7, "GPU-2")

    assert [("GPU-1", ("cuda:0", 7, "GPU-1")), ("GPU-1", ("cpu", 7, "GPU-2"))] == seen


def test_nothing_that_measures_is_started_without_a_driver_or_where_no_gpu_is_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(options, "DRIVER_FILES", (tmp_path / "none", tmp_path))
    assert TargetOptions().may_measure()
    assert not TargetOptions(device="none").may_measure()
    monkeypatch.setattr(options, "DRIVER_FILES", (tmp_path / "none",))
    assert not TargetOptions().may_measure()
