"""Where runs are kept: what is written comes back, and the last is found again."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from fake_runs import HEADER, TOO_LARGE, compiled_run, h100_run
from run_records import kept, records_of, save

from ssdprof.profiling.runs import store
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.profiling.runs.run_file import NoHeaderError, dump_records
from ssdprof.profiling.runs.store import RunError, latest_run, load_run, load_state, new_run_path

CUT_OFF = replace(HEADER, interrupted=True)


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
    assert (
        f"{path} is not a run file of format 3: line 3: not a record: its kind must be one of header, row, batch, "
        "counters, model" == str(raised.value)
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
    assert (
        f"no run file {tmp_path / 'none.jsonl'}: `ssdprof sweep` keeps one; give a path, a number that `ssdprof runs` "
        "prints, last or recorded" == str(raised.value)
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
    with pytest.raises(RunError, match="no run has been kept yet: run `ssdprof sweep` first, or name the run"):
        latest_run()


def test_a_new_path_names_space_and_architecture_even_if_the_space_is_a_file() -> None:
    path = new_run_path(replace(HEADER, space="/home/me/my.tiles.yaml"))
    assert store.runs_dir() == path.parent
    assert f"20261123T0900000000-my.tiles-sm_90-{os.getpid()}.jsonl" == path.name


def test_the_made_up_best_row_has_every_part_but_the_drivers_answer() -> None:
    """So that the round trip above is one of every part of a row, and stays one."""
    full = next(one for one in h100_run().rows if one.rank == 1)
    assert isinstance(full, Row)
    assert {"driver_blocks_per_sm", "recorded", "answer", "counters"} == {
        name for name, value in asdict(full).items() if value is None
    }
