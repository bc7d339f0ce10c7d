"""GPU time of a program's launches, by pairs of CUDA events that are read at the end: the program never waits."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

SAMPLE = 64
"""Of each kernel with the same shapes, so many launches are timed, drawn from all with equal chance."""
MOST_PAIRS = 20_000
"""Pairs of events that a program may have in all; kernels beyond are not timed."""


@dataclass(slots=True)
class Sample:
    """Pairs of events of some of `count` launches."""

    pairs: list[tuple[Any, Any]] = field(default_factory=list)
    count: int = 0

    def total_ms(self) -> float | None:
        """Their GPU time, scaled to all launches; None without any pair that was recorded."""
        times = []
        for start, end in self.pairs:
            with suppress(Exception):  # an event of a launch that failed
                end.synchronize()
                times.append(start.elapsed_time(end))
        return sum(times) / len(times) * self.count if times else None


def new_event() -> Any:
    """An event that knows when it was recorded."""
    import torch

    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


class Timer:
    """Records events right before and after launches. `attach` it to Triton's hooks, and `detach` it."""

    def __init__(self) -> None:
        self._pairs = 0
        self._random = random.Random(0)  # noqa: S311  # a sample
        self._hooks: Any = None

    def attach(self) -> None:
        """Has Triton call this object at each launch; without Triton's hooks nothing is timed."""
        from triton import knobs

        enter, leave = knobs.runtime.launch_enter_hook, knobs.runtime.launch_exit_hook
        if hasattr(enter, "add") and hasattr(leave, "add"):
            self._hooks = (enter, leave)
            enter.add(_before)
            leave.add(_after)

    def detach(self) -> None:
        """Undoes `attach`."""
        if self._hooks:
            enter, leave = self._hooks
            enter.remove(_before)
            leave.remove(_after)
            self._hooks = None

    def pair_for(self, sample: Sample) -> tuple[Any, Any] | None:
        """Events for a launch that a sample has just counted; None if it is not among those that are timed."""
        if self._hooks is None:
            return None
        if len(sample.pairs) < SAMPLE:
            if self._pairs >= MOST_PAIRS:
                return None
            pair = (new_event(), new_event())
            sample.pairs.append(pair)
            self._pairs += 1
            return pair
        place = self._random.randrange(sample.count)
        return sample.pairs[place] if place < SAMPLE else None


class _OfThread(threading.local):
    pair: tuple[Any, Any] | None = None


_of_thread = _OfThread()


def _before(_: Any) -> None:
    if _of_thread.pair:
        try:
            _of_thread.pair[0].record()
        except Exception:  # events of another GPU: the launch itself must go on
            _of_thread.pair = None


def _after(_: Any) -> None:
    if _of_thread.pair:
        with suppress(Exception):
            _of_thread.pair[1].record()


@contextmanager
def timed(pair: tuple[Any, Any] | None) -> Iterator[None]:
    """Meanwhile this thread's next launch is between the two events."""
    _of_thread.pair = pair
    try:
        yield
    finally:
        _of_thread.pair = None
