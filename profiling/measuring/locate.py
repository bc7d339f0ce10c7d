"""Says where an output is wrong: NaN, the last chunk, one tile, a box of rows.

Queues the work in pieces of bounded memory, and fetches the answer from the device once, as each fetch stalls the GPU.

A row, the output's last dimension, is wrong if its error exceeds the row tolerance; if the other rows together still
exceed the tolerance of the whole, each row beyond that one is wrong. An element of a wrong row is wrong if it is off by
more than the row may be, spread evenly over the row's elements: so a wrong row has at least one wrong element, and
rounding, far below the tolerance, makes none. If there is NaN or infinity, only that is located.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from ssdprof.kernels.interface import Axis, Tolerances
from ssdprof.profiling.measuring.check import figure
from ssdprof.profiling.measuring.compare import RowPiece, pieces, row_pieces
from ssdprof.profiling.runs.measured import Finding, FindingCode

MOST = 0.9
"""Beyond this share of wrong rows nearly all are wrong, and their place says little."""
BELOW = 0.999
"""Factor on an element's limit, so float32 rounding of a row's norm does not leave a wrong row without an element."""
_Wrong = tuple[torch.Tensor, torch.Tensor]
"""A flag for each row (the output's leading dimensions), and which elements are wrong in any row."""


@dataclass(frozen=True, slots=True)
class _Extent:
    """The first and last wrong index along an axis of `size`, and within its chunks, if it has any."""

    axis: Axis
    size: int
    first: int
    last: int
    first_in_chunk: int
    last_in_chunk: int

    @property
    def chunk(self) -> int:
        return self.axis.chunk or self.size

    @property
    def in_one_chunk(self) -> bool:
        return self.first // self.chunk == self.last // self.chunk

    @property
    def in_last_of_several_chunks(self) -> bool:
        return self.first // self.chunk == (self.size - 1) // self.chunk > 0

    @property
    def text(self) -> str:
        """Empty if it is the whole axis; for several chunks also the place in each, if that is at most half of it."""
        whole = (self.first, self.last) == (0, self.size - 1)
        half_of_chunks = 2 * (self.last_in_chunk - self.first_in_chunk + 1) <= self.chunk
        outer = "" if whole else _range(self.axis.name, self.first, self.last)
        if self.in_one_chunk or not half_of_chunks:
            return outer
        in_chunks = f"{_range(self.axis.name, self.first_in_chunk, self.last_in_chunk)} of the chunks"
        return f"{outer} ({in_chunks})" if outer else in_chunks


def locate(
    out: torch.Tensor,
    reference: torch.Tensor,
    tolerances: Tolerances,
    norm_rms: float,
    axes: Sequence[Axis],
    tiles: Mapping[str, int],
    *,
    special: bool = False,
) -> Finding:
    """Where a wrong output is wrong, and how far off the worst row is.

    `out` and `reference` have the same shape, of at least two dimensions, named by `axes`; `norm_rms` is `row_norm_rms`
    of the reference. `tiles` gives a tile's size by axis, counted from the start of the chunk in an axis with chunks; a
    tile has one index of every other axis, and all of the last. `special` is that of `row_pieces`. Needs a byte of
    device memory per row.
    """
    compared = partial(row_pieces, out, reference, norm_rms, special=special)
    worst, worst_row, limit = _survey(compared(), tolerances, norm_rms)
    not_finite = None if math.isfinite(worst) else _not_finite(compared(), out)
    wrong = not_finite or _beyond(compared(), out, limit)
    count, rows = int(wrong[0].sum()), wrong[0].numel()
    if count == 0:
        return Finding("everywhere", f"spread over all rows, none of which is off by more than {figure(worst)}")
    box = [_extent(axis, used) for axis, used in zip(axes, _used(*wrong), strict=True)]
    code, whereabouts = _place(box, count / rows, tiles)
    where = ", ".join(extent.text for extent in box if extent.text)
    if not_finite is not None:
        kind = "NaN or infinity missing or out of place" if special else "NaN" if _has_nan(out) else "infinity"
        amount = f"{kind} in {count} {'row' if count == 1 else 'rows'}"
        return Finding("nan", _joined(f"{amount}, {whereabouts}" if whereabouts else amount, where))
    named = []
    for i_axis, size in enumerate(out.shape[:-1]):
        if size > 1:  # torch's own function for the index imports a library, which takes half a second
            named.append(f"{axes[i_axis].name} {worst_row // math.prod(out.shape[i_axis + 1 : -1]) % size}")
    off = ", ".join([*named, f"off by {figure(worst)}"])
    return Finding(code, f"{_joined(whereabouts or share(count, rows), where)}; worst: {off}")


def nan_rows(first: torch.Tensor, again: torch.Tensor) -> tuple[int, int]:
    """In how many rows of an output a launch computed NaN, and in how many elements were left as they were.

    `first`: (rows, row) after a launch into NaN; `again`: after the same into infinity.
    """
    counts = []
    for was, now in zip(pieces(first), pieces(again), strict=True):
        numbers, is_nan = now.float(), was.float().isnan()
        counts.append(torch.stack([(is_nan & flags).any(dim=1).sum() for flags in (numbers.isnan(), numbers.isinf())]))
    computed, left = torch.stack(counts).sum(dim=0).tolist()
    return computed, left


def _survey(compared: Iterator[RowPiece], tolerances: Tolerances, norm_rms: float) -> tuple[float, int, float]:
    """The largest relative error of a row, which row has it (as if flat), and beyond which error a row is wrong."""
    per_piece = []
    first_row = 0
    for piece in compared:
        worst, row = piece.row_error.max(dim=0)
        others = torch.where(piece.row_error > tolerances.row_error, 0.0, piece.error)
        per_piece.append(torch.stack([worst, first_row + row.double(), others.square().sum()]))
        first_row += len(piece.row_error)
    worsts, rows, squared_others = zip(*torch.stack(per_piece).tolist(), strict=True)
    i_piece = worsts.index(max(worsts))
    beyond = sum(squared_others) > first_row * (tolerances.relative_error * norm_rms) ** 2
    return worsts[i_piece], round(rows[i_piece]), tolerances.relative_error if beyond else tolerances.row_error


def _has_nan(out: torch.Tensor) -> bool:
    return bool(torch.stack([piece.float().isnan().any() for piece in pieces(out.flatten(0, -2))]).any())


def _not_finite(compared: Iterator[RowPiece], out: torch.Tensor) -> _Wrong | None:
    """NaN and infinities; None if there are none, so an error was infinite because a square overflowed."""
    bad_pieces = (~piece.difference.isfinite() for piece in compared)
    rows, columns = _wrong([(bad.any(dim=1), bad.any(dim=0)) for bad in bad_pieces], out)
    return (rows, columns) if rows.any() else None


def _beyond(compared: Iterator[RowPiece], out: torch.Tensor, limit: float) -> _Wrong:
    found = []
    for piece in compared:
        is_wrong = piece.row_error > limit
        element_limit = torch.where(is_wrong, BELOW * limit * piece.scale / math.sqrt(out.shape[-1]), math.inf)
        is_within = piece.difference.abs_() <= element_limit.float()[:, None]
        found.append((is_wrong, ~is_within.all(dim=0)))
    return _wrong(found, out)


def _wrong(found: list[tuple[torch.Tensor, torch.Tensor]], out: torch.Tensor) -> _Wrong:
    """The flags of each piece as those of the whole output."""
    rows, columns = zip(*found, strict=True)
    return torch.cat(rows).view(out.shape[:-1]), torch.stack(columns).any(dim=0)


def _used(rows: torch.Tensor, columns: torch.Tensor) -> list[torch.Tensor]:
    """For each axis, which indices have wrong rows; for the last, which elements of a row are wrong."""
    leading = [rows.movedim(i_axis, 0).reshape(size, -1).any(dim=1) for i_axis, size in enumerate(rows.shape)]
    return [*leading, columns]


def _extent(axis: Axis, used: torch.Tensor) -> _Extent:
    indices = used.nonzero().flatten()
    in_chunk = indices % (axis.chunk or len(used))
    ends = torch.stack([indices[0], indices[-1], in_chunk.min(), in_chunk.max()])
    first, last, first_in_chunk, last_in_chunk = ends.tolist()
    return _Extent(axis, len(used), first, last, first_in_chunk, last_in_chunk)


def _place(box: Sequence[_Extent], share: float, tiles: Mapping[str, int]) -> tuple[FindingCode, str]:
    if share > MOST:
        return "everywhere", ""
    if any(extent.in_last_of_several_chunks for extent in box if extent.axis.chunk):
        return "tail", "all in the last chunk"
    if _in_one_tile(box, tiles):
        return "one-tile", "all in one tile"
    return "rows", ""


def _in_one_tile(box: Sequence[_Extent], tiles: Mapping[str, int]) -> bool:
    *leading, columns = box
    for extent in leading:
        tile = tiles.get(extent.axis.name, 1)
        same_tile = extent.first_in_chunk // tile == extent.last_in_chunk // tile
        if not (extent.in_one_chunk and same_tile):
            return False
    tile = tiles.get(columns.axis.name, columns.size)
    return columns.first // tile == columns.last // tile


def _joined(amount: str, where: str) -> str:
    return f"{amount}: {where}" if where else amount


def _range(name: str, first: int, last: int) -> str:
    plural = "" if name[-1:].isdigit() else "s"
    return f"{name} {first}" if first == last else f"{name}{plural} {first} to {last}"


def share(count: int, rows: int) -> str:
    """In words, what share of the rows `count` is."""
    if count == rows:
        return "all rows"
    share_pct = 100 * count / rows
    if share_pct > 99:
        return "more than 99 % of rows"
    return f"{share_pct:.2g} % of rows" if share_pct >= 0.01 else "less than 0.01 % of rows"
