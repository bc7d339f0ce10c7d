"""Compares an output with the reference, whole and row by row, in bounded memory.

Queues the work piece by piece and fetches the answer from the device once, since each fetch stalls the GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ssdprof.kernels.interface import Tolerances
from ssdprof.profiling.runs.measured import FORBIDDEN_WRITES, Check, Finding
from ssdprof.profiling.runs.model import Status

if TYPE_CHECKING:
    import torch

PIECE_ELEMENTS = 1 << 25
ROW_NORM_FLOOR = 0.1
"""Rows with a norm below this share of the root mean square row norm are judged relative to that share: in a row whose
terms almost cancel, the operands' rounding is large relative to the row itself."""


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative errors of one output: Frobenius norm of the whole, worst row, and rows beyond the tolerance."""

    relative_error: float
    worst_row_error: float
    bad_rows: int
    rows: int


@dataclass(frozen=True, slots=True)
class RowPiece:
    """Some adjacent rows of an output minus those of its reference.

    `difference` is (rows, row length), float32; the others, float64, have one value per row: `error`, the norm of the
    difference; `scale`, the reference's norm, at least its floor; `row_error` = error / scale, infinite instead of NaN.
    """

    difference: torch.Tensor
    error: torch.Tensor
    scale: torch.Tensor
    row_error: torch.Tensor


def row_norm_rms(reference: torch.Tensor) -> float:
    """Root mean square of the 2-norms of all rows (last dimension)."""
    import torch

    rows = reference.flatten(0, -2)
    total = torch.stack([_row_norms(piece).square().sum() for piece in pieces(rows)]).sum()
    return math.sqrt(float(total) / max(1, rows.shape[0]))


def row_pieces(out: torch.Tensor, reference: torch.Tensor, norm_rms: float) -> Iterator[RowPiece]:
    """The rows of `out` minus those of `reference`, same shape (…, row), in order and in pieces of bounded size.

    A row's error is ‖out − ref‖ / ‖ref‖, with the denominator at least ROW_NORM_FLOOR · norm_rms.
    """
    import torch

    floor = max(ROW_NORM_FLOOR * norm_rms, 1e-30)
    out_rows, ref_rows = out.flatten(0, -2), reference.flatten(0, -2)
    for out_piece, ref_piece in zip(pieces(out_rows), pieces(ref_rows), strict=True):
        difference = (out_piece.float() if out_piece.dtype == torch.bool else out_piece) - ref_piece.float()
        error = _row_norms(difference)
        scale = _row_norms(ref_piece).clamp_(min=floor)
        yield RowPiece(difference, error, scale, torch.nan_to_num_(error / scale, nan=math.inf, posinf=math.inf))


def output_errors(out: torch.Tensor, reference: torch.Tensor, tolerances: Tolerances, norm_rms: float) -> Errors:
    """Errors of `out` against `reference`, same shape (…, row). `norm_rms` is `row_norm_rms(reference)`.

    Row errors are those of `row_pieces`. NaN and infinity never pass: they make the whole error NaN and their rows
    infinitely wrong.
    """
    import torch

    per_piece = [
        torch.stack(
            [piece.error.square().sum(), piece.row_error.max(), (piece.row_error > tolerances.row_error).sum().double()]
        )
        for piece in row_pieces(out, reference, norm_rms)
    ]
    squared_errors, worst_errors, bad_rows = zip(*torch.stack(per_piece).tolist(), strict=True)
    rows, worst = math.prod(out.shape[:-1]), max(worst_errors)
    relative = math.sqrt(sum(squared_errors) / (rows * norm_rms**2 or 1.0))
    return Errors(
        relative_error=relative if math.isfinite(relative) else math.nan,
        worst_row_error=worst if math.isfinite(worst) else math.nan,
        bad_rows=round(sum(bad_rows)),
        rows=rows,
    )


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors of the same shape and dtype have the same bits: NaN equals itself, and 0 differs from -0."""
    import torch

    differ = []
    for ours, theirs in zip(bit_words(one, torch.int64), bit_words(other, torch.int64), strict=True):
        pairs = zip(ours.split(PIECE_ELEMENTS), theirs.split(PIECE_ELEMENTS), strict=True)
        differ += [(our_piece != their_piece).any() for our_piece, their_piece in pairs]
    return not torch.stack(differ).any()


def bit_words(tensor: torch.Tensor, word: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """The bits of a tensor as whole words of the integer type `word`, and the bytes left over.

    Does not copy a contiguous tensor that begins at a whole word.
    """
    import torch

    flat = tensor.contiguous().flatten()
    if flat.storage_offset() * flat.element_size() % word.itemsize:
        flat = flat.clone()
    in_bytes = flat.view(torch.uint8)
    whole_bytes = in_bytes.numel() // word.itemsize * word.itemsize
    return in_bytes[:whole_bytes].view(word), in_bytes[whole_bytes:]


def merge(
    errors: Sequence[Errors],
    repeatable: bool,
    launches: int,
    seeds: int = 1,
    findings: Sequence[Finding] = (),
    output: str = "",
) -> Check:
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
        seeds=seeds,
        findings=tuple(findings),
        output=output,
    )


def within(errors: Errors | Check, tolerances: Tolerances) -> bool:
    """Whether an output with these errors is correct, in the whole and in every row."""
    return errors.relative_error <= tolerances.relative_error and errors.bad_rows == 0


def judge(check: Check, allowed: Mapping[str, Tolerances]) -> tuple[Status, str]:
    """ok, wrong or unstable, and why, in one line.

    A launch that wrote where it must not is wrong whatever its output, even if it looks unstable: inputs that it
    overwrote make later launches differ. The reason for a wrong output says where it is wrong. `allowed`: by output.
    """
    tolerances = allowed[check.output] if check.output else next(iter(allowed.values()))
    forbidden = [finding.message for finding in check.findings if finding.code in FORBIDDEN_WRITES]
    if forbidden:
        return "wrong", "; ".join(forbidden)
    if not check.repeatable:
        return "unstable", (
            f"{check.launches} launches on the same input gave different bits "
            f"(error up to {figure(check.relative_error)}): a race or a miscompilation"
        )
    of = f"{check.output}: " if check.output else ""
    why = [] if within(check, tolerances) else [of + _how_far(check, tolerances)]
    why += [finding.message for finding in check.findings[:1]]
    return ("wrong", "; ".join(why)) if why else ("ok", "")


def _how_far(check: Check, tolerances: Tolerances) -> str:
    if math.isnan(check.relative_error):
        return f"{check.bad_rows} of {check.rows} rows wrong, NaN, inf or never-written elements among them"
    if check.relative_error > tolerances.relative_error:
        return f"relative error {figure(check.relative_error)}, tolerance {tolerances.relative_error:g}"
    return (
        f"{check.bad_rows} of {check.rows} rows wrong, the worst by {figure(check.worst_row_error)}, "
        f"tolerance {tolerances.row_error:g}"
    )


def figure(value: float) -> str:
    """An error to two significant digits."""
    return "NaN" if math.isnan(value) else f"{value:#.2g}".removesuffix(".")


def _row_norms(rows: torch.Tensor) -> torch.Tensor:
    """The 2-norm of each row, float64, summed in float32; does not copy the rows if they are float32."""
    import torch

    norms: torch.Tensor = torch.linalg.vector_norm(rows.float(), dim=-1).double()
    return norms


def pieces(rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Cuts (rows, row length) into pieces of rows, of at most PIECE_ELEMENTS elements or a single row."""
    import torch

    return torch.split(rows, max(1, PIECE_ELEMENTS // rows.shape[-1]))
