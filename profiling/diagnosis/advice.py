"""What a user asks of one config first, as data: what limits its occupancy, whether that matters, what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ssdprof.profiling.diagnosis.floor import floor_of
from ssdprof.profiling.diagnosis.groups import several_answers
from ssdprof.profiling.diagnosis.rows import (
    fields,
    latency_ms,
    limiter_names,
    occupancy_pct,
    of_another_binary,
    standing,
)
from ssdprof.profiling.diagnosis.statement import NextStep, Statement
from ssdprof.profiling.hardware.headroom import headroom
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.runs.model import Explanation, Row

LEADS = ("is-best", "tied")
SAME_PCT = 0.01
"""Occupancies that differ by less are the same."""


def advice(explanation: Explanation) -> list[Statement]:
    """Three statements: what limits occupancy, whether it matters for the time, and what to do."""
    matters = _matters(explanation)
    return [_limits(explanation), matters, _do(explanation, matters)]


def best_row(explanation: Explanation) -> Row | None:
    """The fastest correct config of the run that the latencies are from."""
    return explanation.source.ranked[0] if explanation.source and explanation.source.ranked else None


def _limits(explanation: Explanation) -> Statement:
    row = explanation.row
    if row.compiled is None or row.occupancy is None:
        return Statement("warning", "no-binary", {"status": row.known_status, "reason": row.known_reason})
    room = headroom(row.compiled.launch, limits_for(explanation.header.device.arch))
    names = ("theoretical_occupancy_pct", "warps_per_scheduler", "max_warps_per_scheduler", "blocks_per_sm")
    figures: dict[str, Any] = {
        **fields(row.occupancy, *names),
        **fields(row.compiled, "registers_per_thread", "dynamic_shared_mem_bytes", "spill_bytes"),
        "limiters": limiter_names(row.occupancy),
        "blocked_by": list(room.blocked_by),
        "step": None,
    }
    if room.step:
        step = ("registers_per_thread", "registers_fewer", "dynamic_shared_mem_bytes", "dynamic_shared_mem_fewer_bytes")
        figures["step"] = fields(room.step, *step, "blocks_per_sm", "theoretical_occupancy_pct")
    return Statement("note", "limits", figures)


def _matters(explanation: Explanation) -> Statement:
    """Whether occupancy is what makes this config as slow as it is, judged by the run that its latency is from.

    A latency measured with this explanation is compared with its neighbours alone, not with another run's.
    """
    row, best, source = explanation.row, best_row(explanation), explanation.source
    row = replace(row, timing=None) if row.recorded is not None else row
    figures: dict[str, Any] = {"status": row.known_status, "reason": row.known_reason, "finding": "not-known"}
    own = next((one for one in source.ranked if one.config_id == row.config_id), None) if source else None
    if row.known_status not in ("ok", "not-run"):
        figures["finding"] = "not-usable"
    elif row.known_timing is not None and best is not None and source is not None and (own or row.timing is None):
        figures |= _beside(row, best, is_tied=own is not None and bool(own.tied_with_best))
        figures["rank"] = own.rank if own else None
        figures["correct_configs"] = len(source.ranked)
        more = [one for one in source.ranked if occupancy_pct(one) > occupancy_pct(row) + SAME_PCT]
        figures["higher"] = standing(more[0]) if more else None
        figures["floor"] = floor_of(row, explanation.header)
    if figures["finding"] == "not-usable":
        return Statement("warning", "matters", figures)
    if figures["finding"] == "not-known" and explanation.header.device.name is not None:
        figures["finding"] = "measured-with-changes"
    return Statement("good" if figures["finding"] in LEADS else "note", "matters", figures)


def _beside(row: Row, best: Row, *, is_tied: bool) -> dict[str, Any]:
    more = occupancy_pct(best) - occupancy_pct(row)
    finding = "more" if more > SAME_PCT else "less" if more < -SAME_PCT else "same"
    return {
        "finding": "is-best" if row.config_id == best.config_id else "tied" if is_tied else finding,
        "latency_ms": latency_ms(row),
        "is_another_binary": of_another_binary(row),
        "theoretical_occupancy_pct": occupancy_pct(row),
        "best": {**standing(best), "times_as_fast": latency_ms(row) / latency_ms(best)},
    }


def _do(explanation: Explanation, matters: Statement) -> Statement:
    row, best = explanation.row, best_row(explanation)
    figures: dict[str, Any] = {"config_id": row.config_id, "best_id": best.config_id if best else None}
    beside, floor = matters.figures["finding"], matters.figures.get("floor")
    undecided = explanation.source is not None and several_answers(explanation.source) is not None
    figures["near_the_floor"] = floor["near_the_floor"] if floor else None
    figures["bound"] = row.bound.code if row.bound else None
    step: NextStep
    if undecided and row.compiled is not None and row.known_status in ("ok", "differs", "not-run"):
        finding, step = "name-the-answer", "name-the-answer"
    elif row.compiled is None or row.known_status not in ("ok", "not-run"):
        finding, step = "use-another", "drop-from-list"
    elif beside in LEADS:
        finding, step = "use-it", "none" if figures["near_the_floor"] or row.bound else "compare-dram-bytes"
    elif beside == "not-known":
        finding, step = "measure", "measure-on-gpu"
    elif beside == "measured-with-changes":
        finding, step = "see-changes", "none"
    else:
        finding, step = "use-best", "explain"
    return Statement("note", "do", {**figures, "finding": finding}, step)
