"""Runs and explanations as JSON for other programs. A number that is not finite is null: JSON has none."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ssdprof.profiling.runs.model import Explanation, Row, Run, RunHeader
from ssdprof.reports.columns import values
from ssdprof.reports.words.verdict import Verdict

SCHEMA = 1


def run_json(run: Run, verdicts: Sequence[Verdict], *, recorded: Run | None = None) -> str:
    """A whole run: header, rows under the CSV's column names, verdicts, and the recorded latencies shown beside."""
    unranked = [row for row in run.rows if row.rank is None]
    return json_text(
        {
            "schema": SCHEMA,
            "header": header_dict(run.header),
            "rows": [_row_dict(row) for row in (*run.ranked, *unranked)],
            "recorded": None if recorded is None else _recorded_dict(run, recorded),
            "verdicts": [asdict(verdict) for verdict in verdicts],
        }
    )


def explanation_json(explanation: Explanation, words: dict[str, Any]) -> str:
    """An explanation: the config's row, its neighbours' rows, and `words`, what the screen says of them."""
    return json_text(
        {
            "schema": SCHEMA,
            "header": header_dict(explanation.header),
            "row": _row_dict(explanation.row),
            "neighbours": [
                {"parameter": neighbours.parameter, "rows": [_row_dict(row) for row in neighbours.rows]}
                for neighbours in explanation.neighbours
            ],
            "latency_source": explanation.latency_source,
            **words,
        }
    )


def header_dict(header: RunHeader) -> dict[str, Any]:
    """Every field of a header by name."""
    return asdict(header)


def json_text(content: Any) -> str:
    """Indented JSON with a final newline."""
    return json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _row_dict(row: Row) -> dict[str, Any]:
    """The CSV's columns, and what a cell cannot hold: lists as lists, where the wrong rows are, what is assumed."""
    return {
        **values(row),
        "limiters": list(row.occupancy.limiters) if row.occupancy else None,
        "shared_mem_config_source": row.occupancy.shared_mem_config_source if row.occupancy else None,
        "throttled": list(row.timing.throttled) if row.timing and row.timing.throttled is not None else None,
        "only_throttled": row.timing.only_throttled if row.timing else None,
        "findings": [asdict(finding) for finding in row.check.findings] if row.check else None,
    }


def _recorded_dict(run: Run, recorded: Run) -> dict[str, Any]:
    wanted = {row.config_id for row in run.rows}
    rows = [_row_dict(row) for row in recorded.rows if row.config_id in wanted]
    return {"header": header_dict(recorded.header), "rows": rows}


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
