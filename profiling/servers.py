"""The process that a sweep's workers are forked from, started as early as may be: imports are what takes time."""

from __future__ import annotations

from ssdprof.profiling.fork_server import ForkServer

WORKER_ENV = {"TRITON_INTERPRET": None}
"""Laid over the environment of every worker: kernels are compiled, whatever the caller does."""
_COMPILE_WARM_UP = "ssdprof.profiling.compiler:warm_up"
_MEASURE = "ssdprof.profiling.measure"


def start_server() -> ForkServer:
    """A server that begins at once; its workers have what compiling needs."""
    server = ForkServer(WORKER_ENV)
    server.preload(_COMPILE_WARM_UP)
    return server


def expect_measuring(server: ForkServer) -> None:
    """Lets the server load torch too, where it has not yet: workers forked from now on have what measuring needs."""
    server.preload("importlib:import_module", _MEASURE)
