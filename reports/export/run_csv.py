"""A run as CSV, one row per config, and the sidecar that says what the run is of."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ssdprof.profiling.runs.model import Run
from ssdprof.reports.columns import Value, columns_of, metric_columns, values
from ssdprof.reports.export.run_json import header_dict, json_text, ordered_rows

SIDECAR_SUFFIX = ".meta.json"
KERNEL = "kernel"
"""The column in front if the runs are of several kernels."""


def run_csv(run: Run) -> str:
    """The rows as CSV with a header line, in the order of `ordered_rows`.

    Empty for no value, `true` or `false`, `nan` if an output was not a number; limiters and reasons of throttling have
    semicolons between them.
    """
    return _table([run], ())


def runs_csv(runs: Sequence[Run]) -> str:
    """Several runs as one table like `run_csv`, the fields of their problems in front; what a run has not is empty."""
    kernels = {run.header.kernel for run in runs}
    fields = dict.fromkeys(name for run in runs for name in run.header.problem)
    return _table(runs, (*([KERNEL] if len(kernels) > 1 else []), *fields))


def _table(runs: Sequence[Run], fields: Sequence[str]) -> str:
    columns = [(*columns_of(run.header.params), *metric_columns(run.rows)) for run in runs]
    names: list[str] = []
    for of_run in columns:
        place = 0
        for column in of_run:  # a column that only this run has stands where this run has it
            if column.name not in names:
                names.insert(place, column.name)
            place = names.index(column.name) + 1
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*fields, *names])
    for run, of_run in zip(runs, columns, strict=True):
        problem = {KERNEL: run.header.kernel, **run.header.problem}
        before = [_cell(problem.get(name)) for name in fields]
        for row in ordered_rows(run):
            found = values(row, of_run)
            writer.writerow([*before, *(_cell(found.get(name)) for name in names)])
    return text.getvalue()


def sidecar_json(run: Run) -> str:
    """What a CSV cannot say without comments: the run's header."""
    return json_text(header_dict(run.header))


def sidecars_json(runs: Sequence[Run]) -> str:
    """The same of several runs: a list of their headers."""
    return json_text([header_dict(run.header) for run in runs])


def sidecar_path(csv_path: Path) -> Path:
    """Where the sidecar of a CSV file lies: beside it, its whole name extended."""
    return csv_path.with_name(csv_path.name + SIDECAR_SUFFIX)


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)
