"""How long a launch takes in its program, timed as a sweep times it: warmed up, and L2 flushed before each."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from statistics import median
from typing import Any

import torch

from ssdprof.kernels.captured.live.storages import free_bytes
from ssdprof.kernels.captured.live.timing import new_event

TIMED_LAUNCHES = 20
TIMED_MS = 2000.0
"""So many launches are timed, fewer if they take longer than this together."""
WARM_UP_MS = 2.0
MOST_WARM_UP = 50
"""Before, launches that do not count run for so long, or so many of them."""
FLUSH_L2_FACTOR = 2
"""Bytes read before each timed launch to flush L2, as a multiple of its size."""
DELAY_CYCLES, DELAY_CYCLES_PER_LAUNCH = 1_000_000, 200_000
"""Meanwhile the GPU waits for the host to have launched, so that the host's work does not count: 0.5 and 0.1 ms."""
NOT_FLUSHED = (
    "there was no GPU memory to flush L2 with: its time in place is of launches that may find their data in L2"
)

_SPARE_BYTES = 1 << 28
Step = Callable[[], Any]


def in_place_ms(launch: Step, restore: Step, device: torch.device, *, waits: bool) -> tuple[float | None, str]:
    """Median latency of a launch on the current stream in ms, and what to note of it; None if it cannot be timed.

    `restore` puts back what the launch reads and writes, and runs before each. `waits`: whether it waits for the GPU,
    which then has to wait for the host before every launch instead of once.
    """
    times: list[float] = []
    note = ""
    with suppress(Exception), torch.cuda.device(device):
        flush = flush_of(device)
        if flush is None:
            note = NOT_FLUSHED
        steps = [restore, flush] if flush else [restore]
        for step in steps:
            step()  # the first one loads its code, for which the host waits
        times = _timed(launch, steps, 1, waits=waits)
        once_ms = max(1e-3, times[0])
        for _ in range(min(MOST_WARM_UP, math.ceil(WARM_UP_MS / once_ms)) if once_ms < TIMED_MS else 0):
            restore()
            launch()
        if launches := min(TIMED_LAUNCHES, int(TIMED_MS / once_ms)):
            times = _timed(launch, steps, launches, waits=waits)
    return (median(times) if times else None), note


def flush_of(device: torch.device) -> Step | None:
    """Flushes L2 by reading a buffer larger than it; None if there is no memory for that.

    A flush that writes would leave dirty lines, and the timed launch would pay for writing them back.
    """
    size_bytes = FLUSH_L2_FACTOR * torch.cuda.get_device_properties(device).L2_cache_size
    if size_bytes + _SPARE_BYTES > free_bytes(device):
        return None
    try:
        flushed = torch.zeros(max(1, size_bytes // 4), dtype=torch.float32, device=device)
        sink = torch.empty((), dtype=torch.float32, device=device)
    except torch.OutOfMemoryError:
        return None
    return lambda: torch.amax(flushed, dim=0, out=sink)


def _timed(launch: Step, steps: list[Step], launches: int, *, waits: bool) -> list[float]:
    pairs = [(new_event(), new_event()) for _ in range(launches)]
    if not waits:
        torch.cuda._sleep(DELAY_CYCLES + DELAY_CYCLES_PER_LAUNCH * launches)  # type: ignore[no-untyped-call]
    restore, *others = steps
    for start, end in pairs:
        restore()
        if waits:
            torch.cuda._sleep(DELAY_CYCLES)  # type: ignore[no-untyped-call]
        for step in others:
            step()
        start.record()
        launch()
        end.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) for start, end in pairs]
