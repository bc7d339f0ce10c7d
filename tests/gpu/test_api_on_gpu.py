"""`chunk_scan`, the function, on a real GPU: correct with every option, and with the configs that it chooses itself."""

from dataclasses import replace

import pytest
import torch

from ssdprof.kernels import chunk_scan
from ssdprof.kernels.ssd.function import candidates
from ssdprof.kernels.ssd.params import PARAMS
from ssdprof.kernels.ssd.presets import problem_from
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan

pytestmark = pytest.mark.gpu

REAL = ChunkScanProblem(seqlen=4000, nheads=32, ngroups=4)
OPTIONS = {
    "as the preset has it": {},
    "batch of three": {"batch": 3, "seqlen": 1337},
    "odd sizes": {"headdim": 72, "dstate": 100},
    "chunk 256": {"chunk_size": 256},
    "state dimension 256": {"dstate": 256, "nheads": 16},
    "one group": {"ngroups": 1},
    "D per head and dimension, gate, packed sequences": {"d_form": "head-dim", "z": True, "seq_idx": True},
    "float16": {"dtype": "float16"},
    "float32": {"dtype": "float32", "states_dtype": "float32", "dstate": 64},
}


ROUNDS = 500
"""Of four launches each: one alone, one beside copies, one beside matrix products, one beside both."""
OF_MANY_LAUNCHES = {
    "long": {},
    "short": {"seqlen": 2048},
    "chunk 256": {"chunk_size": 256},
    "packed sequences, a gate, a short last chunk": {"seqlen": 49_993, "seq_idx": True, "z": True},
    "float32 states": {"states_dtype": "float32"},
}


def relative_error(out: torch.Tensor, reference: torch.Tensor) -> float:
    return float((out.float() - reference).norm() / reference.norm())


def error(problem: ChunkScanProblem, config: str | None = None) -> float:
    subject = ChunkScan(problem)
    inputs = subject.inputs("cuda:0", 0)
    names = ("cb", "x", "dt", "da_cumsum", "c", "states")
    options = {"D": inputs.get("d"), "z": inputs.get("z"), "seq_idx": inputs.get("seq_idx")}
    out = chunk_scan(*(inputs[name] for name in names), **options, config=config)
    return relative_error(out, subject.reference(inputs)["out"])


def limit(problem: ChunkScanProblem) -> float:
    [tolerances] = ChunkScan(problem).tolerances()
    return tolerances.relative_error


@pytest.mark.parametrize("option", OPTIONS)
def test_the_function_is_correct_with_every_option(option: str) -> None:
    problem = replace(REAL, **OPTIONS[option])

    assert error(problem) <= limit(problem)


def test_every_config_that_it_would_choose_is_correct() -> None:
    errors = {PARAMS.id(config): error(REAL, PARAMS.id(config)) for config in candidates(REAL)}

    assert all(found <= limit(REAL) for found in errors.values()), errors


@pytest.mark.parametrize("sizes", OF_MANY_LAUNCHES)
def test_thousands_of_launches_alone_and_beside_other_work_give_the_same_bits(sizes: str) -> None:
    problem = replace(problem_from("nemotron-3-super", seqlen=50_000), **OF_MANY_LAUNCHES[sizes])
    subject = ChunkScan(problem)
    inputs = subject.inputs("cuda:0", 0)
    out = inputs["out"] = torch.empty_like(inputs["x"])
    launch = subject.launch(subject.resolve(candidates(problem)[0])).bind(inputs)
    factors = torch.randn(4096, 4096, dtype=torch.bfloat16, device="cuda:0")
    copied = torch.randn(2**26, device="cuda:0")
    copy = torch.empty_like(copied)

    def copies() -> None:
        copy.copy_(copied)

    def products() -> None:
        torch.mm(factors, factors)

    launch()
    first = out.clone()
    differing = torch.zeros((), dtype=torch.int64, device="cuda:0")
    side = torch.cuda.Stream()
    for _ in range(ROUNDS):
        for beside in ((), (copies,), (products,), (copies, products)):
            out.fill_(float("nan"))
            with torch.cuda.stream(side):
                for other_work in beside:
                    other_work()
            launch()
            differing += (out.view(torch.int16) != first.view(torch.int16)).any()
        torch.cuda.synchronize()

    assert int(differing) == 0
    assert relative_error(first, subject.reference(inputs)["out"]) <= limit(problem)
