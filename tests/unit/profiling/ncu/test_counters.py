"""Counting with ncu: what it is asked for, what its answers say, and what happens if it does not have a metric."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from fake_ncu import COUNTED, UNITS, CountingNcu
from fake_runs import BASELINE, SUBJECT, id_of

from ssdprof.kernels.errors import UsageError
from ssdprof.profiling.ncu import program
from ssdprof.profiling.ncu.counters import METRICS, Counting, Launches, counters_of, has_any, metric_names
from ssdprof.profiling.ncu.matching import NEEDED
from ssdprof.profiling.ncu.program import NcuError, NcuRow
from ssdprof.profiling.runs.counters import Counters

NAME = id_of(BASELINE)
LAUNCHES = Launches(SUBJECT, 3, {NAME: SUBJECT.launch(BASELINE)}, "GPU-0")
EXPECTED = Counters(
    source="ncu 2025.3.1",
    ncu_duration_ms=1.733088,
    dram_bytes=6_043_668_480,
    l2_to_sm_bytes=8_457_940_928,
    dram_pct=72.41,
    l2_pct=91.65,
    l1tex_pct=63.76,
    tensor_pipe_pct=16.27,
    issue_active_pct=33.67,
    achieved_occupancy_pct=12.04,
    l1_hit_pct=5.5,
    l2_hit_pct=61.2,
    top_stall="long_scoreboard",
    top_stall_pct=pytest.approx(100 * 1.78 / 4.04),
)


def counted(ncu: CountingNcu, counting: Counting, launches: Launches = LAUNCHES) -> dict[str, Counters]:
    with mock.patch.object(program, "run_program", ncu):
        return counting.count(launches)


def test_a_launch_is_counted_on_the_inputs_of_its_seed_with_caches_flushed_and_clocks_as_they_are() -> None:
    ncu = CountingNcu()

    assert {NAME: EXPECTED} == counted(ncu, Counting(Path("ncu")))

    command = list(ncu.commands[0])
    assert ("all", "none") == tuple(command[command.index(f"--{of}-control") + 1] for of in ("cache", "clock"))
    assert "regex:^(chunk_scan_kernel)$" == command[command.index("--kernel-name") + 1]
    assert [(SUBJECT, 3, {NAME: SUBJECT.launch(BASELINE)})] == ncu.works
    assert [*NEEDED[1:], *METRICS] == ncu.asked[0]


def test_other_metrics_are_counted_besides_each_once() -> None:
    ncu = CountingNcu()
    counting = Counting(Path("ncu"), ("sm__inst_executed.sum", "dram__bytes_read.sum"))

    found = counted(ncu, counting)[NAME]

    more = (("sm__inst_executed.sum", 123456789.0), ("dram__bytes_read.sum", 5224468480.0))
    assert replace(EXPECTED, metrics=more) == found
    assert 1 == ncu.asked[0].count("dram__bytes_read.sum")


def test_a_metric_of_ours_that_this_ncu_does_not_have_is_left_out_from_then_on() -> None:
    gone = "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed"
    ncu, counting = CountingNcu([gone]), Counting(Path("ncu"))

    assert {NAME: replace(EXPECTED, tensor_pipe_pct=None)} == counted(ncu, counting)
    counted(ncu, counting)

    assert [True, False, False] == [gone in asked for asked in ncu.asked]


def test_a_metric_that_was_asked_for_and_is_not_there_ends_it_with_ncus_words() -> None:
    ncu = CountingNcu(["sm__nothing.sum"])
    with pytest.raises(NcuError) as error:
        counted(ncu, Counting(Path("ncu"), ["sm__nothing.sum"]))
    assert str(error.value) == (
        "Failed to find metric sm__nothing.sum (exit code 1): `ncu --query-metrics` lists those of this GPU"
    )
    assert 1 == len(ncu.asked)


def test_a_name_that_begins_like_a_metric_is_not_that_metric() -> None:
    ncu = CountingNcu(["dram__bytes_read.sum.per_second"])
    with pytest.raises(NcuError, match=r"Failed to find metric dram__bytes_read\.sum\.per_second"):
        counted(ncu, Counting(Path("ncu"), ["dram__bytes_read.sum.per_second"]))
    assert 1 == len(ncu.asked)


def test_without_permission_it_says_how_to_get_it() -> None:
    with pytest.raises(NcuError, match=r"ERR_NVGPUCTRPERM: no permission .*: run as root, .*NVreg_Restrict"):
        counted(CountingNcu(refuses=True), Counting(Path("ncu")))


def test_a_launch_that_fails_under_ncu_is_missing() -> None:
    both = replace(LAUNCHES, plans={"lost": SUBJECT.launch(BASELINE), **LAUNCHES.plans})
    assert {NAME: EXPECTED} == counted(CountingNcu(loses=["lost"]), Counting(Path("ncu")), both)


def test_rows_of_unknown_launches_are_refused() -> None:
    ncu = CountingNcu()
    ncu.raw = lambda: '"ID","launch__registers_per_thread"\n"0","1"\n"1","1"\n'  # type: ignore[method-assign]
    with pytest.raises(NcuError, match="ncu reports 2 launches of 1: it is unknown which ones"):
        counted(ncu, Counting(Path("ncu")))


def test_a_page_without_launches_is_an_error_of_ncus() -> None:
    with pytest.raises(NcuError, match="ncu's raw page has no launches below its header: was a kernel profiled"):
        counted(CountingNcu(loses=[NAME]), Counting(Path("ncu")))


def row(cells: dict[str, str], units: dict[str, str] | None = None) -> NcuRow:
    return NcuRow("raw", 3, cells, units or {})


def test_what_ncu_does_not_give_is_not_known() -> None:
    cells = {name: text for name, text in COUNTED.items() if "write" not in name and "stalled" not in name}
    found = counters_of(
        row({**cells, "lts__t_sector_hit_rate.pct": "n/a"}, UNITS), "export", ["launch__func_cache_config"]
    )

    assert (None, None, None, None) == (found.dram_bytes, found.top_stall, found.top_stall_pct, found.l2_hit_pct)
    assert (8_457_940_928, ()) == (found.l2_to_sm_bytes, found.metrics)
    assert has_any(found)
    assert not has_any(counters_of(row({}), "export"))


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("1733088", "ns", 1.733088),
        ("1.73", "ms", 1.73),
        ("72.5", "us", 0.0725),
        ("2", "second", 2000.0),
        ("1", "h", None),
    ],
)
def test_durations_and_bytes_may_be_in_any_unit_that_ncu_prints(text: str, unit: str, expected: float | None) -> None:
    cells = {"gpu__time_duration.sum": text, "dram__bytes_read.sum": "1.50", "dram__bytes_write.sum": "2"}
    units = {"gpu__time_duration.sum": unit, "dram__bytes_read.sum": "Gbyte", "dram__bytes_write.sum": "Mbyte"}
    found = counters_of(row(cells, units), "export")
    assert found.ncu_duration_ms == (None if expected is None else pytest.approx(expected))
    assert 1_502_000_000 == found.dram_bytes


def test_a_warp_that_issues_does_not_wait() -> None:
    stalls = {"selected": "1.00", "wait": "0.25", "barrier": "0.75"}
    cells = {f"smsp__average_warps_issue_stalled_{name}_per_issue_active.ratio": text for name, text in stalls.items()}
    found = counters_of(row(cells), "export")
    assert ("barrier", 37.5) == (found.top_stall, found.top_stall_pct)


def test_names_of_metrics_are_told_apart_by_commas_each_once() -> None:
    names = ("sm__inst_executed.sum", "launch__waves_per_multiprocessor")
    assert names == metric_names("sm__inst_executed.sum, launch__waves_per_multiprocessor,sm__inst_executed.sum")
    assert names == metric_names(names)


@pytest.mark.parametrize("text", ["", "sm__inst_executed.sum,", "dram", "--set full", "regex:sm__.*"])
def test_what_is_no_name_of_a_metric_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--metrics '.*' is no metric's name: give ncu's names, such as dram__"):
        metric_names(text)
