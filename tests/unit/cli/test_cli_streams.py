"""What the command line does with an output that takes no more, or not every character, and when it is ended."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from fake_runs import h100_run
from fake_sweeps import fake_sweeps

from ssdprof.cli.main import run
from ssdprof.reports.export.run_csv import run_csv

LAUNCHES = "threads_per_block,registers_per_thread,dynamic_shared_mem_bytes\n64,255,41728\n"
EXPORT = Path(__file__).parents[2] / "golden" / "ncu_h100_chunk_scan.csv"
BOTH = "ssdprof: --csv - and --json both write to stdout: leave one of them out, or give --csv a file\n"
SWEEP = [
    *("sweep", "--space", "one.json", "--gpu", "none", "--seqlen", "64", "--nheads", "2", "--ngroups", "1"),
    *("--dstate", "16", "--headdim", "16", "--chunk-size", "16", "-o", "run.jsonl"),
]


def ssdprof(arguments: list[str], cwd: Path, stdout: int | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    (cwd / "one.json").write_text('["m16n16k16d16w1s1"]', encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "ssdprof", *arguments],
        env={**os.environ, **env},
        cwd=cwd,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_an_ascii_terminal_gets_the_whole_answer(tmp_path: Path) -> None:
    done = ssdprof([*SWEEP, "-q"], tmp_path, PYTHONIOENCODING="ascii")

    assert (0, "") == (done.returncode, done.stderr)
    assert "m16n16k16d16w1s1" in done.stdout
    assert done.stdout.isascii()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_stdout_is_told_in_one_line_and_the_run_is_kept(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = ssdprof(SWEEP, tmp_path, full.fileno())

    assert 1 == done.returncode
    kept, said = done.stderr.splitlines()[-2:]
    assert kept.startswith("ssdprof: run kept in ")
    assert "ssdprof: stdout cannot be written: No space left on device" == said
    assert "m16n16k16d16w1s1" in (tmp_path / "run.jsonl").read_text(encoding="utf-8")


def of_cache(folder: Path) -> list[str]:
    """The processes that have this cache folder in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if str(folder).encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc")
def test_sigterm_ends_all_that_was_started_and_keeps_the_run(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    asked = ["sweep", "--space", "wide", "--gpu", "none", "--seqlen", "2048", "-o", "run.jsonl"]
    sweep = subprocess.Popen(
        [sys.executable, "-m", "ssdprof", *asked],
        env={**os.environ, "TRITON_CACHE_DIR": str(cache)},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    run_file = tmp_path / "run.jsonl"
    while not run_file.exists() or b'"registers_per_thread"' not in run_file.read_bytes():  # a config is compiled
        assert sweep.poll() is None
        time.sleep(0.05)

    sweep.send_signal(signal.SIGTERM)
    _, said = sweep.communicate(timeout=60)

    assert 130 == sweep.returncode
    assert said.splitlines()[-1].startswith("ssdprof: interrupted; the results so far are kept in run.jsonl")
    deadline_s = time.monotonic() + 20
    while of_cache(cache) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert [] == of_cache(cache)


def test_a_sweeps_csv_on_stdout_stands_there_alone_and_has_no_sidecar(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_sweeps(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert 0 == run(["sweep", "--csv", "-"])
    captured = capsys.readouterr()

    assert run_csv(h100_run()) == captured.out
    assert "ssdprof: wrote" not in captured.err
    assert [] == list(tmp_path.glob("-*"))


def test_a_verifications_csv_can_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["verify", "--ncu-report", str(EXPORT), "--arch", "sm_90", "--csv", "-"])
    assert 285 == len(list(csv.reader(io.StringIO(capsys.readouterr().out))))


def test_launches_can_come_from_stdin_and_the_answers_go_to_stdout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "launches.csv"
    source.write_text(LAUNCHES, encoding="utf-8")
    assert 0 == run(["occupancy", "--from-csv", str(source), "--arch", "sm_90"])
    expected = capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LAUNCHES.encode())))
    assert 0 == run(["occupancy", "--from-csv", "-", "--arch", "sm_90", "--csv", "-"])

    assert expected == capsys.readouterr().out
    assert "12.5" == next(csv.DictReader(io.StringIO(expected)))["theoretical_occupancy_pct"]


def test_what_is_wrong_with_stdin_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert 2 == run(["occupancy", "--from-csv", "-"])
    assert capsys.readouterr().err.startswith("ssdprof: stdin is empty: it needs a header with threads_per_block")


@pytest.mark.parametrize(
    "command", [["sweep"], ["verify", "--limit", "1"], ["occupancy", "--from-csv", "launches.csv", "--arch", "sm_90"]]
)
def test_stdout_takes_either_csv_or_json(
    command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = fake_sweeps(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("launches.csv").write_text(LAUNCHES, encoding="utf-8")
    assert 2 == run([*command, "--csv", "-", "--json"])

    assert ("", BOTH) == capsys.readouterr()
    assert [] == asked
