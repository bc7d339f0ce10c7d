"""The made-up GPU, on which timing is tested without one, shows what a real one does: the same scripts run on both."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import cuda_scripts
import pytest
from interpreted import call

from ssdprof.profiling.gpu.devices import gpus
from ssdprof.profiling.runs.measured import TimedBy
from ssdprof.profiling.workers.worker import Worker

pytestmark = pytest.mark.gpu


def seen(script: str, *arguments: Any) -> Any:
    """What a script shows on the GPU, in a process of its own."""
    if not gpus():
        pytest.fail("these tests need a GPU")
    with closing(Worker({"TRITON_INTERPRET": None})) as worker:
        return call(worker, f"cuda_scripts:{script}", "cuda:0", *arguments)


@pytest.mark.parametrize("script", cuda_scripts.EXPECTED)
def test_a_real_gpu_shows_what_the_made_up_one_shows(script: str) -> None:
    assert cuda_scripts.EXPECTED[script] == seen(script)


@pytest.mark.parametrize("timed_by", ["events", "graph"])
def test_a_real_gpu_is_timed_as_the_made_up_one_is(timed_by: TimedBy) -> None:
    assert cuda_scripts.TIMED | {"way": timed_by} == seen("timing", timed_by)
