"""Inputs that were written to: told by sums of their bits, planted by hand and at random."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssdprof.profiling.measuring import guard
from ssdprof.profiling.measuring.guard import Fingerprints


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    floats = torch.randn((5, 7), generator=generator)
    return {
        "bfloat16": floats.bfloat16(),
        "float32": floats.clone(),
        "float64": floats.double(),
        "int32": torch.arange(-3, 8, dtype=torch.int32),
        "bool": floats[0] > 0,
        "one": torch.zeros(1, dtype=torch.bfloat16),
        "empty": torch.zeros((0, 3)),
    }


def test_tensors_that_nobody_touches_are_unchanged() -> None:
    fingerprints = Fingerprints(tensors())
    assert () == fingerprints.changed()
    assert () == fingerprints.changed()


@pytest.mark.parametrize("name", [name for name in tensors() if name != "empty"])
def test_a_change_of_any_one_element_is_seen_and_named(name: str) -> None:
    several = tensors()
    fingerprints = Fingerprints(several)
    flat = several[name].flatten()
    assert flat.data_ptr() == several[name].data_ptr()
    for index in range(len(flat)):
        before = flat[index].clone()
        flat[index] = ~before if name == "bool" else before + 1
        assert (name,) == fingerprints.changed()
        flat[index] = before
    assert () == fingerprints.changed()


def test_all_that_changed_are_named_in_order() -> None:
    several = tensors()
    fingerprints = Fingerprints(several)
    several["bool"].logical_not_()
    several["bfloat16"].zero_()
    assert ("bfloat16", "bool") == fingerprints.changed()


def test_zero_and_minus_zero_are_not_the_same() -> None:
    zeros = torch.zeros(3)
    fingerprints = Fingerprints({"x": zeros})
    zeros[1] = -0.0
    assert ("x",) == fingerprints.changed()


@pytest.mark.parametrize("lanes", [guard._LANES, 7])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_signs_that_change_in_many_places_are_seen(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, lanes: int
) -> None:
    monkeypatch.setattr(guard, "_LANES", lanes)
    x = torch.randn(4096, generator=torch.Generator().manual_seed(0)).to(dtype)
    fingerprints = Fingerprints({"x": x})
    for step in (1, 2, 4, 8, 2048):
        x[::step].neg_()
        assert ("x",) == fingerprints.changed()
        x[::step].neg_()
    assert () == fingerprints.changed()


def test_swapped_elements_and_swapped_pieces_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_LANES", 8)
    x = torch.arange(100.0)
    fingerprints = Fingerprints({"x": x})
    for first, second, count in ((0, 1, 1), (3, 11, 1), (0, 8, 8), (0, 16, 16), (16, 48, 16), (0, 96, 4), (98, 99, 1)):
        before = x.clone()
        x[first : first + count], x[second : second + count] = (
            before[second : second + count],
            before[first : first + count],
        )
        assert ("x",) == fingerprints.changed(), (first, second, count)
        x.copy_(before)
    assert () == fingerprints.changed()


def test_a_slice_that_starts_at_an_odd_address_and_one_with_gaps_are_watched_too() -> None:
    memory = torch.zeros(32, dtype=torch.bfloat16)
    views = {"odd": memory[1:8], "gaps": memory[16:].view(4, 4)[:, :3]}
    fingerprints = Fingerprints(views)

    memory[0] = memory[19] = 1.0  # beside both
    assert () == fingerprints.changed()

    memory[7] = 1.0
    assert ("odd",) == fingerprints.changed()
    memory[30] = 1.0
    assert ("odd", "gaps") == fingerprints.changed()


def test_a_tensor_of_several_rows_is_watched_to_its_last_byte() -> None:
    row_bytes = 8 * guard._LANES
    x = torch.zeros(3 * row_bytes + 8 + 3, dtype=torch.uint8)
    fingerprints = Fingerprints({"x": x})
    for index in (0, row_bytes - 1, row_bytes, 3 * row_bytes - 1, 3 * row_bytes, 3 * row_bytes + 8, len(x) - 1):
        x[index] = 1
        assert ("x",) == fingerprints.changed(), index
        x[index] = 0
    assert () == fingerprints.changed()


def test_sums_beyond_64_bits_wrap_around() -> None:
    x = torch.full((3 * guard._LANES,), -(2**63), dtype=torch.int64)
    fingerprints = Fingerprints({"x": x})
    assert () == fingerprints.changed()
    x[guard._LANES + 1] = 2**63 - 1
    assert ("x",) == fingerprints.changed()


def test_a_change_whose_sums_vanish_in_every_row_and_column_is_all_that_is_not_seen() -> None:
    x = torch.zeros((2, guard._LANES), dtype=torch.int64)
    fingerprints = Fingerprints({"x": x})
    x[0, 3] = x[1, 8] = 5
    x[0, 8] = -5
    assert ("x",) == fingerprints.changed()
    x[1, 3] = -5
    assert () == fingerprints.changed()


def parts_of(values: list[int], lanes: int) -> list[int]:
    """Of bytes, the sums of rows and columns of 64-bit words mod 2^64, and what is left over."""
    words = [int.from_bytes(values[i : i + 8], "little") for i in range(0, len(values) - len(values) % 8, 8)]
    whole = len(words) // lanes * lanes
    rows = [words[i : i + lanes] for i in range(0, whole, lanes)]
    sums = [sum(row) for row in rows] + [sum(column) for column in zip(*rows, strict=True)]
    return [one % 2**64 for one in sums] + words[whole:] + values[8 * len(words) :]


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.integers(0, 255), min_size=1, max_size=150),
    changes=st.dictionaries(st.integers(0, 149), st.integers(0, 255), min_size=1, max_size=8),
)
def test_other_bytes_are_seen_as_a_change_where_a_sum_is_another_and_the_same_bytes_as_none(
    values: list[int], changes: dict[int, int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "_LANES", 3)
        x = torch.tensor(values, dtype=torch.uint8)
        fingerprints = Fingerprints({"x": x})
        for index, value in changes.items():
            if index < len(x):
                x[index] = value
        is_other = parts_of(values, 3) != parts_of(x.tolist(), 3)
        assert (("x",) if is_other else ()) == fingerprints.changed()


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 6)), st.integers(1, 2**63 - 1), min_size=1, max_size=9)
)
def test_a_change_of_which_a_row_or_a_column_has_one_word_alone_is_always_seen(
    changes: dict[tuple[int, int], int],
) -> None:
    rows, columns = (Counter(place[axis] for place in changes) for axis in (0, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "_LANES", 7)
        x = torch.zeros((5, 7), dtype=torch.int64)
        fingerprints = Fingerprints({"x": x})
        for place, value in changes.items():
            x[place] = value
        if 1 in {*rows.values(), *columns.values()}:
            assert ("x",) == fingerprints.changed()
