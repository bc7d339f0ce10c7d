"""What a capture file has: the kernels that a program launched, and the launches that are kept of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Group, RenderableType

from ssdprof.kernels.captured.alike import alike
from ssdprof.kernels.captured.live.shapes import kept_shapes
from ssdprof.kernels.captured.model import Captured, CapturedLaunch, Seen
from ssdprof.reports.columns import NOT_KNOWN, latency_text
from ssdprof.reports.export.run_json import SCHEMA, json_text
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn
from ssdprof.reports.text.prose import Prose

_Key: TypeAlias = tuple[str, str, str]
SHAPES_WIDTH = 60
"""Longer lists of shapes are cut, with an ellipsis; JSON has them whole."""


def launches_report(captured: Captured) -> RenderableType:
    """A row for each kernel and shapes that were launched, the most time first, and why one is not kept."""
    if not captured.seen:
        return Prose("no launch of a Triton kernel was seen")
    kept = _kept_numbers(captured)
    ordered = sorted(captured.seen, key=lambda one: (-(one.total_ms or 0.0), one.first_number))
    times = [NOT_KNOWN if one.total_ms is None else latency_text(one.total_ms) for one in ordered]
    shapes = [one.shapes for one in ordered]
    shown = [text if len(text) <= SHAPES_WIDTH else text[: SHAPES_WIDTH - 1] + "…" for text in shapes]
    columns = (
        ScreenColumn("kernel", tuple(one.name for one in ordered), right=False, is_id=True),
        ScreenColumn("launches", tuple(str(one.count) for one in ordered)),
        ScreenColumn("ms", tuple(times)),
        ScreenColumn("kept", tuple(kept.get(_key(one), NOT_KNOWN) for one in ordered)),
        ScreenColumn("source", tuple(one.source for one in ordered), right=False, gives_up=2),
        ScreenColumn("shapes", tuple(shown), right=False, gives_up=1),
    )
    whys = dict.fromkeys(f"not kept: {one.name}: {one.why_not}" for one in captured.seen if one.why_not)
    return Group(FittedTable(columns, ("",) * len(ordered), elsewhere="--json"), *map(Prose, whys))


def size_text(size_bytes: int) -> str:
    """A file's size, in MiB below one GiB."""
    mib = size_bytes / (1 << 20)
    return f"{mib / 1024:.2f} GiB" if mib >= 1024 else f"{mib:.2f} MiB"


def launches_json(captured: Captured) -> str:
    """The same for programs."""
    kept = _kept_numbers(captured)
    seen = [{**_fields(one), "kept_as": kept.get(_key(one))} for one in captured.seen]
    launches = [_summary(i + 1, launch) for i, launch in enumerate(captured.launches)]
    content = {"schema": SCHEMA, "command": captured.command, "date": captured.date}
    return json_text({**content, "seen": seen, "launches": launches})


def next_of(captured: Captured, path: Path) -> str:
    """What to do with the file next, as a command."""
    return f"ssdprof sweep {path}" + (" --all" if len(alike(captured.launches)) > 1 else "")


def _kept_numbers(captured: Captured) -> Mapping[_Key, str]:
    """By kernel, source and shapes, the numbers of its launches in the file, from 1."""
    numbers: dict[_Key, list[str]] = {}
    for i, launch in enumerate(captured.launches):
        origin = launch.origin
        key = launch.name, f"{origin.file}:{origin.line}", kept_shapes(launch)
        numbers.setdefault(key, []).append(str(i + 1))
    return {key: ",".join(values) for key, values in numbers.items()}


def _key(one: Seen) -> _Key:
    return one.name, one.source, one.shapes


def _fields(one: Seen) -> dict[str, Any]:
    return {
        "name": one.name,
        "source": one.source,
        "shapes": one.shapes,
        "launches": one.count,
        "total_ms": one.total_ms,
        "why_not": one.why_not or None,
    }


def _summary(number: int, launch: CapturedLaunch) -> dict[str, Any]:
    return {
        "number": number,
        "name": launch.name,
        "file": launch.origin.file,
        "line": launch.origin.line,
        "config": dict(launch.config),
        "grid": list(launch.grid),
        "in_place_ms": launch.in_place_ms,
        "listed_configs": len(launch.autotune.configs) if launch.autotune is not None else 0,
        "bytes": sum(storage.size_bytes for storage in launch.storages),
        "notes": list(launch.notes),
        "versions": dict(launch.versions),
        "device": dict(launch.device),
    }
