"""A run as tables: what it is of, the ranked configs, and below them those that are wrong or failed, with why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.text import Text

from ssdprof.kernels.interface import HELD_AGAINST
from ssdprof.profiling.diagnosis.rows import (
    has_latencies,
    listed_rows,
    of_another_binary,
    rejected_rows,
    timed_elsewhere,
)
from ssdprof.profiling.hardware.limiters import BARRIERS, LIMITERS, REGISTERS, SHARED_MEMORY
from ssdprof.profiling.runs.model import STATUSES, Device, Row, Run, RunHeader
from ssdprof.profiling.runs.recorded import latency_source
from ssdprof.reports.columns import NOT_KNOWN, column, error_text, latency_text
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn
from ssdprof.reports.text.prose import Labelled, Prose
from ssdprof.reports.words.conditions import measured_lines

EXTRAS = ("floor_share_pct", "achieved_gbps")
"""Shown where nothing else has to give way for them."""
LEFT_OUT_FIRST = (
    "achieved_gbps", "floor_share_pct", "latency_p20_ms", "spill_bytes", "warps_per_scheduler",
    "dynamic_shared_mem_bytes", "limiters", "blocks_per_sm",
    "registers_per_thread", "theoretical_occupancy_pct", "relative_error", "speedup_vs_baseline",
)  # fmt: skip
"""What a narrow screen does without, the least important first; other columns stay."""
BASELINE_COLOUR = "blue"
LIMITER_COLOURS = {REGISTERS: "magenta", SHARED_MEMORY: "cyan"}
"""By the first limiter; the column names them all."""
SAID_ONCE = 8
"""More configs than this that failed for one and the same reason are counted instead of listed."""
RECORDED_HEADING = column("recorded_latency_ms").heading
ANOTHER_BINARY = (
    "* registers, spills or shared memory differ from the recorded ones: the recorded latency is of another binary"
)
"""Says what the mark beside such a latency or its config means."""


def header(run: Run) -> RenderableType:
    """What the run is of: kernel, problem, device and versions; how it was measured, or where latencies are from."""
    space = f"{run.header.space} ({len(run.rows)} config{'s' * (len(run.rows) != 1)})"
    lines = [*source_lines(run.header), ("space", space), ("device", device_text(run.header.device))]
    if run.measured:
        lines += measured_lines(run)
    elif source := latency_source(run):
        how, _, where = source.partition(" on ")
        lines.append((how, f"latencies are of {where}"))
    return label_grid(lines)


def source_lines(header: RunHeader) -> list[tuple[str, str]]:
    """Kernel, problem and versions, each with its label."""
    variants: dict[str, list[str]] = {}  # with the same source
    for variant, of in header.kernel_hashes.items():
        variants.setdefault(of, []).append(variant)
    sources = ", ".join(f"{of} ({', '.join(names)})" if any(names) else of for of, names in variants.items())
    told = {name: value for name, value in header.problem.items() if name != HELD_AGAINST}
    ptxas = f", {header.ptxas}" if header.ptxas else ""
    torch = f", PyTorch {header.torch}" if header.torch else ""
    return [
        ("kernel", f"{header.kernel}, source {sources}"),
        ("problem", ", ".join(f"{name} {_plain(value)}" for name, value in told.items())),
        ("versions", f"ssdprof {header.ssdprof}, Triton {header.triton}{ptxas}{torch}, Python {header.python}"),
    ]


def label_grid(lines: Iterable[tuple[str, str]]) -> RenderableType:
    """Labels in one column, texts in the next, wrapped inside it."""
    return Labelled(tuple(lines))


def dimmed(notes: Iterable[str]) -> list[Prose]:
    """Notes below a table."""
    return [Prose(note, "dim") for note in notes]


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


def ranked_table(run: Run, *, top: int | None = None) -> RenderableType:
    """The correct configs, best first; if nothing was measured, what compiled, by recorded latency if there is one."""
    rows = listed_rows(run)
    if not rows and run.measured:
        return Text("No config gave a correct output that could be timed.")
    if not rows:
        compiled = any(row.compiled for row in run.rows)
        return Text("No config that compiled can be used." if compiled else "No config compiled.")
    shown = rows[:top]
    styles = tuple("bold" if row.rank == 1 or row.tied_with_best else "" for row in shown)
    notes = _notes(run, shown)
    if len(shown) < len(rows):
        notes.append(f"the first {len(shown)} of {len(rows)} (--all shows them all)")
    return Group(FittedTable((*_latency_columns(run, shown), *_resource_columns(shown)), styles), *dimmed(notes))


def rejected_tables(run: Run) -> list[RenderableType]:
    """One table per status of the rows that are not ranked, each with its reason; wrong ones with latency and error."""
    parts: list[RenderableType] = []
    for status, group in rejected_rows(run).items():
        as_recorded = ", as recorded" if any(row.status != status for row in group) else ""
        heading = Prose(f"{STATUSES[status]} ({status}{as_recorded}): {len(group)}", "bold")
        parts += [Text(), heading, *_rejected_parts(group)]
    return parts


def _rejected_parts(rows: Sequence[Row]) -> list[RenderableType]:
    """A line for each reason that many rows without a binary share, and a table of the others."""
    counts = Counter(row.known_reason for row in rows if row.compiled is None)
    shared = {reason: count for reason, count in counts.items() if count > SAID_ONCE}
    parts: list[RenderableType] = [Prose(f"{count} configs: {reason}") for reason, count in shared.items()]
    others = [row for row in rows if row.compiled or row.known_reason not in shared]
    if shared:
        parts += dimmed(["--csv FILE and --json list them one by one"])
    if others:
        parts.append(_rejected_table(others))
    return parts


def _rejected_table(rows: Sequence[Row]) -> RenderableType:
    if all(row.compiled is None for row in rows):
        ids = from_rows("config_id", rows, right=False)
        return FittedTable((ids, from_rows("status_reason", rows, right=False, wraps=True)))
    reasons = list(dict.fromkeys(row.known_reason for row in rows))
    numbers = tuple(f"[{reasons.index(row.known_reason) + 1}]" for row in rows)
    figures = []
    if any(row.known_timing for row in rows):
        heading = RECORDED_HEADING if any(map(timed_elsewhere, rows)) else column("latency_ms").heading
        figures.append(ScreenColumn(heading, tuple(latency_text(row.known_latency_ms) for row in rows)))
    if any(row.known_check for row in rows):
        errors = tuple(error_text(row.known_check.relative_error) if row.known_check else NOT_KNOWN for row in rows)
        figures.append(ScreenColumn(column("relative_error").heading, errors, gives_up=gives_up("relative_error")))
    table = FittedTable((_ids(rows), *figures, *_resource_columns(rows), ScreenColumn("why", numbers)))
    notes = [f"[{i}] {reason}" for i, reason in enumerate(reasons, 1)] + another_binary_notes(rows)
    return Group(table, *dimmed(notes))


def another_binary_notes(rows: Iterable[Row]) -> list[str]:
    """What the mark means, if any of the rows has it."""
    return [ANOTHER_BINARY] if any(map(of_another_binary, rows)) else []


def _latency_columns(run: Run, rows: Sequence[Row]) -> list[ScreenColumn]:
    columns = []
    if any(row.rank for row in rows):
        ties = _tied(run)
        ranks = tuple(f"{'≈' if ties and row.tied_with_best else ''}{column('rank').text(row)}" for row in rows)
        columns.append(ScreenColumn("#", ranks))
    columns.append(_ids(rows, run.header.baseline_id))
    if not run.measured:
        cells = tuple(latency_text(row.known_latency_ms) if row.known_timing else "not measured" for row in rows)
        columns.append(ScreenColumn(RECORDED_HEADING if has_latencies(run) else "latency", cells))
        return [*columns, *_known(rows, "speedup_vs_baseline", *EXTRAS)]
    timings = [row.timing for row in rows]
    spreads = [(one.latency_p20_ms, one.latency_p80_ms) if one else None for one in timings]
    cells = tuple("–".join(map(latency_text, spread)) if spread else NOT_KNOWN for spread in spreads)
    columns += [from_rows("latency_ms", rows), ScreenColumn("p20–p80\nms", cells, gives_up=gives_up("latency_p20_ms"))]
    return [*columns, *_known(rows, "speedup_vs_baseline", *EXTRAS)]


def _known(rows: Sequence[Row], *names: str) -> list[ScreenColumn]:
    """These columns, without those that have no value in any row."""
    return [from_rows(name, rows) for name in names if any(column(name).value(row) is not None for row in rows)]


def _ids(rows: Sequence[Row], baseline_id: str | None = None) -> ScreenColumn:
    marked = tuple(row.config_id + ("*" if of_another_binary(row) else "") for row in rows)
    colours = tuple(BASELINE_COLOUR if row.config_id == baseline_id else "" for row in rows)
    return ScreenColumn(column("config_id").heading, marked, right=False, is_id=True, colours=colours)


def status_colour(status: str) -> str:
    """The colour of a status: red for outputs that must not be used, yellow for what failed otherwise."""
    return {"": "", "ok": "green", "wrong": "red", "differs": "red", "unstable": "red", "not-run": ""}.get(
        status, "yellow"
    )


def _resource_columns(rows: Sequence[Row]) -> list[ScreenColumn]:
    names = ("theoretical_occupancy_pct", "warps_per_scheduler", "registers_per_thread")
    return [*(from_rows(name, rows) for name in names), *memory_columns(rows), limiters_column(rows)]


def memory_columns(rows: Sequence[Row]) -> list[ScreenColumn]:
    """The spilled bytes, if any are, and the dynamic shared memory."""
    colours = tuple("yellow" if column("spill_bytes").value(row) else "" for row in rows)
    spills = [replace(from_rows("spill_bytes", rows), colours=colours)] if any(colours) else []
    return [*spills, from_rows("dynamic_shared_mem_bytes", rows)]


def limiters_column(rows: Iterable[Row]) -> ScreenColumn:
    """What limits each row's occupancy in ncu's words, shortened first if the width is short."""
    names = [None if row.occupancy is None else row.occupancy.limiters for row in rows]
    colours = tuple(LIMITER_COLOURS.get(of[0], "") if of else "" for of in names)
    whole = tuple(NOT_KNOWN if of is None else ", ".join(of) or BARRIERS for of in names)
    short = tuple(
        NOT_KNOWN if of is None else ", ".join(LIMITERS[name].short for name in of) or BARRIERS for of in names
    )
    return ScreenColumn("limited by", whole, right=False, short=short, gives_up=gives_up("limiters"), colours=colours)


def _notes(run: Run, rows: Sequence[Row]) -> list[str]:
    notes = []
    if _tied(run):
        which = "this run" if run.measured else "the recorded run"
        notes.append(f"≈ tied for the best, within the noise of {which}: the order among these means nothing")
    if any(row.speedup_vs_baseline for row in rows):
        notes.append(f"speed-up is over the baseline {run.header.baseline_id}")
    notes += another_binary_notes(rows)
    assumed = sum(row.occupancy is not None and row.occupancy.shared_mem_config_source == "assumed" for row in rows)
    if assumed:
        notes.append(
            f"shared memory's configured size is assumed in {assumed} of {len(rows)} rows (the driver chooses it):"
            " whether shared memory is named among their limiters depends on it"
        )
    return notes


def _tied(run: Run) -> bool:
    return any(row.tied_with_best and row.rank != 1 for row in run.ranked)


def from_rows(name: str, rows: Iterable[Row], *, right: bool = True, wraps: bool = False) -> ScreenColumn:
    """The column of that name among those of every run."""
    source = column(name)
    cells = tuple(source.text(row) for row in rows)
    is_id = name == "config_id"
    order, is_extra = gives_up(name), name in EXTRAS
    return ScreenColumn(source.heading, cells, right=right, gives_up=order, is_extra=is_extra, wraps=wraps, is_id=is_id)


def gives_up(name: str) -> int:
    """When a narrow screen leaves the column out, counted from 1; 0: never."""
    return LEFT_OUT_FIRST.index(name) + 1 if name in LEFT_OUT_FIRST else 0


def _plain(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
