"""The memory of a launch's tensors: its bytes, which of them tensors cover, copies of them, and what a launch wrote."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ssdprof.kernels.captured.live.values import CannotKeep

CHUNK_BYTES = 1 << 26
"""How much of a storage is compared or copied in one go."""
ALIGNED_BYTES = 256
"""A part of a storage begins at a multiple of this, so that Triton sees addresses as divisible as they were."""
ALL_ONES, ALL_ZEROS = 0xFF, 0x00
"""Two fillings that differ in every bit: what has both of them after two launches was not written. The first is NaN in
every floating-point format."""
_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Memory that tensors of a launch are in: `data` is its bytes, on its device; `address` where it begins."""

    address: int
    data: torch.Tensor

    @property
    def size_bytes(self) -> int:
        """Number of bytes."""
        return self.data.numel()

    def chunks(self) -> Iterator[slice]:
        """The region in parts that are small enough to be worked on beside it."""
        for first in range(0, self.size_bytes, CHUNK_BYTES):
            yield slice(first, min(first + CHUNK_BYTES, self.size_bytes))


@dataclass(frozen=True, slots=True)
class Regions:
    """All memory of a launch. `of`: for each tensor its region's number and its offset there, in elements."""

    regions: tuple[Region, ...]
    of: tuple[tuple[int, int], ...]
    cut_bytes: int = 0
    """Bytes of the storages that no region has, since no tensor reaches them."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all regions."""
        return sum(region.size_bytes for region in self.regions)


@dataclass(slots=True)
class _Span:
    first: int
    end: int
    tensor: torch.Tensor
    members: list[int] = field(default_factory=list)


def regions_of(tensors: Sequence[torch.Tensor], *, whole: bool = True) -> Regions:
    """The storages of tensors; without `whole`, of each just the bytes from its first tensor's to its last one's.

    Raises CannotKeep for tensors on several devices, and for storages that overlap in part.
    """
    devices = sorted({str(tensor.device) for tensor in tensors})
    if len(devices) > 1:
        raise CannotKeep(f"its tensors are on {' and '.join(devices)}, only launches with all on one can be kept")
    spans: list[_Span] = []
    of: dict[int, tuple[int, int]] = {}
    empty = [index for index, tensor in enumerate(tensors) if not tensor.numel()]
    for index in sorted(set(range(len(tensors))) - set(empty), key=lambda one: _extent(tensors[one], whole)):
        first, end = _extent(tensors[index], whole)
        if not spans or first >= spans[-1].end:
            spans.append(_Span(first, end, tensors[index]))
        elif end > spans[-1].end:
            if whole or _storage(tensors[index]) != _storage(spans[-1].tensor):
                raise CannotKeep("two of its storages overlap in part, only whole ones can be kept")
            spans[-1].end = end
        spans[-1].members.append(index)
    spans.sort(key=lambda span: min(span.members))  # not by address: launches alike then number them alike
    for number, span in enumerate(spans):
        for index in span.members:
            offset, rest = divmod(tensors[index].data_ptr() - span.first, tensors[index].element_size())
            if rest:
                raise CannotKeep("a tensor begins inside an element of its storage, only aligned ones can be kept")
            of[index] = (number, offset)
    regions = [Region(span.first, _bytes(span)) for span in spans]
    for index in empty:  # a region of no bytes for each
        of[index] = (len(regions), 0)
        regions.append(Region(0, torch.empty(0, dtype=torch.uint8, device=tensors[index].device)))
    storages = {_storage(tensor): tensor.untyped_storage().nbytes() for tensor in tensors if tensor.numel()}
    cut = sum(storages.values()) - sum(span.end - span.first for span in spans) if not whole else 0
    return Regions(tuple(regions), tuple(of[index] for index in range(len(tensors))), max(cut, 0))


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _extent(tensor: torch.Tensor, whole: bool) -> tuple[int, int]:
    storage, base = tensor.untyped_storage(), _storage(tensor)
    if whole:
        return base, base + storage.nbytes()
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    first = tensor.data_ptr() - base
    return base + first // ALIGNED_BYTES * ALIGNED_BYTES, tensor.data_ptr() + (last + 1) * tensor.element_size()


def _bytes(span: _Span) -> torch.Tensor:
    empty = torch.empty(0, dtype=torch.uint8, device=span.tensor.device)
    storage = span.tensor.untyped_storage()
    return empty.set_(storage, span.first - storage.data_ptr(), (span.end - span.first,), (1,))


def view(data: torch.Tensor, tensor: torch.Tensor, offset: int) -> torch.Tensor:
    """The elements of bytes `data` where `tensor` lies in its region, as whole numbers of the same width, each once."""
    shape = [1 if stride == 0 else size for size, stride in zip(tensor.shape, tensor.stride(), strict=True)]
    empty = torch.empty(0, dtype=_WHOLE[tensor.element_size()], device=data.device)
    first = data.storage_offset() // tensor.element_size()
    return empty.set_(data.untyped_storage(), first + offset, shape, tensor.stride())


def near(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether tensors may share bytes: one begins before the other ends."""
    if not one.numel() or not other.numel():
        return False
    (first, end), (first_other, end_other) = _extent(one, False), _extent(other, False)
    return first < end_other and first_other < end


def mask_of(region: Region, tensors: Iterable[tuple[torch.Tensor, int]], device: torch.device) -> torch.Tensor:
    """Bytes on `device`, as many as the region has: all ones where one of the (tensor, offset) lies, else zero."""
    mask = torch.zeros(region.size_bytes, dtype=torch.uint8, device=device)
    for tensor, offset in tensors:
        if tensor.numel():
            elements = view(mask, tensor, offset)
            elements.fill_(ALL_ONES if elements.dtype == torch.uint8 else -1)
    return mask


def copy_of(region: Region, device: torch.device) -> torch.Tensor:
    """The region's bytes, copied to `device`, or to the host if there is no room for them."""
    try:
        copy = torch.empty(region.size_bytes, dtype=torch.uint8, device=device)
    except torch.OutOfMemoryError:
        copy = torch.empty(region.size_bytes, dtype=torch.uint8, device="cpu")
    copy_into(copy, region.data)
    return copy


def copy_into(target: torch.Tensor, source: torch.Tensor) -> None:
    """Copies bytes; between a GPU and the host in chunks through pinned memory, which is several times as fast."""
    on_gpu = [one.device for one in (source, target) if one.device.type == "cuda"]
    if len(on_gpu) != 1 or source.numel() <= CHUNK_BYTES // 16:
        target.copy_(source)
        return
    halves = torch.empty((2, CHUNK_BYTES), dtype=torch.uint8, device="cpu", pin_memory=True)
    with torch.cuda.device(on_gpu[0]):
        copied = [torch.cuda.Event() for _ in halves]  # type: ignore[no-untyped-call]
        through(halves, copied, target, source, to_host=source.device.type == "cuda")


def through(
    halves: torch.Tensor, copied: Sequence[Any], target: torch.Tensor, source: torch.Tensor, *, to_host: bool
) -> None:
    """Copies by the two rows of `halves`: while the GPU copies one, the host copies the other.

    `copied`: an event for each, recorded when its copy on the GPU is queued.
    """
    waiting: list[tuple[int, slice]] = []

    def finish() -> None:
        which, part = waiting.pop(0)
        copied[which].synchronize()
        if to_host:
            target[part].copy_(halves[which, : part.stop - part.start])

    for number, first in enumerate(range(0, source.numel(), halves.shape[1])):
        if len(waiting) == len(halves):
            finish()
        which, part = number % len(halves), slice(first, min(first + halves.shape[1], source.numel()))
        half = halves[which, : part.stop - part.start]
        if to_host:
            half.copy_(source[part], non_blocking=True)
        else:
            half.copy_(source[part])
            target[part].copy_(half, non_blocking=True)
        copied[which].record()
        waiting.append((which, part))
    while waiting:
        finish()


def fill(region: Region, mask: torch.Tensor, value: int) -> None:
    """Sets the region's bytes to `value` where the mask has ones."""
    for part in region.chunks():
        where = mask[part].to(region.data.device) != 0
        region.data[part].masked_fill_(where, value)


def written(
    region: Region, before: torch.Tensor, poisoned: torch.Tensor, after_ones: torch.Tensor, certain: torch.Tensor
) -> tuple[torch.Tensor, bool]:
    """Which bytes a launch wrote (one for each byte, on the masks' device), and whether two launches agree on them.

    The region is as a launch left it that found zeros where `poisoned` has ones, `after_ones` as one left it that found
    ones there. `certain`: bytes that count as written in any case. What has changed outside both was written too.
    `after_ones` gets the bytes of `before` where nothing was written.
    """
    mask = torch.empty(region.size_bytes, dtype=torch.bool, device=before.device)
    agree = True
    for part in region.chunks():
        now, ones = region.data[part].to(before.device), after_ones[part]
        poison = poisoned[part] != 0
        kept = poison & (ones == ALL_ONES) & (now == ALL_ZEROS)
        mask[part] = torch.where(poison, ~kept, (certain[part] != 0) | (ones != before[part]))
        agree = agree and bool(((ones == now) | kept).all())
        after_ones[part] = torch.where(kept, before[part], ones)
    return mask, agree


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether bytes on one or two devices are equal."""
    return all(bool(torch.equal(a[part], b[part].to(a.device))) for part in Region(0, a).chunks())


def spread(one: torch.Tensor, other: torch.Tensor, tensor: torch.Tensor, offset: int) -> float:
    """How far apart the floats of a tensor are in two states of its region's bytes: |one − other| / |one|, as vectors.

    What is not a finite number in either is left out; 0 if the norm is.
    """
    ours, theirs = (view(data, tensor, offset).view(tensor.dtype) for data in (one, other))
    axis = max(range(ours.dim()), key=lambda axis: ours.shape[axis], default=0)
    ours, theirs = (numbers if numbers.dim() else numbers.reshape(1) for numbers in (ours, theirs))
    step = max(1, CHUNK_BYTES // 8 * ours.shape[axis] // ours.numel())
    apart = whole = 0.0
    for our_piece, their_piece in zip(torch.split(ours, step, axis), torch.split(theirs, step, axis), strict=True):
        numbers = our_piece.double()
        difference = numbers - their_piece.to(numbers.device).double()
        for piece in (difference, numbers):
            piece.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        apart += float(difference.square().sum())
        whole += float(numbers.square().sum())
    return math.sqrt(apart / whole) if whole else 0.0


def host_bytes(data: torch.Tensor) -> memoryview:
    """The bytes in the host's memory: a copy if they are on a GPU."""
    if data.device.type != "cpu":
        data = copy_of(Region(0, data), torch.device("cpu"))
    return memoryview(data.numpy().data) if data.numel() else memoryview(b"")


def free_bytes(device: torch.device) -> int:
    """Memory of a GPU that can still be had, half of what torch holds unused among it; on the CPU, as if all."""
    if device.type != "cuda":
        return 1 << 62
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + unused // 2
