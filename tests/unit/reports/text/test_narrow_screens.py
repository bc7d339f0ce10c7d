"""What narrow screens show: no number and no id is cut or goes over lines, and what is left out is named."""

from __future__ import annotations

import re
from functools import cache

import pytest
from fake_runs import among, config, explanation, h100_run, row, screen
from fake_runs import run as run_of
from rich.cells import cell_len

from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.ssd.params import PARAMS
from ssdprof.profiling.diagnosis.rows import listed_rows
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.occupancy import Launch, occupancy
from ssdprof.profiling.runs.recorded import recorded_runs
from ssdprof.reports.columns import latency_text
from ssdprof.reports.text import tables
from ssdprof.reports.text.explain import explain_report
from ssdprof.reports.text.occupancy import report
from ssdprof.reports.text.prose import Labelled, Prose, longest_word, wrapped
from ssdprof.reports.text.sweep import sweep_report

WIDTHS = [40, 60, 80, 200]
RECORDED = list(recorded_runs())
OF_RECORDED = [(i_run, width) for i_run in range(len(RECORDED)) for width in WIDTHS]
WORD = re.compile(r"[^\s(),;]*\d[^\s(),;]*")


@cache
def shown(i_run: int, width: int) -> str:
    """Everything that a sweep prints of a recorded run."""
    return screen(sweep_report(RECORDED[i_run], top=None, lists_rejected=True), width)


@pytest.mark.parametrize(("i_run", "width"), OF_RECORDED)
def test_every_id_and_every_latency_of_the_recorded_runs_is_whole(i_run: int, width: int) -> None:
    words = set(shown(i_run, width).replace("*", "").split())
    run = RECORDED[i_run]
    assert set() == {row.config_id for row in run.rows} - words
    assert set() == {latency_text(row.known_latency_ms) for row in listed_rows(run)} - words


@pytest.mark.parametrize(("i_run", "width"), OF_RECORDED)
def test_nothing_is_wider_than_the_screen(i_run: int, width: int) -> None:
    assert max(map(cell_len, shown(i_run, width).splitlines())) <= width


@pytest.mark.parametrize(("i_run", "width"), [(i_run, width) for i_run, width in OF_RECORDED if width < 200])
def test_a_narrow_screen_shows_no_number_that_a_wide_one_does_not(i_run: int, width: int) -> None:
    """A number that was cut, or its rest in the next line, would be another one."""
    wide = set(WORD.findall(shown(i_run, 1000)))
    assert set() == set(WORD.findall(shown(i_run, width))) - wide


@pytest.mark.parametrize("config_id", ["m64n64k32d128w2s4", "grouped:m64n64k64d128w4s3h16", "m64n64k32d64w2s4"])
@pytest.mark.parametrize("width", WIDTHS[:-1])
def test_an_explanation_has_no_other_numbers_on_a_narrow_screen_and_fits_it(config_id: str, width: int) -> None:
    explained = among(RECORDED[0], config_id)
    narrow, wide = (screen(explain_report(explained), columns) for columns in (width, 1000))
    assert max(map(cell_len, narrow.splitlines())) <= width
    assert config_id in narrow.split()
    assert set() == set(WORD.findall(narrow)) - set(WORD.findall(wide))


@pytest.mark.parametrize("width", [40, 50, 60, 80, 100, 200])
def test_the_form_to_paste_goes_over_lines_between_its_items_alone(width: int) -> None:
    text = screen(explain_report(explanation()), width).partition("to paste")[2].partition("\nof")[0]
    assert text.count("\n") == len(re.findall(r",\n *(?='\w+': \d|\w+=\d)", text)) + text.startswith("\n")
    assert explanation().row.config == parse_config(text.strip(), PARAMS)


@pytest.mark.parametrize("width", WIDTHS[:-1])
def test_the_calculator_has_no_other_numbers_on_a_narrow_screen_and_fits_it(width: int) -> None:
    limits = limits_for("sm_90")
    launch = Launch(64, 255, 41728, grid_blocks=50_000)
    answer = report(launch, occupancy(launch, limits, num_sms=132), limits)
    narrow, wide = screen(answer, width), screen(answer, 1000)
    assert max(map(cell_len, narrow.splitlines())) <= width
    assert set() == set(WORD.findall(narrow)) - set(WORD.findall(wide))


def test_what_a_narrow_screen_leaves_out_is_named_with_where_it_is() -> None:
    text = " ".join(screen(tables.ranked_table(h100_run()), 40).split())
    assert "left out at this width: GB/s, floor %, p20–p80 ms, warps sched" in text
    assert "(in --csv FILE, --json and a wider terminal)" in text
    explained = " ".join(screen(explain_report(among(RECORDED[0], "m64n64k32d128w2s4")), 40).split())
    assert "(in --json and a wider terminal)" in explained
    assert "--csv" not in explained


def test_an_id_too_long_to_stand_beside_its_figures_stands_above_them() -> None:
    long = config(128, 256, 64, 128, 4, 4, maxnreg=168, variant="split")
    rows = [row(config(64, 64, 32, 128, 2, 4), 168, 40000, latency_ms=2.0), row(long, 255, 41728, latency_ms=3.0)]
    stacked = """\
config
  latency speed   occ      limited
#      ms    up     % regs by
──────────────────────────────────
m64n64k32d128w2s4
1   2.000 1.00× 15.62  168 smem
split:m128n256k64d128w4s4r168
2   3.000 0.67×  12.5  255 regs
left out"""
    assert screen(tables.ranked_table(run_of(rows)), 36).startswith(stacked)


def test_an_id_wider_than_the_screen_stays_whole() -> None:
    name = "BLOCK_SIZE_M=64,BLOCK_SIZE_N=64,BLOCK_SIZE_K=32,num_warps=4"
    assert f"config\n  {name}" == screen(Labelled((("config", name),)), 40)
    assert f"The best is\n{name}\nhere." == screen(Prose(f"The best is {name} here."), 40)


def test_a_text_is_wrapped_between_words_alone() -> None:
    assert ["up to", "1041728", "bytes"] == wrapped("up to 1041728 bytes", 9)
    assert ["a", "", "b"] == wrapped("a\n\nb", 9)


UNITS = ["25 %", "0.949 ms", "3001 GB/s", "9.8 GiB", "1.2 TFLOP/s", "1980 MHz", "44 °C", "3 minutes", "n = 369", "5 s"]


@pytest.mark.parametrize("whole", UNITS)
def test_a_number_is_not_parted_from_its_unit(whole: str) -> None:
    text = f"Some words before, {whole}, and after"
    for width in range(1, len(text) + 1):
        assert 1 == sum(whole in line for line in wrapped(text, width))
    assert ["5", "such", "rows"] == wrapped("5 such rows", 4)  # a word that begins like a unit


def test_a_quoted_key_and_its_value_are_one_word() -> None:
    assert ["{'M': 64,", "'N': 128}"] == wrapped("{'M': 64, 'N': 128}", 12)
    assert 9 == longest_word("{'M': 64, 'N': 128}")
    assert 7 == longest_word("up to 1041728")


def test_where_lines_are_not_to_be_wrapped_a_text_is_one_line() -> None:
    assert "a text of words" == screen(Prose("a text of words"), 40)
