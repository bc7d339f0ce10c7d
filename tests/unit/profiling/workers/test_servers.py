"""The server of a sweep: what its workers find loaded when they begin, and that it has not touched a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from calls import call

from ssdprof.profiling.workers.fork_server import ForkServer
from ssdprof.profiling.workers.pool import WORKER_ENV, expect_measuring, start_server
from ssdprof.profiling.workers.worker import Worker


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with closing(start_server()) as server:
        yield server


def test_workers_that_compile_have_triton_the_hash_of_its_files_and_what_the_first_argument_loads(
    server: ForkServer,
) -> None:
    worker = Worker(WORKER_ENV, server)
    loaded = call(worker, "worker_tasks:modules")
    assert {"triton.backends.nvidia.compiler", "ssdprof.profiling.binary.compiler"} <= set(loaded)
    assert 1 == call(worker, "worker_tasks:hashed_files")
    call(worker, "triton.runtime.jit:mangle_type", 1)
    assert loaded == call(worker, "worker_tasks:modules")


def test_workers_that_measure_have_torch_and_neither_a_target_nor_a_gpu(server: ForkServer) -> None:
    expect_measuring(server)
    worker = Worker(WORKER_ENV, server)
    assert {"torch", "triton", "ssdprof.profiling.measuring.measure"} <= set(call(worker, "worker_tasks:modules"))
    assert not call(worker, "torch.cuda:is_initialized")
    assert not call(worker, "worker_tasks:has_target")
