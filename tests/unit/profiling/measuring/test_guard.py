"""Writes beside outputs and between their rows: planted by hand, and at random."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssdprof.kernels.launch import TensorMeta
from ssdprof.profiling.measuring import guard
from ssdprof.profiling.measuring.guard import ALIGNMENT_BYTES, GuardedOutput
from ssdprof.profiling.runs.measured import Finding

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
REASON = "a store's mask or offset is wrong"


def guarded(shape: tuple[int, ...], dtype: torch.dtype, guard_bytes: int) -> GuardedOutput:
    """One contiguous output with a storage of its own."""
    return GuardedOutput({"out": TensorMeta(shape, str(dtype).removeprefix("torch."), "out")}, "cpu", guard_bytes)


def around(output: GuardedOutput) -> tuple[torch.Tensor, int, int]:
    """The whole allocation as elements, and where in it the output begins and ends."""
    tensor = output.tensors["out"]
    return whole(tensor), tensor.storage_offset(), tensor.storage_offset() + tensor.numel()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of its storage, as elements."""
    return torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 5), (1,), (2, 3, 4, 7), (0, 4)])
def test_an_output_is_contiguous_of_its_shape_and_as_aligned_as_its_allocation(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    tensor = guarded(shape, dtype, 300).tensors["out"]

    assert (torch.Size(shape), dtype, True) == (tensor.shape, tensor.dtype, tensor.is_contiguous())
    assert 0 == tensor.storage_offset() * dtype.itemsize % ALIGNMENT_BYTES


@pytest.mark.parametrize("guard_bytes", [1, 255, 256, 4096])
def test_both_guards_have_at_least_the_bytes_asked_for(guard_bytes: int) -> None:
    output = guarded((3,), torch.bfloat16, guard_bytes)
    storage, start, end = around(output)

    assert 2 * start >= guard_bytes
    assert 2 * (storage.numel() - end) >= guard_bytes


def test_a_poisoned_output_is_nan_everywhere_and_undamaged() -> None:
    output = guarded((7, 3), torch.bfloat16, 256)

    output.poison()

    assert bool(output.tensors["out"].isnan().all())
    assert output.damage() is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.0, 1.0, math.nan, -0.0])
def test_one_element_directly_after_the_end_is_found(dtype: torch.dtype, value: float) -> None:
    output = guarded((5,), dtype, 64)
    storage, _, end = around(output)

    storage[end] = value

    expected = (
        "wrote outside its output: 1 element after its end, the nearest 1 element away "
        f"(an element is {dtype.itemsize} bytes): {REASON}"
    )
    assert Finding("outside", expected) == output.damage()


def test_how_many_elements_were_written_and_how_near_is_said_for_each_side() -> None:
    output = guarded((4, 4), torch.float32, 256)
    storage, start, end = around(output)

    storage[start - 3] = storage[start - 9] = storage[0] = 1.0
    storage[end + 4 : end + 6] = 0.0

    expected = (
        "wrote outside its output: 3 elements before its beginning, the nearest 3 elements away and "
        f"2 elements after its end, the nearest 5 elements away (an element is 4 bytes): {REASON}"
    )
    assert Finding("outside", expected) == output.damage()


def test_a_write_that_changes_part_of_an_element_is_found() -> None:
    output = guarded((3,), torch.float32, 256)
    storage, _, end = around(output)

    storage.view(torch.uint8)[4 * end + 7] = 0

    found = output.damage()
    assert found is not None
    assert "1 element after its end, the nearest 2 elements away" in found.message


def test_damage_is_told_once_and_repaired() -> None:
    output = guarded((3,), torch.bfloat16, 256)
    storage, start, end = around(output)
    storage[start - 1] = storage[end] = 0.0

    first, second = output.damage(), output.damage()

    assert first is not None
    assert second is None
    assert bool((torch.cat([storage[:start], storage[end:]]).view(torch.uint8) == guard.PATTERN).all())


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    elements=st.integers(0, 40),
    places=st.sets(st.integers(-32, 31), min_size=1, max_size=5),
)
def test_any_write_to_the_guards_is_counted(dtype: torch.dtype, elements: int, places: set[int]) -> None:
    output = guarded((elements,), dtype, 256)
    storage, start, end = around(output)
    for place in places:
        storage[end + place if place >= 0 else start + place] = 0.0

    found = output.damage()

    assert found is not None
    for count, side in ((sum(p < 0 for p in places), "before"), (sum(p >= 0 for p in places), "after")):
        assert (f"{count} element{'s' if count > 1 else ''} {side}" in found.message) == bool(count)


ROWS = TensorMeta((4, 5), "float32", "out", strides=(8, 1))
"""Rows with gaps of three elements between them, and none after the last."""
SHARED = {
    "scaled": TensorMeta((3, 2), "float32", "out", strides=(6, 1), storage="both"),
    "total": TensorMeta((3, 2), "float32", "in-out", strides=(6, 1), storage="both", offset=2),
    "weights": TensorMeta((3,), "float32", "in", strides=(6,), storage="both", offset=4),
}
"""Of each six elements of a storage one belongs to nothing."""


def test_an_output_with_gaps_has_its_strides_and_ends_with_its_last_row() -> None:
    output = GuardedOutput({"out": ROWS}, "cpu", 256)
    tensor = output.tensors["out"]

    assert ((4, 5), (8, 1)) == (tuple(tensor.shape), tensor.stride())
    assert 256 + 4 * (3 * 8 + 5) + 256 == tensor.untyped_storage().nbytes()
    output.poison()
    assert bool(tensor.isnan().all())
    assert 20 == int(whole(tensor).isnan().sum())
    assert output.damage() is None


@pytest.mark.parametrize(
    ("place", "where"),
    [
        (5, "4 bytes between its rows"),
        (23, "4 bytes between its rows"),
        (29, "1 element after its end, the nearest 1 element away"),
        (-1, "1 element before its beginning, the nearest 1 element away"),
    ],
)
def test_a_write_between_the_rows_of_an_output_is_found_and_told_from_one_beside_it(place: int, where: str) -> None:
    output = GuardedOutput({"out": ROWS}, "cpu", 256)
    storage, start = whole(output.tensors["out"]), output.tensors["out"].storage_offset()

    storage[start + place] = 0.0

    expected = f"wrote outside its output: {where} (an element is 4 bytes): {REASON}"
    assert Finding("outside", expected) == output.damage()
    assert output.damage() is None


def test_writes_to_all_rows_of_an_output_with_gaps_are_no_damage() -> None:
    output = GuardedOutput({"out": ROWS}, "cpu", 256)

    output.tensors["out"].fill_(1.0)

    assert output.damage() is None


def test_tensors_of_one_storage_lie_in_it_as_they_say() -> None:
    tensors = GuardedOutput(SHARED, "cpu", 256).tensors

    offsets = {name: tensor.storage_offset() - 256 // 4 for name, tensor in tensors.items()}
    assert {"scaled": 0, "total": 2, "weights": 4} == offsets
    assert {"scaled": (6, 1), "total": (6, 1), "weights": (6,)} == {n: one.stride() for n, one in tensors.items()}
    assert 1 == len({tensor.untyped_storage().data_ptr() for tensor in tensors.values()})


def test_what_is_read_is_not_poisoned_though_it_lies_beside_an_output() -> None:
    output = GuardedOutput(SHARED, "cpu", 256)
    output.tensors["total"].fill_(2.0)
    output.tensors["weights"].fill_(3.0)

    output.poison()

    assert bool(output.tensors["scaled"].isnan().all())
    assert {2.0} == set(output.tensors["total"].flatten().tolist())
    assert [3.0] * 3 == output.tensors["weights"].tolist()


@settings(max_examples=60, deadline=None)
@given(places=st.sets(st.integers(0, 16), min_size=1, max_size=4))
def test_of_a_shared_storage_what_belongs_to_no_tensor_alone_is_guarded(places: set[int]) -> None:
    output = GuardedOutput(SHARED, "cpu", 256)
    storage = whole(output.tensors["scaled"])
    for place in places:
        storage[256 // 4 + place] = 0.0

    gaps = sum(place % 6 == 5 for place in places)
    found = output.damage()

    assert (gaps > 0) == (found is not None)
    assert found is None or f"{4 * gaps} bytes between its rows" in found.message


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int64"])
def test_an_output_of_whole_numbers_that_is_never_written_keeps_the_pattern(dtype: str) -> None:
    output = GuardedOutput({"out": TensorMeta((3, 5), dtype, "out")}, "cpu", 256)
    output.tensors["out"].zero_()

    output.poison()

    assert {guard.PATTERN} == set(output.tensors["out"].view(torch.uint8).flatten().tolist())
    assert output.damage() is None
