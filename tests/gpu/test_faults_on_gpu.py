"""A kernel that faults, hangs or races on a real GPU costs its own row and nothing else."""

import sys
from pathlib import Path

import pytest

from ssdprof.kernels.interface import Config
from ssdprof.kernels.problem import ChunkScanProblem
from ssdprof.profiling.device import gpus
from ssdprof.profiling.request import SweepRequest
from ssdprof.profiling.sweep import sweep

pytestmark = pytest.mark.gpu


def test_a_fault_a_hang_and_a_race_cost_one_row_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    from faulty_kernels import FaultyChunkScan

    gpu = gpus()[0]
    problem = ChunkScanProblem(seqlen=2000, nheads=16, ngroups=2)
    stages = (4, 1, 5, 2, 6, 3)
    configs = tuple(Config(64, 64, 32, 128, num_warps=4, num_stages=count) for count in stages)
    request = SweepRequest(FaultyChunkScan(), problem, "faults", configs, gpu.arch, gpu, 0, configs[0], 4, 20.0, "test")

    run = sweep(request, lambda _: None, lambda _: None)

    statuses = {row.config.num_stages: row.status for row in run.rows}
    assert {4: "ok", 5: "ok", 6: "ok", 1: "launch-error", 2: "timeout", 3: "unstable"} == statuses, run.rows
    assert {4, 5, 6} == {row.config.num_stages for row in run.ranked}
    assert all(row.status_reason and "\n" not in row.status_reason for row in run.rows if row.status != "ok")
    assert "faulty_kernels" in sys.modules
