"""`ssdprof.sweep`, `explain`, `occupancy` and `subject` as functions: quick to import, and equal to the commands."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from config_forms import autotune_form, triton_form
from fake_runs import HEADER, explanation, h100_run
from fake_sweeps import Asked, Explain, IdlePool, explains, fake_sweeps, gpus, ship
from run_records import kept, save

import ssdprof
from ssdprof.cli.main import run as command
from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.ssd.params import PARAMS, chunk_scan_config
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling import api
from ssdprof.profiling.gpu import driver
from ssdprof.profiling.runs import store
from ssdprof.profiling.runs.model import Explanation, Run
from ssdprof.profiling.runs.run_file import RunError
from ssdprof.profiling.runs.state import Record
from ssdprof.profiling.sweep.request import Event
from ssdprof.reports.export.run_json import explanation_json, run_json

HEAVY = ("torch", "triton", "rich", "typer", "pandas", "numpy", "elftools", "pynvml", "yaml")
ONE = {"threads_per_block": 64, "registers_per_thread": 255, "dynamic_shared_mem_bytes": 41_728}


def loaded_by(code: str) -> str:
    """The heavy modules that a program has loaded in the end."""
    program = f"import sys; {code}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "code",
    [
        "import ssdprof",
        "from ssdprof import capture, explain, occupancy, subject, sweep",
        "import ssdprof; ssdprof.occupancy(threads_per_block=64, registers_per_thread=255)",
        "import ssdprof; ssdprof.subject(seqlen=2048, dtype='fp16', tp=2).baseline()",
    ],
)
def test_importing_ssdprof_and_naming_what_it_has_loads_nothing_heavy(code: str) -> None:
    assert "" == loaded_by(code)


def test_only_what_is_promised_is_there() -> None:
    assert ["capture", "explain", "occupancy", "subject", "sweep", "sweep_kernel"] == sorted(ssdprof.__all__)
    assert (api.sweep, api.explain, api.occupancy) == (ssdprof.sweep, ssdprof.explain, ssdprof.occupancy)
    with pytest.raises(AttributeError, match="module 'ssdprof' has no attribute 'profile'"):
        ssdprof.profile  # type: ignore[attr-defined]  # noqa: B018


def test_each_function_says_what_it_returns_and_raises() -> None:
    for function in (ssdprof.sweep, ssdprof.explain, ssdprof.occupancy, ssdprof.subject):
        assert "Raises UsageError" in (function.__doc__ or "")
        assert "return" in function.__annotations__


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    return fake_sweeps(monkeypatch, tmp_path)


def kept_files(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "data").rglob("*.jsonl")]


@pytest.mark.parametrize("gpu", [True, False])
def test_the_defaults_are_those_of_the_command(asked: Asked, monkeypatch: pytest.MonkeyPatch, gpu: bool) -> None:
    if not gpu:
        gpus(monkeypatch)
    ssdprof.sweep(ssdprof.subject())
    command(["sweep", "-q"])
    function, from_command = asked
    assert "" == function.command
    assert function == replace(from_command, command="")


def test_every_argument_is_an_option_of_the_command(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "few.yaml").write_text("[m64n64k32w2s4, m32n64k32w2s5]")
    ssdprof.sweep(
        ssdprof.subject("chunk-scan", preset="nemotron-3-nano", seqlen=2048, z=True, tp=2),
        space=str(tmp_path / "few.yaml"),
        variant="split",
        values={"num_warps": [2, 4], "block_dstate": (32, 64)},
        baseline=chunk_scan_config(64, 64, 32, 128, 2, 4, variant="split"),
        arch="9.0",
        device="0",
        jobs=3,
        timeout_s=12.5,
        budget_s=0.0,
        timing="graph",
        seed=7,
    )
    problem = "--preset nemotron-3-nano --seqlen 2048 --z --tp 2"
    space = f"--space {tmp_path / 'few.yaml'} --variant split --values num_warps=2,4 --values block_dstate=32,64"
    rest = "--baseline split:m64n64k32d128w2s4 --arch 9.0 --gpu 0 --jobs 3 --timeout 12.5 --budget 0 --timing graph"
    command(["sweep", *problem.split(), *space.split(), *rest.split(), "--seed", "7", "-q"])
    function, from_command = asked
    assert 9 == len(set(function.configs))
    assert function == replace(from_command, command="")


def test_a_baseline_may_be_a_text(asked: Asked) -> None:
    config = chunk_scan_config(32, 64, 32, 128, 2, 5)
    for baseline in (config, PARAMS.id(config), triton_form(PARAMS, config)):
        ssdprof.sweep(ssdprof.subject(), space="mamba", baseline=baseline)
    assert {PARAMS.id(config)} == {PARAMS.id(one.baseline) for one in asked if one.baseline is not None}
    assert 3 == len(asked)


def test_nothing_is_kept_unless_it_is_asked_for(asked: Asked, tmp_path: Path) -> None:
    run = ssdprof.sweep(ssdprof.subject())
    assert [] == kept_files(tmp_path)
    ssdprof.sweep(ssdprof.subject(), keep=True)
    assert 1 == len(kept_files(tmp_path))
    assert kept(run) == store.latest_run()
    ssdprof.sweep(ssdprof.subject(), out=tmp_path / "mine.jsonl")
    assert kept(run) == store.load_run(tmp_path / "mine.jsonl")
    assert 1 == len(kept_files(tmp_path))


def test_all_who_listen_hear_of_the_sweep(asked: Asked, tmp_path: Path) -> None:
    events: list[Event] = []
    records: list[Record] = []
    said: list[str] = []
    run = ssdprof.sweep(
        ssdprof.subject(),
        out=tmp_path / "mine.jsonl",
        on_event=events.append,
        on_record=records.append,
        say=said.append,
        on_kept=lambda kept: said.append(kept.line),
    )
    assert ["compiling"] == [event.phase for event in events]
    assert run.header == records[-1]
    assert len(run.rows) < len(records)
    assert ["63 configs, about", f"run kept in {tmp_path / 'mine.jsonl'}; next: "] == [
        said[0][:17],
        said[1][: len(f"run kept in {tmp_path / 'mine.jsonl'}; next: ")],
    ]


def test_nothing_is_printed(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    ssdprof.sweep(ssdprof.subject(), keep=True)
    assert ("", "") == capsys.readouterr()


def test_processes_of_ones_own_stay_open_and_others_are_closed(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    closed: list[IdlePool] = []
    monkeypatch.setattr(IdlePool, "close", lambda pool: closed.append(pool))
    monkeypatch.setattr(driver, "DRIVER_FILES", (tmp_path,))
    pool = api.started()
    assert isinstance(pool, IdlePool)
    assert (1, 0) == (pool.measurers_asked, api.started("none").measurers_asked)  # type: ignore[attr-defined]
    ssdprof.sweep(ssdprof.subject(), pool=pool)
    assert (closed, pool.dismissed) == ([], False)
    ssdprof.sweep(ssdprof.subject(), device="none", pool=pool)
    assert (closed, pool.dismissed) == ([], True)
    ssdprof.sweep(ssdprof.subject())
    assert 1 == len(closed)
    assert closed[0] is not pool


def test_what_cannot_be_is_a_usage_error_before_any_process_begins(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "started", lambda device: pytest.fail("processes were started"))
    for arguments in ({"space": "nope"}, {"values": {"NOPE": [1]}}, {"values": {"num_warps": [3]}}, {"jobs": 0}):
        with pytest.raises(UsageError):
            ssdprof.sweep(ssdprof.subject(), **arguments)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="unknown preset"):
        ssdprof.subject(preset="nope")


def test_occupancy_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--threads 64 --regs 255 --smem 41728 --static-smem 16 --barriers 2 --grid 264 --ctas 1 --sms 132"
    assert 0 == command(["occupancy", *arguments.split(), "--arch", "sm_80", "--prefer-shared", "--json"])
    printed = json.loads(capsys.readouterr().out)["occupancy"]
    found = ssdprof.occupancy(
        **ONE,
        static_shared_mem_bytes=16,
        num_barriers=2,
        grid_blocks=264,
        arch="sm_80",
        prefers_shared=True,
        num_sms=132,
    )
    assert printed == json.loads(json.dumps(asdict(found)))
    assert 0 == command(["occupancy", *arguments.split()[:6], "--arch", "sm_90", "--json"])
    default = json.loads(json.dumps(asdict(ssdprof.occupancy(**ONE))))
    assert json.loads(capsys.readouterr().out)["occupancy"] == default
    assert (12.5, ["registers", "shared memory"]) == (default["theoretical_occupancy_pct"], default["limiters"])


def test_numbers_that_no_launch_can_have_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="0 threads per block: sm_90 takes 1 to 1024"):
        ssdprof.occupancy(threads_per_block=0, registers_per_thread=32)
    with pytest.raises(UsageError, match="unknown architecture 'sm_12'"):
        ssdprof.occupancy(**ONE, arch="sm_12")


Explained = list[Explain]


@pytest.fixture
def explained(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> Explained:
    """What explanations, which are made up, are asked for; no GPU."""
    requests: Explained = []
    gpus(monkeypatch)
    explains(monkeypatch, requests, explanation())
    return requests


def test_a_config_or_its_name_may_be_explained(explained: Explained) -> None:
    config, subject = chunk_scan_config(64, 64, 32, 128, 2, 4), ssdprof.subject(seqlen=2048)
    events: list[Event] = []
    answers: list[Explanation] = []
    for named in (config, PARAMS.id(config), autotune_form(PARAMS, config)):
        of_it = ssdprof.explain(named, subject, on_event=events.append, on_answer=answers.append)
        assert replace(explanation(), whose="the problem you gave") == of_it
    assert [replace(of_it, neighbours=())] * 3 == answers
    assert [(config, subject, None)] * 3 == [(one.config, one.sweep.subject, one.run) for one in explained]
    assert 3 == len(events)


@pytest.mark.parametrize("as_file", [True, False])
def test_a_row_of_a_run_is_explained_on_the_runs_own_problem(
    explained: Explained, tmp_path: Path, as_file: bool
) -> None:
    run = kept(replace(h100_run(), header=replace(HEADER, problem={**HEADER.problem, "seqlen": 2048})))
    save(run, tmp_path / "run.jsonl")
    named: Run | Path = tmp_path / "run.jsonl" if as_file else run
    ssdprof.explain("#2", run=named)
    ssdprof.explain("best", ssdprof.subject(seqlen=2048), run=named)
    ssdprof.explain("baseline", run=str(tmp_path / "run.jsonl"), arch="sm_80")
    assert [(run, 2048, "sm_90"), (run, 2048, "sm_90"), (run, 2048, "sm_80")] == [
        (one.run, seqlen_of(one), one.sweep.arch) for one in explained
    ]
    best, second = (row.config for row in run.ranked[:2])
    assert [second, best] == [one.config for one in explained[:2]]


def seqlen_of(request: Explain) -> int:
    assert isinstance(request.sweep.subject, ChunkScan)
    return request.sweep.subject.problem.seqlen


def test_the_recorded_run_may_be_named(explained: Explained, monkeypatch: pytest.MonkeyPatch) -> None:
    run = kept(h100_run())
    ship(monkeypatch, run)
    ssdprof.explain("best", run="recorded")
    assert (run, run.ranked[0].config) == (explained[0].run, explained[0].config)
    with pytest.raises(RunError, match="no recorded run has this problem"):
        ssdprof.explain("best", ssdprof.subject(seqlen=77), run="recorded")


def test_the_run_kept_last_is_taken_if_none_is_named(explained: Explained) -> None:
    ssdprof.explain("m64n64k32d128w2s4")
    with pytest.raises(RunError, match="no run has been kept yet"):
        ssdprof.explain("best")
    save(h100_run(), store.new_run_path(HEADER))
    ssdprof.explain("best")
    assert [None, store.latest_run()] == [one.run for one in explained]


def rows_of(content: str) -> list[Any]:
    """The rows of a run's or an explanation's JSON, without the time that compiling took."""
    parsed = json.loads(content)
    groups = [parsed] if "rows" in parsed else [{"rows": [parsed["row"]]}, *parsed["neighbours"]]
    return [row | {"compile_s": None} for group in groups for row in group["rows"]]


@pytest.mark.slow
def test_a_sweep_without_a_gpu_gives_the_rows_of_the_command(
    tmp_path: Path, data_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = tmp_path / "few.json"
    space.write_text('["m64n64k32d128w2s4", "m16n16k16d64w1s1", "m16n16k16d128w1s1"]')
    events: list[Event] = []
    run = ssdprof.sweep(ssdprof.subject(seqlen=2048), space=str(space), device="none", on_event=events.append)
    assert not data_home.exists()
    assert ["compiling", "modelling"] == list(dict.fromkeys(event.phase for event in events))
    assert (3, 3) == (events[-1].total, events[-1].done)
    assert 0 == command(["sweep", "--seqlen", "2048", "--space", str(space), "--gpu", "none", "--json", "-q"])
    printed = capsys.readouterr().out
    ours = run_json(run, api.statements(run))
    assert rows_of(printed) == rows_of(ours)
    ids = [row["config_id"] for row in rows_of(printed)]
    assert ["m64n64k32d128w2s4", "m16n16k16d128w1s1", "m16n16k16d64w1s1"] == ids
    assert json.loads(printed)["verdicts"] == json.loads(ours)["verdicts"]


@pytest.mark.slow
def test_an_explanation_gives_the_rows_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    found = ssdprof.explain("m16n16k16d32w1s1", ssdprof.subject(seqlen=2048, dstate=32), device="none")
    words = "explain m16n16k16d32w1s1 --seqlen 2048 --dstate 32 --gpu none --json -q"
    assert 0 == command(words.split())
    assert rows_of(capsys.readouterr().out) == rows_of(explanation_json(found))
