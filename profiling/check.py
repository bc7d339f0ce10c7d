"""Holds an output against the reference, whole and row by row, in bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ssdprof.kernels.interface import Tolerances
from ssdprof.profiling.model import Check, Status

if TYPE_CHECKING:
    import torch

PIECE_ELEMENTS = 1 << 24
ROW_NORM_FLOOR = 0.1
"""Rows whose norm is below this share of the root mean square row norm are judged against that instead: in a row whose
terms all but cancel, as C·B·dt and D can, the operands' rounding is large relative to the row itself."""


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative errors of one output: Frobenius norm of the whole, worst row, and rows beyond the tolerance."""

    relative_error: float
    worst_row_error: float
    bad_rows: int
    rows: int


def row_norm_rms(reference: torch.Tensor) -> float:
    """Root mean square over the rows (last dimension) of their 2-norm."""
    rows = reference.flatten(0, -2)
    total = sum(float(piece.double().square().sum()) for piece in _pieces(rows))
    return math.sqrt(total / max(1, rows.shape[0]))


def output_errors(out: torch.Tensor, reference: torch.Tensor, tolerances: Tolerances, norm_rms: float) -> Errors:
    """Errors of `out` against `reference`, same shape (…, row). `norm_rms` is `row_norm_rms(reference)`.

    A row's error is ‖out − ref‖ / ‖ref‖, with the denominator at least ROW_NORM_FLOOR · norm_rms. NaN and infinity
    never pass: they make the whole error NaN and their rows infinitely wrong.
    """
    import torch

    squared_error = squared_norm = worst = 0.0
    bad = 0
    out_rows, ref_rows = out.flatten(0, -2), reference.flatten(0, -2)
    for out_piece, ref_piece in zip(_pieces(out_rows), _pieces(ref_rows), strict=True):
        ref = ref_piece.float()
        error = torch.linalg.vector_norm(out_piece.float() - ref, dim=-1).double()
        norm = torch.linalg.vector_norm(ref, dim=-1).double()
        row_error = error / norm.clamp(min=max(ROW_NORM_FLOOR * norm_rms, 1e-30))
        row_error = torch.where(torch.isfinite(row_error), row_error, math.inf)
        squared_error += float(error.square().sum())
        squared_norm += float(norm.square().sum())
        worst = max(worst, float(row_error.max()))
        bad += int((row_error > tolerances.row_error).sum())
    relative = math.sqrt(squared_error / squared_norm) if squared_norm else math.sqrt(squared_error)
    return Errors(
        relative_error=relative if math.isfinite(relative) else math.nan,
        worst_row_error=worst if math.isfinite(worst) else math.nan,
        bad_rows=bad,
        rows=out_rows.shape[0],
    )


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors hold the same bits: NaN equals itself, and 0 differs from -0."""
    import torch

    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[one.element_size()]
    return torch.equal(one.view(integers), other.view(integers))


def merge(errors: list[Errors], repeatable: bool, launches: int) -> Check:
    """The worst of several launches' errors; NaN counts as worst."""

    def worst(values: list[float]) -> float:
        return math.nan if any(math.isnan(value) for value in values) else max(values)

    return Check(
        relative_error=worst([one.relative_error for one in errors]),
        worst_row_error=worst([one.worst_row_error for one in errors]),
        bad_rows=max(one.bad_rows for one in errors),
        rows=errors[0].rows,
        repeatable=repeatable,
        launches=launches,
    )


def judge(check: Check, tolerances: Tolerances) -> tuple[Status, str]:
    """ok, wrong or unstable, and why."""
    within = check.relative_error <= tolerances.relative_error and check.bad_rows == 0
    if not check.repeatable:
        return "unstable", (
            f"{check.launches} launches on the same input gave different bits "
            f"(error up to {_figure(check.relative_error)}): a race or a miscompilation"
        )
    if within:
        return "ok", ""
    if math.isnan(check.relative_error):
        return "wrong", f"{check.bad_rows} of {check.rows} rows wrong, NaN, inf or never-written elements among them"
    if check.relative_error > tolerances.relative_error:
        return "wrong", f"relative error {_figure(check.relative_error)}, tolerance {tolerances.relative_error:g}"
    return "wrong", (
        f"{check.bad_rows} of {check.rows} rows wrong, the worst by {_figure(check.worst_row_error)}, "
        f"tolerance {tolerances.row_error:g}"
    )


def _figure(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:#.2g}".removesuffix(".")


def _pieces(rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
    import torch

    return torch.split(rows, max(1, PIECE_ELEMENTS // rows.shape[-1]))
