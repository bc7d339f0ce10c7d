"""`chunk_scan`, the function, on a real GPU: right with every option, and with the configs that it chooses itself."""

from dataclasses import replace

import pytest

from ssdprof.kernels import chunk_scan
from ssdprof.kernels.chunk_scan_spec import ChunkScan
from ssdprof.kernels.config import config_id
from ssdprof.kernels.problem import ChunkScanProblem

pytestmark = pytest.mark.gpu

SPEC = ChunkScan()
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


def error(problem: ChunkScanProblem, config: str | None = None) -> float:
    inputs = SPEC.make_inputs(problem, "cuda:0", 0)
    names = ("cb", "x", "dt", "da_cumsum", "c", "states")
    options = {"D": inputs.get("d"), "z": inputs.get("z"), "seq_idx": inputs.get("seq_idx")}
    out = chunk_scan(*(inputs[name] for name in names), **options, config=config)
    reference = SPEC.reference(problem, inputs)
    return float((out.float() - reference).norm() / reference.norm())


@pytest.mark.parametrize("option", OPTIONS)
def test_the_function_is_right_with_every_option(option: str) -> None:
    problem = replace(REAL, **OPTIONS[option])

    assert error(problem) <= SPEC.tolerances(problem).relative_error


def test_every_config_that_it_would_choose_is_right() -> None:
    from ssdprof.kernels.api import candidates

    limit = SPEC.tolerances(REAL).relative_error
    errors = {config_id(config): error(REAL, config_id(config)) for config in candidates(REAL)}

    assert all(found <= limit for found in errors.values()), errors
