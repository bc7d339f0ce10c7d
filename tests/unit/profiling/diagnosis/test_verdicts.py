"""What a run allows to say, as data: codes, figures and next steps."""

import json
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from fake_runs import (
    BASELINE,
    H100,
    HEADER,
    TOO_LARGE,
    compiled_run,
    config,
    constrained,
    constrained_run,
    h100_run,
    recorded_over,
    recorded_run,
    row,
    run,
)
from run_records import kept

from ssdprof.kernels.interface import LeftOut, Remark
from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.profiling.diagnosis.verdicts import statements
from ssdprof.profiling.runs.model import Row, Run


def said(run: Run, code: str) -> Statement:
    return next(one for one in statements(run) if one.code == code)


def codes(run: Run) -> list[str]:
    return [one.code for one in statements(run)]


def everything() -> Run:
    """A run of which nearly everything is said."""
    device = replace(H100, others=("pid 7",), limits_differ=("blocks per SM",))
    left_out, remarks = (LeftOut("a", "too large"),), (Remark("note", "own", "Own words.", {"n": 1}),)
    header = replace(HEADER, device=device, interrupted=True, left_out=left_out, remarks=remarks)
    unstable = row(config(32, 32, 32, 128, 2, 2), 100, 20000, latency_ms=1.0, status="unstable", reason="bits differ")
    measured = h100_run()
    rows = (*map(constrained, measured.rows), replace(unstable, driver_blocks_per_sm=99))
    return replace(measured, header=header, rows=rows)


def test_statements_are_values_with_stable_codes_and_next_steps() -> None:
    assert [
        ("warning", "interrupted", "resume"),
        ("good", "fastest-correct", "none"),
        ("note", "ties", "raise-budget"),
        ("warning", "fastest-is-wrong", "drop-from-list"),
        ("warning", "unstable", "drop-from-list"),
        ("note", "occupancy-and-latency", "none"),
        ("note", "memory-floor", "compare-dram-bytes"),
        ("note", "wrong-by-construction", "drop-from-list"),
        ("note", "left-out", "none"),
        ("warning", "busy", "free-the-gpu"),
        ("warning", "limits-differ", "verify"),
        ("warning", "driver-differs", "verify"),
        ("note", "limiters", "explain"),
        ("note", "own", "none"),
    ] == [(one.status, one.code, one.next_step) for one in statements(everything())]


@pytest.mark.parametrize("of", [everything, compiled_run, recorded_run, constrained_run])
def test_figures_are_ready_for_json_and_only_the_subjects_own_statements_have_a_message(of: Callable[[], Run]) -> None:
    for one in statements(of()):
        assert one.figures == json.loads(json.dumps(one.figures)), one.code
        assert ("own" == one.code) == bool(one.message)


def test_the_figures_of_the_fastest_are_its_own_and_the_baselines() -> None:
    figures = said(h100_run(), "fastest-correct").figures
    assert {
        "config_ids": ["m64n64k32d128w2s4", "m32n64k32d128w2s5"],
        "latency_ms": [2.332, 2.408],
        "baseline_id": "m64n64k32d128w2s4",
        "baseline_is_among_them": True,
        "speedup_vs_baseline": [2.332 / 2.408, 1.0],
    } == figures


def test_the_fastest_wrong_config_has_its_latency_error_and_share() -> None:
    figures = said(h100_run(), "fastest-is-wrong").figures
    assert ("m32n64k32d32w2s5", 1.663, "wrong", 0.7294619, 8) == (
        figures["config_id"],
        figures["latency_ms"],
        figures["status"],
        figures["relative_error"],
        figures["faster_configs"],
    )
    assert math.isclose(100 * (1 - 1.663 / 2.332), figures["less_than_best_pct"])


def test_the_floor_has_bytes_bandwidth_and_how_far_the_best_is_from_it() -> None:
    figures = said(h100_run(), "memory-floor").figures
    assert (2_820_000_000, 3000.0, False) == (figures["bytes_min"], figures["copy_gbps"], figures["near_the_floor"])
    assert math.isclose(0.94, figures["floor_ms"])
    assert math.isclose(2.332 / 0.94, figures["times_the_floor"])
    near = said(run([row(BASELINE, 255, 41728, latency_ms=1.0)]), "memory-floor")
    assert ("good", True, "none") == (near.status, near.figures["near_the_floor"], near.next_step)


def test_a_problem_without_a_known_least_has_no_floor() -> None:
    assert "memory-floor" not in codes(run(h100_run().rows, replace(HEADER, bytes_min=None, flops=None)))


def test_statements_of_recorded_latencies_are_the_measured_ones_and_say_that_they_are_recorded() -> None:
    measured, recorded = statements(h100_run()), statements(recorded_run())
    of_latencies = [one for one in recorded if one.figures.get("recorded")]
    for one in of_latencies:
        same = next(other for other in measured if other.code == one.code)
        expected = {**same.figures, "recorded": True}
        expected |= {"budget_s": 0.0} if one.code == "ties" else {}
        assert expected == one.figures
    codes = ["fastest-correct", "ties", "fastest-is-wrong", "occupancy-and-latency", "memory-floor"]
    assert codes == [one.code for one in of_latencies]
    assert not any("recorded" in one.figures for one in measured)
    assert "measure-on-gpu" == said(recorded_run(), "ties").next_step


def test_limiters_of_a_run_without_a_gpu_are_those_of_the_listed_rows_and_the_best_is_to_be_explained() -> None:
    assert ("best", 5) == tuple(said(recorded_run(), "limiters").figures[name] for name in ("explain", "configs"))
    without = said(constrained_run(), "limiters").figures
    assert ("m128n64k32d128w4s4", 5, None) == (without["explain"], without["configs"], without["first"])


def test_where_recorded_latencies_come_from_is_a_figure() -> None:
    figures = said(recorded_run(), "not-measured").figures
    assert figures["latency_source"].startswith("recorded on NVIDIA H100 80GB HBM3, driver")
    assert {"arch": "sm_90", "latency_source": None} == said(compiled_run(), "not-measured").figures


def test_recorded_rows_of_which_none_is_correct_are_counted_without_the_others() -> None:
    wrong = replace(h100_run(), rows=tuple(r for r in h100_run().rows if r.status == "wrong"))
    recorded = recorded_over(compiled_run(), wrong)
    figures = said(recorded, "nothing-correct").figures
    assert {"configs": 10, "statuses": {"wrong": 10}, "recorded": True} == figures
    assert "m128n64k32d128w4s4" == said(recorded, "limiters").figures["explain"]


def test_what_is_wrong_by_construction_is_counted_on_a_gpu_too_unless_its_check_was_ok() -> None:
    measured = h100_run()
    rows = tuple(map(constrained, measured.rows))
    figures = said(replace(measured, rows=rows), "wrong-by-construction").figures
    assert (10, 16, "m32n64k32d32w2s5") == (figures["wrong_configs"], figures["configs"], figures["config_id"])
    ok = tuple(replace(r, by_construction="odd") if r.rank == 2 else r for r in rows)
    found = replace(measured, rows=ok)
    assert figures == said(found, "wrong-by-construction").figures
    odd = said(found, "by-construction-disagrees")
    assert ("report", {"config_ids": ["m32n64k32d128w2s5"], "reason": "odd"}) == (odd.next_step, odd.figures)


def test_a_recorded_check_that_disagrees_is_to_be_decided_on_a_gpu() -> None:
    rows = tuple(replace(r, by_construction="odd", status="wrong") for r in compiled_run().rows)
    odd = said(recorded_over(replace(compiled_run(), rows=rows), h100_run()), "by-construction-disagrees")
    assert ("warning", "measure-on-gpu", 5) == (odd.status, odd.next_step, len(odd.figures["config_ids"]))


def test_without_anything_compiled_nothing_is_said_of_occupancy() -> None:
    assert ["not-measured"] == codes(run([TOO_LARGE], compiled_run().header))


def test_where_nothing_correct_was_measured_the_limiters_are_those_of_what_compiled() -> None:
    left = [replace(r, status_reason="the GPU could not be prepared") for r in compiled_run().rows]
    assert ["nothing-correct", "limiters"] == codes(run(left))


def with_error(latency_ms: float, stages: int, error: float) -> Row:
    return row(config(64, 64, 32, 128, 4, stages), 255, 41728, latency_ms=latency_ms, error=error)


def test_a_ranked_config_whose_error_stands_out_is_named_with_what_the_others_have() -> None:
    rows = [with_error(2.0, 5, 0.0044), *(with_error(2.0 + stages, stages, 0.0018) for stages in range(1, 5))]
    found = said(kept(run(rows)), "stands-out")
    assert ("warning", "widen-space") == (found.status, found.next_step)
    assert [
        {
            "config_id": "m64n64k32d128w4s5",
            "rank": 1,
            "output": "",
            "relative_error": 0.0044,
            "tolerance": 0.01,
            "others_error": 0.0018,
            "agreeing_configs": 4,
            "other_configs": 4,
            "alike_configs": 0,
        }
    ] == found.figures["configs"]
    assert found.figures == json.loads(json.dumps(found.figures))


def test_one_that_enough_others_outweigh_is_wrong_and_no_doubt_is_left() -> None:
    rows = [with_error(2.0, 5, 0.0044), *(with_error(2.0 + stages, stages, 0.0018) for stages in range(1, 5))]
    whole = kept(run([*rows, with_error(9.0, 6, 0.0018)]))
    assert "stands-out" not in codes(whole)
    fastest = said(whole, "fastest-is-wrong").figures
    assert (True, 0.0044) == (fastest["by_comparison"], fastest["relative_error"])
    assert not said(h100_run(), "fastest-is-wrong").figures["by_comparison"]
