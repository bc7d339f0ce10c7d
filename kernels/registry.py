"""The kernels that ssdprof knows."""

from __future__ import annotations

from pathlib import Path

_RECORDED = Path(__file__).parent / "ssd" / "recorded"


def recorded_files() -> list[Path]:
    """The run files that ship with ssdprof, each measured on a named GPU."""
    return sorted(_RECORDED.glob("*.jsonl"))
