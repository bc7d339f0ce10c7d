"""How a run was measured, in words: launches and seeds checked, how it was timed, and the GPU's state meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ssdprof.profiling.runs.model import Device, Run, TimedBy, Timing
from ssdprof.reports.text.occupancy import grouped

TIMED_BY: dict[TimedBy, str] = {"events": "CUDA events", "graph": "CUDA graphs", "host": "the host's clock"}


def ranked_timings(run: Run) -> list[Timing]:
    """The timings of the ranked rows, best first."""
    return [row.timing for row in run.ranked if row.timing]


def measured_lines(run: Run) -> list[tuple[str, str]]:
    """How the ranked rows were measured and the GPU's state meanwhile, each with its label; nothing where none is."""
    timings = ranked_timings(run)
    if not timings:
        return []
    checks = [row.check for row in run.ranked if row.check]
    how = []
    if checks:
        launches = _span([check.launches for check in checks])
        seeds = _span([check.seeds for check in checks])
        how.append(f"checked on {launches} launches and {seeds} {'seed' if seeds == '1' else 'seeds'} each")
    samples = _span([timing.samples for timing in timings])
    how.append(f"timed by {_timed_by(timings)}, {samples} {'sample' if samples == '1' else 'samples'} each")
    lines = [("measured", ", ".join(how)), ("timed at", _state(timings, run.header.device))]
    allowed = run.header.tolerances
    if allowed is not None:
        text = (
            f"errors of at most {allowed.relative_error:g} in all and {allowed.row_error:g} in a row: {allowed.reason}"
        )
        lines.append(("allowed", text))
    return lines


def throttling_told(run: Run) -> bool:
    """Whether NVML said of all ranked rows if clocks were lowered for heat or power while they were timed."""
    return all(timing.throttled is not None for timing in ranked_timings(run))


def reasons(timings: Iterable[Timing]) -> tuple[str, ...]:
    """Why clocks were lowered in any of the timings, each reason once."""
    return tuple(dict.fromkeys(reason for timing in timings for reason in timing.throttled or ()))


def taken_samples(timings: Iterable[Timing]) -> int:
    """Samples kept and dropped."""
    return sum(timing.samples + timing.dropped_samples for timing in timings)


def _state(timings: Sequence[Timing], device: Device) -> str:
    """Each quantity as the range of the rows' medians; those that NVML does not tell are named at the end."""
    limit = "" if device.power_limit_w is None else f" of at most {device.power_limit_w:.0f}"
    quantities: dict[str, tuple[str, Sequence[float | None]]] = {
        "SM clock": ("SM {} MHz", [timing.sm_clock_mhz for timing in timings]),
        "memory clock": ("memory {} MHz", [timing.memory_clock_mhz for timing in timings]),
        "power": ("{} W" + limit, [timing.power_w for timing in timings]),
        "temperature": ("{} °C", [timing.temperature_c for timing in timings]),
    }
    told, missing = [], []
    for name, (form, values) in quantities.items():
        known = [value for value in values if value is not None]
        if known:
            told.append(form.format(_span(known)))
        else:
            missing.append(name)
    throttled = sum(timing.dropped_samples + timing.samples * timing.only_throttled for timing in timings)
    if throttled:
        why = ", ".join(reasons(timings))
        told.append(f"throttled ({why}) in {grouped(throttled)} of {grouped(taken_samples(timings))} samples")
    elif any(timing.throttled is None for timing in timings):
        missing.append("throttling")
    else:
        told.append("not throttled")
    return "; ".join(part for part in (", ".join(told), _not_told(missing)) if part)


def _not_told(missing: Sequence[str]) -> str:
    return f"not told by NVML: {', '.join(missing)}" if missing else ""


def _timed_by(timings: Sequence[Timing]) -> str:
    counts = Counter(timing.timed_by for timing in timings)
    if len(counts) == 1:
        return TIMED_BY[timings[0].timed_by]
    return " and ".join(f"{TIMED_BY[how]} ({count} of {len(timings)})" for how, count in counts.most_common())


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.0f}", f"{max(values):.0f}"
    return low if low == high else f"{low} to {high}"
