"""How the benchmarks are run, and the two that hold sweeps against autotune and against each other.

What they measure needs a GPU; their arithmetic, criteria and bad usage do not.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import api_calls
import pytest
import torch
from benchmark_runs import FAST, MIDDLE, SLOW, benchmark, give_gpu, give_sweeps, row, run
from fake_runs import HEADER

from ssdprof.kernels.config import Config
from ssdprof.kernels.ssd.params import PARAMS
from ssdprof.profiling.runs.run_file import dump_records

SCRIPTS = ("sweep_vs_autotune", "repeatability", "latency_vs_ncu", "false_alarms", "peers", "one_call")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_says_what_it_shows_and_how_to_run_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        benchmark(name).main(["--help"])
    said = capsys.readouterr().out
    assert 0 == ended.value.code
    assert f"python benchmarks/{name}.py" in said
    assert "xit code 1" in said


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_without_a_gpu_is_bad_usage(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = benchmark(name)
    monkeypatch.setattr(benchmark("sweeps"), "gpus", lambda: ())
    with pytest.raises(SystemExit) as ended:
        module.main([])
    assert 2 == ended.value.code
    assert "no NVIDIA GPU is visible here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("sweep_vs_autotune", ["--seqlen", "0"], "--seqlen: must be at least 1, got 0"),
        ("sweep_vs_autotune", ["--rounds", "two"], "--rounds: invalid whole number value: 'two'"),
        ("repeatability", ["--sweeps", "1"], "--sweeps: must be at least 2, got 1"),
        ("latency_vs_ncu", ["--seqlen", "-5"], "--seqlen: must be at least 1, got -5"),
        ("false_alarms", ["--seqlen", "1e3"], "--seqlen: invalid whole number value: '1e3'"),
        ("one_call", ["--calls", "99"], "--calls: must be at least 100, got 99"),
        ("one_call", ["--peer", "mamba_sm"], "--peer: unknown"),
        ("false_alarms", ["--space", "vlm"], "--space: unknown space vlm, did you mean vllm?"),
    ],
)
def test_bad_arguments_are_named(
    name: str, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give_gpu(benchmark(name), monkeypatch)
    with pytest.raises(SystemExit) as ended:
        benchmark(name).main(arguments)
    assert 2 == ended.value.code
    assert message in capsys.readouterr().err


def test_a_process_gives_what_it_printed_and_its_time() -> None:
    stdout, wall_s = benchmark("sweeps").run_process(
        [sys.executable, "-c", "import os; print(os.environ['WORD'])"], env={"WORD": "there"}
    )
    assert "there\n" == stdout
    assert wall_s > 0.0


def test_a_process_that_fails_ends_the_benchmark_with_its_last_words() -> None:
    with pytest.raises(SystemExit) as ended:
        benchmark("sweeps").run_process([sys.executable, "-c", "import sys; sys.exit('no such space')"])
    assert "exit code 1\nno such space" in str(ended.value.code)


def test_a_process_that_is_late_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit) as ended:
        benchmark("sweeps").run_process([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.2)
    assert "not done after 0 s" in str(ended.value.code)


def test_a_sweep_of_listed_configs_gives_the_run_that_it_kept() -> None:
    problem = ["--nheads", "2", "--ngroups", "1", "--dstate", "16", "--headdim", "16", "--chunk-size", "16"]
    done, wall_s = benchmark("sweeps").swept(["--gpu", "none", "--seqlen", "64", *problem], ["m16n16k16d16w1s1"])
    assert ["m16n16k16d16w1s1"] == [row.config_id for row in done.rows]
    assert wall_s > 0.0


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_sweep_without_a_latency_is_a_run_if_it_came_to_its_end(
    interrupted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps = benchmark("sweeps")
    header = replace(HEADER, interrupted=interrupted)
    failed = row(FAST, status="launch-error", reason="no")

    def sweep(command: Sequence[str], **_: Any) -> Any:
        Path(command[command.index("-o") + 1]).write_text(dump_records([header, failed]), encoding="utf-8")
        return SimpleNamespace(returncode=1, stdout="", stderr="ssdprof: what it said last")

    monkeypatch.setattr(sweeps.subprocess, "run", sweep)
    if interrupted:
        with pytest.raises(SystemExit, match="exit code 1\nssdprof: what it said last"):
            sweeps.swept([])
    else:
        assert ["launch-error"] == [one.status for one in sweeps.swept([])[0].rows]


def test_a_sweep_that_kept_no_run_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps = benchmark("sweeps")
    for code in (1, 2):
        done = SimpleNamespace(returncode=code, stdout="", stderr="Traceback")
        monkeypatch.setattr(sweeps.subprocess, "run", lambda *_, done=done, **__: done)
        with pytest.raises(SystemExit, match=f"exit code {code}\nTraceback"):
            sweeps.swept([])


def test_a_table_aligns_its_columns() -> None:
    text = benchmark("sweeps").table(["name", "ms"], [["a", "1.25"], ["longer", "10"]])
    assert "name      ms\na       1.25\nlonger    10" == text


def rounds(sweep_cold_s: float, sweep_warm_s: float, picked: Config = FAST) -> list[Any]:
    module = benchmark("sweep_vs_autotune")
    tunings = [module.Tuning(PARAMS.id(picked), first_s, first_s + 8) for first_s in (40.0, 60.0)]
    return [(one, sweep_cold_s, sweep_warm_s) for one in tunings]


def test_the_sweep_is_held_against_the_median_of_autotunes_first_calls() -> None:
    text, passed = benchmark("sweep_vs_autotune").report(rounds(15.0, 10.0), run(row(FAST, 2.0)))
    assert passed
    assert "met: cold, the sweep takes 0.30 of autotune's time (at most 0.30 asked)" in text
    assert "met: warm, the sweep takes 10.00 s (at most 10 asked)" in text
    lines = [line.split("  ") for line in text.splitlines()]
    assert ["40.00", "60.00", "50.00"] == next(
        [cell.strip() for cell in line[1:] if cell] for line in lines if line[0] == "autotune, cold: first call"
    )


@pytest.mark.parametrize(("cold_s", "warm_s"), [(15.1, 5.0), (10.0, 10.1)])
def test_a_sweep_that_takes_too_long_misses_its_criterion(cold_s: float, warm_s: float) -> None:
    text, passed = benchmark("sweep_vs_autotune").report(rounds(cold_s, warm_s), run(row(FAST, 2.0)))
    assert not passed
    assert 1 == text.count("NOT MET")


def test_the_report_says_whether_what_autotune_picked_is_wrong() -> None:
    wrong = row(MIDDLE, 1.7, status="wrong", reason="relative error 0.73, tolerance 0.01")
    text, _ = benchmark("sweep_vs_autotune").report(rounds(9.0, 9.0, MIDDLE), run(row(FAST, 2.0), wrong))
    assert (
        "autotune picked m64n64k32d128w4s3: wrong, 1.700 ms (relative error 0.73, tolerance 0.01)\n"
        "the sweep's best is m64n64k32d128w4s2: ok, 2.000 ms, rank 1"
    ) in text
    text, _ = benchmark("sweep_vs_autotune").report(rounds(9.0, 9.0, SLOW), run(row(FAST, 2.0)))
    assert "autotune picked m64n64k32d128w4s4: not in the sweep" in text


def test_autotune_and_sweep_run_in_turn_each_with_a_cache_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, caches = benchmark("sweep_vs_autotune"), []
    give_gpu(module, monkeypatch)

    def run_process(command: Sequence[str], *, env: dict[str, str], timeout_s: float) -> Any:
        caches.append(Path(env["TRITON_CACHE_DIR"]))
        assert 600.0 == timeout_s
        assert ["--autotune-only", "--space", "mamba", "--seqlen", "50000"] == command[2:]
        answer = '{"picked_id": "m64n64k32d128w4s2", "first_call_s": 50.0, "process_s": 0.0}'
        return f"a note\n{answer}\n", 58.0

    def swept(options: Sequence[str], *, env: dict[str, str], timeout_s: float) -> Any:
        caches.append(Path(env["TRITON_CACHE_DIR"]))
        return run(row(FAST, 2.0)), 9.0

    monkeypatch.setattr(module, "run_process", run_process)
    monkeypatch.setattr(module, "swept", swept)

    assert 0 == module.main(["--space", "mamba", "--rounds", "2"])

    assert ["autotune", "sweep", "sweep"] * 2 == [cache.name for cache in caches]
    assert 2 == len({cache.parent for cache in caches})
    assert "58.00    58.00   58.00" in capsys.readouterr().out


def test_the_best_of_each_sweep_must_lead_in_the_others() -> None:
    module = benchmark("repeatability")
    one = run(row(FAST, 2.00, 2.01), row(MIDDLE, 2.005, 2.02), row(SLOW, 3.0))
    same = run(row(FAST, 2.01, 2.02), row(MIDDLE, 2.015, 2.03), row(SLOW, 3.0))
    swapped = run(row(FAST, 2.015, 2.03), row(MIDDLE, 2.01, 2.02), row(SLOW, 3.0))
    other = run(row(FAST, 2.00, 2.01), row(MIDDLE, 2.2), row(SLOW, 1.5))
    assert module.bests_agree([one, same])
    assert module.bests_agree([one, swapped])
    assert not module.bests_agree([one, same, other])
    assert not module.bests_agree([one, run(row(FAST, status="wrong", reason="NaN"))])


def test_medians_are_compared_over_all_sweeps() -> None:
    module = benchmark("repeatability")
    runs = [run(row(FAST, fast_ms), row(SLOW, 4.0)) for fast_ms in (2.0, 2.03, 1.99)]
    names, _, shares = zip(*module.spreads(runs), strict=True)
    assert (PARAMS.id(FAST), PARAMS.id(SLOW)) == names
    assert (pytest.approx(2.03 / 1.99 - 1), 0.0) == shares
    assert (0.01, 0.02) == (module.max_share(50_000), module.max_share(2_048))


@pytest.mark.parametrize(("limit", "passed"), [(0.02, True), (0.01, False)])
def test_medians_must_be_within_the_limit(limit: float, passed: bool) -> None:
    runs = [run(row(FAST, fast_ms), row(SLOW, 4.0)) for fast_ms in (2.0, 2.03)]
    text, met = benchmark("repeatability").report(runs, limit)
    assert passed is met
    assert f"differ by at most 1.50 % ({100 * limit:g} % asked)" in text


def test_a_config_that_is_ranked_in_one_sweep_alone_is_told() -> None:
    runs = [run(row(FAST, 2.0), row(SLOW, 4.0)), run(row(FAST, 2.0), row(SLOW, status="timeout", reason="late"))]
    text, met = benchmark("repeatability").report(runs, 0.01)
    assert not met
    assert "not ranked" in text
    assert "and 1 were not ranked each time" in text


def test_each_length_is_swept_as_often_as_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = benchmark("repeatability")
    give_gpu(module, monkeypatch)
    asked = give_sweeps(module, monkeypatch, lambda _: run(row(FAST, 2.0), row(SLOW, 4.0)))
    assert 0 == module.main([])
    assert [["--space", "vllm", "--seqlen", seqlen] for seqlen in ("50000", "2048") for _ in range(3)] == asked
    assert 2 == capsys.readouterr().out.count("met: the best of each sweep")


def test_slices_of_one_projection_have_the_same_values_in_one_memory() -> None:
    one_call = benchmark("one_call")
    whole = api_calls.arguments()
    whole |= {name: torch.randn(whole[name].shape).to(whole[name].dtype) for name in ("x", "z", "C")}

    slices = one_call.as_slices(whole)

    assert 1 == len({slices[name].untyped_storage().data_ptr() for name in ("x", "z", "C")})
    for name in ("x", "z", "C"):
        assert torch.equal(whole[name], slices[name])
        assert not slices[name].is_contiguous()
        assert (1, whole["x"].shape[3]) == (slices["x"].stride(3), slices["x"].stride(2))


def test_host_times_are_taken_in_rounds_of_all_calls() -> None:
    one_call = benchmark("one_call")
    called: list[str] = []

    found = one_call.host_us({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 100, lambda: None)

    assert 50 * ["a"] + 50 * ["b"] + 50 * ["a"] + 50 * ["b"] == called
    assert {"a": 100, "b": 100} == {name: len(us) for name, us in found.items()}
    assert all(0 <= us < 1e6 for us in found["a"])
