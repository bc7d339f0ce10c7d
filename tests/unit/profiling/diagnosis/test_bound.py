"""The bound of a config as a statement: its figures, what DRAM reads again, what hides latency, and ncu's own bound."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_models import MODEL, TRAFFIC
from fake_runs import BASELINE, HEADER, row

from ssdprof.profiling.diagnosis.bound import STEPS, bound_statement, counted_bound, hiding, read_again
from ssdprof.profiling.runs.bound import Bound, BoundCode
from ssdprof.profiling.runs.counters import Counters
from ssdprof.profiling.runs.model import Row
from ssdprof.profiling.runs.rank import derived

ROW = derived(row(BASELINE, 255, 41728, latency_ms=2.332), HEADER)
COUNTERS = Counters(
    "ncu 2025.3.1",
    ncu_duration_ms=2.5,
    dram_bytes=5_600_000_000,
    l2_to_sm_bytes=9_000_000_000,
    l1tex_pct=41.0,
    tensor_pipe_pct=12.5,
    issue_active_pct=44.0,
)


def bounded(code: BoundCode, share: float = 0.4) -> Row:
    return replace(ROW, bound=Bound(code, share, (("dram", share),), 1.5))


def test_it_has_the_bound_the_bytes_and_what_is_read_again_along_which_axis() -> None:
    found = bound_statement(ROW, HEADER)
    assert found is not None
    assert ("note", "bound", "reorder-grid") == (found.status, found.code, found.next_step)
    figures = found.figures
    assert ("dram-reread", 2.332, "H100 SXM") == (figures["code"], figures["latency_ms"], figures["gpu"])
    assert (5_760_800_768, 9_248_400_256, 2_820_000_000) == (
        figures["dram_bytes"],
        figures["l2_to_sm_bytes"],
        figures["least_bytes"],
    )
    assert [("c", "head", 1564), ("cb", "head", 1564), ("states", "chunk", 4)] == [
        (one["tensor"], one["axis"], one["again_after_programs"]) for one in figures["read_again"]
    ]
    assert ("c", pytest.approx(figures["shares"]["dram"])) == (figures["most_through_l2"], figures["share"])


@pytest.mark.parametrize("code", STEPS)
def test_every_bound_has_its_next_step_and_is_good_if_none_is_left(code: BoundCode) -> None:
    found = bound_statement(bounded(code), HEADER)
    assert found is not None
    assert (code, STEPS[code]) == (found.figures["code"], found.next_step)
    assert ("good" if code in ("dram", "tensor") else "note") == found.status


def test_without_a_bound_or_a_traffic_nothing_is_said() -> None:
    for unknown in (
        replace(ROW, bound=None),
        replace(ROW, model=None),
        replace(ROW, model=replace(MODEL, traffic=None)),
    ):
        assert bound_statement(unknown, HEADER) is None


def test_tensors_that_are_hardly_read_again_are_not_named() -> None:
    names = [one["tensor"] for one in read_again(ROW, TRAFFIC)]
    assert "x" not in names
    assert ["c", "cb", "states"] == names
    few = replace(TRAFFIC, dram_read_bytes=40_000_000_000)
    assert [] == read_again(ROW, few)


def test_what_hides_latency_is_warps_blocks_and_stages() -> None:
    expected = {
        "warps_per_scheduler": 2.0,
        "max_warps_per_scheduler": 16,
        "blocks_per_sm": 4,
        "num_stages": 4,
        "few_warps": True,
    }
    assert expected == hiding(ROW)
    assert {"num_stages": 4} == hiding(replace(ROW, occupancy=None))


def test_the_counters_give_a_bound_by_the_same_rule() -> None:
    found = counted_bound(replace(ROW, counters=COUNTERS), HEADER)
    assert found is not None
    assert ("dram-reread", pytest.approx(5.6 / 3000 / 2.5 * 1e3)) == (found.code, found.share)
    assert (0.41, 0.125, 0.44) == (found.of("l1"), found.of("tensor"), found.of("issue"))
    assert pytest.approx(9.0 / 8792 / 2.5 * 1e3) == found.of("l2")
    once = counted_bound(replace(ROW, counters=COUNTERS), replace(HEADER, bytes_min=5_000_000_000))
    assert once is not None
    assert "dram" == once.code


def test_counters_without_bytes_or_duration_give_no_bound() -> None:
    for counters in (None, replace(COUNTERS, dram_bytes=None), replace(COUNTERS, ncu_duration_ms=None)):
        assert counted_bound(replace(ROW, counters=counters), HEADER) is None
    elsewhere = replace(HEADER, device=replace(HEADER.device, arch="sm_75", name="Tesla T4"))
    assert counted_bound(replace(ROW, counters=COUNTERS), elsewhere) is None
