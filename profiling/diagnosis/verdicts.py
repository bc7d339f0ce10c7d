"""What the figures of a run allow to say: one function for each statement, measured and recorded latencies alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ssdprof.profiling.diagnosis.correlation import among_ranked
from ssdprof.profiling.diagnosis.rows import (
    compiled_rows,
    found_correct,
    has_latencies,
    latency_ms,
    leading_rows,
    limiter_names,
)
from ssdprof.profiling.diagnosis.statement import NextStep, Statement
from ssdprof.profiling.diagnosis.warnings import measurement_warnings, occupancy_warnings
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.profiling.runs.recorded import latency_source

NEAR_FLOOR = 1.2
"""Times the least latency: up to here no launch configuration can gain much more."""


def statements(run: Run) -> list[Statement]:
    """Everything that the figures of a run allow to say; if it measured nothing, what the recorded latencies say."""
    of_latencies = _of_latencies(run) if has_latencies(run) else []
    if not run.measured:
        of_latencies = [replace(one, figures={**one.figures, "recorded": True}) for one in of_latencies]
    return [
        *_interrupted(run),
        *_not_measured(run),
        *of_latencies,
        *_wrong_by_construction(run),
        *_left_out(run),
        *measurement_warnings(run),
        *occupancy_warnings(run),
        *_limiters(run),
        *(Statement(one.status, one.code, dict(one.figures), message=one.message) for one in run.header.remarks),
    ]


def _of_latencies(run: Run) -> list[Statement]:
    ranked = run.ranked
    if not ranked:
        return [_nothing_correct(run), *_disagrees(run)]
    best = ranked[0]
    found = [_fastest_correct(run), *_ties(run), *_fastest_is_wrong(best, run), *_unstable(run), *_disagrees(run)]
    occupancy = among_ranked(ranked)
    return [*found, *([occupancy] if occupancy else []), *_floor(best, run)]


def _fastest_correct(run: Run) -> Statement:
    """The fastest config, or all that are tied for it: if there are ties, no single one is the best."""
    tied = leading_rows(run)
    ids = [row.config_id for row in tied]
    speedups = sorted(row.speedup_vs_baseline for row in tied if row.speedup_vs_baseline is not None)
    figures = {
        "config_ids": ids,
        "latency_ms": [latency_ms(tied[0]), latency_ms(tied[-1])],
        "baseline_id": run.header.baseline_id,
        "baseline_is_among_them": run.header.baseline_id in ids,
        "speedup_vs_baseline": [speedups[0], speedups[-1]] if speedups else None,
    }
    return Statement("good", "fastest-correct", figures)


def _ties(run: Run) -> list[Statement]:
    count = len(leading_rows(run))
    if count == 1:
        return []
    figures = {"tied_configs": count, "budget_s": run.header.budget_s}
    return [Statement("note", "ties", figures, "raise-budget" if run.measured else "measure-on-gpu")]


def _nothing_correct(run: Run) -> Statement:
    rows = [row for row in run.rows if run.measured or row.recorded]
    counts = dict(Counter(row.known_status for row in rows).most_common())
    return Statement("warning", "nothing-correct", {"configs": len(rows), "statuses": counts}, "read-reasons")


def _fastest_is_wrong(best: Row, run: Run) -> list[Statement]:
    best_ms = latency_ms(best)
    faster = [row for row in run.rows if row.known_status in ("wrong", "unstable") and latency_ms(row) < best_ms]
    if not faster:
        return []
    row = min(faster, key=lambda one: (latency_ms(one), one.config_id))
    figures = {
        "config_id": row.config_id,
        "latency_ms": latency_ms(row),
        "less_than_best_pct": 100 * (1 - latency_ms(row) / best_ms),
        "status": row.known_status,
        "relative_error": row.known_check.relative_error if row.known_check else None,
        "reason": row.known_reason,
        "faster_configs": len(faster),
    }
    return [Statement("warning", "fastest-is-wrong", figures, "drop-from-list")]


def _unstable(run: Run) -> list[Statement]:
    ids = [row.config_id for row in run.rows if row.known_status == "unstable"]
    return [Statement("warning", "unstable", {"config_ids": ids}, "drop-from-list")] if ids else []


def _disagrees(run: Run) -> list[Statement]:
    """A config that cannot be correct, by what its kernel says, and was found correct: the check decides."""
    rows = [row for row in run.rows if row.by_construction and found_correct(row)]
    if not rows:
        return []
    figures = {"config_ids": [row.config_id for row in rows], "reason": rows[0].by_construction}
    next_step: NextStep = "report" if run.measured else "measure-on-gpu"
    return [Statement("warning", "by-construction-disagrees", figures, next_step)]


def _wrong_by_construction(run: Run) -> list[Statement]:
    """How many configs cannot be correct, and why the fastest of them, or the first, cannot."""
    rows = [row for row in run.rows if row.by_construction and row.status != "ok"]
    if not rows:
        return []
    first = min(rows, key=latency_ms)
    figures = {
        "wrong_configs": len(rows),
        "configs": len(run.rows),
        "config_id": first.config_id,
        "reason": first.by_construction,
    }
    return [Statement("note", "wrong-by-construction", figures, "drop-from-list")]


def _left_out(run: Run) -> list[Statement]:
    left_out = run.header.left_out
    if not left_out:
        return []
    reasons = Counter(one.reason for one in left_out)
    figures = {
        "left_out_configs": len(left_out),
        "reasons": [{"reason": reason, "configs": count} for reason, count in reasons.most_common()],
    }
    return [Statement("note", "left-out", figures)]


def _floor(best: Row, run: Run) -> list[Statement]:
    """The best latency over the least that the problem's bytes take at the GPU's measured copy bandwidth."""
    copy_gbps, bytes_min = run.header.device.copy_gbps, run.header.bytes_min
    if copy_gbps is None and best.recorded:
        copy_gbps = best.recorded.copy_gbps
    if not copy_gbps or not bytes_min:
        return []
    floor_ms = bytes_min / copy_gbps / 1e6
    times = latency_ms(best) / floor_ms
    near = times <= NEAR_FLOOR
    figures = {
        "bytes_min": bytes_min,
        "copy_gbps": copy_gbps,
        "floor_ms": floor_ms,
        "times_the_floor": times,
        "near_the_floor": near,
    }
    return [Statement("good" if near else "note", "memory-floor", figures, "none" if near else "compare-dram-bytes")]


def _not_measured(run: Run) -> list[Statement]:
    if run.measured:
        return []
    figures = {"arch": run.header.device.arch, "latency_source": latency_source(run)}
    return [Statement("note", "not-measured", figures, "measure-on-gpu")]


def _interrupted(run: Run) -> list[Statement]:
    if not run.header.interrupted:
        return []
    left = sum(row.status == "not-run" and (run.measured or row.compiled is None) for row in run.rows)
    return [Statement("warning", "interrupted", {"left_configs": left, "configs": len(run.rows)}, "resume")]


def _limiters(run: Run) -> list[Statement]:
    """What limits the occupancy of the ranked rows, or of those that compiled if there are none."""
    listed = run.ranked if run.measured and run.ranked else compiled_rows(run)
    rows = [row for row in listed if row.occupancy]
    if not rows:
        return []
    counts = Counter(tuple(limiter_names(row.occupancy)) for row in rows if row.occupancy)
    first, occ = rows[0], rows[0].occupancy
    figures = {
        "configs": len(rows),
        "limiters": [{"limiters": list(names), "configs": count} for names, count in counts.most_common()],
        "explain": "best" if run.ranked else first.config_id,
        "first": None,
    }
    if occ and run.ranked:
        figures["first"] = {
            "config_id": first.config_id,
            "theoretical_occupancy_pct": occ.theoretical_occupancy_pct,
            "warps_per_scheduler": occ.warps_per_scheduler,
            "max_warps_per_scheduler": occ.max_warps_per_scheduler,
            "limiters": limiter_names(occ),
        }
    return [Statement("note", "limiters", figures, "explain")]
