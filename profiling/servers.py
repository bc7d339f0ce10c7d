"""The process that a sweep's workers are forked from, started as early as may be: imports are what takes time."""

from __future__ import annotations

from ssdprof.profiling.fork_server import ForkServer
from ssdprof.profiling.worker import Worker

WORKER_ENV = {"TRITON_INTERPRET": None}
"""Laid over the environment of every worker: kernels are compiled, whatever the caller does."""
_COMPILE_WARM_UP = "ssdprof.profiling.compiler:warm_up"
_MEASURE = "ssdprof.profiling.measure"
MEASURER_MAIN = "ssdprof.profiling.beginning:serve"


def start_server() -> ForkServer:
    """A server that begins at once; its workers have what compiling needs."""
    server = ForkServer(WORKER_ENV)
    server.preload(_COMPILE_WARM_UP)
    return server


def start_measurer(server: ForkServer) -> Worker:
    """A worker that measures, running at once.

    It imports by itself what `server` imports meanwhile, and so waits for nothing that compiling alone needs. The
    processes after its first are forked from `server`.
    """
    worker = Worker(WORKER_ENV, successor=server, main=MEASURER_MAIN)
    worker.start()
    return worker


def expect_measuring(server: ForkServer) -> None:
    """Lets the server load torch too, where it has not yet: workers forked from now on have what measuring needs."""
    server.preload("importlib:import_module", _MEASURE)
