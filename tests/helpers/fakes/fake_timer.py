"""A made-up GPU that times the fake kernel: launches run on the CPU, what they took is made up and the same each time.

A launch takes a sixteenth of its config's ROWS in ms, give or take 0.1 %; every third batch is throttled by power,
and 20 % slower. `SteadyTimer` is never throttled, `NoisyTimer` 5 % off at random, `DriftingTimer` slower from batch to
batch, `HotTimer` always throttled, `SilentTimer` has no NVML.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import fake_launches
from calls import call

from ssdprof.profiling.runs.measured import Conditions, TimedBy
from ssdprof.profiling.workers import pool
from ssdprof.profiling.workers.fork_server import ForkServer
from ssdprof.profiling.workers.pool import WORKER_ENV
from ssdprof.profiling.workers.worker import Worker

COOL = Conditions(sm_clock_mhz=1980, memory_clock_mhz=2619, power_w=400.0, temperature_c=45, throttled=())
HOT = Conditions(sm_clock_mhz=1600, memory_clock_mhz=2619, power_w=699.0, temperature_c=60, throttled=("power cap",))
SLOWER_WHEN_HOT = 1.2
DRIFT, DRIFT_BATCHES = 0.03, 40.0


class FakeTimer:
    device = "cpu"
    on_gpu = False
    noise = 0.001
    throttle_every = 3

    def __init__(self) -> None:
        self.batches = 0
        self.loads_ms: list[float] = []

    def synchronize(self) -> None:
        pass

    @contextmanager
    def under_load(self, duration_ms: float) -> Iterator[None]:
        self.loads_ms.append(duration_ms)
        yield

    def once_ms(self, launch: Callable[[], Any]) -> float:
        launch()
        return fake_launches.last_latency_ms

    def batch(
        self,
        launch: Callable[[], Any],
        samples: int,
        latency_ms: float,
        timed_by: TimedBy | None,
        reset: Callable[[], None] | None = None,
    ) -> tuple[tuple[float, ...], TimedBy, Conditions]:
        if reset:
            reset()
        launch()
        self.batches += 1
        base_ms = fake_launches.last_latency_ms
        rng = random.Random(self.noise_seed(base_ms))
        conditions = self.conditions()
        base_ms *= self.drift() * (SLOWER_WHEN_HOT if conditions.throttled else 1.0)
        times_ms = tuple(base_ms * (1 + rng.uniform(-self.noise, self.noise)) for _ in range(samples))
        return times_ms, timed_by or ("graph" if latency_ms < 0.2 else "events"), conditions

    def conditions(self) -> Conditions:
        return HOT if self.batches % self.throttle_every == 0 else COOL

    def noise_seed(self, base_ms: float) -> str:
        """By the config alone, so that a batch is the same whatever was timed before it."""
        return f"{base_ms}"

    def drift(self) -> float:
        return 1.0


class SteadyTimer(FakeTimer):
    def conditions(self) -> Conditions:
        return COOL


class HeldUpTimer(SteadyTimer):
    """1.9 times as slow in its first batch."""

    def drift(self) -> float:
        return 1.9 if self.batches == 1 else 1.0


class NoisyTimer(SteadyTimer):
    noise = 0.05

    def noise_seed(self, base_ms: float) -> str:
        return f"{base_ms}/{self.batches}"


class DriftingTimer(SteadyTimer):
    """As a GPU that grows warm: 3 % slower in the end, half of that after some thirty batches."""

    def drift(self) -> float:
        return 1 + DRIFT * (1 - math.exp(-self.batches / DRIFT_BATCHES))


class HotTimer(FakeTimer):
    throttle_every = 1


class SilentTimer(SteadyTimer):
    def conditions(self) -> Conditions:
        return replace(COOL, throttled=None, power_w=None)


class _LastingServer(ForkServer):
    """Ends its children alone when a sweep closes it."""

    def __init__(self) -> None:
        super().__init__(WORKER_ENV)
        self.forked: list[int] = []

    def hang_up(self) -> None:
        pass

    def fork(self, main: str, argument_fd: int, stderr_fd: int, env: Mapping[str, str | None]) -> int:
        self.forked.append(super().fork(main, argument_fd, stderr_fd, env))
        return self.forked[-1]

    def close(self) -> None:
        while self.forked:
            self.kill(self.forked.pop(), grace_s=5.0)


@contextmanager
def imports_paid_once() -> Iterator[None]:
    """The sweeps inside fork their workers from one process, which has imported torch once for all of them."""
    server = _LastingServer()
    server.preload("ssdprof.profiling.binary.compiler:warm_up")
    server.preload("importlib:import_module", "ssdprof.profiling.measuring.measure")
    with closing(Worker(WORKER_ENV, server)) as worker:
        call(worker, "os:getpid")  # which waits for the imports, so that no timeout has to
        server.close()
    try:
        with patch.object(pool, "ForkServer", lambda env: server):
            yield
    finally:
        ForkServer.hang_up(server)
        ForkServer.close(server)
