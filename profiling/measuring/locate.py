"""Says where an output is wrong: NaN, the last chunk, one tile, a box of rows, everywhere.

A row, the output's last dimension, is wrong if its error exceeds the row tolerance; if the other rows together still
exceed the tolerance of the whole, each row beyond that one is wrong. An element of a wrong row is wrong if it is off by
more than the row may be, spread evenly over the row's elements: so a wrong row has at least one wrong element, and
rounding, far below the tolerance, makes none. If there is NaN or infinity, only that is located.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from ssdprof.kernels.interface import Axis, Tolerances
from ssdprof.profiling.measuring.check import figure, pieces, row_pieces
from ssdprof.profiling.runs.measured import Finding, FindingCode

MOST = 0.9
"""Beyond this share of wrong rows nearly all are wrong, and their place says little."""
BELOW = 0.999
"""Factor on an element's limit, so float32 rounding of a row's norm does not leave a wrong row without an element."""


@dataclass(frozen=True, slots=True)
class _Survey:
    """A first look: the largest row error and which row has it, and `limit`, the error beyond which a row is wrong.

    Rows are counted over the leading dimensions; errors are relative.
    """

    worst: float
    worst_row: int
    limit: float


@dataclass(frozen=True, slots=True)
class _Wrong:
    """A flag for each row (the output's leading dimensions), and which elements are wrong in any row."""

    rows: torch.Tensor
    columns: torch.Tensor


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
) -> Finding:
    """Where a wrong output is wrong, and how far off the worst row is.

    `out` and `reference` have the same shape, of at least two dimensions, named by `axes`; `norm_rms` is `row_norm_rms`
    of the reference. `tiles` gives a tile's size by axis, counted from the start of the chunk in an axis with chunks; a
    tile has one index of every other axis, and all of the last. Needs a byte of device memory per row.
    """
    survey = _survey(out, reference, tolerances, norm_rms)
    not_finite = None if math.isfinite(survey.worst) else _not_finite(out)
    wrong = not_finite or _beyond(out, reference, norm_rms, survey.limit)
    count, rows = int(wrong.rows.sum()), wrong.rows.numel()
    if count == 0:
        return Finding("everywhere", f"spread over all rows, none of which is off by more than {figure(survey.worst)}")
    box = [_extent(axis, used) for axis, used in zip(axes, _used(wrong), strict=True)]
    code, whereabouts = _place(box, count / rows, tiles)
    where = ", ".join(extent.text for extent in box if extent.text)
    if not_finite is not None:
        kind = "NaN" if torch.stack([piece.isnan().any() for piece in pieces(out.flatten(0, -2))]).any() else "infinity"
        amount = f"{kind} in {count} {'row' if count == 1 else 'rows'}"
        among = [amount, whereabouts] if code in ("tail", "one-tile") else [amount]
        return Finding("nan", _joined(", ".join(among), where))
    amount = whereabouts if code in ("tail", "one-tile") else share(count, rows)
    index = _index(survey.worst_row, out.shape[:-1])
    named = [f"{axis.name} {i}" for axis, i, size in zip(axes, index, out.shape, strict=False) if size > 1]
    worst = ", ".join([*named, f"off by {figure(survey.worst)}"])
    return Finding(code, f"{_joined(amount, where)}; worst: {worst}")


def _index(flat: int, shape: Sequence[int]) -> list[int]:
    """The index along each axis; torch's own function imports a library for it, which takes half a second."""
    index = []
    for size in reversed(shape):
        flat, i = divmod(flat, size)
        index.append(i)
    return index[::-1]


def _survey(out: torch.Tensor, reference: torch.Tensor, tolerances: Tolerances, norm_rms: float) -> _Survey:
    per_piece = []
    first_row = 0
    for piece in row_pieces(out, reference, norm_rms):
        worst, row = piece.row_error.max(dim=0)
        others = torch.where(piece.row_error > tolerances.row_error, 0.0, piece.error)
        per_piece.append(torch.stack([worst, first_row + row.double(), others.square().sum()]))
        first_row += len(piece.row_error)
    worsts, rows, squared_others = zip(*torch.stack(per_piece).tolist(), strict=True)
    i_piece = worsts.index(max(worsts))
    beyond = sum(squared_others) > first_row * (tolerances.relative_error * norm_rms) ** 2
    return _Survey(
        worst=worsts[i_piece],
        worst_row=round(rows[i_piece]),
        limit=tolerances.relative_error if beyond else tolerances.row_error,
    )


def _not_finite(out: torch.Tensor) -> _Wrong | None:
    """NaN and infinities; None if there are none, so an error was infinite because a square overflowed."""
    rows, columns = [], []
    for piece in pieces(out.flatten(0, -2)):
        bad = ~piece.isfinite()
        rows.append(bad.any(dim=1))
        columns.append(bad.any(dim=0))
    wrong = _wrong(rows, columns, out)
    return wrong if wrong.rows.any() else None


def _beyond(out: torch.Tensor, reference: torch.Tensor, norm_rms: float, limit: float) -> _Wrong:
    rows, columns = [], []
    for piece in row_pieces(out, reference, norm_rms):
        is_wrong = piece.row_error > limit
        element_limit = torch.where(is_wrong, BELOW * limit * piece.scale / math.sqrt(out.shape[-1]), math.inf)
        is_within = piece.difference.abs_() <= element_limit.float()[:, None]
        rows.append(is_wrong)
        columns.append(~is_within.all(dim=0))
    return _wrong(rows, columns, out)


def _wrong(rows: list[torch.Tensor], columns: list[torch.Tensor], out: torch.Tensor) -> _Wrong:
    return _Wrong(torch.cat(rows).view(out.shape[:-1]), torch.stack(columns).any(dim=0))


def _used(wrong: _Wrong) -> list[torch.Tensor]:
    """For each axis, which indices have wrong rows; for the last, which elements of a row are wrong."""
    leading = [
        wrong.rows.movedim(i_axis, 0).reshape(size, -1).any(dim=1) for i_axis, size in enumerate(wrong.rows.shape)
    ]
    return [*leading, wrong.columns]


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
    return f"{name} {first}" if first == last else f"{name}s {first} to {last}"


def share(count: int, rows: int) -> str:
    """In words, what share of the rows `count` is."""
    if count == rows:
        return "all rows"
    share_pct = 100 * count / rows
    if share_pct > 99:
        return "more than 99 % of rows"
    return f"{share_pct:.2g} % of rows" if share_pct >= 0.01 else "less than 0.01 % of rows"
