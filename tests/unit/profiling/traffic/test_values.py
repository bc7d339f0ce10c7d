"""Choices and numbers of many programs at once, against numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssdprof.profiling.traffic.values import Mask, Sum, rows_of, select


@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 1, 1), (6, 1, 1), (1, 5, 1), (1, 5, 2), (6, 1, 2)])
@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_a_choice_is_numpys_whichever_axes_it_goes_along(shape: tuple[int, ...], dtype: type) -> None:
    rng = np.random.default_rng(0)
    chosen = rng.random(shape) < 0.5
    chosen.flat[0] = True
    left, right = rng.integers(0, 99, (6, 5, 1)), rng.integers(0, 99, (1, 5, 1)).astype(dtype)
    found = select(Mask((chosen,)), Sum((left,)), Sum((right,)))
    assert isinstance(found, Sum)
    expected = np.where(chosen, left, right)
    assert (expected.dtype, expected.tolist()) == (found.dense().dtype, found.dense().tolist())


@given(st.lists(st.integers(0, 5) | st.integers(-(1 << 62), 1 << 62), min_size=1, max_size=300))
def test_programs_are_of_one_kind_if_their_rows_are_equal(rows: list[int]) -> None:
    firsts, kinds = rows_of([np.array(rows).reshape(-1, 1)], len(rows))
    assert rows == [rows[firsts[kind]] for kind in kinds]
    assert len(firsts) == len(set(rows))


def test_programs_of_more_kinds_than_have_a_short_number_each_are_told_apart() -> None:
    rows = np.random.default_rng(0).permutation(np.arange(100_000)) // 2
    firsts, kinds = rows_of([rows.reshape(-1, 1)], len(rows))
    assert 50_000 == len(firsts)
    assert (rows[firsts[kinds]] == rows).all()
