"""A run as CSV, one row per config, and the sidecar that says what the run is of."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ssdprof.profiling.runs.model import Run
from ssdprof.reports.columns import Value, columns_of, values
from ssdprof.reports.export.run_json import header_dict, json_text, ordered_rows

SIDECAR_SUFFIX = ".meta.json"


def run_csv(run: Run) -> str:
    """The rows as CSV with a header line, in the order of `ordered_rows`.

    Empty for no value, `true` or `false`, `nan` if an output was not a number; limiters and reasons of throttling have
    semicolons between them.
    """
    columns = columns_of(run.header.params)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    for row in ordered_rows(run):
        writer.writerow([_cell(value) for value in values(row, columns).values()])
    return text.getvalue()


def sidecar_json(run: Run) -> str:
    """What a CSV cannot say without comments: the run's header."""
    return json_text(header_dict(run.header))


def sidecar_path(csv_path: Path) -> Path:
    """Where the sidecar of a CSV file lies: beside it, its whole name extended."""
    return csv_path.with_name(csv_path.name + SIDECAR_SUFFIX)


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)
