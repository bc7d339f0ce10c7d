"""The benchmarks that hold latencies against Nsight Compute and look for false alarms, without a GPU and ncu."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from benchmark_runs import FAST, MIDDLE, SLOW, benchmark, give_gpu, give_sweeps, row, run

from ssdprof.kernels.config import Config
from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.launch import LaunchPlan
from ssdprof.kernels.ssd.params import BLOCK_DSTATE, PARAMS, SPLIT
from ssdprof.kernels.ssd.presets import problem_from
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.ncu.program import REGISTERS, Finished, NcuRow, read_launches, read_raw, write_launches
from ssdprof.profiling.runs.model import Status

CHUNK_SCAN = ChunkScan(problem_from(seqlen=8_100))


def parsed(text: str) -> Config:
    return parse_config(text, PARAMS)


def ncu_rows(*durations: str, unit: str = "ns") -> tuple[NcuRow, ...]:
    lines = [f'"ID","{REGISTERS}","gpu__time_duration.sum"', f'"","register/thread","{unit}"']
    lines += [f'"{i}","96","{duration}"' for i, duration in enumerate(durations)]
    return read_raw("\n".join(lines), "a page")


def test_ncus_durations_are_read_in_any_of_its_units() -> None:
    module = benchmark("latency_vs_ncu")
    assert [pytest.approx(2.142), pytest.approx(2.1)] == module.durations_ms(ncu_rows("2,142,000", "2100000"))
    assert [pytest.approx(0.072224)] == module.durations_ms(ncu_rows("72.224000", unit="us"))
    assert [pytest.approx(0.072)] == module.durations_ms(ncu_rows("72000", unit="nsecond"))
    with pytest.raises(SystemExit, match="unknown unit: 'cycle'"):
        module.durations_ms(ncu_rows("72", unit="cycle"))


def test_the_launch_before_the_counted_ones_is_left_out() -> None:
    module = benchmark("latency_vs_ncu")
    found = module.pairs([row(FAST, 2.0), row(SLOW, 4.0)], [9.0, 1.9, 2.0, 2.1, 2.0, 2.0, 9.0, 4.1, 4.1, 4.0, 4.2, 4.1])
    assert [(PARAMS.id(FAST), 2.0, 2.0), (PARAMS.id(SLOW), 4.0, 4.1)] == found
    with pytest.raises(SystemExit, match="ncu reports 3 launches, not 12"):
        module.pairs([row(FAST, 2.0), row(SLOW, 4.0)], [1.0, 2.0, 3.0])


def test_long_kernels_alone_must_agree_with_ncu() -> None:
    module = benchmark("latency_vs_ncu")
    short, long = ("short", 0.1, 0.2), ("long", 2.05, 2.0)
    text, passed = module.report([short, long])
    assert passed
    assert "met: 1 of 1 kernels of 0.5 ms or more are within 3 %, the largest difference is 2.50 %" in text
    assert not module.report([short, ("long", 2.1, 2.0)])[1]
    assert not module.report([short])[1]


def test_ncu_profiles_the_correct_configs_with_its_own_cache_control(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, commands = benchmark("latency_vs_ncu"), []
    give_gpu(module, monkeypatch)
    give_sweeps(module, monkeypatch, lambda _: run(row(FAST, 2.0), row(SLOW, status="wrong", reason="NaN")))

    def run_program(command: Sequence[str], env: dict[str, str], timeout_s: float) -> Finished:
        commands.append(list(command))
        if "--import" in command:
            return Finished(0, "\n".join(["==PROF== done", *page]))
        Path(command[command.index("-o") + 1]).touch()
        metas, plans = read_launches(Path(command[command.index("--target") + 1]))
        assert [PARAMS.id(FAST)] == list(plans)
        assert 4096 == metas["x"].shape[1]
        return Finished(0, "")

    page = [f'"ID","{REGISTERS}","gpu__time_duration.sum"', '"","","ns"', *['"0","96","1990000"'] * 6]
    monkeypatch.setattr(module, "find_ncu", lambda: Path("/opt/ncu"))
    monkeypatch.setattr(module, "run_program", run_program)

    assert 0 == module.main(["--seqlen", "4096"])

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["m64n64k32d128w4s2", "2.0000", "1.9900", "1.0050"] in lines
    profiled, _ = commands
    assert "--cache-control" not in profiled
    assert "none" == profiled[profiled.index("--clock-control") + 1]
    assert "regex:^(chunk_scan_kernel)$" == profiled[profiled.index("--kernel-name") + 1]
    assert ["--seqlen", "4096"] == profiled[-2:]


def test_what_ncu_starts_launches_all_of_the_file_on_a_sweeps_inputs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module, launched = benchmark("latency_vs_ncu"), []
    small = ChunkScan(ChunkScanProblem(seqlen=64, nheads=2, ngroups=1, headdim=16, dstate=16, chunk_size=16))

    def bind(plan: LaunchPlan, tensors: Mapping[str, torch.Tensor]) -> Callable[[], None]:
        assert {name: meta.shape for name, meta in small.tensors().items()} == {
            name: tuple(tensor.shape) for name, tensor in tensors.items()
        }
        inputs = small.inputs("cpu", 0)
        assert all(torch.equal(tensor, tensors[name]) for name, tensor in inputs.items())
        return lambda: launched.append(plan.options["num_stages"])

    monkeypatch.setattr(LaunchPlan, "bind", bind)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(module, "DEVICE", "cpu")
    monkeypatch.setattr(module, "problem_from", lambda seqlen: small.problem)
    write_launches(tmp_path / "launches", small.tensors(), {str(one): small.launch(one) for one in (FAST, SLOW)})

    module.launch_all(tmp_path / "launches", 64)

    assert [2] * 6 + [4] * 6 == launched


def test_ncu_that_gives_no_report_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    module = benchmark("latency_vs_ncu")
    monkeypatch.setattr(module, "run_program", lambda *_: Finished(1, "==ERROR== ERR_NVGPUCTRPERM"))
    with pytest.raises(SystemExit, match="ncu gave no report:\n==ERROR== ERR_NVGPUCTRPERM"):
        module.profiled_ms(Path("/opt/ncu"), {}, 4096, "0")


def test_without_ncu_its_benchmark_is_bad_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = benchmark("latency_vs_ncu")
    give_gpu(module, monkeypatch)
    monkeypatch.setattr(module, "find_ncu", lambda: None)
    with pytest.raises(SystemExit) as ended:
        module.main([])
    assert 2 == ended.value.code
    assert "no ncu on PATH" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "counts"),
    [
        ("m64n64k32d128w4s2", True),
        ("m64n64k32d256w4s2", True),
        ("m64n64k32d64w4s2", False),
        ("split:m64n64k32d32w4s2", True),
        ("m64n64k32w4s2", True),
    ],
)
def test_a_config_is_correct_by_construction_if_it_sums_the_whole_state(config: str, counts: bool) -> None:
    text, alarms = benchmark("false_alarms").report(
        "x", run(row(parsed(config), status="wrong", reason="NaN")), CHUNK_SCAN
    )
    assert counts is bool(alarms)
    assert f"x: {int(counts)} configs correct by construction" in text


def test_alarms_on_correct_configs_are_counted_and_the_rest_is_listed() -> None:
    rows = [
        row(FAST, 2.0),
        row(MIDDLE, 2.0, status="wrong", reason="12 of 64 rows wrong"),
        row(replace(FAST, variant=SPLIT), status="unstable", reason="different bits"),
        row(FAST.with_values({BLOCK_DSTATE.name: 32}), 1.0, status="wrong", reason="relative error 0.73"),
        row(SLOW, status="out-of-resources", reason="shared memory"),
        row(parsed("split:m64n32k64d64w4s1"), status="wrong", reason="relative error 0.41"),
    ]
    text, alarms = benchmark("false_alarms").report("float16 with z", run(*rows), CHUNK_SCAN)
    assert 2 == alarms
    assert text.splitlines() == [
        "float16 with z: 5 configs correct by construction: 2 wrong, 1 ok, 1 unstable, 1 out-of-resources",
        "  ALARM m64n64k32d128w4s3: wrong: 12 of 64 rows wrong",
        "  ALARM split:m64n64k32d128w4s2: unstable: different bits",
        "  of the shape that ptxas 12.8 miscompiles: split:m64n32k64d64w4s1: wrong: relative error 0.41",
        "  failed otherwise: m64n64k32d128w4s4: out-of-resources: shared memory",
    ]


def test_a_correct_config_that_only_stands_out_is_an_alarm_too() -> None:
    found = row(MIDDLE, 2.0)
    assert found.check
    odd = replace(found, check=replace(found.check, relative_error=0.0044))
    one = run(row(FAST, 2.0), row(SLOW, 2.0), odd)
    text, alarms = benchmark("false_alarms").report(
        "x", replace(one, header=replace(one.header, tolerances=CHUNK_SCAN.tolerances())), CHUNK_SCAN
    )
    assert 1 == alarms
    assert "ALARM m64n64k32d128w4s3: relative error 0.0044 is within the tolerance 0.01, but 2 of 2 other" in text


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("wrong", 1)])
def test_every_config_of_the_spaces_is_swept_on_four_problems(
    status: Status, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = benchmark("false_alarms")
    give_gpu(module, monkeypatch)
    asked = give_sweeps(module, monkeypatch, lambda _: run(row(FAST, 2.0, status=status, reason="why")))
    assert code == module.main(["--seqlen", "4100"])
    said = capsys.readouterr().out
    assert "353 configs at 4100 tokens" in said
    assert ("NOT MET: 4 false alarms" in said) is (status == "wrong")
    assert [True] * 4 == [{"4100", "--budget"} < set(options) for options in asked]
    assert [[], ["--z"], ["--seq-idx"], []] == [
        [option for option in options if option in ("--z", "--seq-idx")] for options in asked
    ]


def test_spaces_that_overlap_are_swept_once() -> None:
    module = benchmark("false_alarms")
    ids = module.union(["mamba", "vllm"], CHUNK_SCAN)
    assert 23 == len(ids) == len(set(ids))
