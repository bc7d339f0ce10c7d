"""The spaces of a kernel, the published models' problems, and the kept runs, a line each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Group, RenderableType

from ssdprof.kernels.interface import HELD_AGAINST, ListedPreset, ListedSpace
from ssdprof.profiling.runs.kept.index import Summary
from ssdprof.profiling.runs.kept.listed import KeptRun
from ssdprof.reports.columns import NOT_KNOWN, as_text, latency_text
from ssdprof.reports.export.run_json import SCHEMA, json_text
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn
from ssdprof.reports.text.prose import Prose

DEFAULT_MARK = " (default)"
NONE_KEPT = "no run has been kept yet: `ssdprof sweep` keeps one; `ssdprof show recorded` shows the one that ships"


def spaces_text(spaces: Sequence[ListedSpace]) -> str:
    """Name, number of configs and description; of a space that the problem cannot have, why."""
    rows = [
        (one.name, NOT_KNOWN if one.configs is None else str(one.configs), _marked(one.absent or one.description, one))
        for one in spaces
    ]
    return aligned(("space", "configs", "holds"), rows)


def spaces_json(spaces: Sequence[ListedSpace]) -> str:
    """The same for programs."""
    return json_text({"schema": SCHEMA, "spaces": [asdict(one) for one in spaces]})


def presets_text(presets: Sequence[ListedPreset]) -> str:
    """Name, what the model sets, and the model."""
    names = tuple(presets[0].fields)
    rows = [(one.name, *map(as_text, one.fields.values()), _marked(one.model, one)) for one in presets]
    return aligned(("preset", *names, "model"), rows)


def presets_json(presets: Sequence[ListedPreset]) -> str:
    """The same for programs, with the sources."""
    return json_text({"schema": SCHEMA, "presets": [asdict(one) for one in presets]})


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


def runs_json(runs: Sequence[KeptRun]) -> str:
    """The same for programs: every field, and the path of each file."""
    return json_text({"schema": SCHEMA, "runs": [_run_dict(run) for run in runs]})


def removed_text(paths: Sequence[Path]) -> str:
    """How many runs were removed, and their files, a line each."""
    lines = [f"removed {len(paths)} run{'s' * (len(paths) != 1)}", *map(str, paths)]
    return "\n".join(lines) + "\n"


def removed_json(paths: Sequence[Path]) -> str:
    """The same for programs."""
    return json_text({"schema": SCHEMA, "removed": list(map(str, paths))})


def _run_dict(run: KeptRun) -> dict[str, object]:
    summary = dict(asdict(run.summary)) if run.summary else {}
    names = Summary.__dataclass_fields__
    return {
        "number": run.number,
        "path": str(run.path),
        "size_bytes": run.size_bytes,
        "state": run.state,
        "error": run.error or None,
        **{name: summary.get(name) for name in names},
    }


def _told_fields(summaries: Sequence[Summary]) -> dict[str, list[str]]:
    """By kernel, the fields of its problems that tell these runs apart, or the first field if none does."""
    found: dict[str, list[str]] = {}
    for kernel in {one.kernel for one in summaries}:
        problems = [one.problem for one in summaries if one.kernel == kernel]
        names = [name for name in dict.fromkeys(name for one in problems for name in one) if name != HELD_AGAINST]
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


def aligned(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A line a row, columns below their headings, numbers to the right; the last column is as long as it is."""
    lines = [heading, *rows]
    *widths, _ = (max(map(len, cells)) for cells in zip(*lines, strict=True))
    numeric = [all(not cell.strip("–.,0123456789") for cell in cells) for cells in zip(*rows, strict=True)]
    text = ""
    for *cells, last in lines:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric[:-1], strict=True)
        )
        text += "  ".join([*padded, last]) + "\n"
    return text


def _marked(text: str, one: ListedSpace | ListedPreset) -> str:
    return text + DEFAULT_MARK * one.is_default
