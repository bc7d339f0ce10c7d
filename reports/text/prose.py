"""Texts that go over lines between words alone: a number or an id that is longer than a line stays whole."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.text import Text

_KEPT = "\N{NO-BREAK SPACE}"
_UNITS = "%|°C|[GT]B/s|[GMK]?i?B|TFLOP/s|MHz|W|µs|ms|s|minutes"
_INSIDE = re.compile(rf"(?<=\w':) (?=\S)|(?<=\d) (?=(?:{_UNITS})(?![\w/]))|(?<=\bn) (?==)|(?<=\bn =) (?=\d)")
"""Blanks inside one word: between a quoted key and its value, a number and its unit, and in `n = 12`."""


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` characters, or of one longer word; 'M': 64 is one word, as is 25 %."""
    lines: list[str] = []
    for paragraph in _INSIDE.sub(_KEPT, text).split("\n"):
        lines += textwrap.wrap(paragraph, max(width, 1), break_long_words=False, break_on_hyphens=False) or [""]
    return [line.replace(_KEPT, " ") for line in lines]


def longest_word(text: str) -> int:
    """Character cells of the longest word."""
    return max(map(cell_len, re.split(r"[ \n]", _INSIDE.sub(_KEPT, text))))


@dataclass(frozen=True, slots=True)
class Prose:
    """A text for the width at hand; where lines are not to be wrapped at all, one line."""

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Its lines."""
        lines = [self.text] if options.no_wrap else wrapped(self.text, options.max_width)
        for line in lines:
            yield Text(line, style=self.style, no_wrap=True, overflow="ignore")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """From its longest word to all of it."""
        widest = max(cell_len(line) for line in self.text.split("\n"))
        return Measurement(min(longest_word(self.text), options.max_width), min(widest, options.max_width))


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts beside their labels; below its label, if a word of it is too long to stand beside it.

    `styles`: of the labels; dim without one.
    """

    lines: tuple[tuple[str, str], ...]
    styles: tuple[str, ...] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """A line or more for each label."""
        indent = max((cell_len(label) for label, _ in self.lines), default=0) + 2
        for i_label, (label, text) in enumerate(self.lines):
            style = self.styles[i_label] if self.styles else "dim"
            is_beside = options.no_wrap or indent + longest_word(text) <= options.max_width
            start = indent if is_beside else 2
            lines = [text] if options.no_wrap else wrapped(text, options.max_width - start)
            if not is_beside:
                yield Text(label, style=style)
            for i_line, line in enumerate(lines):
                before = label if is_beside and i_line == 0 else ""
                shown = Text()
                shown.append(before.ljust(start), style=style)
                shown.append(line)
                shown.no_wrap, shown.overflow = True, "ignore"
                yield shown
