"""What ncu counted, as a table of a run and as lines of an explanation."""

from __future__ import annotations

import re
from dataclasses import replace

from fake_runs import h100_run, screen
from rich.console import Group

from ssdprof.profiling.runs.counters import Counters
from ssdprof.profiling.runs.model import Row
from ssdprof.reports.text.counters import counters_lines, counters_table

FULL = Counters(
    "ncu 2025.3.1", 2.31, 5_620_000_000, 999_950_000, 93.12, 55.0, 40.1, 12.2, 33.3, 12.4, 5.5, 61.2, "long_scoreboard",
    41.7, (("sm__inst_executed.sum", 123456789.0),),
)  # fmt: skip
FIRST, SECOND, *_ = h100_run().ranked


def with_counters(row: Row, counters: Counters | None) -> Row:
    return replace(row, counters=counters)


def test_a_wide_table_shows_all_that_was_counted() -> None:
    rows = [with_counters(FIRST, FULL), with_counters(SECOND, Counters("the export a.csv", dram_bytes=512))]
    lines = screen(Group(*counters_table(rows)), 200).splitlines()
    headings, *figures = (re.split(r"  +", line.strip()) for line in (lines[3], *lines[5:7]))
    assert "What ncu counted (ncu 2025.3.1, the export a.csv)" == lines[1]
    assert "config bytes bytes % % % % % occ % % % top stall sm__inst_executed.sum" == " ".join(headings)
    assert [
        "m64n64k32d128w2s4 5.62 G 1 G 93.1 55.0 40.1 12.2 33.3 12.4 5.5 61.2 long_scoreboard 41.7 % 123 M",
        "m32n64k32d128w2s5 512 – – – – – – – – – – –",
    ] == [" ".join(one) for one in figures]
    assert (
        "%: how busy each was, as a share of its peak over the whole launch; hit: of the sectors asked for" == lines[7]
    )


def test_a_narrow_table_gives_up_what_was_asked_for_by_name_and_hit_rates_first() -> None:
    lines = screen(Group(*counters_table([with_counters(FIRST, FULL)])), 80).splitlines()
    assert "m64n64k32d128w2s4 5.62 G 1 G 93.1 55.0 40.1 33.3 long_scoreboard 41.7 %" == " ".join(lines[5].split())
    assert "left out at this width: sm__inst_executed.sum," in lines[6]


def test_without_counters_nothing_is_shown() -> None:
    assert [] == counters_table([FIRST, SECOND])
    assert [] == counters_lines(FIRST)


def test_what_was_counted_of_one_config_is_said_line_by_line() -> None:
    assert """\
What ncu counted (ncu 2025.3.1)
DRAM                   5.62 GB read and written, 93.1 % busy
L2                     1 GB from and to the SMs, 55.0 % busy, 61.2 % of sectors
                       hit
L1 and shared memory   40.1 % busy, 5.5 % of L1's sectors hit
tensor cores           12.2 % busy
issue                  33.3 % busy
occupancy              12.4 % achieved
top stall              long_scoreboard, 41.7 % of the time between two
                       instructions
launch                 2.310 ms under ncu
sm__inst_executed.sum  123 M
""" == screen(Group(*counters_lines(with_counters(FIRST, FULL))), 80)


def test_what_is_not_known_is_not_said() -> None:
    assert """\
What ncu counted (the export a.csv)
DRAM  512 B read and written
""" == screen(Group(*counters_lines(with_counters(FIRST, Counters("the export a.csv", dram_bytes=512)))), 80)
