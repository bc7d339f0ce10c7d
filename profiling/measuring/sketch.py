"""A sketch of a launch's outputs: so few numbers that a run keeps them, whose distances are those of the outputs.

A count sketch (Charikar, Chen and Farach-Colton, 2002): each element is added to or taken from one of BUCKETS sums, by
a hash of its place. The distance of two sketches has the mean of the outputs' own distance, and is off by about
1 / √(2 · BUCKETS), 9 %. Equal outputs have equal sketches: all sums are taken in one order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from ssdprof.profiling.measuring.compare import SPECIAL_ABOVE

BUCKETS = 64
DIGITS = 6
"""Significant digits that are kept of each sum."""
PIECE_ROWS = 1 << 15
"""Rows of BUCKETS elements that are hashed at once: some 100 MB of device memory."""
_MIX = (-7046029254386353131, -4658895280553007687)
"""Odd factors of 64 bits (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014)."""


def sketch(outputs: Mapping[str, torch.Tensor], norms: Mapping[str, float]) -> tuple[float, ...]:
    """BUCKETS numbers for all outputs together, each output over its reference's norm so that they weigh alike.

    At least one output, all on one device, of any real dtypes. Floats that are special (see `compare`) count as 0.
    """
    total = torch.zeros(BUCKETS, dtype=torch.float64, device=next(iter(outputs.values())).device)
    first_row = 0
    for name, output in sorted(outputs.items()):
        for piece in _pieces(output):
            total += _sums(piece, first_row) / (norms[name] or 1.0)
            first_row += len(piece)
    return tuple(float(f"{value:.{DIGITS - 1}e}") for value in total.tolist())


def _pieces(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Its elements as rows of BUCKETS in pieces, float64; the last row is filled up with zeros."""
    for flat in torch.split(tensor.reshape(-1), PIECE_ROWS * BUCKETS):
        wide = flat.double()
        if tensor.is_floating_point():
            wide = wide.masked_fill(~(wide.abs() <= SPECIAL_ABOVE), 0.0)
        rows = wide.new_zeros(-(-len(wide) // BUCKETS), BUCKETS)
        rows.view(-1)[: len(wide)] = wide
        yield rows


def _sums(rows: torch.Tensor, first_row: int) -> torch.Tensor:
    """The sums over rows: the elements of each are turned by a hash of the row, and signed by one of their place."""
    numbers = torch.arange(first_row, first_row + len(rows), device=rows.device)[:, None]
    lanes = torch.arange(BUCKETS, device=rows.device)
    negative = _hashed(numbers * BUCKETS + lanes) < 0
    signed = torch.where(negative, -rows, rows)
    turned = (lanes + (_hashed(-1 - numbers) >> 32)) % BUCKETS
    return signed.gather(1, turned).sum(dim=0)


def _hashed(numbers: torch.Tensor) -> torch.Tensor:
    """A number of 64 bits for each, int64; products wrap around."""
    for factor in _MIX:
        numbers = (numbers + factor) * factor
        numbers = numbers ^ (numbers >> 29)
    return numbers * _MIX[0]
