"""Which values hold the registers, as a table whose last column is a bar: each where the one above it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import PurePath
from types import MappingProxyType

from rich.console import RenderableType
from rich.text import Text

from ssdprof.profiling.runs.registers import HeldInRegisters, Order, RegisterKind, Registers
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn
from ssdprof.reports.text.ledger import MAP_WIDTH, NARROW_MAP_WIDTH, span
from ssdprof.reports.text.occupancy import counted
from ssdprof.reports.text.prose import Prose

TITLE = "What the registers hold, estimated"
UNEXPLAINED = "in 706 compiled kernels they were 17 % of it in the median and 30 % at the 90th percentile"
"""Measured: docs/occupancy.md has the kernels."""
REST = "addresses, indices and what the compiler adds"
_ORDERS: Mapping[Order, str] = MappingProxyType(
    {
        "sliced": "Operands of products are taken as read slice by slice: whole, they would need more than that.",
        "chained": (
            "The rows are of an order that goes through chains of operations element by element, and through operands "
            "of products slice by slice: the IR's own would need more than that."
        ),
    }
)
_LISTED = 10
_SMALL_SHARE = 0.02
_KINDS: Mapping[RegisterKind, str] = MappingProxyType(
    {
        "accumulator": "accumulator",
        "operand": "operand of a product",
        "loaded": "loaded",
        "carried": "carried by a loop",
        "computed": "computed",
        "addresses": "addresses",
        "indices": "indices",
        "mask": "mask",
    }
)


_SHORT: Mapping[RegisterKind, str] = MappingProxyType({"operand": "operand", "carried": "carried"})


def parts(registers: Registers | None, absent: str = "") -> list[RenderableType]:
    """Title, sentences and table; one line if there is nothing to show, and nothing if the config did not compile."""
    if registers is None:
        return [Prose(f"What the registers hold could not be read: {absent}"), Text()] if absent else []
    lines = _lines(registers)
    return [Text(TITLE, style="italic"), Prose(summary(registers)), *([_table(lines)] if lines else []), Text()]


def summary(registers: Registers) -> str:
    """Where a thread holds the most, how many of the compiler's registers that explains, and how it is estimated."""
    where = f" at line {registers.line}" if registers.line else ""
    estimate, kept = registers.estimated_registers, registers.registers_per_thread
    held = (
        f"By the compiler's GPU IR a thread{_whose(registers)} holds the most right after `{registers.op}`{where}: "
        f"{counted(estimate, 'register')}, counted from the elements that it has of each value."
    )
    if registers.partitions:
        return f"{held} How many the compiler gives each group is not told; the launch has {kept} per thread."
    spilled = f" and spills {registers.spilled_registers} more" if registers.spilled_registers else ""
    if registers.rest_registers < 0:
        return f"{held} That is too high: estimate {estimate}; the compiler keeps {kept}{spilled}, in another order."
    text = f"{held} The compiler keeps {kept}{spilled}. The rest are {REST}: {UNEXPLAINED}."
    return f"{text} {_ORDERS[registers.order]}" if registers.order in _ORDERS else text


def _whose(registers: Registers) -> str:
    if not registers.partitions:
        return ""
    if registers.partition is None:
        return f" of the kernel's own warps, beside {counted(registers.partitions, 'group')} of specialised ones,"
    return f" of the specialised warps in group {registers.partition + 1} of {registers.partitions}"


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the table: what is held, as what, and its registers."""

    registers: int
    name: str
    role: str
    short_role: str
    row: HeldInRegisters | None = None

    @property
    def source(self) -> str:
        """File and line; empty if they are not known."""
        return f"{PurePath(self.row.file).name}:{self.row.line}" if self.row and self.row.file else ""


def _lines(registers: Registers) -> list[_Line]:
    """The largest values, the smaller ones as one line, and what the compiler has besides."""
    least = _SMALL_SHARE * registers.estimated_registers
    large = [row for row in registers.rows[:_LISTED] if row.registers > least]
    small = registers.rows[len(large) :]
    if len(small) == 1:
        large, small = [*large, *small], ()
    lines = [_of_value(row) for row in large]
    if small:
        values = counted(sum(row.values for row in small), "smaller value")
        lines.append(_Line(sum(row.registers for row in small), values, "", ""))
    if registers.rest_registers > 0 and not registers.partitions:
        lines.append(
            _Line(registers.rest_registers, "the rest", "addresses, indices, compiler's own", "compiler's own")
        )
    return lines


def _of_value(row: HeldInRegisters) -> _Line:
    return _Line(row.registers, row.name or row.op or "-", _role(row), _role(row, is_short=True), row)


def _role(row: HeldInRegisters, *, is_short: bool = False) -> str:
    """What a value is for, in words."""
    is_told = row.kind == "computed" and row.name
    role = _SHORT.get(row.kind, _KINDS[row.kind]) if is_short else _KINDS[row.kind]
    if is_told:
        role = row.op if is_short else f"{role}: {row.op}"
    return f"{row.values} × {role}" if row.values > 1 else role


def _table(lines: Sequence[_Line]) -> FittedTable:
    ends = list(accumulate(line.registers for line in lines))
    total = ends[-1]
    spans = [(end - line.registers, end) for line, end in zip(lines, ends, strict=True)]
    is_one_file = len({line.row.file for line in lines if line.source and line.row}) <= 1
    columns = (
        ScreenColumn("what", tuple(line.name for line in lines), right=False),
        ScreenColumn(
            "as",
            tuple(line.role for line in lines),
            right=False,
            short=tuple(line.short_role for line in lines),
            shortens=2,
        ),
        ScreenColumn("shape", tuple("×".join(map(str, line.row.shape)) if line.row else "" for line in lines)),
        ScreenColumn("dtype", tuple(line.row.dtype if line.row else "" for line in lines), right=False),
        ScreenColumn("registers", tuple(str(line.registers) for line in lines)),
        ScreenColumn(
            "source",
            tuple(line.source for line in lines),
            right=False,
            short=tuple(f":{line.source.rpartition(':')[2]}" if line.source else "" for line in lines)
            if is_one_file
            else None,
            shortens=1,
        ),
        ScreenColumn(
            f"of {total} registers",
            tuple(span(*one, total, MAP_WIDTH) for one in spans),
            right=False,
            short=tuple(span(*one, total, NARROW_MAP_WIDTH) for one in spans),
            shortens=3,
            gives_up=1,
        ),
    )
    return FittedTable(columns, elsewhere="--json")
