"""What is compiled without a GPU is what the GPU ran: registers, spills and shared memory against the recorded run."""

import os
from importlib.metadata import version

import pytest

from ssdprof.kernels.config import config_id
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.spaces import space
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.runs.store import recorded_runs
from ssdprof.profiling.sweep.request import SweepRequest
from ssdprof.profiling.sweep.sweep import sweep

RECORDED = next(run for run in recorded_runs() if run.header.problem["seqlen"] == 50_000)


@pytest.mark.skipif(
    version("triton") != RECORDED.header.triton, reason=f"the run was recorded with Triton {RECORDED.header.triton}"
)
@pytest.mark.parametrize("name", ["tensorrt-llm-pr", "vllm"])
def test_registers_spills_and_shared_memory_equal_those_on_the_gpu(name: str) -> None:
    problem = ChunkScanProblem(**RECORDED.header.problem)
    configs = space(name, dstate=problem.dstate).configs
    there = {row.config_id: row.compiled for row in RECORDED.rows}
    request = SweepRequest(
        ChunkScan(), problem, name, configs, "sm_90", None, 0, None, os.cpu_count() or 1, 300.0, "test"
    )

    run = sweep(request, lambda _: None, lambda _: None)

    assert [config_id(config) for config in configs] == [row.config_id for row in run.rows]
    for row in run.rows:
        ours, theirs = row.compiled, there[row.config_id]
        assert ours is not None
        assert theirs is not None
        assert (
            theirs.registers_per_thread,
            theirs.spill_bytes,
            theirs.dynamic_shared_mem_bytes,
            theirs.num_warps,
            theirs.num_barriers,
        ) == (
            ours.registers_per_thread,
            ours.spill_bytes,
            ours.dynamic_shared_mem_bytes,
            ours.num_warps,
            ours.num_barriers,
        ), row.config_id
