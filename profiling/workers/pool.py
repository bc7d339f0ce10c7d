"""One pool of processes for everything: some compile, one or more measure, all forked from a server that has done the
imports. A sweep, a verification and the benchmarks differ only in the tasks they hand out.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling.workers.fork_server import ForkServer
from ssdprof.profiling.workers.worker import Failure, Worker, wait_any

WORKER_ENV = {"TRITON_INTERPRET": None}
"""Applied to the environment of every worker: kernels are compiled, even if the caller interprets them."""
COMPILE = "ssdprof.profiling.binary.compiler:compile_launch"
TICK_S = 0.2
_COMPILE_WARM_UP = "ssdprof.profiling.binary.compiler:warm_up"
_MEASURE = "ssdprof.profiling.measuring.measure"
MEASURER_MAIN = "ssdprof.profiling.measuring.beginning:serve"


class Pool:
    """Compilers and measurers. The server starts at once, since imports take the time.

    `measurers` start at once too: each does its own imports alongside the server's, so it does not wait for those that
    only compiling needs; the processes after its first are forked from the server, as is the first if not `early`.
    `env` is applied to the environment of the measurers. Close the pool in the end.
    """

    def __init__(self, *, measurers: int = 0, early: bool = True, env: Mapping[str, str | None] | None = None) -> None:
        self.server = ForkServer(WORKER_ENV)
        self.server.preload(_COMPILE_WARM_UP)
        self.compilers: list[Worker] = []
        self.begun: set[str] = set()
        """The plans that `begin` has handed out, since `began_s`; a sweep hands out the others."""
        self.began_s = 0.0
        self._early: list[tuple[Worker, Any, Any]] = []
        self._was_interrupted = False
        self._dismissed: list[Worker] = []
        env = {**WORKER_ENV, **(env or {})}
        if early:
            self.measurers = [Worker(env, successor=self.server, main=MEASURER_MAIN) for _ in range(measurers)]
            for worker in self.measurers:
                worker.start()
        else:
            self.measurers = [Worker(env, self.server) for _ in range(measurers)]

    @property
    def workers(self) -> list[Worker]:
        """All of them."""
        return [*self.compilers, *self.measurers]

    @property
    def is_compiling(self) -> bool:
        """Whether any compiler is at work."""
        return bool(self._early) or any(worker.task is not None for worker in self.compilers)

    @property
    def is_busy(self) -> bool:
        """Whether any worker is at work."""
        return bool(self._early) or any(worker.task is not None for worker in self.workers)

    def ask(self, function: str, *args: Any, timeout_s: float) -> Any:
        """What `function`, a `module:function`, returns in a process that is ready to compile; or a Failure."""
        worker = Worker(WORKER_ENV, self.server)
        try:
            return run_task(worker, function, *args, timeout_s=timeout_s)
        finally:
            worker.drop()

    def add_compilers(self, count: int) -> None:
        """Adds `count` compilers, which start with their first task."""
        self.compilers += [Worker(WORKER_ENV, self.server) for _ in range(count)]

    def expect_measuring(self) -> None:
        """Has the server load torch too: processes forked from now on have what measuring needs."""
        self.server.preload("importlib:import_module", _MEASURE)

    def expect_descriptors(self) -> None:
        """Has the server load torch once for all compilers: a launch with descriptors needs it."""
        self.server.preload("importlib:import_module", "torch")

    def begin(
        self, plans: Mapping[str, LaunchPlan], arch: str, timeout_s: float, *, jobs: int, enough: int, limit_s: float
    ) -> list[tuple[Any, Any]]:
        """Starts to compile: (plan, outcome) of the first ones, once they are `enough` or after `limit_s`.

        The compilers go on with what they have; `outcomes` gives these again and the others as they come. Ctrl-C ends
        the waiting, and is raised by `outcomes` after these.
        """
        self.began_s = time.monotonic()
        waiting, deadline_s = deque(plans), self.began_s + limit_s
        self.add_compilers(jobs)
        early: list[tuple[Worker, Any, Any]] = []
        try:
            while len(early) < enough and time.monotonic() < deadline_s:
                self.compile(waiting, plans, arch, timeout_s)
                if not self.is_compiling:
                    break
                early += [(worker, worker.task, worker.outcome()) for worker in wait_any(self.compilers, TICK_S)]
        except KeyboardInterrupt:
            self._was_interrupted = True
        self.begun = set(plans) - set(waiting)
        self._early = early
        return [(task, outcome) for _, task, outcome in early]

    def compile(self, waiting: deque[str], plans: Mapping[str, LaunchPlan], arch: str, timeout_s: float) -> None:
        """Gives each idle compiler the next of the `waiting` plans."""
        for worker in self.compilers:
            if worker.task is None and waiting:
                name = waiting.popleft()
                worker.submit(name, COMPILE, plans[name], arch, timeout_s=timeout_s)

    def each(
        self, function: str, tasks: Mapping[str, tuple[Any, ...]], jobs: int, timeout_s: float
    ) -> Iterator[tuple[str, Any]]:
        """(name, what `function` returns for these arguments, or a Failure) as they come, from the idle compilers."""
        self.add_compilers(min(jobs, len(tasks)) - len(self.compilers))
        waiting = deque(tasks)
        while waiting or any(worker.task is not None for worker in self.compilers):
            for worker in self.compilers:
                if worker.task is None and waiting:
                    name = waiting.popleft()
                    worker.submit(name, function, *tasks[name], timeout_s=timeout_s)
            for worker in wait_any(self.compilers, TICK_S):
                name = worker.task
                yield name, worker.outcome()

    def outcomes(self, timeout_s: float = TICK_S) -> list[tuple[Worker, Any, Any]]:
        """(worker, task, outcome) for each that is done or late, after at most `timeout_s`; first those of `begin`."""
        if self._early:
            early, self._early = self._early, []
            return early
        if self._was_interrupted:
            raise KeyboardInterrupt
        return [(worker, worker.task, worker.outcome()) for worker in wait_any(self.workers, timeout_s)]

    def dismiss_measurers(self) -> None:
        """Ends the measurers: nothing will be measured."""
        for worker in self.measurers:
            worker.hang_up()
        self._dismissed, self.measurers = [*self._dismissed, *self.measurers], []

    def hang_up(self) -> None:
        """Has all processes end, without waiting; busy ones get no time to end by themselves."""
        for worker in self.workers:
            if worker.task is not None:
                worker.drop()
        self.server.hang_up()
        for worker in self.measurers:
            worker.hang_up()

    def close(self) -> None:
        """Ends all processes."""
        self.server.close()
        for worker in (*self.workers, *self._dismissed):
            worker.close()


def run_task(worker: Worker, function: str, *args: Any, timeout_s: float) -> Any:
    """Runs one task on a worker as a call: its result, or a Failure."""
    worker.submit(function, function, *args, timeout_s=timeout_s)
    while not wait_any([worker], TICK_S):
        pass
    return worker.outcome()


def compile_plans(
    plans: Mapping[str, LaunchPlan], arch: str, *, jobs: int, timeout_s: float, on_step: Callable[[int], None]
) -> dict[str, Any | Failure]:
    """Each plan compiled for `arch`, at most `jobs` at once, or why not. `on_step` hears how many are done."""
    waiting = deque(plans)
    done: dict[str, Any | Failure] = {}
    with closing(Pool()) as pool:
        pool.add_compilers(min(jobs, len(plans)))
        while waiting or pool.is_busy:
            on_step(len(done))
            pool.compile(waiting, plans, arch, timeout_s)
            done |= {task: outcome for _, task, outcome in pool.outcomes()}
    return {name: done[name] for name in plans}
