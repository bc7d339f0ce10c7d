"""What `ssdprof sweep` asks of a sweep, by its options and the GPU; and `ssdprof devices`, which tells of that GPU."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from fake_ceilings import MEASURED
from fake_runs import H100_GPU
from fake_sweeps import Asked, IdlePool, fake_sweeps, gpus

from ssdprof.cli.main import run as ssdprof
from ssdprof.kernels.ssd.params import PARAMS
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.gpu import driver
from ssdprof.profiling.runs.ceilings import keep_ceilings, measured_on
from ssdprof.profiling.sweep.records import device_of
from ssdprof.profiling.sweep.request import SweepRequest
from ssdprof.profiling.workers import pool as pool_module


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    return fake_sweeps(monkeypatch, tmp_path)


def problem_of(request: SweepRequest) -> ChunkScanProblem:
    """The problem of our own chunk scan, which is swept."""
    assert isinstance(request.subject, ChunkScan)
    return request.subject.problem


def test_defaults_are_the_published_lists_beside_ours_and_a_preset_on_the_first_gpu(asked: Asked) -> None:
    ssdprof(["sweep"])
    request = asked[0]
    assert ("compare", "sm_90", H100_GPU, 0, 300) == (
        request.space,
        request.arch,
        request.gpu,
        request.seed,
        request.timeout_s,
    )
    problem = problem_of(request)
    assert (50_000, 128, 64, 8, 128) == (
        problem.seqlen,
        problem.nheads,
        problem.headdim,
        problem.ngroups,
        problem.dstate,
    )
    assert {"tile": 45, "grouped": 18} == Counter(config.variant for config in set(request.configs))


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
    assert value == getattr(problem_of(asked[0]), field)


def test_other_options_reach_the_request(asked: Asked) -> None:
    ssdprof(["sweep", "--space", "vllm", "--seed", "7", "--jobs", "3", "--timeout", "12.5", "--gpu", "cuda:0"])
    request = asked[0]
    assert ("vllm", 7, 3, 12.5, H100_GPU) == (request.space, request.seed, request.jobs, request.timeout_s, request.gpu)


def test_both_variants_double_the_configs_that_are_not_grouped(asked: Asked) -> None:
    ssdprof(["sweep", "--variant", "both"])
    assert {"tile": 45, "split": 45, "grouped": 18} == Counter(config.variant for config in set(asked[0].configs))


def test_the_baseline_is_swept_with_the_space_that_lacks_it(asked: Asked) -> None:
    ssdprof(["sweep", "--space", "mamba", "--baseline", "m32n32k32d128w4s3"])
    request = asked[0]
    assert request.baseline == request.configs[-1]
    assert 12 == len(set(request.configs))


def test_a_baseline_may_be_one_of_the_last_run(asked: Asked) -> None:
    ssdprof(["sweep"])
    ssdprof(["sweep", "--baseline", "#2"])
    baseline = asked[1].baseline
    assert baseline is not None
    assert "m32n64k32d128w2s5" == PARAMS.id(baseline)


def test_without_a_gpu_it_compiles_for_hopper_and_adds_no_baseline(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpus(monkeypatch)
    assert 0 == ssdprof(["sweep", "--variant", "split"])
    assert (None, "sm_90") == (asked[0].gpu, asked[0].arch)
    assert 63 == len(asked[0].configs)
    captured = capsys.readouterr()
    assert 10 == captured.out.count("not measured  ")
    assert "the first 10 of 15 (--all shows them all)" in captured.out
    assert "next: ssdprof explain any config above" in captured.err


def test_another_architecture_than_the_gpus_is_compiled_for_only(asked: Asked) -> None:
    ssdprof(["sweep", "--arch", "sm_80"])
    assert (None, "sm_80") == (asked[0].gpu, asked[0].arch)


def test_gpu_none_compiles_only(asked: Asked) -> None:
    ssdprof(["sweep", "--gpu", "none"])
    assert asked[0].gpu is None


def test_a_measuring_process_is_started_at_once_only_if_a_gpu_may_be_used(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[int] = []

    class Counted(IdlePool):
        def __init__(self, *, measurers: int) -> None:
            super().__init__(measurers=measurers)
            started.append(measurers)

    monkeypatch.setattr(pool_module, "Pool", Counted)
    monkeypatch.setattr(driver, "DRIVER_FILES", (tmp_path / "none", tmp_path))
    ssdprof(["sweep"])
    ssdprof(["sweep", "--gpu", "none"])
    monkeypatch.setattr(driver, "DRIVER_FILES", (tmp_path / "none",))
    ssdprof(["sweep"])
    assert [1, 0, 0] == started


def test_devices_tells_of_the_gpu_and_what_is_assumed_of_it(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["devices"])
    assert """\
GPU 0: NVIDIA H100 80GB HBM3
architecture     sm_90
UUID             unknown
driver           580.159.04, CUDA 13.0
memory           78.6 GiB free of 79.6
SM clock         1980 MHz of at most 1980
memory clock     unknown
power            120 W of at most 700
temperature      35 °C
throttled by     nothing
other processes  none seen
MIG              off
assumed per SM   64 warps, 32 blocks, 65536 registers, 233472 bytes of shared memory (232448 for one
                 block), 4 schedulers
""" == "".join(line.rstrip() + "\n" for line in capsys.readouterr().out.splitlines())


def test_devices_tells_of_ceilings_that_were_measured_before(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = replace(H100_GPU, uuid="GPU-0")
    gpus(monkeypatch, gpu)
    on = measured_on(device_of(gpu), version("triton"))
    assert on is not None
    keep_ceilings(on, MEASURED)
    assert 0 == ssdprof(["devices", "--ceilings"])
    printed = capsys.readouterr()
    assert "" == printed.err
    assert "Ceilings, measured on 2026-12-01\n" in printed.out
    assert "shared memory    33251 GB/s" in printed.out
    assert 0 == ssdprof(["devices", "--ceilings", "--json"])
    device = json.loads(capsys.readouterr().out)["devices"][0]
    assert ("measured", 931.3, 1041.7) == (
        device["ceilings"]["source"],
        device["ceilings"]["tensor_tflops"]["bfloat16"],
        device["ceilings"]["issue_gips"],
    )
    assert 0 == ssdprof(["devices", "--json"])
    assert "ceilings" not in json.loads(capsys.readouterr().out)["devices"][0]


def test_devices_tells_of_an_unknown_one_and_of_none(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = replace(H100_GPU, arch="sm_10", sm_clock_mhz=None, temperature_c=None, mig=None, throttle_reasons=None)
    gpus(monkeypatch, unknown)
    ssdprof(["devices"])
    out = capsys.readouterr().out
    assert "nothing: the limits of this architecture are not known" in out
    assert "not supported" in out
    assert "throttled by     not told by NVML\n" in out
    assert 0 == ssdprof(["devices", "--json"])
    device = json.loads(capsys.readouterr().out)["devices"][0]
    assert (None, None) == (device["assumed"], device["throttled"])
    gpus(monkeypatch)
    assert 0 == ssdprof(["devices"])
    assert capsys.readouterr().out.startswith("No NVIDIA GPU is visible")


def test_devices_tells_which_gpu_it_is_what_throttles_it_and_who_else_uses_it(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = replace(
        H100_GPU,
        uuid="GPU-11111111-aaaa",
        memory_clock_mhz=2619,
        memory_clock_max_mhz=2619,
        throttle_reasons=0x24,
        others=("pid 7 (python3), 12.3 GiB", "pid 8, 0.5 GiB"),
    )
    gpus(monkeypatch, busy)
    ssdprof(["devices"])
    lines = capsys.readouterr().out.splitlines()
    assert [
        "UUID             GPU-11111111-aaaa",
        "memory clock     2619 MHz of at most 2619",
        "throttled by     power cap, thermal",
        "other processes  pid 7 (python3), 12.3 GiB; pid 8, 0.5 GiB",
    ] == [line.rstrip() for line in lines if line.startswith(("UUID", "memory clock", "throttled", "other"))]
    ssdprof(["devices", "--json"])
    device = json.loads(capsys.readouterr().out)["devices"][0]
    assert (["power cap", "thermal"], "GPU-11111111-aaaa", 2619, list(busy.others)) == (
        device["throttled"],
        device["uuid"],
        device["memory_clock_mhz"],
        device["others"],
    )
