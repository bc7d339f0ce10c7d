"""A made-up GPU that times the fake kernel: launches run on the CPU, what they took is made up and the same each time.

A launch takes a sixteenth of its config's block_m in ms, give or take 0.1 %; every third batch is throttled by power,
and 20 % slower. `NoisyTimer` is 5 % off at random, `HotTimer` always throttled, `SilentTimer` has no NVML.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import fake_kernel

from ssdprof.profiling.model import Conditions, TimedBy

COOL = Conditions(sm_clock_mhz=1980, memory_clock_mhz=2619, power_w=400.0, temperature_c=45, throttled=())
HOT = Conditions(sm_clock_mhz=1600, memory_clock_mhz=2619, power_w=699.0, temperature_c=60, throttled=("power cap",))


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
        return fake_kernel.last_latency_ms

    def batch(
        self, launch: Callable[[], Any], samples: int, latency_ms: float, timed_by: TimedBy | None
    ) -> tuple[tuple[float, ...], TimedBy, Conditions]:
        launch()
        self.batches += 1
        base_ms = fake_kernel.last_latency_ms
        rng = random.Random(f"{base_ms}")
        conditions = self.conditions()
        slower = 1.2 if conditions.throttled else 1.0
        times_ms = tuple(slower * base_ms * (1 + rng.uniform(-self.noise, self.noise)) for _ in range(samples))
        return times_ms, timed_by or ("graph" if latency_ms < 0.2 else "events"), conditions

    def conditions(self) -> Conditions:
        return HOT if self.batches % self.throttle_every == 0 else COOL


class SteadyTimer(FakeTimer):
    """Never throttled: the same batches whatever was measured before."""

    def conditions(self) -> Conditions:
        return COOL


class NoisyTimer(SteadyTimer):
    noise = 0.05


class HotTimer(FakeTimer):
    throttle_every = 1


class SilentTimer(SteadyTimer):
    def conditions(self) -> Conditions:
        return replace(COOL, throttled=None, power_w=None)
