"""Which configs are timed again, in which order, and when that is enough."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import replace

import pytest
from fake_kernel import fake
from hypothesis import given, settings
from hypothesis import strategies as st

from ssdprof.profiling.measuring.amounts import TURN_SAMPLES, turn_samples
from ssdprof.profiling.runs.measured import Timing
from ssdprof.profiling.runs.model import Row, Status
from ssdprof.profiling.runs.rank import timing
from ssdprof.profiling.sweep.rounds import (
    CLEARLY_SLOWER,
    DOUBTED,
    MAX_FINALISTS,
    MIN_FINALISTS,
    MIN_ROUNDS,
    SLOWER_ROUNDS,
    TARGET_INTERVAL_SHARE,
    doubted,
    finalists,
    next_round,
    planned_turns,
    unsettled,
)

NAMES = tuple("abcdefgh")
STATUSES: tuple[Status, ...] = ("ok", "ok", "ok", "wrong", "unstable", "launch-error")
quickly = settings(max_examples=100, deadline=None)
latencies_ms = st.floats(min_value=1.0, max_value=1.3)
looks = st.lists(st.tuples(latencies_ms, st.sampled_from(STATUSES), st.booleans()), max_size=60)


def timed(latency_ms: float, share: float = 0.0, *, only_throttled: bool = False) -> Timing:
    """A timing whose interval is so wide, as a share of the latency."""
    low_ms, high_ms = latency_ms * (1 - share / 2), latency_ms * (1 + share / 2)
    return Timing(latency_ms, low_ms, high_ms, low_ms, high_ms, 60, only_throttled=only_throttled)


def row(name: str, latency_ms: float | None, status: Status = "ok") -> Row:
    found = None if latency_ms is None else timed(latency_ms)
    return Row(fake(), name, status, timing=found)


def rows(latencies_ms: Sequence[float]) -> list[Row]:
    """Right configs "0", "1", … with these latencies."""
    return [row(str(number), latency_ms) for number, latency_ms in enumerate(latencies_ms)]


def test_clearly_slower_configs_are_no_finalists_where_there_are_enough_others() -> None:
    close = [1.0 + number / 1000 for number in range(MIN_FINALISTS)]
    names, others = finalists(rows([*close, 0.999 * CLEARLY_SLOWER, 1.001 * CLEARLY_SLOWER, 9.0]), None)
    assert tuple(str(number) for number in range(MIN_FINALISTS + 1)) == names
    assert () == others


def test_the_fastest_few_are_finalists_however_slow() -> None:
    names, _ = finalists(rows([float(number) for number in range(1, MIN_FINALISTS + 5)]), None)
    assert tuple(str(number) for number in range(MIN_FINALISTS)) == names


def test_a_first_look_that_was_held_up_half_of_the_time_leaves_no_finalist_out() -> None:
    held_up = replace(row("held up", None), timing=timed(1.5, share=0.8))
    names, _ = finalists([*rows([1.0 + number / 100 for number in range(MAX_FINALISTS)]), held_up], None)
    assert "held up" == names[0]


def test_who_is_near_and_no_finalist_is_doubted_and_so_is_who_was_throttled() -> None:
    leading = [1.0 + number / 1e4 for number in range(MAX_FINALISTS)]
    far = replace(row("throttled", None), timing=timed(9.0, only_throttled=True))
    wrong = row("wrong", 1.1, "wrong")
    assert ("24", "25", "throttled") == doubted([*rows([*leading, 1.2, 0.999 * DOUBTED, 1.001 * DOUBTED]), far, wrong])
    assert () == doubted(rows(leading)) == doubted([])


def test_no_more_than_so_many_are_finalists_however_close() -> None:
    names, _ = finalists(rows([1.0 + number / 1e4 for number in range(MAX_FINALISTS + 5)]), None)
    assert tuple(str(number) for number in range(MAX_FINALISTS)) == names


def test_the_baseline_and_the_fastest_wrong_config_are_timed_for_comparison() -> None:
    right = rows([float(number) for number in range(1, MIN_FINALISTS + 3)])
    wrong = [row("slow wrong", 0.9, "wrong"), row("fast wrong", 0.5, "wrong"), row("races", 0.1, "unstable")]
    last = right[-1].config_id
    assert (last, "fast wrong") == finalists([*wrong, *right], last)[1]
    assert ("fast wrong",) == finalists([*wrong, *right], right[0].config_id)[1]
    assert ("fast wrong",) == finalists([*wrong, *right], "slow wrong")[1]


def test_there_are_no_finalists_where_nothing_was_timed() -> None:
    assert ((), ()) == finalists([], "a")
    assert ((), ()) == finalists([row("a", None), row("b", None, "wrong")], "a")
    assert ((), ("b",)) == finalists([row("a", None), row("b", 1.0, "wrong")], "a")


@quickly
@given(looks)
def test_finalists_are_the_fastest_right_ones(found: list[tuple[float, Status, bool]]) -> None:
    given_rows = [
        row(str(number), latency_ms if has_timing else None, status)
        for number, (latency_ms, status, has_timing) in enumerate(found)
    ]
    names, others = finalists(given_rows, "0")
    latency_ms = {one.config_id: one.timing.latency_ms for one in given_rows if one.timing}
    status = {one.config_id: one.status for one in given_rows}
    left_out = [name for name in latency_ms if status[name] == "ok" and name not in names]
    assert {"ok"} >= {status[name] for name in names}
    assert sorted(names, key=lambda name: (latency_ms[name], name)) == list(names)
    assert len(names) <= MAX_FINALISTS
    assert not set(names) & set(others)
    if left_out:
        assert len(names) >= MIN_FINALISTS
        assert latency_ms[names[-1]] <= min(latency_ms[name] for name in left_out)
    for name in names[MIN_FINALISTS:]:
        assert latency_ms[name] <= CLEARLY_SLOWER * latency_ms[names[0]]
    assert [name for name in others if status[name] == "ok"] == [name for name in left_out if name == "0"]
    wrong_ms = sorted(latency_ms[name] for name in latency_ms if status[name] == "wrong")
    assert wrong_ms[:1] == [latency_ms[name] for name in others if status[name] != "ok"]


@pytest.mark.parametrize(
    ("latency_ms", "expected"), [(0.0, 40), (0.01, 40), (0.3, 27), (1.0, 8), (2.0, 4), (4.0, 4), (1000.0, 4)]
)
def test_a_turn_is_some_8_ms_of_launches(latency_ms: float, expected: int) -> None:
    assert expected == turn_samples(latency_ms)


@quickly
@given(st.floats(min_value=0.0, max_value=1e6), st.floats(min_value=0.0, max_value=1e6))
def test_slower_configs_take_no_more_launches_a_turn(one_ms: float, other_ms: float) -> None:
    low, high = TURN_SAMPLES
    slow, fast = turn_samples(max(one_ms, other_ms)), turn_samples(min(one_ms, other_ms))
    assert low <= slow <= fast <= high


def test_a_latency_is_settled_where_its_interval_is_below_the_target() -> None:
    timings = {
        "narrow": timed(1.0, 0.99 * TARGET_INTERVAL_SHARE),
        "wide": timed(1.0, 1.01 * TARGET_INTERVAL_SHARE),
        "throttled": timed(1.0, only_throttled=True),
        "none": None,
    }
    assert ("wide", "throttled", "none") == unsettled(timings)


@quickly
@given(st.integers(min_value=0, max_value=2**32), st.integers(min_value=1, max_value=MIN_ROUNDS))
def test_every_config_has_one_turn_in_each_of_the_first_rounds(seed: int, number: int) -> None:
    leading = {"settled": timed(1.0), "wide": timed(1.04, 0.5), "new": None}
    order = next_round(number, leading, ("baseline", "wrong"), seed)
    assert sorted([*leading, "baseline", "wrong"]) == sorted(order)
    assert order == next_round(number, leading, ("baseline", "wrong"), seed)


@pytest.mark.parametrize("number", range(1, MIN_ROUNDS + 1))
def test_clearly_slower_configs_have_a_turn_in_the_first_of_them(number: int) -> None:
    leading = {"best": timed(1.0), "near": timed(1.05), "slow": timed(1.06), "wide": timed(2.0, 0.5)}
    left = {"slow", "wide"} if number <= SLOWER_ROUNDS else set()
    assert {"best", "near", "baseline"} | left == set(next_round(number, leading, ("baseline",), 0))


def test_turns_are_planned_by_a_first_look() -> None:
    assert 3 * MIN_ROUNDS + 2 * SLOWER_ROUNDS == planned_turns([1.0, 1.05, 1.06, 2.0], 1)
    assert 2 * MIN_ROUNDS == planned_turns([], 2)


@pytest.mark.parametrize("seed", range(5))
def test_orders_differ_from_round_to_round_and_from_seed_to_seed(seed: int) -> None:
    leading = dict.fromkeys(NAMES)
    orders = [next_round(number, leading, (), seed) for number in range(1, MIN_ROUNDS + 1)]
    assert MIN_ROUNDS == len(set(orders))
    assert orders[0] != next_round(1, leading, (), seed + 1)


def test_no_config_is_early_or_late_in_its_rounds_more_often_than_others() -> None:
    """So that drift within a round evens out: mean places of 0 to 7 are 3.5, give or take four standard errors."""
    leading = dict.fromkeys(NAMES)
    orders = [next_round(number, leading, (), seed) for seed in range(100) for number in range(1, MIN_ROUNDS + 1)]
    for name in NAMES:
        assert 3.5 == pytest.approx(
            statistics.mean(order.index(name) for order in orders), abs=4 * 2.29 / len(orders) ** 0.5
        )


def test_rounds_end_once_every_leading_config_is_settled() -> None:
    settled = {name: timed(1.0, 0.9 * TARGET_INTERVAL_SHARE) for name in NAMES}
    assert set(NAMES) | {"wrong"} == set(next_round(MIN_ROUNDS, settled, ("wrong",), 0))
    assert () == next_round(MIN_ROUNDS + 1, settled, ("wrong",), 0)
    assert () == next_round(MIN_ROUNDS + 1, {}, ("wrong",), 0)


def test_after_the_first_rounds_go_on_what_is_not_settled_and_what_could_still_be_the_best() -> None:
    leading = {
        "best": timed(1.0, 0.002),
        "close": timed(1.004, 0.008),
        "apart": timed(1.02, 0.008),
        "wide": timed(1.06, 0.2),
        "slow": timed(1.5, 0.02),
        "throttled": timed(1.6, only_throttled=True),
        "new": None,
    }
    order = next_round(MIN_ROUNDS + 1, leading, ("baseline", "wrong"), 0)
    assert {"best", "close", "wide", "throttled", "new"} == set(order)
    assert 5 == len(order)


def test_what_was_never_timed_goes_on_alone() -> None:
    assert ("new",) == next_round(MIN_ROUNDS + 1, {"new": None}, ("wrong",), 0)


@settings(max_examples=20, deadline=None)
@given(st.integers(min_value=0, max_value=2**32), st.floats(min_value=0.001, max_value=0.02))
def test_rounds_of_noisy_configs_end_with_every_interval_below_the_target(seed: int, noise: float) -> None:
    rng = random.Random(seed)
    samples_ms: dict[str, list[float]] = {name: [] for name in NAMES}
    turns = dict.fromkeys([*NAMES, "wrong"], 0)
    number = 0
    while number < 100:
        number += 1
        leading = {name: timing(taken) if taken else None for name, taken in samples_ms.items()}
        order = next_round(number, leading, ("wrong",), seed)
        if not order:
            break
        for name in order:
            turns[name] += 1
            if name != "wrong":
                base_ms = 1.0 + 0.01 * NAMES.index(name)
                samples_ms[name] += [base_ms * rng.gauss(1.0, noise) for _ in range(16)]
    assert MIN_ROUNDS < number < 100
    assert MIN_ROUNDS == turns["wrong"]
    assert SLOWER_ROUNDS <= min(turns.values())
    assert MIN_ROUNDS <= turns[NAMES[0]]
    timings = [timing(taken) for taken in samples_ms.values()]
    reach_ms = CLEARLY_SLOWER * min(one.latency_ms for one in timings)
    leading_shares = [one.interval_share for one in timings if one.latency_ci95_low_ms <= reach_ms]
    assert max(leading_shares) <= TARGET_INTERVAL_SHARE
