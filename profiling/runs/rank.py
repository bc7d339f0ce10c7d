"""Statistics of samples and the ranking of rows: pure functions of measured values."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from ssdprof.profiling.hardware.ceilings import Ceilings, ceilings_of
from ssdprof.profiling.runs.answers.grouping import numbered
from ssdprof.profiling.runs.bound import bound_of
from ssdprof.profiling.runs.ceilings import ceilings_for
from ssdprof.profiling.runs.measured import Batch, Timing
from ssdprof.profiling.runs.model import Achieved, Row, Run, RunHeader

TARGET_INTERVAL_SHARE = 0.01
"""The best are timed until their 95 % intervals are below this share of the median."""
_Number = TypeVar("_Number", int, float)


def timing_of(batches: Sequence[Batch]) -> Timing:
    """The timing of a config from its batches, at least one with samples.

    If there are rounds, the first look does not count: it was taken at a different time than those of other configs.
    Batches taken while heat or power lowered the clocks are dropped and counted; if there are no others, they are used.
    Clocks, power and temperature are medians over the batches.
    """
    batches = [batch for batch in batches if batch.round > 0] or batches
    clean = [batch for batch in batches if not batch.throttled and batch.samples_ms]
    dropped = [batch for batch in batches if batch.throttled and batch.samples_ms]
    kept = clean or dropped
    conditions = [batch.conditions for batch in kept]
    reported = [batch.conditions.throttled for batch in batches if batch.conditions.throttled is not None]
    return replace(
        timing([sample for batch in kept for sample in batch.samples_ms]),
        sm_clock_mhz=_median([one.sm_clock_mhz for one in conditions]),
        memory_clock_mhz=_median([one.memory_clock_mhz for one in conditions]),
        power_w=_median([one.power_w for one in conditions]),
        temperature_c=_median([one.temperature_c for one in conditions]),
        timed_by=kept[-1].timed_by,
        dropped_samples=sum(len(batch.samples_ms) for batch in dropped) if clean else 0,
        throttled=tuple(dict.fromkeys(reason for reasons in reported for reason in reasons)) if reported else None,
        only_throttled=not clean,
    )


def timing(samples_ms: Sequence[float]) -> Timing:
    """Median, 20th and 80th percentile and the 95 % confidence interval of the median, from at least one sample.

    The interval is the distribution-free one from order statistics: ranks n/2 ∓ 1.96·√n/2 (Conover, "Practical
    Nonparametric Statistics", section 3.2), the whole range up to 10 samples.
    """
    ordered = sorted(samples_ms)
    n = len(ordered)
    half_width = 1.96 * math.sqrt(n) / 2
    low = max(0, math.floor(n / 2 - half_width) - 1)
    high = min(n - 1, math.ceil(n / 2 + half_width))
    return Timing(
        latency_ms=quantile(ordered, 0.5),
        latency_p20_ms=quantile(ordered, 0.2),
        latency_p80_ms=quantile(ordered, 0.8),
        latency_ci95_low_ms=ordered[low],
        latency_ci95_high_ms=ordered[high],
        samples=n,
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The quantile of ascending values, interpolated linearly."""
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def ranked_run(header: RunHeader, rows: Sequence[Row]) -> Run:
    """The run of these rows, each with all that follows from the others and from the header filled in."""
    ranked = rank(numbered(rows, header.tolerances), header.baseline_id)
    return Run(header, tuple(derived(row, header) for row in ranked))


def derived(row: Row, header: RunHeader) -> Row:
    """The ranked row with what its latency makes of the problem's least work, and with what bounds it."""
    return _bounded(replace(row, achieved=achieved(row, header)), header)


def _bounded(row: Row, header: RunHeader) -> Row:
    """The row with the time of the least bytes and, if its latency is known, what bounds it."""
    ceilings = row_ceilings(row, header)
    if ceilings is None or row.compiled is None:
        return row
    least_bytes = header.bytes_min or (row.model.traffic.least_bytes if row.model and row.model.traffic else None)
    latency_ms = row.known_latency_ms
    return replace(
        row,
        floor_ms=least_bytes / ceilings.dram_gbps / 1e6 if least_bytes else None,
        bound=bound_of(row.model, latency_ms, ceilings, row.occupancy, least_bytes) if latency_ms else None,
    )


def row_ceilings(row: Row, header: RunHeader) -> Ceilings | None:
    """The ceilings of the GPU that the row's latency is from, at the clock of its SMs then."""
    copy_gbps = copy_gbps_of(row, header)
    if row.timing is None and row.recorded is not None and row.model is not None:
        ceilings = ceilings_of(header.device.arch, row.model.gpu, copy_gbps)
    else:
        ceilings = ceilings_for(replace(header.device, copy_gbps=copy_gbps or header.device.copy_gbps))
    if ceilings is None or row.known_timing is None:
        return ceilings
    return ceilings.at_clock(row.known_timing.sm_clock_mhz)


def achieved(row: Row, header: RunHeader) -> Achieved | None:
    """What the latency of a ranked row makes of the problem's least work; None for any other row."""
    latency_ms = row.known_latency_ms
    if row.rank is None or not latency_ms:
        return None
    copy_gbps = copy_gbps_of(row, header)
    gbps = header.bytes_min / latency_ms / 1e6 if header.bytes_min else None
    return Achieved(
        gbps=gbps,
        tflops=header.flops / latency_ms / 1e9 if header.flops else None,
        floor_share_pct=100 * gbps / copy_gbps if gbps and copy_gbps else None,
    )


def copy_gbps_of(row: Row, header: RunHeader) -> float | None:
    """The copy bandwidth of the GPU that the row's latency is from, GB/s; None if it is not known."""
    source = header.device if row.timing else row.recorded
    return source.copy_gbps if source else None


def rank(rows: Sequence[Row], baseline_id: str | None) -> tuple[Row, ...]:
    """The rows in their order, each with rank, speed-up and tie filled in.

    Only rows known to be ok with a latency are ranked: by median latency, then by occupancy. A row is tied with the
    best if the confidence intervals of the two medians overlap. A speed-up is the baseline's latency divided by the
    row's, and exists only if the baseline is ok.
    """
    ranked = sorted((row for row in rows if row.known_status == "ok" and row.known_timing), key=_key)
    places = {row.config_id: place for place, row in enumerate(ranked, start=1)}
    best = ranked[0].known_timing if ranked else None
    baseline = next((row.known_timing for row in ranked if row.config_id == baseline_id), None)

    def filled(row: Row) -> Row:
        place, timing = places.get(row.config_id), row.known_timing
        if place is None or timing is None or best is None:
            return replace(row, rank=None, speedup_vs_baseline=None, tied_with_best=None)
        return replace(
            row,
            rank=place,
            speedup_vs_baseline=baseline.latency_ms / timing.latency_ms if baseline else None,
            tied_with_best=timing.latency_ci95_low_ms <= best.latency_ci95_high_ms,
        )

    return tuple(filled(row) for row in rows)


def spearman(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None below 3 pairs or if one side does not vary."""
    if len(xs) < 3 or len(ys) != len(xs):
        return None
    try:
        return statistics.correlation(_mean_ranks(xs), _mean_ranks(ys))
    except statistics.StatisticsError:  # one side does not vary
        return None


def _median(values: Sequence[_Number | None]) -> _Number | None:
    """The lower median of the known values, so the result is a value that was actually read."""
    known = [value for value in values if value is not None]
    return statistics.median_low(known) if known else None


def _key(row: Row) -> tuple[float, float]:
    assert row.known_latency_ms is not None
    return row.known_latency_ms, -(row.occupancy.theoretical_occupancy_pct if row.occupancy else 0.0)


def _mean_ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value from 1; ties share the mean of their ranks."""
    ordered = sorted(values)
    return [(bisect_left(ordered, value) + 1 + bisect_right(ordered, value)) / 2 for value in values]
