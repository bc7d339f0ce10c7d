"""Which configs of a run have an error that stands out from those of the others, although it is within the tolerance.

Correct configs of one run differ in the order of their sums and in a rounding or two, on the same inputs: their errors
are nearly the same. A uniform error of half a per cent is within a tolerance of one per cent, and yet no rounding.

An error is taken as a share of its output's tolerance. A check keeps only the worst of several outputs; what another
config had in an output that was not its worst is at most its share in the worst one, so it is taken to be that.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ssdprof.kernels.interface import Tolerances
from ssdprof.profiling.runs.measured import Check
from ssdprof.profiling.runs.model import Row, Status

STANDS_OUT = 2.0
"""An error beyond this many times the others' median stands out. Independent errors add up in squares, so three more
roundings, each as large as all that the others have together, come to just this."""
ROUNDING_SHARE = 3 / 16
"""The share of a tolerance that counts as rounding, whatever the others have: 0.0019 of 0.01 in bfloat16, which is what
correct configs have. An error stands out only beyond twice that: 0.0038, one rounding of every element by the most that
a rounding can be; or 0.00075 of 0.002, where a config whose TF32 operands are truncated has 0.0007 and others none."""
SUMMATION_ERROR = 5e-6
"""The error that counts as rounding, whatever the tolerance: float32 sums of some thousands of terms differ by about
that if the terms come in another order. It matters only to outputs with a tolerance below 3e-5."""
AGREE = math.sqrt(2.0)
"""Errors within this factor agree: one more rounding, as large as all others together."""
ENOUGH = 5
"""So many configs that agree are believed, on either side: fewer do not make another config wrong, and as many that
share an error may have a way of computing of their own."""


@dataclass(frozen=True, slots=True)
class Outlier:
    """A config whose relative error stands out from those of the other configs that are within the tolerance.

    `agreeing` of the `others` have the others' median error within a factor of AGREE, `others_error` at most; `alike`
    others have this config's error within that factor. `output` is empty if there is only one.
    """

    config_id: str
    output: str
    relative_error: float
    tolerance: float
    others_error: float
    agreeing: int
    others: int
    alike: int

    @property
    def is_wrong(self) -> bool:
        """Whether the others outweigh it: at least five agree, more than half of them, and fewer than five are like it.

        If not, this config may be as correct as they are.
        """
        return self.agreeing >= ENOUGH and 2 * self.agreeing > self.others and self.alike + 1 < ENOUGH

    @property
    def reason(self) -> str:
        """Why it is wrong, in one line."""
        of = f"{self.output}: " if self.output else ""
        return (
            f"{of}relative error {self.relative_error:#.2g} is within the tolerance {self.tolerance:g}, but "
            f"{self.agreeing} of {self.others} other configs agree on {self.others_error:#.2g} or less: more than "
            "rounding explains"
        )


def outliers(rows: Sequence[Row], tolerances: Sequence[Tolerances]) -> dict[str, Outlier]:
    """The configs whose error stands out, by id. Depends on the rows' checks alone, and not on their order.

    Counts configs with a repeatable output within `tolerances`, which are those of all outputs. Judges by the error of
    the whole: the worst row of a large output is an extreme value, which differs more from config to config.
    """
    checks = dict(_comparable(rows, {one.output: one for one in tolerances}))
    found: dict[str, Outlier] = {}
    for tolerance in tolerances:
        large = [
            (name, check)
            for name, (check, own) in checks.items()
            if own is tolerance and check.relative_error > STANDS_OUT * _rounding(own)
        ]
        if large:
            ordered = sorted(_share(check, own, tolerance.output) for check, own in checks.values())
            outlying = (_outlier(name, check, tolerance, ordered) for name, check in large)
            found |= {one.config_id: one for one in outlying if one}
    return found


def compared(rows: Sequence[Row], tolerances: Sequence[Tolerances]) -> tuple[Row, ...]:
    """The rows in their order; correct ones whose error stands out too far from the others' are wrong.

    If they are held against what is not known to be correct, they differ.
    """
    wrong = {name: one for name, one in outliers(rows, tolerances).items() if one.is_wrong}
    if not wrong:
        return tuple(rows)
    status: Status = "differs" if any(one.against for one in tolerances) else "wrong"
    return tuple(
        replace(row, status=status, status_reason=wrong[row.config_id].reason)
        if row.status == "ok" and row.config_id in wrong
        else row
        for row in rows
    )


def _comparable(
    rows: Sequence[Row], tolerances: dict[str, Tolerances]
) -> Iterator[tuple[str, tuple[Check, Tolerances]]]:
    """The checks that found nothing by themselves, by config id, each with the tolerances of its worst output.

    Those of rows that are wrong or differ only by comparison are among them, so comparing again changes nothing.
    """
    only = next(iter(tolerances.values()), None)
    for row in rows:
        check = row.check
        if row.status in ("ok", "wrong", "differs") and check and check.repeatable and not check.findings:
            own = tolerances.get(check.output) if check.output else only
            if own is None or own.relative_error <= 0 or own.row_error <= 0:  # exact or nothing: nothing to compare
                continue
            if check.relative_error <= own.relative_error and check.bad_rows == 0:  # which no NaN is
                yield row.config_id, (check, own)


def _share(check: Check, own: Tolerances, output: str) -> float:
    """The error in an output over its tolerance; if it is not the worst one, the most that it can be."""
    share = check.relative_error / own.relative_error
    return share if own.output == output else max(share, check.worst_row_error / own.row_error)


def _rounding(own: Tolerances) -> float:
    """The error of an output that counts as rounding, whatever the others have."""
    return max(ROUNDING_SHARE * own.relative_error, SUMMATION_ERROR)


def _outlier(name: str, check: Check, own: Tolerances, ordered: Sequence[float]) -> Outlier | None:
    """What stands out about a config, given the shares of all, ascending, its own among them; None if nothing does."""
    share, rounding = check.relative_error / own.relative_error, _rounding(own) / own.relative_error
    others = len(ordered) - 1
    if others == 0:
        return None
    middle = others // 2
    median = max(ordered[middle + (middle >= bisect_left(ordered, share))], rounding)
    if share <= STANDS_OUT * median:
        return None
    start = 0 if median <= AGREE * rounding else bisect_left(ordered, median / AGREE)
    end = bisect_right(ordered, AGREE * median)
    return Outlier(
        config_id=name,
        output=check.output,
        relative_error=check.relative_error,
        tolerance=own.relative_error,
        others_error=ordered[end - 1] * own.relative_error,
        agreeing=end - start,
        others=others,
        alike=bisect_right(ordered, AGREE * share) - bisect_left(ordered, share / AGREE) - 1,
    )
