"""`ssdprof runs` and `ssdprof show`: what they print, write and refuse, on a machine that swept nothing itself."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from fake_runs import COMPILE_HEADER, HEADER, TOO_LARGE, compiled_run, h100_run, run
from fake_sweeps import fake_sweeps, returns
from run_records import kept, save

from ssdprof.cli.main import run as ssdprof
from ssdprof.kernels.registry import recorded_files
from ssdprof.profiling.runs.store import load_run, new_run_path, runs_dir
from ssdprof.profiling.workers import pool

H100 = "measured on NVIDIA H100 80GB HBM3, driver 580.159.04, Triton 3.6.0"
HEAVY = ("torch", "triton", "pandas", "numpy", "elftools", "pynvml", "yaml")


class Done(NamedTuple):
    """What a command left: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, where no process of a sweep may be started."""

    def never(**_: object) -> None:
        raise AssertionError("processes were started")

    monkeypatch.setattr(pool, "Pool", never)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> Done:
        code = ssdprof(arguments)
        return Done(code, *capsys.readouterr())

    return command


def keep(date: str = "2026-11-23T09:00:00.000+00:00") -> Path:
    header = replace(HEADER, date=date)
    path = new_run_path(header)
    save(replace(h100_run(), header=header), path)
    return path


def test_with_nothing_kept_runs_says_so_in_one_line(command: Command) -> None:
    expected = "No run is kept yet: `ssdprof sweep` keeps one; see `ssdprof show recorded`.\n"
    assert Done(0, expected, "") == command("runs")
    assert {"schema": 1, "runs": []} == json.loads(command("runs", "--json").out)


def test_runs_lists_the_newest_first(command: Command) -> None:
    save(compiled_run(), new_run_path(replace(COMPILE_HEADER, date="2026-11-22T09:00:00.000+00:00")))
    keep()
    heading, _, first, second, way_on = command("runs").out.splitlines()
    assert ["run", "when", "device", "subject", "space", "configs", "best", "latency", "ms"] == heading.split()
    assert "1 2026-11-23 09:00 H100 80GB HBM3 chunk_scan seqlen 50000 mamba 16 m64n64k32d128w2s4 2.332" == words(first)
    assert words(second).startswith(
        "2 2026-11-23 09:00 none, for sm_90 chunk_scan seqlen 50000 mamba 16 compile only –"
    )
    assert "`ssdprof show RUN` prints one again, `ssdprof explain best --run RUN` explains its best" == way_on


def test_the_readme_shows_the_list_of_the_runs_that_ship(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    for file in recorded_files():
        path = new_run_path(load_run(file).header)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, path)
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^<!-- runs -->\n```\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    assert shown.splitlines() == [line.rstrip() for line in command("runs").out.splitlines()]


def words(line: str) -> str:
    return " ".join(line.split())


def test_runs_of_several_problems_are_told_apart_by_what_differs(command: Command) -> None:
    for seqlen, d_form in ((2048, "head"), (50_000, "none")):
        problem = {**HEADER.problem, "seqlen": seqlen, "d_form": d_form}
        header = replace(HEADER, problem=problem, date=f"2026-11-23T09:00:{seqlen % 60:02}+00:00")
        save(replace(h100_run(), header=header), new_run_path(header))
    out = command("runs").out
    assert "chunk_scan seqlen 2048, d_form head" in out
    assert "chunk_scan seqlen 50000, d_form none" in out


def test_a_run_that_is_not_whole_is_marked_and_a_broken_one_says_why(command: Command) -> None:
    header = replace(HEADER, interrupted=True)
    save(run([TOO_LARGE], header), new_run_path(header))
    (runs_dir() / "0000.jsonl").write_text("")
    out = command("runs").out
    first, second = (words(line) for line in out.splitlines()[2:4])
    assert first.startswith("1 2026-11-23 09:00 ")
    assert first.endswith(" none is correct – interrupted")
    assert "2 – – – – – – – unreadable" == second
    assert f"run 2: {runs_dir() / '0000.jsonl'} is cut off before the end of its first line: it holds no run" in words(
        out
    )


def test_json_has_every_field_and_the_path(command: Command) -> None:
    path = keep()
    (found,) = json.loads(command("runs", "--json").out)["runs"]
    assert (1, str(path), "done", None, "NVIDIA H100 80GB HBM3", "m64n64k32d128w2s4", 2.332, 16, 5) == tuple(
        found[name]
        for name in ("number", "path", "state", "error", "device", "best_id", "best_ms", "configs", "correct")
    )
    assert HEADER.problem == found["problem"]


def test_runs_are_removed_by_name_and_said(command: Command) -> None:
    newest, oldest = keep("2026-11-24T09:00:00.000+00:00"), keep()
    assert Done(0, f"removed 1 run\n{oldest}\n", "") == command("runs", "2", "--remove")
    assert {"schema": 1, "removed": [str(newest)]} == json.loads(command("runs", "--remove", "last", "--json").out)
    assert [] == list(runs_dir().iterdir())


def test_runs_are_pruned(command: Command) -> None:
    keep("2026-11-24T09:00:00.000+00:00")
    oldest = keep()
    assert f"removed 1 run\n{oldest}\n" == command("runs", "--prune", "1").out
    assert "removed 0 runs\n" == command("runs", "--older-than", "9999").out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--remove",), "--remove needs the runs to remove: name them, such as `ssdprof runs 3 4 --remove`"),
        (("1", "--prune", "1"), "which runs to remove is said in one way: by --remove RUN…, --prune N or --older-than"),
        (("1", "2"), "run 2: there is none of that number; the only number is 1"),
        (("recorded",), "recorded ships with ssdprof and is not among the kept runs"),
        (("--prune", "-1"), "--prune must be 0 or more runs to keep, got -1"),
    ],
)
def test_what_runs_refuses(command: Command, arguments: tuple[str, ...], expected: str) -> None:
    keep()
    done = command("runs", *arguments)
    assert (2, "", 1) == (done.code, done.out, done.err.count("\n"))
    assert done.err.startswith(f"ssdprof: {expected}")
    assert 1 == len(list(runs_dir().iterdir()))


def test_show_prints_what_sweep_printed(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    returns(monkeypatch, fake_sweeps(monkeypatch, tmp_path), lambda _: kept(h100_run()))
    for options in ((), ("--all", "--wrong"), ("--top", "2"), ("--json",), ("--csv", "-")):
        assert 0 == ssdprof(["sweep", "--quiet", *options])
        swept = capsys.readouterr().out
        done = command("show", *options)
        heading = (
            "" if options[:1] in (("--json",), ("--csv",)) else f"The run kept last, of 2026-11-23 09:00, {H100}\n\n"
        )
        assert Done(0, heading + swept, "") == done


def test_show_writes_a_csv_and_its_sidecar(command: Command) -> None:
    done = command("show", "recorded:2048", "--csv", "rows.csv", "--top", "1")
    with Path("rows.csv").open(encoding="utf-8") as file:
        assert 396 == len(list(csv.DictReader(file)))
    assert 2048 == json.loads(Path("rows.csv.meta.json").read_text(encoding="utf-8"))["problem"]["seqlen"]
    assert "ssdprof: wrote rows.csv and rows.csv.meta.json\n" == done.err
    again = command("show", "recorded:2048", "--csv", "rows.csv")
    assert (2, "") == (again.code, again.out)
    assert again.err.startswith(
        "ssdprof: --csv rows.csv exists already: name another file, or give --force to replace it"
    )
    assert 0 == command("show", "recorded:2048", "--csv", "rows.csv", "--force", "--quiet").code


def test_show_says_whose_the_figures_are(command: Command) -> None:
    out = command("show", "recorded").out
    assert out.startswith(f"The recorded run, of 2026-11-25 20:40, {H100}\n\nuse ")
    assert "`ssdprof explain best --run recorded` says why" in out
    save(compiled_run(), new_run_path(COMPILE_HEADER))
    assert command("show").out.startswith(
        "The run kept last, of 2026-11-23 09:00, compiled for sm_90, not measured, Triton 3.9.0\n\nuse  "
    )


def test_show_prints_a_run_in_which_nothing_is_correct_or_nothing_is_left(command: Command) -> None:
    save(run([TOO_LARGE], HEADER), Path("wrong.jsonl"))
    save(run([], HEADER), Path("empty.jsonl"))
    for name in ("wrong.jsonl", "empty.jsonl"):
        done = command("show", name)
        assert (0, "") == (done.code, done.err)
        assert "No config gave a correct output that could be timed." in done.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "no run has been kept yet: run `ssdprof sweep` first, or name the run that ships with ssdprof, recorded"),
        (("7",), "run 7: no run has been kept yet: "),
        (("missing.jsonl",), "no run file missing.jsonl: `ssdprof sweep` keeps one; give a path, a number that"),
        (("recorded:1",), "recorded:1 is no recorded run: those that ship with ssdprof are recorded, recorded:2048"),
        (("foreign.csv",), "foreign.csv is not a run file: it does not begin with a header of format 3"),
        (("empty.jsonl",), "empty.jsonl is cut off before the end of its first line: it holds no run"),
        (("newer.jsonl",), "newer.jsonl is of format 4, made by a newer ssdprof: this one reads format 3"),
        ((".",), ". cannot be read: Is a directory"),
        (("recorded", "--csv", "no/rows.csv"), "--csv no/rows.csv: there is no folder no, create it first"),
        (("recorded", "--csv", "-", "--json"), "--csv - and --json both write to stdout: leave one of them out"),
        (("recorded", "--top", "0"), "--top must be at least 1, got 0"),
    ],
)
def test_what_show_refuses(command: Command, arguments: tuple[str, ...], expected: str) -> None:
    Path("foreign.csv").write_text("rank,config_id\n")
    Path("empty.jsonl").touch()
    Path("newer.jsonl").write_text('{"format": 4, "kind": "header"}\n')
    done = command("show", *arguments)
    assert (2, "", 1) == (done.code, done.out, done.err.count("\n"))
    assert done.err.startswith(f"ssdprof: {expected}")


def test_a_captured_kernels_run_is_listed_and_shown_without_its_file(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    header = replace(HEADER, kernel="captured:softmax", kernel_file=str(tmp_path / "gone.launch"),
                     problem={"x_ptr": "float32[6,5]", "held against": "the launch as captured"})  # fmt: skip
    save(replace(h100_run(), header=header), new_run_path(header))
    listed, shown = command("runs"), command("show")
    assert "captured:softmax x_ptr float32[6,5]" in words(listed.out)
    assert (0, "") == (shown.code, shown.err)
    assert "problem   x_ptr float32[6,5]\n" in shown.out


@pytest.mark.parametrize(
    "arguments", [["runs"], ["runs", "--json"], ["show"], ["show", "--json"], ["show", "recorded"]]
)
def test_neither_imports_torch_triton_or_pandas(arguments: list[str]) -> None:
    keep()
    program = (
        "import sys; from ssdprof.cli.main import run; code = run(sys.argv[1:]);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=os.environ)
    assert (0, "[]\n") == (done.returncode, done.stderr)
    assert done.stdout
