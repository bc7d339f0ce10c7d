"""What the figures of a run allow to say: one function for each statement, measured and recorded latencies alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from ssdprof.profiling.diagnosis import rows as of_rows
from ssdprof.profiling.diagnosis.correlation import among_ranked
from ssdprof.profiling.diagnosis.floor import floor
from ssdprof.profiling.diagnosis.groups import agreement, several_answers
from ssdprof.profiling.diagnosis.rows import extremes, fields, latency_ms, limiter_names
from ssdprof.profiling.diagnosis.statement import NextStep, Statement
from ssdprof.profiling.diagnosis.warnings import measurement_warnings, occupancy_warnings, output_warnings
from ssdprof.profiling.runs.answers.outliers import outliers
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.profiling.runs.recorded import latency_source


def statements(run: Run) -> list[Statement]:
    """Everything that the figures of a run allow to say; if it measured nothing, what the recorded latencies say."""
    of_latencies = list(_of_latencies(run)) if of_rows.has_latencies(run) else []
    if not run.measured:
        of_latencies = [replace(one, figures={**one.figures, "recorded": True}) for one in of_latencies]
    return [
        *_reached(run),
        *of_latencies,
        *_not_to_be_used(run),
        *output_warnings(run),
        *measurement_warnings(run),
        *occupancy_warnings(run),
        *_limiters(run),
        *(Statement(one.status, one.code, dict(one.figures), message=one.message) for one in run.header.remarks),
    ]


def _reached(run: Run) -> Iterator[Statement]:
    """What the run did not do: a rest of its configs, or any measurement."""
    if run.header.interrupted:
        left = of_rows.left_configs(run, measured=run.measured)
        yield Statement("warning", "interrupted", {"left_configs": left, "configs": len(run.rows)}, "resume")
    if run.header.stopped:
        left = of_rows.left_configs(run, measured=False)
        figures = {"reason": run.header.stopped, "left_configs": left, "configs": len(run.rows)}
        yield Statement("warning", "stopped", figures, "resume")
    if not run.measured:
        figures = {"arch": run.header.device.arch, "latency_source": latency_source(run)}
        yield Statement("note", "not-measured", figures, "measure-on-gpu")


def _of_latencies(run: Run) -> Iterator[Statement]:
    ranked, undecided = run.ranked, several_answers(run)
    if undecided:
        yield undecided
    elif ranked:
        yield from _fastest_correct(run)
        yield from _fastest_is_wrong(ranked[0], run)
    else:
        rows = [row for row in run.rows if run.measured or row.recorded]
        counts = dict(Counter(row.known_status for row in rows).most_common())
        yield Statement("warning", "nothing-correct", {"configs": len(rows), "statuses": counts}, "read-reasons")
    if ids := [row.config_id for row in run.rows if row.known_status == "unstable" and (ranked or undecided)]:
        yield Statement("warning", "unstable", {"config_ids": ids}, "drop-from-list")
    if agreed := agreement(run):
        yield agreed
    # a config that cannot be correct, by what its kernel says, and was found correct: the check decides
    if odd := [row for row in run.rows if row.by_construction and of_rows.found_correct(row)]:
        figures = {"config_ids": [row.config_id for row in odd], "reason": odd[0].by_construction}
        next_step: NextStep = "report" if run.measured else "measure-on-gpu"
        yield Statement("warning", "by-construction-disagrees", figures, next_step)
    if occupancy := among_ranked(ranked):
        yield occupancy
    if ranked and not undecided:
        yield from _floor(run)


def _fastest_correct(run: Run) -> Iterator[Statement]:
    """The fastest config, or all that are tied for it: if there are ties, no single one is the best."""
    tied, header = of_rows.leading_rows(run), run.header
    ids = [row.config_id for row in tied]
    figures = {
        "config_ids": ids,
        "latency_ms": [latency_ms(tied[0]), latency_ms(tied[-1])],
        "baseline_id": header.baseline_id,
        "baseline_is_among_them": header.baseline_id in ids,
        "speedup_vs_baseline": extremes(row.speedup_vs_baseline for row in tied),
    }
    yield Statement("good", "fastest-correct", figures)
    if len(tied) > 1:
        figures = {"tied_configs": len(tied), "budget_s": header.budget_s}
        yield Statement("note", "ties", figures, "raise-budget" if run.measured else "measure-on-gpu")


def _fastest_is_wrong(best: Row, run: Run) -> Iterator[Statement]:
    best_ms = latency_ms(best)
    faster = [row for row in run.rows if row.known_status in of_rows.NEVER_TO_USE and latency_ms(row) < best_ms]
    if faster:
        row = min(faster, key=lambda one: (latency_ms(one), one.config_id))
        figures = {
            "config_id": row.config_id,
            "latency_ms": latency_ms(row),
            "less_than_best_pct": 100 * (1 - latency_ms(row) / best_ms),
            "status": row.known_status,
            "relative_error": row.known_check.relative_error if row.known_check else None,
            "reason": row.known_reason,
            "by_comparison": row.config_id in outliers(run.rows, run.header.tolerances),
            "faster_configs": len(faster),
        }
        yield Statement("warning", "fastest-is-wrong", figures, "drop-from-list")


def _floor(run: Run) -> Iterator[Statement]:
    if figures := floor(run):
        near = figures["near_the_floor"]
        yield Statement("good" if near else "note", "memory-floor", figures, "none" if near else "compare-dram-bytes")


def _not_to_be_used(run: Run) -> Iterator[Statement]:
    """How many configs cannot be correct, and why one of them; outputs whose bits say nothing; configs left out."""
    if rows := [row for row in run.rows if row.by_construction and row.status != "ok"]:
        first = min(rows, key=latency_ms)
        figures = {"wrong_configs": len(rows), "configs": len(run.rows), "config_id": first.config_id}
        figures["reason"] = first.by_construction
        yield Statement("note", "wrong-by-construction", figures, "drop-from-list")
    if (unordered := run.header.unordered) and run.measured:
        yield Statement("note", "unordered", {"outputs": list(unordered)})
    if left_out := run.header.left_out:
        counts = Counter(one.reason for one in left_out).most_common()
        reasons = [{"reason": reason, "configs": count} for reason, count in counts]
        yield Statement("note", "left-out", {"left_out_configs": len(left_out), "reasons": reasons})


def _limiters(run: Run) -> Iterator[Statement]:
    """What limits the occupancy of the ranked rows, or of those that compiled if there are none."""
    listed = run.ranked if run.measured and run.ranked else of_rows.compiled_rows(run)
    if rows := [(row, row.occupancy) for row in listed if row.occupancy]:
        counts = Counter(tuple(limiter_names(occ)) for _, occ in rows).most_common()
        first, occ = rows[0]
        of_first = fields(occ, "theoretical_occupancy_pct", "warps_per_scheduler", "max_warps_per_scheduler")
        figures = {
            "configs": len(rows),
            "limiters": [{"limiters": list(names), "configs": count} for names, count in counts],
            **of_rows.to_explain(run, first),
            "first": {"config_id": first.config_id, **of_first, "limiters": limiter_names(occ)} if run.ranked else None,
        }
        yield Statement("note", "limiters", figures, "explain")
