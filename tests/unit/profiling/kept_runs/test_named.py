"""How a run is named: by its path, its number, as the last or as a recorded one; and what a wrong name says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import HEADER, compiled_run, h100_run
from run_records import kept, save

from ssdprof.kernels.registry import recorded_files, recorded_names
from ssdprof.profiling.runs.kept.named import in_words, is_recorded, named_run, path_of, shown_run
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.runs.recorded import recorded_run, with_recorded
from ssdprof.profiling.runs.run_file import NoHeaderError, RunError
from ssdprof.profiling.runs.store import new_run_path, runs_dir
from ssdprof.profiling.sweep.asking import run_of, subject_and_run

DATES = ("2026-11-23T09:00:00+00:00", "2026-11-24T09:00:00+00:00", "2026-11-25T09:00:00+00:00")


def keep(*dates: str) -> list[Path]:
    """Keeps the made-up run as begun then; the files."""
    paths = []
    for date in dates:
        header = replace(HEADER, date=date)
        paths.append(new_run_path(header))
        save(replace(h100_run(), header=header), paths[-1])
    return paths


def said(name: str) -> str:
    with pytest.raises(RunError) as raised:
        named_run(name)
    assert 1 == len(str(raised.value).splitlines())
    return str(raised.value)


def test_numbers_count_from_the_newest() -> None:
    oldest, middle, newest = keep(*DATES)
    assert [newest, middle, oldest] == [path_of(name) for name in ("1", "2", "3")]
    assert DATES[1] == named_run("2").header.date


def test_last_is_the_newest_file_that_holds_a_run() -> None:
    newest = keep(*DATES)[-1]
    (runs_dir() / "9999.jsonl").touch()
    assert newest == path_of("last")
    assert runs_dir() / "9999.jsonl" == path_of("1")
    with pytest.raises(NoHeaderError, match="holds no run"):
        named_run("1")


def test_recorded_runs_are_named_by_the_length_unless_it_is_the_default_one() -> None:
    assert ["recorded", "recorded:2048"] == list(recorded_names())
    assert set(recorded_files()) == set(recorded_names().values())
    assert recorded_run(None) == named_run("recorded")
    assert 2048 == named_run("recorded:2048").header.problem["seqlen"]


def test_a_file_whose_name_is_a_number_is_named_by_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(h100_run(), Path("1"))
    for name in ("./1", Path("1")):
        assert kept(h100_run()) == named_run(name)
    assert said("1").startswith("run 1: no run has been kept yet: ")


@pytest.mark.parametrize("name", ["4", "0", "99999999999999999999"])
def test_a_number_of_no_run_says_which_there_are(name: str) -> None:
    keep(*DATES)
    expected = "there is none of that number; numbers are 1 (the newest) to 3, as `ssdprof runs` lists them"
    assert f"run {name}: {expected}" == said(name)


def test_of_a_single_run_the_number_is_told() -> None:
    keep(DATES[0])
    assert "run 2: there is none of that number; the only number is 1, as `ssdprof runs` lists them" == said("2")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("last", "no run has been kept yet: run `ssdprof sweep` first, or name the run that ships with"),
        ("3", "run 3: no run has been kept yet: run `ssdprof sweep` first"),
        ("", "a run's name is empty: give a path, a number that `ssdprof runs` prints, last or recorded"),
        ("recorded:7", "recorded:7 is no recorded run: those that ship with ssdprof are recorded, recorded:2048"),
        ("lst", "no run file lst: `ssdprof sweep` keeps one; give a path, a number that `ssdprof runs` prints"),
    ],
)  # fmt: skip
def test_a_name_of_no_run_says_the_rule_and_the_way_out(name: str, expected: str) -> None:
    assert said(name).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is cut off before the end of its first line: it holds no run"),
        ("rank,config_id\n", "is not a run file: it does not begin with a header of format 3"),
        ('{"format": 4, "kind": "header"}\n', "is of format 4, made by a newer ssdprof: this one reads format 3"),
    ],
)
def test_a_file_that_is_empty_foreign_or_newer_is_named(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text(text)
    assert f"{path} {expected}" == said(str(path))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("recorded", "the recorded run"),
        ("recorded:2048", "the recorded run 2048"),
        ("last", "the run kept last"),
        ("03", "run 3"),
        ("my/run.jsonl", "the run in my/run.jsonl"),
        (Path("3"), "the run in 3"),
    ],
)
def test_a_run_in_words(name: str | Path, expected: str) -> None:
    assert expected == in_words(name)


def test_only_texts_name_recorded_runs() -> None:
    assert [True, True, False, False, False] == [
        is_recorded(name) for name in ("recorded", "recorded:2048", "recorded.jsonl", Path("recorded"), None)
    ]


def test_a_run_to_show_names_itself_unless_it_is_the_last() -> None:
    keep(*DATES)
    assert ["", "", "2", "recorded"] == [shown_run(name).file for name in ("last", "1", "2", "recorded")]


def test_a_run_that_only_compiled_is_shown_with_what_a_sweep_adds_to_it() -> None:
    save(compiled_run(), new_run_path(HEADER))
    expected: Run = with_recorded(kept(compiled_run()))
    assert expected == shown_run("last")


def test_explain_takes_the_same_names() -> None:
    keep(*DATES)
    found = run_of("3", None, is_needed=True)
    assert found is not None
    assert DATES[0] == found.header.date
    assert subject_and_run(None, "2", is_needed=True)[2].startswith("run 2, of 2026-11-24 09:00 (others: --run, ")
    assert subject_and_run(None, "last", is_needed=True)[2].startswith("the run kept last, of 2026-11-25 09:00 (")
    assert subject_and_run(None, "recorded:2048", is_needed=True)[2].startswith("the recorded run 2048, of 2026-11-25 ")
