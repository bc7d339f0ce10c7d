"""How far the next block is: exact in both directions."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ssdprof.profiling.hardware.headroom import CURVE_POINTS, Step, headroom, occupancy_curves
from ssdprof.profiling.hardware.limits import known_archs, limits_for
from ssdprof.profiling.hardware.occupancy import Launch, occupancy

H100 = limits_for("sm_90")

launches = st.builds(
    Launch,
    threads_per_block=st.integers(1, 1024),
    registers_per_thread=st.integers(1, 255),
    dynamic_shared_mem_bytes=st.integers(0, 240_000),
    static_shared_mem_bytes=st.one_of(st.just(0), st.integers(0, 49152)),
    num_barriers=st.integers(0, 16),
    num_ctas=st.sampled_from([1, 1, 1, 2, 16]),
)
all_limits = st.sampled_from(known_archs()).map(limits_for)


def blocks_of(launch, limits, **changes):
    return occupancy(replace(launch, **changes), limits, shared_mem_config_bytes=limits.max_config_bytes).blocks_per_sm


def test_registers_alone_can_be_the_obstacle():
    assert Step(5, 15.625, 168, 87, 41728, 0) == headroom(Launch(64, 255, 41728), H100).step


def test_shared_memory_alone_can_be_the_obstacle():
    assert Step(2, 12.5, 180, 0, 115712, 7936) == headroom(Launch(128, 180, 123648), H100).step


def test_both_can_be_needed_together():
    assert Step(5, 15.625, 168, 87, 45568, 3584) == headroom(Launch(64, 255, 49152), H100).step


def test_one_step_can_give_more_than_one_block():
    assert Step(6, 18.75, 168, 87, 0, 0) == headroom(Launch(64, 255), H100).step


def test_a_block_that_cannot_launch_is_told_what_makes_it_launch():
    assert Step(1, 50.0, 64, 191, 0, 0) == headroom(Launch(1024, 255), H100).step
    assert Step(1, 3.125, 32, 0, 232448, 7552) == headroom(Launch(64, 32, 240_000), H100).step


@pytest.mark.parametrize(
    ("launch", "blocked_by"),
    [
        (Launch(256, 17), ("warps",)),
        (Launch(32, 17), ("blocks", "barriers")),
        (Launch(64, 17), ("warps", "blocks", "barriers")),
        (Launch(128, 17, num_barriers=16), ("barriers",)),
        (Launch(128, 17, num_ctas=16), ("clusters",)),
        (Launch(128, 17, 0, 48 * 1024), ("static shared memory",)),
    ],
)
def test_what_neither_registers_nor_shared_memory_can_change_is_named(launch, blocked_by):
    room = headroom(launch, H100)

    assert room.step is None
    assert blocked_by == room.blocked_by


def test_each_number_of_blocks_has_its_largest_register_count_and_shared_memory():
    allowances = headroom(Launch(256, 255, 100_000), H100).allowances

    assert [(1, 255, 232448), (2, 128, 115712), (3, 80, 76800), (4, 64, 57344)] == [
        (item.blocks_per_sm, item.max_registers_per_thread, item.max_dynamic_shared_mem_bytes)
        for item in allowances[:4]
    ]
    assert [12.5 * blocks for blocks in range(1, 9)] == [item.theoretical_occupancy_pct for item in allowances]


@given(launches, all_limits)
def test_the_step_suffices_and_one_unit_less_does_not(launch, limits):
    room = headroom(launch, limits)
    assume(room.step is not None)
    step = room.step
    enough = {
        "registers_per_thread": step.registers_per_thread,
        "dynamic_shared_mem_bytes": step.dynamic_shared_mem_bytes,
    }

    assert room.blocks_per_sm == blocks_of(launch, limits)
    assert room.blocks_per_sm < step.blocks_per_sm == blocks_of(launch, limits, **enough)
    assert step.registers_fewer or step.dynamic_shared_mem_fewer_bytes
    if step.registers_fewer:
        less = {**enough, "registers_per_thread": step.registers_per_thread + 1}
        assert room.blocks_per_sm == blocks_of(launch, limits, **less)
    if step.dynamic_shared_mem_fewer_bytes:
        less = {**enough, "dynamic_shared_mem_bytes": step.dynamic_shared_mem_bytes + 1}
        assert room.blocks_per_sm == blocks_of(launch, limits, **less)


@given(launches, all_limits)
def test_without_a_step_not_even_the_least_registers_and_bytes_give_another_block(launch, limits):
    room = headroom(launch, limits)
    assume(room.step is None)

    assert room.blocked_by
    assert room.blocks_per_sm == blocks_of(launch, limits, registers_per_thread=1, dynamic_shared_mem_bytes=0)


@given(launches, all_limits)
def test_every_allowance_is_the_largest_that_still_allows_its_blocks(launch, limits):
    launch = replace(launch, num_ctas=1)
    for item in headroom(launch, limits).allowances:
        most = {
            "registers_per_thread": item.max_registers_per_thread,
            "dynamic_shared_mem_bytes": item.max_dynamic_shared_mem_bytes,
        }
        assert item.blocks_per_sm <= blocks_of(launch, limits, **most)
        if item.max_registers_per_thread < limits.max_registers_per_thread:
            more = {**most, "registers_per_thread": item.max_registers_per_thread + 1}
            assert item.blocks_per_sm > blocks_of(launch, limits, **more)
        more = {**most, "dynamic_shared_mem_bytes": item.max_dynamic_shared_mem_bytes + 1}
        assert item.blocks_per_sm > blocks_of(launch, limits, **more)


@given(launches, all_limits)
def test_the_allowances_are_of_every_number_of_blocks_that_can_be_reached(launch, limits):
    launch = replace(launch, num_ctas=1)
    reachable = blocks_of(launch, limits, registers_per_thread=1, dynamic_shared_mem_bytes=0)

    assert list(range(1, reachable + 1)) == [item.blocks_per_sm for item in headroom(launch, limits).allowances]


@given(launches, all_limits, st.data())
def test_each_curve_has_the_launchs_own_occupancy_at_its_mark(launch, limits, data):
    config_bytes = data.draw(st.one_of(st.none(), st.sampled_from(limits.carveouts_bytes)))
    occ = occupancy(launch, limits, shared_mem_config_bytes=config_bytes)
    for curve in occupancy_curves(launch, occ, limits):
        assert CURVE_POINTS == len(curve.points) == len(curve.occupancies_pct)
        assert sorted(curve.points) == list(curve.points)
        assert occ.theoretical_occupancy_pct == curve.occupancies_pct[curve.present]
