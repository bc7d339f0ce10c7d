"""A table that fits the width it is given by giving up what matters least; a figure or an id is never cut short."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from ssdprof.reports.text.prose import Prose, longest_word

WRAPPED_MIN_WIDTH = 20


@dataclass(frozen=True)
class ScreenColumn:
    """One column on the screen, its cells ready as text.

    While the table is too wide, columns with `short` cells take those, in the order of `shortens`; then columns are
    left out in the order of `gives_up`, and named below. `gives_up` 0: never left out. `is_extra`: left out before any
    other gives way. `wraps`: its cells may go over lines of at least `least` character cells. `is_id`: if nothing else
    helps, its cells stand on lines of their own, above the others. `colours`: rich styles of its cells; they only
    repeat what the cells say.
    """

    heading: str
    cells: tuple[str, ...]
    right: bool = True
    short: tuple[str, ...] | None = None
    shortens: int = 1
    gives_up: int = 0
    is_extra: bool = False
    wraps: bool = False
    least: int = WRAPPED_MIN_WIDTH
    is_id: bool = False
    colours: tuple[str, ...] = ()

    @cached_property
    def widest(self) -> int:
        """Character cells of the widest line."""
        return max(cell_len(line) for text in (self.heading, *self.cells) for line in text.split("\n"))

    def colour(self, i_row: int) -> str:
        """The style of a cell."""
        return self.colours[i_row] if self.colours else ""

    @cached_property
    def width(self) -> int:
        """The same; of a column that wraps, the least it can do with."""
        if not self.wraps:
            return self.widest
        return min(self.widest, max(self.least, *map(longest_word, (self.heading, *self.cells))))


@dataclass(frozen=True, slots=True)
class Fit:
    """What is shown at some width: columns, the gap between them, the columns left out, and the id if it is apart."""

    columns: tuple[ScreenColumn, ...]
    gap: int
    left_out: tuple[ScreenColumn, ...] = ()
    apart: ScreenColumn | None = None

    @property
    def width(self) -> int:
        """Character cells of the columns and gaps."""
        return _width(self.columns, self.gap)


@dataclass(frozen=True, slots=True)
class FittedTable:
    """Columns side by side, under a rule if `is_ruled`; `styles` has one rich style per row, or is empty.

    `elsewhere`: the options of the command that show every column.
    """

    columns: tuple[ScreenColumn, ...]
    styles: tuple[str, ...] = ()
    elsewhere: str = "--csv FILE, --json"
    is_ruled: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table for the width at hand, and below it a line that names what was left out."""
        found = fit(self.columns, options.max_width)
        width = max(found.width, options.max_width)
        parts = self._stacked(found, width) if found.apart else self._table(found, width)
        yield from console.render(parts, options.update(width=width))
        if found.left_out:
            names = ", ".join(column.heading.replace("\n", " ") for column in found.left_out)
            yield Prose(f"left out at this width: {names} (in {self.elsewhere} and a wider terminal)", "dim")

    def _table(self, found: Fit, width: int) -> RenderableType:
        rows = range(len(found.columns[0].cells))
        return self._rows(found, width, [(i_row, self._style(i_row)) for i_row in rows])

    def _stacked(self, found: Fit, width: int) -> RenderableType:
        """Each id on a line of its own, its figures below it."""
        assert found.apart is not None
        parts: list[RenderableType] = [Text(found.apart.heading), self._rows(found, width, [])]
        for i_row, name in enumerate(found.apart.cells):
            style = self._style(i_row)
            parts += [
                Text(name, style=found.apart.colour(i_row) or style, no_wrap=True, overflow="ignore"),
                self._rows(found, width, [(i_row, style)]),
            ]
        return Group(*parts)

    def _rows(self, found: Fit, width: int, rows: Sequence[tuple[int, str]]) -> Table:
        """These rows, each with its style, in columns whose widths do not depend on them; without any, the heading.

        A single row beside others has no heading.
        """
        is_part = found.apart is not None and bool(rows)
        frame = box.SIMPLE_HEAD if self.is_ruled and not is_part else None
        apart = found.gap - 1 if frame else found.gap  # the frame draws a blank between columns
        table = Table(box=frame, show_edge=False, pad_edge=False, padding=(0, apart, 0, 0), show_header=not is_part)
        spare = width - found.width
        for column in found.columns:
            wanted = min(column.widest - column.width, spare) if column.wraps else 0
            spare -= wanted
            justify: Literal["right", "left"] = "right" if column.right else "left"
            table.add_column(
                Text(column.heading), justify=justify, no_wrap=not column.wraps, width=column.width + wanted
            )
        for i_row, style in rows:
            cells = [
                Prose(column.cells[i_row]) if column.wraps else Text(column.cells[i_row], style=column.colour(i_row))
                for column in found.columns
            ]
            table.add_row(*cells, style=style)
        return table

    def _style(self, i_row: int) -> str:
        return self.styles[i_row] if self.styles else ""


def fit(columns: Sequence[ScreenColumn], max_width: int) -> Fit:
    """What to show of the columns in `max_width` character cells; wider only if what is never left out is."""
    beside = _fit(columns, max_width)
    apart = next((column for column in columns if column.is_id), None)
    if beside.width <= max_width or apart is None:
        return beside
    return replace(_fit([column for column in columns if not column.is_id], max_width), apart=apart)


def _fit(columns: Sequence[ScreenColumn], max_width: int) -> Fit:
    shown = dict(enumerate(columns))
    for i in sorted((i for i, column in shown.items() if column.is_extra), key=lambda i: columns[i].gives_up):
        if _width(shown.values(), 2) > max_width:
            shown.pop(i)
    gap = 2 if _width(shown.values(), 2) <= max_width else 1
    for i in sorted((i for i, column in shown.items() if column.short), key=lambda i: columns[i].shortens):
        if _width(shown.values(), gap) > max_width:
            shown[i] = replace(shown[i], cells=shown[i].short or ())
    if _width(shown.values(), gap) > max_width:
        shown = {i: _folded(column) for i, column in shown.items()}
    for i in sorted((i for i, column in shown.items() if column.gives_up), key=lambda i: columns[i].gives_up):
        if _width(shown.values(), gap) > max_width:
            shown.pop(i)
    left_out = sorted((i for i in range(len(columns)) if i not in shown), key=lambda i: columns[i].gives_up)
    return Fit(tuple(shown.values()), gap, tuple(columns[i] for i in left_out))


def _folded(column: ScreenColumn) -> ScreenColumn:
    """The column with its heading a word a line, if that makes it narrower."""
    folded = replace(column, heading=column.heading.replace(" ", "\n"))
    return folded if folded.width < column.width else column


def _width(columns: Iterable[ScreenColumn], gap: int) -> int:
    widths = [column.width for column in columns]
    return sum(widths) + gap * (len(widths) - 1)
