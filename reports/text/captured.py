"""What a capture file has: the kernels that a program launched, and the launches that are kept of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ssdprof.kernels.captured.alike import alike
from ssdprof.kernels.captured.live.shapes import kept_shapes
from ssdprof.kernels.captured.model import Captured, CapturedLaunch, Seen
from ssdprof.reports.columns import NOT_KNOWN, latency_text
from ssdprof.reports.export.run_json import SCHEMA, json_text
from ssdprof.reports.text.listings import aligned

_Key: TypeAlias = tuple[str, str, str]
SHAPES_WIDTH = 60
"""Longer lists of shapes are cut, with an ellipsis; JSON has them whole."""


def launches_text(captured: Captured) -> str:
    """A line for each kernel and shapes that were launched, the most time first, and why one is not kept."""
    if not captured.seen:
        return "no launch of a Triton kernel was seen\n"
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
