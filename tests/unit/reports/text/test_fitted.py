"""What a wide screen shows beside the rest, and that it makes nothing else give way."""

from dataclasses import replace

from fake_runs import BASELINE, HEADER, h100_run, recorded_run, row, run, screen

from ssdprof.reports.text import tables
from ssdprof.reports.text.fitted import ScreenColumn, fit

RANKED_120 = """\
                        latency      p20–p80  speed  floor          occ  warps          smem
 #  config                   ms           ms     up      %  GB/s      %  sched  regs   bytes  limited by
──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
≈1  m64n64k32d128w2s4     2.332  2.325–2.339  1.00×   40.3  1209   12.5   2.00   255   41728  registers, shared memory
"""


def test_a_wide_screen_has_the_share_of_the_floor_and_the_bandwidth_too() -> None:
    assert screen(tables.ranked_table(h100_run()), 120).startswith(RANKED_120)
    recorded = screen(tables.ranked_table(recorded_run()), 120).splitlines()
    assert ["#", "config", "latency", "ms", "up", "%", "GB/s", "%"] == recorded[1].split()[:8]
    assert ["≈1", "m64n64k32d128w2s4", "2.332", "1.00×", "40.3", "1209", "12.5"] == recorded[3].split()[:7]
    unknown = replace(HEADER, bytes_min=None)
    assert "GB/s" not in screen(tables.ranked_table(run([row(BASELINE, 255, 41728, latency_ms=2.3)], unknown)), 120)


def test_extras_are_left_out_before_anything_else_gives_way() -> None:
    columns = (
        ScreenColumn("keep", ("xxxxxxxxxx",)),
        ScreenColumn("long", ("zzzzzzzzzz",), short=("z",), gives_up=3),
        ScreenColumn("more", ("yyyy",), gives_up=2, is_extra=True),
        ScreenColumn("most", ("wwww",), gives_up=1, is_extra=True),
    )
    assert ((2, ()), (2, ("most",)), (2, ("most", "more")), (1, ("most", "more"))) == tuple(
        (found.gap, tuple(column.heading for column in found.left_out))
        for found in (fit(columns, width) for width in (34, 33, 27, 21))
    )
