"""A made-up GPU under `torch.cuda`: streams, events and graphs with a clock of their own, on CPU tensors.

What is queued runs when the host waits for it, in the order in which it ends; the host's clock moves only by what each
call costs and by waiting. Strict where CUDA is: an event must have been recorded and have happened before it is asked,
an event of a capture must be an external one, nothing is waited for while a graph is captured, a fault stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

CYCLES_PER_MS = 1_980_000
CAPTURING = "CUDA error: operation not permitted when stream is capturing"
CAPTURED_EVENT = "CUDA error: invalid argument"
CAPTURE_FAILED = "CUDA error: operation failed due to a previous error during capture"
NOT_RECORDED = "Both events must be recorded before calculating elapsed time."
NOT_COMPLETED = "Both events must be completed before calculating elapsed time."
WITHOUT_TIMING = "Both events must be created with argument 'enable_timing=True'."
FAULT = "CUDA error: an illegal memory access was encountered"

Action = Callable[[], None]


@dataclass(frozen=True)
class Ran:
    """What the GPU has run, and when: `kind` is the torch operation, `sleep` or `launch`."""

    kind: str
    stream: FakeStream
    start_ms: float
    end_ms: float
    read_bytes: int = 0
    written_bytes: int = 0

    @property
    def duration_ms(self) -> float:
        return self.end_ms - self.start_ms


class FakeStream:
    """Runs what is queued on it one by one; `free_ms` is when the last of it ends."""

    def __init__(self, gpu: FakeCuda, device: Any = None) -> None:
        self.free_ms = 0.0


Node = Callable[[FakeStream], None]


class FakeCuda:
    """One GPU. `ran` is what it has run so far; what is queued and has not been waited for is not in it.

    A torch operation in place takes as long as its bytes take at `bytes_per_ms`, and `call_ms` of the host; the first
    of each kind takes the host `first_call_ms` more, in which its code is loaded: not while a graph is captured.
    """

    def __init__(
        self,
        l2_bytes: int = 1 << 16,
        bytes_per_ms: float = 1 << 21,
        call_ms: float = 0.01,
        event_ms: float = 0.003,
        first_call_ms: float = 5.0,
    ) -> None:
        self.l2_bytes, self.bytes_per_ms = l2_bytes, bytes_per_ms
        self.call_ms, self.event_ms, self.first_call_ms = call_ms, event_ms, first_call_ms
        self.host_ms = 0.0
        self.ran: list[Ran] = []
        self.replays = 0
        self.default = self.current = FakeStream(self)
        self.captured_by: FakeGraph | None = None
        self._queued: list[tuple[Ran, Action | None]] = []
        self._loaded: set[object] = set()
        self._fault: RuntimeError | None = None
        self.running = False
        """Whether operations are those of work that runs, not calls of the host."""

    @contextmanager
    def installed(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """torch.cuda is this GPU, and what changes a tensor runs on it."""
        replaced = {
            "Event": partial(FakeEvent, self),
            "Stream": partial(FakeStream, self),
            "stream": self.on_stream,
            "CUDAGraph": partial(FakeGraph, self),
            "graph": self.capture,
            "_sleep": lambda cycles: self.queue("sleep", cycles / CYCLES_PER_MS),
            "synchronize": self.synchronize,
            "get_device_properties": lambda device: SimpleNamespace(L2_cache_size=self.l2_bytes),
        }
        for name, value in replaced.items():
            monkeypatch.setattr(torch.cuda, name, value)
        with _Operations(self):
            yield

    def of(self, *kinds: str) -> list[Ran]:
        """What ran of these kinds, in order."""
        return [one for one in self.ran if one.kind in kinds]

    def queue(self, kind: str, duration_ms: float, action: Action | None = None, **sizes_bytes: int) -> None:
        """Work on the current stream, whose `action` happens when it ends."""
        first_ms = 0.0 if kind in self._loaded else self.first_call_ms
        self.load(kind)
        self.add(lambda stream: self.start(stream, kind, duration_ms, action, **sizes_bytes), self.call_ms + first_ms)

    def load(self, name: object) -> None:
        """Loads the code of an operation or a kernel, where it is not loaded yet."""
        if name not in self._loaded and self.captured_by is not None:
            self.captured_by.broken = True
            raise RuntimeError(CAPTURING)
        self._loaded.add(name)

    def add(self, node: Node, host_ms: float) -> None:
        """Runs a node on the current stream, or makes it part of the graph that is captured on that."""
        self.fail_if_broken()
        self.host_ms += host_ms
        graph = self.captured_by
        if graph is not None and graph.stream is self.current:
            graph.nodes.append(node)
        else:
            node(self.current)

    def synchronize(self) -> None:
        """Waits for everything."""
        self.wait_until(max([self.host_ms, *[ran.end_ms for ran, _ in self._queued]]))

    def wait_until(self, time_ms: float) -> None:
        """The host waits, and what has ended by then has run. Raises for what went wrong."""
        self.fail_if_broken()
        if self.captured_by is not None:
            self.captured_by.broken = True
            raise RuntimeError(CAPTURING)
        self.host_ms = max(self.host_ms, time_ms)
        done = [one for one in self._queued if one[0].end_ms <= self.host_ms]
        self._queued = [one for one in self._queued if one[0].end_ms > self.host_ms]
        self.running = True
        try:
            for ran, action in sorted(done, key=lambda one: one[0].end_ms):
                self.ran.append(ran)
                if action:
                    action()
        except RuntimeError as fault:
            self._fault = fault
            raise
        finally:
            self.running = False

    def fail_if_broken(self) -> None:
        """Raises the fault of an earlier launch, as every call does once there was one."""
        if self._fault is not None:
            raise self._fault

    @contextmanager
    def on_stream(self, stream: FakeStream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def capture(self, graph: FakeGraph) -> Iterator[None]:
        self.synchronize()
        with self.on_stream(graph.stream):
            self.captured_by = graph
            try:
                yield
            finally:
                self.captured_by = None
                if graph.broken:
                    raise RuntimeError(CAPTURE_FAILED)
        graph.is_whole = True

    def start(
        self, stream: FakeStream, kind: str, duration_ms: float, action: Action | None, **sizes_bytes: int
    ) -> None:
        """Puts work behind what the stream has, to begin now at the earliest."""
        start_ms = max(stream.free_ms, self.host_ms)
        stream.free_ms = start_ms + duration_ms
        self._queued.append((Ran(kind, stream, start_ms, stream.free_ms, **sizes_bytes), action))


class FakeEvent:
    """As torch.cuda.Event; `time_ms` is when it happens, None where that is not known."""

    def __init__(self, gpu: FakeCuda, enable_timing: bool = False, external: bool = False) -> None:
        self._gpu, self._enable_timing, self._external = gpu, enable_timing, external
        self._recorded = self._captured = False
        self.time_ms: float | None = None

    def record(self) -> None:
        capturing = self._gpu.captured_by is not None and self._gpu.captured_by.stream is self._gpu.current
        self._recorded = True
        self._captured = capturing and not self._external
        self._gpu.add(self._happen, self._gpu.event_ms)

    def synchronize(self) -> None:
        if self.time_ms is not None:
            self._gpu.wait_until(self.time_ms)

    def query(self) -> bool:
        """Whether it has happened."""
        self._gpu.fail_if_broken()
        return self.time_ms is None or self.time_ms <= self._gpu.host_ms

    def elapsed_time(self, end: FakeEvent) -> float:
        self._gpu.fail_if_broken()
        both = (self, end)
        if not all(event._enable_timing for event in both):
            raise ValueError(WITHOUT_TIMING)
        if not all(event._recorded for event in both):
            raise ValueError(NOT_RECORDED)
        if any(event._captured for event in both):
            raise RuntimeError(CAPTURED_EVENT)
        if self.time_ms is None or end.time_ms is None:
            raise RuntimeError("CUDA error: invalid resource handle")  # of a graph that was not replayed
        if max(self.time_ms, end.time_ms) > self._gpu.host_ms:
            raise RuntimeError(NOT_COMPLETED)
        return end.time_ms - self.time_ms

    def _happen(self, stream: FakeStream) -> None:
        if not self._captured:
            self.time_ms = max(stream.free_ms, self._gpu.host_ms)


class FakeGraph:
    """As torch.cuda.CUDAGraph, with the stream that it is captured on."""

    def __init__(self, gpu: FakeCuda) -> None:
        self._gpu = gpu
        self.stream = FakeStream(gpu)
        self.nodes: list[Node] = []
        self.broken = self.is_whole = False

    def replay(self) -> None:
        assert self.is_whole, "Called CUDAGraph::replay without a preceding successful capture."
        self._gpu.fail_if_broken()
        self._gpu.host_ms += self._gpu.call_ms
        self._gpu.replays += 1
        for node in self.nodes:
            node(self._gpu.current)


class FakeLaunch:
    """A launch of a kernel, which like a Triton kernel is loaded by the first one, so not while a graph is captured.

    It takes the GPU `durations_ms`, one after the other and the last for ever, and the host `call_ms`. `runs` counts
    those that ran, the one of number `faults` (from 1) with a fault. Each of them `does` something besides.
    """

    def __init__(
        self,
        gpu: FakeCuda,
        *durations_ms: float,
        call_ms: float = 0.04,
        faults: int | None = None,
        does: Action = lambda: None,
    ) -> None:
        self._gpu, self._durations_ms, self._call_ms, self._faults = gpu, durations_ms, call_ms, faults
        self._started = self.runs = 0
        self._does = does

    def __call__(self) -> None:
        self._gpu.load(self)
        self._gpu.add(self._start, self._call_ms)

    def _start(self, stream: FakeStream) -> None:
        duration_ms = self._durations_ms[min(self._started, len(self._durations_ms) - 1)]
        self._started += 1
        self._gpu.start(stream, "launch", duration_ms, self._run)

    def _run(self) -> None:
        self.runs += 1
        if self.runs == self._faults:
            raise RuntimeError(FAULT)
        self._does()


class _Operations(TorchDispatchMode):
    """Queues torch's operations that change a tensor; what makes a new one runs at once."""

    def __init__(self, gpu: FakeCuda) -> None:
        super().__init__()
        self._gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._gpu.running or not func._schema.is_mutable:
            return func(*args, **kwargs)
        read_bytes = written_bytes = 0
        result = None
        named = {argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)} | kwargs
        for argument in func._schema.arguments:
            value = named.get(argument.name)
            if isinstance(value, torch.Tensor):
                if argument.alias_info is not None and argument.alias_info.is_write:
                    written_bytes += value.nbytes
                    result = value
                else:
                    read_bytes += value.nbytes
        duration_ms = (read_bytes + written_bytes) / self._gpu.bytes_per_ms
        self._gpu.queue(
            func._schema.name.removeprefix("aten::"),
            duration_ms,
            lambda: func(*args, **kwargs),
            read_bytes=read_bytes,
            written_bytes=written_bytes,
        )
        return result
