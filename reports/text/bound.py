"""What bounds a config's latency: each unit's share, and each tensor's traffic, as tables with a sentence."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from ssdprof.profiling.diagnosis.bound import bound_statement, counted_bound
from ssdprof.profiling.runs.bound import demands
from ssdprof.profiling.runs.model import Explanation, Row
from ssdprof.profiling.runs.modelled import Model
from ssdprof.profiling.runs.rank import row_ceilings
from ssdprof.profiling.runs.traffic import TensorTraffic, Traffic
from ssdprof.reports.columns import NOT_KNOWN, amount_text, latency_text
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn
from ssdprof.reports.text.prose import Prose
from ssdprof.reports.words.bound import UNITS, gigabytes, step

TITLE, TRAFFIC_TITLE = "What bounds the time", "What moves"
_BAR = 20
_SHOWN_TENSORS = 8


def parts(explanation: Explanation) -> list[RenderableType]:
    """Both tables; a line if the traffic could not be followed, nothing if nothing was asked."""
    row = explanation.row
    if row.model is None or row.compiled is None:
        return []
    if row.model.traffic is None:
        return [Prose(f"{TITLE} is not known: {row.model.absent}."), Text()]
    found = bound_statement(row, explanation.header)
    said = [Prose(step(found.figures))] if found else []
    return [*_units(explanation, row, row.model), *said, Text(), *_traffic(row, row.model.traffic), Text()]


def _units(explanation: Explanation, row: Row, model: Model) -> list[RenderableType]:
    ceilings, latency_ms = row_ceilings(row, explanation.header), row.known_latency_ms
    if ceilings is None:
        return []
    demanded = demands(model, ceilings)
    needed = dict(sorted(demanded.items(), key=lambda item: -item[1]))
    counted = counted_bound(row, explanation.header)
    from_where = "measured" if ceilings.source == "measured" else "from a table"
    columns = [
        ScreenColumn("unit", tuple(UNITS[unit] for unit in needed), right=False, is_id=True),
        ScreenColumn("needs\nms", tuple(latency_text(ms) for ms in needed.values())),
    ]
    if latency_ms:
        columns.append(ScreenColumn("share", tuple(f"{ms / latency_ms:.2f}" for ms in needed.values())))
    if counted is not None:
        by_ncu = (counted.of(unit) for unit in needed)
        columns.append(ScreenColumn("by\nncu", tuple(NOT_KNOWN if one is None else f"{one:.2f}" for one in by_ncu)))
    if latency_ms:
        bars = tuple("█" * round(_BAR * min(1.0, ms / latency_ms)) for ms in needed.values())
        columns.append(ScreenColumn("", bars, right=False, gives_up=1))
    title = f"{TITLE}: {latency_text(latency_ms)} ms" if latency_ms else "What each unit needs"
    of_what = f"ceilings of {ceilings.device}, {from_where}; demands computed from addresses and machine code"
    return [Text(title, style="italic"), FittedTable(tuple(columns)), Prose(of_what, "dim")]


def _traffic(row: Row, traffic: Traffic) -> list[RenderableType]:
    shown = traffic.tensors[:_SHOWN_TENSORS]
    columns = (
        ScreenColumn("tensor", tuple(one.name for one in shown), right=False, is_id=True),
        ScreenColumn("least", tuple(gigabytes(one.least_bytes) for one in shown)),
        ScreenColumn("L2–SM", tuple(gigabytes(one.l2_to_sm_bytes) for one in shown)),
        ScreenColumn("DRAM", tuple(gigabytes(one.dram_bytes) for one in shown)),
        ScreenColumn("read\nagain", tuple(gigabytes(one.again_bytes) if one.again_after else "" for one in shown)),
        ScreenColumn("along", tuple(_along(row, one) for one in shown), right=False, gives_up=1),
    )
    total = (
        f"In all {gigabytes(traffic.dram_bytes)} through DRAM and {gigabytes(traffic.l2_to_sm_bytes)} between L2 and "
        f"the SMs; each sector once would be {gigabytes(traffic.least_bytes)}."
    )
    fewer = len(traffic.tensors) - len(shown)
    rest = [Prose(f"{fewer} more with less through DRAM: in --json.", "dim")] if fewer else []
    notes: list[RenderableType] = (
        [Prose(f"Not followed, since it depends on data: {'; '.join(traffic.dependent)}.")] if traffic.dependent else []
    )
    if row.model is not None and row.model.absent:
        notes.append(Prose(f"Not all is known: {row.model.absent}."))
    executed = row.model.executed if row.model else None
    work = []
    if executed is not None:
        masked = (
            f"; {traffic.masked_pct:.1f} % of the elements in tiles are masked" if traffic.masked_pct >= 0.05 else ""
        )
        work = [
            Prose(
                f"Work: {amount_text(executed.flops)}FLOP on tensor cores, {amount_text(executed.exponentials)} "
                f"exponentials, {amount_text(executed.warp_instructions)} warp instructions{masked}."
            )
        ]
    return [Text(TRAFFIC_TITLE, style="italic"), FittedTable(columns), *rest, Prose(total), *work, *notes]


def _along(row: Row, tensor: TensorTraffic) -> str:
    if not tensor.again_after or row.model is None:
        return ""
    return row.model.axis_of(tensor.again_after)
