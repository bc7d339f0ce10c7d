"""One statement about a run or a config, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

_ToMeasure = Literal[
    "check-clocks", "free-the-gpu", "lock-clocks", "measure-on-gpu", "raise-budget", "repeat-run", "resume"
]
_ToLookAt = Literal[
    "compare-dram-bytes",
    "drop-from-list",
    "explain",
    "name-the-answer",
    "read-reasons",
    "report",
    "verify",
    "widen-space",
]
_ToChange = Literal["fewer-launches", "fill-last-wave", "hide-latency", "larger-tiles", "reorder-grid"]
NextStep = Literal["none", _ToMeasure, _ToLookAt, _ToChange]


@dataclass(frozen=True, slots=True)
class Statement:
    """What some figures say: `status`, a stable `code`, the figures by name, ready for JSON, and what to do next.

    A figure `recorded` is true if the latencies behind the statement are recorded ones. `message` is empty but for
    what the subject itself says, in its own words.
    """

    status: Literal["good", "note", "warning"]
    code: str
    figures: dict[str, Any] = field(default_factory=dict)
    next_step: NextStep = "none"
    message: str = ""
