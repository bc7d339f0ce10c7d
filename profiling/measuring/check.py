"""Judges a launch by how far its outputs were from the reference. Does without torch, for the process that sweeps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ssdprof.kernels.interface import Tolerances
from ssdprof.profiling.runs.measured import FORBIDDEN_WRITES, Check, Finding
from ssdprof.profiling.runs.model import Status


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative errors of one output: Frobenius norm of the whole, worst row, and rows beyond the tolerance."""

    relative_error: float
    worst_row_error: float
    bad_rows: int
    rows: int


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


def share_of(error: float, tolerance: float) -> float:
    """An error over its tolerance; of a tolerance of 0, nothing or infinity."""
    if tolerance:
        return error / tolerance
    return 0.0 if error == 0 else math.inf


def within(errors: Errors | Check, tolerances: Tolerances) -> bool:
    """Whether an output with these errors is correct, in the whole and in every row."""
    return errors.relative_error <= tolerances.relative_error and errors.bad_rows == 0


def judge(check: Check, allowed: Mapping[str, Tolerances]) -> tuple[Status, str]:
    """ok, wrong, differs or unstable, and why, in one line.

    A launch that wrote where it must not is wrong whatever its output, even if it looks unstable: inputs that it
    overwrote make later launches differ. The reason for a wrong output says where it is wrong. An output that wrote all
    it should, and is held against what is not known to be correct, differs instead. `allowed`: by output.
    """
    tolerances = allowed[check.output] if check.output else next(iter(allowed.values()))
    forbidden = [finding.message for finding in check.findings if finding.code in FORBIDDEN_WRITES]
    if forbidden:
        return "wrong", "; ".join(forbidden)
    if check.sums_alone:
        how_far = "" if within(check, tolerances) else f" ({_how_far(check, tolerances)})"
        return "unstable", (
            f"{check.launches} launches on the same input gave sums within their tolerance and beyond it{how_far}: "
            "a race, or more rounding than that allows for"
        )
    if not check.repeatable:
        return "unstable", (
            f"{check.launches} launches on the same input gave different bits "
            f"(error up to {figure(check.relative_error)}): a race or a miscompilation"
        )
    of = f"{check.output}: " if check.output else ""
    why = [] if within(check, tolerances) else [of + _how_far(check, tolerances)]
    why += [finding.message for finding in check.findings[:1]]
    if why and tolerances.against and not math.isnan(check.relative_error):
        return "differs", f"another output than {tolerances.against}: {'; '.join(why)}"
    return ("wrong", "; ".join(why)) if why else ("ok", "")


def _how_far(check: Check, tolerances: Tolerances) -> str:
    if math.isnan(check.relative_error):
        return f"{check.bad_rows} of {check.rows} rows wrong, NaN, inf or never-written elements among them"
    if tolerances.relative_error == tolerances.row_error == 0:
        return f"{check.bad_rows} of {check.rows} rows differ"
    if check.relative_error > tolerances.relative_error:
        return f"relative error {figure(check.relative_error)}, tolerance {tolerances.relative_error:g}"
    return (
        f"{check.bad_rows} of {check.rows} rows wrong, the worst by {figure(check.worst_row_error)}, "
        f"tolerance {tolerances.row_error:g}"
    )


def figure(value: float) -> str:
    """An error to two significant digits."""
    return "NaN" if math.isnan(value) else f"{value:#.2g}".removesuffix(".")
