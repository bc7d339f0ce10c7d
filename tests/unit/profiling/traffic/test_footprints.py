"""Average footprints, samples of sectors and starts of programs, each against the plain way to compute it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssdprof.profiling.traffic.footprint import footprints, in_order, previous
from ssdprof.profiling.traffic.trace import sampled, starts

DATA = st.lists(st.integers(0, 9), min_size=1, max_size=40)
LINES = st.lists(st.integers(0, 400), min_size=1, max_size=30, unique=True)


@given(DATA)
def test_the_one_before_is_the_last_access_to_the_same(data: list[int]) -> None:
    expected = [max((j for j in range(i) if data[j] == one), default=-1) for i, one in enumerate(data)]
    assert expected == previous(np.array(data)).tolist()


@given(st.lists(st.sampled_from([-(1 << 40), -1, 0, 3, 65_535, 65_536, 1 << 33, (1 << 62) + 1]), max_size=40))
def test_sorting_by_digits_is_stable_sorting(data: list[int]) -> None:
    values = np.array(data, np.int64)
    assert np.argsort(values, kind="stable").tolist() == in_order(values).tolist()


@given(DATA)
def test_a_footprint_is_the_average_number_of_distinct_data_in_all_stretches_of_a_length(data: list[int]) -> None:
    lengths = np.arange(1, len(data) + 1)
    expected = [
        np.mean([len(set(data[i : i + length])) for i in range(len(data) - length + 1)]) for length in lengths.tolist()
    ]
    found = footprints(np.array(data), previous(np.array(data)), lengths)
    assert expected == pytest.approx(found.tolist())


@given(LINES, LINES, st.sampled_from([1, 3, 7, 13]))
def test_a_sample_is_all_sectors_of_the_lines_that_it_takes(first: list[int], sectors: list[int], one_of: int) -> None:
    begins, offsets = np.array(first) * 4, np.array(sorted(sectors))
    expected = sorted(
        (i, j)
        for i, begin in enumerate(begins.tolist())
        for j, offset in enumerate(offsets.tolist())
        if (begin + offset) // 4 % one_of == 0
    )
    which, found = sampled(begins, offsets, one_of)
    assert expected == sorted(zip(which.tolist(), found.tolist(), strict=True))


def test_a_program_starts_when_and_where_the_first_of_those_before_it_ends() -> None:
    begin, places = starts(np.array([3.0, 2.0, 1.0, 1.0, 9.0, 1.0]), 2)
    assert [0.0, 0.0, 2.0, 3.0, 3.0, 4.0] == begin.tolist()
    assert [0, 1, 1, 0, 1, 0] == places.tolist()
