"""The run's file as a sweep writes it: every record at once, none lost to a full disk, and what is said of it."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import HEADER, h100_run
from run_records import kept, records_of

from ssdprof.profiling.runs import run_file, store
from ssdprof.profiling.runs.run_file import RunError, RunFile, dump_records
from ssdprof.profiling.runs.state import Record
from ssdprof.profiling.runs.store import Keeper, Kept, load_run, load_state, resumable

RUN = h100_run()
CUT_OFF = replace(RUN, header=replace(HEADER, interrupted=True))
BEGIN: tuple[Record, ...] = (CUT_OFF.header, *records_of(RUN)[1:])


class Disk:
    """A disk that is full while it is told to be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = True
        real = RunFile.write

        def write(file: RunFile, *records: Record) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(file, *records)

        monkeypatch.setattr(run_file.RunFile, "write", write)


@pytest.fixture
def said() -> list[str]:
    """What was warned of."""
    return []


def unheard(line: str) -> None:
    raise AssertionError(line)


def test_each_record_is_in_a_new_file_of_the_data_folder_as_soon_as_it_is_known() -> None:
    keeper = Keeper(None, warn=unheard)
    keeper(BEGIN[0])
    assert store.new_run_path(HEADER) == keeper.path
    assert CUT_OFF.header == load_state(keeper.path).header
    for record in BEGIN[1:]:
        keeper(record)
    assert kept(CUT_OFF) == load_run(keeper.path)
    keeper(HEADER)
    assert kept(RUN) == store.latest_run()
    line = f"run kept in {keeper.path}; next: ssdprof explain best, '#2' or any config above"
    done = keeper.close(RUN)
    assert (Kept(line, False), True) == (done, done.is_latest)


def test_a_run_that_is_not_taken_if_none_is_named_says_so(tmp_path: Path) -> None:
    for path in (tmp_path / "mine.jsonl", store.new_run_path(replace(HEADER, date="2020-01-01T00:00:00+00:00"))):
        last, keeper = Keeper(None, warn=unheard), Keeper(path, warn=unheard)
        for one in (last, keeper):
            one(*BEGIN, HEADER)
        assert [True, False] == [one.close(RUN).is_latest for one in (last, keeper)]


def test_nothing_is_opened_before_the_first_record(tmp_path: Path) -> None:
    Keeper(tmp_path / "mine.jsonl", warn=unheard)
    Keeper(None, warn=unheard)
    assert not (tmp_path / "mine.jsonl").exists()
    assert not store.runs_dir().exists()


def test_a_file_that_is_there_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("what was there\n" * 10_000)
    keeper = Keeper(path, warn=unheard)
    keeper(*BEGIN)
    keeper(HEADER)
    keeper.close(RUN)
    assert dump_records([*BEGIN, HEADER]) == path.read_text()


def test_a_resumed_run_goes_on_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(dump_records(BEGIN[:3]) + '{"kind": "ro')
    resumed = resumable(HEADER, path)
    assert resumed is not None
    keeper = Keeper(resumed[0], resumes=True, warn=unheard)
    keeper(*BEGIN[3:])
    keeper(HEADER)
    keeper.close(RUN)
    assert dump_records([*BEGIN, HEADER]) == path.read_text()


def test_a_file_is_free_once_it_is_closed(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "mine.jsonl", warn=unheard)
    keeper(*BEGIN)
    with pytest.raises(RunError, match="is being written by another ssdprof"):
        Keeper(tmp_path / "mine.jsonl", warn=unheard)(*BEGIN)
    keeper.close(CUT_OFF)
    assert resumable(HEADER, tmp_path / "mine.jsonl")


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "mine.jsonl", warn=unheard)
    keeper(*BEGIN)
    line = f"interrupted; the results so far are kept in {tmp_path / 'mine.jsonl'}; continue with --resume"
    assert Kept(line, True) == keeper.close(CUT_OFF)


def test_a_run_without_a_correct_config_names_no_best(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "mine.jsonl", warn=unheard)
    keeper(HEADER)
    line = f"run kept in {tmp_path / 'mine.jsonl'}; next: ssdprof explain any config above"
    assert Kept(line, False) == keeper.close(replace(RUN, rows=RUN.rows[:1]))


def test_a_disk_that_is_full_from_the_start_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    path = tmp_path / "mine.jsonl"
    Disk(monkeypatch)
    keeper = Keeper(path, warn=said.append)
    for record in BEGIN:
        keeper(record)
    assert Kept("nothing is kept", True) == keeper.close(RUN)
    assert [f"the run cannot be kept in {path}: No space left on device; continuing without"] == said
    assert Kept("interrupted; nothing is kept", True) == keeper.close(CUT_OFF)


def test_records_that_could_not_be_written_are_written_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    path = tmp_path / "mine.jsonl"
    disk = Disk(monkeypatch)
    keeper = Keeper(path, warn=said.append)
    keeper(*BEGIN[:2])
    keeper(*BEGIN[2:5])
    assert "" == path.read_text()
    disk.full = False
    keeper(*BEGIN[5:])
    assert dump_records(BEGIN) == path.read_text()
    assert 1 == len(said)
    keeper(HEADER)
    assert Kept(f"run kept in {path}; next: ssdprof explain best, '#2' or any config above", False) == keeper.close(RUN)
    assert 1 == len(said)


def test_a_disk_that_fills_up_leaves_the_first_part_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    path = tmp_path / "mine.jsonl"
    disk = Disk(monkeypatch)
    disk.full = False
    keeper = Keeper(path, warn=said.append)
    keeper(*BEGIN[:5])
    disk.full = True
    keeper(*BEGIN[5:])
    keeper(HEADER)
    assert [f"the run cannot be kept in {path}: No space left on device; continuing without"] == said
    part = f"only the first part is kept in {path} (No space left on device)"
    assert Kept(f"{part}: make room and measure the rest again with --resume", True) == keeper.close(RUN)
    assert Kept(f"interrupted; {part}; continue with --resume", True) == keeper.close(CUT_OFF)
    assert dump_records(BEGIN[:5]) == path.read_text()


def test_a_place_that_cannot_be_written_is_tried_again_with_every_record(tmp_path: Path, said: list[str]) -> None:
    blocked = tmp_path / "runs"
    blocked.write_text("")
    keeper = Keeper(blocked / "mine.jsonl", warn=said.append)
    keeper(*BEGIN[:2])
    keeper(*BEGIN[2:5])
    assert [f"the run cannot be kept in {blocked / 'mine.jsonl'}: File exists; continuing without"] == said
    blocked.unlink()
    keeper(*BEGIN[5:])
    assert dump_records(BEGIN) == (blocked / "mine.jsonl").read_text()
    keeper.close(RUN)


def test_an_interrupt_while_a_record_is_written_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(tmp_path / "mine.jsonl", warn=unheard)
    keeper(*BEGIN[:5])
    real = run_file.os.write

    def interrupted(fd: int, data: bytes) -> int:
        real(fd, data)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_file.os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            keeper(*BEGIN[5:])
    keeper(HEADER)
    assert dump_records([*BEGIN, HEADER]) == (tmp_path / "mine.jsonl").read_text()
    keeper.close(RUN)
