"""The arguments of an engine's Python entry in the layouts that engines have, made of our inputs on the meta device."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.launch import TensorMeta
from ssdprof.kernels.ssd.on_problem import tensors
from ssdprof.kernels.ssd.problem import ChunkScanProblem

BY_CHUNK = "cu_chunk_seqlens"
"""The parameter that only vLLM's newer layout has: no batch, each chunk part of one sequence, whose index it carries,
and the state that each chunk leaves instead of the one that it finds."""
CHUNK_SEQ_IDX = "chunk_seq_idx"
_TENSORS = ("cb", "x", "dt", "dA_cumsum", "C", "states", "D", "z", "seq_idx", "out")
"""Parameters that are our tensors, whose names are in lower case."""
_ABSENT = ("D", "z", "seq_idx", "initial_states", "chunk_indices", "chunk_offsets")
"""Parameters that take None for "there is none"."""


@dataclass
class Layout:
    """Values by parameter of the entry; the launch's tensors by name, as a plan has them and on the meta device."""

    values: dict[str, Any] = field(default_factory=dict)
    metas: dict[str, TensorMeta] = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)

    def add(self, name: str, meta: TensorMeta) -> torch.Tensor:
        """A tensor of that name on the meta device."""
        self.metas[name] = meta
        self.tensors[name] = torch.empty(meta.shape, dtype=getattr(torch, meta.dtype), device="meta")
        return self.tensors[name]

    def arguments(self, parameters: Mapping[str, inspect.Parameter], where: str) -> dict[str, Any]:
        """Values for every parameter that has a known one or needs one. Raises UsageError."""
        for name in _ABSENT:
            if self.values.get(name) is not None and name not in parameters:
                raise UsageError(f"{where} takes no {name}, but the problem has one")
        arguments = {}
        for name, parameter in parameters.items():
            if name in self.values or name in _ABSENT:
                arguments[name] = self.values.get(name)
            elif parameter.default is parameter.empty and not str(parameter).startswith("*"):
                raise UsageError(f"{where} asks for {name}, which ssdprof cannot give: take a version it knows")
        return arguments


def named(tensor: torch.Tensor, tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Which of the named tensors on the meta device, whose storage has no address, shares this one's; empty if none."""
    storage = tensor.untyped_storage()._cdata
    return next((name for name, one in tensors if one.untyped_storage()._cdata == storage), "")


def batched(problem: ChunkScanProblem) -> Layout:
    """mamba-ssm's names and shapes, which TensorRT-LLM and SGLang share; the shapes are ours too."""
    layout = Layout()
    ours = {name: layout.add(name, meta) for name, meta in tensors(problem).items()}
    layout.values = {"chunk_size": problem.chunk_size, **{name: ours.get(name.lower()) for name in _TENSORS}}
    return layout


def unbatched(problem: ChunkScanProblem) -> Layout:
    """The same without the batch: the first sequence, which must be the only one."""
    layout = batched(problem)
    for name, value in layout.values.items():
        if isinstance(value, torch.Tensor) and name != "D":
            layout.values[name] = value[0]
    return layout


def by_chunk(problem: ChunkScanProblem, where: str) -> Layout:
    """The newer layout of vLLM. The first chunk takes no state. Raises UsageError for packed sequences."""
    if problem.seq_idx:
        raise UsageError(f"{where} takes one sequence index per chunk, but packed sequences begin inside chunks")
    layout = unbatched(problem)
    states = layout.metas["states"]
    if problem.nchunks > 1:  # what a chunk leaves is what the next one finds: the same states, from the second one on
        one_more = TensorMeta((problem.nchunks + 1, *states.shape[2:]), states.dtype)
        layout.values["states"] = layout.add("states", one_more)[1:]
        layout.metas["states"] = states
    layout.values["seq_idx"] = layout.add(CHUNK_SEQ_IDX, TensorMeta((problem.nchunks,), "int32"))
    layout.values[BY_CHUNK] = layout.add(BY_CHUNK, TensorMeta((problem.nchunks + 1,), "int32"))
    return layout


def added_inputs(problem: ChunkScanProblem, device: str) -> dict[str, torch.Tensor]:
    """The inputs that `by_chunk` adds to ours."""
    starts = torch.arange(problem.nchunks + 1, dtype=torch.int32, device=device) * problem.chunk_size
    chunks = torch.zeros(problem.nchunks, dtype=torch.int32, device=device)
    return {BY_CHUNK: starts.clamp(max=problem.seqlen), CHUNK_SEQ_IDX: chunks}
