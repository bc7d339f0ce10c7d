"""Whether what is kept of a launch fits together; no torch, no triton."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from ssdprof.kernels.captured.model import Argument, CapturedLaunch, DescriptorArg, KeptStorage, KeptTensor, TensorArg
from ssdprof.kernels.launch import DTYPE_BYTES, TensorMeta


def digests(launch: CapturedLaunch) -> Iterator[str]:
    """The names of all blobs of a launch."""
    for storage in launch.storages:
        yield from (digest for digest in (storage.before, storage.after, storage.written) if digest)


def meta(tensor: KeptTensor) -> TensorMeta:
    """The tensor as launches elsewhere have it; it names its storage by the number."""
    name = str(tensor.storage)
    return TensorMeta(tensor.shape, tensor.dtype, tensor.role, tensor.strides, name, tensor.offset)


def extent_bytes(tensor: KeptTensor) -> int:
    """Bytes of the storage up to the tensor's last element; 0 if it has none."""
    whole = meta(tensor)
    return whole.extent * DTYPE_BYTES[tensor.dtype] if whole.numel else 0


def check_launch(launch: CapturedLaunch, blobs: Mapping[str, int]) -> None:
    """Raises ValueError, in one line, if parts of a launch contradict each other; `blobs`: sizes in bytes by digest."""
    for number, storage in enumerate(launch.storages):
        _check_storage(storage, f"storage {number}", blobs)
    for number, tensor in enumerate(launch.tensors):
        _check_tensor(tensor, f"tensor {number}", launch.storages)
    names = set(launch.parameters)
    parts = {
        "args": launch.args, "constexprs": launch.constexprs, "atomics": launch.float_atomics, "spreads": launch.spreads
    }  # fmt: skip
    for what, given in parts.items():
        if unknown := [name for name in given if name not in names]:
            raise ValueError(f"{unknown[0]} of {what} is no parameter of {launch.name}")
    if odd := [name for name, value in launch.spreads.items() if not 0.0 <= value < math.inf]:
        raise ValueError(f"the spread of {odd[0]} must be a finite number that is not negative")
    for name, value in launch.args.items():
        _check_argument(value, name, len(launch.tensors))
    for grid in (launch.grid, *(grid for _, grid in launch.grids)):
        if not 1 <= len(grid) <= 3 or min(grid) < 0:
            raise ValueError(f"grid {grid} must be one to three numbers that are not negative")
    sources = launch.sources
    functions = (sources.kernel, sources.grid or sources.kernel, *(function for _, function in sources.heuristics))
    if absent := [function.module for function in functions if function.module not in sources.modules]:
        raise ValueError(f"the text of module {absent[0]} is not there")


def _check_storage(storage: KeptStorage, name: str, blobs: Mapping[str, int]) -> None:
    bits_bytes = -(-storage.size_bytes // 8)
    sizes = {"before": storage.size_bytes, "after": storage.size_bytes, "written": bits_bytes}
    for state, size in sizes.items():
        digest = getattr(storage, state)
        if not digest:
            continue
        if not re.fullmatch("[0-9a-f]{64}", digest) or digest not in blobs:
            raise ValueError(f"the bytes of {name} {state} are not there")
        if blobs[digest] != size:
            raise ValueError(f"{name} {state} must have {size} bytes, got {blobs[digest]}")
    if storage.size_bytes < 0:
        raise ValueError(f"{name} must not have {storage.size_bytes} bytes")


def _check_tensor(tensor: KeptTensor, name: str, storages: tuple[KeptStorage, ...]) -> None:
    if tensor.dtype not in DTYPE_BYTES:
        raise ValueError(f"{name} has dtype {tensor.dtype}, which must be one of {', '.join(DTYPE_BYTES)}")
    if len(tensor.shape) != len(tensor.strides):
        raise ValueError(f"{name} has {len(tensor.shape)} dimensions and {len(tensor.strides)} strides")
    if min((*tensor.shape, *tensor.strides, tensor.offset)) < 0:
        raise ValueError(f"{name} must have no negative size, stride or offset")
    if not 0 <= tensor.storage < len(storages):
        raise ValueError(f"{name} lies in storage {tensor.storage}, but there are {len(storages)}")
    if (needed := extent_bytes(tensor)) > (size := storages[tensor.storage].size_bytes):
        raise ValueError(f"{name} needs {needed} bytes of storage {tensor.storage}, which has {size}")


def _check_argument(value: Argument, name: str, tensors: int) -> None:
    if isinstance(value, tuple):
        for item in value:
            _check_argument(item, name, tensors)
    elif isinstance(value, TensorArg | DescriptorArg):
        if not 0 <= value.index < tensors:
            raise ValueError(f"{name} is tensor {value.index}, but there are {tensors}")
        if isinstance(value, DescriptorArg) and not len(value.shape) == len(value.strides) == len(value.block):
            raise ValueError(f"{name} is a descriptor whose shape, strides and block differ in length")
