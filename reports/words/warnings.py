"""What stands against the figures of a run: each warning gives a value, its share, what is expected and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ssdprof.profiling.runs.model import Row, Run
from ssdprof.profiling.sweep.rounds import TARGET_INTERVAL_SHARE
from ssdprof.reports.columns import latency_text
from ssdprof.reports.text.occupancy import grouped
from ssdprof.reports.words.conditions import ranked_timings, reasons, taken_samples, throttling_told

LOW_CLOCK_SHARE = 0.9
"""Of the GPU's maximum: the SM clock below which latencies are said to be of a slower GPU."""


@dataclass(frozen=True, slots=True)
class Warned:
    """One warning. `code` is stable, for programs; `message` is for people."""

    code: str
    message: str


def measurement_warnings(run: Run) -> list[Warned]:
    """What makes the latencies of a measured run less certain: noise, throttling, other processes, low clocks."""
    if not run.measured:
        return []
    return [*_busy(run), *_noise(run), *_dropped(run), *_only_throttled(run), *_not_told(run), *_clocks(run)]


def occupancy_warnings(run: Run) -> list[Warned]:
    """Where the driver differs from what occupancy is computed with or comes to: the model is wrong, or the limits."""
    found = [
        Warned("limits-differ", f"The GPU is not what limits.json says: {line}. Occupancy may be wrong.")
        for line in run.header.device.limits_differ
    ]
    differ = [
        f"{row.config_id} ({row.occupancy.blocks_per_sm} computed, {row.driver_blocks_per_sm} by the driver)"
        for row in run.rows
        if row.occupancy and row.driver_blocks_per_sm not in (None, row.occupancy.blocks_per_sm)
    ]
    if differ:
        message = (
            f"Blocks per SM differ from the driver's in {len(differ)} configs, {listed(differ)}: their occupancy "
            "figures are not to be trusted. `ssdprof verify` shows every difference."
        )
        found.append(Warned("driver-differs", message))
    return found


def listed(names: Iterable[str], limit: int = 4) -> str:
    """The names as an enumeration; of more than `limit`, all but the first `limit` less one are only counted."""
    names = list(names)
    if len(names) > limit:
        names = [*names[: limit - 1], f"{len(names) - limit + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _noise(run: Run) -> list[Warned]:
    """The best config's interval where it is wider than aimed at, else the widest of those tied with it."""
    leading = [row for row in run.ranked if row.rank == 1 or row.tied_with_best]
    wide = [row for row in leading if _interval_share(row) > TARGET_INTERVAL_SHARE]
    if not wide:
        return []
    worst = wide[0] if wide[0].rank == 1 else max(wide, key=_interval_share)
    timing = worst.timing
    assert timing is not None
    what = "the fastest" if worst.rank == 1 else "one of those tied with the fastest"
    others = "" if len(wide) == 1 else f" ({len(wide)} of the {len(leading)} leading configs exceed it)"
    return [
        Warned(
            "noise",
            f"The 95 % interval of {worst.config_id}, {what}, is "
            f"{latency_text(timing.latency_ci95_high_ms - timing.latency_ci95_low_ms)} ms wide, "
            f"{100 * timing.interval_share:.1f} % of its median {latency_text(timing.latency_ms)} ms, where at most "
            f"{100 * TARGET_INTERVAL_SHARE:.0f} % is aimed at{others}: give --budget more than "
            f"{run.header.budget_s:g} s, or a quieter GPU.",
        )
    ]


def _dropped(run: Run) -> list[Warned]:
    timings = ranked_timings(run)
    dropped, taken = sum(timing.dropped_samples for timing in timings), taken_samples(timings)
    if not dropped:
        return []
    why = _why(run, reasons(timing for timing in timings if timing.dropped_samples))
    return [
        Warned(
            "throttled",
            f"{grouped(dropped)} of {grouped(taken)} samples ({100 * dropped / taken:.1f} %) were taken while the "
            f"clocks were lowered ({why}) and dropped, where none is expected: {_REMEDY}.",
        )
    ]


def _only_throttled(run: Run) -> list[Warned]:
    rows = [row for row in run.ranked if row.timing and row.timing.only_throttled]
    if not rows:
        return []
    why = _why(run, reasons(row.timing for row in rows if row.timing))
    return [
        Warned(
            "throttled",
            f"{len(rows)} of {len(run.ranked)} ranked configs ({100 * len(rows) / len(run.ranked):.0f} %), "
            f"{listed(row.config_id for row in rows)}, were timed with lowered clocks alone ({why}), where none is "
            f"expected: their latencies stand for want of better and may be too high; {_REMEDY}.",
        )
    ]


def _busy(run: Run) -> list[Warned]:
    others = run.header.device.others
    if not others:
        return []
    count = "Another process was" if len(others) == 1 else f"{len(others)} other processes were"
    return [
        Warned(
            "busy",
            f"{count} on the GPU, where none is expected: {listed(others)}. What runs beside a config makes its "
            "latency higher and less certain: wait until the GPU is free, or choose another one with --device.",
        )
    ]


def _clocks(run: Run) -> list[Warned]:
    max_mhz = run.header.device.sm_clock_max_mhz
    clocks_mhz = [timing.sm_clock_mhz for timing in ranked_timings(run) if timing.sm_clock_mhz is not None]
    low_mhz = [clock_mhz for clock_mhz in clocks_mhz if max_mhz and clock_mhz < LOW_CLOCK_SHARE * max_mhz]
    if not low_mhz or not max_mhz:
        return []
    return [
        Warned(
            "clocks",
            f"{len(low_mhz)} of {len(clocks_mhz)} ranked configs were timed at an SM clock of less than "
            f"{100 * LOW_CLOCK_SHARE:.0f} % of the GPU's {max_mhz} MHz, the lowest {min(low_mhz)} MHz "
            f"({100 * min(low_mhz) / max_mhz:.0f} %): compare latencies with those of other runs at such clocks alone. "
            "A power cap or clocks that someone set do that; `nvidia-smi -q -d CLOCK,POWER,PERFORMANCE` tells which.",
        )
    ]


def _not_told(run: Run) -> list[Warned]:
    taken = taken_samples(ranked_timings(run))
    if throttling_told(run) or not taken:
        return []
    return [
        Warned(
            "not-told",
            "NVML does not tell whether this GPU lowers its clocks for heat or power, as is usual on virtual GPUs: all "
            f"{grouped(taken)} samples count (100 %), throttled ones among them, if there are any. Repeat the run "
            "before you trust a difference of a few per cent.",
        )
    ]


_REMEDY = (
    "lock a clock that the GPU can hold (`nvidia-smi -lgc`, as root), cool it better, or raise its power limit"
    " (`nvidia-smi -pl`)"
)


def _why(run: Run, names: tuple[str, ...]) -> str:
    limit_w = run.header.device.power_limit_w
    limit = f" at {limit_w:.0f} W" if "power cap" in names and limit_w is not None else ""
    return ", ".join(f"{name}{limit if name == 'power cap' else ''}" for name in names)


def _interval_share(row: Row) -> float:
    return row.timing.interval_share if row.timing else 0.0
