"""`ssdprof sweep` around a made-up sweep: what it prints, writes, keeps and returns."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fake_runs import COMPILE_HEADER, HEADER, TOO_LARGE, h100_run, run
from fake_sweeps import Asked, IdlePool, fake_sweeps, gpus, returns, ship
from run_records import save

from ssdprof.cli.main import run as ssdprof
from ssdprof.kernels.errors import UsageError
from ssdprof.profiling.runs import store
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.sweep.request import SweepRequest


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    return fake_sweeps(monkeypatch, tmp_path)


def test_a_sweep_prints_the_answer_first_and_returns_0(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["sweep"])
    out = capsys.readouterr().out
    answer = "use        m64n64k32d128w2s4, 2.332 ms: the baseline; 1 is tied. Error"
    assert out.startswith(answer)
    places = [out.index(text) for text in ("\n≈1 m64n64k32d128w2s4", "\nNot ranked: 11 of 16 (--wrong", "\nkernel ")]
    assert sorted(places) == places


def test_processes_are_waited_for_only_when_the_table_is_printed(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed_before: list[str] = []
    monkeypatch.setattr(IdlePool, "close", lambda _: printed_before.append(capsys.readouterr().out))
    assert 0 == ssdprof(["sweep"])
    (text,) = printed_before
    assert text.startswith("use        m64n64k32d128w2s4")


def test_recorded_latencies_are_shown_without_a_gpu(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpus(monkeypatch)
    ship(monkeypatch, h100_run())
    ssdprof(["sweep", "--quiet"])
    out = capsys.readouterr().out
    assert "recorded  latencies are of NVIDIA H100 80GB HBM3, driver 580.159.04, Triton 3.6.0, 2026-11-23" in out
    assert out.startswith("use        m64n64k32d128w2s4, 2.332 ms, recorded on NVIDIA H100 80GB HBM3: the baseline")
    assert "\n10 wrong " in out


def test_json_is_alone_on_stdout(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["sweep", "--json"])
    captured = capsys.readouterr()
    assert 16 == len(json.loads(captured.out)["rows"])
    first, second, *_ = captured.err.splitlines()
    assert re.fullmatch(r"ssdprof: 63 configs, about [0-9.]+ of 78.6 GiB of GPU memory, about [0-9]+ s", first)
    assert second.startswith("ssdprof: compiling (")


def test_csv_and_its_sidecar_are_written(asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.csv"
    assert 0 == ssdprof(["sweep", "--csv", str(path)])
    with path.open(encoding="utf-8") as file:
        assert 16 == len(list(csv.DictReader(file)))
    assert "NVIDIA H100 80GB HBM3" == json.loads((tmp_path / "run.csv.meta.json").read_text())["device"]["name"]
    assert f"wrote {path} and {path}.meta.json" in capsys.readouterr().err


def test_a_csv_that_can_no_longer_be_written_is_said(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.csv"

    def sweep_and_block(request: SweepRequest) -> Run:
        path.mkdir()
        return h100_run()

    returns(monkeypatch, asked, sweep_and_block)
    assert 0 == ssdprof(["sweep", "--csv", str(path)])
    assert f"--csv {path} could not be written: Is a directory" in capsys.readouterr().err


def test_top_limits_the_ranking_and_all_shows_all_of_it(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    ssdprof(["sweep", "--top", "1"])
    assert "the first 1 of 5 (--all shows them all)" in capsys.readouterr().out
    ssdprof(["sweep", "--all"])
    out = capsys.readouterr().out
    assert all(f"{row.rank} {row.config_id}" in out for row in h100_run().ranked)
    assert "--all" not in out


def test_top_and_all_exclude_each_other(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == ssdprof(["sweep", "--top", "1", "--all"])
    assert "ssdprof: --top and --all exclude each other: leave one of them out\n" == capsys.readouterr().err
    assert [] == asked


def test_wrong_lists_the_wrong_and_the_failed_one_by_one(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    ssdprof(["sweep", "--wrong"])
    out = capsys.readouterr().out
    assert "Wrong output: not ranked, not to be used (wrong): 10" in out
    assert all(row.config_id in out for row in h100_run().rows if row.status == "wrong")


def test_quiet_leaves_nothing_on_stderr(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    ssdprof(["sweep", "--quiet"])
    assert "" == capsys.readouterr().err


def test_the_run_is_kept_and_named(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    ssdprof(["sweep"])
    assert h100_run().header == store.latest_run().header
    assert "next: ssdprof explain best, '#2' or any config above" in capsys.readouterr().err


def test_the_run_is_kept_where_asked(asked: Asked, tmp_path: Path) -> None:
    ssdprof(["sweep", "-o", str(tmp_path / "mine.json")])
    assert 16 == len(store.load_run(tmp_path / "mine.json").rows)


@pytest.mark.parametrize("form", ["tables", "json"])
def test_a_run_in_a_file_of_ones_own_is_named_to_explain(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ssdprof(["sweep", "-o", "my run.jsonl", *["--json"] * (form == "json")])
    captured = capsys.readouterr()
    assert "`ssdprof explain best --run 'my run.jsonl'` says why" in captured.out
    assert captured.err.endswith("explain best, '#2' or any config above, with --run 'my run.jsonl'\n")


def test_a_run_that_others_were_kept_after_is_named_to_explain(
    asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = store.new_run_path(replace(HEADER, date="2027-01-01T00:00:00+00:00"))
    save(h100_run(), later)
    ssdprof(["sweep"])
    named = f" --run {store.new_run_path(HEADER)}"
    assert named in capsys.readouterr().err
    later.unlink()
    ssdprof(["sweep"])
    assert named not in capsys.readouterr().err


def test_an_interrupted_sweep_shows_and_keeps_what_there_is_and_returns_130(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    returns(monkeypatch, asked, lambda _: run(h100_run().rows, replace(HEADER, interrupted=True)))
    assert 130 == ssdprof(["sweep", "--quiet"])
    captured = capsys.readouterr()
    assert "1 m64n64k32d128w2s4" in captured.out
    assert captured.err.startswith("ssdprof: interrupted; the results so far are kept in ")


def test_an_interrupt_before_the_sweep_returns_130(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: SweepRequest) -> Run:
        raise KeyboardInterrupt

    returns(monkeypatch, asked, interrupt)
    assert 130 == ssdprof(["sweep"])


@pytest.mark.parametrize("header", [HEADER, COMPILE_HEADER])
def test_nothing_measured_or_compiled_returns_1(asked: Asked, monkeypatch: pytest.MonkeyPatch, header: Any) -> None:
    returns(monkeypatch, asked, lambda _: run([TOO_LARGE], header))
    assert 1 == ssdprof(["sweep"])


def test_an_unknown_error_is_not_hidden(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: SweepRequest) -> Run:
        raise RuntimeError("a bug")

    returns(monkeypatch, asked, fail)
    with pytest.raises(RuntimeError, match="a bug"):
        ssdprof(["sweep"])


class Swept(NamedTuple):
    """What a command left: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str


def of_its_problem(request: SweepRequest) -> Run:
    """The made-up run, of the problem that was asked for, at a time of its own."""
    problem = request.subject.identity()
    date = f"2026-11-23T09:00:{problem['seqlen'] % 60:02}+00:00"
    return replace(h100_run(), header=replace(h100_run().header, problem=problem, date=date))


@pytest.fixture
def both(asked: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Sweeps two lengths."""
    returns(monkeypatch, asked, of_its_problem)
    monkeypatch.chdir(tmp_path)

    def ask(*arguments: str) -> Swept:
        code = ssdprof(["sweep", "--seqlen", "2048,50000", *arguments])
        return Swept(code, *capsys.readouterr())

    return ask


def lengths(asked: Asked) -> list[int]:
    return [request.subject.identity()["seqlen"] for request in asked]


def test_several_lengths_are_swept_and_shown_one_after_the_other(both: Any, asked: Asked) -> None:
    found = both()
    first, second = found.out.split("Problem 2 of 2: seqlen 50000")

    assert (0, [2048, 50_000]) == (found.code, lengths(asked))
    assert first.startswith("Problem 1 of 2: seqlen 2048\n")
    for part in (first, second):
        assert "1 m64n64k32d128w2s4    2.332" in part
        assert part.count("\nuse        m64n64k32d128w2s4, 2.332 ms") == 1
    kept = re.findall(r"run kept in (\S+); next: .* with --run (\S+)", found.err)
    assert 2 == len(kept) == len({path for path, _ in kept})
    assert all(path == named for path, named in kept)


def test_several_lengths_in_json_are_a_list_of_runs_each_as_alone(
    both: Any, asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(both("--json", "--quiet").out)
    assert 0 == ssdprof(["sweep", "--seqlen", "2048", "--json", "--quiet"])

    assert json.loads(capsys.readouterr().out) == found["runs"][0]
    assert [2048, 50_000] == [run["header"]["problem"]["seqlen"] for run in found["runs"]]


def test_several_lengths_in_csv_are_one_table_with_the_problem_in_front(both: Any, tmp_path: Path) -> None:
    assert 0 == both("--csv", "rows.csv").code
    with (tmp_path / "rows.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    headers = json.loads((tmp_path / "rows.csv.meta.json").read_text(encoding="utf-8"))

    assert [*HEADER.problem, "rank"] == list(rows[0])[: len(HEADER.problem) + 1]
    assert [2048, 50_000] == [header["problem"]["seqlen"] for header in headers]
    half = len(rows) // 2
    assert [{"2048"}, {"50000"}] == [{row["seqlen"] for row in part} for part in (rows[:half], rows[half:])]
    assert [row["config_id"] for row in rows[:half]] == [row["config_id"] for row in rows[half:]]
    assert {("false", "bfloat16")} == {(row["z"], row["dtype"]) for row in rows}
    assert (tmp_path / "rows.csv").read_text(encoding="utf-8") == both("--csv", "-").out


def test_several_lengths_have_a_run_file_each_in_the_folder(both: Any, tmp_path: Path) -> None:
    found = both("-o", "runs")
    files = sorted(path.name for path in (tmp_path / "runs").iterdir())

    assert (0, ["seqlen-2048.jsonl", "seqlen-50000.jsonl"]) == (found.code, files)
    assert "with --run runs/seqlen-2048.jsonl" in found.err
    loaded = [store.load_run(tmp_path / "runs" / name).header.problem["seqlen"] for name in files]
    assert [2048, 50_000] == loaded
    assert 2 == both("-o", "runs").code
    assert 0 == both("-o", "runs", "--force").code


def test_the_exit_code_of_several_lengths_is_the_worst_of_theirs(
    both: Any, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_of_the_first(request: SweepRequest) -> Run:
        found = of_its_problem(request)
        return replace(found, rows=()) if request.subject.identity()["seqlen"] == 2048 else found

    returns(monkeypatch, asked, nothing_of_the_first)
    assert 1 == both().code
    assert [2048, 50_000] == lengths(asked)


@pytest.mark.parametrize("form", ["tables", "json"])
def test_an_interruption_of_the_first_length_ends_the_whole_and_keeps_what_it_has(
    both: Any, asked: Asked, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    def cut_off(request: SweepRequest) -> Run:
        found = of_its_problem(request)
        return replace(found, header=replace(found.header, interrupted=True))

    returns(monkeypatch, asked, cut_off)
    found = both(*["--json"] * (form == "json"))

    assert (130, [2048]) == (found.code, lengths(asked))
    assert "interrupted; the results so far are kept in" in found.err
    if form == "json":
        assert [2048] == [run["header"]["problem"]["seqlen"] for run in json.loads(found.out)["runs"]]
    else:
        assert "Problem 1 of 2" in found.out
        assert "m64n64k32d128w2s4" in found.out


def test_what_goes_wrong_with_the_second_length_costs_nothing_of_the_first(
    both: Any, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_at_the_second(request: SweepRequest) -> Run:
        if request.subject.identity()["seqlen"] != 2048:
            raise UsageError("there is no room for it")
        return of_its_problem(request)

    returns(monkeypatch, asked, fails_at_the_second)
    found = both("--json")

    assert 2 == found.code
    assert found.err.endswith("ssdprof: there is no room for it\n")
    assert [2048] == [run["header"]["problem"]["seqlen"] for run in json.loads(found.out)["runs"]]
