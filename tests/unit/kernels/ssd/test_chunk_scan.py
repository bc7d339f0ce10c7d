"""The Triton kernel against the plain PyTorch stage, through Triton's interpreter on the CPU, in a worker process."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from interpreted import call, interpreting_worker

from ssdprof.kernels.config import Config
from ssdprof.kernels.ssd.params import chunk_scan_config
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.measuring.check import judge
from ssdprof.profiling.runs.measured import Check
from ssdprof.profiling.workers.worker import Worker

SMALL = ChunkScanProblem(seqlen=37, nheads=2, ngroups=1, headdim=16, dstate=32, chunk_size=16, d_form="none")


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Worker]:
    with interpreting_worker() as worker:
        yield worker


def config(m: int, n: int, k: int, dstate: int | None, variant: str = "tile", heads: int | None = None) -> Config:
    return chunk_scan_config(m, n, k, dstate, num_warps=4, num_stages=1, variant=variant, heads=heads)


def checked(worker: Worker, problem: ChunkScanProblem, config: Config) -> Check:
    subject = ChunkScan(problem)
    check = call(worker, "interpreter_patches:checked", subject, subject.launch(subject.resolve(config)))
    assert isinstance(check, Check)
    return check


def verdict(check: Check, problem: ChunkScanProblem) -> tuple[str, str]:
    (tolerances,) = ChunkScan(problem).tolerances()
    return judge(check, {tolerances.output: tolerances})


OPTIONS = {
    "batch of two": {"batch": 2},
    "a last chunk of one token": {"seqlen": 33},
    "one short chunk": {"seqlen": 5},
    "odd head dimension": {"headdim": 23},
    "odd state dimension": {"dstate": 19},
    "a state dimension of one": {"dstate": 1},
    "several groups": {"nheads": 6, "ngroups": 3},
    "as many groups as heads": {"nheads": 2, "ngroups": 2},
    "D per head": {"d_form": "head"},
    "D per head and dimension": {"d_form": "head-dim", "headdim": 20},
    "gate": {"z": True},
    "packed sequences": {"seq_idx": True, "seqlen": 50},
    "float16": {"dtype": "float16"},
    "float32": {"dtype": "float32"},
    "float32 states": {"states_dtype": "float32"},
    "float32 everything": {"dtype": "float32", "states_dtype": "float32"},
    "chunk smaller than the tile": {"chunk_size": 8},
    "everything at once": {
        "batch": 2,
        "seqlen": 35,
        "nheads": 2,
        "ngroups": 2,
        "headdim": 23,
        "dstate": 37,
        "chunk_size": 32,
        "d_form": "head-dim",
        "z": True,
        "seq_idx": True,
        "states_dtype": "float32",
    },
}


@pytest.mark.parametrize("variant", ["tile", "split", "grouped"])
@pytest.mark.parametrize("option", OPTIONS)
def test_every_variant_is_correct_with_every_option(interpreter: Worker, option: str, variant: str) -> None:
    problem = replace(SMALL, **OPTIONS[option])
    block_k = max(16, problem.chunk_size) if variant == "grouped" else 16

    check = checked(interpreter, problem, config(16, 16, block_k, None, variant))

    assert ("ok", "") == verdict(check, problem), check


@pytest.mark.parametrize("tile", [16, 32, 64])
@pytest.mark.parametrize(("block_m", "block_n", "block_k"), [(16, 16, 16), (32, 16, 16), (16, 32, 32), (64, 32, 16)])
def test_split_is_correct_for_every_tile(
    interpreter: Worker, tile: int, block_m: int, block_n: int, block_k: int
) -> None:
    problem = replace(SMALL, dstate=56, headdim=24, chunk_size=32, d_form="head", seq_idx=True)

    check = checked(interpreter, problem, config(block_m, block_n, block_k, tile, "split"))

    assert ("ok", "") == verdict(check, problem), check


@pytest.mark.parametrize("heads", [2, None])
@pytest.mark.parametrize(
    ("block_m", "block_n", "block_k"),
    [(16, 16, 16), (32, 16, 32), (16, 32, 32), (32, 32, 16), (64, 32, 16), (16, 16, 64)],
)
@pytest.mark.parametrize("headdim", [20, 24])  # in rows of 40 bytes, which take pointers, and of 48, which descriptors
def test_grouped_is_correct_for_every_tile_and_number_of_heads(
    interpreter: Worker, headdim: int, heads: int | None, block_m: int, block_n: int, block_k: int
) -> None:
    sizes = {"nheads": 8, "ngroups": 2, "dstate": 24, "headdim": headdim, "chunk_size": 32}
    problem = replace(SMALL, **sizes, d_form="head", z=heads == 2, seq_idx=True)

    check = checked(interpreter, problem, config(block_m, block_n, block_k, None, "grouped", heads))

    assert ("ok", "") == verdict(check, problem), check


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [32, 33, 40])  # of two groups each: as many as end longest tiles first, and more
def test_grouped_writes_every_tile_in_both_orders_of_its_grid(interpreter: Worker, chunks: int) -> None:
    problem = ChunkScanProblem(
        seqlen=32 * chunks - 10, nheads=2, headdim=16, ngroups=2, dstate=16, chunk_size=32, dtype="float32"
    )
    found = checked(interpreter, problem, config(16, 16, 16, None, "grouped"))
    assert ("ok", "") == verdict(found, problem)
    assert 2 * problem.seqlen == found.rows


@pytest.mark.parametrize("tile", [16, 32])
def test_a_tile_smaller_than_the_state_is_wrong(interpreter: Worker, tile: int) -> None:
    problem = replace(SMALL, dstate=64, seqlen=80)

    check = checked(interpreter, problem, config(16, 16, 16, tile))

    status, reason = verdict(check, problem)
    assert "wrong" == status
    assert "relative error" in reason
    assert check.relative_error > 0.3


def test_float32_is_correct_to_float32_precision(interpreter: Worker) -> None:
    problem = replace(SMALL, dtype="float32", states_dtype="float32", z=True, d_form="head")

    check = checked(interpreter, problem, config(16, 16, 16, 16, "split"))

    assert check.relative_error < 1e-6
    assert check.worst_row_error < 1e-5
