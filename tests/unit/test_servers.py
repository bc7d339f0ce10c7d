"""The two servers of a sweep: one compiles and never loads torch, one measures and starts when it is wanted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ssdprof.profiling.fork_server import ForkServer
from ssdprof.profiling.servers import WORKER_ENV, Servers
from ssdprof.profiling.worker import Worker, wait_any


@pytest.fixture
def servers() -> Iterator[Servers]:
    with Servers() as servers:
        yield servers


def loaded(server: ForkServer, *modules: str) -> list[bool]:
    worker = Worker(WORKER_ENV, server)
    found = []
    for module in modules:
        worker.submit("loaded", "worker_tasks:has_module", module, timeout_s=60.0)
        while not wait_any([worker], 1.0):
            pass
        found.append(worker.outcome())
    return found


def test_workers_that_compile_have_triton_and_not_torch(servers: Servers) -> None:
    assert [True, False] == loaded(servers.compiling, "triton.backends.nvidia.compiler", "torch")


def test_workers_that_measure_have_both_and_their_server_is_one(servers: Servers) -> None:
    assert [True, True] == loaded(servers.start_measuring(), "triton", "torch")
    assert servers.start_measuring() is servers.start_measuring()
    assert servers.start_measuring() is not servers.compiling


def test_closing_ends_both(servers: Servers) -> None:
    processes = [server._process for server in (servers.compiling, servers.start_measuring())]
    servers.close()
    assert [True, True] == [process.returncode is not None for process in processes if process]
    servers.close()
