"""What stands against the figures of a run, each with a value, its share and what is expected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ssdprof.profiling.diagnosis.rows import fields, leading_rows, ranked_timings
from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.profiling.runs.answers.outliers import outliers
from ssdprof.profiling.runs.measured import Timing
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.runs.rank import TARGET_INTERVAL_SHARE

LOW_CLOCK_SHARE = 0.9
"""Of the GPU's maximum: the SM clock below which latencies are said to be of a slower GPU."""


def measurement_warnings(run: Run) -> list[Statement]:
    """What makes the latencies of a measured run less certain: noise, throttling, other processes, low clocks."""
    if not run.measured:
        return []
    return [*_busy(run), *_noise(run), *_throttled(run), *_not_told(run), *_clocks(run)]


def output_warnings(run: Run) -> list[Statement]:
    """Ranked configs with an error that stands out from the others', which too few others outweigh to call it wrong."""
    found = outliers(run.rows, run.header.tolerances)
    doubtful = [
        {
            **fields(row, "config_id", "rank"),
            **fields(one, "output", "relative_error", "tolerance", "others_error"),
            "agreeing_configs": one.agreeing,
            "other_configs": one.others,
            "alike_configs": one.alike,
        }
        for row in run.ranked
        if (one := found.get(row.config_id))
    ]
    return [Statement("warning", "stands-out", {"configs": doubtful}, "widen-space")] if doubtful else []


def occupancy_warnings(run: Run) -> list[Statement]:
    """Where the driver differs from what occupancy is computed with or comes to: the model is wrong, or the limits."""
    lines = run.header.device.limits_differ
    found = [Statement("warning", "limits-differ", {"difference": line}, "verify") for line in lines]
    differ = [
        {**fields(row, "config_id"), **fields(row.occupancy, "blocks_per_sm"), **fields(row, "driver_blocks_per_sm")}
        for row in run.rows
        if row.occupancy and row.driver_blocks_per_sm not in (None, row.occupancy.blocks_per_sm)
    ]
    return [*found, Statement("warning", "driver-differs", {"configs": differ}, "verify")] if differ else found


def reasons(timings: Iterable[Timing]) -> list[str]:
    """Why clocks were lowered in any of the timings, each reason once."""
    return list(dict.fromkeys(reason for timing in timings for reason in timing.throttled or ()))


def taken_samples(timings: Iterable[Timing]) -> int:
    """Samples kept and dropped."""
    return sum(timing.samples + timing.dropped_samples for timing in timings)


def _noise(run: Run) -> Iterator[Statement]:
    """The best config's interval if it is wider than aimed at, else the widest of those tied with it."""
    leading = [(row, row.timing) for row in leading_rows(run) if row.timing]
    wide = [pair for pair in leading if pair[1].interval_share > TARGET_INTERVAL_SHARE]
    if wide:
        row, timing = wide[0] if wide[0][0].rank == 1 else max(wide, key=lambda pair: pair[1].interval_share)
        figures = {
            **fields(row, "config_id", "rank"),
            "interval_ms": timing.latency_ci95_high_ms - timing.latency_ci95_low_ms,
            **fields(timing, "latency_ms", "interval_share"),
            "interval_share_max": TARGET_INTERVAL_SHARE,
            "wide_configs": len(wide),
            "leading_configs": len(leading),
            "budget_s": run.header.budget_s,
        }
        yield Statement("warning", "noise", figures, "raise-budget")


def _throttled(run: Run) -> Iterator[Statement]:
    """Samples that were dropped, then configs that have no others; and of a power cap, where it is."""
    timings, only = ranked_timings(run), [row for row in run.ranked if row.timing and row.timing.only_throttled]
    dropped = {"dropped_samples": sum(timing.dropped_samples for timing in timings), "samples": taken_samples(timings)}
    alone = {"config_ids": [row.config_id for row in only], "ranked_configs": len(run.ranked)}
    of_dropped = [timing for timing in timings if timing.dropped_samples]
    for figures, of in ((dropped, of_dropped), (alone, [row.timing for row in only if row.timing])):
        if of:
            why = reasons(of)
            limit = {"power_limit_w": run.header.device.power_limit_w if "power cap" in why else None}
            yield Statement("warning", "throttled", {**figures, "reasons": why, **limit}, "lock-clocks")


def _busy(run: Run) -> Iterator[Statement]:
    if others := list(run.header.device.others):
        yield Statement("warning", "busy", {"processes": others}, "free-the-gpu")


def _clocks(run: Run) -> Iterator[Statement]:
    max_mhz = run.header.device.sm_clock_max_mhz
    clocks_mhz = [timing.sm_clock_mhz for timing in ranked_timings(run) if timing.sm_clock_mhz is not None]
    low_mhz = [clock_mhz for clock_mhz in clocks_mhz if max_mhz and clock_mhz < LOW_CLOCK_SHARE * max_mhz]
    if low_mhz:
        counts = {"low_configs": len(low_mhz), "ranked_configs": len(clocks_mhz), "share": LOW_CLOCK_SHARE}
        clocks = {"sm_clock_max_mhz": max_mhz, "sm_clock_mhz": min(low_mhz)}
        yield Statement("warning", "clocks", {**counts, **clocks}, "check-clocks")


def _not_told(run: Run) -> Iterator[Statement]:
    timings = ranked_timings(run)
    taken = taken_samples(timings)
    if taken and any(timing.throttled is None for timing in timings):
        yield Statement("warning", "not-told", {"samples": taken}, "repeat-run")
