"""Which timer a device has, and how launches on the CPU are timed."""

from __future__ import annotations

import pytest
from host_timer import HOST, HostTimer

from ssdprof.profiling.measuring import timer as timer_module
from ssdprof.profiling.measuring.timer import timer_for
from ssdprof.profiling.runs.measured import Conditions


def test_the_device_names_the_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timer_module, "CudaTimer", lambda *asked: asked)

    assert ("cuda:0", "GPU-1") == timer_for("cuda:0", "GPU-1")
    assert ("cuda:0", "0") == timer_for("cuda:0", None)
    assert isinstance(timer_for(HOST, None), HostTimer)


def test_on_the_cpu_each_sample_is_one_call() -> None:
    calls: list[int] = []
    timer = HostTimer()
    with timer.under_load(1.0):
        timer.synchronize()

    times_ms, way, conditions = timer.batch(lambda: calls.append(1), 4, 1.0, "graph")

    assert (4, 4, "host", Conditions()) == (len(calls), len(times_ms), way, conditions)
    assert all(time_ms > 0 for time_ms in times_ms)


def test_on_the_cpu_too_what_a_launch_reads_and_writes_is_reset_before_each() -> None:
    calls: list[str] = []

    HostTimer().batch(lambda: calls.append("launch"), 3, 1.0, None, lambda: calls.append("reset"))

    assert ["reset", "launch"] * 3 == calls
