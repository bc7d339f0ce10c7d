"""What a list says of each kept run, noted in one file beside the runs, so that not all of them need to be read again.

An entry holds for a file of its size and time of change; anything else is read anew, and noted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssdprof.profiling.runs.model import Run

FORMAT = 1
"""Counts up when what is noted changes, or how runs are ranked: what an older one has noted is then read again."""
NAME = "runs.json"


@dataclass(frozen=True, slots=True)
class Summary:
    """A kept run in short.

    `device` None: nothing was measured. `best_id`, `best_ms` None: no config has a rank. `problem`: what is compared of
    it, without what outputs are held against.
    """

    date: str
    device: str | None
    arch: str
    kernel: str
    problem: dict[str, Any]
    space: str
    configs: int
    correct: int
    best_id: str | None
    best_ms: float | None
    interrupted: bool
    stopped: str
    triton: str


@dataclass(frozen=True, slots=True)
class Entry:
    """The summary of a file as it was then."""

    size_bytes: int
    changed_ns: int
    summary: Summary


def summary_of(run: Run) -> Summary:
    """The run in short."""
    from ssdprof.kernels.interface import HELD_AGAINST

    header, best = run.header, run.ranked[0] if run.measured and run.ranked else None
    return Summary(
        date=header.date,
        device=header.device.name,
        arch=header.device.arch,
        kernel=header.kernel,
        problem={name: value for name, value in header.problem.items() if name != HELD_AGAINST},
        space=header.space,
        configs=len(run.rows),
        correct=sum(row.status == "ok" for row in run.rows),
        best_id=best.config_id if best else None,
        best_ms=best.known_latency_ms if best else None,
        interrupted=header.interrupted,
        stopped=header.stopped,
        triton=header.triton,
    )


def entry_of(path: Path, run: Run) -> Entry:
    """What to note of the run in that file. Raises OSError."""
    found = path.stat()
    return Entry(found.st_size, found.st_mtime_ns, summary_of(run))


def is_of(entry: Entry, path: Path) -> bool:
    """Whether the file has not changed since. Raises OSError."""
    found = path.stat()
    return (entry.size_bytes, entry.changed_ns) == (found.st_size, found.st_mtime_ns)


def noted(folder: Path) -> dict[str, Entry]:
    """What was noted of the files in that folder, by name; what cannot be read is as if it were not there."""
    try:
        content = json.loads(_path(folder).read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            return {}
        return {
            name: Entry(**{**entry, "summary": Summary(**entry["summary"])}) for name, entry in content["runs"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def note(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Notes these in place of all before. If that fails, the files are read again the next time."""
    path = _path(folder)
    new = path.with_name(f"{NAME}.{os.getpid()}")
    content = {"format": FORMAT, "runs": {name: asdict(entry) for name, entry in entries.items()}}
    with suppress(OSError):
        new.write_text(json.dumps(content) + "\n", encoding="utf-8")
        new.replace(path)


def add(path: Path, run: Run) -> None:
    """Notes the run in that file besides the others of its folder."""
    with suppress(OSError):
        note(path.parent, {**noted(path.parent), path.name: entry_of(path, run)})


def _path(folder: Path) -> Path:
    return folder.parent / NAME
