"""GPU time of launches, by pairs of events that Triton's hooks record."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
import triton

from ssdprof.kernels.captured.live import timing
from ssdprof.kernels.captured.live.timing import SAMPLE, Sample, Timer, timed

clock = count()


class Event:
    """An event of a GPU whose every launch takes 2 ms; the clock is read as often as events are recorded."""

    def __init__(self) -> None:
        self.at: float | None = None

    def record(self) -> None:
        self.at = 2.0 * next(clock)

    def synchronize(self) -> None:
        assert self.at is not None

    def elapsed_time(self, end: Event) -> float:
        if self.at is None or end.at is None:
            raise RuntimeError("not recorded")
        return end.at - self.at


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Timer]:
    monkeypatch.setattr(timing, "new_event", Event)
    timer = Timer()
    timer.attach()
    yield timer
    timer.detach()


def launch() -> None:
    """What Triton does at a launch."""
    triton.knobs.runtime.launch_enter_hook({})
    triton.knobs.runtime.launch_exit_hook({})


def launched(timer: Timer, sample: Sample, times: int) -> None:
    for _ in range(times):
        sample.count += 1
        with timed(timer.pair_for(sample)):
            launch()


def test_all_launches_together_take_as_long_as_those_that_were_timed(timer: Timer) -> None:
    sample = Sample()

    launched(timer, sample, 1000)

    assert SAMPLE == len(sample.pairs)
    assert 2000.0 == sample.total_ms()


def test_the_launches_that_are_timed_are_drawn_from_all(timer: Timer) -> None:
    sample = Sample()
    launched(timer, sample, 64)
    first = max(pair[1].at for pair in sample.pairs)

    launched(timer, sample, 640)

    later = sum(pair[0].at > first for pair in sample.pairs)
    assert 45 < later < 64  # 58 are expected


def test_launches_that_are_not_noted_are_not_timed(timer: Timer) -> None:
    sample = Sample()
    launched(timer, sample, 1)
    at = [event.at for event in sample.pairs[0]]

    launch()

    assert at == [event.at for event in sample.pairs[0]]


def test_without_hooks_nothing_is_timed() -> None:
    sample = Sample()

    launched(Timer(), sample, 3)

    assert sample.total_ms() is None


def test_a_launch_that_failed_has_no_time(timer: Timer) -> None:
    sample = Sample()
    sample.count += 2
    timer.pair_for(sample)
    launched(timer, sample, 1)

    assert 2.0 * 3 == sample.total_ms()


def test_events_that_cannot_be_recorded_do_not_disturb_the_launch(
    timer: Timer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = Sample()
    launched(timer, sample, 1)

    def refuse(_: Event) -> None:
        raise RuntimeError("the event is of another device")

    monkeypatch.setattr(Event, "record", refuse)

    with timed(sample.pairs[0]):
        launch()

    assert 2.0 == sample.total_ms()


def test_detaching_leaves_the_hooks_as_they_were(timer: Timer) -> None:
    hooks = triton.knobs.runtime.launch_enter_hook, triton.knobs.runtime.launch_exit_hook
    assert [1, 1] == [len(hook.calls) for hook in hooks]

    timer.detach()

    assert [[], []] == [hook.calls for hook in hooks]
