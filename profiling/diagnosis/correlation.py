"""Whether occupancy goes with latency: among the rows of a run, and among a config and its neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ssdprof.profiling.diagnosis.rows import extremes, latency_ms, occupancy_pct, standing
from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.profiling.runs.model import Explanation, Row
from ssdprof.profiling.runs.rank import spearman

MIN_PAIRS = 5
LOOSE, STRONG = 0.4, 0.7
CODE = "occupancy-and-latency"


def correlation(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Spearman's rank correlation of occupancy and latency in these rows, and what it says; None below two rows.

    `finding`: `one-occupancy`, `too-few`, `no-relation`, `unclear`, `higher-latency`, `loose` or `strong`. The limit of
    chance is the 5 % one of a correlation of 0, ±1.96 / √(n − 1) (Kendall and Gibbons, "Rank Correlation Methods",
    chapter 4), an approximation for small n.
    """
    pairs = [(occupancy_pct(row), latency_ms(row)) for row in rows if row.occupancy and row.known_timing]
    n = len(pairs)
    if n < 2:
        return None
    occupancies, latencies = zip(*pairs, strict=True)
    figures: dict[str, Any] = {"configs": n, "latency_ms": extremes(latencies)}
    if len(set(occupancies)) == 1:
        return {**figures, "finding": "one-occupancy", "theoretical_occupancy_pct": occupancies[0]}
    rho = spearman(occupancies, latencies) if n >= MIN_PAIRS else None
    if rho is None:
        return {**figures, "finding": "too-few"}
    chance = 1.96 / math.sqrt(n - 1)
    return {**figures, "finding": _finding(rho, chance), "spearman": rho, "spearman_by_chance": chance}


def among_ranked(ranked: Sequence[Row]) -> Statement | None:
    """The correlation among ranked rows, with the row of highest occupancy if that is not the best one's."""
    figures = correlation(ranked)
    if figures is None:
        return None
    rows = [row for row in ranked if row.occupancy and row.known_timing]
    figures |= {"pareto_ids": pareto_ids(rows), "equal_occupancy": widest_of_equals(rows)}
    best, top = ranked[0], max((row for row in ranked if row.occupancy), key=occupancy_pct, default=ranked[0])
    if best.occupancy and occupancy_pct(top) > occupancy_pct(best):
        figures |= {"highest_occupancy": standing(top), "best": standing(best)}
    return Statement("note", CODE, figures)


def pareto_ids(rows: Sequence[Row]) -> list[str]:
    """The rows that no other beats in both, the fastest first: less latency and more occupancy."""
    found, most = [], -math.inf
    for row in sorted(rows, key=lambda one: (latency_ms(one), -occupancy_pct(one))):
        if occupancy_pct(row) > most:
            found.append(row.config_id)
            most = occupancy_pct(row)
    return found


def widest_of_equals(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Of rows with the same occupancy those whose latencies lie farthest apart; None if no two have the same."""
    groups: dict[float, list[float]] = {}
    for row in rows:
        groups.setdefault(occupancy_pct(row), []).append(latency_ms(row))
    pct, latencies = max(groups.items(), key=lambda item: max(item[1]) / min(item[1]), default=(0.0, []))
    if len(latencies) < 2:
        return None
    return {"theoretical_occupancy_pct": pct, "configs": len(latencies), "latency_ms": extremes(latencies)}


def among_neighbours(explanation: Explanation) -> list[Statement]:
    """Whether more occupancy goes with less latency among the config and its correct neighbours."""
    own = explanation.row
    rows = {row.config_id: row for neighbours in explanation.neighbours for row in neighbours.rows}
    rows[own.config_id] = own
    timed = [row for row in rows.values() if row.known_status == "ok" and row.known_timing and row.occupancy]
    if own not in timed:
        return [Statement("note", "no-latency", {"config_id": own.config_id, "status": own.known_status})]
    higher = [row for row in timed if occupancy_pct(row) > occupancy_pct(own)]
    if not higher:
        figures = {"neighbours": len(timed) - 1, "theoretical_occupancy_pct": occupancy_pct(own)}
        return [Statement("note", "no-higher-occupancy", figures)]
    against, found = _against_higher(own, min(higher, key=latency_ms), len(higher)), correlation(timed)
    return [against, Statement("note", CODE, found)] if found else [against]


def _finding(rho: float, chance: float) -> str:
    if abs(rho) < chance:
        return "no-relation" if abs(rho) < LOOSE else "unclear"
    return "higher-latency" if rho > 0 else "strong" if rho <= -STRONG else "loose"


def _against_higher(own: Row, fastest: Row, count: int) -> Statement:
    """The config beside the fastest correct neighbour of higher occupancy."""
    ours, theirs = own.known_timing, fastest.known_timing
    assert ours is not None
    assert theirs is not None
    is_faster = theirs.latency_ci95_high_ms < ours.latency_ci95_low_ms
    is_slower = theirs.latency_ci95_low_ms > ours.latency_ci95_high_ms
    finding = "faster" if is_faster else "slower" if is_slower else "same"
    figures = {"finding": finding, "neighbours": count, "fastest": standing(fastest), "own": standing(own)}
    return Statement("note", "higher-occupancy", figures)
