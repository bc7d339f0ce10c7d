"""Finds writes where a launch must not write: beside its output, and to its inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from ssdprof.profiling.measuring.check import bit_words
from ssdprof.profiling.runs.model import Finding

ALIGNMENT_BYTES = 256
"""What CUDA aligns an allocation to: an output behind a guard keeps it, and compiles as one without does."""
PATTERN = 0xA5
"""Byte that fills the guards: no float of such bytes is one that kernels write on purpose, as 0 and NaN are."""
_LANES = (1 << 14) - 1
"""Words of a row; odd, so that what repeats with a power of two does not stay in its column."""


class GuardedOutput:
    """An output with a guard zone before it and another after it, in one allocation.

    `tensor` is the output, contiguous, of the given shape and floating dtype. Each zone has `guard_bytes`, rounded up
    to ALIGNMENT_BYTES, and the one after begins at the byte after the output's last. A write beyond them is not seen.
    """

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, device: str | torch.device, guard_bytes: int) -> None:
        start_bytes = -(-guard_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        end_bytes = start_bytes + math.prod(shape) * dtype.itemsize
        memory = torch.full((end_bytes + start_bytes,), PATTERN, dtype=torch.uint8, device=device)
        self._before, self._after = memory[:start_bytes], memory[end_bytes:]
        self.tensor = memory[start_bytes:end_bytes].view(dtype).view(tuple(shape))

    def poison(self) -> None:
        """Fills the output with NaN, which an element that is never written keeps."""
        self.tensor.fill_(math.nan)

    def damage(self) -> Finding | None:
        """What was written outside the output since the last call, None where nothing was. Restores the guards."""
        # As elements: both zones are whole numbers of any dtype's.
        before, after = ((zone != PATTERN).view(-1, self.tensor.element_size()) for zone in (self._before, self._after))
        if not torch.stack([before.any(), after.any()]).any():
            return None
        places = []
        for written, side in ((before.any(dim=1).flip(0), "before its beginning"), (after.any(dim=1), "after its end")):
            distances = written.nonzero().flatten()
            if len(distances):
                elements = _elements(len(distances))
                places.append(f"{elements} {side}, the nearest {_elements(int(distances[0]) + 1)} away")
        self._before.fill_(PATTERN)
        self._after.fill_(PATTERN)
        return Finding(
            "outside",
            f"wrote outside its output: {' and '.join(places)} (an element is {self.tensor.element_size()} bytes): "
            "a store's mask or offset is wrong",
        )


class Fingerprints:
    """Tells which of some tensors have changed since, by sums of the bits of each.

    A tensor is taken as rows of _LANES 64-bit words. What is kept is the sum of every row and of every column, mod
    2^64, and the words and bytes after the last whole row as they are. So a change is always seen where some row or
    some column has exactly one changed word, any change of one element of up to 8 bytes among them. Any other is seen
    too, but where its sums vanish in all rows and all columns at once: where, say, two words at opposite corners of a
    rectangle grow by what those at the other two lose, or four words at its corners all change their highest bit.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Of one tensor at least, of any dtype, all on one device."""
        self._known = {name: (tensor, _sums(tensor)) for name, tensor in tensors.items()}

    def changed(self) -> tuple[str, ...]:
        """The names of the tensors whose bits are not what they were at the beginning, in the order given."""
        differ = torch.stack([(_sums(tensor) != known).any() for tensor, known in self._known.values()]).tolist()
        return tuple(name for name, is_other in zip(self._known, differ, strict=True) if is_other)


def _sums(tensor: torch.Tensor) -> torch.Tensor:
    """The sums of its bits as `Fingerprints` keeps them, int64: torch sums 64-bit integers without a copy of them."""
    words, rest_bytes = bit_words(tensor, torch.int64)
    whole = len(words) // _LANES * _LANES
    rows = words[:whole].view(-1, _LANES)
    return torch.cat([rows.sum(dim=0), rows.sum(dim=1), words[whole:], rest_bytes.to(torch.int64)])


def _elements(count: int) -> str:
    return f"{count} element" if count == 1 else f"{count} elements"
