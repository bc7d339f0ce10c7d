"""The process that a sweep's workers are forked from, started as early as may be: imports are what takes time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing

from ssdprof.kernels.interface import LaunchPlan
from ssdprof.profiling.runs.model import Compiled
from ssdprof.profiling.workers.fork_server import ForkServer
from ssdprof.profiling.workers.worker import Failure, Worker, wait_any

WORKER_ENV = {"TRITON_INTERPRET": None}
"""Laid over the environment of every worker: kernels are compiled, whatever the caller does."""
COMPILE = "ssdprof.profiling.binary.compiler:compile_launch"
_TICK_S = 0.2
_COMPILE_WARM_UP = "ssdprof.profiling.binary.compiler:warm_up"
_MEASURE = "ssdprof.profiling.measuring.measure"
MEASURER_MAIN = "ssdprof.profiling.measuring.beginning:serve"


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


def compile_plans(
    plans: Mapping[str, LaunchPlan], arch: str, *, jobs: int, timeout_s: float, on_step: Callable[[int], None]
) -> dict[str, Compiled | Failure]:
    """Each plan compiled for `arch`, at most `jobs` at once, or why it could not be. `on_step` hears how many are."""
    waiting = list(plans)
    done: dict[str, Compiled | Failure] = {}
    with closing(start_server()) as server:
        workers = [Worker(WORKER_ENV, server) for _ in range(min(jobs, len(plans)))]
        while waiting or any(worker.task is not None for worker in workers):
            on_step(len(done))
            for worker in workers:
                if worker.task is None and waiting:
                    name = waiting.pop(0)
                    worker.submit(name, COMPILE, plans[name], arch, timeout_s=timeout_s)
            for worker in wait_any(workers, _TICK_S):
                name = worker.task
                done[name] = worker.outcome()
    return {name: done[name] for name in plans}
