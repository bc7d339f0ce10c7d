"""The kept runs, a line each, and what was removed of them. Light: imports nothing that knows a whole run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Group, RenderableType

from ssdprof.profiling.runs.kept.index import Summary
from ssdprof.profiling.runs.kept.listed import KeptRun
from ssdprof.reports.numbers import NOT_KNOWN, as_text, latency_text
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn
from ssdprof.reports.text.prose import Prose

NONE_KEPT = "No run is kept yet: `ssdprof sweep` keeps one; see `ssdprof show recorded`."


def runs_report(runs: Sequence[KeptRun]) -> RenderableType:
    """The kept runs as a table, and below it why files cannot be read and how to go on; in one line that none is."""
    if not runs:
        return Prose(NONE_KEPT)
    fields = _told_fields([run.summary for run in runs if run.summary])

    def cells(text: Callable[[Summary], str]) -> tuple[str, ...]:
        return tuple(text(run.summary) if run.summary else NOT_KNOWN for run in runs)

    when, days = cells(lambda one: one.date[:16].replace("T", " ")), cells(lambda one: one.date[:10])
    devices, short = cells(_device), cells(lambda one: _short_device(_device(one)))
    subjects, spaces = cells(lambda one: _subject(one, fields)), cells(lambda one: one.space)
    columns = [
        ScreenColumn("run", tuple(str(run.number) for run in runs)),
        ScreenColumn("when", when, right=False, short=days, shortens=2),
        ScreenColumn("device", devices, right=False, short=short),
        ScreenColumn("subject", subjects, right=False, wraps=True, least=12),
        ScreenColumn("space", spaces, right=False, wraps=True, least=8, gives_up=2),
        ScreenColumn("configs", cells(lambda one: str(one.configs)), gives_up=1),
        ScreenColumn("best", cells(_best), right=False, is_id=True),
        ScreenColumn("latency ms", cells(lambda one: latency_text(one.best_ms))),
    ]
    if any(run.state != "done" for run in runs):
        colours = tuple("" if run.state == "done" else "yellow" for run in runs)
        columns.append(ScreenColumn("state", tuple(run.state for run in runs), right=False, colours=colours))
    notes = [f"run {run.number}: {run.error}" for run in runs if run.error]
    way_on = "`ssdprof show RUN` prints one again, `ssdprof explain best --run RUN` explains its best"
    return Group(FittedTable(tuple(columns), elsewhere="--json"), *(Prose(note, "dim") for note in [*notes, way_on]))


def removed_text(paths: Sequence[Path]) -> str:
    """How many runs were removed, and their files, a line each."""
    lines = [f"removed {len(paths)} run{'s' * (len(paths) != 1)}", *map(str, paths)]
    return "\n".join(lines) + "\n"


def _told_fields(summaries: Sequence[Summary]) -> dict[str, list[str]]:
    """By kernel, the fields of its problems that tell these runs apart, or the first field if none does."""
    found: dict[str, list[str]] = {}
    for kernel in {one.kernel for one in summaries}:
        problems = [one.problem for one in summaries if one.kernel == kernel]
        names = list(dict.fromkeys(name for one in problems for name in one))
        differing = [name for name in names if any(one.get(name) != problems[0].get(name) for one in problems)]
        found[kernel] = differing or names[:1]
    return found


def _subject(summary: Summary, fields: dict[str, list[str]]) -> str:
    told = [f"{name} {as_text(summary.problem[name])}" for name in fields[summary.kernel] if name in summary.problem]
    return " ".join([summary.kernel, ", ".join(told)]).strip()


def _device(summary: Summary) -> str:
    return summary.device.removeprefix("NVIDIA ") if summary.device else f"none, for {summary.arch}"


def _short_device(name: str) -> str:
    """Without its memory and what follows."""
    return re.sub(r" \d+GB.*", "", name).removeprefix("none, for ")


def _best(summary: Summary) -> str:
    """The best config, or why there is none."""
    return summary.best_id or ("compile only" if summary.device is None else "none is correct")
