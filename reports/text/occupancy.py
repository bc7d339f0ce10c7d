"""What Nsight Compute's Occupancy section says of a launch, and how far the next block is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ssdprof.profiling.hardware.headroom import Allowance, Curve, Headroom, Step, headroom, occupancy_curves
from ssdprof.profiling.hardware.limits import SmLimits
from ssdprof.profiling.hardware.occupancy import Launch, Occupancy

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

RULE_FIRES_BELOW_PCT = 80.0
"""ncu's Theoretical Occupancy rule speaks below this occupancy."""

_LIMITER_PHRASES = {
    "blocks": "the number of blocks that can fit on the SM",
    "registers": "the number of required registers",
    "shared memory": "the required amount of shared memory",
    "warps": "the number of warps within each block",
}
_BARRIERS_PHRASE = "the number of barriers within each block"
_SOURCE_NOTES = {
    "given": "given",
    "prefers-shared": "prefers shared memory",
    "assumed": "assumed, not measured",
}
_BLOCKED_PHRASES = {
    **_LIMITER_PHRASES,
    "barriers": _BARRIERS_PHRASE,
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


def rule_sentence(occ: Occupancy) -> str | None:
    """The sentence of ncu's Theoretical Occupancy rule; None at or above 80 % and for what cannot launch.

    Unlike ncu, which drops names when it joins three or more, all tied limiters are named; and barriers are
    named where they alone limit, where ncu has no name to give.
    """
    if occ.cannot_launch or _rule_pct(occ) >= RULE_FIRES_BELOW_PCT:
        return None
    phrases = [_LIMITER_PHRASES[name] for name in occ.limiters] or [_BARRIERS_PHRASE]
    return (
        f"The {occ.warps_per_scheduler:.2f} theoretical warps per scheduler this kernel can issue according "
        f"to its occupancy are below the hardware maximum of {occ.max_warps_per_scheduler}. This kernel's "
        f"theoretical occupancy ({_rule_pct(occ):.1f}%) is limited by {_joined(phrases)}."
    )


def estimated_local_speedup_pct(occ: Occupancy) -> float:
    """The estimate that ncu prints beside that sentence: how far occupancy is from 100 %."""
    return 100.0 - _rule_pct(occ)


def _rule_pct(occ: Occupancy) -> float:
    """The rule's own percentage, of warps per scheduler.

    With 2 warps on an SM ncu 2025.3.1 says 1.00 of 16 and 6.2 % in the sentence, and 3.12 % in the section.
    """
    return 100.0 * occ.warps_per_scheduler / occ.max_warps_per_scheduler


def section_rows(occ: Occupancy) -> tuple[SectionRow, ...]:
    """The rows of ncu's Occupancy section, and of its Launch Statistics what occupancy depends on."""
    limits = (
        ("Block Limit Barriers", occ.limit_barriers_blocks, "barriers"),
        ("Block Limit SM", occ.limit_blocks_blocks, "blocks"),
        ("Block Limit Registers", occ.limit_registers_blocks, "registers"),
        ("Block Limit Shared Mem", occ.limit_shared_mem_blocks, "shared memory"),
        ("Block Limit Warps", occ.limit_warps_blocks, "warps"),
    )
    smallest = min(value for _, value, _ in limits)
    rows = [SectionRow(name, "block", str(value), "limits" if value == smallest else "") for name, value, _ in limits]
    rows += [
        SectionRow("Theoretical Active Warps per SM", "warp", str(occ.warps_per_sm), f"of {occ.max_warps_per_sm}"),
        SectionRow("Theoretical Occupancy", "%", f"{occ.theoretical_occupancy_pct:.2f}"),
        SectionRow(
            "Theoretical Warps per Scheduler",
            "warp",
            f"{occ.warps_per_scheduler:.2f}",
            f"of {occ.max_warps_per_scheduler}",
        ),
        SectionRow("Registers Allocated Per Thread", "register", str(occ.registers_allocated_per_thread)),
        SectionRow("Shared Memory Allocated Per Block", "byte", str(occ.shared_mem_allocated_bytes)),
        SectionRow(
            "Shared Memory Configuration Size",
            "byte",
            str(occ.shared_mem_config_bytes),
            _SOURCE_NOTES[occ.shared_mem_config_source],
        ),
    ]
    if occ.waves_per_sm is not None:
        rows.append(SectionRow("Waves Per SM", "", f"{occ.waves_per_sm:.2f}"))
    return tuple(rows)


def section(occ: Occupancy) -> Table:
    """The Occupancy section as a table; notes say which limits bind and where the carve-out comes from."""
    from rich.table import Table

    table = Table(title="Occupancy", title_justify="left", box=None, pad_edge=False)
    table.add_column("Metric Name", no_wrap=True)
    table.add_column("Unit", no_wrap=True)
    table.add_column("Value", justify="right", no_wrap=True)
    table.add_column("")
    for row in section_rows(occ):
        table.add_row(row.name, row.unit, row.value, row.note)
    return table


def headroom_lines(launch: Launch, occ: Occupancy, limits: SmLimits) -> list[str]:
    """In words: what to give up for one more block per SM, and how much the present blocks still allow."""
    room = headroom(launch, limits)
    lines = [f"Cannot launch: {occ.cannot_launch}."] if occ.cannot_launch else []
    if room.blocks_per_sm > occ.blocks_per_sm:
        lines.append(
            f"A larger shared-memory configuration than {grouped(occ.shared_mem_config_bytes)} bytes alone "
            f"gives {_blocks(room.blocks_per_sm)} per SM instead of {occ.blocks_per_sm}."
        )
    if room.step is None:
        lines.append(_blocked_line(room))
    else:
        lines.append(_step_line(room.step, room.blocks_per_sm, launch))
        if _shared_mem_ties_by_configuration(occ, room.step):
            configured, largest = grouped(occ.shared_mem_config_bytes), grouped(limits.max_config_bytes)
            lines.append(
                f"Shared memory is no obstacle to that: {configured} bytes were configured for this launch, "
                f"and the driver can configure {largest}."
            )
    lines += [_allowance_line(item) for item in room.allowances if item.blocks_per_sm == room.blocks_per_sm]
    return lines


def report(launch: Launch, occ: Occupancy, limits: SmLimits) -> RenderableType:
    """Everything of one launch: ncu's section and sentence, the headroom in words and as a table, and the curves."""
    from rich.console import Group
    from rich.text import Text

    asked = (
        f"{_counted(launch.threads_per_block, 'thread')} per block, "
        f"{_counted(launch.registers_per_thread, 'register')} per thread, "
        f"{_counted(launch.shared_mem_bytes, 'byte')} of shared memory per block on {limits.arch}"
    )
    parts: list[RenderableType] = [Text(asked), Text(), section(occ), Text()]
    sentence = rule_sentence(occ)
    if sentence is not None:
        parts += [Text(sentence), Text(f"Est. Local Speedup: {estimated_local_speedup_pct(occ):.4g}%"), Text()]
    parts += [Text(line) for line in headroom_lines(launch, occ, limits)]
    return Group(*parts, Text(), allowances(launch, limits), Text(), curves(launch, occ, limits))


def allowances(launch: Launch, limits: SmLimits, *, rows: int = 8) -> Table:
    """For each number of blocks the most registers and shared memory, from the present number (marked) up."""
    from rich.table import Table

    room = headroom(launch, limits)
    table = Table(title="What each number of blocks allows", title_justify="left", box=None, pad_edge=False)
    for heading in ("Blocks per SM", "Occupancy", "Registers per thread", "Dynamic shared memory"):
        table.add_column(heading, justify="right")
    table.add_column("")
    first = max(1, room.blocks_per_sm - 1)
    shown = [item for item in room.allowances if item.blocks_per_sm >= first]
    for item in shown[:rows]:
        table.add_row(
            str(item.blocks_per_sm),
            f"{item.theoretical_occupancy_pct:.1f} %",
            str(item.max_registers_per_thread),
            f"{grouped(item.max_dynamic_shared_mem_bytes)} bytes",
            "now" if item.blocks_per_sm == room.blocks_per_sm else "",
        )
    if len(shown) > rows:
        table.caption = f"up to {_blocks(shown[-1].blocks_per_sm)}"
        table.caption_justify = "left"
    return table


def grouped(count: int) -> str:
    """A count with its thousands set apart: 41 728."""
    return f"{count:,}".replace(",", " ")


def _joined(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])}, and {phrases[-1]}"


def _blocks(count: int) -> str:
    return "1 block" if count == 1 else f"{count} blocks"


def _step_line(step: Step, blocks: int, launch: Launch) -> str:
    parts = []
    if step.registers_fewer:
        parts.append(
            f"{_counted(step.registers_fewer, 'register')} fewer per thread "
            f"({launch.registers_per_thread} → {step.registers_per_thread})"
        )
    if step.dynamic_shared_mem_fewer_bytes:
        parts.append(
            f"{_counted(step.dynamic_shared_mem_fewer_bytes, 'byte')} of shared memory fewer per block "
            f"({grouped(launch.dynamic_shared_mem_bytes)} → {grouped(step.dynamic_shared_mem_bytes)})"
        )
    one = len(parts) == 1 and 1 in (step.registers_fewer, step.dynamic_shared_mem_fewer_bytes)
    verb = "together give" if len(parts) > 1 else "gives" if one else "give"
    return (
        f"{' and '.join(parts)} {verb} {_blocks(step.blocks_per_sm)} per SM instead of {blocks} "
        f"({step.theoretical_occupancy_pct:.1f} % occupancy)."
    )


def _shared_mem_ties_by_configuration(occ: Occupancy, step: Step) -> bool:
    if "shared memory" not in occ.limiters or occ.shared_mem_config_source != "given":
        return False
    return step.dynamic_shared_mem_fewer_bytes == 0 and occ.limit_shared_mem_blocks < step.blocks_per_sm


def _allowance_line(allowance: Allowance) -> str:
    return (
        f"{_blocks(allowance.blocks_per_sm).capitalize()} per SM "
        f"{'fits' if allowance.blocks_per_sm == 1 else 'fit'} up to "
        f"{allowance.max_registers_per_thread} registers per thread and "
        f"{grouped(allowance.max_dynamic_shared_mem_bytes)} bytes of dynamic shared memory."
    )


def _counted(count: int, noun: str) -> str:
    return f"{grouped(count)} {noun}" + ("" if count == 1 else "s")


def _blocked_line(room: Headroom) -> str:
    phrases = [_BLOCKED_PHRASES[name] for name in room.blocked_by]
    allow = "allow" if len(phrases) > 1 else "allows"
    return f"No fewer registers or bytes give another block: {_joined(phrases)} {allow} {_blocks(room.blocks_per_sm)}."


_CURVE_HEIGHT = 4
_CURVE_BAR_WIDTH = 2
_CURVE_SCALES_PCT = (12.5, 25.0, 50.0, 100.0)
_EIGHTHS = " ▁▂▃▄▅▆▇█"


def curve_lines(curve: Curve) -> list[str]:
    """One curve as text: bars of occupancy, the launch marked below with an arrow and its value."""
    top_pct = next(scale for scale in _CURVE_SCALES_PCT if scale >= max(curve.occupancies_pct))
    labels = {_CURVE_HEIGHT - 1: f"{top_pct:g} %", 0: "0 %"}
    lines = [f"Theoretical occupancy over {curve.of}"]
    for row in range(_CURVE_HEIGHT - 1, -1, -1):
        bars = "".join(_bar(value / top_pct, row) * _CURVE_BAR_WIDTH for value in curve.occupancies_pct)
        lines.append(f"{labels.get(row, ''):>6} {bars}".rstrip())
    lines.append(" " * (7 + _CURVE_BAR_WIDTH * curve.present) + "▲")
    lines.append(" " * 7 + _axis(curve))
    return lines


def _axis(curve: Curve) -> str:
    """First and last value at the ends, the launch's own below its arrow; where two would meet, it alone."""
    width = _CURVE_BAR_WIDTH * len(curve.points)
    first, last = grouped(curve.points[0]), grouped(curve.points[-1])
    own = grouped(curve.points[curve.present])
    start = min(max(0, _CURVE_BAR_WIDTH * curve.present - len(own) // 2), width - len(own))
    if start < len(first) + 2:
        first = ""
    if start + len(own) + 2 > width - len(last):
        last = ""
    left = first.ljust(start) + own
    return left + last.rjust(width - len(left))


def curves(launch: Launch, occ: Occupancy, limits: SmLimits) -> RenderableType:
    """The three curves below one another: occupancy over registers, shared memory and threads."""
    from rich.text import Text

    blocks = ["\n".join(curve_lines(curve)) for curve in occupancy_curves(launch, occ, limits)]
    return Text("\n\n".join(blocks))


def _bar(share: float, row: int) -> str:
    eighths = round(share * _CURVE_HEIGHT * 8) - 8 * row
    return _EIGHTHS[max(0, min(8, eighths))]
