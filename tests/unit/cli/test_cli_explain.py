"""`ssdprof explain`: which config, problem and run it takes, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import COMPILE_HEADER, H100_GPU, HEADER, PROBLEM, TOO_LARGE, explanation, h100_run, run
from fake_sweeps import PTXAS, Explain, IdlePool, ship
from run_records import kept, save

from ssdprof.cli.main import run as ssdprof
from ssdprof.kernels.config import Config
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.gpu import devices as device
from ssdprof.profiling.runs import store
from ssdprof.profiling.runs.model import Explanation, Run, RunHeader
from ssdprof.profiling.sweep import explain as explain_module
from ssdprof.profiling.sweep.request import Event, SweepRequest
from ssdprof.profiling.workers import pool as pool_module
from ssdprof.profiling.workers.pool import Pool

Asked = list[Explain]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    """Explanations are made-up ones; what they are asked is kept. No GPU, no run kept."""
    requests: Asked = []
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(device, "gpus", lambda: ())
    monkeypatch.setattr(pool_module, "Pool", IdlePool)
    ship(monkeypatch)
    returns(monkeypatch, requests, explanation())
    return requests


def returns(monkeypatch: pytest.MonkeyPatch, requests: Asked, result: Explanation) -> None:
    def explain(
        config: Config, sweep: SweepRequest, run: Run | None, how: str, on_event: Callable[[Event], None], pool: Pool
    ) -> Explanation:
        assert (sweep.ptxas, sweep.configs) == (PTXAS, (config,))
        requests.append(Explain(config, sweep, run))
        return result

    monkeypatch.setattr(explain_module, "explain", explain)


def problem_of(request: Explain) -> ChunkScanProblem:
    """The problem of our own chunk scan, which is asked about."""
    assert isinstance(request.sweep.subject, ChunkScan)
    return request.sweep.subject.problem


def keep(header: RunHeader = HEADER) -> Run:
    made_up = run(h100_run().rows, header)
    save(made_up, store.new_run_path(header))
    return kept(made_up)


def test_a_config_is_explained_in_tables_and_words(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["explain", "m64n64k32d128w2s4"])
    out = capsys.readouterr().out
    assert "config      m64n64k32d128w2s4\nlimited by  registers (255 a thread)" in out
    assert "So DSTATE does not limit the occupancy of this config" in " ".join(out.split())
    config, sweep = asked[0].config, asked[0].sweep
    assert (64, 2, None) == (config["BLOCK_SIZE_M"], config["num_warps"], asked[0].run)
    assert ("sm_90", None, 50_000) == (sweep.arch, sweep.gpu, problem_of(asked[0]).seqlen)


def test_json_has_the_question_and_its_answer_in_words_and_figures(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == ssdprof(["explain", "m64n64k32d128w2s4", "--json"])
    content = json.loads(capsys.readouterr().out)
    assert ("block_dstate", "Why DSTATE matters here, or does not") == (
        content["question"]["parameter"],
        content["question"]["title"],
    )
    assert "So DSTATE does not limit the occupancy of this config" in content["question"]["answer"]
    assert content["question"]["figures"]
    assert {"code", "figures", "message", "status"} <= set(content["statements"][0])


@pytest.mark.parametrize(
    "text",
    [
        "m64n64k32d128w2s4",
        "BLOCK_SIZE_M: 64, BLOCK_SIZE_N: 64, BLOCK_SIZE_K: 32, num_warps: 2, num_ctas: 1, num_stages: 4, maxnreg: None",
        "BLOCK_SIZE_M=64,BLOCK_SIZE_N=64,BLOCK_SIZE_K=32,BLOCK_SIZE_DSTATE=128,num_warps=2,num_stages=4",
        "best",
        "#1",
        "baseline",
    ],
)
def test_a_config_may_be_named_in_every_form(asked: Asked, text: str) -> None:
    keep()
    assert 0 == ssdprof(["explain", text])
    subject = asked[0].sweep.subject
    assert isinstance(subject, ChunkScan)
    assert subject.baseline() == subject.resolve(asked[0].config)


def test_the_problem_is_the_runs_own_if_none_is_named(asked: Asked) -> None:
    keep(replace(HEADER, problem={**PROBLEM, "seqlen": 2048, "nheads": 64}))
    ssdprof(["explain", "best"])
    assert (2048, 64) == (problem_of(asked[0]).seqlen, problem_of(asked[0]).nheads)


def test_a_named_problem_goes_before_the_runs(asked: Asked) -> None:
    keep(replace(HEADER, problem={**PROBLEM, "seqlen": 2048}))
    ssdprof(["explain", "m64n64k32d128w2s4", "--seqlen", "4096"])
    assert 4096 == problem_of(asked[0]).seqlen


def test_a_row_of_a_run_of_another_problem_than_asked_for_is_refused(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(replace(HEADER, problem={**PROBLEM, "seqlen": 2048}))
    assert 2 == ssdprof(["explain", "best", "--seqlen", "4096"])
    assert "is of another problem (seqlen 2048, not 4096): leave" in capsys.readouterr().err
    assert [] == asked


def test_the_architecture_is_the_runs_unless_named(asked: Asked) -> None:
    keep(replace(HEADER, device=replace(HEADER.device, arch="sm_100")))
    ssdprof(["explain", "best"])
    ssdprof(["explain", "best", "--arch", "sm_80"])
    assert ["sm_100", "sm_80"] == [request.sweep.arch for request in asked]


def test_the_architecture_is_the_gpus_if_there_is_no_run(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "gpus", lambda: (replace(H100_GPU, arch="sm_89"),))
    ssdprof(["explain", "m64n64k32d128w2s4"])
    assert ("sm_89", None) == (asked[0].sweep.arch, asked[0].sweep.gpu)


def test_a_run_may_be_named_by_its_file(asked: Asked, tmp_path: Path) -> None:
    save(h100_run(), tmp_path / "mine.jsonl")
    assert 0 == ssdprof(["explain", "#2", "--run", str(tmp_path / "mine.jsonl")])
    assert ("m32n64k32d128w2s5", kept(h100_run())) == (
        next(row.config_id for row in h100_run().rows if row.config == asked[0].config),
        asked[0].run,
    )


def test_the_recorded_run_of_the_problem_may_be_named(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    small = run(h100_run().rows[:5])
    other = run(h100_run().rows, replace(HEADER, problem={**PROBLEM, "seqlen": 2048}))
    ship(monkeypatch, small, h100_run(), other)
    assert 0 == ssdprof(["explain", "best", "--run", "recorded"])
    assert h100_run() == asked[0].run
    assert 0 == ssdprof(["explain", "best", "--run", "recorded", "--seqlen", "2048"])
    assert other == asked[1].run


def test_a_config_that_does_not_compile_returns_1(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    returns(monkeypatch, asked, Explanation(COMPILE_HEADER, TOO_LARGE, (), None, None))
    assert 1 == ssdprof(["explain", "m128n256k64d128w8s3"])
