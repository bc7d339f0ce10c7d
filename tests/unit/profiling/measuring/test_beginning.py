"""The beginning of a process that measures: what it loads before it is asked, and which GPU it will see."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from calls import call
from host_timer import HOST

from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling import api
from ssdprof.profiling.gpu import driver
from ssdprof.profiling.measuring import beginning
from ssdprof.profiling.workers import pool as pool_module
from ssdprof.profiling.workers.pool import Pool

SMALL = ChunkScan(ChunkScanProblem(seqlen=16, nheads=1, ngroups=1, headdim=16, dstate=16, chunk_size=16))
PREPARE = "ssdprof.profiling.measuring.beginning:prepare"


@pytest.mark.slow
def test_it_loads_what_measuring_needs_and_ends_with_the_sweep() -> None:
    with closing(Pool(measurers=1)) as pool:
        [worker] = pool.measurers
        assert call(worker, PREPARE, SMALL, HOST, 0).copy_gbps is None
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
            seen.append((os.environ["CUDA_VISIBLE_DEVICES"], arguments[1:]))

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    monkeypatch.setattr(beginning, "open_context", lambda: None)
    monkeypatch.setattr(beginning.importlib, "import_module", lambda name: Measure)
    beginning.prepare(SMALL, "cuda:0", 7, "GPU-1")
    beginning.prepare(SMALL, "cpu", 7, "GPU-2")

    assert [("GPU-1", ("cuda:0", 7, "GPU-1")), ("GPU-1", ("cpu", 7, "GPU-2"))] == seen


def test_nothing_that_measures_is_started_without_a_driver_or_if_no_gpu_is_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pool_module, "Pool", lambda measurers: measurers)
    monkeypatch.setattr(driver, "DRIVER_FILES", (tmp_path / "none", tmp_path))
    assert (1, 1, 0) == (api.started(), api.started("0"), api.started("none"))
    monkeypatch.setattr(driver, "DRIVER_FILES", (tmp_path / "none",))
    assert (0, 0) == (api.started(), api.started("0"))
