"""Random shapes within what `chunk_scan` promises, and one call of each on a GPU, memory around it poisoned."""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass

import torch
from api_calls import named
from torch import Tensor

from ssdprof.kernels import chunk_scan
from ssdprof.kernels.ssd.problem import D_FORMS, STATES_DTYPES, X_DTYPES, ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.measuring.check import within
from ssdprof.profiling.measuring.guard import same_bits
from ssdprof.profiling.measuring.locate import output_errors, row_norm_rms

POISON_BYTES = 1 << 30
MARGIN = 64
"""Elements before and after every tensor, NaN (of integers, a large number); a call must leave them alone."""


@dataclass(frozen=True)
class Shape:
    """A problem, and by tensor how many elements its address is off."""

    problem: ChunkScanProblem
    shifts: tuple[tuple[str, int], ...] = ()


def shapes(count: int, seed: int) -> list[Shape]:
    """Random ones; half have rows that descriptors take, and two thirds have all addresses aligned."""
    draw = random.Random(seed)
    return [_shape(draw) for _ in range(count)]


def _shape(draw: random.Random) -> Shape:
    in_rows = draw.choice((1, 8))
    ngroups = draw.choice((1, 1, 2, 3, 8))
    problem = ChunkScanProblem(
        seqlen=draw.randint(1, 900),
        batch=draw.choice((1, 1, 2, 3)),
        nheads=ngroups * draw.choice((1, 2, 3, 4, 5, 8, 16)),
        headdim=in_rows * draw.randint(1, 256 // in_rows),
        ngroups=ngroups,
        dstate=in_rows * draw.randint(1, 256 // in_rows),
        chunk_size=draw.choice((16, 32, 64, 64, 128, 128, 256, 512)),
        dtype=draw.choice(X_DTYPES),
        states_dtype=draw.choice(STATES_DTYPES),
        d_form=draw.choice(D_FORMS),
        z=draw.random() < 0.4,
        seq_idx=draw.random() < 0.3,
    )
    shifted = draw.random() < 1 / 3
    names = sorted(ChunkScan(problem).tensors())
    return Shape(problem, tuple((name, draw.randint(0, 9) if shifted else 0) for name in names))


def called(shape: Shape) -> str:
    """What is wrong with the output of one call, empty if nothing is. Every GPU error counts too."""
    try:
        return _called(shape)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def _called(shape: Shape) -> str:
    subject = ChunkScan(shape.problem)
    inputs = subject.inputs("cuda:0", 0)
    correct = subject.reference(inputs)["out"]
    torch.cuda.empty_cache()
    poison = torch.full((POISON_BYTES // 4,), torch.nan, device="cuda:0")
    del poison  # what is allocated from here on lies in it
    inputs["out"] = torch.full_like(inputs["x"], torch.nan)
    stores = {name: _with_margins(tensor, dict(shape.shifts).get(name, 0)) for name, tensor in inputs.items()}
    before = {name: store.clone() for name, (store, _) in stores.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chunk_scan(**named({name: tensor for name, (_, tensor) in stores.items()}))
    torch.cuda.synchronize()
    out = stores["out"][1].to(torch.float32, copy=True)
    for name, (store, tensor) in stores.items():
        if name == "out":
            tensor.copy_(inputs["out"])  # of the output, only the margins must be as before
        if not same_bits(store, before[name]):
            return f"{name}, or what is around it, was changed"
    [allowed] = subject.tolerances()
    found = output_errors(out, correct, allowed, row_norm_rms(correct))
    if within(found, allowed):
        return ""
    return f"relative error {found.relative_error:.4g}, of the worst row {found.worst_row_error:.4g}"


def _with_margins(tensor: Tensor, shift: int) -> tuple[Tensor, Tensor]:
    """Memory that is poisoned around a copy of a tensor, and the copy."""
    fill = torch.nan if tensor.is_floating_point() else 1 << 20
    store = torch.full((tensor.numel() + 2 * MARGIN,), fill, dtype=tensor.dtype, device=tensor.device)
    copy = store[MARGIN + shift :][: tensor.numel()].view(tensor.shape)
    copy.copy_(tensor)
    return store, copy
