"""Where runs are kept: the last is found again, the recorded one of the same is, and rows are found by name."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from fake_runs import BASELINE, COMPILE_HEADER, HEADER, TOO_LARGE, compiled_run, config, h100_run, id_of, row, run
from run_records import kept, records_of, save

from ssdprof.profiling.runs import store
from ssdprof.profiling.runs.model import Device, Row, Run
from ssdprof.profiling.runs.run_file import NoHeaderError, dump_records
from ssdprof.profiling.runs.store import (
    RunError,
    find_row,
    latest_run,
    load_run,
    load_state,
    new_run_path,
)

BEST_ID = id_of(BASELINE)
CUT_OFF = replace(HEADER, interrupted=True)


def no_recorded_runs(monkeypatch: pytest.MonkeyPatch, *recorded: Run) -> None:
    monkeypatch.setattr(store, "recorded_runs", lambda: iter(recorded))


@pytest.mark.parametrize("made_up", [h100_run(), compiled_run()])
def test_a_run_comes_back_as_it_was(made_up: Run, tmp_path: Path) -> None:
    save(made_up, tmp_path / "run.jsonl")
    assert kept(made_up) == load_run(tmp_path / "run.jsonl")


def test_a_run_that_is_cut_off_comes_back_as_far_as_it_is_whole_and_as_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(dump_records(records_of(replace(h100_run(), header=CUT_OFF)))[:-10])
    found = load_run(path)
    assert CUT_OFF == found.header
    assert [one.config_id for one in h100_run().rows] == [one.config_id for one in found.rows]
    assert h100_run().rows[-1].timing
    assert found.rows[-1].timing is None


def test_an_error_names_the_file_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(dump_records([HEADER, TOO_LARGE]) + "{}\n")
    with pytest.raises(RunError) as raised:
        load_state(path)
    assert f"{path} is not a run file of format 2: line 3: not a record: its kind must be one of header, row, batch" == str(
        raised.value
    )


def test_a_file_of_the_older_format_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"format": 1, "header": {"kernel": "chunk_scan"}, "rows": []}')
    with pytest.raises(RunError) as raised:
        load_run(path)
    assert f"{path} is of format 1, made by an older ssdprof: sweep again" == str(raised.value)


@pytest.mark.parametrize("text", ["", dump_records([HEADER])[:-1]])
def test_a_file_without_a_whole_header_is_an_error_of_its_own(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(text)
    with pytest.raises(NoHeaderError) as raised:
        load_run(path)
    assert f"{path} is cut off before the end of its first line: it holds no run" == str(raised.value)


def test_bytes_that_are_no_text_and_a_folder_are_errors_of_one_line(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    for broken in (path, tmp_path):
        with pytest.raises(RunError) as raised:
            load_run(broken)
        assert str(raised.value).startswith(f"{broken} ")
        assert 1 == len(str(raised.value).splitlines())


def test_a_missing_file_says_where_runs_come_from(tmp_path: Path) -> None:
    with pytest.raises(RunError) as raised:
        load_run(tmp_path / "none.jsonl")
    assert f"no run file {tmp_path / 'none.jsonl'}: `ssdprof sweep` keeps one, or give another with --run" == str(
        raised.value
    )


def test_the_latest_run_is_the_one_begun_last_whenever_it_was_written(data_home: Path) -> None:
    begun = {
        "z": "2026-11-23T09:00:00.500+00:00",
        "a": "2026-11-23T10:00:00.000+00:00",
        "b": "2026-11-23T09:00:00.600+00:00",
    }
    runs = [replace(h100_run(), header=replace(HEADER, date=date, space=space)) for space, date in begun.items()]
    for one in reversed(runs):
        save(one, new_run_path(one.header))
    assert kept(runs[1]) == latest_run()
    assert 3 == len(list((data_home / "ssdprof" / "runs").glob("*.jsonl")))


@pytest.mark.parametrize("text", ["", dump_records([HEADER])[:100]])
def test_a_file_that_holds_no_header_yet_is_not_the_latest_run(text: str) -> None:
    save(h100_run(), new_run_path(HEADER))
    (store.runs_dir() / "9999.jsonl").write_text(text)
    (store.runs_dir() / "9999.json").write_text("{}")
    assert kept(h100_run()) == latest_run()


def test_a_broken_latest_run_is_an_error_that_names_it() -> None:
    save(h100_run(), new_run_path(HEADER))
    (store.runs_dir() / "9999.jsonl").write_text("{}\n")
    with pytest.raises(RunError, match=r"9999\.jsonl is not a run file"):
        latest_run()


@pytest.mark.parametrize("made", [False, True])
def test_no_kept_run_says_how_to_get_one(made: bool) -> None:
    if made:
        store.runs_dir().mkdir(parents=True)
    with pytest.raises(RunError, match="no run has been kept yet: run `ssdprof sweep` first, or give --run recorded"):
        latest_run()


def test_a_new_path_names_space_and_architecture_even_if_the_space_is_a_file() -> None:
    path = new_run_path(replace(HEADER, space="/home/me/my.tiles.yaml"))
    assert store.runs_dir() == path.parent
    assert f"20261123T0900000000-my.tiles-sm_90-{os.getpid()}.jsonl" == path.name


def test_recorded_runs_that_ship_are_measured_ones() -> None:
    for recorded in store.recorded_runs():
        assert recorded.measured
        assert recorded.ranked


def test_the_recorded_run_is_of_the_same_kernel_problem_and_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {
        "kernel": replace(HEADER, kernel="other"),
        "source": replace(HEADER, kernel_hashes={"tile": "0" * 16}),
        "problem": replace(HEADER, problem={**HEADER.problem, "seqlen": 2048}),
        "architecture": replace(HEADER, device=Device(arch="sm_80", name="NVIDIA A100")),
    }
    no_recorded_runs(monkeypatch, *(replace(h100_run(), header=header) for header in others.values()))
    assert store.recorded_for(compiled_run()) is None
    no_recorded_runs(monkeypatch, *(replace(h100_run(), header=header) for header in others.values()), h100_run())
    found = store.recorded_for(compiled_run())
    assert found is not None
    assert HEADER == found.header


def test_the_recorded_run_with_most_of_the_configs_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = h100_run().rows
    few = Run(replace(HEADER, space="few"), rows[:4])
    most = Run(replace(HEADER, space="most"), rows[:9])
    other = [row(config(16, 16, 16, 16, 1, stages), 40, latency_ms=1.0) for stages in range(1, 20)]
    foreign = run(other, replace(HEADER, space="foreign"))
    no_recorded_runs(monkeypatch, few, most, foreign)
    found = store.recorded_for(compiled_run())
    assert found is not None
    assert ("most", 9) == (found.header.space, len(found.rows))
    no_recorded_runs(monkeypatch, foreign)
    assert store.recorded_for(compiled_run()) is None


def test_recorded_rows_of_other_configs_are_left_out_and_the_rest_is_ranked_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded = h100_run()
    no_recorded_runs(monkeypatch, recorded)
    wanted = recorded.ranked[1:3]
    asked = run([replace(one, status="not-run", timing=None) for one in wanted], COMPILE_HEADER)
    found = store.recorded_for(asked)
    assert found is not None
    assert [one.config_id for one in wanted] == [one.config_id for one in found.ranked]
    assert [1, 2] == [one.rank for one in found.ranked]
    assert [None, None] == [one.speedup_vs_baseline for one in found.ranked]


def test_speed_ups_of_recorded_rows_are_over_the_asked_runs_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    no_recorded_runs(monkeypatch, h100_run())
    slowest = h100_run().ranked[-1].config_id
    asked = replace(compiled_run(), header=replace(COMPILE_HEADER, baseline_id=slowest))
    found = store.recorded_for(asked)
    assert found is not None
    assert 1.0 == found.ranked[-1].speedup_vs_baseline


def test_rows_are_found_by_rank_best_and_baseline() -> None:
    measured = h100_run()
    assert (
        measured.ranked[0] == find_row(measured, "#1") == find_row(measured, "best") == find_row(measured, "baseline")
    )
    assert measured.ranked[2] == find_row(measured, "#3")
    assert measured.ranked[2] == find_row(measured, "#03")


def test_ranks_of_a_run_without_gpu_are_those_of_the_recorded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    no_recorded_runs(monkeypatch, h100_run())
    found = find_row(compiled_run(), "#2")
    assert h100_run().ranked[1].config_id == found.config_id
    assert "not-run" == found.status
    assert BEST_ID == find_row(compiled_run(), "best").config_id


def test_a_baseline_is_found_without_any_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    no_recorded_runs(monkeypatch)
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
def test_a_run_without_a_right_row_has_no_ranks(monkeypatch: pytest.MonkeyPatch, reference: str) -> None:
    no_recorded_runs(monkeypatch)
    message = f"{reference}: the run has no ranked config (nothing right was measured): name a config by its id"
    for without in (compiled_run(), run([TOO_LARGE])):
        with pytest.raises(RunError) as raised:
            find_row(without, reference)
        assert message == str(raised.value)


def test_the_made_up_best_row_has_every_part_but_the_drivers_answer() -> None:
    """So that the round trip above is one of every part of a row, and stays one."""
    full = next(one for one in h100_run().rows if one.rank == 1)
    assert isinstance(full, Row)
    assert {"driver_blocks_per_sm"} == {name for name, value in asdict(full).items() if value is None}
