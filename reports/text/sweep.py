"""What a sweep prints: the answer, the best configs, what cannot be used, what else is to be said, and provenance."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from ssdprof.profiling.diagnosis.answers import COVERED, answer
from ssdprof.profiling.diagnosis.rows import rejected_rows
from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.profiling.diagnosis.verdicts import statements
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.reports.columns import error_text, latency_text
from ssdprof.reports.text.counters import counters_table
from ssdprof.reports.text.prose import Labelled, Prose
from ssdprof.reports.text.tables import header, ranked_table, rejected_tables, status_colour
from ssdprof.reports.words import answers, verdicts

BEST_SHOWN = 10
"""Ranked configs that are shown unless more are asked for."""
STYLES = {"good": "bold green", "note": "bold", "warning": "bold yellow"}


def sweep_report(run: Run, *, top: int | None = BEST_SHOWN, lists_rejected: bool = False) -> RenderableType:
    """Everything a sweep prints: `top` ranked configs, None for all, and whether all the others are listed."""
    parts: list[RenderableType] = [answer_lines(answer(run)), Text(), ranked_table(run, top=top)]
    parts += rejected_tables(run) if lists_rejected else rejected_lines(run)
    parts += counters_table([*run.ranked, *(row for row in run.rows if row.rank is None)])
    if rest := [one for one in statements(run) if one.code not in COVERED]:
        parts += [Text(), verdicts.render(rest)]
    return Group(*parts, Text(), header(run))


def answer_lines(found: Sequence[Statement]) -> RenderableType:
    """The answer, each statement beside its label."""
    return Labelled(tuple(answers.labelled(found)), tuple(STYLES[one.status] for one in found))


def rejected_lines(run: Run) -> list[RenderableType]:
    """How many configs of each status are not ranked, and the fastest of each or the first, with its reason."""
    groups = rejected_rows(run)
    lines = [(f"{len(group)} {status}", _first_of(group)) for status, group in groups.items()]
    if not lines:
        return []
    title = Prose(f"Not ranked: {sum(map(len, groups.values()))} of {len(run.rows)} (--wrong lists them)", "bold")
    return [Text(), title, Labelled(tuple(lines), tuple(map(status_colour, groups)))]


def _first_of(rows: Sequence[Row]) -> str:
    """The fastest of the rows, or the first, in a line."""
    row = rows[0]
    latency = "" if row.known_latency_ms is None else f"{latency_text(row.known_latency_ms)} ms"
    error = "" if row.known_check is None else f"error {error_text(row.known_check.relative_error)}"
    which = "the fastest, " if len(rows) > 1 and latency else ""
    return ", ".join(part for part in (f"{which}{row.config_id}", latency, error) if part) + f": {row.known_reason}"
