"""The kept runs and what was removed of them as JSON for other programs. Light: imports nothing that knows a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from ssdprof.profiling.runs.kept.index import Summary
from ssdprof.profiling.runs.kept.listed import KeptRun
from ssdprof.reports.export.json_text import SCHEMA, json_text


def runs_json(runs: Sequence[KeptRun]) -> str:
    """The kept runs: every field of each, and the path of its file."""
    return json_text({"schema": SCHEMA, "runs": [_run_dict(run) for run in runs]})


def removed_json(paths: Sequence[Path]) -> str:
    """The files that were removed."""
    return json_text({"schema": SCHEMA, "removed": list(map(str, paths))})


def _run_dict(run: KeptRun) -> dict[str, object]:
    summary = dict(asdict(run.summary)) if run.summary else {}
    return {
        "number": run.number,
        "path": str(run.path),
        "size_bytes": run.size_bytes,
        "state": run.state,
        "error": run.error or None,
        **{field.name: summary.get(field.name) for field in fields(Summary)},
    }
