"""Why a config has the occupancy and the latency it has: its limits, what one changed parameter does, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.runs.model import Explanation, Neighbours, Row
from ssdprof.reports.columns import column, latency_text, pct_text
from ssdprof.reports.text import occupancy as occupancy_report
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn
from ssdprof.reports.text.tables import label_grid, limiters_column, source_lines
from ssdprof.reports.words.verdict import correlation_words
from ssdprof.reports.words.why_dstate import why_dstate

PARAMETERS = {
    "block_dstate": "DSTATE tile",
    "num_warps": "num_warps",
    "num_stages": "num_stages",
    "maxnreg": "maxnreg",
    "heads": "heads per program",
}


def explain_report(explanation: Explanation) -> RenderableType:
    """Everything that `explain` prints."""
    parts: list[RenderableType] = [label_grid(_header(explanation)), Text()]
    parts += _occupancy_parts(explanation)
    for neighbours in explanation.neighbours:
        parts += [_neighbours_part(explanation, neighbours), Text()]
    why = Text("Why DSTATE matters here, or does not", style="bold")
    limiter = Text("Is occupancy what limits the latency?", style="bold")
    parts += [why, Text(why_dstate(explanation)), Text(), limiter, Text(latency_words(explanation))]
    return Group(*parts)


def words(explanation: Explanation) -> dict[str, Any]:
    """What the report says in sentences, by name, for JSON."""
    row = explanation.row
    return {
        "rule": occupancy_report.rule_sentence(row.occupancy) if row.occupancy else None,
        "headroom": _headroom(explanation),
        "why_dstate": why_dstate(explanation),
        "occupancy_and_latency": latency_words(explanation),
    }


def latency_words(explanation: Explanation) -> str:
    """Whether more occupancy goes with less latency among the config and its right neighbours."""
    own = explanation.row
    rows = {row.config_id: row for neighbours in explanation.neighbours for row in neighbours.rows}
    rows[own.config_id] = own
    timed = [row for row in rows.values() if row.status == "ok" and row.timing and row.occupancy]
    if own not in timed:
        state = "was not measured" if own.status in ("ok", "not-run") else f"is {own.status}"
        return f"Cannot be said: {own.config_id} {state}, so there is no latency to hold occupancy against."
    higher = [row for row in timed if _occupancy_pct(row) > _occupancy_pct(own)]
    if not higher:
        others = len(timed) - 1
        who = f"none of the {others} right neighbours with a latency has" if others > 1 else "no right neighbour has"
        return f"Cannot be said: {who} a higher occupancy than {pct_text(_occupancy_pct(own))} %."
    sentences = [_against_higher(own, min(higher, key=_latency_ms), len(higher))]
    correlation = correlation_words(timed)
    if correlation is not None:
        sentences.append(correlation)
    return " ".join(sentences)


def _against_higher(own: Row, fastest: Row, count: int) -> str:
    assert own.timing is not None
    assert fastest.timing is not None
    which = "the right neighbour" if count == 1 else f"the fastest of the {count} right neighbours"
    figures = (
        f"{which} with a higher occupancy, {fastest.config_id} ({pct_text(_occupancy_pct(fastest))} % against "
        f"{pct_text(_occupancy_pct(own))} %), takes {latency_text(_latency_ms(fastest))} ms against "
        f"{latency_text(_latency_ms(own))} ms"
    )
    if fastest.timing.latency_ci95_high_ms < own.timing.latency_ci95_low_ms:
        return f"It may be: {figures}. The changed parameter changes more than occupancy, so this is no proof."
    if fastest.timing.latency_ci95_low_ms > own.timing.latency_ci95_high_ms:
        return f"No: {figures}."
    return f"No: {figures}, which is no difference within the noise."


def _header(explanation: Explanation) -> list[tuple[str, str]]:
    row, header = explanation.row, explanation.header
    latency = "not measured"
    if row.timing is not None:
        source = f", {explanation.latency_source}" if explanation.latency_source else ""
        latency = f"{latency_text(row.timing.latency_ms)} ms{source}"
    lines = [("config", row.config_id), *source_lines(header), ("arch", header.device.arch), ("latency", latency)]
    if row.status not in ("ok", "not-run") or row.compiled is None:
        lines.append(("status", f"{row.status}: {row.status_reason}"))
    return lines


def _occupancy_parts(explanation: Explanation) -> list[RenderableType]:
    row = explanation.row
    if row.compiled is None or row.occupancy is None:
        return [Text(f"No binary to look at: {row.status_reason or row.status}."), Text()]
    sentence = occupancy_report.rule_sentence(row.occupancy)
    return [
        occupancy_report.section(row.occupancy),
        Text(),
        *([Text(sentence), Text()] if sentence else []),
        *(Text(line) for line in _headroom(explanation)),
        Text(),
        occupancy_report.allowances(row.compiled.launch, limits_for(explanation.header.device.arch)),
        Text(),
    ]


def _headroom(explanation: Explanation) -> list[str]:
    row = explanation.row
    if row.compiled is None or row.occupancy is None:
        return []
    limits = limits_for(explanation.header.device.arch)
    return occupancy_report.headroom_lines(row.compiled.launch, row.occupancy, limits)


def _neighbours_part(explanation: Explanation, neighbours: Neighbours) -> RenderableType:
    rows = neighbours.rows
    name = PARAMETERS.get(neighbours.parameter, neighbours.parameter)
    values = [column(neighbours.parameter).text(row) for row in rows]
    own = explanation.row.config_id
    marked = tuple(f"{'▸ ' if row.config_id == own else ''}{value}" for row, value in zip(rows, values, strict=True))
    columns = [ScreenColumn(name, marked), *_figures(rows)]
    if any(row.timing for row in rows):
        recorded = (explanation.latency_source or "").startswith("recorded")
        cells = tuple(column("latency_ms").text(row) for row in rows)
        columns.append(ScreenColumn("recorded\nlatency ms" if recorded else "latency\nms", cells))
    statuses = tuple("" if _plain(row) else row.status for row in rows)
    if any(statuses):
        columns.append(ScreenColumn("status", statuses, right=False))
    styles = tuple("bold" if row.config_id == own else "" for row in rows)
    notes = [
        Text(f"{value}: {row.status_reason}", style="dim")
        for row, value in zip(rows, values, strict=True)
        if not _plain(row)
    ]
    return Group(
        Text(f"With another {name}, all else equal", style="bold"), FittedTable(tuple(columns), styles), *notes
    )


def _figures(rows: Sequence[Row]) -> list[ScreenColumn]:
    names = ["registers_per_thread", "spill_bytes", "dynamic_shared_mem_bytes", "blocks_per_sm"]
    names += ["warps_per_scheduler", "theoretical_occupancy_pct"]
    if not any(column("spill_bytes").value(row) for row in rows):
        names.remove("spill_bytes")
    figures = [ScreenColumn(column(name).heading, tuple(column(name).text(row) for row in rows)) for name in names]
    return [*figures, limiters_column(rows, gives_up=1)]


def _plain(row: Row) -> bool:
    """Whether the row's status needs no word: right, or compiled alone."""
    return row.status == "ok" or (row.status == "not-run" and row.compiled is not None)


def _latency_ms(row: Row) -> float:
    return row.timing.latency_ms if row.timing else float("inf")


def _occupancy_pct(row: Row) -> float:
    return row.occupancy.theoretical_occupancy_pct if row.occupancy else 0.0
