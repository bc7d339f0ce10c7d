"""What a block's shared memory holds, as a table whose last column is a map: a bar from the first byte to the last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType

from rich.console import RenderableType
from rich.text import Text

from ssdprof.profiling.runs.ledger import Held, Ledger
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn
from ssdprof.reports.text.occupancy import counted
from ssdprof.reports.text.prose import Prose

TITLE = "What shared memory holds"
MAP_WIDTH, NARROW_MAP_WIDTH = 32, 16
_NAMED = 3
"""So many of the rows that a row shares its bytes with are named."""
_OPS: Mapping[str, str] = MappingProxyType(
    {
        "atomic_cas": "atomic operation",
        "atomic_rmw": "atomic operation",
        "convert_layout": "layout conversion",
        "local_alloc": "buffer",
        "reduce": "reduction",
        "warp_specialize": "values for other warps",
    }
)


def parts(ledger: Ledger | None, absent: str = "") -> list[RenderableType]:
    """Title, sentence and table; one line if there is nothing to show, and nothing if the config did not compile."""
    if ledger is None:
        return [Prose(f"{TITLE} could not be read: {absent}"), Text()] if absent else []
    if not ledger.rows:
        return [Prose(f"{TITLE}: nothing, the kernel uses none."), Text()]
    return [Text(TITLE, style="italic"), Prose(summary(ledger)), _table(ledger), Text()]


def summary(ledger: Ledger) -> str:
    """How many have how many bytes, whether they share them, and what is left over, in words."""
    count = sum(bool(row.op) for row in ledger.rows)
    take = f"{counted(count, 'operation')} {'takes' if count == 1 else 'take'} {counted(ledger.claimed_bytes, 'byte')}"
    total = f"the block's {counted(ledger.total_bytes, 'byte')}"
    text = f"{take} of {total}."
    if ledger.claimed_bytes > ledger.total_bytes:
        text = f"{take} in turn, in {total}: those whose bars overlap take the same ones."
    unused = sum(row.size_bytes for row in ledger.rows if row.kind == "unused")
    if unused:
        text += f" Between them {counted(unused, 'byte')} lie unused."
    if ledger.unattributed_bytes:
        text += f" Of {counted(ledger.unattributed_bytes, 'byte')} the compiler does not tell whose they are."
    return text


def bar(row: Held, total_bytes: int, width: int) -> str:
    """The row's bytes among all, over `width` character cells: its place, and its size rounded to whole cells.

    What is rounded to none is a thin line.
    """
    return span(row.offset_bytes, row.end_bytes, total_bytes, width)


def span(start: int, end: int, total: int, width: int) -> str:
    """A part of a total as a bar over `width` character cells, as `bar` draws it."""
    first, last = (round(at * width / total) for at in (start, end))
    if first == last:
        return " " * (start * width // total) + "▏"
    return " " * first + "█" * (last - first)


def _table(ledger: Ledger) -> FittedTable:
    rows, total = ledger.rows, ledger.total_bytes
    sources = tuple(f"{PurePath(row.file).name}:{row.line}" if row.file else "" for row in rows)
    is_one_file = len({row.file for row in rows if row.file}) <= 1
    lines = tuple(f":{row.line}" if row.file else "" for row in rows)
    roles = tuple(map(_role, rows))
    columns = (
        ScreenColumn("what", tuple(row.name or row.op or "-" for row in rows), right=False),
        ScreenColumn("as", roles, right=False, short=tuple(role.removeprefix("layout ") for role in roles), shortens=2),
        ScreenColumn("shape", tuple("×".join(map(str, row.shape)) for row in rows)),
        ScreenColumn("dtype", tuple(row.dtype for row in rows), right=False),
        ScreenColumn("copies", tuple(str(row.copies) if row.shape else "" for row in rows)),
        ScreenColumn("bytes", tuple(str(row.size_bytes) for row in rows)),
        ScreenColumn("from byte", tuple(str(row.offset_bytes) for row in rows), gives_up=1, is_extra=True),
        ScreenColumn("source", sources, right=False, short=lines if is_one_file else None, shortens=3),
        ScreenColumn(
            f"of {total} bytes",
            tuple(bar(row, total, MAP_WIDTH) for row in rows),
            right=False,
            short=tuple(bar(row, total, NARROW_MAP_WIDTH) for row in rows),
            gives_up=1,
        ),
        ScreenColumn(
            "in turn with", tuple(_in_turn(row, ledger) for row in rows), right=False, gives_up=2, is_extra=True
        ),
    )
    return FittedTable(columns, elsewhere="--json")


def _role(row: Held) -> str:
    """What the bytes are for, in words."""
    if row.kind in ("unused", "not attributed"):
        return row.kind
    if row.kind == "call":
        return "called function"
    return row.kind if row.kind == "barrier" else _OPS.get(row.op, row.op.replace("_", " "))


def _in_turn(row: Held, ledger: Ledger) -> str:
    others = [ledger.rows[i] for i in row.in_turn_with]
    names = list(dict.fromkeys(other.name or _role(other) for other in others))
    more = len(names) - _NAMED
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:_NAMED])} and {more} more"
