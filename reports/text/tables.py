"""A run as tables: what it is of, the ranked configs, and below them those that are wrong or failed, with why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ssdprof.profiling.runs.model import STATUSES, Device, Row, Run, RunHeader, Status
from ssdprof.reports.columns import column, latency_text
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn
from ssdprof.reports.words.conditions import measured_lines

RECORDED_HEADING = "recorded\nlatency ms"
NOT_MEASURED = "not measured"
SHORT_LIMITERS = {"registers": "regs", "shared memory": "smem"}
TITLES: dict[Status, str] = {
    "wrong": "Wrong output: not ranked, not to be used",
    "unstable": "Unstable output: not ranked, not to be used",
    "compile-error": "Did not compile",
    "out-of-resources": "Need more than the GPU has",
    "launch-error": "Failed to launch",
    "timeout": "Took too long",
    "not-run": "Not run",
}


def sweep_report(run: Run, *, recorded: Run | None = None, top: int | None = None) -> RenderableType:
    """Everything a sweep prints but the verdict. `recorded`: where a run without a GPU takes its latencies from."""
    return Group(
        header(run, recorded),
        Text(),
        ranked_table(run, recorded=recorded, top=top),
        *rejected_tables(run, recorded=recorded, top=top),
    )


def header(run: Run, recorded: Run | None = None) -> RenderableType:
    """What the run is of: kernel, problem, device and versions; how it was measured, or where latencies are from."""
    space = f"{run.header.space} ({len(run.rows)} configs)"
    lines = [*source_lines(run.header), ("space", space), ("device", device_text(run.header.device))]
    if run.measured:
        lines += measured_lines(run)
    elif recorded is not None:
        lines.append(("recorded", f"latencies are of {recorded.header.provenance}"))
    return label_grid(lines)


def source_lines(header: RunHeader) -> list[tuple[str, str]]:
    """Kernel, problem and versions, each with its label."""
    problem = ", ".join(f"{name} {_plain(value)}" for name, value in header.problem.items())
    torch = f", PyTorch {header.torch}" if header.torch else ""
    return [
        ("kernel", f"{header.kernel}, source {_sources(header.kernel_hashes)}"),
        ("problem", problem),
        ("versions", f"ssdprof {header.ssdprof}, Triton {header.triton}{torch}, Python {header.python}"),
    ]


def _sources(hashes: Mapping[str, str]) -> str:
    """Each hash with the variants that have it."""
    variants: dict[str, list[str]] = {}
    for variant, of in hashes.items():
        variants.setdefault(of, []).append(variant)
    return ", ".join(f"{of} ({', '.join(names)})" for of, names in variants.items())


def label_grid(lines: Iterable[tuple[str, str]]) -> RenderableType:
    """Labels in one column, texts in the next, wrapped inside it."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for label, text in lines:
        grid.add_row(Text(label, style="dim"), Text(text))
    return grid


def device_text(device: Device) -> str:
    """The GPU of the measurements, or the architecture compiled for."""
    if device.name is None:
        return f"none: compiled for {device.arch}, nothing measured"
    details = [
        f"{device.name} ({device.arch}" + (f", {device.num_sms} SMs)" if device.num_sms else ")"),
        f"driver {device.driver}" if device.driver else "",
        f"CUDA {device.cuda}" if device.cuda else "",
        f"copies {device.copy_gbps:.0f} GB/s" if device.copy_gbps else "",
    ]
    return ", ".join(detail for detail in details if detail)


def ranked_table(run: Run, *, recorded: Run | None = None, top: int | None = None) -> RenderableType:
    """The right configs, best first; of a run without a GPU what compiled, by recorded latency where there is one."""
    rows = list(run.ranked) if run.measured else compiled_rows(run, recorded)
    if not rows:
        return Text("No config gave a right output that could be timed." if run.measured else "No config compiled.")
    shown = rows[:top]
    latencies = _latency_columns(run, shown, recorded)
    columns = (*latencies, *_resource_columns(shown))
    styles = tuple("bold" if row.rank == 1 or row.tied_with_best else "" for row in shown)
    notes = _notes(run, shown, recorded)
    if len(shown) < len(rows):
        notes.append(f"the first {len(shown)} of {len(rows)} (--top {top})")
    return Group(FittedTable(columns, styles), *(Text(note, style="dim") for note in notes))


def compiled_rows(run: Run, recorded: Run | None) -> list[Row]:
    """Rows of a run without a GPU that compiled and were not recorded as wrong or failed: by recorded latency, then the
    others in the space's order.
    """
    known = _by_id(recorded)
    rows = [row for row in run.rows if _compiled_here(row)]
    kept = [row for row in rows if row.config_id not in known or known[row.config_id].status == "ok"]

    return sorted(kept, key=lambda row: _latency_or_inf(known.get(row.config_id)))


def rejected_tables(run: Run, *, recorded: Run | None = None, top: int | None = None) -> list[RenderableType]:
    """One table per status of the rows that are not ranked, each with its reason; wrong ones with latency and error."""
    known = {} if run.measured else _by_id(recorded)
    listed = {row.config_id for row in (run.ranked if run.measured else compiled_rows(run, recorded))}
    rest = [row for row in run.rows if row.config_id not in listed]
    # a row that failed here failed, whatever was recorded of it
    pairs = [(row, known.get(row.config_id, row) if _compiled_here(row) else row) for row in rest]
    parts: list[RenderableType] = []
    for status in STATUSES:
        group = [pair for pair in pairs if pair[1].status == status]
        if not group:
            continue
        as_recorded = ", as recorded" if any(row is not source for row, source in group) else ""
        parts += [Text(), Text(f"{TITLES.get(status, status)} ({status}{as_recorded}): {len(group)}", style="bold")]
        parts.append(_rejected_table(group[:top]))
        if top is not None and len(group) > top:
            parts.append(Text(f"the first {top} of {len(group)} (--top {top})", style="dim"))
    return parts


def _rejected_table(group: Sequence[tuple[Row, Row]]) -> RenderableType:
    """`group` pairs each row with the one that its status, latency and error come from."""
    group = sorted(group, key=lambda pair: _latency_or_inf(pair[1]))
    rows = [row for row, _ in group]
    sources = [source for _, source in group]
    recorded = any(row is not source for row, source in group)
    ids = _from("config_id", rows, right=False)
    if all(row.compiled is None for row in rows):
        return FittedTable((ids, _from("status_reason", rows, right=False, wraps=True)))
    reasons = list(dict.fromkeys(source.status_reason for source in sources))
    numbers = tuple(f"[{reasons.index(source.status_reason) + 1}]" for source in sources)
    figures = [_from(name, sources) for name in ("latency_ms", "relative_error") if _any(name, sources)]
    if recorded and _any("latency_ms", sources):
        figures[0] = replace(figures[0], heading=RECORDED_HEADING)
    table = FittedTable((ids, *figures, *_resource_columns(rows), ScreenColumn("why", numbers)))
    return Group(table, *(Text(f"[{i}] {reason}", style="dim") for i, reason in enumerate(reasons, 1)))


def _latency_columns(run: Run, rows: Sequence[Row], recorded: Run | None) -> tuple[ScreenColumn, ...]:
    if run.measured:
        ties = _tied(run)
        ranks = tuple(f"{'≈' if ties and row.tied_with_best else ''}{row.rank}" for row in rows)
        columns = [
            ScreenColumn("#", ranks),
            _from("config_id", rows, right=False),
            _from("latency_ms", rows),
            ScreenColumn("p20–p80\nms", tuple(_spread(row) for row in rows), gives_up=2),
        ]
        if _any("speedup_vs_baseline", rows):
            columns.append(_from("speedup_vs_baseline", rows))
        return tuple(columns)
    known = _by_id(recorded)
    marks = tuple(row.config_id + ("*" if _differs(row, known) else "") for row in rows)
    there = [known.get(row.config_id, row) for row in rows]
    cells = tuple(latency_text(row.timing.latency_ms) if row.timing else NOT_MEASURED for row in there)
    latencies = ScreenColumn(RECORDED_HEADING if recorded else "latency", cells)
    ids = ScreenColumn("config", marks, right=False)
    return (_from("rank", there), ids, latencies) if _any("rank", there) else (ids, latencies)


def _resource_columns(rows: Sequence[Row]) -> tuple[ScreenColumn, ...]:
    columns = [_from(name, rows) for name in ("theoretical_occupancy_pct", "warps_per_scheduler")]
    columns.append(_from("registers_per_thread", rows))
    if any(column("spill_bytes").value(row) for row in rows):
        columns.append(_from("spill_bytes", rows, gives_up=3))
    columns.append(_from("dynamic_shared_mem_bytes", rows))
    columns.append(limiters_column(rows, gives_up=1))
    return tuple(columns)


def limiters_column(rows: Iterable[Row], gives_up: int = 0) -> ScreenColumn:
    """What limits each row's occupancy in ncu's words, shortened where the width is short."""

    def names(row: Row, word: Callable[[str], str]) -> str:
        if row.occupancy is None:
            return "–"
        return ", ".join(word(name) for name in row.occupancy.limiters) or "barriers"

    whole, short = [], []
    for row in rows:
        whole.append(names(row, str))
        short.append(names(row, lambda name: SHORT_LIMITERS.get(name, name)))
    return ScreenColumn("limited by", tuple(whole), right=False, short=tuple(short), gives_up=gives_up)


def _notes(run: Run, rows: Sequence[Row], recorded: Run | None) -> list[str]:
    notes = []
    if run.measured and _tied(run):
        notes.append("≈ tied for the best, within the noise of this run: the order among these means nothing")
    if run.measured and run.header.baseline_id:
        notes.append(f"speed-up is over the baseline {run.header.baseline_id}")
    if not run.measured and any(_differs(row, _by_id(recorded)) for row in rows):
        notes.append(
            "* registers, spills or shared memory differ from the recorded ones: "
            "the recorded latency is of another binary"
        )
    assumed = sum(row.occupancy is not None and row.occupancy.shared_mem_config_source == "assumed" for row in rows)
    if assumed:
        notes.append(
            f"shared memory's configured size is assumed in {assumed} of {len(rows)} rows (the driver chooses it):"
            " whether shared memory is named among their limiters depends on it"
        )
    return notes


def _tied(run: Run) -> bool:
    return any(row.tied_with_best and row.rank != 1 for row in run.ranked)


def _from(
    name: str, rows: Iterable[Row], *, right: bool = True, gives_up: int = 0, wraps: bool = False
) -> ScreenColumn:
    source = column(name)
    cells = tuple(source.text(row) for row in rows)
    return ScreenColumn(source.heading, cells, right=right, gives_up=gives_up, wraps=wraps)


def _spread(row: Row) -> str:
    if row.timing is None:
        return "–"
    return f"{latency_text(row.timing.latency_p20_ms)}–{latency_text(row.timing.latency_p80_ms)}"


def _differs(row: Row, known: dict[str, Row]) -> bool:
    there = known[row.config_id].compiled if row.config_id in known else None
    here = row.compiled
    return (
        here is not None
        and there is not None
        and (here.registers_per_thread, here.spill_bytes, here.dynamic_shared_mem_bytes)
        != (there.registers_per_thread, there.spill_bytes, there.dynamic_shared_mem_bytes)
    )


def _latency_or_inf(row: Row | None) -> float:
    return float("inf") if row is None or row.timing is None else row.timing.latency_ms


def _any(name: str, rows: Iterable[Row]) -> bool:
    return any(column(name).value(row) is not None for row in rows)


def _compiled_here(row: Row) -> bool:
    return row.status in ("ok", "not-run") and row.compiled is not None and row.occupancy is not None


def _by_id(recorded: Run | None) -> dict[str, Row]:
    return {} if recorded is None else {row.config_id: row for row in recorded.rows}


def _plain(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
