"""Finds writes to memory that a launch must not write, beside its output and its inputs, and bits that differ."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch

from ssdprof.kernels.launch import PATTERN, TensorMeta, pattern
from ssdprof.profiling.measuring.amounts import PIECE_ELEMENTS
from ssdprof.profiling.runs.measured import Finding

ALIGNMENT_BYTES = 256
"""CUDA's alignment of an allocation: an output behind a guard keeps it, and so compiles as it would without one."""
FINITE_POISON_SHARE = 0.71
"""Of the largest number of a dtype: `finite_poison`."""
_LANES = (1 << 14) - 1
"""Words per row; odd, so a pattern that repeats with a power of two does not stay in one column."""


class GuardedOutput:
    """Memory for the tensors of one storage, with a guard zone before it and another after it, in one allocation.

    `tensors` are views by name, with the shapes, strides and dtypes in `metas`. Each zone has `guard_bytes`, rounded up
    to ALIGNMENT_BYTES; the second begins right after the storage's last byte. Gaps between the tensors are guarded too.
    A write beyond the zones goes unnoticed.
    """

    def __init__(self, metas: Mapping[str, TensorMeta], device: str | torch.device, guard_bytes: int) -> None:
        self._metas = metas
        dtypes = {name: getattr(torch, meta.dtype) for name, meta in metas.items()}
        start_bytes = -(-guard_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        end_bytes = start_bytes + max(meta.extent * dtypes[name].itemsize for name, meta in metas.items())
        self._element_bytes = max(dtype.itemsize for dtype in dtypes.values())
        memory = torch.full((end_bytes + start_bytes,), PATTERN, dtype=torch.uint8, device=device)
        self._before, self._storage, self._after = memory.tensor_split((start_bytes, end_bytes))
        self.tensors = {name: _view(memory, start_bytes, meta, dtypes[name]) for name, meta in metas.items()}
        self._gaps = self._gaps_of(memory, start_bytes)

    def poison(self, may_be_nan: Collection[str] = (), filling: float = math.nan) -> None:
        """Fills the out tensors with what stays in elements that are never written: floats with `filling`.

        Integers get bytes of PATTERN; floats that `may_be_nan` where they are correct get `finite_poison`.
        """
        for name, meta in self._metas.items():
            if meta.role == "out":
                tensor = self.tensors[name]
                if tensor.is_floating_point():
                    tensor.fill_(finite_poison(tensor.dtype) if name in may_be_nan else filling)
                else:
                    tensor.copy_(pattern(tensor))

    def damage(self) -> Finding | None:
        """What was written outside the tensors since the last call; None if nothing. Restores the guards."""
        # As elements: both zones are whole numbers of elements of any dtype.
        before, after = ((zone != PATTERN).view(-1, self._element_bytes) for zone in (self._before, self._after))
        between = None if self._gaps is None else (self._storage != PATTERN) & self._gaps
        written = [before.any(), after.any(), *([] if between is None else [between.any()])]
        if not torch.stack(written).any():
            return None
        places = []
        for zone, side in ((before.any(dim=1).flip(0), "before its beginning"), (after.any(dim=1), "after its end")):
            distances = zone.nonzero().flatten()
            if len(distances):
                elements = _elements(len(distances))
                places.append(f"{elements} {side}, the nearest {_elements(int(distances[0]) + 1)} away")
        if between is not None and between.any():
            places.append(f"{int(between.sum())} bytes between its rows")
            self._storage[between] = PATTERN
        self._before.fill_(PATTERN)
        self._after.fill_(PATTERN)
        return Finding(
            "outside",
            f"wrote outside its output: {' and '.join(places)} (an element is {self._element_bytes} bytes): "
            "a store's mask or offset is wrong",
        )

    def _gaps_of(self, memory: torch.Tensor, start_bytes: int) -> torch.Tensor | None:
        """For each byte of the storage, whether it belongs to no tensor; None if all belong to one."""
        if len(self._metas) == 1 and next(iter(self.tensors.values())).is_contiguous() and self._storage.numel():
            return None
        held = torch.zeros_like(memory)
        for name, meta in self._metas.items():
            marked = _view(held, start_bytes, meta, self.tensors[name].dtype)
            marked.copy_(pattern(marked))
        gaps = held[start_bytes : start_bytes + self._storage.numel()] != PATTERN
        return gaps if gaps.any() else None


def finite_poison(dtype: torch.dtype) -> float:
    """A large number that kernels do not write on purpose, for outputs in which NaN may be correct."""
    return torch.tensor(FINITE_POISON_SHARE * torch.finfo(dtype).max, dtype=torch.float64).to(dtype).item()


def _view(memory: torch.Tensor, start_bytes: int, meta: TensorMeta, dtype: torch.dtype) -> torch.Tensor:
    whole = memory[start_bytes : start_bytes + meta.extent * dtype.itemsize].view(dtype)
    return whole.as_strided(meta.shape, meta.stride, whole.storage_offset() + meta.offset)


class Fingerprints:
    """Says which of some tensors have changed since it was made, by sums of the bits of each.

    Treats a tensor as rows of _LANES 64-bit words. It keeps the sum of every row and of every column, mod 2^64, and the
    words and bytes after the last whole row as they are. So it always sees a change if some row or column has exactly
    one changed word, which includes any change of one element of up to 8 bytes. It sees any other change too, unless
    the sums cancel in all rows and all columns at once: for example, if two words at opposite corners of a rectangle
    grow by what the words at the other two lose, or if four words at its corners all change their highest bit.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Takes at least one tensor, of any dtype, all on one device."""
        self._known = {name: (tensor, _sums(tensor)) for name, tensor in tensors.items()}

    def changed(self) -> tuple[str, ...]:
        """The names of the tensors whose bits have changed since the beginning, in the order given."""
        differ = torch.stack([(_sums(tensor) != known).any() for tensor, known in self._known.values()]).tolist()
        return tuple(name for name, has_changed in zip(self._known, differ, strict=True) if has_changed)


def _sums(tensor: torch.Tensor) -> torch.Tensor:
    """The sums of its bits that `Fingerprints` keeps, int64: torch sums 64-bit integers without copying them."""
    words, rest_bytes = bit_words(tensor)
    whole = len(words) // _LANES * _LANES
    rows = words[:whole].view(-1, _LANES)
    return torch.cat([rows.sum(dim=0), rows.sum(dim=1), words[whole:], rest_bytes.to(torch.int64)])


def _elements(count: int) -> str:
    return f"{count} element" if count == 1 else f"{count} elements"


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors of the same shape and dtype have the same bits: NaN equals itself, and 0 differs from -0."""
    differ = []
    for ours, theirs in zip(bit_words(one), bit_words(other), strict=True):
        pairs = zip(ours.split(PIECE_ELEMENTS), theirs.split(PIECE_ELEMENTS), strict=True)
        differ += [(our_piece != their_piece).any() for our_piece, their_piece in pairs]
    return not torch.stack(differ).any()


def bit_words(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The bits of a tensor as whole words of 64 bits, int64, and the bytes left over, uint8.

    Does not copy a contiguous tensor that begins at a whole word.
    """
    flat = tensor.contiguous().flatten()
    if flat.storage_offset() * flat.element_size() % 8:
        flat = flat.clone()
    in_bytes = flat.view(torch.uint8)
    whole_bytes = in_bytes.numel() // 8 * 8
    return in_bytes[:whole_bytes].view(torch.int64), in_bytes[whole_bytes:]
