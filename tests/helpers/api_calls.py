"""Calls of `chunk_scan` for its tests: arguments, a launch that is only noted, and a call that a worker interprets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from triton.runtime.errors import OutOfResources

from ssdprof.kernels import chunk_scan
from ssdprof.kernels.config import Config
from ssdprof.kernels.launch import LaunchPlan
from ssdprof.kernels.ssd import arguments as checks
from ssdprof.kernels.ssd import function as api
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan

SMALL = ChunkScanProblem(seqlen=37, nheads=2, ngroups=1, headdim=16, dstate=32, chunk_size=16, d_form="none")
FULL = replace(SMALL, batch=2, d_form="head", z=True, seq_idx=True)


def named(inputs: Mapping[str, Tensor]) -> dict[str, Any]:
    """A subject's inputs as the function's arguments."""
    return {{"c": "C", "d": "D"}.get(name, name): tensor for name, tensor in inputs.items()}


def arguments(problem: ChunkScanProblem = FULL) -> dict[str, Any]:
    """Tensors of the problem's shapes and dtypes on the CPU, all zero."""
    metas = ChunkScan(problem).tensors()
    zeros = {name: torch.zeros(meta.shape, dtype=getattr(torch, meta.dtype)) for name, meta in metas.items()}
    return named({name: tensor for name, tensor in zeros.items() if name != "out"})


LAYOUTS = ("slices", "heads first", "tokens first", "heads apart", "one for all batches")
"""How tensors like x may lie in memory: as `strides` has it."""


def strides(layout: str, shape: Sequence[int], gap: int) -> tuple[int, ...]:
    """Strides in elements of a tensor (batch, seqlen, heads, dims): of slices of a projection, there is `gap` between.

    `one for all batches` is for inputs only: they share their elements.
    """
    batch, seqlen, heads, dims = shape
    row, apart = heads * dims + gap, dims + gap
    return {
        "slices": (seqlen * row, row, dims, 1),
        "heads first": (heads * seqlen * dims, dims, seqlen * dims, 1),
        "tokens first": (heads * dims, batch * heads * dims, dims, 1),
        "heads apart": (seqlen * heads * apart, heads * apart, apart, 1),
        "one for all batches": (0, row, dims, 1),
    }[layout]


def laid_out(tensor: Tensor, layout: str, gap: int = 8) -> Tensor:
    """A copy of a tensor like x in another layout, NaN between its rows."""
    shape = tensor.shape
    of = strides(layout, shape, gap)
    length = 1 + sum((size - 1) * stride for size, stride in zip(shape, of, strict=True))
    store = torch.full((length,), torch.nan, dtype=tensor.dtype, device=tensor.device)
    copy = store.as_strided(shape, of)
    written = copy[:1] if of[0] == 0 else copy
    written.copy_(tensor[: len(written)])
    return copy


def errors(
    problem: ChunkScanProblem, config: Config | str | None, with_out: bool, layout: str = "", gap: int = 8
) -> tuple[float, float, bool, str]:
    """Relative error, largest error of a row, whether `out` was returned, dtype: of one call against the reference.

    In `layout`, if there is one, are x, z, C and out.
    """
    subject = ChunkScan(problem)
    inputs = subject.inputs("cpu", 0)
    if layout == "one for all batches":
        inputs = {name: one[:1].expand_as(one).contiguous() if name in "xcz" else one for name, one in inputs.items()}
    correct = subject.reference(inputs)["out"]
    out = torch.full_like(inputs["x"], torch.nan) if with_out else None
    if layout:
        inputs = {name: laid_out(one, layout, gap) if name in "xcz" else one for name, one in inputs.items()}
        out = laid_out(out, layout.replace("one for all batches", "slices"), gap) if out is not None else None
    got = chunk_scan(**named(inputs), out=out, config=config)
    off = (got.float() - correct).norm(dim=-1)
    rows = correct.norm(dim=-1)
    worst = off / rows.clamp(min=0.1 * rows.square().mean().sqrt())
    return float(off.norm() / correct.norm()), float(worst.max()), got is out, str(got.dtype)


def error_in_a_graph(problem: ChunkScanProblem, config: str | None) -> float:
    """Relative error of a call that torch.compile takes as a whole; no breaks of its graph."""
    subject = ChunkScan(problem)
    inputs = subject.inputs("cpu", 0)
    correct = subject.reference(inputs)["out"]
    twice = torch.compile(
        lambda **tensors: chunk_scan(**tensors, config=config) * 2, fullgraph=True, backend="aot_eager"
    )
    with torch.no_grad():
        got = twice(**named(inputs)).float() / 2
    return float((got - correct).norm() / correct.norm())


class Launches:
    """Stands in for the launch: notes what is launched, refuses the first `refused` as Triton does."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.grids: list[int] = []
        self.described: list[bool] = []
        self.refused = 0

    def __call__(self, plan: LaunchPlan, tensors: Mapping[str, Tensor]) -> None:
        names = ("BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K", "BLOCK_SIZE_DSTATE")
        tiles = [plan.args[name] for name in names]
        split = "split:" if plan.args.get("SPLIT_DSTATE") else "grouped:" if "HEADS" in plan.args else ""
        options = plan.options
        self.ids.append(
            f"{split}m{tiles[0]}n{tiles[1]}k{tiles[2]}d{tiles[3]}w{options['num_warps']}s{options['num_stages']}"
        )
        self.grids.append(plan.grid_blocks)
        self.described.append(plan.args.get("x_desc") is not None)
        if self.refused:
            self.refused -= 1
            raise OutOfResources(1000 + self.refused, 900, "shared memory")

    @classmethod
    def instead(cls, monkeypatch: pytest.MonkeyPatch) -> Launches:
        """In place of real launches; CPU tensors are let through as if they were interpreted, nothing is remembered."""
        noted = cls()
        monkeypatch.setattr(api, "_launch", noted)
        monkeypatch.setattr(checks, "_interpreted", lambda: True)
        monkeypatch.setattr(api, "_chosen", {})
        return noted


def at(tensor: Tensor, offset: int) -> Tensor:
    """A tensor of the same shape, `offset` elements from an aligned address."""
    return torch.zeros(tensor.numel() + offset, dtype=tensor.dtype)[offset:].view(tensor.shape)
