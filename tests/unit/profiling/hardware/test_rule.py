"""Ncu's Theoretical Occupancy rule: its sentence to the letter, and when it is silent."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssdprof.profiling.hardware.limiters import BARRIER_LIMITER, LIMITERS
from ssdprof.profiling.hardware.limits import known_archs, limits_for
from ssdprof.profiling.hardware.occupancy import Launch, occupancy
from ssdprof.profiling.hardware.rule import estimated_local_speedup_pct, joined, rule_sentence

H100 = limits_for("sm_90")


def test_two_limiters_are_joined_as_ncu_joins_them():
    assert (
        "The 2.00 theoretical warps per scheduler this kernel can issue according to its occupancy are below the "
        "hardware maximum of 16. This kernel's theoretical occupancy (12.5%) is limited by the number of required "
        "registers, and the required amount of shared memory."
    ) == rule_sentence(occupancy(Launch(64, 255, 41728), H100))


def test_three_limiters_are_all_named():
    occ = occupancy(Launch(768, 40, 50_000), H100, shared_mem_config_bytes=135168)
    assert ("registers", "shared memory", "warps") == occ.limiters
    assert rule_sentence(occ).endswith(
        "is limited by the number of required registers, the required amount of shared memory, and the number of "
        "warps within each block."
    )


def test_percentages_are_rounded_as_ncu_rounds_them():
    assert "(6.2%)" in rule_sentence(occupancy(Launch(128, 180, 123648), H100))
    assert "(18.8%)" in rule_sentence(occupancy(Launch(128, 168, 76544), H100))


def test_the_percentage_is_that_of_warps_per_scheduler_where_an_sm_has_fewer_warps_than_schedulers():
    """Seen in ncu 2025.3.1 on an H100: a block of 2 warps that needs 139264 bytes, alone on its SM."""
    occ = occupancy(Launch(64, 255, 139264), H100)

    assert 3.125 == occ.theoretical_occupancy_pct
    assert "The 1.00 theoretical warps" in rule_sentence(occ)
    assert "(6.2%) is limited by the required amount of shared memory." in rule_sentence(occ)


def test_the_rule_is_silent_at_80_percent_and_above_and_for_what_cannot_launch():
    assert rule_sentence(occupancy(Launch(256, 32), H100)) is None
    assert rule_sentence(occupancy(Launch(1024, 255), H100)) is None
    at_the_threshold = replace(occupancy(Launch(256, 32), H100), warps_per_scheduler=12.8)
    assert rule_sentence(at_the_threshold) is None
    assert rule_sentence(replace(at_the_threshold, warps_per_scheduler=12.75)) is not None


def test_barriers_are_named_where_ncu_has_no_name():
    sentence = rule_sentence(occupancy(Launch(64, 32, num_barriers=16), H100))

    assert sentence.endswith("is limited by the number of barriers within each block.")


def test_the_estimated_local_speedup_is_what_lacks_to_the_maximum():
    assert 87.5 == estimated_local_speedup_pct(occupancy(Launch(64, 255, 41728), H100))


@pytest.mark.parametrize(
    ("expected", "phrases"), [("a", ["a"]), ("a, and b", ["a", "b"]), ("a, b, and c", ["a", "b", "c"])]
)
def test_phrases_are_joined_with_a_comma_before_the_last(expected, phrases):
    assert expected == joined(phrases)


@given(
    st.builds(
        Launch,
        threads_per_block=st.integers(1, 1024),
        registers_per_thread=st.integers(1, 255),
        dynamic_shared_mem_bytes=st.integers(0, 240_000),
        num_barriers=st.integers(0, 16),
    ),
    st.sampled_from(known_archs()).map(limits_for),
)
def test_a_sentence_names_every_limiter_in_its_order_and_no_other(launch, limits):
    occ = occupancy(launch, limits)
    sentence = rule_sentence(occ)
    if sentence is None:
        assert occ.cannot_launch or estimated_local_speedup_pct(occ) <= 20
        return
    limited = sentence.partition(" is limited by ")[2]
    named = [LIMITERS[name].phrase for name in occ.limiters] or [BARRIER_LIMITER.phrase]
    assert f"{joined(named)}." == limited
    assert estimated_local_speedup_pct(occ) > 20
