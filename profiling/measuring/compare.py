"""Compares an output with its reference, row by row: outputs of any dtype and shape, references with NaN or infinity.

Queues the work in pieces of bounded memory, and fetches the answer from the device once, as each fetch stalls the GPU.

Integers and bool are compared exactly. Where a reference is special, that is NaN, infinite, or so large that its square
is no float32, the output must have the same value: such elements add nothing to a difference or a norm, or are wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ssdprof.kernels.interface import Axis, Tolerances
from ssdprof.kernels.launch import PATTERN
from ssdprof.profiling.measuring.amounts import PIECE_ELEMENTS
from ssdprof.profiling.measuring.check import Errors
from ssdprof.profiling.measuring.guard import finite_poison

ROW_NORM_FLOOR = 0.1
"""Rows with a norm below this share of the root mean square row norm are judged relative to that share: in a row whose
terms almost cancel, the operands' rounding is large relative to the row itself."""
ROW_ELEMENTS = 128
"""Elements of a row of an output that has a single one: a wrong element among millions would be lost in its norm."""
CUT_AXES = (Axis(f"{ROW_ELEMENTS}-element row"), Axis("element"))
SPECIAL_ABOVE = 1e15
"""Elements of a special reference beyond this, such as the least number as a mask, are as special as infinity."""


@dataclass(frozen=True, slots=True)
class RowPiece:
    """Some adjacent rows of an output minus those of its reference.

    `difference` is (rows, row length), float32, or float64 for outputs of integers or float64; the others, float64,
    have one value per row: `error`, the norm of the difference; `scale`, the reference's norm, at least its floor;
    `row_error` = error / scale, infinite instead of NaN.
    """

    difference: torch.Tensor
    error: torch.Tensor
    scale: torch.Tensor
    row_error: torch.Tensor


def is_cut(tensor: torch.Tensor) -> bool:
    """Whether the tensor is a single row, so long that `as_rows` cuts it."""
    return tensor.dim() > 0 and tensor.numel() == tensor.shape[-1] > ROW_ELEMENTS


def as_rows(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with at least two dimensions; a single long row is cut into rows of ROW_ELEMENTS, zeros at the end."""
    if not is_cut(tensor):
        return tensor if tensor.dim() > 1 else tensor.reshape(1, -1)
    flat = tensor.reshape(-1)
    if missing := -len(flat) % ROW_ELEMENTS:
        padded = flat.new_zeros(len(flat) + missing)
        padded[: len(flat)] = flat
        flat = padded
    return flat.view(-1, ROW_ELEMENTS)


def row_norm_rms(reference: torch.Tensor, *, special: bool = False) -> float:
    """Root mean square of the 2-norms of all rows (last dimension); not finite if there are special elements.

    With `special`, that of the other elements.
    """
    if not reference.numel():
        return 0.0
    rows = reference.flatten(0, -2)
    norms = [_row_norms(_ordinary(_numbers(piece)) if special else _numbers(piece)) for piece in pieces(rows)]
    total = torch.stack([of_piece.square().sum() for of_piece in norms]).sum()
    return math.sqrt(float(total) / max(1, rows.shape[0]))


def row_pieces(
    out: torch.Tensor, reference: torch.Tensor, norm_rms: float, *, special: bool = False
) -> Iterator[RowPiece]:
    """The rows of `out` minus those of `reference`, same shape (…, row), in order and in pieces of bounded size.

    A row's error is ‖out − ref‖ / ‖ref‖, with the denominator at least ROW_NORM_FLOOR · norm_rms. `special`: whether
    the reference may have special elements; the difference is NaN where the output has another value there, or one that
    says that it was never written (`finite_poison`).
    """
    floor = max(ROW_NORM_FLOOR * norm_rms, 1e-30)
    out_rows, ref_rows = out.flatten(0, -2), reference.flatten(0, -2)
    for out_piece, ref_piece in zip(pieces(out_rows), pieces(ref_rows), strict=True):
        given, expected = _numbers(out_piece), _numbers(ref_piece)
        if given.dtype != torch.float64:
            expected = expected.float()
        if special:
            difference, expected = _special_difference(out_piece, given, ref_piece, expected)
        else:
            difference = given - expected
        if out_piece.dtype == ref_piece.dtype and out_piece.dtype in _BEYOND_FLOAT64:
            differs = out_piece.view(torch.int64) != ref_piece.view(torch.int64)
            difference = torch.where(differs & (difference == 0), 1.0, difference)
        error = _row_norms(difference)
        scale = _row_norms(expected).clamp_(min=floor)
        yield RowPiece(difference, error, scale, torch.nan_to_num_(error / scale, nan=math.inf, posinf=math.inf))


def output_errors(
    out: torch.Tensor, reference: torch.Tensor, tolerances: Tolerances, norm_rms: float, *, special: bool = False
) -> Errors:
    """Errors of `out` against `reference`, same shape (…, row). `norm_rms` is `row_norm_rms(reference)`.

    Row errors are those of `row_pieces`. NaN and infinity never pass, but where the reference has them: they make the
    whole error NaN and their rows infinitely wrong. An output without elements has no error.
    """
    rows = math.prod(out.shape[:-1])
    if not out.numel():
        return Errors(0.0, 0.0, 0, rows)
    per_piece = []
    for piece in row_pieces(out, reference, norm_rms, special=special):
        bad = piece.row_error > tolerances.row_error
        per_piece.append(torch.stack([piece.error.square().sum(), piece.row_error.max(), bad.sum().double()]))
    squared_errors, worst_errors, bad_rows = zip(*torch.stack(per_piece).tolist(), strict=True)
    worst = max(worst_errors)
    relative = math.sqrt(sum(squared_errors) / (rows * norm_rms**2 or 1.0))
    relative, worst = (error if math.isfinite(error) else math.nan for error in (relative, worst))
    return Errors(relative, worst, round(sum(bad_rows)), rows)


def pieces(rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Cuts (rows, row length) into pieces of rows, of at most PIECE_ELEMENTS elements or a single row."""
    return torch.split(rows, max(1, PIECE_ELEMENTS // rows.shape[-1]))


_AS_THEY_ARE = (torch.float32, torch.float16, torch.bfloat16)
_BEYOND_FLOAT64 = (torch.int64, torch.uint64)
"""Dtypes with numbers that differ and become equal as float64."""


def _numbers(tensor: torch.Tensor) -> torch.Tensor:
    """Its values in a dtype that torch computes with and that holds them: float64 for integers and float64.

    A bool that was never written, whose byte is PATTERN, is neither 0 nor 1.
    """
    if tensor.dtype in _AS_THEY_ARE:
        return tensor
    if tensor.dtype == torch.bool:
        in_bytes = tensor.view(torch.uint8)
        return torch.where(in_bytes == PATTERN, in_bytes, (in_bytes != 0).to(torch.uint8)).float()
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() == 1 else tensor.double()


def _row_norms(rows: torch.Tensor) -> torch.Tensor:
    """The 2-norm of each row, float64, summed in float32 unless it is float64; does not copy the rows if either."""
    summed = rows if rows.dtype == torch.float64 else rows.float()
    norms: torch.Tensor = torch.linalg.vector_norm(summed, dim=-1).double()
    return norms


def _is_special(values: torch.Tensor) -> torch.Tensor:
    return ~(values.abs() <= SPECIAL_ABOVE)


def _ordinary(values: torch.Tensor) -> torch.Tensor:
    """The values with 0 in place of special ones, at least float32."""
    values = values if values.dtype == torch.float64 else values.float()
    return values.masked_fill(_is_special(values), 0.0)


def _special_difference(
    out: torch.Tensor, given: torch.Tensor, reference: torch.Tensor, expected: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The difference, and the reference's values with 0 for special ones, of which the output has the nearest."""
    nearest, is_special = _numbers(reference.to(out.dtype)), _is_special(expected)
    is_same = (given == nearest) | (given.isnan() & expected.isnan())
    at_special = torch.where(is_same, 0.0, math.nan).to(expected.dtype)
    difference = torch.where(is_special, at_special, given - expected)
    if out.is_floating_point():
        difference.masked_fill_(given == finite_poison(out.dtype), math.nan)
    return difference, expected.masked_fill(is_special, 0.0)
