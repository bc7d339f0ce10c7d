"""How a run was measured, in the lines above its tables."""

from dataclasses import replace

from fake_runs import HEADER, TOO_LARGE, config, row, run, screen, with_timing

from ssdprof.kernels.interface import Tolerances
from ssdprof.profiling.runs.model import Device, Row, Run
from ssdprof.reports.text import tables


def header_line(label: str, run: Run) -> str:
    lines = screen(tables.header(run), 300).splitlines()
    return next(line.removeprefix(label).strip() for line in lines if line.startswith(label))


def timed_rows() -> list[Row]:
    """Three correct rows, the first the fastest."""
    return [row(config(64, 64, 32, 128, 4, s), 168, 40000, latency_ms=2.0 + s / 10) for s in (1, 2, 3)]


def test_clocks_power_and_temperature_are_the_range_over_the_ranked_rows() -> None:
    first, second, third = timed_rows()
    rows = [
        with_timing(first, sm_clock_mhz=1755, power_w=695.6, temperature_c=56),
        with_timing(second, power_w=309.9, temperature_c=45),
        third,
    ]
    wrong = with_timing(replace(third, config_id="wrong", status="wrong"), sm_clock_mhz=300)
    assert "SM 1755 to 1980 MHz, memory 2619 MHz, 310 to 696 W of at most 700, 45 to 56 °C, not throttled" == (
        header_line("timed at", run([*rows, wrong]))
    )


def test_throttled_samples_are_counted_with_their_reasons_dropped_or_not() -> None:
    first, second, third = timed_rows()
    rows = [
        with_timing(first, dropped_samples=1000, throttled=("power cap",)),
        with_timing(second, only_throttled=True, throttled=("power cap", "thermal")),
        third,
    ]
    assert header_line("timed at", run(rows)).endswith("52 °C, throttled (power cap, thermal) in 1100 of 1300 samples")


def test_what_nvml_does_not_tell_is_named() -> None:
    unknown = replace(HEADER, device=Device("sm_90", "NVIDIA H100"))
    some = [with_timing(r, memory_clock_mhz=None, power_w=None, throttled=None) for r in timed_rows()]
    none = [with_timing(r, sm_clock_mhz=None, temperature_c=None) for r in some]
    assert "SM 1980 MHz, 52 °C; not told by NVML: memory clock, power, throttling" == header_line(
        "timed at", run(some, unknown)
    )
    assert "not told by NVML: SM clock, memory clock, power, temperature, throttling" == header_line(
        "timed at", run(none, unknown)
    )
    partly = [with_timing(timed_rows()[0], sm_clock_mhz=None), timed_rows()[1]]
    assert header_line("timed at", run(partly)).startswith("SM 1980 MHz, ")


def test_the_ways_of_timing_and_the_least_and_most_samples_are_told() -> None:
    first, second, third = timed_rows()
    rows = [with_timing(first, timed_by="graph", samples=340), with_timing(second, timed_by="graph"), third]
    assert (
        "checked on 10 launches and 2 seeds each, timed by CUDA graphs (2 of 3) and CUDA events (1 of 3), "
        "100 to 340 samples each"
    ) == header_line("measured", run(rows))
    given = replace(HEADER, reference="the launch as captured")
    assert header_line("measured", run(rows, given)).startswith("checked on 10 launches and 2 sets of inputs each, ")
    host = [with_timing(replace(first, check=None), timed_by="host", samples=1)]
    assert "timed by the host's clock, 1 sample each" == header_line("measured", run(host))


def test_a_run_in_which_nothing_is_ranked_has_no_state_to_tell() -> None:
    text = screen(tables.header(run([TOO_LARGE])), 100)
    assert "timed at" not in text
    assert "measured" not in text


def test_each_of_several_outputs_is_named_with_what_it_may_be_off_by() -> None:
    several = (Tolerances(0.01, 0.05, "rounded", output="out"), Tolerances(0.001, 0.002, "summed", output="state"))
    assert (
        "out: errors of at most 0.01 in all and 0.05 in a row: rounded; "
        "state: errors of at most 0.001 in all and 0.002 in a row: summed"
    ) == header_line("allowed", run(timed_rows(), replace(HEADER, tolerances=several)))
    assert "allowed" not in screen(tables.header(run(timed_rows(), replace(HEADER, tolerances=()))), 100)
