"""The launches of a program as a whole: what their best configs would change."""

from dataclasses import replace

from fake_runs import BASELINE, COMPILE_HEADER, ERRORS, HEADER, TILES, compiled_run, config, h100_run, row, run, screen

from ssdprof.profiling.runs.model import Row, Run
from ssdprof.reports.text.whole import whole_report

FASTER = config(32, 64, 32, 128, 2, 5)
SLOWER = config(64, 128, 32, 128, 4, 4)


def timed(latency_ms: float, other: float | None = None, kernel: str = "captured:scan") -> Run:
    """A run of a kernel whose captured config took so long, and perhaps another."""
    rows = [row(BASELINE, 255, 41728, latency_ms=latency_ms)]
    rows += [row(FASTER, 145, 35840, latency_ms=other)] if other is not None else []
    return run(rows, replace(HEADER, kernel=kernel))


def cells(text: str) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in text.splitlines() if line]


def test_the_whole_has_a_line_for_each_launch_and_their_sum() -> None:
    text = screen(whole_report([timed(3.0, 1.5), timed(1.0, kernel="captured:norm")]), 120)
    title, heading, _, *lines = cells(text)
    assert ["The", "whole"] == title
    assert ["kernel", "captured", "ms", "best", "ms", "speed", "up", "config"] == heading
    assert ["scan", "3.000", "1.500", "2.00×", "m32n64k32d128w2s5"] == lines[0]
    assert ["norm", "1.000", "1.000", "1.00×", "m64n64k32d128w2s4"] == lines[1]
    assert ["in", "all", "4.000", "2.500", "1.60×"] == lines[2]


def test_what_is_to_change_is_there_to_paste_and_what_stays_is_not() -> None:
    text = screen(whole_report([timed(3.0, 1.5), timed(1.0, kernel="captured:norm")]), 160)
    pasted = text.partition("To paste")[2]
    assert "scan" in pasted
    assert "triton.Config({" in pasted
    assert "norm" not in pasted


def test_nothing_to_change_leaves_nothing_to_paste() -> None:
    assert "To paste" not in screen(whole_report([timed(1.0), timed(2.0, 3.0)]), 120)


def test_a_slower_config_does_not_replace_the_captured_one() -> None:
    lines = cells(screen(whole_report([timed(2.0, 3.0)]), 120))
    assert ["scan", "2.000", "2.000", "1.00×", "m64n64k32d128w2s4"] == lines[3]


def test_a_launch_without_a_latency_is_not_in_the_sums_and_is_named() -> None:
    unmeasured = replace(compiled_run(), header=replace(COMPILE_HEADER, kernel="captured:norm"))
    text = screen(whole_report([timed(3.0, 1.5), unmeasured]), 120)
    lines = cells(text)
    assert ["norm", "–", "–", "as", "captured"] == lines[4]
    assert ["in", "all", "3.000", "1.500", "2.00×"] == lines[5]
    assert "not in the sums, since the captured config has no latency: norm" in text


def test_launches_that_were_not_measured_have_no_sum() -> None:
    lines = cells(screen(whole_report([compiled_run(), compiled_run()]), 120))
    assert ["in", "all", "–", "–"] == lines[5]


def test_a_captured_config_that_failed_leaves_everything_as_captured() -> None:
    failed = row(BASELINE, status="launch-error", reason="illegal memory access")
    rows = [failed, row(FASTER, 145, 35840, latency_ms=1.0)]
    lines = cells(screen(whole_report([run(rows, replace(HEADER, kernel="captured:scan"))]), 120))
    assert ["scan", "–", "–", "as", "captured"] == lines[3]


def test_a_wrong_config_is_never_the_best() -> None:
    wrong = row(SLOWER, 162, 111360, latency_ms=0.1, error=ERRORS[32], status="wrong", reason="relative error 0.73")
    rows: list[Row] = [row(BASELINE, 255, 41728, latency_ms=3.0), wrong]
    lines = cells(screen(whole_report([run(rows, replace(HEADER, kernel="captured:scan"))]), 120))
    assert ["scan", "3.000", "3.000", "1.00×", "m64n64k32d128w2s4"] == lines[3]


def test_a_whole_run_of_many_configs_takes_its_fastest_correct_one() -> None:
    lines = cells(screen(whole_report([h100_run()]), 120))
    correct = {tiles[128][2] for _, tiles in TILES}
    assert f"{min(correct):.3f}" == lines[3][2]
    assert "chunk_scan" == lines[3][0]


def test_on_a_narrow_screen_every_launch_keeps_its_line_and_its_config() -> None:
    lines = screen(whole_report([timed(3.0, 1.5)]), 40).splitlines()
    assert ["scan", "3.000", "1.500", "2.00×", "m32n64k32d128w2s5"] == lines[4].split()
    assert ["in", "all", "3.000", "1.500", "2.00×"] == lines[5].split()
