"""Times launches on a GPU, with L2 flushed and NVML watching."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ssdprof.profiling.gpu.telemetry import Telemetry
from ssdprof.profiling.measuring.amounts import COPY_BYTES, FLUSH_L2_FACTOR, LOAD_BYTES
from ssdprof.profiling.runs.measured import Conditions, TimedBy
from ssdprof.profiling.workers.fork_server import function_named

GRAPH_BELOW_MS = 0.2
"""Launches shorter than this are timed inside a CUDA graph, where the host's launch overhead cannot reach them."""
WARM_UP_MS = 2.0
"""Launches that do not count run for at least this long before each batch."""
MAX_WARM_UP_LAUNCHES = 50
SLEEP_CYCLES_PER_SAMPLE = 200_000
"""GPU clocks to sleep before a batch, about 0.1 ms per sample, so the host has queued it before the GPU begins."""
SLEEP_CYCLES_ONCE = 1_000_000
"""The same before a single launch, about 0.5 ms: a slow host's launch overhead must not count as latency."""
LOAD_FACTOR = 1.25
"""How long copies run beside a launch, relative to its time alone."""
MAX_LOAD_COPIES = 200
"""The most copies beside one launch: about 10 ms on an H100."""

Launch = Callable[[], Any]
Reset = Callable[[], None]
"""Runs before every launch and is not timed."""
Timed = tuple[tuple[float, ...], TimedBy, Conditions]
_Pair = tuple[torch.cuda.Event, torch.cuda.Event]


class CudaTimer:
    """Times launches by CUDA events on the current stream, between two reads of NVML. `device` is torch's name for it.

    Reading a buffer of FLUSH_L2_FACTOR times its size flushes L2: a flush that writes would leave dirty lines behind,
    and the timed launch would pay for writing them back.
    """

    on_gpu = True

    def __init__(self, device: str, visible: str) -> None:
        self.device = device
        flush_bytes = FLUSH_L2_FACTOR * torch.cuda.get_device_properties(device).L2_cache_size
        self._flushed = torch.zeros(max(1, flush_bytes // 4), dtype=torch.float32, device=device)
        self._sink = torch.empty((), dtype=torch.float32, device=device)
        self._load = [torch.zeros(LOAD_BYTES, dtype=torch.int8, device=device) for _ in range(2)]
        self._side = torch.cuda.Stream(device)
        self._telemetry = Telemetry(visible)
        self._flush()  # the first one loads its kernel, which must not happen between timed launches or inside a graph
        self._add_load()
        self._load_ms = self.once_ms(self._add_load)

    def synchronize(self) -> None:
        """Waits until all launches are done. Raises if one failed."""
        torch.cuda.synchronize()

    @contextmanager
    def under_load(self, duration_ms: float) -> Iterator[None]:
        """Copies on a second stream compete for DRAM, L2, SMs: LOAD_FACTOR times `duration_ms`, or MAX_LOAD_COPIES."""
        with torch.cuda.stream(self._side):
            for _ in range(min(MAX_LOAD_COPIES, 1 + math.ceil(LOAD_FACTOR * duration_ms / self._load_ms))):
                self._add_load()
        yield

    def once_ms(self, launch: Launch) -> float:
        """The rough latency of one launch that has run before, without flushing L2."""
        start, end = _event_pair()
        torch.cuda._sleep(SLEEP_CYCLES_ONCE)
        start.record()
        launch()
        end.record()
        end.synchronize()
        return max(1e-3, float(start.elapsed_time(end)))

    def batch(
        self, launch: Launch, samples: int, latency_ms: float, timed_by: TimedBy | None, reset: Reset = lambda: None
    ) -> Timed:
        """Latencies of `samples` launches after a warm-up, L2 flushed before each; by a CUDA graph if they are short.

        `latency_ms` is the expected time of one.
        """
        timed_by = timed_by or ("graph" if latency_ms < GRAPH_BELOW_MS else "events")
        self._telemetry.begin()
        for _ in range(max(1, min(MAX_WARM_UP_LAUNCHES, math.ceil(WARM_UP_MS / latency_ms)))):
            reset()  # its first run must not be inside a graph
            launch()
        pairs = [_event_pair(inside_graph=timed_by == "graph") for _ in range(samples)]
        if timed_by == "graph":
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._queue(launch, pairs, reset)
            graph.replay()
        else:
            torch.cuda._sleep(SLEEP_CYCLES_PER_SAMPLE * samples)
            self._queue(launch, pairs, reset)
        torch.cuda.synchronize()
        times_ms = tuple(float(start.elapsed_time(end)) for start, end in pairs)
        return times_ms, timed_by, self._telemetry.end()

    def copy_gbps(self) -> float:
        """Median bandwidth of a device-to-device copy, counting bytes read and written, in GB/s."""
        source = torch.empty(COPY_BYTES, dtype=torch.int8, device=self.device).random_()
        target = torch.empty_like(source)
        times_ms = sorted(self.once_ms(lambda: target.copy_(source)) for _ in range(12))
        return 2 * COPY_BYTES / (1e6 * times_ms[len(times_ms) // 2])

    def _queue(self, launch: Launch, pairs: list[_Pair], reset: Reset) -> None:
        for start, end in pairs:
            reset()
            self._flush()
            start.record()
            launch()
            end.record()

    def _flush(self) -> None:
        torch.amax(self._flushed, dim=0, out=self._sink)

    def _add_load(self) -> None:
        self._load[0].copy_(self._load[1])


def timer_for(device: str, visible: str | None) -> CudaTimer:
    """`cuda:N`, or `module:class` of another timer. `visible`: the GPU's entry in CUDA_VISIBLE_DEVICES."""
    return CudaTimer(device, visible or "0") if device.startswith("cuda") else function_named(device)()


def _event_pair(*, inside_graph: bool = False) -> _Pair:
    """(start, end) of a sample. Inside a graph they are external events: nodes that can be read after a replay."""
    start, end = (torch.cuda.Event(enable_timing=True, external=inside_graph) for _ in range(2))
    return start, end
