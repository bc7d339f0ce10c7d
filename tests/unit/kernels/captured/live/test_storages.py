"""The memory of a launch's tensors: regions, masks of views, copies, and what was written."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssdprof.kernels.captured.live.storages import (
    ALL_ONES,
    ALL_ZEROS,
    Region,
    copy_of,
    fill,
    host_bytes,
    mask_of,
    near,
    regions_of,
    same,
    spread,
    through,
    written,
)
from ssdprof.kernels.captured.live.values import CannotKeep

CPU = torch.device("cpu")
DTYPES = (torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.float8_e4m3fn, torch.bool)


def numbers(n: int = 60) -> torch.Tensor:
    return torch.arange(n, dtype=torch.float32)


def test_a_spread_is_the_distance_of_two_states_relative_to_the_norm() -> None:
    tensor = torch.tensor([[3.0, 0.0, 4.0], [0.0, 9.0, 0.0]])[:, ::2]
    one = tensor.untyped_storage()
    [region] = regions_of([tensor]).regions
    other = copy_of(region, CPU)
    other.view(torch.float32)[[0, 1, 4]] = torch.tensor([3.5, 77.0, 99.0])  # the others are not the tensor's
    assert 24 == len(one)
    assert pytest.approx(0.1) == spread(region.data, other, tensor, 0)
    assert 0.0 == spread(region.data, region.data, tensor, 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_a_spread_leaves_out_what_is_no_finite_number(dtype: torch.dtype) -> None:
    ours, theirs = (torch.tensor([4.0, float("nan"), last]).to(dtype) for last in (0.0, 2.0))
    found = spread(ours.view(torch.uint8), theirs.view(torch.uint8), ours, 0)
    assert pytest.approx(0.5) == found
    assert 0.0 == spread(torch.zeros_like(ours).view(torch.uint8), theirs.view(torch.uint8), ours, 0)


@st.composite
def views(draw: st.DrawFn) -> torch.Tensor:
    """A view into 1000 bytes, with any strides, broadcast and overlapping ones among them."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(1, 4), max_size=3))
    strides = [draw(st.integers(0, 9)) for _ in shape]
    offset = draw(st.integers(0, 20))
    return torch.zeros(1000, dtype=torch.uint8).view(dtype).as_strided(shape, strides, offset)


@given(tensor=views())
@settings(max_examples=50, deadline=None)
def test_a_view_of_any_shape_and_strides_has_no_spread_from_itself(tensor: torch.Tensor) -> None:
    [(number, offset)] = regions_of([tensor]).of
    data = regions_of([tensor]).regions[number].data
    assert not tensor.is_floating_point() or 0.0 == spread(data, data, tensor, offset)


@given(tensor=views())
@settings(max_examples=150, deadline=None)
def test_a_mask_has_ones_in_just_the_bytes_of_the_view(tensor: torch.Tensor) -> None:
    [region], [(number, offset)] = regions_of([tensor]).regions, regions_of([tensor]).of
    expected = torch.zeros(region.size_bytes, dtype=torch.uint8)
    width = tensor.element_size()
    places = torch.zeros(1, dtype=torch.long)
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        places = (places[:, None] + stride * torch.arange(size)).flatten()
    for place in places.tolist():
        expected[(offset + place) * width : (offset + place + 1) * width] = ALL_ONES

    assert (0, tensor.storage_offset()) == (number, offset)
    assert torch.equal(expected, mask_of(region, [(tensor, offset)], CPU))


def test_views_of_one_storage_are_in_one_region_and_others_in_their_own() -> None:
    one, other = numbers(), numbers()

    found = regions_of([one[3:], other, one.view(6, 10)[:, 2]])

    assert 2 == len(found.regions)
    assert found.of[0][0] == found.of[2][0] != found.of[1][0]
    assert [3, 0, 2] == [offset for _, offset in found.of]
    assert 480 == found.size_bytes
    assert 0 == found.cut_bytes


def test_a_region_is_the_memory_itself() -> None:
    tensor = numbers()
    [region] = regions_of([tensor]).regions

    region.data.zero_()

    assert 0 == tensor.abs().max()


def test_without_whole_storages_a_region_is_what_its_tensors_span() -> None:
    tensor = numbers(1000)

    found = regions_of([tensor[300:310], tensor[305:320], tensor[900:901]], whole=False)

    assert 2 == len(found.regions)
    assert [(0, 44), (0, 49), (1, 4)] == list(found.of)  # spans begin at multiples of 256 bytes: 256 and 896 elements
    assert torch.equal(tensor[256:320], found.regions[0].data.view(torch.float32))
    assert 4000 - 4 * (64 + 5) == found.cut_bytes


def test_the_smaller_storage_within_a_larger_one_is_in_its_region() -> None:
    large = torch.arange(64, dtype=torch.uint8)
    small = torch.frombuffer(memoryview(large.numpy())[16:32], dtype=torch.uint8)

    found = regions_of([small, large])

    assert ((0, 16), (0, 0)) == found.of
    assert [64] == [region.size_bytes for region in found.regions]


def test_storages_that_overlap_in_part_cannot_be_kept() -> None:
    memory = memoryview(bytearray(64))
    first, second = (torch.frombuffer(memory[start : start + 32], dtype=torch.uint8) for start in (0, 16))

    with pytest.raises(CannotKeep, match="overlap in part"):
        regions_of([first, second])


def test_a_tensor_inside_an_element_of_its_storage_cannot_be_kept() -> None:
    memory = torch.zeros(64, dtype=torch.uint8).numpy()
    odd = torch.frombuffer(memoryview(memory)[2:34], dtype=torch.float32)

    with pytest.raises(CannotKeep, match="inside an element"):
        regions_of([torch.from_numpy(memory), odd])


def test_tensors_on_two_devices_cannot_be_kept() -> None:
    with pytest.raises(CannotKeep, match="are on cpu and meta"):
        regions_of([numbers(), numbers().to("meta")])


def test_an_empty_tensor_has_an_empty_region_of_its_own() -> None:
    found = regions_of([numbers(0), numbers(2), numbers(0)])

    assert [(1, 0), (0, 0), (2, 0)] == list(found.of)
    assert [8, 0, 0] == [region.size_bytes for region in found.regions]
    assert b"" == bytes(host_bytes(found.regions[1].data))


@pytest.mark.parametrize(("one", "other", "expected"), [((0, 64), (64, 128), False), ((0, 65), (64, 128), True)])
def test_tensors_are_near_if_their_extents_meet(one: tuple[int, int], other: tuple[int, int], expected: bool) -> None:
    memory = numbers(200)

    assert expected == near(memory[slice(*one)], memory[slice(*other)])


def launched(region: Region, before: torch.Tensor, poison: torch.Tensor, value: int, stores: dict[int, int]) -> None:
    """A launch that stores these bytes, on the memory from before with `value` where `poison` has ones."""
    region.data.copy_(before)
    fill(region, poison, value)
    for place, byte in stores.items():
        region.data[place] = byte


@given(
    before=st.lists(st.integers(0, 255), min_size=12, max_size=12),
    stores=st.dictionaries(st.integers(0, 11), st.integers(0, 255)),
)
@settings(max_examples=200, deadline=None)
def test_what_is_written_is_found_whatever_bytes_were_there_and_are_stored(
    before: list[int], stores: dict[int, int]
) -> None:
    region, old = Region(0, torch.zeros(12, dtype=torch.uint8)), torch.tensor(before, dtype=torch.uint8)
    poison = torch.full((12,), ALL_ONES, dtype=torch.uint8)

    launched(region, old, poison, ALL_ONES, stores)
    after = copy_of(region, CPU)
    launched(region, old, poison, ALL_ZEROS, stores)
    mask, agree = written(region, old, poison, after, torch.zeros_like(poison))

    assert set(stores) == set(mask.nonzero().flatten().tolist())
    assert agree
    assert [stores.get(i, byte) for i, byte in enumerate(before)] == after.tolist()


def test_bytes_outside_of_what_was_filled_count_as_written_if_they_are_certain_or_changed() -> None:
    region, old = Region(0, torch.zeros(4, dtype=torch.uint8)), torch.tensor([1, 2, 3, 4], dtype=torch.uint8)
    poison, certain = torch.zeros_like(old), torch.tensor([ALL_ONES, 0, 0, 0], dtype=torch.uint8)

    launched(region, old, poison, ALL_ONES, {2: 9})
    after = copy_of(region, CPU)
    mask, agree = written(region, old, poison, after, certain)

    assert [True, False, True, False] == mask.tolist()
    assert agree


def test_launches_that_store_different_bytes_do_not_agree() -> None:
    region, old = Region(0, torch.zeros(4, dtype=torch.uint8)), torch.zeros(4, dtype=torch.uint8)
    poison = torch.full((4,), ALL_ONES, dtype=torch.uint8)

    launched(region, old, poison, ALL_ONES, {1: 7})
    after = copy_of(region, CPU)
    launched(region, old, poison, ALL_ZEROS, {1: 8})
    _, agree = written(region, old, poison, after, torch.zeros_like(poison))

    assert not agree


def test_bytes_are_the_same_only_if_all_are() -> None:
    one = torch.arange(100, dtype=torch.uint8)
    other = one.clone()
    assert same(one, other)

    other[99] = 0

    assert not same(one, other)


@pytest.mark.parametrize("to_host", [True, False])
@pytest.mark.parametrize("size", [1, 8, 9, 16, 17, 40])
def test_a_half_is_used_again_only_after_its_copy_is_over(to_host: bool, size: int) -> None:
    source, target, halves = torch.randint(0, 255, (size,), dtype=torch.uint8), torch.zeros(size), torch.zeros(2, 8)
    target, halves, happened = target.to(torch.uint8), halves.to(torch.uint8), []

    class Event:
        is_pending = False

        def record(self) -> None:
            assert not self.is_pending
            self.is_pending = True

        def synchronize(self) -> None:
            assert self.is_pending
            self.is_pending = False
            happened.append(self)

    events = [Event(), Event()]

    through(halves, events, target, source, to_host=to_host)

    assert torch.equal(source, target)
    assert -(-size // 8) == len(happened)
    assert not any(event.is_pending for event in events)


def test_storages_are_numbered_by_the_first_tensor_that_has_them_wherever_they_are() -> None:
    first, second, third = sorted((numbers() for _ in range(3)), key=torch.Tensor.data_ptr)

    for tensors in ([third, first, third[5:], second], [first, third, first[5:], second]):
        found = regions_of(tensors)
        assert ((0, 0), (1, 0), (0, 5), (2, 0)) == found.of
        assert [tensors[i].data_ptr() for i in (0, 1, 3)] == [region.address for region in found.regions]
