"""The list of kept runs, what is noted beside them so that they need not be read again, and removing them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from fake_runs import BASELINE, COMPILE_HEADER, HEADER, compiled_run, h100_run, id_of, run
from run_records import records_of, save

from ssdprof.kernels.errors import UsageError
from ssdprof.profiling import results
from ssdprof.profiling.runs import store
from ssdprof.profiling.runs.kept import index
from ssdprof.profiling.runs.kept.listed import kept_runs
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.runs.run_file import RunFile, dump_records
from ssdprof.profiling.runs.store import Keeper, new_run_path, runs_dir


def begun(days_ago: float) -> str:
    return (datetime.now(timezone.utc) - timedelta(days=days_ago)).isoformat(timespec="milliseconds")


def keep(made_up: Run, days_ago: float) -> Path:
    header = replace(made_up.header, date=begun(days_ago))
    path = new_run_path(header)
    save(replace(made_up, header=header), path)
    return path


def numbers() -> list[int]:
    return [one.number for one in kept_runs()]


@contextmanager
def reads_nothing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def never(path: Path) -> Run:
        raise AssertionError(f"{path} was read")

    with monkeypatch.context() as patched:
        patched.setattr(store, "load_run", never)
        yield


def test_the_newest_is_first_each_with_its_best() -> None:
    old, new = keep(h100_run(), 2), keep(compiled_run(), 1)
    first, second = kept_runs()
    assert [(1, new), (2, old)] == [(one.number, one.path) for one in (first, second)]
    assert first.summary is not None
    assert second.summary is not None
    assert (None, "sm_90", None, None) == (
        first.summary.device, first.summary.arch, first.summary.best_id, first.summary.best_ms,
    )  # fmt: skip
    assert (id_of(BASELINE), 2.332, 16, 5) == (
        second.summary.best_id, second.summary.best_ms, second.summary.configs, second.summary.correct,
    )  # fmt: skip
    assert old.stat().st_size == second.size_bytes


def test_a_run_is_read_once_and_again_only_if_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    path = keep(h100_run(), 1)
    before = kept_runs()
    with reads_nothing(monkeypatch):
        assert before == kept_runs()
    save(run(h100_run().rows[:3], HEADER), path)
    assert [3] == [one.summary.configs for one in kept_runs() if one.summary]


def test_a_sweep_notes_its_run_as_reading_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Keeper(None, warn=pytest.fail)
    keeper(*records_of(h100_run()))
    keeper.close(h100_run())
    with reads_nothing(monkeypatch):
        noted = kept_runs()
    (runs_dir().parent / index.NAME).unlink()
    assert noted == kept_runs()


def test_a_run_in_a_file_of_ones_own_is_not_noted(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "own.jsonl", warn=pytest.fail)
    keeper(*records_of(h100_run()))
    keeper.close(h100_run())
    assert {} == index.noted(runs_dir())
    assert () == kept_runs()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1, "runs": {"x": {}}}', '{"format": 2, "runs": {}}', "\xff"]
)
def test_notes_that_cannot_be_read_are_made_anew(text: str) -> None:
    keep(h100_run(), 1)
    file = runs_dir().parent / index.NAME
    file.write_text(text, encoding="latin-1")
    assert [16] == [one.summary.configs for one in kept_runs() if one.summary]
    assert 1 == len(json.loads(file.read_text(encoding="utf-8"))["runs"])


def test_a_note_of_a_run_that_is_gone_is_dropped() -> None:
    keep(h100_run(), 1)
    gone = keep(h100_run(), 2)
    assert [1, 2] == numbers()
    gone.unlink()
    assert [1] == numbers()
    assert 1 == len(index.noted(runs_dir()))


def test_notes_that_cannot_be_written_cost_nothing() -> None:
    keep(h100_run(), 1)
    (runs_dir().parent / index.NAME).mkdir()
    assert [1] == numbers()


def test_a_run_says_whether_it_was_finished_and_whether_it_is_being_written() -> None:
    keep(h100_run(), 4)
    stopped = replace(compiled_run(), header=replace(COMPILE_HEADER, stopped="the disk is full"))
    keep(stopped, 3)
    interrupted = replace(h100_run(), header=replace(HEADER, interrupted=True))
    keep(interrupted, 2)
    writing = RunFile(keep(interrupted, 1))
    (runs_dir() / "0000.jsonl").write_text('{"format": 4, "kind": "header"}\n')
    found = kept_runs()
    writing.close()
    assert ["running", "interrupted", "gave up", "done", "unreadable"] == [one.state for one in found]
    assert found[-1].error.endswith("0000.jsonl is of format 4, made by a newer ssdprof: this one reads format 3")


def test_only_named_runs_are_listed_and_keep_their_numbers() -> None:
    paths = [keep(h100_run(), days) for days in (1, 2, 3)]
    assert [1, 3] == [one.number for one in kept_runs(("3", str(paths[0]), "last"))]


def test_named_runs_are_removed_and_no_others() -> None:
    paths = [keep(h100_run(), days) for days in (1, 2, 3)]
    assert (paths[2], paths[0]) == results.remove(("3", str(paths[0]), "3"))
    assert [paths[1]] == [one.path for one in kept_runs()]


def test_nothing_is_removed_if_one_of_them_cannot_be(tmp_path: Path) -> None:
    paths = [keep(h100_run(), days) for days in (1, 2)]
    own = tmp_path / "own.jsonl"
    save(h100_run(), own)
    writing = RunFile(paths[1])
    wrong = {
        "recorded": "recorded ships with ssdprof and is not among the kept runs: `ssdprof runs` lists those",
        str(own): (
            f"{own} is no kept run: name one by the number that `ssdprof runs` prints, or by its file in {runs_dir()}"
        ),
        "3": "run 3: there is none of that number; numbers are 1 (the newest) to 2, as `ssdprof runs` lists them",
        "2": f"{paths[1]} is being written by another ssdprof: wait until it is done, or name another file with -o",
    }  # fmt: skip
    for name, message in wrong.items():
        with pytest.raises(UsageError) as raised:
            results.remove(("1", name))
        assert message == str(raised.value)
    writing.close()
    assert [1, 2] == numbers()
    assert own.exists()


def test_what_cannot_be_removed_is_said() -> None:
    folder = runs_dir() / "9999.jsonl"
    folder.mkdir(parents=True)
    assert ["unreadable"] == [one.state for one in kept_runs()]
    with pytest.raises(UsageError, match=r"9999\.jsonl cannot be removed: "):
        results.remove(("1",))


def test_the_newest_stay_and_what_is_being_written() -> None:
    paths = [keep(h100_run(), days) for days in (1, 2, 3, 4)]
    writing = RunFile(paths[3])
    assert (paths[2],) == results.remove((), prune=2)
    writing.close()
    assert () == results.remove((), prune=5)
    assert (paths[0], paths[1], paths[3]) == results.remove((), prune=0)
    assert () == kept_runs()


def test_older_ones_go_by_when_they_were_begun_and_broken_ones_by_their_files_time() -> None:
    paths = [keep(h100_run(), days) for days in (1, 2, 3)]
    broken = runs_dir() / "0000.jsonl"
    broken.write_text(dump_records([HEADER])[:50])
    assert tuple(paths[2:]) == results.remove((), older_than_days=2.5)
    assert (*paths[:2], broken) == results.remove((), older_than_days=0)


@pytest.mark.parametrize(
    ("prune", "older_than_days", "message"),
    [
        (None, None, "which runs to remove is said in one way: by --remove RUN…, --prune N or --older-than DAYS"),
        (1, 1.0, "which runs to remove is said in one way: by --remove RUN…, --prune N or --older-than DAYS"),
        (-1, None, "--prune must be 0 or more runs to keep, got -1"),
        (None, -0.5, "--older-than must be 0 to 100000 days, got -0.5"),
        (None, float("nan"), "--older-than must be 0 to 100000 days, got nan"),
        (None, float("inf"), "--older-than must be 0 to 100000 days, got inf"),
    ],
)
def test_what_to_remove_is_said_in_one_way(prune: int | None, older_than_days: float | None, message: str) -> None:
    keep(h100_run(), 1)
    with pytest.raises(UsageError) as raised:
        results.remove((), prune, older_than_days)
    assert message == str(raised.value)
    assert [1] == numbers()


def test_what_names_a_run_is_listed_for_a_shell() -> None:
    assert ("recorded", "recorded:2048") == results.run_names()
    keep(h100_run(), 1)
    keep(h100_run(), 2)
    assert ("last", "1", "2", "recorded", "recorded:2048") == results.run_names()
