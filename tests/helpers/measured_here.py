"""Kernels of the fake subject measured in this process, planted ones among them."""

from __future__ import annotations

from collections.abc import Callable

import fake_launches
import pytest
from fake_kernel import FakeSubject, fake
from fake_launches import FakeKernel, Tensors, write

from ssdprof.profiling.measuring.check import judge
from ssdprof.profiling.measuring.measure import measure
from ssdprof.profiling.runs.measured import Measurement
from ssdprof.profiling.runs.model import Status

SUBJECT = FakeSubject()

Trouble = Callable[[int, Tensors], object]


def planted(monkeypatch: pytest.MonkeyPatch, name: str, trouble: Trouble) -> None:
    """A correct kernel of that name with a trouble after each launch, which is told the launch's number."""
    launches = 0

    def body(t: Tensors) -> None:
        nonlocal launches
        launches += 1
        write(t)
        trouble(launches, t)

    monkeypatch.setattr(fake_launches, name, FakeKernel(body), raising=False)


def measured(name: str, **values: int) -> Measurement:
    config = fake(name, **values)
    return measure(SUBJECT.launch(config), config, name)


def status(measurement: Measurement) -> tuple[Status, str]:
    return judge(measurement.check, {one.output: one for one in SUBJECT.tolerances()})
