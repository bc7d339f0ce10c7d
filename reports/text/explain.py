"""Why a config has the occupancy and the latency it has: its limits, what one changed parameter does, and in words."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from ssdprof.kernels.config import triton_config
from ssdprof.profiling.diagnosis.advice import advice
from ssdprof.profiling.diagnosis.correlation import among_neighbours
from ssdprof.profiling.diagnosis.rows import of_another_binary
from ssdprof.profiling.diagnosis.why import answer
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.rule import rule_sentence
from ssdprof.profiling.runs.model import Explanation, Neighbours, Row
from ssdprof.reports.columns import column, latency_text, param_column
from ssdprof.reports.text import ledger as ledger_report
from ssdprof.reports.text import occupancy as occupancy_report
from ssdprof.reports.text import tables
from ssdprof.reports.text.counters import counters_lines
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn
from ssdprof.reports.text.prose import Labelled, Prose
from ssdprof.reports.text.sweep import STYLES
from ssdprof.reports.text.tables import dimmed, from_rows, label_grid
from ssdprof.reports.words import answers
from ssdprof.reports.words.explanation import headroom, parameter_name, sentences

NOTHING_SAID = ("no-higher-occupancy", "no-latency")
"""What there is no need to say of the neighbours: the answer compares with the whole run."""


def explain_report(explanation: Explanation) -> RenderableType:
    """Everything that `explain` prints."""
    given = advice(explanation)
    lines = [("config", explanation.row.config_id), *answers.labelled(given)]
    lines.append(("to paste", triton_config(explanation.header.params, explanation.row.config)))
    lines.append(("of", explanation.whose))
    styles = ("dim", *(STYLES[one.status] for one in given), "dim", "dim")
    parts: list[RenderableType] = [Labelled(tuple(lines), styles), Text(), *_occupancy_parts(explanation)]
    parts += counters_lines(explanation.row)
    for neighbours in explanation.neighbours:
        parts += [_neighbours_part(explanation, neighbours), Text()]
    if explanation.question:
        title, text = explanation.question.title, sentences(explanation, answer(explanation))
        parts += [Prose(title, "bold"), Prose(text), Text()]
    found = among_neighbours(explanation)
    if all(one.code not in NOTHING_SAID for one in found):
        parts += [Prose("Is occupancy what limits the latency?", "bold"), Prose(sentences(explanation, found)), Text()]
    notes = dimmed(tables.another_binary_notes([explanation.row]))
    return Group(*parts, label_grid(_header(explanation)), *notes)


def _header(explanation: Explanation) -> list[tuple[str, str]]:
    row, header = explanation.row, explanation.header
    latency = "not measured"
    if row.known_timing is not None:
        source = f", {explanation.latency_source}" if explanation.latency_source else ""
        latency = f"{latency_text(row.known_latency_ms)} ms{_mark(row)}{source}"
    lines = [*tables.source_lines(header), ("arch", header.device.arch), ("latency", latency)]
    if row.known_status not in ("ok", "not-run") or row.compiled is None:
        lines.append(("status", f"{row.known_status}: {row.known_reason}"))
    return lines


def _occupancy_parts(explanation: Explanation) -> list[RenderableType]:
    row = explanation.row
    if row.compiled is None or row.occupancy is None:
        return [Prose(f"No binary to look at: {row.status_reason or row.status}."), Text()]
    sentence = rule_sentence(row.occupancy)
    lines = [*([sentence, ""] if sentence else []), *headroom(explanation), ""]
    limits = limits_for(explanation.header.device.arch)
    allowances = occupancy_report.allowances(row.compiled.launch, limits)
    section: list[RenderableType] = [occupancy_report.section(row.occupancy), Text(), *map(Prose, lines)]
    return [*section, allowances, Text(), *ledger_report.parts(explanation.ledger, explanation.ledger_absent)]


def _neighbours_part(explanation: Explanation, neighbours: Neighbours) -> RenderableType:
    rows, own = neighbours.rows, explanation.row.config_id
    name = parameter_name(explanation, neighbours.param)
    values = [param_column(neighbours.param).text(row) for row in rows]
    marked = tuple(f"{'▸ ' if row.config_id == own else ''}{value}" for row, value in zip(rows, values, strict=True))
    figures = ("blocks_per_sm", "warps_per_scheduler", "theoretical_occupancy_pct")
    columns = [ScreenColumn(name, marked), from_rows("registers_per_thread", rows), *tables.memory_columns(rows)]
    columns += [*(from_rows(figure, rows) for figure in figures), tables.limiters_column(rows)]
    if any(row.known_timing for row in rows):
        columns.append(_latency_column(rows, explanation.latency_source or ""))
    statuses = tuple("" if _plain(row) else row.known_status for row in rows)
    if any(statuses):
        colours = tuple(map(tables.status_colour, statuses))
        columns.append(ScreenColumn("status", statuses, right=False, colours=colours))
    styles = tuple("bold" if row.config_id == own else "" for row in rows)
    notes = [f"{value}: {row.known_reason}" for row, value in zip(rows, values, strict=True) if not _plain(row)]
    notes += tables.another_binary_notes(rows)
    title = Prose(f"With another {name}, all else equal", "bold")
    return Group(title, FittedTable(tuple(columns), styles, elsewhere="--json"), *dimmed(notes))


def _latency_column(rows: Sequence[Row], source: str) -> ScreenColumn:
    heading = tables.RECORDED_HEADING if source.startswith("recorded") else column("latency_ms").heading
    texts = [latency_text(row.known_latency_ms) for row in rows]
    marks = [_mark(row) for row in rows]
    if any(marks):  # to the left, so that the digits stay below one another
        texts = [text.rjust(max(map(len, texts))) for text in texts]
    return ScreenColumn(heading, tuple(map("".join, zip(texts, marks, strict=True))), right=not any(marks))


def _mark(row: Row) -> str:
    return "*" if of_another_binary(row) else ""


def _plain(row: Row) -> bool:
    """Whether the row's status needs no word: correct, or compiled alone."""
    return row.known_status == "ok" or (row.known_status == "not-run" and row.compiled is not None)
