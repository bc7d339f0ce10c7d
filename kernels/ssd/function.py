"""The chunk scan as a function: tensors in, tensor out; it chooses a launch configuration unless one is given."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor
from triton import knobs
from triton.runtime.errors import OutOfResources

from ssdprof.kernels.config import Config
from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.errors import ConfigError, ProblemError, TensorError
from ssdprof.kernels.launch import DTYPE_BYTES, FIRST_WITH_TMA, LaunchPlan, arch_of, dtype_name, has_tma
from ssdprof.kernels.ssd import grouped
from ssdprof.kernels.ssd.on_problem import tensors as tensors_of
from ssdprof.kernels.ssd.params import GROUPED, PARAMS, SPLIT, chunk_scan_config, whole_tile
from ssdprof.kernels.ssd.problem import D_FORMS, STATES_DTYPES, X_DTYPES, ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan

WHOLE_MAX, HEADS_MAX, NARROW_MAX = 256, 16, 32
"""Of `grouped`: the longest chunk and largest state, the most heads of a program (see `candidates`), and the largest
headdim that is not safe (see `_unsafe`)."""
_AXES = {
    **dict.fromkeys(("x", "z", "out"), "batch, seqlen, nheads, headdim"),
    **dict.fromkeys(("dt", "da_cumsum"), "batch, nheads, nchunks, chunk_size"),
    "cb": "batch, nchunks, ngroups, chunk_size, chunk_size",
    "C": "batch, seqlen, ngroups, dstate",
    "states": "batch, nchunks, nheads, headdim, dstate",
    "seq_idx": "batch, seqlen",
}
_SIZES_FROM = "batch, seqlen, nheads and headdim are x's, ngroups and dstate C's, chunk_size is dt's"

_chosen: dict[tuple[str | None, ChunkScanProblem, int], int] = {}
"""Which candidate fits, by architecture, problem (whatever its seqlen and batch) and number of candidates."""
_thread = threading.local()


def chunk_scan(
    cb: Tensor,
    x: Tensor,
    dt: Tensor,
    da_cumsum: Tensor,
    C: Tensor,
    states: Tensor,
    *,
    D: Tensor | None = None,
    z: Tensor | None = None,
    seq_idx: Tensor | None = None,
    out: Tensor | None = None,
    config: Config | str | None = None,
) -> Tensor:
    """The last stage of Mamba-2's SSD, forward only, on an NVIDIA GPU:

        out[m] = exp(da_m)·C_m·state + Σ_{k≤m} cb_mk·exp(da_m − da_k)·dt_k·x_k + D·x_m, times z·sigmoid(z)

    of every token m and head (Dao and Gu, "Transformers are SSMs", 2024, section 6), sums in float32.

    Tensors, all on one GPU and contiguous (row major, last dimension fastest):

    - x (batch, seqlen, nheads, headdim), bfloat16, float16 or float32;
    - cb (batch, nchunks, ngroups, chunk_size, chunk_size) float32: C·B inside each chunk. chunk_size is a power of two,
      nchunks is seqlen / chunk_size rounded up, heads are a multiple of groups;
    - dt, da_cumsum (batch, nheads, nchunks, chunk_size) float32: step sizes, and the cumulative sum of dt·A in a chunk;
    - C (batch, seqlen, ngroups, dstate) of x's dtype;
    - states (batch, nchunks, nheads, headdim, dstate), bfloat16 or float32: the state before each chunk;
    - D (nheads,) or (nheads, headdim) float32, the skip connection; z like x, the gate;
    - seq_idx (batch, seqlen) int32, each token's sequence if several are packed; cb must then be 0 between tokens of
      different sequences;
    - out like x, which is written and returned; None makes a new tensor. No input may share its memory.

    Float32 products run in TF32, Triton's default.

    `config`: a `Config`, or a text that names one in any form of `parse_config`; it is used as it is. None: variant
    `grouped` with the first of `candidates` that fits the GPU, found on the first call for each problem and GPU, or
    variant `split`, with a warning, if none fits, if headdim is at most 32, or if a row or an address of x, states, z
    or out is not a multiple of 16 bytes: ptxas 12.8, which Triton 3.6 has, miscompiles `grouped` then (docs/kernel.md).

    Before anything is launched, raises TensorError if a tensor is not as above, or requires grad while grad is enabled
    (there is no backward); ConfigError for a config that cannot be read, that the kernel cannot take or whose output
    would be wrong, such as `tile` with a tile smaller than the state, or `grouped` in the case above. For a given
    config, Triton's own errors pass through, such as OutOfResources.
    """
    tensors = {"cb": cb, "x": x, "dt": dt, "da_cumsum": da_cumsum, "C": C, "states": states}
    optional = {"D": D, "z": z, "seq_idx": seq_idx, "out": out}
    tensors |= {name: tensor for name, tensor in optional.items() if tensor is not None}
    _check_kind(tensors)
    problem = _problem(tensors)
    _check_layout(tensors, problem)
    if out is None:
        out = tensors["out"] = torch.empty_like(x, memory_format=torch.contiguous_format)
    if config is None:
        _launch_first_that_fits(problem, tensors)
    else:
        chosen = parse_config(config, PARAMS) if isinstance(config, str) else PARAMS.validated(config)
        if wrong := ChunkScan(problem).wrong_by_construction(chosen):
            raise ConfigError(f"{PARAMS.id(chosen)} {wrong}")
        if chosen.variant == GROUPED and (reason := _unsafe(problem, tensors, arch_of(x.device))):
            raise ConfigError(f"{PARAMS.id(chosen)} may be wrong here: {reason}: take the variant {SPLIT}")
        _launch(_plan(problem, chosen), tensors)
    return out


@lru_cache(maxsize=64)
def candidates(problem: ChunkScanProblem) -> tuple[Config, ...]:
    """The configs to try in turn, none needing more shared memory than the one before.

    Configs of `grouped` come first. On an H100 at 50 000 tokens, the best were (docs/kernel.md):
    - tiles of 64 tokens, four warps, three stages, two blocks per SM; with float32 states, whose tiles are twice as
      large, 128 tokens and eight warps;
    - all 16 heads of a group together, and 16 from a group of 80: with more, the load balances badly.
    Fewer stages are for GPUs with less shared memory. A chunk or state beyond 256 leaves no registers for the rest.
    The last is of `split` and needs at most 64 KiB, which every GPU has.
    """
    dim_tile = min(64, whole_tile(problem.headdim))
    split = chunk_scan_config(64, 64, 32, min(64, whole_tile(problem.dstate)), num_warps=4, num_stages=2, variant=SPLIT)
    if max(problem.chunk_size, problem.dstate) > WHOLE_MAX:
        return (split,)
    rows = max(16, min(64, problem.chunk_size))
    heads = max(count for count in range(1, HEADS_MAX + 1) if problem.heads_per_group % count == 0)
    tiles = [(rows, 4, 3), (rows, 4, 2), (rows, 4, 1)]
    if problem.states_dtype == "float32" and problem.chunk_size >= 128:
        tiles.insert(0, (128, 8, 3))
    of_grouped = (chunk_scan_config(m, dim_tile, m, None, w, s, variant=GROUPED, heads=heads) for m, w, s in tiles)
    return (*of_grouped, split)


def _check_kind(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TensorError(f"{name} must be a torch.Tensor, got {type(tensor).__name__}")
    device = tensors["x"].device
    if device.type != "cuda" and not (device.type == "cpu" and _interpreted()):
        here = "the CPU" if device.type == "cpu" else device
        raise TensorError(f"x is on {here}, the kernel runs on an NVIDIA GPU: pass x.cuda(), and the others likewise")
    for name, tensor in tensors.items():
        if tensor.device != device:
            raise TensorError(f"{name} is on {tensor.device} and x on {device}: all must be on one device")
        if tensor.requires_grad and torch.is_grad_enabled():
            way_out = f"call it under torch.no_grad(), or pass {name}.detach()"
            raise TensorError(f"{name} requires grad, but the kernel has no backward: {way_out}")


def _problem(tensors: Mapping[str, Tensor]) -> ChunkScanProblem:
    """The problem with the tensors' sizes and dtypes. Raises TensorError if there is none."""
    for name, dtypes in (("x", X_DTYPES), ("states", STATES_DTYPES)):
        if dtype_name(tensors[name]) not in dtypes:
            raise TensorError(f"{name} must be one of {', '.join(dtypes)}, got {dtype_name(tensors[name])}")
    for name in ("x", "C", "dt"):
        if tensors[name].ndim != 4:
            raise TensorError(f"{name} must have 4 dimensions, ({_AXES[name]}), got shape {tuple(tensors[name].shape)}")
    d_dims = tensors["D"].ndim if "D" in tensors else 0
    if "D" in tensors and d_dims not in (1, 2):
        raise TensorError(f"D must be (nheads,) or (nheads, headdim), got shape {tuple(tensors['D'].shape)}")
    batch, seqlen, nheads, headdim = tensors["x"].shape
    ngroups, dstate = tensors["C"].shape[2:]
    sizes = (seqlen, batch, nheads, headdim, ngroups, dstate, tensors["dt"].shape[3])
    kinds = (dtype_name(tensors["x"]), dtype_name(tensors["states"]))
    try:
        return ChunkScanProblem(*sizes, *kinds, D_FORMS[d_dims], z="z" in tensors, seq_idx="seq_idx" in tensors)
    except ProblemError as error:
        shapes = ", ".join(f"{name} {tuple(tensors[name].shape)}" for name in ("x", "C", "dt"))
        raise TensorError(f"{error}; {_SIZES_FROM}: {shapes}") from None


def _check_layout(tensors: Mapping[str, Tensor], problem: ChunkScanProblem) -> None:
    """Raises TensorError for a shape, dtype or stride that is not the problem's, and if out overlaps an input."""
    metas = tensors_of(problem)
    for name, tensor in tensors.items():
        meta, dtype = metas[name.lower()], dtype_name(tensor)
        if tensor.shape != meta.shape:
            axes = _AXES.get(name, "nheads" if problem.d_form == "head" else "nheads, headdim")
            raise TensorError(f"{name} must be ({axes}) = {meta.shape}, got {tuple(tensor.shape)}; {_SIZES_FROM}")
        if dtype != meta.dtype:
            like_x = ", x's dtype" if name in ("C", "z", "out") else ""
            raise TensorError(f"{name} must be {meta.dtype}{like_x}, got {dtype}")
        if not tensor.is_contiguous():
            remedy = "write to a contiguous one and copy it" if name == "out" else f"pass {name}.contiguous()"
            raise TensorError(f"{name} must be contiguous, got strides {tensor.stride()}: {remedy}")
    for name, tensor in tensors.items():
        if name != "out" and "out" in tensors and _overlap(tensor, tensors["out"]):
            raise TensorError(f"out shares memory with {name}, which is read while out is written: pass another out")


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Whether two contiguous tensors on one device share a byte."""
    first, second = sorted((one, other), key=Tensor.data_ptr)
    return first.data_ptr() + first.nbytes > second.data_ptr()


def _unsafe(problem: ChunkScanProblem, tensors: Mapping[str, Tensor], arch: str | None) -> str:
    """Why ptxas 12.8, which Triton 3.6 has, may miscompile `grouped` for these tensors; empty if it does not."""
    if arch is None:  # interpreted
        return ""
    sizes = [problem.headdim * DTYPE_BYTES[problem.dtype], problem.dstate * DTYPE_BYTES[problem.states_dtype]]
    sizes += [tensors[name].data_ptr() for name in grouped.DESCRIBED if name in tensors]
    said = "ptxas 12.8, which Triton 3.6 has, miscompiles it"
    if problem.headdim <= NARROW_MAX:
        return f"{said} for a headdim of at most {NARROW_MAX}"
    through_pointers = "through pointers, and a row or an address of x, states, z or out is not a multiple of 16 bytes"
    return f"{said} {through_pointers}" if any(size % grouped.DESCRIPTOR_ALIGNMENT for size in sizes) else ""


@lru_cache(maxsize=256)
def _plan(problem: ChunkScanProblem, config: Config) -> LaunchPlan:
    subject = ChunkScan(problem)
    return subject.launch(subject.resolve(config))


def _launch_first_that_fits(problem: ChunkScanProblem, tensors: Mapping[str, Tensor]) -> None:
    """Launches the first candidate that fits; warns if that is not of `grouped`, or if `grouped` has no TMA.

    Raises OutOfResources if none fits.
    """
    arch, configs = arch_of(tensors["x"].device), candidates(problem)
    if reason := _unsafe(problem, tensors, arch):
        configs = configs[-1:]
    else:
        reason = f"a chunk_size of {problem.chunk_size} or dstate of {problem.dstate} is beyond its {WHOLE_MAX}"
    key = (arch, replace(problem, seqlen=1, batch=1), len(configs))
    known = _chosen.get(key)
    for place in range(known or 0, len(configs)):
        try:
            _launch(_plan(problem, configs[place]), tensors)
        except OutOfResources as error:  # raised before the launch: out is as it was
            if place == len(configs) - 1:
                raise
            unit = "bytes of " if error.name == "shared memory" else ""
            reason = f"its smallest tiles need {error.required} {unit}{error.name}, the GPU has {error.limit}"
            continue
        if known == place:
            return
        _chosen[key], said = place, ""
        if configs[place].variant != GROUPED:
            said = (
                f"cannot use the variant grouped here, {reason}: it uses {PARAMS.id(configs[place])}, which reads C "
                "and CB once for each head, not once for each group"
            )
        elif arch and not has_tma(arch):
            said = (
                f"runs on {arch}, which has no tensor memory accelerator ({FIRST_WITH_TMA} is the first with one): "
                "its kernel loads and stores through pointers, not tensor descriptors, and its configs were chosen on "
                "an H100"
            )
        if said:
            warnings.warn(f"chunk_scan {said}. Pass config= to choose another", stacklevel=3)
        return


def _launch(plan: LaunchPlan, tensors: Mapping[str, Tensor]) -> None:
    """Launches on the tensors' device, which need not be the current one."""
    launch = plan.bind({name.lower(): tensor for name, tensor in tensors.items()})
    device = tensors["x"].device
    on_device: AbstractContextManager[object] = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
    with on_device:
        _bind_context(device)
        launch()


def _bind_context(device: torch.device) -> None:
    """Makes CUDA's context current in a thread that has called nothing of CUDA yet: descriptors are made without it.

    Any call of CUDA's runtime does; PyTorch makes none as long as its own memory is enough. In a thread that captures a
    graph there was one.
    """
    known = _thread.__dict__.setdefault("devices", set())
    if device.type == "cuda" and device not in known:
        if not torch.cuda.is_current_stream_capturing():
            torch.cuda.current_stream(device).query()
        known.add(device)


def _interpreted() -> bool:
    """Whether Triton interprets kernels on the CPU (TRITON_INTERPRET=1)."""
    return bool(knobs.runtime.interpret)
