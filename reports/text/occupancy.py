"""What Nsight Compute's Occupancy section says of a launch, and how far the next block is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ssdprof.profiling.hardware.gpu_names import SmCount
from ssdprof.profiling.hardware.headroom import Allowance, Curve, Headroom, Step, headroom, occupancy_curves
from ssdprof.profiling.hardware.limiters import BARRIER_LIMITER, BARRIERS, LIMITERS, SHARED_MEMORY
from ssdprof.profiling.hardware.limits import SmLimits
from ssdprof.profiling.hardware.occupancy import Launch, Occupancy
from ssdprof.profiling.hardware.rule import estimated_local_speedup_pct, joined, rule_sentence
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn
from ssdprof.reports.text.prose import Prose

_SOURCE_NOTES = {"given": "given", "prefers-shared": "prefers shared memory", "assumed": "assumed, not measured"}
_BLOCKED_PHRASES = {
    **{name: limiter.phrase for name, limiter in LIMITERS.items()},
    BARRIERS: BARRIER_LIMITER.phrase,
    "clusters": "the size of the cluster",
    "static shared memory": "the static and reserved shared memory",
}


@dataclass(frozen=True, slots=True)
class SectionRow:
    """One row of ncu's section: its name and unit there, the value as ncu prints it, and our own note."""

    name: str
    unit: str
    value: str
    note: str = ""


def section_rows(occ: Occupancy, sms: SmCount | None = None) -> tuple[SectionRow, ...]:
    """The rows of ncu's Occupancy section, and of its Launch Statistics what occupancy depends on.

    `sms`: what waves are over.
    """
    limits = {one.section_row: getattr(occ, one.field) for one in (BARRIER_LIMITER, *LIMITERS.values())}
    notes, scheduler = {min(limits.values()): "limits"}, f"{occ.warps_per_scheduler:.2f}"
    config_note = _SOURCE_NOTES[occ.shared_mem_config_source]
    rows = [
        *((f"Block Limit {name}", "block", limit, notes.get(limit, "")) for name, limit in limits.items()),
        ("Theoretical Active Warps per SM", "warp", occ.warps_per_sm, f"of {occ.max_warps_per_sm}"),
        ("Theoretical Occupancy", "%", f"{occ.theoretical_occupancy_pct:.2f}", ""),
        ("Theoretical Warps per Scheduler", "warp", scheduler, f"of {occ.max_warps_per_scheduler}"),
        ("Registers Allocated Per Thread", "register", occ.registers_allocated_per_thread, ""),
        ("Shared Memory Allocated Per Block", "byte", occ.shared_mem_allocated_bytes, ""),
        ("Shared Memory Configuration Size", "byte", occ.shared_mem_config_bytes, config_note),
    ]
    if occ.waves_per_sm is not None:
        rows.append(("Waves Per SM", "", f"{occ.waves_per_sm:.2f}", sms.words if sms else ""))
    return tuple(SectionRow(name, unit, str(value), note) for name, unit, value, note in rows)


def titled_table(title: str) -> Table:
    """A table without lines, its title above on the left."""
    return Table(title=title, title_justify="left", box=None, pad_edge=False)


def section(occ: Occupancy, sms: SmCount | None = None) -> RenderableType:
    """The Occupancy section as a table; notes say which limits bind and where the carve-out and the SMs come from."""
    rows = section_rows(occ, sms)
    columns = (
        ScreenColumn("Metric Name", tuple(row.name for row in rows), right=False, wraps=True, least=0),
        ScreenColumn("Unit", tuple(row.unit for row in rows), right=False),
        ScreenColumn("Value", tuple(row.value for row in rows)),
        ScreenColumn("", tuple(row.note for row in rows), right=False, wraps=True, least=0),
    )
    return Group(Text("Occupancy", style="italic"), FittedTable(columns, is_ruled=False))


def headroom_lines(launch: Launch, occ: Occupancy, limits: SmLimits) -> list[str]:
    """In words: what to give up for one more block per SM, and how much the present blocks still allow."""
    room = headroom(launch, limits)
    lines = [f"Cannot launch: {occ.cannot_launch}."] if occ.cannot_launch else []
    if room.blocks_per_sm > occ.blocks_per_sm:
        lines.append(
            f"A larger shared-memory configuration than {occ.shared_mem_config_bytes} bytes alone "
            f"gives {counted(room.blocks_per_sm, 'block')} per SM instead of {occ.blocks_per_sm}."
        )
    lines.append(_step_line(room.step, room.blocks_per_sm, launch) if room.step else _blocked_line(room))
    if room.step and _shared_mem_ties_by_configuration(occ, room.step):
        configured, largest = str(occ.shared_mem_config_bytes), str(limits.max_config_bytes)
        lines.append(
            f"Shared memory is no obstacle to that: {configured} bytes were configured for this launch, and the driver "
            f"can configure {largest}."
        )
    return lines + [_allowance_line(item) for item in room.allowances if item.blocks_per_sm == room.blocks_per_sm]


def report(launch: Launch, occ: Occupancy, limits: SmLimits, sms: SmCount | None = None) -> RenderableType:
    """Everything of one launch: ncu's section and sentence, the headroom in words and as a table, and the curves."""
    asked = (
        f"{counted(launch.threads_per_block, 'thread')} per block, "
        f"{counted(launch.registers_per_thread, 'register')} per thread, "
        f"{counted(launch.shared_mem_bytes, 'byte')} of shared memory per block on {limits.arch}"
    )
    parts: list[RenderableType] = [Prose(asked), Text(), section(occ, sms), Text()]
    if sentence := rule_sentence(occ):
        parts += [Prose(sentence), Text(f"Est. Local Speedup: {estimated_local_speedup_pct(occ):.4g}%"), Text()]
    lines = headroom_lines(launch, occ, limits)
    if occ.shared_mem_config_source == "assumed":
        lines.append(f"The configured size is assumed: the rule for {limits.arch} fits {limits.carveout_fits}.")
    parts += map(Prose, lines)
    return Group(*parts, Text(), allowances(launch, limits), Text(), curves(launch, occ, limits))


def allowances(launch: Launch, limits: SmLimits, *, rows: int = 8) -> RenderableType:
    """For each number of blocks the most registers and shared memory, from the present number (marked) up."""
    room = headroom(launch, limits)
    shown = [item for item in room.allowances if item.blocks_per_sm >= room.blocks_per_sm - 1]
    listed = shown[:rows]
    sizes = [str(item.max_dynamic_shared_mem_bytes) for item in listed]
    columns = (
        ScreenColumn("Blocks per SM", tuple(str(item.blocks_per_sm) for item in listed)),
        ScreenColumn("Occupancy", tuple(f"{item.theoretical_occupancy_pct:.1f} %" for item in listed)),
        ScreenColumn("Registers per thread", tuple(str(item.max_registers_per_thread) for item in listed)),
        ScreenColumn(
            "Dynamic shared memory",
            tuple(f"{size} bytes" for size in sizes),
            short=tuple(f"{size} B" for size in sizes),
        ),
        ScreenColumn(
            "", tuple("now" if item.blocks_per_sm == room.blocks_per_sm else "" for item in listed), right=False
        ),
    )
    title = Text("What each number of blocks allows", style="italic")
    parts: list[RenderableType] = [title, FittedTable(columns, is_ruled=False)]
    if len(shown) > rows:
        parts.append(Text(f"up to {counted(shown[-1].blocks_per_sm, 'block')}", style="dim italic"))
    return Group(*parts)


def _step_line(step: Step, blocks: int, launch: Launch) -> str:
    registers, size_bytes = step.registers_fewer, step.dynamic_shared_mem_fewer_bytes
    changed = f"{launch.registers_per_thread} → {step.registers_per_thread}"
    changed_bytes = f"{launch.dynamic_shared_mem_bytes} → {step.dynamic_shared_mem_bytes}"
    parts = [f"{counted(registers, 'register')} fewer per thread ({changed})"] if registers else []
    if size_bytes:
        parts.append(f"{counted(size_bytes, 'byte')} of shared memory fewer per block ({changed_bytes})")
    verb = "together give" if len(parts) > 1 else "gives" if 1 in (registers, size_bytes) else "give"
    return (
        f"{' and '.join(parts)} {verb} {counted(step.blocks_per_sm, 'block')} per SM instead of {blocks} "
        f"({step.theoretical_occupancy_pct:.1f} % occupancy)."
    )


def _shared_mem_ties_by_configuration(occ: Occupancy, step: Step) -> bool:
    is_tied = SHARED_MEMORY in occ.limiters and occ.limit_shared_mem_blocks < step.blocks_per_sm
    return is_tied and occ.shared_mem_config_source == "given" and step.dynamic_shared_mem_fewer_bytes == 0


def _allowance_line(allowance: Allowance) -> str:
    fit = "fits" if allowance.blocks_per_sm == 1 else "fit"
    return (
        f"{counted(allowance.blocks_per_sm, 'block')} per SM {fit} up to {allowance.max_registers_per_thread} "
        f"registers per thread and {allowance.max_dynamic_shared_mem_bytes} bytes of dynamic shared memory."
    )


def counted(count: int, noun: str) -> str:
    """So many of something."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _blocked_line(room: Headroom) -> str:
    phrases, blocks = [_BLOCKED_PHRASES[name] for name in room.blocked_by], counted(room.blocks_per_sm, "block")
    allow = "allow" if len(phrases) > 1 else "allows"
    return f"No fewer registers or bytes give another block: {joined(phrases)} {allow} {blocks}."


_CURVE_HEIGHT = 4
_CURVE_BAR_WIDTH = 2
_CURVE_SCALES_PCT = (12.5, 25.0, 50.0, 100.0)
_EIGHTHS = " ▁▂▃▄▅▆▇█"


def curve_lines(curve: Curve, bar_width: int = _CURVE_BAR_WIDTH) -> list[str]:
    """One curve as text: bars of occupancy, the launch marked below with an arrow and its value."""
    top_pct = next(scale for scale in _CURVE_SCALES_PCT if scale >= max(curve.occupancies_pct))
    labels = {_CURVE_HEIGHT - 1: f"{top_pct:g} %", 0: "0 %"}
    lines = [f"Theoretical occupancy over {curve.of}"]
    for row in range(_CURVE_HEIGHT - 1, -1, -1):
        eighths = [round(value / top_pct * _CURVE_HEIGHT * 8) - 8 * row for value in curve.occupancies_pct]
        bars = "".join(_EIGHTHS[max(0, min(8, count))] * bar_width for count in eighths)
        lines.append(f"{labels.get(row, ''):>6} {bars}".rstrip())
    return [*lines, " " * (7 + bar_width * curve.present) + "▲", " " * 7 + _axis(curve, bar_width)]


def _axis(curve: Curve, bar_width: int) -> str:
    """First and last value at the ends, the launch's own below its arrow; if two would meet, it alone."""
    width = bar_width * len(curve.points)
    first, last = str(curve.points[0]), str(curve.points[-1])
    own = str(curve.points[curve.present])
    start = min(max(0, bar_width * curve.present - len(own) // 2), width - len(own))
    left = ("" if start < len(first) + 2 else first).ljust(start) + own
    return left + ("" if len(left) + 2 > width - len(last) else last).rjust(width - len(left))


@dataclass(frozen=True, slots=True)
class Curves:
    """Curves below one another, with bars half as wide where whole ones have no room."""

    curves: tuple[Curve, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """A title and a picture for each."""
        for i_curve, curve in enumerate(self.curves):
            title, *lines = curve_lines(curve)
            if max(map(len, lines)) > options.max_width:
                title, *lines = curve_lines(curve, bar_width=1)
            if i_curve:
                yield Text()
            yield Prose(title)
            yield Text("\n".join(lines), no_wrap=True, overflow="ignore")


def curves(launch: Launch, occ: Occupancy, limits: SmLimits) -> Curves:
    """The three curves: occupancy over registers, shared memory and threads."""
    return Curves(tuple(occupancy_curves(launch, occ, limits)))
