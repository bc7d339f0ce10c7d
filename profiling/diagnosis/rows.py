"""Which rows of a run a statement or a table is about, and the figures that it compares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ssdprof.profiling.hardware.limiters import BARRIERS
from ssdprof.profiling.hardware.occupancy import Occupancy
from ssdprof.profiling.runs.measured import Timing
from ssdprof.profiling.runs.model import STATUSES, Row, Run, Status

NOT_TO_USE: tuple[Status, ...] = ("wrong", "differs", "unstable")
"""Statuses of outputs that must not be used, however fast."""
NEVER_TO_USE: tuple[Status, ...] = ("wrong", "unstable")
"""Those of outputs that are not correct, whatever they are held against."""


def has_latencies(run: Run) -> bool:
    """Whether the run was measured, or another one measured any of its configs."""
    return run.measured or any(row.recorded for row in run.rows)


def listed_rows(run: Run) -> list[Row]:
    """The rows to choose from: those with a rank and, if nothing was measured, then those that may be correct."""
    return list(run.ranked) if run.measured else compiled_rows(run)


def to_explain(run: Run, first: Row | None) -> dict[str, str | None]:
    """The config to explain of a run with that `first` row, and the file of the run if that must be named."""
    return {"explain": "best" if run.ranked else first.config_id if first else None, "run": run.file or None}


def compiled_rows(run: Run) -> list[Row]:
    """The rows that have a rank, best first, then those that compiled and of which nothing says that they are wrong."""
    others = [row for row in run.rows if row.rank is None and row.compiled and row.known_status in ("ok", "not-run")]
    return [*run.ranked, *(row for row in others if row.occupancy)]


def rejected_rows(run: Run) -> dict[Status, list[Row]]:
    """The rows that are not to be chosen from, by the status that is known of them, the fastest first."""
    listed = {row.config_id for row in listed_rows(run)}
    rest = sorted((row for row in run.rows if row.config_id not in listed), key=latency_ms)
    groups = {status: [row for row in rest if row.known_status == status] for status in STATUSES}
    return {status: group for status, group in groups.items() if group}


def left_configs(run: Run, *, measured: bool) -> int:
    """How many configs an unfinished run left: not `measured` or, if that is no question, not compiled."""
    return sum(row.status == "not-run" and (measured or row.compiled is None) for row in run.rows)


def leading_rows(run: Run) -> list[Row]:
    """The best row and those that cannot be told from it."""
    return [row for row in run.ranked if row.rank == 1 or row.tied_with_best]


def ranked_timings(run: Run) -> list[Timing]:
    """The timings that were taken of the ranked rows, best first."""
    return [row.timing for row in run.ranked if row.timing]


def found_correct(row: Row) -> bool:
    """Whether a check, here or recorded, found the output correct."""
    return row.status == "ok" or (row.recorded is not None and row.recorded.status == "ok")


def timed_elsewhere(row: Row) -> bool:
    """Whether the latency that is known of the row was recorded, not measured here."""
    return row.timing is None and row.known_timing is not None


def of_another_binary(row: Row) -> bool:
    """Whether the latency that is known of the row was recorded of other registers, spills or shared memory."""
    return timed_elsewhere(row) and row.recorded is not None and not row.recorded.same_binary


def latency_ms(row: Row) -> float:
    """The latency that is known of the row; infinite if there is none."""
    return row.known_latency_ms if row.known_latency_ms is not None else float("inf")


def occupancy_pct(row: Row) -> float:
    """The row's theoretical occupancy, 0 if it has none."""
    return row.occupancy.theoretical_occupancy_pct if row.occupancy else 0.0


def standing(row: Row) -> dict[str, Any]:
    """The figures of a row that is named beside another: its id, occupancy and latency."""
    return {"config_id": row.config_id, "theoretical_occupancy_pct": occupancy_pct(row), "latency_ms": latency_ms(row)}


def limiter_names(occ: Occupancy) -> list[str]:
    """What limits the occupancy; barriers if they alone do, for which ncu has no name."""
    return list(occ.limiters) or [BARRIERS]


def extremes(values: Iterable[float | None]) -> list[float] | None:
    """The least and the largest of the values that are known; None if none is."""
    known = [value for value in values if value is not None]
    return [min(known), max(known)] if known else None


def fields(of: object, *names: str) -> dict[str, Any]:
    """These fields by name."""
    return {name: getattr(of, name) for name in names}
