"""Short scripts of `torch.cuda` calls that return what can be observed of them.

The made-up GPU of `fake_cuda` must show what a real one shows: each script is run on both. Workers import this module
by its bare name, a new process for each script, since some leave their CUDA context broken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ssdprof.profiling.measuring.timer import CudaTimer
from ssdprof.profiling.runs.measured import TimedBy

CYCLES = 4_000_000
"""Of sleep: some 2 ms."""

Seen = dict[str, Any]


def events(device: str) -> Seen:
    """Times between events, and what is refused."""
    start, middle, end = (torch.cuda.Event(enable_timing=True) for _ in range(3))
    without = torch.cuda.Event()
    seen: Seen = {"not recorded": error_of(lambda: start.elapsed_time(end))}
    torch.cuda._sleep(CYCLES)
    torch.cuda.synchronize()
    start.record()
    torch.cuda._sleep(CYCLES)
    middle.record()
    torch.cuda._sleep(2 * CYCLES)
    end.record()
    without.record()
    seen["has happened"] = [end.query()]
    seen["not happened"] = error_of(lambda: start.elapsed_time(end))
    end.synchronize()
    seen["has happened"].append(end.query())
    seen["without timing"] = error_of(lambda: start.elapsed_time(without))
    first_ms, second_ms, both_ms = start.elapsed_time(middle), middle.elapsed_time(end), start.elapsed_time(end)
    seen["in order"] = 0 < first_ms < second_ms < both_ms
    seen["adds up"] = abs(both_ms - first_ms - second_ms) < 0.01 * both_ms
    seen["backwards"] = abs(end.elapsed_time(start) + both_ms) < 0.01 * both_ms
    return seen


def streams(device: str) -> Seen:
    """Work on another stream runs beside that of the current one, which is the current one again afterwards."""
    side = torch.cuda.Stream(device)
    start, end, side_start, side_end = (torch.cuda.Event(enable_timing=True) for _ in range(4))
    torch.cuda._sleep(CYCLES)
    torch.cuda.synchronize()
    start.record()
    torch.cuda._sleep(10 * CYCLES)
    with torch.cuda.stream(side):
        side_start.record()
        torch.cuda._sleep(CYCLES)
        side_end.record()
    end.record()
    torch.cuda.synchronize()
    return {
        "after the first began": start.elapsed_time(side_start) >= 0,
        "before it ended": side_end.elapsed_time(end) > 0,
        "behind it": start.elapsed_time(end) > 5 * side_start.elapsed_time(side_end),
    }


def graphs(device: str) -> Seen:
    """What is captured runs when it is replayed and each time, and only external events in it can be asked."""
    counter = torch.zeros(1, device=device)
    start, end = (torch.cuda.Event(enable_timing=True, external=True) for _ in range(2))
    inner = torch.cuda.Event(enable_timing=True)
    counter.add_(1.0)
    torch.cuda._sleep(CYCLES)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        inner.record()
        start.record()
        torch.cuda._sleep(CYCLES)
        counter.add_(1.0)
        end.record()
    torch.cuda.synchronize()
    seen: Seen = {"ran": [float(counter[0])]}
    seen["not replayed"] = error_of(lambda: start.elapsed_time(end))
    for _ in range(2):
        graph.replay()
        torch.cuda.synchronize()
        seen["ran"].append(float(counter[0]))
    seen["time passed"] = start.elapsed_time(end) > 0
    seen["of the capture"] = error_of(lambda: inner.elapsed_time(end))
    return seen


def refused_capture(device: str) -> Seen:
    """Nothing is waited for while a graph is captured."""
    torch.cuda._sleep(CYCLES)
    torch.cuda.synchronize()
    capture = torch.cuda.graph(torch.cuda.CUDAGraph())
    capture.__enter__()
    return {"wait": error_of(torch.cuda.synchronize), "end": error_of(lambda: capture.__exit__(None, None, None))}


def fault(device: str, launch: Callable[[], object] | None = None) -> Seen:
    """A launch that goes wrong is heard of when it is waited for, and by all calls from then on.

    On a real GPU it is by default one that reads an element that is not there.
    """
    torch.cuda._sleep(CYCLES)
    torch.cuda.synchronize()
    one, far = torch.zeros(1, device=device), torch.full((1,), 1 << 20, device=device)
    seen = {"launch": error_of(launch or (lambda: one.index_select(0, far))) is not None}
    seen["wait"] = error_of(torch.cuda.synchronize) is not None
    seen["again"] = error_of(torch.cuda.synchronize) is not None
    seen["next launch"] = error_of(lambda: torch.cuda._sleep(1)) is not None
    return seen


def timing(device: str, timed_by: TimedBy) -> Seen:
    """A batch of a launch that reads and writes a tensor, which is reset before each, and what it leaves behind."""
    timer = CudaTimer(device, "0")
    launches, total, before = torch.zeros(1, device=device), torch.zeros(1, device=device), torch.full((1,), 7.0)
    before = before.to(device)

    def launch() -> None:
        torch.cuda._sleep(CYCLES)
        launches.add_(1.0)
        total.add_(1.0)

    times_ms, way, _ = timer.batch(launch, 5, 1.0, timed_by, lambda: total.copy_(before))
    seen: Seen = {"samples": len(times_ms), "way": way, "launches": float(launches[0]), "total": float(total[0])}
    seen["time passed"] = all(time_ms > 0 for time_ms in times_ms)
    seen["alike"] = max(times_ms) < 2 * min(times_ms)
    with timer.under_load(1.0):
        seen["once"] = timer.once_ms(launch) > 0
    timer.synchronize()
    seen["launches then"] = float(launches[0])
    seen["bandwidth"] = timer.copy_gbps() > 0
    return seen


def error_of(call: Callable[[], object]) -> str | None:
    """The kind and the first line of what it raises; None if it does not."""
    try:
        call()
    except (ValueError, RuntimeError) as error:
        kind = "ValueError" if isinstance(error, ValueError) else "RuntimeError"
        return f"{kind}: {str(error).splitlines()[0]}"
    return None


EXPECTED: dict[str, Seen] = {
    "events": {
        "not recorded": "ValueError: Both events must be recorded before calculating elapsed time.",
        "has happened": [False, True],
        "not happened": "RuntimeError: Both events must be completed before calculating elapsed time.",
        "without timing": "ValueError: Both events must be created with argument 'enable_timing=True'.",
        "in order": True,
        "adds up": True,
        "backwards": True,
    },
    "streams": {"after the first began": True, "before it ended": True, "behind it": True},
    "graphs": {
        "ran": [1.0, 2.0, 3.0],
        "not replayed": "RuntimeError: CUDA error: invalid resource handle",
        "time passed": True,
        "of the capture": ("RuntimeError: CUDA error: invalid argument"),
    },
    "refused_capture": {
        "wait": "RuntimeError: CUDA error: operation not permitted when stream is capturing",
        "end": "RuntimeError: CUDA error: operation failed due to a previous error during capture",
    },
    "fault": {"launch": False, "wait": True, "again": True, "next launch": True},
}
"""By script."""
TIMED: Seen = {
    "samples": 5,
    "launches": 2 + 5.0,
    "total": 7.0 + 1,
    "time passed": True,
    "alike": True,
    "once": True,
    "launches then": 2 + 5.0 + 1,
    "bandwidth": True,
}
"""Of `timing`, whichever way."""
