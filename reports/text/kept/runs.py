"""The kept runs, a line each, and what was removed of them. Light: imports nothing that knows a whole run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType

from ssdprof.profiling.runs.kept.index import Summary
from ssdprof.profiling.runs.kept.listed import KeptRun
from ssdprof.reports.numbers import NOT_KNOWN, as_text, latency_text
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn
from ssdprof.reports.text.prose import Prose

NONE_KEPT = "no run has been kept yet: `ssdprof sweep` keeps one; `ssdprof show recorded` shows the one that ships"


def runs_report(runs: Sequence[KeptRun]) -> RenderableType:
    """The kept runs as a table, and below it why files cannot be read and how to go on; in one line that none is."""
    if not runs:
        return Prose(NONE_KEPT)
    short = [run.summary for run in runs]
    fields = _told_fields([one for one in short if one is not None])
    columns = [
        ScreenColumn("run", tuple(str(run.number) for run in runs)),
        ScreenColumn(
            "when", tuple(one.date[:16].replace("T", " ") if one else NOT_KNOWN for one in short), right=False
        ),
        ScreenColumn(
            "device",
            tuple(_device(one) if one else NOT_KNOWN for one in short),
            right=False,
            short=tuple(_short_device(_device(one)) if one else NOT_KNOWN for one in short),
        ),
        ScreenColumn(
            "subject",
            tuple(_subject(one, fields) if one else NOT_KNOWN for one in short),
            right=False,
            wraps=True,
            least=12,
        ),
        ScreenColumn(
            "space",
            tuple(one.space if one else NOT_KNOWN for one in short),
            right=False,
            wraps=True,
            least=8,
            gives_up=2,
        ),
        ScreenColumn("configs", tuple(str(one.configs) if one else NOT_KNOWN for one in short), gives_up=1),
        ScreenColumn("best", tuple(map(_best, runs)), right=False, is_id=True),
        ScreenColumn("latency ms", tuple(latency_text(one.best_ms if one else None) for one in short)),
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


def _best(run: KeptRun) -> str:
    """The best config, or why there is none."""
    if run.summary is None:
        return NOT_KNOWN
    return run.summary.best_id or ("compile only" if run.summary.device is None else "none is correct")
