"""The race of our kernels beside those of mamba_ssm and vLLM, and what it prints, with made-up peers, on the CPU."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmark_runs import benchmark, give_gpu
from made_up_peers import (
    LIKE_MAMBA,
    MADE_UP_KERNEL,
    MadeUpTimer,
    bench,
    candidate,
    checkout,
    peer_bench,
    peer_kernels,
    peers,
)
from made_up_peers import small_guards as small_guards  # for every test here

from ssdprof.kernels.interface import Config, LaunchPlan
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan


def test_a_config_with_parameters_that_ours_lack_keeps_tritons_name() -> None:
    assert "BLOCK_SIZE_H: 4, num_warps: 2" == peer_kernels.config_name("BLOCK_SIZE_H: 4, num_warps: 2")


def test_all_of_ours_are_bound_once_and_those_that_the_problem_cannot_have_are_left_out() -> None:
    on = bench(problem=ChunkScanProblem(seqlen=128, nheads=2, ngroups=1))
    found = peers.ours(on, peers.listed(on.problem, "ssdprof"))
    kernels = [one.kernel for one in found]
    assert 11 == kernels.count("tile")
    assert len(peers.SPLIT) == kernels.count("split")
    grouped = [one.config for one in found if one.kernel == "grouped"]
    assert grouped
    assert all("heads=2" in config for config in grouped)
    assert len({one.name for one in found}) == len(found)


def test_outputs_that_are_wrong_unstable_or_too_long_are_told_apart() -> None:
    on = bench()
    counts = iter(range(100))
    beyond = torch.as_strided(on.out, (1,), (1,), on.out.storage_offset() + on.out.numel())
    for spoil, status, reason in (
        (lambda out: None, "ok", ""),
        (lambda out: out[0, 3, 1].mul_(1.02), "wrong", "1 of 160 rows wrong"),
        (lambda out: out[0, 0, 0].fill_(next(counts)), "unstable", "different bits"),
        (lambda out: beyond.zero_(), "wrong", "wrote outside its output"),
    ):
        result = on.check(candidate(on, "tile", "m16", 1.0, spoil))
        assert status == result.status
        assert reason in result.reason


def test_a_launch_that_writes_to_its_inputs_ends_the_script() -> None:
    on = bench()
    with pytest.raises(SystemExit, match="tile m16 wrote to x: nothing after it can be checked"):
        on.check(candidate(on, "tile", "m16", 1.0, lambda _: on.inputs["x"].zero_()))


def test_a_gpu_that_is_left_in_error_ends_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    on = bench()

    def fail() -> None:
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(on.timer, "synchronize", fail, raising=False)
    with pytest.raises(SystemExit, match=r"tile m16 left the GPU in error.*illegal memory access"):
        on.check(candidate(on, "tile", "m16", 1.0))


def test_the_fastest_of_each_kernel_are_timed_and_one_that_turns_wrong_is_not_ranked() -> None:
    on = bench()
    turns: list[str] = []

    def turn(name: str, wrong_after: int = 10_000) -> Callable[[torch.Tensor], Any]:
        def spoil(out: torch.Tensor) -> None:
            turns.append(name)
            if turns.count(name) > wrong_after:
                out.zero_()

        return spoil

    made = [candidate(on, "tile", f"m{ms}", float(ms), turn(f"m{ms}")) for ms in (7, 6, 5, 4, 3, 2)]
    made.append(candidate(on, "grouped", "fast", 1.0, turn("fast", wrong_after=8)))
    results = on.race([on.check(one) for one in made], 4)

    assert [None, 6.0, 5.0, 4.0, 3.0, 2.0] == [one.timing and one.timing.latency_ms for one in results[:6]]
    assert "wrong" == results[6].status
    assert results[6].reason.startswith("after it was timed: relative error 1.0")
    # Five launches and a time at the check, one at the first look, one in each round.
    assert (7, 11) == (turns.count("m7"), turns.count("m6"))


def test_a_kernels_line_has_its_best_right_config_and_how_many_are_wrong() -> None:
    on = bench()
    made = [
        candidate(on, "tile", "slow", 4.0),
        candidate(on, "tile", "fast but wrong", 0.5, lambda out: out.zero_()),
        candidate(on, "vllm", "all wrong", 0.5, lambda out: out.zero_()),
        candidate(on, "grouped", "good", 2.0),
    ]
    tile, vllm, grouped = peer_bench.entries("small", on.race([on.check(one) for one in made], 1), 1.5)
    assert ("tile", 2, 1, 0, "slow") == (tile.kernel, tile.configs, tile.wrong, tile.failed, tile.config)
    assert (4.0, 0.375, 1.0) == (tile.latency_ms, tile.roofline_share, tile.speedup)
    assert ("", 1, None, None) == (vllm.config, vllm.wrong, vllm.latency_ms, vllm.speedup)
    assert (2.0, 0.75, 2.0) == (grouped.latency_ms, grouped.roofline_share, grouped.speedup)


def entry(kernel: str, latency_ms: float | None, share: float | None = None, speedup: float | None = None) -> Any:
    config = "" if latency_ms is None else "m64"
    return peer_bench.Entry("small", kernel, 9, 1, 2, config, latency_ms, share, speedup, 0.0018, 0.02)


def test_the_best_of_ours_is_held_against_what_is_asked_whatever_a_peer_does() -> None:
    found = [entry("tile", 2.0, 0.4, 1.0), entry("grouped", 1.0, 0.85, 2.0), entry("vllm", 0.5, 1.2, 4.0)]
    text, met = peers.report(found, peers.Case("", 0.88, 1.7))
    assert not met
    assert "NOT MET: the best of ours, grouped, has 0.850 of the roofline (0.88 asked)" in text
    assert "\nmet: the best of ours, grouped, has 2.000 times the speed of tile (1.7 asked)" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["grouped", "m64", "1.0000", "0.850", "2.00", "0.0018", "0.02", "1", "of", "9", "2"] in lines
    assert peers.report(found, peers.Case("", 0.85))[1]
    assert peers.report(found, peers.Case(""))[1]


def test_nothing_right_of_ours_meets_nothing() -> None:
    text, met = peers.report([entry("tile", None), entry("vllm", 1.0, 0.9, None)], peers.Case("", 0.5))
    assert not met
    assert "NOT MET: the best of ours, none, has – of the roofline (0.5 asked)" in text


def test_the_named_problems_are_those_of_the_issue() -> None:
    named = peers.chosen(["all"], {})
    assert list(peers.CASES) == list(named)
    problems = {name: problem for name, (problem, _) in named.items()}
    assert (50_000, 128, 8) == tuple(getattr(problems["super-50k"], name) for name in ("seqlen", "nheads", "ngroups"))
    assert 2_048 == problems["super-2k"].seqlen
    assert 256 == problems["super-50k-chunk256"].chunk_size
    assert 64 == problems["nano-50k"].nheads
    assert (32, 2) == (problems["super-tp4-50k"].nheads, problems["super-tp4-50k"].ngroups)
    assert (16, 1) == (problems["super-tp8-50k"].nheads, problems["super-tp8-50k"].ngroups)
    assert (80, 256) == (problems["mamba2-2.7b-50k"].nheads, problems["mamba2-2.7b-50k"].chunk_size)
    assert (128, 256) == (problems["codestral-50k"].nheads, problems["codestral-50k"].chunk_size)
    assert (True, False) == (problems["super-z"].z, problems["super-z"].seq_idx)
    assert problems["super-seq-idx"].seq_idx
    assert "float16" == problems["super-fp16"].dtype
    assert "float32" == problems["super-fp32-states"].states_dtype
    assert ["super-50k"] == list(peers.chosen(None, {}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--problems", "super"], "invalid choice: 'super'"),
        (["--problems", "super-2k", "--seqlen", "64"], "leave --seqlen out, or --problems"),
        (["--tp", "3"], "--tp must divide heads and groups"),
        (["--dtype", "int8"], "unknown dtype 'int8'"),
        (["--rounds", "0"], "--rounds: must be at least 1, got 0"),
        (["--peer", "mamba_ssm"], "must be NAME=PATH with a name of mamba_ssm, vllm, got 'mamba_ssm'"),
        (["--peer", "flash=/tmp"], "must be NAME=PATH"),
        (["--peer", "vllm=/nowhere"], "no vllm/model_executor/layers/mamba/ops/ssd_chunk_scan.py in /nowhere"),
        ([], "no NVIDIA GPU is visible here"),
    ],
)
def test_bad_usage_is_named(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark("sweeps"), "gpus", lambda: ())
    with pytest.raises(SystemExit) as ended:
        peers.main(arguments)
    assert 2 == ended.value.code
    assert message in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_bad_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    give_gpu(peers, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        peers.main(["--csv", str(tmp_path / "no" / "rows.csv")])
    assert 2 == ended.value.code
    assert "--csv: " in capsys.readouterr().err


def test_help_says_what_it_shows_and_how_to_run_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        peers.main(["--help"])
    assert 0 == ended.value.code
    said = capsys.readouterr().out
    assert "python benchmarks/peers.py" in said
    assert "exit code 1" in said
    assert "super-fp32-states" in said


@pytest.mark.parametrize(("grouped_ms", "code"), [(1.0, 0), (3.0, 1)])
def test_each_problem_gets_a_table_and_the_same_rows_as_csv(
    grouped_ms: float,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    give_gpu(peers, monkeypatch)
    monkeypatch.setattr(peers, "CudaTimer", lambda device, visible: MadeUpTimer())
    monkeypatch.setattr(peers, "CASES", {"one": peers.Case("--seqlen 40 --tp 8", speedup=1.5)})
    both = ("tile", 2.0), ("grouped", grouped_ms)
    monkeypatch.setattr(peers, "ours", lambda on, _: [candidate(on, kernel, "m64", ms) for kernel, ms in both])
    compiled: list[LaunchPlan] = []
    monkeypatch.setattr(peers, "compile_ahead", lambda plans, arch: compiled.extend(plans))
    monkeypatch.setattr(peers, "DEFAULT_CASE", "one")
    root = checkout(tmp_path, "mamba_ssm", MADE_UP_KERNEL + LIKE_MAMBA)
    rows = tmp_path / "rows.csv"

    assert code == peers.main(["--peer", f"mamba_ssm={root}", "--csv", str(rows), "--rounds", "1"])

    said = capsys.readouterr().out
    assert {"chunk_scan_kernel", "grouped_chunk_scan_kernel"} == {plan.function for plan in compiled}
    assert "copies at 1000 GB/s" in said
    assert "without vllm: not installed" in said
    assert "mamba_ssm m64n32k32w8s2: wrong: relative error 1.0" in said
    assert ("NOT MET: the best of ours" in said) is bool(code)
    with rows.open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert ["tile", "grouped", "mamba_ssm"] == [row["kernel"] for row in written]
    assert ["0", "0", "1"] == [row["wrong"] for row in written]
    assert ["0", "0", "1"] == [row["failed"] for row in written]
    assert [2.0, grouped_ms] == [float(row["latency_ms"]) for row in written[:2]]
    problem = ChunkScanProblem(seqlen=40, nheads=16, ngroups=1)
    roofline_ms = ChunkScan().work(problem).bytes_min / 1e9
    assert pytest.approx(roofline_ms / 2.0) == float(written[0]["roofline_share"])


def test_launches_are_compiled_ahead_and_one_that_fails_keeps_no_other_from_it(tmp_path: Path) -> None:
    sweeps = benchmark("sweeps")
    spec, problem = ChunkScan(), ChunkScanProblem(seqlen=64, nheads=2, ngroups=1, headdim=16, dstate=16, chunk_size=16)
    plans = [
        spec.launch(problem, spec.resolve(Config(16, 16, 16, 16, num_warps=warps, num_stages=1), problem))
        for warps in (1, 3, 2)  # three warps are none that Triton takes
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path))
        sweeps.compile_ahead(plans, "sm_90")

    assert 2 == len(list(tmp_path.glob("*/chunk_scan_kernel.cubin")))
