"""What bounds a latency: each code by made-up shares, and the time that each unit needs for what is asked of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_ceilings import MEASURED
from fake_models import EXECUTED, MODEL, TRAFFIC
from fake_runs import BASELINE, HEADER, row

from ssdprof.profiling.hardware.ceilings import Ceilings
from ssdprof.profiling.runs.bound import AT_CEILING, Unit, bound_of, demands, judged
from ssdprof.profiling.runs.model import Row
from ssdprof.profiling.runs.modelled import Model
from ssdprof.profiling.runs.rank import derived

CEILINGS = Ceilings(
    source="table",
    device="a GPU",
    date="2026-12-01",
    dram_gbps=2000.0,
    l2_gbps=4000.0,
    smem_gbps=8000.0,
    tensor_tflops=(("bfloat16", 500.0), ("float8", 1000.0)),
    issue_gips=1000.0,
    exp_gops=4000.0,
    launch_us=3.0,
    sm_clock_mhz=2000,
)
TIMED = row(BASELINE, 255, 41728, latency_ms=2.332)
OCCUPANCY = TIMED.occupancy
assert OCCUPANCY is not None


@pytest.mark.parametrize(
    ("code", "shares", "latency_ms", "waves", "moved"),
    [
        ("dram", {"dram": 0.65, "l2": 0.64}, 1.0, 10.0, 1.24),
        ("dram-reread", {"dram": 0.65, "l2": 0.64}, 1.0, 10.0, 1.25),
        ("l2", {"dram": 0.70, "l2": 0.71}, 1.0, 10.0, 9.0),
        ("l1", {"dram": 0.1, "l1": 0.9, "issue": 0.8}, 1.0, 10.0, 1.0),
        ("tensor", {"tensor": 0.8, "issue": 0.7}, 1.0, 10.0, 1.0),
        ("issue", {"tensor": 0.5, "issue": 0.7}, 0.008, 10.0, 1.0),
        ("latency-hiding", {"dram": 0.64, "l2": 0.3}, 1.0, 10.0, 2.0),
        ("latency-hiding", {"dram": 0.30, "l2": 0.2}, 0.0091, None, 1.0),
        ("launch", {"dram": 0.64, "l2": 0.3}, 0.0089, 10.0, 2.0),
        ("tail", {"dram": 0.5, "l2": 0.3}, 1.0, 1.05, 2.0),
        ("tail", {"dram": 0.4}, 1.0, 0.5, 1.0),
        ("latency-hiding", {"dram": 0.4}, 1.0, 1.9, 1.0),
    ],
)
def test_the_largest_share_bounds_if_it_is_large_enough_else_the_launch_the_last_wave_or_nothing_hides_latency(
    code: str, shares: dict[Unit, float], latency_ms: float, waves: float | None, moved: float
) -> None:
    found = judged(shares, latency_ms, CEILINGS, replace(OCCUPANCY, waves_per_sm=waves), moved)
    assert (code, max(shares.values()), waves) == (found.code, found.share, found.waves)
    assert sorted(shares.values(), reverse=True) == [share for _, share in found.shares]
    assert shares == dict(found.shares)


def test_a_share_is_found_by_its_unit_and_one_that_is_not_known_is_none() -> None:
    found = judged({"dram": 0.5}, 1.0, CEILINGS, None, 1.0)
    assert (0.5, None, None) == (found.of("dram"), found.of("tensor"), found.waves)


def test_each_unit_needs_what_is_asked_of_it_over_what_it_can_do() -> None:
    model = replace(
        MODEL,
        traffic=replace(TRAFFIC, dram_read_bytes=3_000_000_000, dram_write_bytes=1_000_000_000,
                        l2_to_sm_read_bytes=4_000_000_000, l2_to_sm_write_bytes=2_000_000_000),
        executed=replace(EXECUTED, l1_wavefronts=2.5e8, warp_instructions=3e9,
                         tensor_flops=(("bfloat16", 1e12), ("float8", 1e12), ("float64", 1e12))),
    )  # fmt: skip
    expected = {"dram": 2.0, "l2": 1.5, "l1": 4.0, "issue": 3.0, "tensor": 3.0}
    assert pytest.approx(expected) == demands(model, CEILINGS)


def test_what_is_not_known_of_the_launch_or_of_the_gpu_has_no_demand() -> None:
    bare = replace(CEILINGS, l2_gbps=None, smem_gbps=None, issue_gips=None)
    assert {"dram", "tensor"} == set(demands(MODEL, bare))
    assert {"dram", "l2"} == set(demands(replace(MODEL, executed=None), CEILINGS))
    assert {"l1", "issue", "tensor"} == set(demands(replace(MODEL, traffic=None), CEILINGS))
    assert {} == demands(Model("a GPU", None, None, "it does too much"), CEILINGS)


def test_nothing_bounds_without_traffic() -> None:
    assert bound_of(None, 1.0, CEILINGS, OCCUPANCY, 1) is None
    assert bound_of(replace(MODEL, traffic=None), 1.0, CEILINGS, OCCUPANCY, 1) is None


def test_dram_reads_again_by_the_problems_least_bytes() -> None:
    at_ceiling_ms = TRAFFIC.dram_bytes / CEILINGS.dram_gbps / 1e6
    model = replace(MODEL, executed=None)
    for least_bytes, code in ((TRAFFIC.dram_bytes, "dram"), (TRAFFIC.dram_bytes // 2, "dram-reread"), (None, "dram")):
        found = bound_of(model, at_ceiling_ms, CEILINGS, OCCUPANCY, least_bytes)
        assert found is not None
        assert (code, pytest.approx(1.0)) == (found.code, found.share)


def judged_row(row: Row, **device: object) -> Row:
    return derived(row, replace(HEADER, device=replace(HEADER.device, **device)))


def test_a_row_of_a_run_has_its_floor_and_with_a_latency_its_bound() -> None:
    found = judged_row(TIMED)
    assert pytest.approx(2_820_000_000 / 3000e9 * 1e3) == found.floor_ms
    assert found.bound is not None
    assert ("dram-reread", pytest.approx(5_760_800_768 / 3000e9 / 0.002332)) == (found.bound.code, found.bound.share)
    assert found.bound.share >= AT_CEILING
    compiled = judged_row(replace(TIMED, timing=None, status="not-run"))
    assert (found.floor_ms, None) == (compiled.floor_ms, compiled.bound)


def test_without_a_model_a_row_has_its_floor_alone_and_without_ceilings_neither() -> None:
    found = judged_row(replace(TIMED, model=None))
    assert (pytest.approx(0.94), None) == (found.floor_ms, found.bound)
    unknown = judged_row(TIMED, arch="sm_75", name=None)
    assert (None, None) == (unknown.floor_ms, unknown.bound)


def test_a_problem_that_does_not_say_its_least_bytes_has_those_of_the_addresses() -> None:
    found = derived(TIMED, replace(HEADER, bytes_min=None))
    assert pytest.approx(2_700_000_000 / 3000e9 * 1e3) == found.floor_ms
    assert derived(replace(TIMED, model=None), replace(HEADER, bytes_min=None)).floor_ms is None


def test_what_sms_do_goes_with_their_clock_while_the_config_was_timed() -> None:
    assert TIMED.timing is not None
    device = replace(HEADER.device, ceilings=replace(MEASURED, sm_clock_mhz=1980))
    slow = replace(TIMED, timing=replace(TIMED.timing, sm_clock_mhz=990))
    header = replace(HEADER, device=device)
    at_full, at_half = derived(TIMED, header).bound, derived(slow, header).bound
    assert at_full is not None
    assert at_half is not None
    for unit, times in (("issue", 2.0), ("tensor", 2.0), ("l1", 2.0), ("dram", 1.0), ("l2", 1.0)):
        assert pytest.approx(times) == dict(at_half.shares)[unit] / dict(at_full.shares)[unit]


@pytest.mark.parametrize(
    ("programs", "axis"), [(1, "tile"), (2, "chunk"), (4, "chunk"), (781, "chunk"), (782, "head"), (10**6, "head")]
)
def test_programs_that_are_so_many_apart_are_so_along_an_axis_of_the_grid(programs: int, axis: str) -> None:
    assert axis == MODEL.axis_of(programs)


def test_an_axis_of_one_is_none() -> None:
    assert "chunk" == replace(MODEL, axes=(("tile", 1), ("chunk", 391), ("head", 1))).axis_of(391)
    assert "" == replace(MODEL, axes=()).axis_of(4)
