"""`ssdprof sweep` around a made-up sweep: what it asks for, prints, writes and returns."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ssdprof.cli import console as console_module
from ssdprof.cli.console import ProgressBar, detail
from ssdprof.cli.keeper import Keeper
from ssdprof.cli.main import run as ssdprof
from ssdprof.profiling import device, store
from ssdprof.profiling import sweep as sweep_module
from ssdprof.profiling.device import GpuInfo
from ssdprof.profiling.model import Run
from ssdprof.profiling.request import Event, SweepRequest

from .fake_runs import COMPILE_HEADER, H100_GPU, HEADER, TOO_LARGE, compiled_run, h100_run, run

Asked = list[SweepRequest]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    """Sweeps return the made-up H100 run, or without a GPU the compiled one; what they are asked is kept."""
    requests: Asked = []
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(device, "gpus", lambda: (H100_GPU,))
    monkeypatch.setattr(store, "recorded_runs", lambda: iter(()))
    returns(monkeypatch, requests, lambda request: h100_run() if request.gpu else compiled_run())
    return requests


def returns(monkeypatch: pytest.MonkeyPatch, requests: Asked, result: Callable[[SweepRequest], Run]) -> None:
    def sweep(request: SweepRequest, on_event: Callable[[Event], None], on_run: Callable[[Run], None]) -> Run:
        requests.append(request)
        on_event(Event("compiling", 0, len(request.configs), 0, None, None, None))
        found = result(request)
        on_run(replace(found, rows=found.rows[:1]))
        on_run(found)
        return found

    monkeypatch.setattr(sweep_module, "sweep", sweep)


def gpus(monkeypatch: pytest.MonkeyPatch, *found: GpuInfo) -> None:
    monkeypatch.setattr(device, "gpus", lambda: found)


def test_a_sweep_prints_tables_and_verdict_and_returns_0(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["sweep"])
    out = capsys.readouterr().out
    assert "1 m64n64k32d128w2s4    2.332" in out
    assert "Wrong output: not ranked, not to be used (wrong): 10" in out
    assert "✓ The fastest correct config is m64n64k32d128w2s4: 2.332 ms" in out


def test_defaults_are_the_pull_requests_space_and_preset_on_the_first_gpu(asked: Asked) -> None:
    ssdprof(["sweep"])
    request = asked[0]
    assert ("tensorrt-llm-pr", "sm_90", H100_GPU, 0, 300) == (
        request.space,
        request.arch,
        request.gpu,
        request.seed,
        request.timeout_s,
    )
    assert (50_000, 128, 64, 8, 128) == (
        request.problem.seqlen,
        request.problem.nheads,
        request.problem.headdim,
        request.problem.ngroups,
        request.problem.dstate,
    )
    assert 33 == len(set(request.configs))
    assert {"tile"} == {config.variant for config in request.configs}


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--dstate", "64"], "dstate", 64),
        (["--d-state", "64"], "dstate", 64),
        (["--d-state=64"], "dstate", 64),
        (["--headdim", "32"], "headdim", 32),
        (["--d-head", "32"], "headdim", 32),
        (["--nheads", "64"], "nheads", 64),
        (["--n-heads", "64"], "nheads", 64),
        (["--ngroups", "4"], "ngroups", 4),
        (["--n-groups", "4"], "ngroups", 4),
        (["--seqlen", "2048"], "seqlen", 2048),
        (["--seq-len", "2048"], "seqlen", 2048),
        (["--chunk-size", "256"], "chunk_size", 256),
        (["--batch", "2"], "batch", 2),
        (["--dtype", "fp16"], "dtype", "float16"),
        (["--states-dtype", "fp32"], "states_dtype", "float32"),
        (["--d-form", "none"], "d_form", "none"),
        (["--z"], "z", True),
        (["--no-z"], "z", False),
        (["--seq-idx"], "seq_idx", True),
        (["--preset", "nemotron-3-nano"], "nheads", 64),
        (["--tp", "4"], "nheads", 32),
        (["--tp", "4"], "ngroups", 2),
    ],
)
def test_problem_options_reach_the_problem(asked: Asked, arguments: list[str], field: str, value: Any) -> None:
    assert 0 == ssdprof(["sweep", *arguments])
    assert value == getattr(asked[0].problem, field)


def test_other_options_reach_the_request(asked: Asked) -> None:
    ssdprof(["sweep", "--space", "vllm", "--seed", "7", "--jobs", "3", "--timeout", "12.5", "--gpu", "cuda:0"])
    request = asked[0]
    assert ("vllm", 7, 3, 12.5, H100_GPU) == (
        request.space,
        request.seed,
        request.jobs,
        request.timeout_s,
        request.gpu,
    )


def test_both_variants_double_the_configs(asked: Asked) -> None:
    ssdprof(["sweep", "--variant", "both"])
    assert {"tile": 33, "split": 33} == {
        variant: len({config for config in asked[0].configs if config.variant == variant})
        for variant in ("tile", "split")
    }


def test_the_baseline_is_swept_with_the_space_that_lacks_it(asked: Asked) -> None:
    ssdprof(["sweep", "--space", "mamba", "--baseline", "m32n32k32d128w4s3"])
    request = asked[0]
    assert request.baseline == request.configs[-1]
    assert 12 == len(set(request.configs))


def test_a_baseline_may_be_one_of_the_last_run(asked: Asked) -> None:
    ssdprof(["sweep"])
    ssdprof(["sweep", "--baseline", "#2"])
    assert (32, 64) == (asked[1].baseline.block_m, asked[1].baseline.block_n) if asked[1].baseline else ()


def test_without_a_gpu_it_compiles_for_hopper_and_adds_no_baseline(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpus(monkeypatch)
    assert 0 == ssdprof(["sweep", "--variant", "split"])
    assert (None, "sm_90") == (asked[0].gpu, asked[0].arch)
    assert 33 == len(asked[0].configs)
    captured = capsys.readouterr()
    assert 15 == captured.out.count("not measured")
    assert "next: ssdprof explain any config above" in captured.err


def test_another_architecture_than_the_gpus_is_compiled_for_only(asked: Asked) -> None:
    ssdprof(["sweep", "--arch", "sm_80"])
    assert (None, "sm_80") == (asked[0].gpu, asked[0].arch)


def test_gpu_none_compiles_only(asked: Asked) -> None:
    ssdprof(["sweep", "--gpu", "none"])
    assert asked[0].gpu is None


def test_recorded_latencies_are_shown_without_a_gpu(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpus(monkeypatch)
    monkeypatch.setattr(store, "recorded_runs", lambda: iter((h100_run(),)))
    ssdprof(["sweep", "--quiet"])
    out = capsys.readouterr().out
    assert "recorded  latencies are of NVIDIA H100 80GB HBM3, driver 580.159.04, Triton 3.6.0, 2026-11-23" in out
    assert "✓ Recorded: The fastest correct config" in " ".join(out.split())
    assert "(wrong, as recorded): 10" in out


def test_json_is_alone_on_stdout(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["sweep", "--json"])
    captured = capsys.readouterr()
    assert 16 == len(json.loads(captured.out)["rows"])
    assert captured.err.startswith("ssdprof: compiling (")


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
    assert captured.err.startswith("ssdprof: interrupted; what was done is kept in ")


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


def test_a_full_disk_is_told_once_and_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(run: Run, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "save_run", full)
    keeper = Keeper(tmp_path / "run.json")
    keeper(h100_run())
    keeper(h100_run())
    keeper.tell()
    assert (
        f"ssdprof: the run cannot be kept in {tmp_path / 'run.json'}: No space left on device; going on without\n"
        == capsys.readouterr().err
    )
    keeper(run(h100_run().rows, replace(HEADER, interrupted=True)))
    keeper.tell()
    assert "ssdprof: interrupted; nothing is kept\n" == capsys.readouterr().err


def test_a_sweep_that_never_began_tells_of_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    Keeper(None).tell()
    assert "" == capsys.readouterr().err


def test_progress_is_a_line_per_phase_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_progress_is_silent_where_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar(quiet=True, console=Console(force_terminal=True, stderr=True)) as progress:
        progress(Event("measuring", 5, 33, 20, None, None, None))
    assert "" == capsys.readouterr().err


def test_the_detail_of_an_event_has_what_is_known() -> None:
    best = h100_run().ranked[0]
    assert "m1 · best 2.332 ms m64n64k32d128w2s4 · 1:05 left" == detail(Event("measuring", 1, 2, 2, "m1", best, 65.2))
    assert "" == detail(Event("compiling", 0, 2, 0, None, None, None))


def test_colours_obey_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert console_module.stdout().no_color


def test_devices_tells_of_the_gpu_and_what_is_assumed_of_it(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["devices"])
    assert """\
GPU 0: NVIDIA H100 80GB HBM3
architecture    sm_90
driver          580.159.04, CUDA 13.0
memory          78.6 GiB free of 79.6
SM clock        1980 MHz of at most 1980
power           120 W of at most 700
temperature     35 °C
MIG             off
assumed per SM  64 warps, 32 blocks, 65536 registers, 233472 bytes of shared memory (232448 for one
                block), 4 schedulers
""" == "".join(line.rstrip() + "\n" for line in capsys.readouterr().out.splitlines())


def test_devices_tells_of_an_unknown_one_and_of_none(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpus(monkeypatch, replace(H100_GPU, arch="sm_10", sm_clock_mhz=None, temperature_c=None, mig=None))
    ssdprof(["devices"])
    out = capsys.readouterr().out
    assert "nothing: the limits of this architecture are not known" in out
    assert "not supported" in out
    assert 0 == ssdprof(["devices", "--json"])
    assert json.loads(capsys.readouterr().out)["devices"][0]["assumed"] is None
    gpus(monkeypatch)
    assert 0 == ssdprof(["devices"])
    assert capsys.readouterr().out.startswith("No NVIDIA GPU is visible")
