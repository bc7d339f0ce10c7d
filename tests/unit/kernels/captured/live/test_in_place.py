"""How long a launch takes in its program, on a made-up GPU that is as strict as CUDA."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
import torch
from fake_cuda import FakeCuda, FakeLaunch

from ssdprof.kernels.captured.live import in_place
from ssdprof.kernels.captured.live.in_place import MOST_WARM_UP, NOT_FLUSHED, TIMED_LAUNCHES, WARM_UP_MS, in_place_ms
from ssdprof.profiling.measuring import amounts

HERE = torch.device("cpu")
"""The made-up GPU's tensors are the CPU's."""
LATENCY_MS = 0.25
WARM_UP = math.ceil(WARM_UP_MS / LATENCY_MS)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    gpu = FakeCuda(call_ms=0.04)
    with gpu.installed(monkeypatch):
        monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
        yield gpu


def timed(launch: FakeLaunch, restore: Callable[[], object] = lambda: None, *, waits: bool = False) -> float | None:
    found, note = in_place_ms(launch, restore, HERE, waits=waits)
    assert "" == note
    return found


def test_l2_is_flushed_before_each_launch_that_counts_as_a_sweep_flushes_it(gpu: FakeCuda) -> None:
    launch = FakeLaunch(gpu, 9.0, *[LATENCY_MS] * 1000)
    launch()
    gpu.synchronize()
    gpu.ran.clear()

    assert pytest.approx(LATENCY_MS) == timed(launch)

    kinds = [one.kind for one in gpu.ran if one.kind not in ("sleep", "zero_", "fill_")]
    assert ["amax", *["amax", "launch"], *["launch"] * WARM_UP, *["amax", "launch"] * TIMED_LAUNCHES] == kinds
    assert {amounts.FLUSH_L2_FACTOR * gpu.l2_bytes} == {one.read_bytes for one in gpu.of("amax")}
    assert in_place.FLUSH_L2_FACTOR == amounts.FLUSH_L2_FACTOR


@pytest.mark.parametrize("waits", [False, True])
def test_neither_the_hosts_work_nor_what_is_put_back_counts(gpu: FakeCuda, waits: bool) -> None:
    """A short launch, which the host takes longer to launch than the GPU to run."""
    total, before = torch.zeros(1 << 14), torch.full((1 << 14,), 7.0)
    seen: list[float] = []

    def accumulate() -> None:
        seen.append(float(total[0]))
        total.add_(1.0)

    def restore() -> None:
        total.copy_(before)
        if waits:
            gpu.synchronize()

    found = timed(FakeLaunch(gpu, 0.006, call_ms=0.08, does=accumulate), restore, waits=waits)

    assert pytest.approx(0.006) == found
    assert [7.0] * (1 + MOST_WARM_UP + TIMED_LAUNCHES) == seen


def test_a_long_launch_is_timed_as_often_as_time_allows(gpu: FakeCuda) -> None:
    launch = FakeLaunch(gpu, 700.0)
    assert pytest.approx(700.0) == timed(launch)
    assert 1 + 1 + 2 == launch.runs

    longer = FakeLaunch(gpu, 3000.0)
    assert pytest.approx(3000.0) == timed(longer)
    assert 1 == longer.runs


def test_without_memory_for_a_flush_the_time_is_noted_to_be_without(
    gpu: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_place, "free_bytes", lambda _: 1 << 20)
    found, note = in_place_ms(FakeLaunch(gpu, LATENCY_MS), lambda: None, HERE, waits=False)
    assert (pytest.approx(LATENCY_MS), NOT_FLUSHED) == (found, note)
    assert [] == gpu.of("amax")


def test_a_flush_that_finds_no_memory_after_all_is_left_out(gpu: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(in_place.torch, "zeros", full)
    assert in_place.flush_of(HERE) is None


def test_a_launch_that_fails_has_no_time_and_the_program_goes_on(gpu: FakeCuda) -> None:
    def fail() -> None:
        raise RuntimeError("no such launch")

    assert (None, "") == in_place_ms(fail, lambda: None, HERE, waits=False)
