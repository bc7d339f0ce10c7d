"""`chunk_scan` on tensors: correct in Triton's interpreter, clear about what it cannot take; how it is imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from api_calls import SMALL, Launches, arguments
from interpreted import call, interpreting_worker
from torch import Tensor

import ssdprof.kernels
from ssdprof.kernels import chunk_scan
from ssdprof.kernels.config import Config
from ssdprof.kernels.errors import TensorError
from ssdprof.kernels.ssd import arguments as checks
from ssdprof.kernels.ssd import function
from ssdprof.kernels.ssd.params import chunk_scan_config
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.workers.worker import Worker

SIZES = "batch, seqlen, nheads and headdim are x's, ngroups and dstate C's, chunk_size is dt's"


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Worker]:
    with interpreting_worker() as worker:
        yield worker


def assert_correct(worker: Worker, problem: ChunkScanProblem, config: Config | str | None, with_out: bool) -> None:
    relative, worst_row, same_out, dtype = call(worker, "api_calls:errors", problem, config, with_out)
    (tolerances,) = ChunkScan(problem).tolerances()
    assert relative <= tolerances.relative_error
    assert worst_row <= tolerances.row_error
    assert (with_out, f"torch.{problem.dtype}") == (same_out, dtype)


OPTIONS = {
    "no D, a short last chunk": {},
    "D per head, gate, packed sequences, batch of two": {"batch": 2, "d_form": "head", "z": True, "seq_idx": True},
    "D per head and dimension, odd sizes": {"d_form": "head-dim", "headdim": 23, "dstate": 19},
    "several groups, float32 states": {"nheads": 6, "ngroups": 3, "states_dtype": "float32"},
    "float16": {"dtype": "float16"},
    "float32 everything": {"dtype": "float32", "states_dtype": "float32"},
    "a chunk of 8": {"chunk_size": 8},
    "several tiles of tokens and dimensions": {"seqlen": 150, "chunk_size": 128, "nheads": 1, "headdim": 72},
    "a state beyond what grouped takes": {"dstate": 260, "nheads": 1},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_the_config_of_its_own_choosing_is_correct_with_every_option(interpreter: Worker, option: str) -> None:
    assert_correct(interpreter, replace(SMALL, **OPTIONS[option]), None, with_out="batch" in option)


@pytest.mark.parametrize(
    "config",
    [
        "m16n16k16d32w4s1",
        "split:m16n16k16d16w4s1",
        "BLOCK_SIZE_M=16,BLOCK_SIZE_N=16,BLOCK_SIZE_K=16,num_warps=4,num_stages=1,variant=grouped,heads=1",
        chunk_scan_config(32, 16, 16, None, num_warps=4, num_stages=1, variant="split"),
    ],
)
def test_a_given_config_is_correct_in_every_form(interpreter: Worker, config: Config | str) -> None:
    assert_correct(interpreter, SMALL, config, with_out=True)


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    return Launches.instead(monkeypatch)


Change = Callable[[dict[str, Any]], object]


def changed(name: str, change: Callable[[Any], Any]) -> Change:
    return lambda tensors: tensors.update({name: change(tensors[name])})


def shared_out(tensors: dict[str, Any]) -> None:
    """An out that begins in the middle of x."""
    memory = torch.zeros(2 * tensors["x"].numel(), dtype=tensors["x"].dtype)
    tensors["x"] = memory[: tensors["x"].numel()].view(tensors["x"].shape)
    tensors["out"] = memory[8 : 8 + tensors["x"].numel()].view(tensors["x"].shape)


def leaf(tensor: Tensor) -> Tensor:
    return tensor.clone().requires_grad_()


# x (2, 37, 2, 16), cb (2, 3, 1, 16, 16), dt (2, 2, 3, 16), C (2, 37, 1, 32), states (2, 3, 2, 16, 32)
BAD: dict[str, tuple[Change, str]] = {
    "no tensor": (changed("x", lambda _: [1.0]), "x must be a torch.Tensor, got list"),
    "None": (changed("cb", lambda _: None), "cb must be a torch.Tensor, got NoneType"),
    "another device": (changed("dt", lambda t: t.to("meta")), "dt is on meta and x on cpu: all must be on one device"),
    "no GPU": (
        changed("x", lambda t: t.to("meta")),
        "x is on meta, the kernel runs on an NVIDIA GPU: pass x.cuda(), and the others likewise",
    ),
    "a gradient": (
        changed("states", leaf),
        "states requires grad, but the kernel has no backward: call it under torch.no_grad(), or pass states.detach()",
    ),
    "x in float64": (changed("x", Tensor.double), "x must be one of bfloat16, float16, float32, got float64"),
    "states in float16": (changed("states", Tensor.half), "states must be one of bfloat16, float32, got float16"),
    "C in float32": (changed("C", Tensor.float), "C must be bfloat16, x's dtype, got float32"),
    "D in bfloat16": (changed("D", Tensor.bfloat16), "D must be float32, got bfloat16"),
    "seq_idx in int64": (changed("seq_idx", Tensor.long), "seq_idx must be int32, got int64"),
    "x of three dimensions": (
        changed("x", lambda t: t[0]),
        "x must have 4 dimensions, (batch, seqlen, nheads, headdim), got shape (37, 2, 16)",
    ),
    "dt of three dimensions": (
        changed("dt", lambda t: t.flatten(2)),
        "dt must have 4 dimensions, (batch, nheads, nchunks, chunk_size), got shape (2, 2, 48)",
    ),
    "D of three dimensions": (
        changed("D", lambda t: t[None, None]),
        "D must be (nheads,) or (nheads, headdim), got shape (1, 1, 2)",
    ),
    "heads that do not divide": (
        changed("C", lambda t: t.expand(2, 37, 3, 32).contiguous()),
        (
            f"nheads must be a multiple of ngroups, got 2 heads and 3 groups; {SIZES}: x (2, 37, 2, 16), "
            "C (2, 37, 3, 32), dt (2, 2, 3, 16)"
        ),
    ),
    "no tokens": (
        changed("x", lambda t: t[:, :0]),
        f"seqlen must be a whole number above 0, got 0; {SIZES}: x (2, 0, 2, 16), C (2, 37, 1, 32), dt (2, 2, 3, 16)",
    ),
    "cb of another chunk size": (
        changed("cb", lambda t: t[..., :8]),
        "cb must be (batch, nchunks, ngroups, chunk_size, chunk_size) = (2, 3, 1, 16, 16), got (2, 3, 1, 16, 8); "
        + SIZES,
    ),
    "a chunk too few": (
        changed("states", lambda t: t[:, :2]),
        f"states must be (batch, nchunks, nheads, headdim, dstate) = (2, 3, 2, 16, 32), got (2, 2, 2, 16, 32); {SIZES}",
    ),
    "D of another number of heads": (changed("D", lambda t: t[:1]), f"D must be (nheads) = (2,), got (1,); {SIZES}"),
    "D of another head dimension": (
        changed("D", lambda t: torch.zeros(2, 8)),
        f"D must be (nheads, headdim) = (2, 16), got (2, 8); {SIZES}",
    ),
    "z of another shape": (
        changed("z", lambda t: t[:, 1:]),
        f"z must be (batch, seqlen, nheads, headdim) = (2, 37, 2, 16), got (2, 36, 2, 16); {SIZES}",
    ),
    "strides": (
        changed("states", lambda t: t.repeat(1, 1, 2, 1, 1)[:, :, ::2]),
        "states must be contiguous, got strides (6144, 2048, 1024, 32, 1): pass states.contiguous()",
    ),
    "strides of dimensions inside a row": (
        changed("C", lambda t: t.repeat(1, 1, 1, 2)[..., ::2]),
        "C's last dimension must be contiguous, got strides (2368, 64, 64, 2): pass C.contiguous()",
    ),
    "strides of out": (
        lambda tensors: tensors.update(out=torch.zeros(2, 37, 16, 2, dtype=torch.bfloat16).transpose(2, 3)),
        "out's last dimension must be contiguous, got strides (1184, 32, 1, 2): write to such a one and copy it",
    ),
    "an out that overlaps itself": (
        lambda tensors: tensors.update(out=torch.zeros(37, 2, 16, dtype=torch.bfloat16).expand(2, 37, 2, 16)),
        "out overlaps itself, got strides (0, 32, 16, 1): pass one with room for each element",
    ),
    "out in float32": (
        lambda tensors: tensors.update(out=torch.zeros(2, 37, 2, 16)),
        "out must be bfloat16, x's dtype, got float32",
    ),
    "out is z": (
        lambda tensors: tensors.update(out=tensors["z"]),
        "out shares memory with z, which is read while out is written: pass another out",
    ),
    "out begins inside x": (
        shared_out,
        "out shares memory with x, which is read while out is written: pass another out",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_tensor_that_does_not_fit_is_an_error_before_launch(launches: Launches, fault: str) -> None:
    change, message = BAD[fault]
    tensors = arguments()
    change(tensors)

    with pytest.raises(TensorError) as raised:
        chunk_scan(**tensors)

    assert message == str(raised.value)
    assert [] == launches.ids


def test_a_tensor_on_the_cpu_is_an_error_where_triton_does_not_interpret(
    launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_interpreted", lambda: False)

    with pytest.raises(TensorError) as raised:
        chunk_scan(**arguments())

    assert "x is on the CPU, the kernel runs on an NVIDIA GPU: pass x.cuda(), and the others likewise" == str(
        raised.value
    )
    assert [] == launches.ids


def test_tensors_that_require_grad_are_taken_while_grad_is_disabled(launches: Launches) -> None:
    tensors = arguments()
    tensors["x"].requires_grad_()

    with torch.no_grad():
        out = chunk_scan(**tensors)

    assert not out.requires_grad
    assert 1 == len(launches.ids)


def test_the_package_imports_neither_torch_nor_triton_until_the_function_is_asked_for() -> None:
    program = (
        "import sys, ssdprof.kernels; from ssdprof.kernels.ssd import presets;"
        "print([name for name in ('torch', 'triton', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "[]\n" == done.stdout


def test_the_package_gives_the_function_and_nothing_else() -> None:
    assert ["chunk_scan"] == ssdprof.kernels.__all__
    assert function.chunk_scan is ssdprof.kernels.chunk_scan
    with pytest.raises(AttributeError, match=r"module 'ssdprof\.kernels' has no attribute 'chunk_scam'"):
        ssdprof.kernels.chunk_scam  # noqa: B018


IMPORT_ALL = (
    "import importlib, pkgutil, ssdprof.kernels as room;"
    "names = [found.name for found in pkgutil.walk_packages(room.__path__, 'ssdprof.kernels.')];"
    "[importlib.import_module(name) for name in names];"
    "assert 'ssdprof.kernels.ssd.function' in names and 'ssdprof.kernels.ssd.grouped' in names;"
)


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", "import ssdprof.kernels.ssd.function;", IMPORT_ALL], ids=["", "one", "all"])
def test_the_function_is_given_before_and_after_its_modules_are_imported(before: str) -> None:
    program = (
        f"{before}from ssdprof.kernels import chunk_scan;import ssdprof.kernels;{IMPORT_ALL}"
        "from ssdprof.kernels import chunk_scan as again;"
        "print(type(chunk_scan).__name__, chunk_scan is again is ssdprof.kernels.chunk_scan, chunk_scan.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "function True chunk_scan\n" == done.stdout
