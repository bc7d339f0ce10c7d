# ruff: noqa: E501  # expected sentences are whole, so that they can be searched for
"""What stands against the figures of a run: value, share, what is expected, remedy."""

from dataclasses import replace

import pytest
from fake_runs import COMPILE_HEADER, H100, HEADER, compiled_run, config, h100_run, id_of, row, run, with_timing

from ssdprof.profiling.diagnosis.warnings import measurement_warnings, occupancy_warnings
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.reports.words.verdicts import words


def timed(count: int) -> list[Row]:
    """Correct rows, the first the fastest, each with 100 samples."""
    configs = [config(64, 64, 32, 128, 4, stages) for stages in range(1, count + 1)]
    return [row(c, 168, 40000, latency_ms=2.0 + i / 10) for i, c in enumerate(configs)]


def of(run: Run, code: str) -> list[str]:
    return [words(one) for one in measurement_warnings(run) if one.code == code]


def wide(row: Row, share: float) -> Row:
    """The row with an interval of that share of its median."""
    assert row.timing is not None
    half_ms = share * row.timing.latency_ms / 2
    low_ms, high_ms = row.timing.latency_ms - half_ms, row.timing.latency_ms + half_ms
    return with_timing(row, latency_ci95_low_ms=low_ms, latency_ci95_high_ms=high_ms)


def test_a_quiet_run_has_no_warnings() -> None:
    assert [] == measurement_warnings(h100_run())
    assert [] == occupancy_warnings(h100_run())


def test_a_run_without_a_gpu_has_no_warnings_of_measuring() -> None:
    others = replace(COMPILE_HEADER, device=replace(COMPILE_HEADER.device, others=("pid 7",)))
    assert [] == measurement_warnings(replace(compiled_run(), header=others))


def test_an_interval_of_the_best_that_is_too_wide_is_noise() -> None:
    first, second = timed(2)
    assert [
        "The 95 % interval of m64n64k32d128w4s1, the fastest, is 0.0500 ms wide, 2.5 % of its median 2.000 ms; the aim is at most 1 %: give --budget more than 10 s, or a quieter GPU."
    ] == of(run([wide(first, 0.025), wide(second, 0.5)]), "noise")


@pytest.mark.parametrize(("share", "count"), [(0.0099, 0), (0.0101, 1)])
def test_up_to_1_percent_is_no_noise(share: float, count: int) -> None:
    assert count == len(of(run([wide(timed(1)[0], share)]), "noise"))


def test_the_widest_of_the_ties_is_named_if_the_best_is_narrow() -> None:
    first, second, third, _ = timed(4)
    rows = [first, wide(second, 0.02), wide(third, 0.2)]
    tied = [second.config_id, third.config_id]
    assert [
        "The 95 % interval of m64n64k32d128w4s3, one of those tied with the fastest, is 0.440 ms wide, 20.0 % of its median 2.200 ms; the aim is at most 1 % (2 of the 3 leading configs exceed it): give --budget more than 10 s, or a quieter GPU."
    ] == of(run(rows, tied=tied), "noise")


def test_dropped_samples_are_told_with_their_share_and_reasons() -> None:
    first, second, third = timed(3)
    rows = [
        with_timing(first, samples=2768, dropped_samples=300, throttled=("power cap",)),
        with_timing(second, samples=1000, dropped_samples=12, throttled=("power cap", "thermal")),
        with_timing(third, samples=0),
    ]
    assert [
        "312 of 4080 samples (7.6 %) were taken while the clocks were lowered (power cap at 700 W, thermal) and dropped; none is expected to be: lock a clock that the GPU can hold (`nvidia-smi -lgc`, as root), cool it better, or raise its power limit (`nvidia-smi -pl`)."
    ] == of(run(rows), "throttled")


def test_configs_that_were_never_timed_at_full_clocks_are_named() -> None:
    rows = timed(8)
    throttled = [with_timing(one, only_throttled=True, throttled=("thermal",)) for one in rows[:2]]
    (message,) = of(run([*throttled, *rows[2:]]), "throttled")
    assert message.startswith(
        "2 of 8 ranked configs (25 %), m64n64k32d128w4s1 and m64n64k32d128w4s2, were timed with lowered clocks alone (thermal); none is expected to be. Their latencies stand for want of better and may be too high: lock a clock"
    )


def test_an_unknown_power_limit_is_left_out() -> None:
    unlimited = replace(HEADER, device=replace(H100, power_limit_w=None))
    rows = [with_timing(timed(1)[0], dropped_samples=100, throttled=("power cap",))]
    assert "(power cap) and dropped" in of(run(rows, unlimited), "throttled")[0]


def test_other_processes_on_the_gpu_are_named() -> None:
    one = replace(HEADER, device=replace(H100, others=("pid 7 (python), 4.0 GiB",)))
    assert [
        "Another process was on the GPU, and none is expected: pid 7 (python), 4.0 GiB. What runs beside a config makes its latency higher and less certain: wait until the GPU is free, or choose another one with --device."
    ] == of(run(timed(1), one), "busy")
    two = replace(HEADER, device=replace(H100, others=("pid 7", "pid 8")))
    assert of(run(timed(1), two), "busy")[0].startswith(
        "2 other processes were on the GPU, and none is expected: pid 7 and pid 8."
    )


def test_clocks_far_below_the_maximum_are_told_with_their_share() -> None:
    first, second, third = timed(3)
    rows = [with_timing(first, sm_clock_mhz=1395), with_timing(second, sm_clock_mhz=1700), third]
    assert [
        "2 of 3 ranked configs were timed at an SM clock of less than 90 % of the GPU's 1980 MHz, the lowest 1395 MHz (70 %): compare latencies only with those of other runs at such clocks. A power cap or clocks that someone set do that; `nvidia-smi -q -d CLOCK,POWER,PERFORMANCE` tells which."
    ] == of(run(rows), "clocks")


@pytest.mark.parametrize("clock_mhz", [None, 1782, 1980])
def test_clocks_that_are_near_the_maximum_or_not_told_need_no_warning(clock_mhz: int | None) -> None:
    assert [] == of(run([with_timing(timed(1)[0], sm_clock_mhz=clock_mhz)]), "clocks")


def test_without_a_known_maximum_no_clock_is_low() -> None:
    unknown = replace(HEADER, device=replace(H100, sm_clock_max_mhz=None))
    assert [] == of(run([with_timing(timed(1)[0], sm_clock_mhz=300)], unknown), "clocks")


def test_a_gpu_that_tells_no_throttling_is_told_with_what_that_means() -> None:
    silent = [with_timing(row, throttled=None) for row in timed(2)]
    assert [
        "NVML does not tell whether this GPU lowers its clocks for heat or power, as is usual on virtual GPUs: all 200 samples count (100 %), throttled ones among them, if there are any. Repeat the run before you trust a difference of a few per cent."
    ] == of(run(silent), "not-told")
    assert [] == of(run([]), "not-told")
    assert [] == of(run([with_timing(timed(1)[0], dropped_samples=10, throttled=("thermal",))]), "not-told")


def test_warnings_come_in_one_order() -> None:
    rows = timed(2)
    device = replace(H100, others=("pid 7",))
    hot = with_timing(wide(rows[0], 0.1), dropped_samples=5, throttled=("thermal",), sm_clock_mhz=900)
    stuck = with_timing(rows[1], only_throttled=True, throttled=("thermal",))
    found = measurement_warnings(run([hot, stuck], replace(HEADER, device=device)))
    assert ["busy", "noise", "throttled", "throttled", "clocks"] == [one.code for one in found]


def test_limits_and_blocks_that_differ_from_the_drivers_are_warnings() -> None:
    line = "blocks per SM: the driver says 24, limits.json 32 for sm_90"
    odd = replace(timed(1)[0], driver_blocks_per_sm=99)
    assert odd.occupancy is not None
    found = occupancy_warnings(run([odd], replace(HEADER, device=replace(H100, limits_differ=(line,)))))
    assert [
        f"The GPU is not what limits.json says: {line}. Occupancy may be wrong.",
        f"Blocks per SM differ from the driver's in 1 config, {id_of(odd.config)} ({odd.occupancy.blocks_per_sm} computed, 99 by the driver): do not trust their occupancy figures. `ssdprof verify` shows every difference.",
    ] == [words(one) for one in found]
    assert [("warning", "limits-differ"), ("warning", "driver-differs")] == [(one.status, one.code) for one in found]
