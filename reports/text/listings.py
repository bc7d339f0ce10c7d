"""The spaces of a kernel and the published models' problems, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from ssdprof.kernels.interface import ListedPreset, ListedSpace
from ssdprof.reports.columns import NOT_KNOWN, as_text
from ssdprof.reports.export.json_text import SCHEMA, json_text

DEFAULT_MARK = " (default)"


def spaces_text(spaces: Sequence[ListedSpace]) -> str:
    """Name, number of configs and description; of a space that the problem cannot have, why."""
    rows = [
        (one.name, NOT_KNOWN if one.configs is None else str(one.configs), _marked(one.absent or one.description, one))
        for one in spaces
    ]
    return aligned(("space", "configs", "holds"), rows)


def spaces_json(spaces: Sequence[ListedSpace]) -> str:
    """The same for programs."""
    return json_text({"schema": SCHEMA, "spaces": [asdict(one) for one in spaces]})


def presets_text(presets: Sequence[ListedPreset]) -> str:
    """Name, what the model sets, and the model."""
    names = tuple(presets[0].fields)
    rows = [(one.name, *map(as_text, one.fields.values()), _marked(one.model, one)) for one in presets]
    return aligned(("preset", *names, "model"), rows)


def presets_json(presets: Sequence[ListedPreset]) -> str:
    """The same for programs, with the sources."""
    return json_text({"schema": SCHEMA, "presets": [asdict(one) for one in presets]})


def aligned(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A line a row, columns below their headings, numbers to the right; the last column is as long as it is."""
    lines = [heading, *rows]
    *widths, _ = (max(map(len, cells)) for cells in zip(*lines, strict=True))
    numeric = [all(not cell.strip("–.,0123456789") for cell in cells) for cells in zip(*rows, strict=True)]
    text = ""
    for *cells, last in lines:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric[:-1], strict=True)
        )
        text += "  ".join([*padded, last]) + "\n"
    return text


def _marked(text: str, one: ListedSpace | ListedPreset) -> str:
    return text + DEFAULT_MARK * one.is_default
