"""The made-up GPU is as strict as CUDA: about events, captures and faults."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import cuda_scripts
import pytest
import torch
from fake_cuda import (
    CAPTURE_FAILED,
    CAPTURED_EVENT,
    CAPTURING,
    FAULT,
    NOT_COMPLETED,
    NOT_RECORDED,
    WITHOUT_TIMING,
    FakeCuda,
    FakeGraph,
    FakeLaunch,
)
from fake_nvml import fake_pynvml

from ssdprof.profiling.measuring import timer as timer_module
from ssdprof.profiling.runs.measured import TimedBy

WAYS: tuple[TimedBy, ...] = ("events", "graph")
SIZE_BYTES = 1 << 16
LONG_MS = 2.0
SHORT_MS = 0.05


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    gpu = FakeCuda()
    monkeypatch.setitem(sys.modules, "pynvml", fake_pynvml(driver=False))
    monkeypatch.setattr(timer_module, "LOAD_BYTES", SIZE_BYTES)
    monkeypatch.setattr(timer_module, "COPY_BYTES", SIZE_BYTES)
    with gpu.installed(monkeypatch):
        yield gpu


def pair(**options: bool) -> tuple[torch.cuda.Event, torch.cuda.Event]:
    return torch.cuda.Event(**options), torch.cuda.Event(**options)


def test_the_made_up_gpu_tells_a_time_only_between_events_that_have_happened(gpu: FakeCuda) -> None:
    start, end = pair(enable_timing=True)
    with pytest.raises(ValueError, match=NOT_RECORDED):
        start.elapsed_time(end)

    start.record()
    FakeLaunch(gpu, LONG_MS, call_ms=0.0)()
    end.record()
    with pytest.raises(RuntimeError, match=NOT_COMPLETED):
        start.elapsed_time(end)

    end.synchronize()
    assert pytest.approx(LONG_MS) == start.elapsed_time(end)
    with pytest.raises(ValueError, match=WITHOUT_TIMING):
        pair()[0].elapsed_time(end)


@pytest.mark.parametrize("external", [False, True])
def test_the_made_up_gpu_asks_for_external_events_inside_a_graph(gpu: FakeCuda, external: bool) -> None:
    start, end = pair(enable_timing=True, external=external)
    launch = FakeLaunch(gpu, 1.0, LONG_MS)
    launch()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        start.record()
        launch()
        end.record()
    torch.cuda.synchronize()
    assert 1 == launch.runs
    with pytest.raises(RuntimeError, match="invalid resource handle" if external else CAPTURED_EVENT):
        start.elapsed_time(end)

    graph.replay()
    torch.cuda.synchronize()

    assert 2 == launch.runs
    if external:
        assert pytest.approx(LONG_MS) == start.elapsed_time(end)
    else:
        with pytest.raises(RuntimeError, match=CAPTURED_EVENT):
            start.elapsed_time(end)


def refused_in_capture(call: Callable[[], Any], graph: FakeGraph) -> None:
    """Whoever takes no notice of it hears at the end of the capture."""
    capture = torch.cuda.graph(graph)
    capture.__enter__()
    with pytest.raises(RuntimeError, match=CAPTURING):
        call()
    with pytest.raises(RuntimeError, match=CAPTURE_FAILED):
        capture.__exit__(None, None, None)


def test_the_made_up_gpu_does_not_wait_while_a_graph_is_captured(gpu: FakeCuda) -> None:
    graph = FakeGraph(gpu)

    refused_in_capture(torch.cuda.synchronize, graph)

    with pytest.raises(AssertionError, match="without a preceding successful capture"):
        graph.replay()


def test_the_made_up_gpu_loads_no_code_while_a_graph_is_captured(gpu: FakeCuda) -> None:
    for first in (FakeLaunch(gpu, 1.0), lambda: torch.zeros(1).fill_(1.0)):
        refused_in_capture(first, FakeGraph(gpu))


def test_a_fault_on_the_made_up_gpu_stays(gpu: FakeCuda) -> None:
    FakeLaunch(gpu, LONG_MS, faults=1)()
    with pytest.raises(RuntimeError, match=FAULT):
        torch.cuda.synchronize()

    for call in (torch.cuda.synchronize, lambda: torch.cuda._sleep(1), FakeLaunch(gpu, 1.0)):
        with pytest.raises(RuntimeError, match=FAULT):
            call()


@pytest.mark.parametrize("script", cuda_scripts.EXPECTED)
def test_the_made_up_gpu_shows_what_a_real_one_does(gpu: FakeCuda, script: str) -> None:
    """`tests/gpu` holds a real one to the same."""
    broken = (FakeLaunch(gpu, LONG_MS, faults=1),) if script == "fault" else ()

    assert cuda_scripts.EXPECTED[script] == getattr(cuda_scripts, script)("cpu", *broken)


@pytest.mark.parametrize("timed_by", WAYS)
def test_the_made_up_gpu_is_timed_as_a_real_one_is(gpu: FakeCuda, timed_by: TimedBy) -> None:
    assert cuda_scripts.TIMED | {"way": timed_by} == cuda_scripts.timing("cpu", timed_by)
