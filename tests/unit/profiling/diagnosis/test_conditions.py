"""How a run was measured and what stands against it, by figures."""

from dataclasses import replace

from fake_runs import BASELINE, HEADER, compiled_run, config, h100_run, row, run, with_timing

from ssdprof.profiling.diagnosis.conditions import conditions
from ssdprof.profiling.diagnosis.warnings import measurement_warnings


def test_conditions_are_the_extremes_over_the_ranked_rows() -> None:
    measured, timed_at, allowed = conditions(h100_run())
    assert {
        "launches": [10, 10],
        "seeds": [2, 2],
        "drawn": True,
        "timed_by": {"events": 5},
        "samples": [100, 100],
    } == measured.figures
    assert ([1980, 1980], [600.5, 600.5], 700.0, True) == tuple(
        timed_at.figures[name] for name in ("sm_clock_mhz", "power_w", "power_limit_w", "throttling_told")
    )
    assert ["out"] == [one["output"] for one in allowed.figures["tolerances"]]


def test_what_nvml_does_not_tell_is_none() -> None:
    silent = with_timing(row(BASELINE, 255, 41728, latency_ms=2.0), power_w=None, throttled=None)
    _, timed_at, _ = conditions(run([silent]))
    assert (None, False) == (timed_at.figures["power_w"], timed_at.figures["throttling_told"])


def test_a_run_that_timed_nothing_has_no_conditions() -> None:
    assert [] == conditions(compiled_run())
    assert ["measured", "timed-at"] == [one.code for one in conditions(replace(h100_run(), header=NO_TOLERANCES))]


NO_TOLERANCES = replace(HEADER, tolerances=())


def test_what_outputs_were_held_against_is_told_if_the_subject_says_it() -> None:
    named = replace(h100_run(), header=replace(HEADER, reference="ref.py:attention"))
    assert {"reference": "ref.py:attention"} == conditions(named)[-1].figures
    assert ["measured", "timed-at", "allowed", "held-against"] == [one.code for one in conditions(named)]


def test_warnings_have_the_value_its_share_and_the_next_step() -> None:
    hot = with_timing(
        row(BASELINE, 255, 41728, latency_ms=2.0), samples=90, dropped_samples=10, throttled=("power cap",)
    )
    slow = with_timing(row(config(32, 64, 32, 128, 2, 5), 145, 35840, latency_ms=3.0), sm_clock_mhz=900)
    throttled, clocks = measurement_warnings(run([hot, slow]))
    assert (
        "lock-clocks",
        {"dropped_samples": 10, "samples": 200, "reasons": ["power cap"], "power_limit_w": 700.0},
    ) == (throttled.next_step, throttled.figures)
    assert ("check-clocks", 900, 1980, 1, 2) == (
        clocks.next_step,
        clocks.figures["sm_clock_mhz"],
        clocks.figures["sm_clock_max_mhz"],
        clocks.figures["low_configs"],
        clocks.figures["ranked_configs"],
    )
