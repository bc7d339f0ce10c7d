"""Tensors of captured launches: their storages as bytes, and tensors made of the bytes, shared as in the program."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from ssdprof.kernels.captured.consistency import extent_bytes
from ssdprof.kernels.captured.file import CaptureFileError, Reader
from ssdprof.kernels.captured.model import CapturedLaunch, KeptTensor
from ssdprof.kernels.errors import TensorError
from ssdprof.kernels.launch import DTYPE_BYTES, Role, dtype_name

if TYPE_CHECKING:
    import torch

_PIECE_BYTES = 8 << 20
_INTEGERS = ("int32", "int64", "int16", "uint32", "bool")
_INTEGERS_BYTES = 32 << 20


def memoryview_of(tensor: torch.Tensor) -> memoryview:
    """The bytes of a CPU tensor's whole storage, not copied; it lives as long as they are in use.

    Raises TensorError for a tensor that is elsewhere or has no storage.
    """
    import torch

    if tensor.device.type != "cpu" or tensor.layout is not torch.strided:
        raise TensorError(
            f"the bytes of a tensor on {tensor.device}, {tensor.layout}, cannot be seen: copy it to the CPU"
        )
    whole = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
    return memoryview(whole.numpy().data) if whole.numel() else memoryview(b"")


def kept_tensor(tensor: torch.Tensor, storage: int, role: Role = "in") -> KeptTensor:
    """What is kept of a tensor besides its bytes, which are storage number `storage` of the launch.

    Raises TensorError for one whose elements are not the plain bytes of its storage, or of a dtype that is not kept.
    """
    import torch

    dtype = dtype_name(tensor)
    if dtype not in DTYPE_BYTES:
        raise TensorError(f"a tensor of {dtype} cannot be kept: the dtype must be one of {', '.join(DTYPE_BYTES)}")
    if tensor.layout is not torch.strided or tensor.is_neg() or tensor.is_conj():
        raise TensorError(
            f"a tensor with layout {tensor.layout}, negated or conjugated, cannot be kept: make it contiguous"
        )
    return KeptTensor(storage, dtype, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()), role)


def storage_from(data: bytes | memoryview, device: torch.device | str) -> torch.Tensor:
    """A new tensor of uint8 on `device` with these bytes."""
    import torch

    if not len(data):
        return torch.empty(0, dtype=torch.uint8, device=device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable")  # it is only read
        mapped = torch.frombuffer(data, dtype=torch.uint8)
    return mapped.to(device, copy=True)


def tensor_from(storage: torch.Tensor, kept: KeptTensor) -> torch.Tensor:
    """The tensor that `kept` describes, as a view of a storage such as `storage_from` gives.

    Tensors of the same storage share it. Raises TensorError if the storage is too small or if the dtype is not kept.
    """
    import torch

    if kept.dtype not in DTYPE_BYTES:
        raise TensorError(f"a tensor of {kept.dtype} cannot be made: the dtype must be one of {', '.join(DTYPE_BYTES)}")
    whole = storage.untyped_storage()
    if (needed := extent_bytes(kept)) > whole.nbytes():
        raise TensorError(f"a tensor of {needed} bytes does not fit into a storage of {whole.nbytes()}")
    empty = torch.empty(0, dtype=getattr(torch, kept.dtype), device=storage.device)
    return empty.set_(whole, kept.offset, kept.shape, kept.strides)


def has_data(launch: CapturedLaunch) -> bool:
    """Whether the bytes of all its tensors were kept."""
    return all(launch.storages[tensor.storage].before for tensor in launch.tensors)


def read_launch_inputs(reader: Reader, launch: CapturedLaunch, device: torch.device | str) -> dict[int, torch.Tensor]:
    """All tensors of a launch by number, as it found them, on `device`; they share storages as in the program.

    Raises CaptureFileError if the bytes of one were not kept or were changed in the file.
    """
    return _read(reader, launch, device, {i: launch.storages[t.storage].before for i, t in enumerate(launch.tensors)})


def read_launch_outputs(reader: Reader, launch: CapturedLaunch, device: torch.device | str) -> dict[int, torch.Tensor]:
    """The tensors that a launch may write, by number, as it left them, on `device`; they share storages.

    Raises CaptureFileError as `read_launch_inputs` does.
    """
    written = [(i, launch.storages[t.storage]) for i, t in enumerate(launch.tensors) if t.role != "in"]
    return _read(reader, launch, device, {i: storage.after or storage.before for i, storage in written})


def _read(
    reader: Reader, launch: CapturedLaunch, device: torch.device | str, blobs: Mapping[int, str]
) -> dict[int, torch.Tensor]:
    if any(not digest for digest in blobs.values()):
        raise CaptureFileError(
            f"the data of {launch.name}, launch {launch.number}, was not kept: capture it with its data"
        )
    storages = {launch.tensors[i].storage: digest for i, digest in blobs.items()}
    made = {number: storage_from(reader.blob(digest), device) for number, digest in storages.items()}
    return {i: tensor_from(made[launch.tensors[i].storage], launch.tensors[i]) for i in blobs}


def written_mask(reader: Reader, launch: CapturedLaunch, index: int, device: torch.device | str) -> torch.Tensor:
    """Whether the launch wrote each element of tensor number `index`, or a byte of it: bool, in the tensor's shape.

    All of them if that was not found out, none if the tensor is only read. Raises CaptureFileError if the file was
    changed.
    """
    import torch

    kept = launch.tensors[index]
    digest = launch.storages[kept.storage].written
    if kept.role == "in" or not digest:
        return torch.full(kept.shape, kept.role != "in", dtype=torch.bool, device=device)
    if not prod(kept.shape):
        return torch.zeros(kept.shape, dtype=torch.bool, device=device)
    size = DTYPE_BYTES[kept.dtype]
    per_byte = unpacked(storage_from(reader.blob(digest), device))
    per_element = per_byte[: per_byte.numel() // size * size].view(-1, size).any(-1)
    return per_element.as_strided(kept.shape, kept.strides, kept.offset).clone()


def unpacked(bits: torch.Tensor) -> torch.Tensor:
    """Bits of a uint8 tensor as bools, eight for each element, the highest first: what `numpy.packbits` packed."""
    import torch

    masks = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=bits.device)
    flags = torch.empty((bits.numel(), 8), dtype=torch.bool, device=bits.device)
    for start in range(0, bits.numel(), _PIECE_BYTES):
        piece = slice(start, start + _PIECE_BYTES)
        torch.ne(bits[piece, None] & masks, 0, out=flags[piece])
    return flags.view(-1)


def integers(reader: Reader, launch: CapturedLaunch, names: Mapping[str, int]) -> dict[str, Any]:
    """What the launch's integer tensors hold, as `Peekable.contents` has it; `names`: each tensor's number.

    Raises CaptureFileError if the file was changed.
    """
    import numpy as np

    found = {}
    for name, index in names.items():
        kept = launch.tensors[index]
        begin, end = kept.offset * DTYPE_BYTES[kept.dtype], extent_bytes(kept)
        digest = launch.storages[kept.storage].before
        if digest and kept.dtype in _INTEGERS and 0 < end - begin <= _INTEGERS_BYTES:
            found[name] = np.frombuffer(reader.blob(digest)[begin:end], kept.dtype).copy()
    return found
