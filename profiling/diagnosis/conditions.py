"""How a run was measured: launches and seeds checked, how it was timed, the GPU's state meanwhile, what is allowed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from ssdprof.profiling.diagnosis.rows import extremes, ranked_timings
from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.profiling.diagnosis.warnings import reasons, taken_samples
from ssdprof.profiling.runs.measured import Timing
from ssdprof.profiling.runs.model import Run


def conditions(run: Run) -> list[Statement]:
    """`measured`, `timed-at` and `allowed`, over the ranked rows; nothing if there are none."""
    timings = ranked_timings(run)
    if not timings:
        return []
    checks = [row.check for row in run.ranked if row.check]
    how = {
        "launches": extremes([check.launches for check in checks]) if checks else None,
        "seeds": extremes([check.seeds for check in checks]) if checks else None,
        "timed_by": dict(Counter(timing.timed_by for timing in timings).most_common()),
        "samples": extremes([timing.samples for timing in timings]),
    }
    found = [Statement("note", "measured", how), _state(timings, run.header.device.power_limit_w)]
    if run.header.tolerances:
        allowed = [asdict(one) for one in run.header.tolerances]
        found.append(Statement("note", "allowed", {"tolerances": allowed}))
    return found


def _state(timings: Sequence[Timing], power_limit_w: float | None) -> Statement:
    """Each quantity as the range of the rows' medians, None if NVML does not tell it."""
    quantities: dict[str, Sequence[float | None]] = {
        "sm_clock_mhz": [timing.sm_clock_mhz for timing in timings],
        "memory_clock_mhz": [timing.memory_clock_mhz for timing in timings],
        "power_w": [timing.power_w for timing in timings],
        "temperature_c": [timing.temperature_c for timing in timings],
    }
    known = {name: [value for value in values if value is not None] for name, values in quantities.items()}
    figures = {
        **{name: extremes(values) if values else None for name, values in known.items()},
        "power_limit_w": power_limit_w,
        "throttled_samples": sum(timing.dropped_samples + timing.samples * timing.only_throttled for timing in timings),
        "samples": taken_samples(timings),
        "reasons": reasons(timings),
        "throttling_told": all(timing.throttled is not None for timing in timings),
    }
    return Statement("note", "timed-at", figures)
