"""What a capture file has: the kernels that a program launched, and the launches that are kept of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssdprof.kernels.captured.model import Captured, CapturedLaunch, Seen
from ssdprof.reports.columns import NOT_KNOWN, latency_text
from ssdprof.reports.export.run_json import SCHEMA, json_text
from ssdprof.reports.text.listings import aligned

SHAPES_WIDTH = 60
"""Longer lists of shapes are cut, with an ellipsis; JSON has them whole."""


def launches_text(captured: Captured) -> str:
    """A line for each kernel and shapes that were launched, the most time first, and why one is not kept."""
    kept = _kept_numbers(captured)
    ordered = sorted(captured.seen, key=lambda one: (-(one.total_ms or 0.0), one.first_number))
    rows = []
    for one in ordered:
        shapes = one.shapes if len(one.shapes) <= SHAPES_WIDTH else one.shapes[: SHAPES_WIDTH - 1] + "…"
        time = NOT_KNOWN if one.total_ms is None else latency_text(one.total_ms)
        rows.append((one.name, str(one.count), time, kept.get(_key(one), NOT_KNOWN), one.source, shapes))
    text = aligned(("kernel", "launches", "ms in all", "kept as", "source", "shapes"), rows)
    whys = dict.fromkeys(f"{one.name}: {one.why_not}" for one in captured.seen if one.why_not)
    return text + "".join(f"not kept: {why}\n" for why in whys)


def launches_json(captured: Captured) -> str:
    """The same for programs."""
    seen = [
        {**_fields(one), "kept_as": kept if (kept := _kept_numbers(captured).get(_key(one))) else None}
        for one in captured.seen
    ]
    launches = [_summary(i + 1, launch) for i, launch in enumerate(captured.launches)]
    content = {"schema": SCHEMA, "command": captured.command, "date": captured.date}
    return json_text({**content, "seen": seen, "launches": launches})


def next_of(captured: Captured, path: Path) -> str:
    """What to do with the file next, as a command."""
    return f"ssdprof sweep {path}" + (" --all" if len(captured.launches) > 1 else "")


def _kept_numbers(captured: Captured) -> Mapping[tuple[str, str], str]:
    """By kernel and source, the numbers of its launches in the file, from 1."""
    numbers: dict[tuple[str, str], list[str]] = {}
    for i, launch in enumerate(captured.launches):
        for one in captured.seen:
            if one.name == launch.name and one.first_number <= launch.number and _has_shapes(captured, one, launch):
                numbers.setdefault(_key(one), []).append(str(i + 1))
    return {key: ",".join(values) for key, values in numbers.items()}


def _has_shapes(captured: Captured, one: Seen, launch: CapturedLaunch) -> bool:
    """Whether a launch is one of those seen: the last group of its kernel that began no later."""
    groups = [other for other in captured.seen if other.name == one.name and other.first_number <= launch.number]
    return max(groups, key=lambda other: other.first_number) is one


def _key(one: Seen) -> tuple[str, str]:
    return one.name, one.shapes


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
