"""Finds writes where a launch must not write: beside its output, and to its inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch.nn.functional import pad

from ssdprof.profiling.check import bit_words
from ssdprof.profiling.model import Finding

ALIGNMENT_BYTES = 256
"""What CUDA aligns an allocation to: an output behind a guard keeps it, and compiles as one without does."""
PATTERN = 0xA5
"""Byte that fills the guards: no float of such bytes is one that kernels write on purpose, as 0 and NaN are."""
_LANES = 1 << 16
_ROWS_AT_ONCE = 1 << 6
"""Rows of _LANES words that are multiplied at a time: 32 MiB of products, which the L2 of an H100 holds."""


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
    """Tells which of some tensors have changed since, by a 64-bit fingerprint of the bits of each.

    The fingerprint is Σ row[i] · lane[j] · word[i, j] mod 2^64 over the tensor as rows of 32-bit words, with odd random
    factors. A change within one aligned word, so of any one element of at most four bytes, always changes it: an odd
    factor times a difference below 2^32 is not 0 mod 2^64. Any other change, of elements that change places too, goes
    unseen with a probability of about 2^-31. Words are 32 bits wide for that: were they 64, a difference in the highest
    bit alone, as where two signs change, would cancel the same in every second word.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Of one tensor at least, of any dtype, all on one device."""
        self._tensors = dict(tensors)
        rows = max(tensor.nbytes for tensor in tensors.values()) // (4 * _LANES) + 2  # the last two may be part empty
        generator = torch.Generator().manual_seed(0)
        factors = torch.empty(_LANES + rows, dtype=torch.int64).random_(generator=generator) | 1
        self._lanes, self._rows = factors.to(next(iter(tensors.values())).device).split([_LANES, rows])
        self._known = self._now()

    def changed(self) -> tuple[str, ...]:
        """The names of the tensors whose bits are not what they were at the beginning, in the order given."""
        same = (self._now() == self._known).tolist()
        return tuple(name for name, is_same in zip(self._tensors, same, strict=True) if not is_same)

    def _now(self) -> torch.Tensor:
        return torch.stack([self._fingerprint(tensor) for tensor in self._tensors.values()])

    def _fingerprint(self, tensor: torch.Tensor) -> torch.Tensor:
        words, rest_bytes = bit_words(tensor, torch.int32)
        full = len(words) // _LANES * _LANES
        rest = torch.cat([words[full:], rest_bytes.to(torch.int32)])
        parts = [
            *words[:full].view(-1, _LANES).split(_ROWS_AT_ONCE),
            pad(rest, (0, -len(rest) % _LANES)).view(-1, _LANES),
        ]
        sums = torch.cat([(part * self._lanes).sum(dim=1) for part in parts])
        fingerprint: torch.Tensor = (sums * self._rows[: len(sums)]).sum()
        return fingerprint


def _elements(count: int) -> str:
    return f"{count} element" if count == 1 else f"{count} elements"
