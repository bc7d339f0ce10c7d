"""What `chunk_scan` takes: its tensors' shapes, dtypes, layouts and addresses, checked before anything is launched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from triton import knobs

from ssdprof.kernels.config import Config
from ssdprof.kernels.errors import ProblemError, TensorError
from ssdprof.kernels.launch import TensorMeta, dtype_name
from ssdprof.kernels.ssd import launches
from ssdprof.kernels.ssd.on_problem import tensors as tensors_of
from ssdprof.kernels.ssd.params import SPLIT, Numbers
from ssdprof.kernels.ssd.problem import D_FORMS, STATES_DTYPES, X_DTYPES, ChunkScanProblem

MISCOMPILES = "ptxas 12.8, which Triton 3.6 has, miscompiles it"
"""Why a config is refused, or not chosen."""
NARROW_MAX = 32
"""The largest headdim that is not safe with `grouped` (see `unsafe`)."""
OFFSET_MAX = 2**31 - 1
"""Elements from a chunk's first token to its last: offsets inside a chunk are 32-bit."""
_STRIDED = ("x", "z", "c", "out")
_AXES = {
    **dict.fromkeys(("x", "z", "out"), "batch, seqlen, nheads, headdim"),
    **dict.fromkeys(("dt", "da_cumsum"), "batch, nheads, nchunks, chunk_size"),
    "cb": "batch, nchunks, ngroups, chunk_size, chunk_size",
    "C": "batch, seqlen, ngroups, dstate",
    "states": "batch, nchunks, nheads, headdim, dstate",
    "seq_idx": "batch, seqlen",
}
_SIZES_FROM = "batch, seqlen, nheads and headdim are x's, ngroups and dstate C's, chunk_size is dt's"


def checked(given: Mapping[str, object]) -> dict[str, Tensor]:
    """What is given, if all are tensors on one GPU and want no gradient. Raises TensorError otherwise."""
    tensors: dict[str, Tensor] = {}
    for name, one in given.items():
        if not isinstance(one, Tensor):
            raise TensorError(f"{name} must be a torch.Tensor, got {type(one).__name__}")
        tensors[name] = one
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
    return tensors


def problem_of(tensors: Mapping[str, Tensor]) -> ChunkScanProblem:
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


def metas_of(tensors: Mapping[str, Tensor], problem: ChunkScanProblem) -> dict[str, TensorMeta]:
    """The problem's tensors with the strides that these have; `out` has x's shape, contiguous, if it is not given.

    Raises TensorError for a shape, dtype or stride that the kernel cannot take, and if out overlaps itself or an input.
    """
    metas = tensors_of(problem)
    for name, tensor in tensors.items():
        meta, dtype = metas[name.lower()], dtype_name(tensor)
        if tensor.shape != meta.shape:
            axes = _AXES.get(name, "nheads" if problem.d_form == "head" else "nheads, headdim")
            raise TensorError(f"{name} must be ({axes}) = {meta.shape}, got {tuple(tensor.shape)}; {_SIZES_FROM}")
        if dtype != meta.dtype:
            like_x = ", x's dtype" if name in ("C", "z", "out") else ""
            raise TensorError(f"{name} must be {meta.dtype}{like_x}, got {dtype}")
        metas[name.lower()] = _with_strides(name, meta, tensor.stride())
        _check_offsets(name, metas[name.lower()], problem.chunk_size)
    if "out" in tensors:
        _check_out(tensors)
    return metas


def _with_strides(name: str, meta: TensorMeta, given: tuple[int, ...]) -> TensorMeta:
    """A tensor's meta with its strides; those of dimensions of size 1 do not matter, and are as if contiguous."""
    contiguous = meta.stride
    strides = tuple(of if size == 1 else stride for size, stride, of in zip(meta.shape, given, contiguous, strict=True))
    if strides == contiguous:
        return meta
    remedy = "write to such a one and copy it" if name == "out" else f"pass {name}.contiguous()"
    if name.lower() not in _STRIDED:
        raise TensorError(f"{name} must be contiguous, got strides {given}: {remedy}")
    if strides[-1] != 1:
        raise TensorError(f"{name}'s last dimension must be contiguous, got strides {given}: {remedy}")
    return replace(meta, strides=strides)


def _check_offsets(name: str, meta: TensorMeta, chunk_size: int) -> None:
    """Raises TensorError if the tokens of one chunk lie too far apart for 32-bit offsets."""
    if name.lower() in _STRIDED and chunk_size * meta.stride[1] > OFFSET_MAX:
        raise TensorError(
            f"{name}'s tokens are {meta.stride[1]} elements apart, but a chunk of {chunk_size} may span at most "
            f"{OFFSET_MAX}: pass {name}.contiguous()"
        )


def _check_out(tensors: Mapping[str, Tensor]) -> None:
    out = tensors["out"]
    span = 1
    for stride, size in sorted(zip(out.stride(), out.shape, strict=True)):
        if size > 1 and stride < span:
            raise TensorError(f"out overlaps itself, got strides {out.stride()}: pass one with room for each element")
        span += stride * (size - 1)
    for name, tensor in tensors.items():
        if name != "out" and share_memory(tensor, out):
            raise TensorError(f"out shares memory with {name}, which is read while out is written: pass another out")


def share_memory(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors on one device may share a byte: rows of one buffer that lie side by side do not."""
    first, second = sorted((one, other), key=Tensor.data_ptr)
    apart = second.data_ptr() - first.data_ptr()
    if extent_bytes(first) <= apart:
        return False
    row_bytes, of_second = (
        tensor.stride(1) * tensor.element_size() if tensor.ndim == 4 else 0 for tensor in (one, other)
    )
    in_rows = all(tensor.ndim == 4 and _steps(tensor, row_bytes) for tensor in (one, other))
    if not in_rows or row_bytes != of_second:
        return True
    first_bytes, second_bytes = extent_bytes(first[0, 0]), extent_bytes(second[0, 0])
    return not first_bytes <= apart % row_bytes <= row_bytes - second_bytes


def _steps(tensor: Tensor, row_bytes: int) -> bool:
    """Whether every token of every batch begins a whole number of rows from the first."""
    return row_bytes > 0 and (tensor.shape[0] == 1 or tensor.stride(0) * tensor.element_size() % row_bytes == 0)


def extent_bytes(tensor: Tensor) -> int:
    """Bytes from a tensor's first element to the end of its last; it has at least one."""
    return TensorMeta(tuple(tensor.shape), dtype_name(tensor), strides=tensor.stride()).extent * tensor.element_size()


def unsafe(tensors: Mapping[str, Tensor], metas: Mapping[str, TensorMeta], arch: str | None) -> str:
    """Why ptxas 12.8, which Triton 3.6 has, may miscompile `grouped` for these tensors; empty if it does not.

    `arch`: None if they are on the CPU, interpreted. Then descriptors still need aligned addresses.
    """
    if arch and metas["x"].shape[-1] <= NARROW_MAX:
        return f"{MISCOMPILES} for a headdim of at most {NARROW_MAX}"
    odd_stride = bool(launches.not_described(metas))
    addresses = [tensors[name].data_ptr() for name in launches.DESCRIBED if name in tensors]
    odd_address = any(address % launches.DESCRIPTOR_ALIGNMENT for address in addresses)
    if odd_address or (odd_stride and arch):
        named = "x, states, z or out"
        return f"{MISCOMPILES} through pointers, and a stride or an address of {named} is not a multiple of 16 bytes"
    return ""


def miscompiled_shape(config: Config) -> bool:
    """Whether ptxas 12.8 is known to miscompile this shape, with wgmma, unless x is float32 (docs/story.md)."""
    numbers = Numbers.of(config)
    shape = (config.variant, numbers.n, numbers.k, numbers.dstate, numbers.num_stages)
    return shape == (SPLIT, 32, 64, 64, 1) and numbers.m >= 64 and numbers.num_warps >= 4


def _interpreted() -> bool:
    """Whether Triton interprets kernels on the CPU (TRITON_INTERPRET=1)."""
    return bool(knobs.runtime.interpret)
