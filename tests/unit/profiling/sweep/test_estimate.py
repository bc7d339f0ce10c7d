"""How long a sweep will take: what it finds out at its beginning, and the estimate from that and what was recorded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cpu_sweeps import request
from fake_kernel import FakeSubject, fake, fake_id
from fake_runs import BASELINE, HEADER, row, run, timing
from fake_sweeps import IdlePool

from ssdprof.kernels.launch import DescriptorRef, LaunchPlan
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.profiling.sweep import begin, estimate
from ssdprof.profiling.sweep.begin import begun, cores, expect_descriptors
from ssdprof.profiling.sweep.estimate import BEFORE_S, CACHED_S, END_S, START_S, Shown, cached_number, duration_s
from ssdprof.profiling.workers.worker import Failure

ROWS = (16, 32, 64, 128, 256, 512)
NAMES = [fake_id(rows=rows) for rows in ROWS]
EACH_S = (1.0, 2.0, 3.0, 4.0, 3.0, 2.0)
ASKED = request(*(fake(rows=rows) for rows in ROWS), gpu=False)
PLANS = {f"config{number}": FakeSubject().launch(fake(rows=number)) for number in range(1, 11)}
FAILED = Failure("error", "AttributeError", "no add_stages")


def recorded_row(name: str, compile_s: float) -> Row:
    made = row(BASELINE, 64)
    assert made.compiled is not None
    return replace(made, config_id=name, compiled=replace(made.compiled, compile_s=compile_s), timing=None)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """The rows of the only recorded run, which is of the fake subject's problem."""
    found = [recorded_row(name, each_s) for name, each_s in zip(NAMES, EACH_S, strict=True)]

    def of_all() -> Run:
        return Run(replace(HEADER, kernel="fake", problem=FakeSubject().identity()), tuple(found))

    monkeypatch.setattr(estimate, "recorded_runs", lambda: iter((of_all(),)))
    return found


def compiling_s(shown: Shown, cores: int = 2, jobs: int = 2) -> float:
    """What an estimate without a GPU has besides the time so far and the end."""
    return duration_s(replace(ASKED, jobs=jobs), NAMES, [], shown, cores) - BEFORE_S - shown.elapsed_s - END_S


def test_what_is_cached_takes_next_to_nothing(rows: list[Row]) -> None:
    half = Shown(cached={name: i < 3 for i, name in enumerate(NAMES)})
    assert pytest.approx(sum(EACH_S) / 2) == compiling_s(Shown(cached=dict.fromkeys(NAMES, False)))
    assert pytest.approx((3 * CACHED_S + 4.0 + 3.0 + 2.0) / 2) == compiling_s(half)
    assert pytest.approx(6 * CACHED_S / 2) == compiling_s(Shown(cached=dict.fromkeys(NAMES, True)))


def test_configs_that_could_not_be_asked_are_cached_as_often_as_the_others(rows: list[Row]) -> None:
    two = Shown(cached={NAMES[0]: True, NAMES[1]: False})
    others_s = sum(0.5 * CACHED_S + 0.5 * each_s for each_s in EACH_S[2:])
    assert pytest.approx((CACHED_S + 2.0 + others_s) / 2) == compiling_s(two)
    assert (3, False) == cached_number(NAMES, two)


def test_how_many_are_cached_is_exact_only_if_all_were_asked() -> None:
    assert (0, False) == cached_number(NAMES, Shown())
    assert (2, True) == cached_number(NAMES, Shown(cached={name: i < 2 for i, name in enumerate(NAMES)}))


def test_the_others_take_as_much_longer_as_the_first_did(rows: list[Row]) -> None:
    shown = Shown(compiled_s={NAMES[0]: 2.5, NAMES[1]: 5.0}, elapsed_s=7.0)
    assert pytest.approx(2.5 * sum(EACH_S[2:]) / 2) == compiling_s(shown)
    assert pytest.approx(BEFORE_S + 7.0 + compiling_s(shown) + END_S) == duration_s(ASKED, NAMES, [], shown, 2)


def test_what_the_first_took_counts_all_that_slows_the_compilers_and_cores_only_before(rows: list[Row]) -> None:
    assert pytest.approx(sum(EACH_S)) == compiling_s(Shown(), cores=1, jobs=6)
    assert pytest.approx(4.0) == compiling_s(Shown(), cores=6, jobs=6)
    first = Shown(compiled_s={NAMES[0]: 1.0})
    assert compiling_s(first, cores=1) == compiling_s(first, cores=6)


def test_without_a_recorded_run_the_others_take_as_long_as_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "recorded_runs", lambda: iter(()))
    assert pytest.approx(6 * estimate.UNKNOWN_COMPILE_S / 2) == compiling_s(Shown())
    assert pytest.approx(4 * 0.6 / 2) == compiling_s(Shown(compiled_s={NAMES[0]: 0.5, NAMES[1]: 0.7}))


def measuring_s(subject: FakeSubject) -> float:
    """What an estimate has besides the start, the rounds and the end, if everything is cached."""
    asked = request(subject=subject, budget_s=0.0)
    shown = Shown(cached=dict.fromkeys(NAMES, True))
    return duration_s(asked, NAMES, NAMES, shown, 2) - START_S - END_S


def test_measuring_takes_what_the_recorded_latencies_of_the_same_problem_say(rows: list[Row]) -> None:
    rows[0] = replace(rows[0], timing=timing(50.0))
    by_bytes_s = 6 * estimate.CONFIG_S
    assert pytest.approx(by_bytes_s + 20 * 0.050, abs=1e-5) == measuring_s(FakeSubject())
    assert pytest.approx(by_bytes_s, abs=1e-5) == measuring_s(FakeSubject(rows=9))


def test_each_config_that_faulted_when_it_was_recorded_costs_a_new_process(rows: list[Row]) -> None:
    before_s = measuring_s(FakeSubject())
    rows[2] = replace(rows[2], status="launch-error", status_reason="an illegal memory access")
    assert pytest.approx(before_s + estimate.RESTART_S) == measuring_s(FakeSubject())


def test_only_runs_of_the_same_kernel_count(monkeypatch: pytest.MonkeyPatch) -> None:
    other = run([recorded_row(NAMES[0], 99.0)], replace(HEADER, kernel="another"))
    monkeypatch.setattr(estimate, "recorded_runs", lambda: iter((other,)))
    assert pytest.approx(6 * estimate.UNKNOWN_COMPILE_S / 2) == compiling_s(Shown())


class Beginning(IdlePool):
    """Has `cached` to say of Triton's cache, and gives the `outcomes` of what it is to begin."""

    def __init__(self, cached: Mapping[str, bool] | Failure, outcomes: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.cached, self.outcomes_of = cached, outcomes or {}
        self.asked: list[str] = []
        self.started: list[str] = []
        self.told: list[str] = []

    def ask(self, function: str, *args: Any, timeout_s: float) -> Any:
        assert function == begin.CACHED
        self.asked = list(args[0])
        return self.cached

    def begin(self, *args: Any, **options: Any) -> list[tuple[Any, Any]]:
        self.started = list(args[0])
        return list(self.outcomes_of.items())

    def expect_measuring(self) -> None:
        self.told.append("measuring")

    def expect_descriptors(self) -> None:
        self.told.append("descriptors")


def test_what_is_not_cached_is_begun_and_tells_how_long_a_config_takes() -> None:
    made = row(BASELINE, 64).compiled
    assert made is not None
    cached = {name: i < 4 for i, name in enumerate(PLANS)}
    pool = Beginning(cached, {"config5": made, "config6": FAILED})
    shown = begun(request(jobs=2, gpu=False), PLANS, pool, time.monotonic() - 3.0)
    assert ([f"config{number}" for number in range(5, 11)], []) == (pool.started, pool.told)
    assert (cached, {"config5": made.compile_s}) == (shown.cached, shown.compiled_s)
    assert 3.0 < shown.elapsed_s < 10.0


def test_with_a_gpu_nothing_is_waited_for_and_the_recorded_times_apply() -> None:
    pool = Beginning({})
    shown = begun(request(jobs=2), PLANS, pool, 0.0)
    assert ([], {}) == (pool.started, shown.compiled_s)


def test_nothing_is_begun_if_the_compilers_take_all_at_once() -> None:
    pool = Beginning(dict.fromkeys(PLANS, False))
    begun(request(jobs=10), PLANS, pool, 0.0)
    assert [] == pool.started


def test_nothing_is_asked_if_nothing_is_left_to_compile() -> None:
    pool = Beginning(FAILED)
    shown = begun(request(), {}, pool, 0.0)
    assert ({}, {}, []) == (shown.cached, shown.compiled_s, pool.asked)


@pytest.mark.parametrize("answer", [FAILED, {}])
def test_if_triton_cannot_say_nothing_is_known_and_the_work_begins_all_the_same(answer: Any) -> None:
    pool = Beginning(answer)
    assert begun(request(jobs=2, gpu=False), PLANS, pool, 0.0).cached is None
    assert list(PLANS) == pool.started


@pytest.mark.parametrize("number", [1, 2, 5, 10])
def test_all_are_asked_and_the_first_ones_are_spread_over_them(number: int) -> None:
    plans = dict(list(PLANS.items())[:number])
    pool = Beginning(dict.fromkeys(plans, True))
    begun(request(gpu=False), plans, pool, 0.0)
    assert sorted(plans) == sorted(pool.asked)
    assert number < 5 or list(plans)[:3] != pool.asked[:3]


def test_torch_is_loaded_once_for_descriptors_where_the_architecture_has_them() -> None:
    described = LaunchPlan("module", "kernel", (1,), {"x": DescriptorRef("x", "float32", (1,), (1,), (1,))}, {})
    told = []
    for arch, plan in (("sm_90", described), ("sm_80", described), ("sm_90", PLANS["config1"])):
        pool = Beginning({})
        expect_descriptors(arch, {"one": plan}, pool)
        told.append(pool.told)
    assert [["descriptors"], [], []] == told


@pytest.mark.parametrize(
    ("quota", "number"),
    [("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8), ("", 8), (None, 8)],
)
def test_cores_are_those_of_the_affinity_within_the_quota(
    quota: str | None, number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(quota)
    monkeypatch.setattr(begin, "CGROUP_CPU", file)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert number == cores()
