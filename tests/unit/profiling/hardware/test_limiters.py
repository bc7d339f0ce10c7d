"""Limiters: each is named once, and every part of the tool has a place for it."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssdprof.profiling.hardware.limiters import BARRIER_LIMITER, LIMITERS
from ssdprof.profiling.hardware.limits import known_archs, limits_for
from ssdprof.profiling.hardware.occupancy import Launch, Occupancy, occupancy

EVERY = [*LIMITERS.values(), BARRIER_LIMITER]


def test_they_are_those_that_ncu_names_in_its_order():
    assert ["blocks", "registers", "shared memory", "warps"] == list(LIMITERS)
    assert all(name == one.name for name, one in LIMITERS.items())


@pytest.mark.parametrize("limiter", EVERY, ids=lambda one: one.name)
def test_each_has_its_limit_in_an_occupancy_and_words_of_its_own(limiter):
    assert limiter.field in {field.name for field in fields(Occupancy)}
    assert limiter.field.startswith("limit_")
    assert all([limiter.short, limiter.phrase, limiter.section_row])
    assert limiter.phrase.startswith("the ")
    for word in ("name", "short", "field", "phrase", "section_row"):
        assert len(EVERY) == len({getattr(one, word) for one in EVERY}), word


def test_every_limit_of_an_occupancy_has_a_limiter():
    limits = {field.name for field in fields(Occupancy) if field.name.startswith("limit_")}
    assert {one.field for one in EVERY} == limits


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        LIMITERS["luck"] = BARRIER_LIMITER


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
def test_the_limiters_of_any_occupancy_are_known_and_are_the_smallest_limits(launch, limits):
    occ = occupancy(launch, limits)
    smallest = min(getattr(occ, one.field) for one in EVERY)

    assert set(occ.limiters) <= set(LIMITERS)
    assert [name for name, one in LIMITERS.items() if getattr(occ, one.field) == smallest] == list(occ.limiters)
    if not occ.limiters:
        assert smallest == getattr(occ, BARRIER_LIMITER.field)
