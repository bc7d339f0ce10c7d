"""What is compiled without a GPU is what the GPU ran: registers, spills and shared memory against the recorded run."""

import os
from importlib.metadata import version

import pytest

from ssdprof.kernels.registry import subject_of_run
from ssdprof.kernels.space import space_of
from ssdprof.kernels.ssd.params import PARAMS
from ssdprof.profiling.runs.recorded import recorded_run
from ssdprof.profiling.sweep.request import SweepRequest
from ssdprof.profiling.sweep.sweep import sweep

RECORDED = recorded_run(None)


@pytest.mark.slow
@pytest.mark.skipif(
    version("triton") != RECORDED.header.triton, reason=f"the run was recorded with Triton {RECORDED.header.triton}"
)
@pytest.mark.parametrize("name", ["tensorrt-llm-pr", "vllm"])
def test_registers_spills_and_shared_memory_equal_those_on_the_gpu(name: str) -> None:
    subject = subject_of_run(RECORDED.header.kernel, RECORDED.header.problem)
    configs = space_of(subject, name).configs
    there = {row.config_id: row.compiled for row in RECORDED.rows}
    request = SweepRequest(subject, name, configs, "sm_90", None, 0, None, os.cpu_count() or 1, 300.0, "test")

    run = sweep(request, lambda _: None, lambda _: None)

    assert [PARAMS.id(config) for config in configs] == [row.config_id for row in run.rows]
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
