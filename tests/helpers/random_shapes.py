"""Random shapes within what `chunk_scan` promises, and one call of each on a GPU, memory around it poisoned."""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass

import torch
from api_calls import LAYOUTS, named, strides
from torch import Tensor

from ssdprof.kernels import chunk_scan
from ssdprof.kernels.ssd.problem import D_FORMS, STATES_DTYPES, X_DTYPES, ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.measuring.check import within
from ssdprof.profiling.measuring.compare import output_errors, row_norm_rms
from ssdprof.profiling.measuring.guard import same_bits

POISON_BYTES = 1 << 30
STRIDED = ("x", "z", "c", "out")
MARGIN = 64
"""Elements before and after every tensor, NaN (of integers, a large number); a call must leave them alone."""


@dataclass(frozen=True)
class Shape:
    """A problem, by tensor how many elements its address is off, and of x, z, C and out how they lie in memory."""

    problem: ChunkScanProblem
    shifts: tuple[tuple[str, int], ...] = ()
    layouts: tuple[tuple[str, str, int], ...] = ()
    """Name, layout and gap, as `strides` of api_calls has them; a tensor that is not named is contiguous."""


def shapes(count: int, seed: int) -> list[Shape]:
    """Random ones; half have rows that descriptors take, two thirds aligned addresses, half tensors with strides."""
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
    shifts = tuple((name, draw.randint(0, 9) if shifted else 0) for name in names)
    lying = [name for name in STRIDED if name in names and draw.random() < 0.7] if draw.random() < 0.5 else []
    gap = draw.choice((8, 8, 64, 1, 3))
    return Shape(
        problem, shifts, tuple((name, draw.choice(LAYOUTS[: 4 if name == "out" else None]), gap) for name in lying)
    )


def called(shape: Shape) -> str:
    """What is wrong with the output of one call, empty if nothing is. Every GPU error counts too."""
    try:
        return _called(shape)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def _called(shape: Shape) -> str:
    subject, layouts = ChunkScan(shape.problem), {name: (layout, gap) for name, layout, gap in shape.layouts}
    inputs = subject.inputs("cuda:0", 0)
    for name, (layout, _) in layouts.items():
        if layout == "one for all batches":
            inputs[name] = inputs[name][:1].expand_as(inputs[name]).contiguous()
    correct = subject.reference(inputs)["out"]
    torch.cuda.empty_cache()
    poison = torch.full((POISON_BYTES // 4,), torch.nan, device="cuda:0")
    del poison  # what is allocated from here on lies in it
    inputs["out"] = torch.full_like(inputs["x"], torch.nan)
    shifts = dict(shape.shifts)
    stores = {
        name: _with_margins(tensor, shifts.get(name, 0), *layouts.get(name, ("", 0))) for name, tensor in inputs.items()
    }
    before = {name: store.clone() for name, (store, _) in stores.items()}
    tensors = named({name: tensor for name, (_, tensor) in stores.items()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chunk_scan(**tensors)
        first = stores["out"][1].clone()
        stores["out"][1].fill_(torch.nan)
        chunk_scan(**tensors)  # now that this kind of call is known
    torch.cuda.synchronize()
    out = stores["out"][1].to(torch.float32, copy=True)
    if not same_bits(first, stores["out"][1].clone()):
        return "the second call gave other bits than the first"
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


def _with_margins(tensor: Tensor, shift: int, layout: str, gap: int) -> tuple[Tensor, Tensor]:
    """Memory that is poisoned around and between a copy of a tensor, and the copy."""
    fill = torch.nan if tensor.is_floating_point() else 1 << 20
    of = strides(layout, tensor.shape, gap) if layout else tensor.stride()
    length = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, of, strict=True))
    store = torch.full((length + 2 * MARGIN,), fill, dtype=tensor.dtype, device=tensor.device)
    copy = store.as_strided(tensor.shape, of, MARGIN + shift)
    written = copy[:1] if of[0] == 0 else copy
    written.copy_(tensor[: len(written)])
    return store, copy
