"""A run put together from records: what replaces what, which samples count, and that the order is that of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from fake_runs import BASELINE, HEADER, TOO_LARGE, compiled_run, h100_run, id_of, row
from fake_runs import config as config_of
from run_records import kept, records_of

from ssdprof.profiling.runs.counters import Counted, Counters
from ssdprof.profiling.runs.measured import Batch, Conditions
from ssdprof.profiling.runs.model import Row
from ssdprof.profiling.runs.state import Record, RunState

FAST = row(config_of(32, 64, 32, 128, 2, 5), 145, 35840)
SLOW = row(BASELINE, 255, 41728)


def state_of(records: Sequence[Record]) -> RunState:
    state = RunState(HEADER)
    for record in records:
        state.add(record)
    return state


def batch(of: Row, *samples_ms: float, throttled: tuple[str, ...] | None = None) -> Batch:
    return Batch(of.config_id, samples_ms, "events", Conditions(throttled=throttled))


def floored(row: Row) -> Row:
    """The row as a run has it: the least bytes at the copy bandwidth take 0.94 ms."""
    return replace(row, floor_ms=0.94)


def test_a_run_without_records_has_no_rows() -> None:
    assert () == RunState(HEADER).run().rows
    assert HEADER == RunState(HEADER).run().header


def test_samples_of_all_batches_of_a_config_count_and_rank_it() -> None:
    run = state_of([SLOW, FAST, batch(SLOW, 4.0, 4.0), batch(FAST, 1.0), batch(FAST, 3.0, 2.0)]).run()
    slow, fast = run.rows
    assert slow.timing
    assert fast.timing
    assert ((2, 4.0), (3, 2.0)) == (
        (slow.timing.samples, slow.timing.latency_ms),
        (fast.timing.samples, fast.timing.latency_ms),
    )
    assert [(2, 1.0, False), (1, 2.0, True)] == [
        (one.rank, one.speedup_vs_baseline, one.tied_with_best) for one in run.rows
    ]


def test_rows_are_without_what_is_derived_until_the_run_is_asked_for() -> None:
    state = state_of([FAST, batch(FAST, 1.0)])
    assert FAST == state.rows[FAST.config_id]
    assert (None, 1.0) == (state.row(FAST.config_id).rank, state.row(FAST.config_id).timing.latency_ms)  # type: ignore[union-attr]
    assert (batch(FAST, 1.0),) == state.batches(FAST.config_id)
    assert () == state.batches(SLOW.config_id)


def test_a_later_header_and_a_later_row_replace_the_earlier_in_its_place() -> None:
    waiting = replace(SLOW, status="not-run", status_reason="not measured yet", check=None)
    ended = replace(HEADER, seed=3)
    run = state_of([waiting, FAST, ended, SLOW]).run()
    assert ended == run.header
    assert [floored(SLOW), floored(FAST)] == list(run.rows)


def test_counters_are_those_that_came_last_and_a_later_row_keeps_them() -> None:
    first, last = (Counted(SLOW.config_id, Counters("ncu 2025.3.1", dram_bytes=number)) for number in (1, 2))

    found = state_of([first, SLOW, batch(SLOW, 2.0), last, SLOW, FAST]).run()

    assert [last.counters, None] == [row.counters for row in found.rows]


def test_a_batch_may_come_before_its_row() -> None:
    run = state_of([batch(FAST, 1.0), FAST]).run()
    assert [1] == [one.rank for one in run.rows]


def test_a_batch_of_no_row_is_no_row() -> None:
    assert () == state_of([batch(FAST, 1.0)]).run().rows


def test_a_config_that_failed_later_keeps_no_latency() -> None:
    failed = replace(FAST, status="launch-error", status_reason="an illegal memory access", check=None)
    assert (floored(failed),) == state_of([FAST, batch(FAST, 1.0), failed]).run().rows


def test_a_wrong_config_keeps_its_latency_and_no_rank() -> None:
    wrong = replace(FAST, status="wrong", status_reason="relative error 0.7")
    (found,) = state_of([wrong, batch(FAST, 1.0)]).run().rows
    assert found.timing
    assert (None, 1.0) == (found.rank, found.timing.latency_ms)


def test_batches_without_samples_are_no_timing() -> None:
    assert (floored(FAST),) == state_of([FAST, batch(FAST)]).run().rows


def test_samples_taken_while_throttled_do_not_count() -> None:
    (found,) = state_of([FAST, batch(FAST, 1.0, 1.0), batch(FAST, 9.0, throttled=("power",))]).run().rows
    assert found.timing
    assert (1.0, 2, 1, ("power",)) == (
        found.timing.latency_ms,
        found.timing.samples,
        found.timing.dropped_samples,
        found.timing.throttled,
    )


def test_speed_ups_are_over_the_baseline_of_the_last_header() -> None:
    header = replace(HEADER, baseline_id=id_of(FAST.config))
    run = state_of([SLOW, FAST, batch(SLOW, 4.0), batch(FAST, 2.0), header]).run()
    assert [0.5, 1.0] == [one.speedup_vs_baseline for one in run.rows]


def scaled(row: Row, error: float) -> Row:
    assert row.check
    return replace(row, check=replace(row.check, relative_error=error))


def test_what_stands_out_from_the_others_is_judged_anew_after_each_record_and_not_kept_in_the_row() -> None:
    faulty = scaled(FAST, 0.0044)
    others = [row(config_of(64, 64, 32, 128, 4, stages), 255, 41728) for stages in range(1, 6)]
    state = state_of([faulty, batch(faulty, 1.0), *others[:4]])
    assert ("ok", "ok", 1) == (
        state.row(FAST.config_id).status,
        state.rows[FAST.config_id].status,
        state.run().rows[0].rank,
    )
    state.add(others[4])
    assert ("wrong", "ok") == (state.judged[FAST.config_id].status, state.rows[FAST.config_id].status)
    found = state.run().rows[0]
    assert ("wrong", None, 1.0) == (found.status, found.rank, found.timing.latency_ms if found.timing else None)
    assert found.status_reason.startswith(
        "relative error 0.0044 is within the tolerance 0.01, but 5 of 5 other configs"
    )
    state.add(replace(HEADER, tolerances=()))
    assert faulty == state.judged[FAST.config_id]
    state.add(HEADER)
    state.add(replace(others[4], status="unstable", status_reason="other bits"))
    assert faulty == state.judged[FAST.config_id]


def test_a_row_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="m64n64k32d128w2s4"):
        RunState(HEADER).row(SLOW.config_id)


def test_the_rows_cannot_be_changed_from_outside() -> None:
    with pytest.raises(TypeError):
        RunState(HEADER).rows["m"] = SLOW  # type: ignore[index]


def test_the_made_up_runs_come_out_of_their_records_with_the_figures_made_up_for_them() -> None:
    for made_up in (h100_run(), compiled_run()):
        assert [one.timing for one in made_up.rows] == [one.timing for one in kept(made_up).rows]
        assert [one.rank for one in made_up.rows] == [one.rank for one in kept(made_up).rows]
        assert [one.speedup_vs_baseline for one in made_up.rows] == [
            one.speedup_vs_baseline for one in kept(made_up).rows
        ]
    assert TOO_LARGE in records_of(h100_run())
