"""How far the best latency is from the least that the problem's bytes take."""

from __future__ import annotations

from typing import Any

from ssdprof.profiling.diagnosis.bound import bound_statement
from ssdprof.profiling.diagnosis.rows import latency_ms
from ssdprof.profiling.runs.model import Row, Run, RunHeader
from ssdprof.profiling.runs.rank import copy_gbps_of

NEAR_FLOOR = 1.2
"""Times the least latency: up to here no launch configuration can gain much more."""


def floor(run: Run) -> dict[str, Any] | None:
    """That of the best config of a run; None if it has none, or if the least is not known."""
    return floor_of(run.ranked[0], run.header) if run.ranked else None


def floor_of(row: Row, header: RunHeader) -> dict[str, Any] | None:
    """The latency of a row over the time that the least bytes take at the GPU's measured copy bandwidth."""
    copy_gbps = copy_gbps_of(row, header)
    if not copy_gbps or not header.bytes_min or row.known_timing is None:
        return None
    floor_ms = header.bytes_min / copy_gbps / 1e6
    times = latency_ms(row) / floor_ms
    return {
        "bytes_min": header.bytes_min,
        "copy_gbps": copy_gbps,
        "floor_ms": floor_ms,
        "times_the_floor": times,
        "near_the_floor": times <= NEAR_FLOOR,
        "bound": bound.figures if (bound := bound_statement(row, header)) else None,
    }
