"""How a run was measured: launches and seeds checked, how it was timed, the GPU's state meanwhile, what is allowed."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

from ssdprof.profiling.diagnosis.rows import extremes, ranked_timings
from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.profiling.diagnosis.warnings import reasons, taken_samples
from ssdprof.profiling.runs.model import Run

_QUANTITIES = ("sm_clock_mhz", "memory_clock_mhz", "power_w", "temperature_c")


def conditions(run: Run) -> list[Statement]:
    """`measured`, `timed-at`, `allowed` and `held-against`, over the ranked rows; nothing if there are none.

    Each of the GPU's quantities is the range of the rows' medians, None if NVML does not tell it.
    """
    timings = ranked_timings(run)
    if not timings:
        return []
    checks = [row.check for row in run.ranked if row.check]
    how = {
        "launches": extremes(check.launches for check in checks),
        "seeds": extremes(check.seeds for check in checks),
        "drawn": not run.header.reference,
        "timed_by": dict(Counter(timing.timed_by for timing in timings).most_common()),
        "samples": extremes(timing.samples for timing in timings),
    }
    state = {
        **{name: extremes(getattr(timing, name) for timing in timings) for name in _QUANTITIES},
        "power_limit_w": run.header.device.power_limit_w,
        "throttled_samples": sum(timing.dropped_samples + timing.samples * timing.only_throttled for timing in timings),
        "samples": taken_samples(timings),
        "reasons": reasons(timings),
        "throttling_told": all(timing.throttled is not None for timing in timings),
    }
    allowed = {"tolerances": [asdict(one) for one in run.header.tolerances]}
    found = [Statement("note", "measured", how), Statement("note", "timed-at", state)]
    if run.header.tolerances:
        found.append(Statement("note", "allowed", allowed))
    if run.header.reference:
        found.append(Statement("note", "held-against", {"reference": run.header.reference}))
    return found
