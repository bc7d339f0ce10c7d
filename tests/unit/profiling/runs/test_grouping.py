"""Which configs give the same output, by made-up sketches."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from fake_runs import HEADER, config, id_of, row
from hypothesis import given, settings
from hypothesis import strategies as st

from ssdprof.kernels.interface import Tolerances
from ssdprof.profiling.runs.answers.grouping import APART, Group, groups_of, numbered
from ssdprof.profiling.runs.model import Row, Status
from ssdprof.profiling.runs.rank import ranked_run

HELD = (Tolerances(0.01, 0.05, "operands are rounded", output="out", against="the launch as captured"),)
BUCKETS = 64
Sketch = tuple[float, ...]


def unit(seed: int) -> Sketch:
    """A sketch of norm 1 in some direction."""
    rng = random.Random(seed)
    values = [rng.gauss(0, 1) for _ in range(BUCKETS)]
    return tuple(value / math.hypot(*values) for value in values)


REFERENCE = unit(0)


def off(start: Sketch, by: float, seed: int) -> Sketch:
    """Another sketch at that distance."""
    return tuple(a + by * b for a, b in zip(start, unit(seed), strict=True))


def sketched(number: int, sketch: Sketch, status: Status | None = None) -> Row:
    """A config with that sketch; ok if it is within the tolerance of the reference."""
    error = math.dist(sketch, REFERENCE)
    status = status or ("ok" if error <= HELD[0].relative_error else "differs")
    made = row(config(64, 64, 16 << number // 32, 128, 2, 1 + number % 32), 128, latency_ms=1.0 + number, error=error)
    assert made.check
    return replace(made, status=status, check=replace(made.check, sketch=sketch))


def rows_of(*sketches: Sketch) -> list[Row]:
    return [sketched(number, sketch) for number, sketch in enumerate(sketches, 1)]


def groups(*sketches: Sketch, tolerance: float = 0.01) -> list[set[int]]:
    """The groups as numbers of the sketches from 0."""
    rows = rows_of(*sketches)
    names = {one.config_id: number for number, one in enumerate(rows)}
    found = groups_of(rows, [replace(HELD[0], relative_error=tolerance)])
    return [{names[name] for name in group.config_ids} for group in found]


def noisy(start: Sketch, configs: int, low: float, high: float, seed: int) -> list[Sketch]:
    """So many sketches, off by between `low` and `high`."""
    rng = random.Random(seed)
    return [off(start, rng.uniform(low, high), 1000 * seed + i) for i in range(configs)]


OTHER = off(REFERENCE, 0.73, 1)
THIRD = off(REFERENCE, 0.6, 2)


def test_two_answers_are_told_apart_with_and_without_rounding() -> None:
    assert [{0, 1, 3}, {2, 4}] == groups(REFERENCE, REFERENCE, OTHER, REFERENCE, OTHER)
    found = groups(*noisy(REFERENCE, 11, 1e-3, 8e-3, 3), *noisy(OTHER, 22, 1e-3, 8e-3, 4))
    assert [set(range(11)), set(range(11, 33))] == found


def test_three_answers_are_told_apart() -> None:
    made = [*noisy(REFERENCE, 5, 0, 4e-3, 3), *noisy(OTHER, 9, 0, 4e-3, 4), *noisy(THIRD, 7, 0, 4e-3, 5)]
    assert [set(range(5)), set(range(5, 14)), set(range(14, 21))] == groups(*made)


@pytest.mark.parametrize("seed", range(10, 20))
def test_rounding_of_any_usual_size_is_one_answer(seed: int) -> None:
    assert [set(range(30))] == groups(*noisy(REFERENCE, 30, 1e-3, 8e-3, seed))


def test_that_most_agree_in_all_bits_does_not_make_the_others_another_answer() -> None:
    assert [set(range(14))] == groups(*[REFERENCE] * 10, *noisy(REFERENCE, 4, 5e-3, 8e-3, 3))


def test_equal_bits_are_one_answer_and_one_config_is_one() -> None:
    assert [set(range(8))] == groups(*[REFERENCE] * 8)
    assert [{0}] == groups(REFERENCE)
    assert [{0}] == groups(OTHER)


def test_rounding_beyond_the_tolerance_is_one_answer_if_few_are_within_it() -> None:
    chain = [off(REFERENCE, by, 7) for by in (0.0, 0.015, 0.03, 0.045, 0.06)]
    assert [set(range(5))] == groups(*chain)


def test_an_answer_just_beyond_the_tolerance_is_seen_if_the_others_agree_far_better() -> None:
    others = [off(REFERENCE, 0.03, 8)] * 2
    assert [{0, 1, 2, 3}, {4, 5}] == groups(*noisy(REFERENCE, 4, 1e-5, 1e-4, 3), *others)
    assert [{0, 1, 2, 3, 4, 5}] == groups(*noisy(REFERENCE, 4, 5e-3, 9e-3, 3), *others)


def test_what_is_within_the_tolerance_is_never_cut() -> None:
    assert [{0, 1, 2, 3}] == groups(*[REFERENCE] * 3, off(REFERENCE, 0.0099, 5))


def test_a_far_answer_does_not_hide_a_nearer_one() -> None:
    far = off(REFERENCE, 50.0, 9)
    found = groups(*noisy(REFERENCE, 5, 1e-3, 2e-3, 3), off(REFERENCE, 0.2, 6), far)
    assert [set(range(5)), {5}, {6}] == found


def test_the_references_answer_comes_first_and_then_the_larger_ones_with_their_distances() -> None:
    rows = rows_of(*[OTHER] * 2, *[THIRD] * 3, REFERENCE)
    found = groups_of(rows, HELD)
    assert [(1, True), (3, False), (2, False)] == [(len(one.config_ids), one.is_reference) for one in found]
    assert [0.0, pytest.approx(0.6), pytest.approx(0.73)] == [one.distance for one in found]


def test_without_a_config_that_gives_the_references_output_the_largest_comes_first() -> None:
    found = groups_of(rows_of(*[OTHER] * 2, *[THIRD] * 3), HELD)
    assert [(3, False), (2, False)] == [(len(one.config_ids), one.is_reference) for one in found]


def test_configs_without_a_sketch_or_with_no_whole_output_have_no_answer() -> None:
    bare = row(config(64, 64, 32, 128, 2, 9), 128, latency_ms=1.0)
    raced = sketched(8, OTHER, "unstable")
    rows = [*rows_of(REFERENCE, OTHER), bare, raced]
    assert [1, 2, None, None] == [one.answer for one in numbered(rows, HELD)]
    assert () == groups_of([bare], HELD)


def test_a_run_numbers_the_answers_of_its_rows() -> None:
    run = ranked_run(replace(HEADER, tolerances=HELD), rows_of(REFERENCE, OTHER, REFERENCE))
    assert [1, 2, 1] == [one.answer for one in run.rows]
    assert [1, None, 2] == [one.rank for one in run.rows]


def test_a_reference_of_zeros_makes_distances_absolute() -> None:
    zeros = (0.0,) * BUCKETS
    assert [{0, 1, 2}, {3}] == groups(zeros, zeros, zeros, unit(3))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(1, 12), st.floats(1e-6, 4e-3), st.floats(0.3, 3.0))
def test_groups_far_apart_are_found_whatever_their_sizes_rounding_and_order(
    seed: int, ours: int, theirs: int, rounding: float, distance: float
) -> None:
    other = off(REFERENCE, distance, seed + 1)
    labelled = [(0, one) for one in noisy(REFERENCE, ours, rounding / 4, rounding, seed + 2)]
    labelled += [(1, one) for one in noisy(other, theirs, rounding / 4, rounding, seed + 3)]
    random.Random(seed).shuffle(labelled)
    found = groups(*(one for _, one in labelled))
    assert [{i for i, (label, _) in enumerate(labelled) if label == side} for side in (0, 1)] == found
    assert distance > APART * 0.01


def test_a_group_is_a_value() -> None:
    names = tuple(id_of(config(64, 64, 16 << number // 32, 128, 2, 1 + number % 32)) for number in (1, 2))
    assert (Group(names, 0.0, True),) == groups_of(rows_of(REFERENCE, REFERENCE), HELD)
