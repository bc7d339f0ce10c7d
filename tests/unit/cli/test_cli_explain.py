"""`ssdprof explain`: which config, problem and run it takes, and what it prints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import COMPILE_HEADER, H100_GPU, HEADER, PROBLEM, TOO_LARGE, explanation, h100_run, run, screen
from fake_sweeps import Explain, IdlePool, explains, ship
from rich.console import RenderableType
from run_records import kept, save

from ssdprof.cli import console
from ssdprof.cli.main import run as ssdprof
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.gpu import devices as device
from ssdprof.profiling.runs import store
from ssdprof.profiling.runs.model import Explanation, Run, RunHeader
from ssdprof.profiling.sweep.asking import EXPLAIN_BUDGET_S
from ssdprof.profiling.workers import pool as pool_module
from ssdprof.reports.text.explain import explain_report

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
    explains(monkeypatch, requests, explanation())
    return requests


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
    assert "config      m64n64k32d128w2s4\nbound by    DRAM re-reads at 82 %: 5.76 GB where 2.82 GB would do; " in out
    assert "\nlimited by  registers (255) and shared memory (41728 bytes): " in out
    assert out.index("What bounds the time: 2.332 ms") < out.index("What moves") < out.index("Occupancy\n")
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
    gpu = replace(H100_GPU, arch="sm_89")
    monkeypatch.setattr(device, "gpus", lambda: (gpu,))
    ssdprof(["explain", "m64n64k32d128w2s4"])
    assert ("sm_89", gpu, EXPLAIN_BUDGET_S) == (asked[0].sweep.arch, asked[0].sweep.gpu, asked[0].sweep.budget_s)


def test_a_gpu_measures_only_its_own_architecture_and_not_if_it_is_not_to(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device, "gpus", lambda: (H100_GPU,))
    ssdprof(["explain", "m64n64k32d128w2s4", "--arch", "sm_80"])
    ssdprof(["explain", "m64n64k32d128w2s4", "--device", "none"])
    assert [("sm_80", None), ("sm_90", None)] == [(one.sweep.arch, one.sweep.gpu) for one in asked]
    assert "nothing is measured" not in capsys.readouterr().err


def test_a_problem_too_large_for_the_gpu_is_explained_without_it(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device, "gpus", lambda: (replace(H100_GPU, memory_free_bytes=1 << 30),))
    assert 0 == ssdprof(["explain", "m64n64k32d128w2s4"])
    assert "ssdprof: nothing is measured: the problem needs about" in capsys.readouterr().err
    assert asked[0].sweep.gpu is None


def test_the_answer_is_printed_before_the_neighbours_are_compiled_and_nothing_twice(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    early: list[str] = []
    show = console.ProgressBar.show

    def shown(bar: console.ProgressBar, answer: RenderableType) -> None:
        show(bar, answer)
        early.append(capsys.readouterr().out)

    monkeypatch.setattr(console.ProgressBar, "show", shown)
    assert 0 == ssdprof(["explain", "m64n64k32d128w2s4"])
    rest = capsys.readouterr().out
    assert early[0].startswith("config      m64n64k32d128w2s4\nbound by    DRAM re-reads")
    assert "What shared memory holds" in early[0]
    assert rest.startswith("What one change does, all else equal\n")
    whole = screen(explain_report(replace(explanation(), whose="the default problem")), 100)
    assert whole == "\n".join(line.rstrip() for line in (early[0] + rest).splitlines())


def test_json_is_one_object_with_the_changes_most_helpful_first(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == ssdprof(["explain", "m64n64k32d128w2s4", "--json"])
    content = json.loads(capsys.readouterr().out)
    changes = [(one["change"], one["parameter"], one["before"], one["value"]) for one in content["counterfactuals"]]
    assert [
        ("DSTATE tile 128 → 32", "block_dstate", 128, 32),
        ("DSTATE tile 128 → 64", "block_dstate", 128, 64),
    ] == changes
    assert {"wrong"} == {one["row"]["recorded_status"] for one in content["counterfactuals"]}
    assert "no-change-helps" == content["most_helpful"]["code"]


def test_an_interrupted_one_returns_130(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    one = explanation()
    explains(monkeypatch, asked, replace(one, header=replace(one.header, interrupted=True)))
    assert 130 == ssdprof(["explain", "m64n64k32d128w2s4"])


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
    explains(monkeypatch, asked, Explanation(COMPILE_HEADER, TOO_LARGE, (), None, None))
    assert 1 == ssdprof(["explain", "m128n256k64d128w8s3"])
