"""The chunk scan on a real GPU: every option at real sizes, 64-bit addressing, and a sweep end to end."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ssdprof.cli.main import run as run_command
from ssdprof.kernels.config import Config
from ssdprof.kernels.ssd.params import PARAMS, chunk_scan_config
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.gpu.devices import gpus
from ssdprof.profiling.measuring.check import judge
from ssdprof.profiling.runs.measured import Check, Measurement
from ssdprof.profiling.runs.store import load_run
from ssdprof.profiling.sweep.preflight import check_measurable
from ssdprof.profiling.workers.worker import Failure, Worker, wait_any

pytestmark = pytest.mark.gpu

REAL = ChunkScanProblem(seqlen=4000, nheads=32, ngroups=4)
TWO_WARPS = chunk_scan_config(64, 64, 32, None, num_warps=2, num_stages=4)
FOUR_WARPS = chunk_scan_config(128, 64, 32, None, num_warps=4, num_stages=3)
OPTIONS = {
    "as the preset has it": {},
    "batch of three": {"batch": 3, "seqlen": 1337},
    "a last chunk of one token": {"seqlen": 3969},
    "odd head dimension": {"headdim": 72},
    "odd state dimension": {"dstate": 100},
    "state dimension 256": {"dstate": 256, "nheads": 16},
    "state dimension 16": {"dstate": 16},
    "chunk 256": {"chunk_size": 256},
    "chunk 64": {"chunk_size": 64},
    "one group": {"ngroups": 1},
    "no D": {"d_form": "none"},
    "D per head and dimension": {"d_form": "head-dim"},
    "gate": {"z": True},
    "packed sequences": {"seq_idx": True},
    "float16": {"dtype": "float16"},
    "float32": {"dtype": "float32", "states_dtype": "float32", "dstate": 64},
    "float32 states": {"states_dtype": "float32"},
    "everything at once": {
        "batch": 2,
        "seqlen": 2111,
        "headdim": 80,
        "dstate": 96,
        "d_form": "head-dim",
        "z": True,
        "seq_idx": True,
        "states_dtype": "float32",
    },
}


@pytest.fixture(scope="module")
def gpu() -> Iterator[Worker]:
    if not gpus():
        pytest.fail("these tests need a GPU")
    worker = Worker({"TRITON_INTERPRET": None})
    yield worker
    worker.kill()


def call(worker: Worker, function: str, *args: object) -> object:
    worker.submit("call", f"ssdprof.profiling.measuring.measure:{function}", *args, timeout_s=300.0)
    while not wait_any([worker], 1.0):
        pass
    outcome = worker.outcome()
    assert not isinstance(outcome, Failure), outcome
    return outcome


def measure(worker: Worker, problem: ChunkScanProblem, config: Config) -> Measurement:
    subject = ChunkScan(problem)
    config = subject.resolve(config)
    measurement = call(worker, "measure", subject.launch(config), config, PARAMS.id(config))
    assert isinstance(measurement, Measurement)
    return measurement


def verdict(problem: ChunkScanProblem, check: Check) -> tuple[str, str]:
    [tolerances] = ChunkScan(problem).tolerances()
    return judge(check, {tolerances.output: tolerances})


@pytest.mark.parametrize("option", OPTIONS)
def test_both_variants_are_correct_with_every_option(gpu: Worker, option: str) -> None:
    problem = replace(REAL, **OPTIONS[option])
    call(gpu, "prepare", ChunkScan(problem), "cuda:0", 0)
    configs = [TWO_WARPS, FOUR_WARPS]
    configs += [
        replace(config.with_values({"BLOCK_SIZE_DSTATE": tile}), variant="split")
        for config in configs
        for tile in (32, 64)
    ]

    checks = {config: measure(gpu, problem, config).check for config in configs}

    verdicts = {config: verdict(problem, check) for config, check in checks.items()}
    assert dict.fromkeys(configs, ("ok", "")) == verdicts, checks


def test_a_problem_of_more_than_two_to_the_31_elements_is_correct(gpu: Worker) -> None:
    problem = ChunkScanProblem(seqlen=270_000)
    subject = ChunkScan(problem)
    assert subject.tensors()["x"].numel > 2**31
    assert subject.tensors()["states"].numel > 2**31
    check_measurable(subject, gpus()[0])
    call(gpu, "prepare", ChunkScan(problem), "cuda:0", 0)

    checks = [measure(gpu, problem, config).check for config in (TWO_WARPS, replace(FOUR_WARPS, variant="split"))]

    assert [("ok", "")] * 2 == [verdict(problem, check) for check in checks], checks


def test_a_sweep_ranks_correct_configs_alone_and_agrees_with_the_driver(tmp_path: Path) -> None:
    path, csv = tmp_path / "run.json", tmp_path / "run.csv"

    code = run_command(
        ["sweep", "--space", "tensorrt-llm-pr", "--seqlen", "4096", "-o", str(path), "--csv", str(csv), "--quiet"]
    )

    run = load_run(path)
    wrong = [row for row in run.rows if row.config["BLOCK_SIZE_DSTATE"] in (32, 64)]
    assert (0, 33, 22) == (code, len(run.rows), len(wrong))
    assert {"wrong"} == {row.status for row in wrong}
    assert all(row.rank is None and row.check and 0.5 < row.check.relative_error < 0.8 for row in wrong)
    assert all(row.by_construction for row in wrong)
    assert 10 == len(run.ranked)
    assert [row.occupancy.blocks_per_sm for row in run.rows if row.occupancy and row.timing] == [
        row.driver_blocks_per_sm for row in run.rows if row.timing
    ]
    assert 33 == csv.read_text().count("\n") - 1
    assert "kernel" in json.loads(csv.with_name("run.csv.meta.json").read_text())


def test_memory_is_estimated_from_above(gpu: Worker) -> None:
    import torch

    subject = ChunkScan(ChunkScanProblem(seqlen=50_000))
    torch.cuda.reset_peak_memory_stats()
    inputs = subject.inputs("cuda:0", 0)
    reference = subject.reference(inputs)["out"]

    assert reference.numel() == inputs["x"].numel()
    assert torch.cuda.max_memory_allocated() < subject.memory_bytes()
