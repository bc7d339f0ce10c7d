"""The CPU as the device that measures: its launches are timed as they run, by the host's clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ssdprof.profiling.runs.measured import Conditions, TimedBy

if TYPE_CHECKING:
    from ssdprof.profiling.measuring.timer import Launch, Reset, Timed

HOST = "host_timer:HostTimer"
"""As a sweep's device."""


class HostTimer:
    """Times launches by the host's clock: for kernels that run on the CPU, where no GPU is made up."""

    device = "cpu"
    on_gpu = False

    def synchronize(self) -> None:
        """Does nothing: launches on the CPU are done when they return."""

    @contextmanager
    def under_load(self, duration_ms: float) -> Iterator[None]:
        """No load: launches on the CPU run one by one."""
        yield

    def once_ms(self, launch: Launch) -> float:
        """The time of one call."""
        start_s = time.perf_counter()
        launch()
        return 1e3 * (time.perf_counter() - start_s)

    def batch(
        self, launch: Launch, samples: int, latency_ms: float, timed_by: TimedBy | None, reset: Reset = lambda: None
    ) -> Timed:
        """The times of `samples` calls; nothing is warmed up or flushed."""
        times_ms = []
        for _ in range(samples):
            reset()
            times_ms.append(self.once_ms(launch))
        return tuple(times_ms), "host", Conditions()
