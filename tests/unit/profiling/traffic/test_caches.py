"""What L1 and other SMs' reads serve, and what DRAM has got of a launch's writes when it ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ssdprof.profiling.traffic.caches import AT_START, BETWEEN_GPCS, L2_SHARE, Machine, coalesced, l1_hits, written_back
from ssdprof.profiling.traffic.trace import Trace

KEPT_BYTES = 34_980_495  # L2_SHARE of an H200's L2
H200 = Machine(num_sms=132, blocks_per_sm=1, l2_bytes=60 * 1024**2, l1_bytes=0)
LONG_SECTORS = 1e9


def reads(places: list[int], *, programs: list[int] | None = None, time: float = 0.0, **others: Any) -> Trace:
    """Reads of one sector by programs at these places, each so much later than the one before, in their durations."""
    count = len(places)
    given: dict[str, Any] = {
        "sector": np.zeros(count, np.int64),
        "program": np.array(places if programs is None else programs),
        "place": np.array(places),
        "writes": np.zeros(count, bool),
        "source": np.zeros(count, np.int64),
        "time": np.arange(count) * time,
        "bulk": np.zeros(count, bool),
        "cached": np.zeros(count, bool),
        "cached_before": np.zeros(count, np.int64),
        "cached_mean": 1.0,
        "duration": LONG_SECTORS,
        "uneven": 0.0,
        "sampled_of": 1,
    }
    return Trace(**{**given, **others})


def served(found: Trace, machine: Machine = H200) -> float:
    return coalesced(found, np.ones(len(found.sector)), machine)


@pytest.mark.parametrize(
    ("expected", "places"),
    [
        (AT_START, [0, 1]),  # of the same GPC
        (15 * AT_START, list(range(16))),  # the first of them reads from L2
        (0.0, [0, 40]),  # of two GPCs
        (2 * AT_START, [0, 40, 1, 41]),
    ],
)
def test_of_reads_at_once_the_first_of_each_gpc_reads_from_l2(expected: float, places: list[int]) -> None:
    assert expected == pytest.approx(served(reads(places)))


def test_reads_that_come_one_after_the_other_are_each_of_l2() -> None:
    assert AT_START < 2 * served(reads([0, 1], time=1e-9))
    assert 0.0 == served(reads([0, 1], time=0.1))


def test_a_read_after_a_write_or_of_another_sector_is_served_by_none() -> None:
    assert 0.0 == served(reads([0, 1], writes=np.array([True, False])))
    assert 0.0 == served(reads([0, 1], sector=np.array([7, 8])))


def test_only_programs_of_equal_length_keep_step_after_the_first_wave() -> None:
    later = {"programs": [1000, 1001]}
    even, uneven = served(reads([0, 1], **later)), served(reads([0, 1], **later, uneven=0.3))
    assert 0.5 < even < AT_START + 0.1
    assert uneven < even / 5
    assert even / 10 > served(reads([0, 1], **later, duration=3000.0)), "nor do short ones"


def test_programs_beside_each_other_on_an_sm_keep_step_less() -> None:
    crowded = Machine(num_sms=132, blocks_per_sm=4, l2_bytes=H200.l2_bytes, l1_bytes=0)
    later = {"programs": [1000, 1001]}
    assert served(reads([0, 1], **later), crowded) < 0.6 * served(reads([0, 1], **later))
    assert served(reads([0, 1, 527]), crowded) < served(reads([0, 1]))


def test_some_reads_of_other_gpcs_are_served_but_of_bulk_copies_none() -> None:
    later = {"programs": [1000, 1001]}
    assert pytest.approx(BETWEEN_GPCS) == served(reads([0, 40], **later))
    assert 0.0 == served(reads([0, 40], **later, bulk=np.ones(2, bool)))


def test_l1_serves_what_a_program_before_on_the_same_sm_read() -> None:
    machine = Machine(num_sms=132, blocks_per_sm=1, l2_bytes=H200.l2_bytes, l1_bytes=32 * 1024)
    through_l1 = {"cached": np.ones(3, bool), "time": np.array([0.0, 1.0, 2.0])}
    hits = l1_hits(reads([5, 5, 6], programs=[5, 140, 141], **through_l1), machine)
    assert [0.0, 0.0] == hits[[0, 2]].tolist(), "the first read, and one of another SM"
    assert pytest.approx(1.0) == hits[1]
    assert not l1_hits(reads([5, 5], programs=[5, 140]), machine).any(), "what goes past L1"


def test_l1_has_lost_what_was_read_before_too_much_else() -> None:
    machine = Machine(num_sms=1, blocks_per_sm=1, l2_bytes=H200.l2_bytes, l1_bytes=32 * 100)
    sectors = np.concatenate([np.arange(300), [299 - 20, 0]])
    count = len(sectors)
    found = reads(
        [0] * count,
        sector=sectors,
        cached=np.ones(count, bool),
        cached_before=np.arange(count),
        time=1e-6 * np.arange(count),
    )
    *_, near, far = l1_hits(found, machine)
    assert near > 0.99
    assert far < 0.01


@pytest.mark.parametrize(
    ("expected_bytes", "written_bytes", "read_bytes"),
    [
        (1_000_000_000 - KEPT_BYTES, 1_000_000_000, 0),  # L2 ends full of what was written last
        (500_000_000 - KEPT_BYTES / 2, 500_000_000, 500_000_000),  # half of what came last was read
        (100_000_000 - KEPT_BYTES / 10, 100_000_000, 900_000_000),
        (0, 1_000_000, 1_000_000),  # all of it still fits
        (0, 0, 1_000_000),
        (0, 0, 0),
    ],
)
def test_l2_still_holds_what_was_written_among_the_last_that_came_into_it(
    expected_bytes: float, written_bytes: float, read_bytes: float
) -> None:
    assert round(L2_SHARE * H200.l2_bytes) == KEPT_BYTES

    assert expected_bytes == pytest.approx(written_back(written_bytes, read_bytes, H200))
