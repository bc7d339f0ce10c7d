"""`--counters`, `--metrics` and `--counters-from` of sweep and explain, with an ncu that counts made-up figures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_ncu import SECTORS, CountingNcu, export_of
from fake_runs import BASELINE, explanation, h100_run, id_of
from fake_sweeps import Asked, fake_sweeps, gpus

from ssdprof.cli.counting import with_counters_value
from ssdprof.cli.main import run as ssdprof
from ssdprof.profiling.ncu import program
from ssdprof.profiling.runs import store
from ssdprof.profiling.sweep import explain as explain_module
from ssdprof.profiling.sweep.added import counting

RANKED = [row.config_id for row in h100_run().ranked]
BASE = id_of(BASELINE)
Say = Callable[..., str]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    monkeypatch.setattr(explain_module, "explain", lambda *_, **__: explanation())
    monkeypatch.chdir(tmp_path)
    return fake_sweeps(monkeypatch, tmp_path)


@pytest.fixture
def ncu(monkeypatch: pytest.MonkeyPatch) -> CountingNcu:
    fake = CountingNcu()
    monkeypatch.setattr(program, "run_program", fake)
    monkeypatch.setattr(counting, "find_ncu", lambda: Path("ncu"))
    return fake


def write_export(path: Path) -> None:
    rows = export_of(*h100_run().ranked[:1], **SECTORS)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0].cells))
    writer.writeheader()
    writer.writerow(dict(rows[0].units))
    writer.writerows(dict(row.cells) for row in rows)
    path.write_text(text.getvalue())


def test_counters_stand_in_a_table_in_the_csv_and_in_the_kept_run(
    asked: Asked, ncu: CountingNcu, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == ssdprof(["sweep", "--counters=2", "--metrics", "sm__inst_executed.sum", "--csv", "rows.csv"])

    out = capsys.readouterr().out
    assert "What ncu counted (ncu 2025.3.1)" in out
    assert f"{RANKED[0]} 6.04 G 8.46 G 72.4 91.7" in " ".join(out.split())
    assert [tuple(RANKED[:2])] == ncu.launched
    rows = {row["config_id"]: row for row in csv.DictReader(Path("rows.csv").read_text().splitlines())}
    assert ("6043668480", "long_scoreboard") == (rows[RANKED[0]]["dram_bytes"], rows[RANKED[0]]["top_stall"])
    assert ["123456789.0", "123456789.0", ""] == [rows[name]["sm__inst_executed.sum"] for name in RANKED[:3]]
    counted = [row.config_id for row in store.latest_run().ranked if row.counters]
    assert RANKED[:2] == counted


def test_json_has_the_counters_under_the_same_names(
    asked: Asked, ncu: CountingNcu, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == ssdprof(["sweep", "--counters", "--metrics", "sm__inst_executed.sum", "--json", "-q"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert (8457940928, 123456789.0, "ncu 2025.3.1") == (
        rows[0]["l2_to_sm_bytes"], rows[0]["sm__inst_executed.sum"], rows[0]["counters_source"]
    )  # fmt: skip
    assert {None} == {row["sm__inst_executed.sum"] for row in rows if row["status"] != "ok"}


def test_without_a_value_five_are_counted_and_with_all_every_correct_one(asked: Asked, ncu: CountingNcu) -> None:
    for value in ("--counters", "--counters=all"):
        assert 0 == ssdprof(["sweep", value, "-q"])
    assert [tuple(RANKED[:5]), tuple(RANKED)] == ncu.launched


def test_an_explanation_counts_its_config(asked: Asked, ncu: CountingNcu, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["explain", "--counters", "m64n64k32d128w2s4"])
    out = " ".join(capsys.readouterr().out.split())
    assert "DRAM 6.04 GB read and written, 72.4 % busy L2 8.46 GB from and to the SMs, 91.7 % busy" in out
    assert [(BASE,)] == ncu.launched


def test_an_export_is_read_instead_without_a_gpu(
    asked: Asked, ncu: CountingNcu, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_export(Path("a.csv"))
    gpus(monkeypatch)
    assert 0 == ssdprof(["sweep", "--counters-from", "a.csv", "--json", "-q"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {RANKED[0]: 320} == {row["config_id"]: row["l2_to_sm_bytes"] for row in rows if row["l2_to_sm_bytes"]}
    assert [] == ncu.commands


def test_without_ncu_or_permission_a_line_says_so_and_the_rest_is_as_ever(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == ssdprof(["sweep", "-q"])
    expected = capsys.readouterr().out
    monkeypatch.setattr(counting, "find_ncu", lambda: None)
    assert 0 == ssdprof(["sweep", "--counters", "-q"])
    found = capsys.readouterr()
    assert expected == found.out
    assert found.err.startswith("ssdprof: no counters: no ncu on PATH or in")
    monkeypatch.setattr(counting, "find_ncu", lambda: Path("ncu"))
    monkeypatch.setattr(program, "run_program", CountingNcu(refuses=True))
    assert 0 == ssdprof(["sweep", "--counters", "-q"])
    found = capsys.readouterr()
    assert (expected, 1) == (found.out, found.err.count("\n"))
    assert "ERR_NVGPUCTRPERM" in found.err


BAD: dict[str, tuple[list[str], str]] = {
    "no number": (["--counters=some"], "--counters takes all or how many of the best, at least 1; got some"),
    "none": (["--counters=0"], "--counters takes all or how many of the best, at least 1; got 0"),
    "both": (["--counters", "--counters-from", "a.csv"], "--counters runs ncu, --counters-from reads a file:"),
    "metrics alone": (["--metrics", "sm__a.sum"], "--metrics says what else ncu counts: give --counters too, or"),
    "ncu alone": (["--ncu-path", "ncu"], "--ncu-path is the ncu that counts: give --counters too"),
    "no program": (["--counters", "--ncu-path", "nothere"], "--ncu-path nothere is not a program that can be run"),
    "no metric": (["--counters", "--metrics", "dram"], "--metrics 'dram' is no metric's name: give ncu's names"),
    "no file": (["--counters-from", "none.csv"], "--counters-from none.csv cannot be read: No such file or directory"),
    "no export": (["--counters-from", "text.csv"], "text.csv has no column launch__registers_per_thread: export the"),
}


@pytest.mark.parametrize("command", [["sweep"], ["explain", "m64n64k32d128w2s4"]], ids=lambda one: one[0])
@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_is_a_line_before_any_work(
    asked: Asked, capsys: pytest.CaptureFixture[str], command: list[str], kind: str
) -> None:
    Path("text.csv").write_text("a,b\n1,2\n")
    options, expected = BAD[kind]
    assert 2 == ssdprof([*command, *options])
    said = capsys.readouterr()
    assert ("", 1, []) == (said.out, said.err.count("\n"), asked)
    assert said.err.startswith(f"ssdprof: {expected}")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("sweep --counters", "sweep --counters=5"),
        ("sweep --counters --json", "sweep --counters=5 --json"),
        ("sweep --counters 3", "sweep --counters 3"),
        ("sweep --counters all", "sweep --counters all"),
        ("sweep --counters=3", "sweep --counters=3"),
        ("explain --counters best", "explain --counters=5 best"),
        ("sweep --counters scan.launch", "sweep --counters=5 scan.launch"),
        ("capture -- sweep --counters", "capture -- sweep --counters"),
        ("sweep -- --counters", "sweep -- --counters"),
        ("", ""),
    ],
)
def test_the_option_takes_a_value_only_if_one_follows(given: str, expected: str) -> None:
    assert expected.split() == with_counters_value(given.split())


def test_a_folder_of_several_lengths_has_counters_in_each_run(asked: Asked, ncu: CountingNcu, tmp_path: Path) -> None:
    assert 0 == ssdprof(["sweep", "--seqlen", "2048,50000", "--counters=1", "-o", "runs", "-q"])
    found: list[Any] = [store.load_run(path) for path in sorted(Path("runs").iterdir())]
    assert [1, 1] == [sum(row.counters is not None for row in run.rows) for run in found]
