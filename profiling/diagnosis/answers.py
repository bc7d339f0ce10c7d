"""What a user asks of a run first, as data: what to use, how good it is, what limits it, what is wrong, what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ssdprof.kernels.config import Config, Value
from ssdprof.profiling.diagnosis import rows as of_rows
from ssdprof.profiling.diagnosis.correlation import correlation
from ssdprof.profiling.diagnosis.floor import floor
from ssdprof.profiling.diagnosis.groups import against, several_answers
from ssdprof.profiling.diagnosis.rows import latency_ms
from ssdprof.profiling.diagnosis.statement import NextStep, Statement
from ssdprof.profiling.runs.model import Row, Run

COVERED = (
    "fastest-correct", "fastest-is-wrong", "interrupted", "limiters", "memory-floor", "not-measured", "nothing-correct",
    "occupancy-and-latency", "several-answers", "stopped", "wrong-by-construction",
)  # fmt: skip
"""Codes of a run's statements (`verdicts.statements`) that the answer says in fewer words."""


def answer(run: Run) -> list[Statement]:
    """The answer to a sweep, at most six statements; the first says whether there is a config to use.

    If it is not known which of several outputs is correct, there is none.
    """
    ranked, listed = run.ranked, of_rows.listed_rows(run)
    first = ranked[0] if ranked else next(iter(listed), None)
    if undecided := several_answers(run):
        occupancy = [_occupancy(first, run)] if first else []
        return [*_unfinished(run), undecided, *occupancy, *_not_used(run)]
    return [
        *_unfinished(run),
        *([_use(ranked[0], run)] if ranked else _nothing_to_use(run, listed)),
        *([Statement("good" if of["near_the_floor"] else "note", "floor", of)] if (of := floor(run)) else []),
        *([_occupancy(first, run)] if first else []),
        *_question(run, listed),
        *_not_used(run),
        *_next(run, first),
    ]


def _unfinished(run: Run) -> Iterator[Statement]:
    """That configs are left, why, and what to do next."""
    if run.header.interrupted or run.header.stopped:
        left = of_rows.left_configs(run, measured=run.measured and not run.header.stopped)
        figures = {"left_configs": left, "configs": len(run.rows), "reason": run.header.stopped}
        yield Statement("warning", "unfinished", figures, "resume")


def _use(best: Row, run: Run) -> Statement:
    """The config to use, what it gains, and those that cannot be told from it."""
    baseline_id = run.header.baseline_id
    figures = {
        "config_id": best.config_id,
        "latency_ms": latency_ms(best),
        "speedup_vs_baseline": best.speedup_vs_baseline,
        "baseline_id": baseline_id,
        "is_baseline": best.config_id == baseline_id,
        "tied_config_ids": [row.config_id for row in of_rows.leading_rows(run)[1:]],
        "correct_configs": len(run.ranked),
        "relative_error": best.known_check.relative_error if best.known_check else None,
        "checked_launches": best.known_check.launches if best.known_check else None,
        "is_another_binary": of_rows.of_another_binary(best),
        "recorded": None if run.measured or not best.recorded else best.recorded.source,
    }
    if held := against(run):
        figures["against"] = held
    return Statement("good", "use", figures)


def _nothing_to_use(run: Run, listed: Sequence[Row]) -> Iterator[Statement]:
    """That nothing was correct and what came instead, or that nothing was measured."""
    if run.measured or of_rows.has_latencies(run):
        rows = [row for row in run.rows if row.known_status not in ("ok", "not-run")]
        counts = Counter(row.known_status for row in rows).most_common()
        (reason, count), *_ = Counter(row.known_reason for row in rows).most_common(1) or [("", 0)]
        figures = {"configs": len(run.rows), "statuses": dict(counts), "reason": reason, "reason_configs": count}
        yield Statement("warning", "nothing-to-use", figures, "read-reasons")
    elif not run.header.stopped:
        compiled = sum(row.compiled is not None for row in run.rows)
        figures = {"arch": run.header.device.arch, "compiled_configs": compiled, "configs": len(run.rows)}
        figures["usable_configs"] = len(listed)
        yield Statement("note" if compiled else "warning", "compiled-only", figures, "measure-on-gpu")


def _occupancy(row: Row, run: Run) -> Statement:
    """What limits the first config's occupancy, and whether occupancy goes with latency."""
    occ = row.occupancy
    figures: dict[str, Any] = {"config_id": row.config_id, "correlation": correlation(run.ranked)}
    if occ is not None:
        names = ("theoretical_occupancy_pct", "warps_per_scheduler", "max_warps_per_scheduler", "blocks_per_sm")
        figures |= {**of_rows.fields(occ, *names), "limiters": of_rows.limiter_names(occ)}
        highest = max((one for one in run.ranked if one.occupancy), key=of_rows.occupancy_pct, default=row)
        if of_rows.occupancy_pct(highest) > occ.theoretical_occupancy_pct and latency_ms(highest) > latency_ms(row):
            figures["higher"] = {
                "theoretical_occupancy_pct": of_rows.occupancy_pct(highest),
                "latency_ms": latency_ms(highest),
            }
    return Statement("note", "occupancy", figures)


def _question(run: Run, listed: Sequence[Row]) -> Iterator[Statement]:
    """What users ask of one parameter: whether it limits the baseline, or else the first config that tells."""
    question = run.header.question
    param = next((one for one in run.header.params if question and one.column == question.parameter), None)
    if question is None or param is None or not listed:
        return
    figures: dict[str, Any] = {"parameter": param.heading, "extent": question.extent}
    whole = [row for row in listed if row.config[param.name] == question.extent]
    baseline = [row for row in whole if row.config_id == run.header.baseline_id]
    alike: dict[Config, list[Row]] = {}  # but for the parameter
    for row in run.rows:
        if row.occupancy:
            alike.setdefault(row.config.with_values({param.name: None}), []).append(row)
    for row in (*baseline, *whole, *listed):
        others = [
            one
            for one in alike.get(row.config.with_values({param.name: None}), ())
            if _is_less(one.config[param.name], row.config[param.name])
        ]
        if others and row.occupancy:
            most = max(others, key=lambda one: (one.occupancy.blocks_per_sm if one.occupancy else 0, one.config_id))
            assert most.occupancy is not None
            figures |= {
                "config_id": row.config_id,
                "value": row.config[param.name],
                "other_values": sorted({one.config.number(param.name) for one in others}),
                "warps_per_scheduler": row.occupancy.warps_per_scheduler,
                "most_warps_per_scheduler": most.occupancy.warps_per_scheduler,
                "most_value": most.config[param.name],
                "limits": most.occupancy.blocks_per_sm > row.occupancy.blocks_per_sm,
                "most_is_wrong": most.known_status in of_rows.NOT_TO_USE,
                "all_are_wrong": all(one.known_status in of_rows.NOT_TO_USE for one in others),
            }
            break
    yield Statement("note", "question", figures)


def _is_less(value: Value, than: Value) -> bool:
    return isinstance(value, int) and isinstance(than, int) and value < than


def _not_used(run: Run) -> Iterator[Statement]:
    """How many configs have no rank by status, and the fastest wrong one beside what is correct."""
    groups = {status: rows for status, rows in of_rows.rejected_rows(run).items() if status != "not-run"}
    rest = [row for rows in groups.values() for row in rows]
    if not rest or len(rest) == len(run.rows):  # then that is the answer already
        return
    counts = {status: len(rows) for status, rows in groups.items()}
    figures: dict[str, Any] = {"configs": len(run.rows), "statuses": counts, "fastest": None}
    timed = [row for row in rest if row.known_status in of_rows.NEVER_TO_USE and row.known_timing]
    if timed:
        fastest = min(timed, key=lambda row: (latency_ms(row), row.config_id))
        same = [row for row in run.ranked if row.config.variant == fastest.config.variant]
        slower = [row for row in (*run.ranked[:1], *same[:1]) if latency_ms(fastest) < latency_ms(row)]
        figures["fastest"] = {
            "config_id": fastest.config_id,
            "latency_ms": latency_ms(fastest),
            "relative_error": fastest.known_check.relative_error if fastest.known_check else None,
            "status": fastest.known_status,
            "faster_than": None if not slower else "best" if slower[0].rank == 1 else fastest.config.variant,
            "less_pct": 100 * (1 - latency_ms(fastest) / latency_ms(slower[0])) if slower else None,
        }
    elif by_construction := [row for row in rest if row.by_construction]:
        figures |= {"config_id": by_construction[0].config_id, "reason": by_construction[0].by_construction}
    yield Statement("warning" if timed else "note", "not-used", figures, "drop-from-list")


def _next(run: Run, first: Row | None) -> Iterator[Statement]:
    """What to do next, unless the run is not finished."""
    if run.header.interrupted or run.header.stopped:
        return
    step: NextStep = "measure-on-gpu" if first and not run.measured else "explain" if first else "read-reasons"
    figures: dict[str, Any] = {"step": step, **of_rows.to_explain(run, first)}
    if step == "read-reasons":
        counts = Counter(row.known_status for row in run.rows).most_common(1)
        figures["status"] = counts[0][0] if counts else "not-run"
    yield Statement("note", "next", figures, step)
