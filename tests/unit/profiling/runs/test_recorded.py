"""What another run measured, laid over the rows of one that only compiled; and rows found by their rank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fake_runs import (
    BASELINE,
    COMPILE_HEADER,
    HEADER,
    TOO_LARGE,
    compiled_run,
    config,
    constrained_run,
    h100_run,
    id_of,
    row,
    run,
    timing,
)

from ssdprof.kernels.registry import subject
from ssdprof.profiling.runs import recorded
from ssdprof.profiling.runs.codec import DERIVED
from ssdprof.profiling.runs.model import Device, Recorded, Row, Run
from ssdprof.profiling.runs.recorded import find_row, latency_source, recorded_run, recorded_runs, with_recorded
from ssdprof.profiling.runs.run_file import RunError

BEST_ID = id_of(BASELINE)
UNKNOWN: dict[str, Any] = dict.fromkeys(DERIVED[Row])


def ship(monkeypatch: pytest.MonkeyPatch, *runs: Run) -> None:
    """These runs in place of those that ship."""
    monkeypatch.setattr(recorded, "recorded_runs", lambda: iter(runs))


def test_recorded_runs_that_ship_are_measured_ones() -> None:
    shipped = list(recorded_runs())
    assert 2 == len(shipped)
    for one in shipped:
        assert one.measured
        assert one.ranked
        assert one is with_recorded(one)


def test_a_subject_has_the_recorded_run_of_its_problem_and_the_longest_is_meant_without_one() -> None:
    assert {50_000: 396, 2048: 396} == {
        seqlen: len(recorded_run(subject(seqlen=seqlen)).rows) for seqlen in (50_000, 2048)
    }
    assert 50_000 == recorded_run(None).header.problem["seqlen"]
    message = "no recorded run has this problem: leave --run out, or run `ssdprof sweep` on a GPU"
    with pytest.raises(RunError) as raised:
        recorded_run(subject(seqlen=2049))
    assert message == str(raised.value)


def test_the_recorded_run_is_of_the_same_kernel_problem_and_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {
        "kernel": replace(HEADER, kernel="other"),
        "source": replace(HEADER, kernel_hashes={"tile": "0" * 16}),
        "problem": replace(HEADER, problem={**HEADER.problem, "seqlen": 2048}),
        "architecture": replace(HEADER, device=Device(arch="sm_80", name="NVIDIA A100")),
    }
    wrong_ones = [replace(h100_run(), header=header) for header in others.values()]
    ship(monkeypatch, *wrong_ones)
    assert compiled_run() == with_recorded(compiled_run())
    ship(monkeypatch, *wrong_ones, h100_run())
    assert f"recorded on {HEADER.provenance}" == latency_source(with_recorded(compiled_run()))


def test_only_variants_of_the_same_source_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        one for name in ("tile", "split") for one in (row(config(64, 64, 32, 128, 2, 4, variant=name), 255, 41728),)
    ]
    measured = run([replace(one, timing=timing(1.0)) for one in rows])
    ship(monkeypatch, measured)
    asked = run([replace(one, status="not-run", check=None) for one in rows], COMPILE_HEADER)
    changed = replace(asked, header=replace(asked.header, kernel_hashes={**HEADER.kernel_hashes, "split": "0" * 16}))

    assert [True, True] == [one.recorded is not None for one in with_recorded(asked).rows]
    assert [True, False] == [one.recorded is not None for one in with_recorded(changed).rows]


def test_the_recorded_run_with_most_of_the_configs_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = h100_run().rows
    few = Run(HEADER, rows[:4])
    most = Run(replace(HEADER, device=replace(HEADER.device, driver="most")), rows[:9])
    other = [row(config(16, 16, 16, 16, 1, stages), 40, latency_ms=1.0) for stages in range(1, 20)]
    foreign = run(other, HEADER)
    ship(monkeypatch, few, most, foreign)
    found = with_recorded(compiled_run())
    assert "driver most" in (latency_source(found) or "")
    compiled = {one.config_id for one in compiled_run().rows if one.compiled}
    assert {one.config_id for one in rows[:9]} & compiled == {one.config_id for one in found.rows if one.recorded}
    ship(monkeypatch, foreign)
    assert compiled_run() == with_recorded(compiled_run())


def test_what_was_recorded_is_laid_over_the_rows_which_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, h100_run())
    there = {one.config_id: one for one in h100_run().rows}
    plain, found = compiled_run(), with_recorded(compiled_run())

    assert plain.header == found.header
    for before, after in zip(plain.rows, found.rows, strict=True):
        assert before.model == after.model
        assert replace(before, **UNKNOWN) == replace(after, **UNKNOWN)
        if before.compiled is None:
            assert after.recorded is None
            continue
        known = there[after.config_id]
        assert after.recorded == Recorded(
            source=f"recorded on {HEADER.provenance}",
            status=known.status,
            status_reason=known.status_reason,
            check=known.check,
            timing=known.timing,
            same_binary=True,
            copy_gbps=HEADER.device.copy_gbps,
        )
        assert (known.status, known.status_reason) == (after.known_status, after.known_reason)
    assert [one.config_id for one in h100_run().ranked] == [one.config_id for one in found.ranked]
    assert [one.speedup_vs_baseline for one in h100_run().ranked] == [one.speedup_vs_baseline for one in found.ranked]
    assert [one.achieved for one in h100_run().ranked] == [one.achieved for one in found.ranked]


def test_only_rows_of_the_run_are_ranked_and_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = h100_run()
    ship(monkeypatch, recorded)
    wanted = recorded.ranked[1:3]
    asked = run([replace(one, status="not-run", timing=None, check=None) for one in wanted], COMPILE_HEADER)
    found = with_recorded(asked)
    assert [one.config_id for one in wanted] == [one.config_id for one in found.ranked]
    assert [1, 2] == [one.rank for one in found.ranked]
    assert [None, None] == [one.speedup_vs_baseline for one in found.ranked]


def test_speed_ups_of_recorded_rows_are_over_the_asked_runs_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, h100_run())
    slowest = h100_run().ranked[-1].config_id
    asked = replace(compiled_run(), header=replace(COMPILE_HEADER, baseline_id=slowest))
    assert 1.0 == with_recorded(asked).ranked[-1].speedup_vs_baseline


@pytest.mark.parametrize(
    "changes", [{"registers_per_thread": 254}, {"spill_bytes": 8}, {"dynamic_shared_mem_bytes": 41729}]
)
def test_another_binary_is_told(monkeypatch: pytest.MonkeyPatch, changes: dict[str, int]) -> None:
    ship(monkeypatch, h100_run())

    def changed(one: Row) -> Row:
        return replace(one, compiled=replace(one.compiled, **changes)) if one.compiled else one

    found = with_recorded(Run(COMPILE_HEADER, tuple(map(changed, compiled_run().rows))))
    there = {one.config_id: one.compiled for one in h100_run().rows}
    for one in found.rows:
        if one.recorded:
            assert one.recorded.same_binary == all(
                getattr(one.compiled, name) == getattr(there[one.config_id], name) for name in changes
            )
    assert not all(one.recorded.same_binary for one in found.rows if one.recorded)
    assert 5 == len(found.ranked)


def test_how_long_compiling_took_does_not_make_another_binary(monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, h100_run())
    slower = [
        replace(one, compiled=replace(one.compiled, compile_s=99.0)) for one in compiled_run().rows if one.compiled
    ]
    assert all(one.recorded and one.recorded.same_binary for one in with_recorded(run(slower, COMPILE_HEADER)).rows)


def test_a_run_of_ones_own_comes_before_the_recorded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, h100_run())
    mine = replace(HEADER, device=replace(HEADER.device, driver="of my own"))
    source = Run(mine, tuple(one for one in h100_run().rows if one.rank in (2, 3)))

    found = with_recorded(compiled_run(), source)

    assert f"measured on {mine.provenance}" == latency_source(found)
    assert "driver of my own" in mine.provenance
    assert [one.config_id for one in source.rows] == [one.config_id for one in found.rows if one.recorded]


@pytest.mark.parametrize(
    "change",
    [
        lambda run: replace(run, header=COMPILE_HEADER),
        lambda run: replace(run, header=replace(HEADER, kernel="other")),
        lambda run: replace(run, header=replace(HEADER, problem={**HEADER.problem, "seqlen": 2048})),
        lambda run: replace(run, rows=()),
        lambda run: replace(run, rows=(row(config(16, 16, 16, 16, 1, 1), 40, latency_ms=1.0),)),
    ],
    ids=["not measured", "of another kernel", "of another problem", "empty", "of other configs"],
)
def test_a_source_that_has_none_of_the_configs_leaves_the_recorded_one(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Run], Run]
) -> None:
    ship(monkeypatch, h100_run())
    found = with_recorded(compiled_run(), change(h100_run()))
    assert f"recorded on {HEADER.provenance}" == latency_source(found)
    ship(monkeypatch)
    assert compiled_run() == with_recorded(compiled_run(), change(h100_run()))


def test_a_run_that_measured_is_left_as_it_is_whatever_else_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, h100_run())
    measured = h100_run()
    assert measured is with_recorded(measured, h100_run())
    assert latency_source(measured) is None


def test_what_failed_here_has_what_was_recorded_beside_it_and_no_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, h100_run())
    best = h100_run().ranked[0].config_id

    def failing(one: Row) -> Row:
        if one.config_id != best:
            return one
        return replace(one, status="out-of-resources", status_reason="needs more than there is")

    (found,) = (
        one
        for one in with_recorded(Run(COMPILE_HEADER, tuple(map(failing, compiled_run().rows)))).rows
        if one.config_id == best
    )
    assert found.recorded
    assert ("out-of-resources", "needs more than there is", None) == (
        found.known_status,
        found.known_reason,
        found.rank,
    )


def test_what_is_wrong_by_construction_has_no_rank_though_it_was_recorded_as_ok(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lucky = [replace(one, status="ok", status_reason="", timing=timing(0.5)) for one in h100_run().rows if one.compiled]
    ship(monkeypatch, run(lucky))

    found = with_recorded(constrained_run())

    wrong = [one for one in found.rows if one.by_construction]
    assert 10 == len(wrong)
    assert all(one.recorded and one.recorded.status == "ok" for one in wrong)
    assert {("wrong", None)} == {(one.known_status, one.rank) for one in wrong}
    assert 5 == len(found.ranked)


def test_rows_are_found_by_rank_best_and_baseline() -> None:
    measured = h100_run()
    assert (
        measured.ranked[0] == find_row(measured, "#1") == find_row(measured, "best") == find_row(measured, "baseline")
    )
    assert measured.ranked[2] == find_row(measured, "#3")
    assert measured.ranked[2] == find_row(measured, "#03")


def test_ranks_of_a_run_without_gpu_are_those_of_the_recorded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, h100_run())
    found = find_row(compiled_run(), "#2")
    assert h100_run().ranked[1].config_id == found.config_id
    assert "not-run" == found.status
    assert BEST_ID == find_row(compiled_run(), "best").config_id


def test_a_baseline_is_found_without_any_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch)
    assert BEST_ID == find_row(compiled_run(), "baseline").config_id


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("#0", "#0: the run has ranks #1 to #5"),
        ("#6", "#6: the run has ranks #1 to #5"),
        ("#999999999", "#999999999: the run has ranks #1 to #5"),
        ("#1234567890", "'#1234567890' names no row of a run: give #N (its rank), best or baseline"),
        ("#", "'#' names no row of a run: give #N (its rank), best or baseline"),
        ("#-1", "'#-1' names no row of a run: give #N (its rank), best or baseline"),
        ("#³", "'#³' names no row of a run: give #N (its rank), best or baseline"),
        ("3", "'3' names no row of a run: give #N (its rank), best or baseline"),
        ("worst", "'worst' names no row of a run: give #N (its rank), best or baseline"),
    ],
)
def test_a_reference_to_no_row_says_what_there_is(reference: str, message: str) -> None:
    with pytest.raises(RunError) as raised:
        find_row(h100_run(), reference)
    assert message == str(raised.value)


def test_a_run_without_baseline_says_how_to_name_one() -> None:
    with pytest.raises(RunError, match="this run has no baseline: name one with `ssdprof sweep --baseline CONFIG`"):
        find_row(replace(h100_run(), header=replace(HEADER, baseline_id=None)), "baseline")


def test_a_baseline_that_is_no_row_is_an_error() -> None:
    with pytest.raises(RunError, match="baseline: m1n1 is not among the run's configs"):
        find_row(replace(h100_run(), header=replace(HEADER, baseline_id="m1n1")), "baseline")


@pytest.mark.parametrize("reference", ["best", "#1"])
def test_a_run_without_a_correct_row_has_no_ranks(monkeypatch: pytest.MonkeyPatch, reference: str) -> None:
    ship(monkeypatch)
    message = f"{reference}: the run has no ranked config (nothing correct was measured): name a config by its id"
    for without in (compiled_run(), run([TOO_LARGE])):
        with pytest.raises(RunError) as raised:
            find_row(without, reference)
        assert message == str(raised.value)
