"""What one changed parameter does to a config, in one table: the config as it is, then each change, the best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import RenderableType

from ssdprof.profiling.diagnosis.counterfactuals import Counterfactual, counterfactuals, most_helpful, own_row
from ssdprof.profiling.diagnosis.rows import of_another_binary
from ssdprof.profiling.runs.model import Explanation, Row
from ssdprof.reports.columns import column, latency_text, ratio_text
from ssdprof.reports.text import tables
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn
from ssdprof.reports.text.prose import Prose
from ssdprof.reports.words import counterfactuals as words

TITLE = "What one change does, all else equal"
UNCHANGED = "▸ as it is"
LEFT_OUT_FIRST = (
    "warps_per_scheduler", "limiters", "dynamic_shared_mem_bytes", "spill_bytes", "speedup_vs_baseline",
    "blocks_per_sm", "registers_per_thread", "theoretical_occupancy_pct",
)  # fmt: skip
"""What a narrow screen does without, the least important first; the change, latency and status stay."""
_RESOURCES = ("blocks_per_sm", "warps_per_scheduler", "theoretical_occupancy_pct")


def parts(explanation: Explanation) -> list[RenderableType]:
    """Title, table, notes and the most helpful change; nothing if no other config was tried."""
    found, own = counterfactuals(explanation), own_row(explanation)
    if not found:
        return []
    rows = [own, *(one.row for one in found)]
    reasons = list(dict.fromkeys(row.known_reason for row in rows if not _is_plain(row)))
    changes = (UNCHANGED, *(words.change(explanation, one) for one in found))
    columns = [ScreenColumn("change", changes, right=False, is_id=True), tables.from_rows("registers_per_thread", rows)]
    columns += [*tables.memory_columns(rows), *(tables.from_rows(name, rows) for name in _RESOURCES)]
    columns += [tables.limiters_column(rows), *_latencies(found, rows, explanation.latency_source or "")]
    columns += _statuses(rows, reasons)
    styles = ("bold", *("" for _ in found))
    notes = [f"[{number}] {reason}" for number, reason in enumerate(reasons, 1)] + tables.another_binary_notes(rows)
    table = FittedTable(tuple(map(_in_order, columns)), styles, elsewhere="--json")
    said = most_helpful(explanation)
    sentence = [Prose(words.most_helpful(explanation, said))] if said else []
    return [Prose(TITLE, "bold"), table, *tables.dimmed(notes), *sentence]


def _in_order(of: ScreenColumn) -> ScreenColumn:
    """The column as this table gives it up."""
    headings = [column(name).heading for name in LEFT_OUT_FIRST]
    return replace(of, gives_up=headings.index(of.heading) + 1 if of.heading in headings else 0)


def _latencies(found: Sequence[Counterfactual], rows: Sequence[Row], source: str) -> list[ScreenColumn]:
    """Latencies and what the config's own is of them; none if no row has one."""
    if not any(row.known_timing for row in rows):
        return []
    heading = tables.RECORDED_HEADING if source.startswith("recorded") else column("latency_ms").heading
    texts = [latency_text(row.known_latency_ms) for row in rows]
    marks = ["*" if of_another_binary(row) else "" for row in rows]
    if any(marks):  # to the left, so that the digits stay below one another
        texts = [text.rjust(max(map(len, texts))) for text in texts]
    cells = tuple(map("".join, zip(texts, marks, strict=True)))
    shown = [ScreenColumn(heading, cells, right=not any(marks))]
    if any(one.times_as_fast for one in found):
        ratios = ("", *(ratio_text(one.times_as_fast) for one in found))
        shown.append(ScreenColumn(column("speedup_vs_baseline").heading, ratios))
    return shown


def _statuses(rows: Sequence[Row], reasons: Sequence[str]) -> list[ScreenColumn]:
    """The statuses, unless all are compiled alone; those with a reason have the number of its note."""
    named = [row.known_status if row.known_status == "ok" or not _is_plain(row) else "" for row in rows]
    if not any(named):
        return []
    numbers = ["" if _is_plain(row) else f" [{reasons.index(row.known_reason) + 1}]" for row in rows]
    colours = tuple(map(tables.status_colour, named))
    cells = tuple(map("".join, zip(named, numbers, strict=True)))
    return [ScreenColumn("status", cells, right=False, colours=colours)]


def _is_plain(row: Row) -> bool:
    """Whether the row's status needs no reason: correct, or compiled alone."""
    return row.known_status == "ok" or (row.known_status == "not-run" and row.compiled is not None)
