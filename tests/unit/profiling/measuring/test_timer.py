"""How launches are timed: `CudaTimer` on a made-up GPU with a clock of its own, which is as strict as CUDA."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from fake_cuda import FAULT, FakeCuda, FakeLaunch
from fake_nvml import FakeGpu, fake_pynvml

from ssdprof.profiling.measuring import timer as timer_module
from ssdprof.profiling.measuring.amounts import FLUSH_L2_FACTOR
from ssdprof.profiling.measuring.timer import GRAPH_BELOW_MS, LOAD_FACTOR, MAX_WARM_UP_LAUNCHES, WARM_UP_MS, CudaTimer
from ssdprof.profiling.runs.measured import Conditions, TimedBy

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


def cuda_timer(visible: str = "0") -> CudaTimer:
    """On CPU tensors, which are those of the made-up GPU."""
    return CudaTimer("cpu", visible)


def timed(
    gpu: FakeCuda,
    launch: FakeLaunch,
    samples: int,
    timed_by: TimedBy | None,
    expected_ms: float,
    reset: Callable[[], None] = lambda: None,
) -> Any:
    """A batch; what ran for it alone is what the GPU then has run."""
    timer = cuda_timer()
    timer.synchronize()
    gpu.ran.clear()
    return timer.batch(launch, samples, expected_ms, timed_by, reset)


def kinds(gpu: FakeCuda) -> list[str]:
    return [one.kind for one in gpu.ran]


@pytest.mark.parametrize("timed_by", WAYS)
@pytest.mark.parametrize("samples", [1, 7, 40])
def test_there_are_as_many_samples_as_asked_for_each_of_its_own_launch_in_order(
    gpu: FakeCuda, timed_by: TimedBy, samples: int
) -> None:
    warm_up = math.ceil(WARM_UP_MS / LONG_MS)
    expected_ms = [LONG_MS + 0.01 * number for number in range(samples)]
    launch = FakeLaunch(gpu, *[1.0] * warm_up, *expected_ms)

    times_ms, way, conditions = timed(gpu, launch, samples, timed_by, LONG_MS)

    assert pytest.approx(expected_ms) == list(times_ms)
    assert (timed_by, Conditions()) == (way, conditions)
    assert warm_up + samples == launch.runs


@pytest.mark.parametrize("timed_by", WAYS)
def test_before_each_timed_launch_a_multiple_of_l2_is_read_and_nothing_much_written(
    gpu: FakeCuda, timed_by: TimedBy
) -> None:
    launch = FakeLaunch(gpu, LONG_MS)

    timed(gpu, launch, 5, timed_by, LONG_MS)

    last = [one for one in gpu.ran if one.kind != "sleep"][-10:]
    flushes = last[::2]
    assert ["amax", "launch"] * 5 == [one.kind for one in last]
    assert {FLUSH_L2_FACTOR * gpu.l2_bytes} == {one.read_bytes for one in flushes}
    assert max(one.written_bytes for one in flushes) <= 4
    assert len(flushes) == len(gpu.of("amax"))


@pytest.mark.parametrize("timed_by", WAYS)
@pytest.mark.parametrize(
    ("latency_ms", "launches"), [(0.01, MAX_WARM_UP_LAUNCHES), (0.5, 4), (1.5, 2), (2.0, 1), (50.0, 1)]
)
def test_launches_that_are_not_counted_go_on_for_some_time_before(
    gpu: FakeCuda, timed_by: TimedBy, latency_ms: float, launches: int
) -> None:
    launch = FakeLaunch(gpu, latency_ms)

    timed(gpu, launch, 2, timed_by, latency_ms)

    assert launches == kinds(gpu).index("amax" if timed_by == "graph" else "sleep")
    assert launches + 2 == launch.runs


@pytest.mark.parametrize("timed_by", WAYS)
def test_what_a_launch_reads_and_writes_is_reset_before_each_and_that_is_not_timed(
    gpu: FakeCuda, timed_by: TimedBy
) -> None:
    """Before those that warm up too: what is reset first loads code, which a graph does not allow."""
    total, before = torch.zeros(SIZE_BYTES), torch.full((SIZE_BYTES,), 7.0)
    seen: list[float] = []

    def accumulate() -> None:
        seen.append(float(total[0]))
        total.add_(1.0)

    warm_up = math.ceil(WARM_UP_MS / 0.5)
    launch = FakeLaunch(gpu, 0.5, does=accumulate)

    times_ms, _, _ = timed(gpu, launch, 5, timed_by, 0.5, lambda: total.copy_(before))

    assert pytest.approx([0.5] * 5) == list(times_ms)
    assert pytest.approx([7.0] * (warm_up + 5)) == seen
    order = [kind for kind in kinds(gpu) if kind != "sleep"]
    assert ["copy_", "launch"] * warm_up + ["copy_", "amax", "launch"] * 5 == order


@pytest.mark.parametrize(
    ("latency_ms", "asked", "expected"),
    [
        (SHORT_MS, None, "graph"),
        (0.99 * GRAPH_BELOW_MS, None, "graph"),
        (GRAPH_BELOW_MS, None, "events"),
        (LONG_MS, None, "events"),
        (SHORT_MS, "events", "events"),
        (LONG_MS, "graph", "graph"),
    ],
)
def test_short_launches_are_timed_in_a_graph_where_nothing_else_is_asked(
    gpu: FakeCuda, latency_ms: float, asked: TimedBy | None, expected: TimedBy
) -> None:
    _, way, _ = timed(gpu, FakeLaunch(gpu, latency_ms), 3, asked, latency_ms)

    assert expected == way
    assert (1 if expected == "graph" else 0) == gpu.replays


@pytest.mark.parametrize(("timed_by", "call_ms"), [("events", 0.08), ("graph", 0.08), ("graph", 3.0)])
def test_what_the_host_takes_to_launch_is_not_in_the_latency(gpu: FakeCuda, timed_by: TimedBy, call_ms: float) -> None:
    """Also where the host takes longer than the launch."""
    launch = FakeLaunch(gpu, SHORT_MS, call_ms=call_ms)

    times_ms, _, _ = timed(gpu, launch, 30, timed_by, SHORT_MS)

    assert pytest.approx([SHORT_MS] * 30) == list(times_ms)


@pytest.mark.parametrize("timed_by", WAYS)
def test_timed_launches_follow_each_other_without_a_pause(gpu: FakeCuda, timed_by: TimedBy) -> None:
    timed(gpu, FakeLaunch(gpu, SHORT_MS), 20, timed_by, SHORT_MS)

    last = gpu.ran[-40:]
    pauses_ms = [later.start_ms - earlier.end_ms for earlier, later in pairwise(last)]
    assert pytest.approx([0.0] * 39) == pauses_ms


def test_the_first_launch_in_a_process_is_not_inside_a_graph(gpu: FakeCuda) -> None:
    """It loads the kernel, which may not happen while a graph is captured."""
    times_ms, _, _ = timed(gpu, FakeLaunch(gpu, SHORT_MS), 3, "graph", SHORT_MS)

    assert 3 == len(times_ms)


@pytest.mark.parametrize("timed_by", WAYS)
def test_nvml_is_asked_before_the_first_launch_and_after_the_last(
    gpu: FakeCuda, monkeypatch: pytest.MonkeyPatch, timed_by: TimedBy
) -> None:
    ours, other = FakeGpu("GPU-1111"), FakeGpu("GPU-2222")
    module = fake_pynvml(other, ours)
    launch = FakeLaunch(gpu, LONG_MS)
    module.nvmlDeviceGetTemperature = lambda one, _: launch.runs if one is ours else -1
    module.nvmlDeviceGetCurrentClocksEventReasons = lambda one: 0x20 if one is ours and launch.runs == 0 else 0
    monkeypatch.setitem(sys.modules, "pynvml", module)

    _, _, conditions = cuda_timer("GPU-1111").batch(launch, 6, LONG_MS, timed_by)

    assert ("thermal",) == conditions.throttled
    assert math.ceil(WARM_UP_MS / LONG_MS) + 6 == conditions.temperature_c


@pytest.mark.parametrize("duration_ms", [0.01, 0.1, 1.0])
def test_load_runs_beside_a_launch_on_another_stream_for_longer_than_it_takes(
    gpu: FakeCuda, duration_ms: float
) -> None:
    timer = cuda_timer()
    launch = FakeLaunch(gpu, duration_ms)
    launch()
    timer.synchronize()
    gpu.ran.clear()

    with timer.under_load(duration_ms):
        assert gpu.default is gpu.current
        launch()
        timer.synchronize()

    [ours], copies = gpu.of("launch"), gpu.of("copy_")
    load_ms = sum(one.duration_ms for one in copies)
    assert gpu.default is ours.stream
    assert gpu.default not in {one.stream for one in copies}
    assert {(SIZE_BYTES, SIZE_BYTES)} == {(one.read_bytes, one.written_bytes) for one in copies}
    assert (
        LOAD_FACTOR * duration_ms <= load_ms <= LOAD_FACTOR * duration_ms + 2 * max(one.duration_ms for one in copies)
    )
    assert any(one.start_ms < ours.end_ms and ours.start_ms < one.end_ms for one in copies)


def test_load_for_a_long_launch_ends_after_some_copies(gpu: FakeCuda) -> None:
    timer = cuda_timer()
    timer.synchronize()
    gpu.ran.clear()

    with timer.under_load(1e6):
        timer.synchronize()

    assert timer_module.MAX_LOAD_COPIES == len(gpu.of("copy_"))


def test_how_long_a_copy_takes_is_not_taken_from_the_first_one_which_loads_it(gpu: FakeCuda) -> None:
    """Else a launch would have a load that ends long before it."""
    timer = cuda_timer()
    assert pytest.approx(2 * SIZE_BYTES / gpu.bytes_per_ms) == timer._load_ms


def test_once_is_the_latency_of_one_launch_that_has_run_when_it_returns(gpu: FakeCuda) -> None:
    timer = cuda_timer()
    launch = FakeLaunch(gpu, LONG_MS)

    assert pytest.approx(LONG_MS) == timer.once_ms(launch)
    assert 1 == launch.runs


def test_once_is_not_the_time_that_a_slow_host_takes_to_launch(gpu: FakeCuda) -> None:
    """Else a short launch would be taken for a long one, and timed without the graph that it needs."""
    launch = FakeLaunch(gpu, SHORT_MS, call_ms=2 * GRAPH_BELOW_MS)

    assert pytest.approx(SHORT_MS) == cuda_timer().once_ms(launch)


def test_a_launch_too_short_for_an_event_to_tell_is_not_taken_to_last_nothing(gpu: FakeCuda) -> None:
    assert cuda_timer().once_ms(FakeLaunch(gpu, 0.0)) > 0


def test_copy_bandwidth_is_the_median_over_bytes_read_and_written(gpu: FakeCuda) -> None:
    timer = cuda_timer()
    timer.synchronize()
    gpu.ran.clear()

    assert pytest.approx(1e3 * gpu.bytes_per_ms / 1e9) == timer.copy_gbps()
    assert [(SIZE_BYTES, SIZE_BYTES)] * 12 == [(one.read_bytes, one.written_bytes) for one in gpu.of("copy_")]


def test_synchronize_waits_for_all_streams(gpu: FakeCuda) -> None:
    timer = cuda_timer()
    launch = FakeLaunch(gpu, LONG_MS)
    launch()
    assert 0 == launch.runs

    with timer.under_load(LONG_MS):
        timer.synchronize()

    assert 1 == launch.runs
    assert gpu.host_ms >= max(one.end_ms for one in gpu.ran)


def test_a_launch_that_fails_is_told_when_it_is_waited_for(gpu: FakeCuda) -> None:
    timer = cuda_timer()
    FakeLaunch(gpu, LONG_MS, faults=1)()

    with pytest.raises(RuntimeError, match=FAULT):
        timer.synchronize()


@pytest.mark.parametrize("timed_by", WAYS)
@pytest.mark.parametrize("fault", [1, 5])
def test_a_launch_that_fails_while_it_is_timed_gives_no_latency(gpu: FakeCuda, timed_by: TimedBy, fault: int) -> None:
    with pytest.raises(RuntimeError, match=FAULT):
        timed(gpu, FakeLaunch(gpu, LONG_MS, faults=fault), 4, timed_by, LONG_MS)


def test_once_fails_where_its_launch_does(gpu: FakeCuda) -> None:
    timer = cuda_timer()
    with pytest.raises(RuntimeError, match=FAULT):
        timer.once_ms(FakeLaunch(gpu, LONG_MS, faults=1))


def test_a_batch_can_follow_another_whichever_way_each_is_timed(gpu: FakeCuda) -> None:
    timer = cuda_timer()
    launch = FakeLaunch(gpu, SHORT_MS)

    ways = [timer.batch(launch, 3, SHORT_MS, way) for way in ("graph", "events", "graph", "graph", "events")]

    assert pytest.approx([SHORT_MS] * 15) == [time_ms for times_ms, _, _ in ways for time_ms in times_ms]
    assert gpu.default is gpu.current
