"""A table that fits the width it is given by giving up what matters least, and never cuts a figure short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

WRAPPED_MIN_WIDTH = 20


@dataclass(frozen=True, slots=True)
class ScreenColumn:
    """One column on the screen, its cells ready as text.

    `gives_up` 0: always shown whole. Otherwise the columns give up in ascending order while the table is too wide: one
    with `short` cells takes those, any other is left out and named below. `wraps`: its cells may go over lines.
    """

    heading: str
    cells: tuple[str, ...]
    right: bool = True
    short: tuple[str, ...] | None = None
    gives_up: int = 0
    wraps: bool = False

    @property
    def width(self) -> int:
        """Character cells of the widest line; of one that wraps, the least it can do with."""
        lines = [line for text in (self.heading, *self.cells) for line in text.split("\n")]
        widest = max(cell_len(line) for line in lines)
        return min(widest, WRAPPED_MIN_WIDTH) if self.wraps else widest


@dataclass(frozen=True, slots=True)
class FittedTable:
    """Columns side by side under a rule; `styles` has one rich style per row, or is empty."""

    columns: tuple[ScreenColumn, ...]
    styles: tuple[str, ...] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """The table for the width at hand, and below it a line that names what was left out."""
        columns, gap, left_out = fit(self.columns, options.max_width)
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
        fits = _width(columns, gap) <= options.max_width
        for column in columns:
            table.add_column(
                Text(column.heading),
                justify="right" if column.right else "left",
                no_wrap=fits and not column.wraps,
                overflow="fold",  # if even this is too wide, figures go over lines, whole
                min_width=column.width if fits else None,
            )
        for i_row in range(len(columns[0].cells)):
            style = self.styles[i_row] if self.styles else None
            table.add_row(*(Text(column.cells[i_row]) for column in columns), style=style)
        yield table
        if left_out:
            names = ", ".join(column.heading.replace("\n", " ") for column in left_out)
            yield Text(f"left out at this width: {names} (--csv and --json have every column)", style="dim")


def fit(
    columns: Sequence[ScreenColumn], max_width: int
) -> tuple[tuple[ScreenColumn, ...], int, tuple[ScreenColumn, ...]]:
    """(the columns to show, the gap between them, the columns left out) for a width in character cells."""
    shown, left_out = list(columns), []
    gap = 2 if _width(shown, 2) <= max_width else 1
    pending = sorted((column for column in columns if column.gives_up), key=lambda column: column.gives_up)
    while pending and _width(shown, gap) > max_width:
        column = pending.pop(0)
        i_column = shown.index(column)
        if column.short is None:
            left_out.append(shown.pop(i_column))
        else:
            shown[i_column] = replace(column, cells=column.short, short=None)
    return tuple(shown), gap, tuple(left_out)


def _width(columns: Sequence[ScreenColumn], gap: int) -> int:
    return sum(column.width for column in columns) + gap * (len(columns) - 1)
