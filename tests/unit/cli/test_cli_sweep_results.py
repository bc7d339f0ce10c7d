"""`ssdprof sweep` around a made-up sweep: what it prints, writes, keeps and returns, and how it shows progress."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_runs import COMPILE_HEADER, HEADER, TOO_LARGE, h100_run, run
from fake_sweeps import Asked, IdlePool, fake_sweeps, gpus, returns, ship
from rich.console import Console

from ssdprof.cli import console as console_module
from ssdprof.cli.console import ProgressBar, progress_text
from ssdprof.cli.main import run as ssdprof
from ssdprof.profiling.runs import store
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.sweep.request import Event, SweepRequest


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    return fake_sweeps(monkeypatch, tmp_path)


def test_a_sweep_prints_tables_and_verdict_and_returns_0(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["sweep"])
    out = capsys.readouterr().out
    assert "1 m64n64k32d128w2s4    2.332" in out
    assert "Wrong output: not ranked, not to be used (wrong): 10" in out
    assert "✓ The fastest correct configs are m64n64k32d128w2s4 and m32n64k32d128w2s5, tied" in " ".join(out.split())


def test_processes_are_waited_for_only_when_the_table_is_printed(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed_before: list[str] = []
    monkeypatch.setattr(IdlePool, "close", lambda _: printed_before.append(capsys.readouterr().out))
    assert 0 == ssdprof(["sweep"])
    (text,) = printed_before
    assert "The fastest correct configs are" in " ".join(text.split())


def test_recorded_latencies_are_shown_without_a_gpu(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpus(monkeypatch)
    ship(monkeypatch, h100_run())
    ssdprof(["sweep", "--quiet"])
    out = capsys.readouterr().out
    assert "recorded  latencies are of NVIDIA H100 80GB HBM3, driver 580.159.04, Triton 3.6.0, 2026-11-23" in out
    assert "✓ Recorded: The fastest correct config" in " ".join(out.split())
    assert "(wrong, as recorded): 10" in out


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
    assert 16 == len(list(csv.DictReader(path.open())))
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


def test_top_limits_the_tables(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    ssdprof(["sweep", "--top", "1"])
    assert "the first 1 of 5 (--top 1)" in capsys.readouterr().out


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


def test_progress_is_a_line_per_phase_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar() as progress:
        for phase in ("compiling", "compiling", "measuring", "refining"):
            progress(Event(phase, 1, 33, 1, None, None, None))  # type: ignore[arg-type]
    assert (
        """\
ssdprof: compiling (33 configs) …
ssdprof: checking and timing …
ssdprof: timing the best again, in turns …
"""
        == capsys.readouterr().err
    )


def test_progress_is_a_bar_with_best_and_time_left_on_a_terminal() -> None:
    from io import StringIO

    text = StringIO()
    terminal = Console(file=text, force_terminal=True, width=120)
    with ProgressBar(console=terminal) as progress:
        progress(Event("measuring", 5, 33, 20, "m64n128k32d128w4s4", h100_run().ranked[0], 65.0))
    assert "measuring" in text.getvalue()
    assert "5/33" in text.getvalue()
    assert "best 2.332 ms m64n64k32d128w2s4" in text.getvalue()


def test_progress_is_silent_if_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar(quiet=True, console=Console(force_terminal=True, stderr=True)) as progress:
        progress(Event("measuring", 5, 33, 20, None, None, None))
    assert "" == capsys.readouterr().err


def test_the_detail_of_an_event_has_what_is_known() -> None:
    best = h100_run().ranked[0]
    text = progress_text(Event("measuring", 1, 2, 2, "m1", best, 65.2))
    assert "1/2 · m1 · best 2.332 ms m64n64k32d128w2s4 · 1:05 left" == text
    assert "0/2" == progress_text(Event("compiling", 0, 2, 0, None, None, None))


def test_colours_obey_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert console_module.terminal().no_color
