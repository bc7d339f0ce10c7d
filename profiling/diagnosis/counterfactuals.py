"""What one changed parameter does to a config: each change beside the config itself, what helps most first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ssdprof.kernels.config import Param, Value
from ssdprof.profiling.diagnosis.rows import latency_ms, occupancy_pct, of_another_binary
from ssdprof.profiling.diagnosis.statement import NextStep, Statement
from ssdprof.profiling.runs.model import STATUSES, Explanation, Row

Finding = Literal["faster", "same", "timed", "untimed", "slower", "not-usable"]


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """A config with one parameter changed, recompiled: from what to what, and the row that came of it.

    `finding`: `faster` or `slower` if the 95 % intervals of the two latencies are apart, `same` if they are not;
    `timed` if only the changed config has a latency, `untimed` if it has none; `not-usable` if it is not correct or did
    not compile. `times_as_fast`: the config's latency over this one's; None unless both are known and it is correct.
    `more_blocks_per_sm` and `fewer_spill_bytes`: beside the config itself; None if either did not compile.
    """

    param: Param
    before: Value
    value: Value
    row: Row
    finding: Finding
    times_as_fast: float | None = None
    more_blocks_per_sm: int | None = None
    fewer_spill_bytes: int | None = None


def counterfactuals(explanation: Explanation) -> tuple[Counterfactual, ...]:
    """Every change that was tried, sorted by what helps most.

    Those that do not lose come first, by latency; then those without a latency, by occupancy, then by spills; then the
    slower ones; then those that cannot be used, by status.
    """
    own = own_row(explanation)
    found = [
        _beside(own, group.param, row)
        for group in explanation.neighbours
        for row in group.rows
        if row.config_id != own.config_id
    ]
    return tuple(sorted(found, key=_key))


def own_row(explanation: Explanation) -> Row:
    """The config itself as it stands among its neighbours."""
    rows = (row for group in explanation.neighbours for row in group.rows)
    return next((row for row in rows if row.config_id == explanation.row.config_id), explanation.row)


def most_helpful(explanation: Explanation) -> Statement | None:
    """The change that helps most and its gain; that none does; None if no other config was tried.

    `change-helps`: it is faster. `change-mends`: the config itself cannot be used, and it can. `fastest-change`: the
    config itself has no latency. `change-promises`: no change with a latency is faster, and it has more occupancy
    without more spills, or as much and fewer spills. `no-change-helps`: none of these.
    """
    own, found = own_row(explanation), counterfactuals(explanation)
    if not found:
        return None
    first = found[0]
    timed = [one for one in found if one.finding in ("faster", "same", "timed", "slower")]
    figures: dict[str, Any] = {
        "changes": len(found),
        "changes_with_latency": len(timed),
        "changes_not_usable": sum(one.finding == "not-usable" for one in found),
        "config_id": own.config_id,
        "latency_ms": own.known_latency_ms,
        "fastest": _figures(min(timed, key=lambda one: latency_ms(one.row))) if timed else None,
        "measured": explanation.header.device.name is not None,
        "latency_source": explanation.latency_source,
        "change": _figures(first),
    }
    if first.finding == "faster":
        return Statement("good", "change-helps", figures)
    if not _usable(own) and first.finding in ("timed", "untimed"):
        return Statement("good", "change-mends", figures)
    if first.finding == "timed":
        return Statement("note", "fastest-change", figures)
    better = (one for one in found if one.finding == "untimed" and _resources(one.row) < _resources(own))
    promise = next((one for one in better if _spills(one.row) <= _spills(own)), None)
    if promise is not None:
        step: NextStep = "none" if figures["measured"] else "measure-on-gpu"
        figures |= {"change": _figures(promise), "own": _of_row(own)}
        return Statement("note", "change-promises", figures, step)
    return Statement("note", "no-change-helps", figures)


def _beside(own: Row, param: Param, row: Row) -> Counterfactual:
    compiled = own.compiled is not None and row.compiled is not None
    occupied = own.occupancy is not None and row.occupancy is not None
    return Counterfactual(
        param=param,
        before=own.config[param.name],
        value=row.config[param.name],
        row=row,
        finding=_finding(own, row),
        times_as_fast=latency_ms(own) / latency_ms(row) if _has_latency(own) and _has_latency(row) else None,
        more_blocks_per_sm=_blocks(row) - _blocks(own) if occupied else None,
        fewer_spill_bytes=_spills(own) - _spills(row) if compiled else None,
    )


def _finding(own: Row, row: Row) -> Finding:
    if not _usable(row):
        return "not-usable"
    ours, theirs = own.known_timing, row.known_timing
    if theirs is None or not _has_latency(row):
        return "untimed"
    if ours is None or not _has_latency(own):
        return "timed"
    if theirs.latency_ci95_high_ms < ours.latency_ci95_low_ms:
        return "faster"
    return "slower" if theirs.latency_ci95_low_ms > ours.latency_ci95_high_ms else "same"


def _usable(row: Row) -> bool:
    """Whether it compiled, and nothing says that its output is not correct."""
    return row.compiled is not None and row.known_status in ("ok", "not-run")


def _has_latency(row: Row) -> bool:
    """Whether a latency of it counts: only of a correct output."""
    return row.known_status == "ok" and row.known_timing is not None


def _key(one: Counterfactual) -> tuple[Any, ...]:
    if one.finding == "not-usable":
        return 3, list(STATUSES).index(one.row.known_status)
    if one.finding == "untimed":
        return 1, *_resources(one.row)
    return 2 if one.finding == "slower" else 0, latency_ms(one.row)


def _resources(row: Row) -> tuple[float, ...]:
    """What is less is better: occupancy the other way round, then spills."""
    return -occupancy_pct(row), _spills(row)


def _spills(row: Row) -> int:
    return row.compiled.spill_bytes if row.compiled else 0


def _blocks(row: Row) -> int:
    return row.occupancy.blocks_per_sm if row.occupancy else 0


def _figures(one: Counterfactual) -> dict[str, Any]:
    return {
        "config_id": one.row.config_id,
        "parameter": one.param.column,
        "before": one.before,
        "value": one.value,
        "finding": one.finding,
        "times_as_fast": one.times_as_fast,
        **_of_row(one.row),
    }


def _of_row(row: Row) -> dict[str, Any]:
    return {
        "latency_ms": row.known_latency_ms if _has_latency(row) else None,
        "is_another_binary": of_another_binary(row),
        "theoretical_occupancy_pct": occupancy_pct(row) if row.occupancy else None,
        "blocks_per_sm": _blocks(row) if row.occupancy else None,
        "spill_bytes": _spills(row) if row.compiled else None,
    }
