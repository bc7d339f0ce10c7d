"""Which configs to time again, in which order, how often, and when to stop: pure functions.

The best configs are timed in rounds: each round takes all of them in a new random order, a few launches each, so drift
of clocks and temperature favours none.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence

from ssdprof.profiling.runs.measured import Timing
from ssdprof.profiling.runs.model import Row, Status
from ssdprof.profiling.runs.rank import TARGET_INTERVAL_SHARE

CLEARLY_SLOWER = 1.05
"""Correct configs slower than the best by more than this factor keep their first few samples, except for the fastest
MIN_FINALISTS."""
MIN_FINALISTS, MAX_FINALISTS = 12, 24
DOUBTED = 2.0
"""Correct configs within this factor of the best that are not finalists after one look get a second: something may hold
up the GPU that much for a few milliseconds."""
MIN_ROUNDS = 4
SLOWER_ROUNDS = 2
"""Rounds that clearly slower finalists take part in."""


def finalists(rows: Sequence[Row], baseline_id: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The configs to time again: the leading correct ones; and others, for comparison.

    The others are the baseline, if it is not among the leading, and the fastest wrong config and the fastest one that
    differs. `rows` have the timing of their first look, in which each was timed alone: the lower ends of their
    intervals decide, so none is left out because something held up the GPU in those few milliseconds.
    """
    correct = _least_ms(rows, "ok")
    limit_ms = _slower_than_ms(correct.values())
    names = [
        name
        for place, (name, least_ms) in enumerate(correct.items())
        if place < MIN_FINALISTS or (least_ms <= limit_ms and place < MAX_FINALISTS)
    ]
    others = [name for name in correct if name == baseline_id and name not in names]
    return tuple(names), (*others, *list(_least_ms(rows, "wrong"))[:1], *list(_least_ms(rows, "differs"))[:1])


def doubted(rows: Sequence[Row]) -> tuple[str, ...]:
    """The correct configs that might be finalists after another look, likeliest first: within DOUBTED, or throttled."""
    correct = _least_ms(rows, "ok")
    names, _ = finalists(rows, None)
    limit_ms = DOUBTED * min(correct.values(), default=math.inf)
    throttled = {row.config_id for row in rows if row.timing and row.timing.only_throttled}
    return tuple(
        name for name, least_ms in correct.items() if name not in names and (least_ms <= limit_ms or name in throttled)
    )


def unsettled(timings: Mapping[str, Timing | None]) -> tuple[str, ...]:
    """The configs with a latency that is not known well enough: none yet, only throttled, or too wide an interval."""
    return tuple(
        name
        for name, timing in timings.items()
        if timing is None or timing.only_throttled or timing.interval_share > TARGET_INTERVAL_SHARE
    )


def planned_turns(leading_ms: Sequence[float], others: int) -> int:
    """The fewest turns that the rounds take, given the latencies of a first look and the number of other configs."""
    limit_ms = _slower_than_ms(leading_ms)
    slower = sum(latency_ms > limit_ms for latency_ms in leading_ms)
    return SLOWER_ROUNDS * slower + MIN_ROUNDS * (len(leading_ms) - slower + others)


def next_round(number: int, leading: Mapping[str, Timing | None], others: Sequence[str], seed: int) -> tuple[str, ...]:
    """The configs of round `number` (from 1) in order; none if no more rounds are needed.

    `leading` are the correct finalists with their timing from earlier rounds; those whose whole interval is beyond
    CLEARLY_SLOWER only take part in the first SLOWER_ROUNDS. `others`, the baseline if it is slower and the fastest
    wrong config, only take part in the first MIN_ROUNDS; after those, only unsettled configs continue, and with them
    any other that could still be the best.
    """
    if number > SLOWER_ROUNDS:
        limit_ms = _slower_than_ms(one.latency_ms for one in leading.values() if one)
        leading = {
            name: one
            for name, one in leading.items()
            if one is None or one.only_throttled or one.latency_ci95_low_ms <= limit_ms
        }
    names = [*leading, *others]
    if number > MIN_ROUNDS:
        left = set(unsettled(leading))
        if not left:
            return ()
        highs_ms = [timing.latency_ci95_high_ms for timing in leading.values() if timing]
        reach_ms = min(highs_ms, default=0.0)
        left |= {name for name, timing in leading.items() if timing and timing.latency_ci95_low_ms <= reach_ms}
        names = [name for name in names if name in left]
    random.Random(f"{seed}/{number}").shuffle(names)  # noqa: S311  # an order, not a secret
    return tuple(names)


def _least_ms(rows: Sequence[Row], status: Status) -> dict[str, float]:
    """The timed configs with a status, and the lower end of their latency's interval, fastest first."""
    timed = ((row.timing.latency_ci95_low_ms, row.config_id) for row in rows if row.timing and row.status == status)
    return {name: least_ms for least_ms, name in sorted(timed)}


def _slower_than_ms(latencies_ms: Iterable[float]) -> float:
    """The latency beyond which a config is clearly slower than the best."""
    return CLEARLY_SLOWER * min(latencies_ms, default=math.inf)
