"""What DRAM has got of a launch's writes when it ends."""

from __future__ import annotations

import pytest

from ssdprof.profiling.traffic.caches import L2_SHARE, Machine, written_back

KEPT_BYTES = 34_980_495  # L2_SHARE of an H200's L2
H200 = Machine(num_sms=132, blocks_per_sm=1, l2_bytes=60 * 1024**2, l1_bytes=0)


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
