"""Statistics of samples and of batches of them."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssdprof.profiling.runs.measured import Batch, Conditions, TimedBy, Timing
from ssdprof.profiling.runs.rank import quantile, spearman, timing, timing_of

latencies_ms = st.floats(min_value=1e-6, max_value=1e6)
samples = st.lists(latencies_ms, min_size=1, max_size=80)
coordinates = st.integers(min_value=-50, max_value=50).map(float)
quickly = settings(max_examples=100, deadline=None)


def batch(
    *samples_ms: float, throttled: tuple[str, ...] | None = (), number: int = 0, timed_by: TimedBy = "events"
) -> Batch:
    return Batch("a", samples_ms, timed_by, Conditions(throttled=throttled), number)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7.0], 0.5, 7.0),
        ([1.0, 2.0], 0.5, 1.5),
        ([1.0, 2.0, 10.0], 0.5, 2.0),
        ([0.0, 10.0], 0.2, 2.0),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 0.2, 1.0),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 0.8, 4.0),
        ([1.0, 2.0, 3.0], 0.0, 1.0),
        ([1.0, 2.0, 3.0], 1.0, 3.0),
    ],
)
def test_quantiles_are_interpolated(values: list[float], share: float, expected: float) -> None:
    assert pytest.approx(expected) == quantile(values, share)


def test_one_sample_is_all_there_is_to_say() -> None:
    assert Timing(2.5, 2.5, 2.5, 2.5, 2.5, 1) == timing([2.5])


def test_samples_need_no_order() -> None:
    assert timing([1.0, 2.0, 3.0, 4.0]) == timing([4.0, 2.0, 1.0, 3.0])


@pytest.mark.parametrize("count", [2, 3, 5, 6, 10])
def test_the_interval_of_few_samples_is_their_whole_range(count: int) -> None:
    found = timing([float(value) for value in range(count)])
    assert (0.0, count - 1.0, count) == (found.latency_ci95_low_ms, found.latency_ci95_high_ms, found.samples)


def test_the_interval_of_a_hundred_samples_is_between_their_40th_and_61st() -> None:
    found = timing([float(value) for value in range(1, 101)])
    assert (40.0, 61.0) == (found.latency_ci95_low_ms, found.latency_ci95_high_ms)


def test_the_interval_holds_the_median_with_at_least_95_per_cent() -> None:
    """Exactly: the chance that k of n samples lie below the median is binomial."""
    for count in range(6, 201):
        found = timing([float(value) for value in range(1, count + 1)])
        low, high = int(found.latency_ci95_low_ms), int(found.latency_ci95_high_ms)
        covered = sum(math.comb(count, below) for below in range(low, high)) / 2**count
        assert 0.95 <= covered <= 0.999, count


@quickly
@given(samples)
def test_a_timing_is_in_order_and_within_its_samples(values: list[float]) -> None:
    found = timing(values)
    inside = [found.latency_p20_ms, found.latency_ms, found.latency_p80_ms]
    assert sorted(inside) == inside
    assert min(values) <= inside[0] <= inside[2] <= max(values)
    assert found.latency_ci95_low_ms <= found.latency_ms <= found.latency_ci95_high_ms
    assert {found.latency_ci95_low_ms, found.latency_ci95_high_ms} <= set(values)
    assert pytest.approx(statistics.median(values)) == found.latency_ms


@quickly
@given(samples, st.floats(min_value=0.1, max_value=10.0))
def test_a_timing_scales_with_its_samples(values: list[float], factor: float) -> None:
    one, scaled = timing(values), timing([factor * value for value in values])
    assert pytest.approx(factor * one.latency_ms) == scaled.latency_ms
    assert pytest.approx(factor * one.latency_ci95_high_ms) == scaled.latency_ci95_high_ms


def test_the_samples_of_all_batches_count_together() -> None:
    found = timing_of([batch(4.0, 2.0), batch(3.0), batch(1.0, 5.0)])
    assert replace(timing([1.0, 2.0, 3.0, 4.0, 5.0]), throttled=()) == found


def test_samples_taken_while_throttled_are_dropped_counted_and_explained() -> None:
    batches = [
        batch(1.0, 1.1),
        batch(9.0, 9.0, 9.0, throttled=("power cap",)),
        batch(1.2, 1.3),
        batch(8.0, throttled=("thermal", "power cap")),
    ]
    found = timing_of(batches)
    assert (1.15, 1.3, 4) == (found.latency_ms, found.latency_ci95_high_ms, found.samples)
    assert (4, ("power cap", "thermal"), False) == (found.dropped_samples, found.throttled, found.only_throttled)


def test_samples_that_were_all_throttled_stand_and_say_so() -> None:
    found = timing_of([batch(9.0, throttled=("thermal",)), batch(8.0, 7.0, throttled=("thermal",))])
    assert (8.0, 3) == (found.latency_ms, found.samples)
    assert (0, ("thermal",), True) == (found.dropped_samples, found.throttled, found.only_throttled)


def test_a_batch_without_samples_is_no_clean_one() -> None:
    found = timing_of([batch(), batch(9.0, throttled=("thermal",))])
    assert (9.0, 1, True) == (found.latency_ms, found.samples, found.only_throttled)


def test_the_first_look_counts_only_where_there_are_no_rounds() -> None:
    first = [batch(5.0, 5.0), batch(6.0, throttled=("thermal",))]
    assert (5.0, 2, 1) == (timing_of(first).latency_ms, timing_of(first).samples, timing_of(first).dropped_samples)
    found = timing_of([*first, batch(2.0, number=1), batch(1.0, number=2)])
    assert (1.5, 2, 0, ()) == (found.latency_ms, found.samples, found.dropped_samples, found.throttled)


def test_a_clean_first_look_does_not_stand_in_for_rounds_that_were_throttled() -> None:
    found = timing_of([batch(1.0), batch(2.0, throttled=("thermal",), number=1)])
    assert (2.0, True) == (found.latency_ms, found.only_throttled)


def test_what_nvml_tells_of_no_batch_is_unknown() -> None:
    found = timing_of([batch(1.0, throttled=None), batch(2.0, throttled=None)])
    assert {None} == {found.throttled, found.sm_clock_mhz, found.memory_clock_mhz, found.power_w, found.temperature_c}
    assert () == timing_of([batch(1.0, throttled=None), batch(2.0)]).throttled


def test_conditions_are_lower_medians_over_the_kept_batches_that_tell_them() -> None:
    told = [
        Conditions(1980, 2619, 300.0, 40, ()),
        Conditions(1900, 2619, 500.0, None, ()),
        Conditions(1800, None, None, 60, ()),
        Conditions(1755, None, 400.0, 50, ()),
        Conditions(300, 300, 700.0, 90, ("thermal",)),
    ]
    found = timing_of([Batch("a", (1.0,), "events", conditions) for conditions in told])
    assert (1800, 2619, 400.0, 50) == (found.sm_clock_mhz, found.memory_clock_mhz, found.power_w, found.temperature_c)


def test_the_way_of_timing_is_that_of_the_last_batch_that_counts() -> None:
    batches = [batch(1.0, timed_by="events"), batch(1.0, timed_by="graph")]
    assert "graph" == timing_of(batches).timed_by
    assert "graph" == timing_of([*batches, batch(1.0, timed_by="host", throttled=("thermal",))]).timed_by


@quickly
@given(st.lists(st.tuples(samples, st.booleans()), min_size=1, max_size=10))
def test_every_sample_is_either_kept_or_dropped(found: list[tuple[list[float], bool]]) -> None:
    batches = [batch(*taken, throttled=("thermal",) if hot else (), number=1) for taken, hot in found]
    one = timing_of(batches)
    clean = [sample for taken, hot in found if not hot for sample in taken]
    everything = [sample for taken, _ in found for sample in taken]
    assert len(everything) == one.samples + one.dropped_samples
    assert (not clean) == one.only_throttled
    assert timing(clean or everything).latency_ms == one.latency_ms


@pytest.mark.parametrize(
    ("xs", "ys", "rho"),
    [
        ([1.0, 2.0, 3.0], [10.0, 20.0, 30.0], 1.0),
        ([1.0, 2.0, 3.0], [1.0, 0.5, 0.1], -1.0),
        ([1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 6.0, 7.0, 8.0, 7.0], 8 / math.sqrt(95)),  # ranks 1, 2, 3.5, 5, 3.5
        ([1.0, 1.0, 2.0], [1.0, 2.0, 3.0], math.sqrt(3) / 2),  # ranks 1.5, 1.5, 3
        ([1.0, 2.0, 3.0, 4.0], [1.0, 1000.0, 2.0, 3.0], 0.4),
    ],
)
def test_spearman_is_the_correlation_of_mean_ranks(xs: list[float], ys: list[float], rho: float) -> None:
    found = spearman(xs, ys)
    assert found is not None
    assert pytest.approx(rho) == found


@pytest.mark.parametrize(
    ("xs", "ys"), [([], []), ([1.0, 2.0], [1.0, 2.0]), ([1.0, 2.0, 3.0], [1.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])]
)
def test_spearman_of_too_little_is_none(xs: list[float], ys: list[float]) -> None:
    assert spearman(xs, ys) is None


@quickly
@given(st.lists(st.tuples(coordinates, coordinates), max_size=40))
def test_spearman_is_symmetric_bounded_and_blind_to_monotone_changes(points: list[tuple[float, float]]) -> None:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    rho = spearman(xs, ys)
    assert rho == spearman(ys, xs)
    if rho is None:
        assert len(points) < 3 or 1 in (len(set(xs)), len(set(ys)))
        return
    assert -1.0000001 <= rho <= 1.0000001
    assert pytest.approx(rho) == spearman([x**3 + x for x in xs], ys)
    assert pytest.approx(-rho) == spearman(xs, [-y for y in ys])
    assert pytest.approx(1.0) == spearman(xs, xs)
