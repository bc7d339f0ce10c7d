"""A verification as tables, JSON and CSV: where our figures agree with the driver's and ncu's, and every difference."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.profiling.ncu.program import RULE
from ssdprof.profiling.ncu.verify import DRIVER_CALLS, FIGURES, RULE_SENTENCE, Comparison, Source, Verification
from ssdprof.reports.export.run_json import SCHEMA, json_text
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn
from ssdprof.reports.text.occupancy import titled_table
from ssdprof.reports.text.prose import Prose
from ssdprof.reports.text.tables import label_grid
from ssdprof.reports.words.verdicts import as_dicts, render
from ssdprof.reports.words.verification import launches_text, words

METRICS = {**DRIVER_CALLS, **{figure.name: figure.metric for figure in FIGURES}, RULE_SENTENCE: f"rule {RULE}"}
"""What each figure is called by whom it is compared with."""
CSV_COLUMNS = ("launch", "source", "figure", "metric", "ours", "theirs", "outcome")


def verify_report(found: Verification) -> RenderableType:
    """What was compared with what, the agreements, every difference, what could not be checked, and the verdict."""
    parts: list[RenderableType] = [label_grid(_heading(found)), Text()]
    if found.comparisons or found.limits_compared:
        parts += [agreement_table(found), Text()]
    for title, outcome in (("Differences", "differs"), ("Differences on purpose", "known")):
        parts += _differences(title, [one for one in found.differences if one.outcome == outcome])
    if found.limits_differences:
        parts += [Text("Limits of the architecture that differ", style="bold")]
        parts += [Prose(f"  {line}") for line in found.limits_differences] + [Text()]
    if found.unchecked:
        parts += [Text("Not checked", style="bold")]
        parts += [label_grid((one.launch, one.reason) for one in found.unchecked), Text()]
    parts.append(render(statements(found), words))
    return Group(*parts)


def agreement_table(found: Verification) -> Table:
    """One row per figure: how many of how many launches are equal, by the driver and by ncu."""
    table = titled_table("Equal figures")
    for heading in ("Figure", "Compared with"):
        table.add_column(heading, overflow="fold")
    counted = {
        (one.source, one.figure): f"{one.equal} of {one.compared}" + (f" ({one.known} on purpose)" if one.known else "")
        for one in found.agreements
    }
    asked = {source for source, _ in counted} | ({"driver"} if found.limits_compared else set())
    sources = [source for source in _SOURCES if source in asked]
    for source in sources:
        table.add_column("Driver" if source == "driver" else "ncu", justify="right", no_wrap=True)
    for figure, metric in METRICS.items():
        cells = [counted.get((source, figure), "") for source in sources]
        if any(cells):
            table.add_row(figure, metric, *cells)
    if found.limits_compared:
        equal = found.limits_compared - len(found.limits_differences)
        table.add_row(f"limits of {found.arch}", "device attributes", f"{equal} of {found.limits_compared}")
    return table


def statements(found: Verification) -> list[Statement]:
    """The verdict, and what could not be asked as notes before it."""
    return [*(Statement("note", "not-asked", {"why": note}) for note in found.notes), verdict(found)]


def verdict(found: Verification) -> Statement:
    """Equal, different, or nothing compared, with the counts."""
    wrong = [one for one in found.comparisons if one.outcome == "differs"]
    figures = {
        "sources": [source for source in _SOURCES if any(one.source == source for one in found.comparisons)],
        "ncu": None if found.gpu is None else found.ncu,
        "figures": len(found.comparisons),
        "figures_differing": len(wrong),
        "figures_differing_on_purpose": sum(one.outcome == "known" for one in found.comparisons),
        "launches": found.launches,
        "launches_compared": len({one.launch for one in found.comparisons}),
        "launches_differing": len({one.launch for one in wrong}),
        "launches_unchecked": len(found.unchecked),
        "limits": found.limits_compared,
        "limits_differing": len(found.limits_differences),
    }
    return Statement("good" if found.status == "equal" else "warning", found.status, figures)


def verify_json(found: Verification) -> str:
    """Everything for programs: agreements, differences, every comparison, and the verdicts."""
    named = {name: getattr(found, name) for name in ("of", "arch", "gpu", "ncu", "launches", "status")}
    return json_text(
        {
            "schema": SCHEMA,
            **named,
            "agreements": [{**asdict(one), "metric": METRICS[one.figure]} for one in found.agreements],
            "differences": [asdict(one) for one in found.differences],
            "limits_compared": found.limits_compared,
            "limits_differences": found.limits_differences,
            "unchecked": [asdict(one) for one in found.unchecked],
            "comparisons": [asdict(one) for one in found.comparisons],
            "verdicts": as_dicts(statements(found), words),
        }
    )


def verify_csv(found: Verification) -> str:
    """Every comparison as a line; then a line with `unchecked` and the reason for each launch that has none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for one in found.comparisons:
        writer.writerow([one.launch, one.source, one.figure, METRICS[one.figure], one.ours, one.theirs, one.outcome])
    for missing in found.unchecked:
        writer.writerow([missing.launch, "", "", "", "", missing.reason, "unchecked"])
    return text.getvalue()


_SOURCES: tuple[Source, Source] = ("driver", "ncu")


def _heading(found: Verification) -> list[tuple[str, str]]:
    verified = f"{found.of}, {launches_text(found.launches)}"
    lines = [("verified", verified), ("architecture", found.arch), ("GPU", found.gpu), ("ncu", found.ncu)]
    return [(label, text) for label, text in lines if text]


def _differences(title: str, chosen: Sequence[Comparison]) -> list[RenderableType]:
    """A table of short values; sentences, which are long, below one another."""
    sentences = [one for one in chosen if one.figure == RULE_SENTENCE]
    figures = [one for one in chosen if one.figure != RULE_SENTENCE]
    columns = (
        ScreenColumn("Launch", tuple(one.launch for one in figures), right=False, is_id=True),
        ScreenColumn("Figure", tuple(one.figure for one in figures), right=False, wraps=True, least=0),
        ScreenColumn("With", tuple(one.source for one in figures), right=False),
        ScreenColumn("Ours", tuple(one.ours for one in figures), right=False),
        ScreenColumn("Theirs", tuple(one.theirs for one in figures), right=False),
    )
    parts: list[RenderableType] = []
    if figures:
        parts += [Text(title, style="italic"), FittedTable(columns, is_ruled=False), Text()]
    if sentences:
        parts.append(Text("Sentences" if parts else title, style="bold"))
        for one in sentences:
            parts += [Prose(one.launch), label_grid([("  ours", one.ours), ("  ncu", one.theirs)])]
        parts.append(Text())
    return parts
