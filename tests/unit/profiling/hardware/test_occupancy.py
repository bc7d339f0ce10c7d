"""The model: formulas at their edges, what cannot launch, what is refused, and properties that hold for any launch."""

import contextlib
import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssdprof.kernels.errors import UsageError
from ssdprof.profiling.hardware.limits import known_archs, limits_for
from ssdprof.profiling.hardware.occupancy import CarveoutError, Launch, LaunchError, Occupancy, occupancy

H100 = limits_for("sm_90")
TURING = limits_for("sm_75")

launches = st.builds(
    Launch,
    threads_per_block=st.integers(1, 1024),
    registers_per_thread=st.integers(1, 255),
    dynamic_shared_mem_bytes=st.integers(0, 240_000),
    static_shared_mem_bytes=st.one_of(st.just(0), st.integers(0, 49152)),
    num_barriers=st.integers(0, 16),
    grid_blocks=st.one_of(st.none(), st.integers(1, 10**9)),
    num_ctas=st.sampled_from([1, 1, 1, 2, 8, 16]),
)
all_limits = st.sampled_from(known_archs()).map(limits_for)


@st.composite
def questions(draw):
    """A launch, an architecture, and either of a configured size and a preference, or neither."""
    limits = draw(all_limits)
    return (
        draw(launches),
        limits,
        {
            "shared_mem_config_bytes": draw(st.one_of(st.none(), st.sampled_from(limits.carveouts_bytes))),
            "prefers_shared": draw(st.sampled_from([None, True, False])),
            "num_sms": draw(st.one_of(st.none(), st.integers(1, 200))),
        },
    )


def test_the_worked_example_of_the_pull_request_ties_registers_and_shared_memory():
    occ = occupancy(Launch(64, 255, 41728, grid_blocks=50048), H100, num_sms=132)

    assert (
        Occupancy(
            blocks_per_sm=4,
            warps_per_block=2,
            warps_per_sm=8,
            warps_per_scheduler=2.0,
            theoretical_occupancy_pct=12.5,
            limit_registers_blocks=4,
            limit_shared_mem_blocks=4,
            limit_warps_blocks=32,
            limit_blocks_blocks=32,
            limit_barriers_blocks=32,
            limiters=("registers", "shared memory"),
            registers_allocated_per_thread=256,
            shared_mem_allocated_bytes=42752,
            shared_mem_config_bytes=200704,
            shared_mem_config_source="assumed",
            waves_per_sm=50048 / (132 * 4),
            cannot_launch="",
            max_warps_per_sm=64,
            max_warps_per_scheduler=16,
        )
        == occ
    )


def test_a_partly_filled_warp_counts_as_a_whole_one():
    assert 2 == occupancy(Launch(33, 32), H100).warps_per_block


def test_a_sub_partitions_left_over_registers_help_no_other_warp():
    """5 warps at 168 registers: 3 warps fit a sub-partition, 12 the SM, so 2 blocks; 65536 // (5 · 5376) says 2 too,
    but 6 warps at 128: 4 and 16, 2 blocks; and 7 warps at 72 registers, 7 and 28: 4 blocks, not 65536 // 16128."""
    assert 2 == occupancy(Launch(5 * 32, 168), H100).limit_registers_blocks
    assert 2 == occupancy(Launch(6 * 32, 128), H100).limit_registers_blocks
    assert 4 == occupancy(Launch(7 * 32, 72), H100).limit_registers_blocks
    assert 2 == occupancy(Launch(3 * 32, 255), H100).limit_registers_blocks
    assert 1 == occupancy(Launch(5 * 32, 255), H100).limit_registers_blocks


def test_fewer_warps_than_schedulers_are_one_warp_per_scheduler_as_ncu_prints_it():
    occ = occupancy(Launch(32, 255, 200_000), H100)

    assert 1 == occ.warps_per_sm
    assert 1.0 == occ.warps_per_scheduler
    assert 1.5625 == occ.theoretical_occupancy_pct


def test_before_sm_80_a_block_without_shared_memory_is_not_limited_by_it():
    occ = occupancy(Launch(128, 32), TURING)

    assert 0 == occ.shared_mem_allocated_bytes
    assert 16 == occ.limit_shared_mem_blocks


def test_barriers_limit_on_sm_90_and_later_only():
    launch = Launch(32, 32, num_barriers=16)

    assert 4 == occupancy(launch, H100).limit_barriers_blocks
    assert 4 == occupancy(launch, H100).blocks_per_sm
    assert () == occupancy(launch, H100).limiters
    assert 32 == occupancy(launch, limits_for("sm_80")).limit_barriers_blocks


def test_no_barriers_count_as_one():
    assert 32 == occupancy(Launch(32, 32, num_barriers=0), H100).limit_barriers_blocks


def test_too_many_registers_for_one_block_are_no_error_but_no_block_either():
    occ = occupancy(Launch(512, 255), H100)

    assert (0, 0.0, 0.0) == (occ.blocks_per_sm, occ.theoretical_occupancy_pct, occ.warps_per_scheduler)
    assert ("registers",) == occ.limiters
    assert "needs 131072 registers per block (16 warps of 8192), sm_90 allows 65536" == occ.cannot_launch


def test_registers_are_counted_for_whole_rows_of_warps():
    """9 warps take the registers of 12, 65 536 at 168 allocated: 64 512 fit, one register more does not."""
    assert 1 == occupancy(Launch(9 * 32, 168), H100).blocks_per_sm
    assert 0 == occupancy(Launch(9 * 32, 169), H100).blocks_per_sm


def test_more_shared_memory_than_one_block_may_have_says_how_much_it_may():
    assert 1 == occupancy(Launch(64, 32, 232448), H100).blocks_per_sm
    occ = occupancy(Launch(64, 32, 232449), H100)

    assert 0 == occ.blocks_per_sm
    assert ("shared memory",) == occ.limiters
    assert "needs 232449 bytes of shared memory per block, sm_90 allows 232448" == occ.cannot_launch


def test_both_reasons_are_given_where_neither_registers_nor_shared_memory_suffice():
    reason = occupancy(Launch(1024, 255, 300_000), H100).cannot_launch

    assert "300000 bytes" in reason
    assert "262144 registers" in reason


def test_a_cluster_changes_no_field_where_the_architecture_has_clusters():
    launch = Launch(128, 100, 50_000)

    assert occupancy(launch, H100) == occupancy(replace(launch, num_ctas=2), H100)
    assert "has no clusters" in occupancy(replace(launch, num_ctas=2), limits_for("sm_80")).cannot_launch
    assert "allows 8" in occupancy(replace(launch, num_ctas=16), H100).cannot_launch


def test_waves_need_a_grid_and_the_number_of_sms():
    launch = Launch(64, 255, 41728, grid_blocks=264)

    assert 0.5 == occupancy(launch, H100, num_sms=132).waves_per_sm
    assert occupancy(launch, H100).waves_per_sm is None
    assert occupancy(replace(launch, grid_blocks=None), H100, num_sms=132).waves_per_sm is None


@pytest.mark.parametrize(
    ("launch", "words"),
    [
        (Launch(0, 32), "0 threads per block: sm_90 takes 1 to 1024"),
        (Launch(1025, 32), "1025 threads per block: sm_90 takes 1 to 1024"),
        (Launch(64, 0), "0 registers per thread: sm_90 takes 1 to 255"),
        (Launch(64, 256), "256 registers per thread: sm_90 takes 1 to 255"),
        (Launch(64, 32, -1), "-1 bytes of dynamic shared memory: sm_90 takes at least 0"),
        (Launch(64, 32, 0, 49153), "49153 bytes of static shared memory: sm_90 takes 0 to 49152"),
        (Launch(64, 32, num_barriers=17), "17 barriers: sm_90 takes 0 to 16"),
        (Launch(64, 32, grid_blocks=0), "0 blocks of the grid: sm_90 takes at least 1"),
        (Launch(64, 32, num_ctas=0), "0 blocks of a cluster: sm_90 takes at least 1"),
    ],
)
def test_numbers_that_no_launch_can_have_are_refused_with_the_rule(launch, words):
    with pytest.raises(LaunchError) as caught:
        occupancy(launch, H100)

    assert words == str(caught.value)
    assert isinstance(caught.value, UsageError)


def test_a_carve_out_that_the_architecture_lacks_is_refused_with_those_it_has():
    with pytest.raises(CarveoutError, match=r"sm_75 .* 200704 bytes: it has 32768, 65536"):
        occupancy(Launch(64, 32), TURING, shared_mem_config_bytes=200704)


def test_an_occupancy_survives_json():
    occ = occupancy(Launch(64, 255, 41728, grid_blocks=264), H100, num_sms=132)
    fields = json.loads(json.dumps(asdict(occ)))

    assert occ == Occupancy(**{**fields, "limiters": tuple(fields["limiters"])})


@given(questions())
def test_any_launch_has_an_occupancy_within_its_limits(question):
    launch, limits, known = question
    occ = occupancy(launch, limits, **known)

    assert 0 <= occ.theoretical_occupancy_pct <= 100
    assert 0 <= occ.warps_per_sm <= limits.max_warps_per_sm
    assert (occ.blocks_per_sm == 0) == bool(occ.cannot_launch)
    assert occ.shared_mem_config_bytes in limits.carveouts_bytes
    limit_of = {
        "blocks": occ.limit_blocks_blocks,
        "registers": occ.limit_registers_blocks,
        "shared memory": occ.limit_shared_mem_blocks,
        "warps": occ.limit_warps_blocks,
    }
    smallest = min(occ.limit_barriers_blocks, *limit_of.values())
    assert tuple(name for name, limit in limit_of.items() if limit == smallest) == occ.limiters
    if not occ.cannot_launch:
        assert smallest == occ.blocks_per_sm


@given(questions(), st.integers(0, 300), st.integers(0, 100_000), st.integers(0, 1024))
def test_more_registers_bytes_or_threads_never_give_more_blocks(question, registers, own_bytes, threads):
    launch, limits, known = question
    blocks = occupancy(launch, limits, **known).blocks_per_sm
    more = replace(
        launch,
        registers_per_thread=min(255, launch.registers_per_thread + registers),
        dynamic_shared_mem_bytes=launch.dynamic_shared_mem_bytes + own_bytes,
        threads_per_block=min(1024, launch.threads_per_block + threads),
    )

    assert blocks >= occupancy(more, limits, **known).blocks_per_sm


@given(launches, all_limits, st.booleans())
def test_blocks_do_not_depend_on_what_is_assumed_of_the_carve_out(launch, limits, prefers_shared):
    largest = occupancy(launch, limits, shared_mem_config_bytes=limits.max_config_bytes)

    assert largest.blocks_per_sm == occupancy(launch, limits, prefers_shared=prefers_shared).blocks_per_sm


@given(
    st.builds(
        Launch,
        threads_per_block=st.integers(-10, 2000),
        registers_per_thread=st.integers(-10, 300),
        dynamic_shared_mem_bytes=st.integers(-10, 2**70),
        static_shared_mem_bytes=st.integers(-10, 2**70),
        num_barriers=st.integers(-2, 40),
        grid_blocks=st.integers(-2, 2**70),
        num_ctas=st.integers(-2, 40),
    ),
    all_limits,
    st.one_of(st.none(), st.integers(-1, 300_000)),
)
def test_no_input_crashes_it(launch, limits, config_bytes):
    with contextlib.suppress(UsageError):
        occupancy(launch, limits, shared_mem_config_bytes=config_bytes, num_sms=1)
