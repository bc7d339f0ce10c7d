"""What ncu counted: a table of a run's configs, and lines of the config that is explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from ssdprof.profiling.runs.model import Row
from ssdprof.reports.columns import Column, amount_text, as_text, column, metric_columns
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn
from ssdprof.reports.text.prose import Labelled, Prose
from ssdprof.reports.text.tables import dimmed, from_rows

TITLE = "What ncu counted"
SHOWN = (
    "dram_bytes", "l2_to_sm_bytes", "dram_pct", "l2_pct", "l1tex_pct", "tensor_pipe_pct", "issue_active_pct",
    "achieved_occupancy_pct", "l1_hit_pct", "l2_hit_pct",
)  # fmt: skip
GIVES_UP = ("l1_hit_pct", "l2_hit_pct", "achieved_occupancy_pct", "tensor_pipe_pct", "issue_active_pct", "top_stall")
"""What a narrow screen does without, the least important first; what was asked for by name goes before these."""
LINES: Mapping[str, Mapping[str, str]] = {
    "DRAM": {"dram_bytes": "{} read and written", "dram_pct": "{} % busy"},
    "L2": {"l2_to_sm_bytes": "{} from and to the SMs", "l2_pct": "{} % busy", "l2_hit_pct": "{} % of sectors hit"},
    "L1 and shared memory": {"l1tex_pct": "{} % busy", "l1_hit_pct": "{} % of L1's sectors hit"},
    "tensor cores": {"tensor_pipe_pct": "{} % busy"},
    "issue": {"issue_active_pct": "{} % busy"},
    "occupancy": {"achieved_occupancy_pct": "{} % achieved"},
    "top stall": {"top_stall": "{}", "top_stall_pct": "{} % of the time between two instructions"},
    "launch": {"ncu_duration_ms": "{} ms under ncu"},
}
"""Of one config: by label, what is said of each column."""
BUSY = "%: how busy each was, as a share of its peak over the whole launch; hit: of the sectors asked for"


def counters_table(rows: Sequence[Row]) -> list[RenderableType]:
    """A line for each row that has counters; nothing if none has."""
    counted = [row for row in rows if row.counters is not None]
    if not counted:
        return []
    columns = [from_rows("config_id", counted, right=False)]
    columns += [_screen(column(name), counted) for name in SHOWN if _is_known(column(name), counted)]
    if _is_known(column("top_stall"), counted):
        cells = tuple(_stall(row) for row in counted)
        heading = column("top_stall").heading
        columns.append(ScreenColumn(heading, cells, right=False, gives_up=_order("top_stall")))
    columns += [_screen(one, counted) for one in metric_columns(counted)]
    sources = dict.fromkeys(row.counters.source for row in counted if row.counters)
    title = Prose(f"{TITLE} ({', '.join(sources)})", "bold")
    return [Text(), title, FittedTable(tuple(columns)), *dimmed([BUSY])]


def counters_lines(row: Row) -> list[RenderableType]:
    """What was counted of one config, a line each; nothing if it was not counted."""
    if row.counters is None:
        return []
    lines = [(label, ", ".join(_said(row, parts))) for label, parts in LINES.items()]
    lines += [(one.name, _metric_text(one, row)) for one in metric_columns([row])]
    told = tuple((label, text) for label, text in lines if text)
    return [Prose(f"{TITLE} ({row.counters.source})", "bold"), Labelled(told), Text()]


def _said(row: Row, parts: Mapping[str, str]) -> list[str]:
    """The parts of a line that are known, each value in its words."""
    return [words.format(_value(row, name)) for name, words in parts.items() if column(name).value(row) is not None]


def _value(row: Row, name: str) -> str:
    of = column(name)
    if of.unit != "bytes":
        return of.text(row)
    amount, _, scale = of.text(row).partition(" ")
    return f"{amount} {scale}B"


def _screen(source: Column, rows: Sequence[Row]) -> ScreenColumn:
    is_metric = source.name not in SHOWN
    cells = tuple(_metric_text(source, row) if is_metric else source.text(row) for row in rows)
    return ScreenColumn(source.heading, cells, gives_up=1 if is_metric else _order(source.name))


def _metric_text(source: Column, row: Row) -> str:
    value = source.value(row)
    return as_text(value) if not isinstance(value, (int, float)) or value < 1000 else amount_text(value)


def _order(name: str) -> int:
    return GIVES_UP.index(name) + 2 if name in GIVES_UP else 0


def _stall(row: Row) -> str:
    share = column("top_stall_pct").text(row)
    return f"{column('top_stall').text(row)} {share} %" if row.counters and row.counters.top_stall else as_text(None)


def _is_known(one: Column, rows: Sequence[Row]) -> bool:
    return any(one.value(row) is not None for row in rows)
