"""The ranking of rows: which have a rank, by what, and over what a speed-up is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fake_runs import H100, HEADER, NO_GPU
from hypothesis import given, settings
from hypothesis import strategies as st

from ssdprof.kernels.config import Config
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.occupancy import Launch, occupancy
from ssdprof.profiling.runs.measured import Check, Compiled, Timing
from ssdprof.profiling.runs.model import STATUSES, Achieved, Recorded, Row, RunHeader, Status
from ssdprof.profiling.runs.rank import rank, ranked_run

latencies_ms = st.floats(min_value=1e-6, max_value=1e6)
others = [status for status in STATUSES if status != "ok"]
quickly = settings(max_examples=100, deadline=None)


def timed(latency_ms: float, low_ms: float | None = None, high_ms: float | None = None) -> Timing:
    return Timing(latency_ms, latency_ms, latency_ms, low_ms or latency_ms, high_ms or latency_ms, 10)


def row(name: str, found: Timing | None, status: Status = "ok", registers: int = 0) -> Row:
    launch = Launch(128, registers) if registers else None
    return Row(
        config=Config((("ROWS", 16),)),
        config_id=name,
        status=status,
        timing=found,
        occupancy=occupancy(launch, limits_for("sm_90")) if launch else None,
    )


def recorded(name: str, found: Timing | None, status: Status = "ok", **changes: Any) -> Row:
    """A row that only compiled here, and was measured elsewhere."""
    compiled = Compiled(32, 0, 0, 0, 4, 1, 1, 100, 0.5)
    there = Recorded("recorded on a GPU", status, "it says so", None, found, same_binary=True)
    own = replace(row(name, None, "not-run"), status_reason="compiled only", compiled=compiled, recorded=there)
    return replace(own, **changes)


def ranks(
    rows: Sequence[Row], baseline_id: str | None = None
) -> dict[str, tuple[int | None, float | None, bool | None]]:
    return {one.config_id: (one.rank, one.speedup_vs_baseline, one.tied_with_best) for one in rank(rows, baseline_id)}


def test_ok_rows_are_ranked_by_latency_and_the_rows_keep_their_order() -> None:
    rows = [row("slow", timed(3.0)), row("fast", timed(1.0)), row("middle", timed(2.0))]
    ranked = rank(rows, None)
    assert ["slow", "fast", "middle"] == [one.config_id for one in ranked]
    assert [3, 1, 2] == [one.rank for one in ranked]
    assert [None, None, None] == [one.speedup_vs_baseline for one in ranked]


@pytest.mark.parametrize("status", others)
def test_no_other_status_is_ever_ranked(status: Status) -> None:
    stale = replace(row("other", timed(0.1), status), rank=1, speedup_vs_baseline=9.0, tied_with_best=True)
    assert {"other": (None, None, None), "correct": (1, 1.0, True)} == ranks(
        [stale, row("correct", timed(1.0))], "correct"
    )


def test_an_ok_row_without_latency_is_not_ranked() -> None:
    assert {"untimed": (None, None, None)} == ranks([row("untimed", None)])


def test_equal_latencies_are_ordered_by_occupancy() -> None:
    rows = [row("low", timed(1.0), registers=255), row("none", timed(1.0)), row("high", timed(1.0), registers=32)]
    assert [2, 3, 1] == [one.rank for one in rank(rows, None)]


def test_a_tie_is_where_the_intervals_of_the_medians_overlap() -> None:
    rows = [
        row("best", timed(1.0, 0.98, 1.02)),
        row("touching", timed(1.03, 1.02, 1.04)),
        row("wide", timed(1.5, 1.01, 2.0)),
        row("apart", timed(1.05, 1.021, 1.06)),
    ]
    assert {"best": True, "touching": True, "wide": True, "apart": False} == {
        one.config_id: one.tied_with_best for one in rank(rows, None)
    }


def test_speed_ups_are_over_the_baseline() -> None:
    rows = [row("base", timed(2.0)), row("fast", timed(1.0)), row("slow", timed(8.0))]
    assert {"base": (2, 1.0, False), "fast": (1, 2.0, True), "slow": (3, 0.25, False)} == ranks(rows, "base")


@pytest.mark.parametrize("status", ["wrong", "unstable", "timeout"])
def test_a_baseline_that_is_not_ok_gives_no_speed_ups(status: Status) -> None:
    rows = [row("base", timed(2.0), status), row("fast", timed(1.0))]
    assert {"base": (None, None, None), "fast": (1, None, True)} == ranks(rows, "base")


@pytest.mark.parametrize("baseline_id", [None, "not there"])
def test_a_baseline_that_is_not_there_gives_no_speed_ups(baseline_id: str | None) -> None:
    assert {"fast": (1, None, True)} == ranks([row("fast", timed(1.0))], baseline_id)


def test_nothing_is_ranked_among_nothing() -> None:
    assert () == rank([], "base")


def test_rows_that_only_compiled_are_ranked_by_what_was_recorded() -> None:
    rows = [recorded("slow", timed(3.0)), recorded("fast", timed(1.0)), recorded("none", None), row("base", timed(2.0))]
    assert {
        "slow": (3, 2 / 3, False),
        "fast": (1, 2.0, True),
        "none": (None, None, None),
        "base": (2, 1.0, False),
    } == ranks(rows, "base")
    assert {"base": (1, 1.0, True), "fast": (2, 0.5, False)} == ranks(
        [recorded("base", timed(1.0)), recorded("fast", timed(2.0))], "base"
    )


@pytest.mark.parametrize("status", others)
def test_what_was_recorded_as_anything_but_ok_is_not_ranked(status: Status) -> None:
    assert {"a": (None, None, None)} == ranks([recorded("a", timed(1.0), status)], "a")


@pytest.mark.parametrize("status", [status for status in STATUSES if status not in ("ok", "not-run")])
def test_what_failed_or_is_wrong_here_is_not_ranked_whatever_was_recorded(status: Status) -> None:
    failed = recorded("failed", timed(1.0), status="ok")
    failed = replace(failed, status=status, status_reason="it is known here")

    assert {"failed": (None, None, None), "other": (1, None, True)} == ranks(
        [failed, recorded("other", timed(2.0))], "failed"
    )
    assert (status, "it is known here") == (failed.known_status, failed.known_reason)


def test_a_config_that_was_not_even_compiled_is_not_ranked_by_what_was_recorded() -> None:
    assert {"a": (None, None, None)} == ranks([recorded("a", timed(1.0), compiled=None)])


def test_a_row_knows_its_own_figures_first_and_recorded_ones_else() -> None:
    check = Check(0.001, 0.002, 0, 10, True, 5)
    there = Recorded("recorded on a GPU", "wrong", "off by half", replace(check, bad_rows=3), timed(1.0), False)
    only_recorded = replace(recorded("a", None), recorded=there)
    own = replace(only_recorded, status="ok", status_reason="", check=check, timing=timed(2.0))

    assert ("wrong", "off by half", 1.0, there.check) == (
        only_recorded.known_status,
        only_recorded.known_reason,
        only_recorded.known_latency_ms,
        only_recorded.known_check,
    )
    assert ("ok", "", 2.0, check) == (own.known_status, own.known_reason, own.known_latency_ms, own.known_check)
    assert (1.0, None) == (there.latency_ms, replace(there, timing=None).latency_ms)
    bare = row("b", None, "not-run")
    assert ("not-run", None, None, None) == (
        bare.known_status,
        bare.known_latency_ms,
        bare.known_timing,
        bare.known_check,
    )


WORK = replace(HEADER, bytes_min=3_000_000_000, flops=1_000_000_000_000, device=replace(H100, copy_gbps=2000.0))


def achieved(header: RunHeader, *rows: Row) -> dict[str, Achieved | None]:
    return {one.config_id: one.achieved for one in ranked_run(header, rows).rows}


def test_a_ranked_row_achieves_the_least_work_over_its_latency() -> None:
    assert {
        "fast": Achieved(gbps=1500.0, tflops=500.0, floor_share_pct=75.0),
        "slow": Achieved(gbps=750.0, tflops=250.0, floor_share_pct=37.5),
    } == achieved(WORK, row("fast", timed(2.0)), row("slow", timed(4.0)))


@pytest.mark.parametrize("status", others)
def test_what_is_not_correct_has_achieved_nothing(status: Status) -> None:
    stale = replace(row("other", timed(1.0), status), achieved=Achieved(1.0, 2.0, 3.0))
    assert {"other": None} == achieved(WORK, stale)
    assert {"other": None} == achieved(WORK, recorded("other", timed(1.0), status))


def test_a_recorded_latency_is_held_against_the_bandwidth_recorded_with_it() -> None:
    nothing_here = replace(WORK, device=NO_GPU)
    found = recorded("one", timed(2.0))
    assert found.recorded
    there = replace(found, recorded=replace(found.recorded, copy_gbps=3000.0))
    assert {"one": Achieved(1500.0, 500.0, 50.0)} == achieved(nothing_here, there)
    assert {"one": Achieved(1500.0, 500.0, None)} == achieved(nothing_here, found)


def test_what_is_not_known_of_the_problem_is_not_known_of_its_rows() -> None:
    one = row("one", timed(2.0))
    assert {"one": Achieved(None, 500.0, None)} == achieved(replace(WORK, bytes_min=None), one)
    assert {"one": Achieved(1500.0, None, 75.0)} == achieved(replace(WORK, flops=None), one)
    assert {"one": None} == achieved(WORK, row("one", None))


@quickly
@given(st.lists(st.tuples(latencies_ms, st.sampled_from(["ok", "wrong", "unstable", "timeout"])), max_size=30))
def test_ranks_count_the_ok_rows_from_one_in_the_order_of_latency(found: list[tuple[float, Status]]) -> None:
    rows = [row(str(number), timed(latency_ms), status) for number, (latency_ms, status) in enumerate(found)]
    ranked = sorted((one for one in rank(rows, "0") if one.rank), key=lambda one: one.rank or 0)
    ok = [latency_ms for latency_ms, status in found if status == "ok"]
    assert list(range(1, len(ok) + 1)) == [one.rank for one in ranked]
    assert sorted(ok) == [one.timing.latency_ms for one in ranked if one.timing]
    assert all(one.status == "ok" for one in ranked)
    assert all(one.tied_with_best for one in ranked[:1])
