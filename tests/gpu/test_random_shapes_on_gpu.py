"""`chunk_scan` on random shapes, options and addresses within its docstring, and from a thread new to CUDA."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from threading import Thread

import pytest
import torch
from api_calls import named
from random_shapes import Shape, called, shapes

from ssdprof.kernels import chunk_scan
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan

pytestmark = pytest.mark.gpu

COUNT, SEED = 320, 13
# Of an H100 with Triton 3.6, on which `grouped` gave NaN, infinities or an illegal memory access.
KNOWN_BAD = [
    {"headdim": 1, "dstate": 64, "states_dtype": "float32"},
    {"headdim": 6, "dstate": 33},
    {"headdim": 17, "dstate": 128, "states_dtype": "float32"},
    {"headdim": 17, "dstate": 33},
    {"headdim": 2, "dstate": 128, "states_dtype": "float32"},
    {"headdim": 1, "dstate": 100},
    {
        "seqlen": 647,
        "nheads": 8,
        "ngroups": 8,
        "headdim": 8,
        "dstate": 104,
        "chunk_size": 128,
        "d_form": "none",
        "z": True,
    },
    {"seqlen": 675, "batch": 1, "nheads": 8, "ngroups": 8, "headdim": 32, "dstate": 232, "dtype": "float16", "z": True}
    | {"states_dtype": "float32"},
]
ALIKE = {"seqlen": 150, "batch": 2, "nheads": 4, "ngroups": 2, "chunk_size": 64}


def test_random_shapes_are_correct_and_nothing_around_them_is_touched() -> None:
    known = [Shape(ChunkScanProblem(**{**ALIKE, **sizes})) for sizes in KNOWN_BAD]  # type: ignore[arg-type]
    listed = [*known, *shapes(COUNT, SEED)]
    workers = max(1, min(12, (os.cpu_count() or 2) - 2))
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        said = list(pool.map(called, listed))

    wrong = [f"{what}: {shape}" for shape, what in zip(listed, said, strict=True) if what]
    assert not wrong, "\n".join(wrong)
    assert len(said) >= 300


def test_a_thread_that_has_called_nothing_of_cuda_yet_can_call_it() -> None:
    problem = ChunkScanProblem(1000, nheads=16, ngroups=2)
    subject = ChunkScan(problem)
    inputs = named(subject.inputs("cuda:0", 0))
    out = torch.full_like(inputs["x"], torch.nan)
    expected = chunk_scan(**inputs)  # compiles what the thread then only launches
    torch.cuda.synchronize()
    raised: list[BaseException] = []

    def call() -> None:
        try:
            chunk_scan(**inputs, out=out)
        except BaseException as error:
            raised.append(error)

    thread = Thread(target=call)
    thread.start()
    thread.join()
    torch.cuda.synchronize()

    assert [] == raised
    assert torch.equal(expected, out)
