"""Ranked, recorded and rejected rows on screens of several widths."""

from dataclasses import replace

import pytest
from fake_runs import (
    BASELINE,
    COMPILE_HEADER,
    HEADER,
    TOO_LARGE,
    compiled_run,
    config,
    constrained_run,
    h100_run,
    id_of,
    recorded_over,
    recorded_run,
    row,
    run,
    screen,
)
from rich.cells import cell_len

from ssdprof.profiling.runs.model import Device, Row, Run
from ssdprof.reports.text import tables
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn, fit
from ssdprof.reports.text.sweep import sweep_report

RANKED_100 = """\
                      latency     p20–p80 speed   occ warps        smem
 # config                  ms          ms    up     % sched regs  bytes limited by
────────────────────────────────────────────────────────────────────────────────────────────────
≈1 m64n64k32d128w2s4    2.332 2.325–2.339 1.00×  12.5  2.00  255  41728 registers, shared memory
≈2 m32n64k32d128w2s5    2.408 2.401–2.415 0.97× 18.75  3.00  145  35840 registers, shared memory
 3 m64n128k32d128w4s4   2.856 2.847–2.865 0.82×  12.5  2.00  162 111360 shared memory
 4 m64n32k32d128w2s5    3.176 3.166–3.186 0.73×  12.5  2.00  199  46080 registers, shared memory
 5 m128n64k32d128w4s4   3.766 3.755–3.777 0.62×  6.25  1.00  180 123648 shared memory
left out at this width: GB/s, floor % (in --csv FILE, --json and a wider terminal)
≈ tied for the best, within the noise of this run: the order among these means nothing
speed-up is over the baseline m64n64k32d128w2s4
shared memory's configured size is assumed in 3 of 5 rows (the driver chooses it): whether shared
memory is named among their limiters depends on it"""

RANKED_80 = """\
                      latency speed   occ warps        smem
 # config                  ms    up     % sched regs  bytes limited by
──────────────────────────────────────────────────────────────────────
≈1 m64n64k32d128w2s4    2.332 1.00×  12.5  2.00  255  41728 regs, smem
≈2 m32n64k32d128w2s5    2.408 0.97× 18.75  3.00  145  35840 regs, smem
 3 m64n128k32d128w4s4   2.856 0.82×  12.5  2.00  162 111360 smem
 4 m64n32k32d128w2s5    3.176 0.73×  12.5  2.00  199  46080 regs, smem
 5 m128n64k32d128w4s4   3.766 0.62×  6.25  1.00  180 123648 smem
left out at this width: GB/s, floor %, p20–p80 ms (in --csv FILE, --json and a
wider terminal)
≈ tied for the best, within the noise of this run: the order among these means
nothing
speed-up is over the baseline m64n64k32d128w2s4
shared memory's configured size is assumed in 3 of 5 rows (the driver chooses
it): whether shared memory is named among their limiters depends on it"""

REJECTED_80 = """\

Wrong output: not ranked, not to be used (wrong): 10
                  latency         occ warps       smem
config                 ms error     % sched regs bytes limited by why
─────────────────────────────────────────────────────────────────────
m32n64k32d32w2s5    1.663  0.73 18.75  3.00  110 35840 smem       [1]
m32n64k32d64w2s5    1.757  0.60 18.75  3.00  127 35840 smem       [2]
m64n64k32d32w2s4    1.798  0.73  12.5  2.00  205 41728 regs, smem [1]
m64n128k32d32w4s4   1.877  0.73 18.75  3.00  150 74496 regs, smem [1]
m64n64k32d64w2s4    1.890  0.60  12.5  2.00  214 41728 regs, smem [2]
m128n64k32d32w4s4   2.164  0.73  12.5  2.00  186 86784 regs, smem [1]
m128n64k32d64w4s4   2.251  0.60  12.5  2.00  186 99072 regs, smem [2]
m64n128k32d64w4s4   2.309  0.60  12.5  2.00  155 86784 smem       [2]
m64n32k32d32w2s5    2.688  0.73  12.5  2.00  128 46080 smem       [1]
m64n32k32d64w2s5    2.787  0.60  12.5  2.00  137 46080 smem       [2]
[1] relative error 0.73, at most 0.01 allowed
[2] relative error 0.6, at most 0.01 allowed

Need more than the GPU has (out-of-resources): 1
config               reason
────────────────────────────────────────────────────────────────────────────────
m128n256k64d128w8s3  needs 279552 bytes of shared memory per block, sm_90 allows
                     232448"""

RECORDED_80 = """\
                       recorded speed   occ warps        smem
# config             latency ms    up     % sched regs  bytes limited by
────────────────────────────────────────────────────────────────────────
1 m64n64k32d128w2s4       2.332 1.00×  12.5  2.00  255  41728 regs, smem
2 m32n64k32d128w2s5*      2.408 0.97× 18.75  3.00  146  35840 regs, smem
3 m64n128k32d128w4s4      2.856 0.82×  12.5  2.00  162 111360 smem
4 m64n32k32d128w2s5       3.176 0.73×  12.5  2.00  199  46080 regs, smem
5 m128n64k32d128w4s4      3.766 0.62×  6.25  1.00  180 123648 smem
left out at this width: GB/s, floor % (in --csv FILE, --json and a wider
terminal)
speed-up is over the baseline m64n64k32d128w2s4
* registers, spills or shared memory differ from the recorded ones: the recorded
latency is of another binary
shared memory's configured size is assumed in 3 of 5 rows (the driver chooses
it): whether shared memory is named among their limiters depends on it"""


def test_the_ranked_table_shows_all_but_the_extras_at_100_columns() -> None:
    assert RANKED_100 == screen(tables.ranked_table(h100_run()), 100)


def test_without_ties_no_rank_is_marked() -> None:
    three = [row(config(64, 64, 32, 128, 4, s), 168, 40000, latency_ms=2.0 + s) for s in (1, 2, 3)]
    text = screen(tables.ranked_table(run(three)), 100)
    assert "≈" not in text
    assert " tied" not in text


def test_the_ranked_table_gives_up_the_spread_and_long_words_at_80_columns() -> None:
    assert RANKED_80 == screen(tables.ranked_table(h100_run()), 80)


def test_wrong_and_failed_rows_are_below_with_their_reasons_and_not_ranked() -> None:
    parts = tables.rejected_tables(h100_run())
    assert REJECTED_80 == "\n".join(screen(part, 80) for part in parts)


def test_the_header_names_device_versions_and_problem() -> None:
    assert """\
kernel    chunk_scan, source 0123456789abcdef (tile, split)
problem   seqlen 50000, batch 1, nheads 128, headdim 64, ngroups 8, dstate 128, chunk_size 128,
          dtype bfloat16, states_dtype bfloat16, d_form head, z no, seq_idx no
versions  ssdprof 0.1.0, Triton 3.6.0, PyTorch 2.11.0, Python 3.11.7
space     mamba (16 configs)
device    NVIDIA H100 80GB HBM3 (sm_90, 132 SMs), driver 580.159.04, CUDA 13.0, copies 3000 GB/s
measured  checked on 10 launches and 2 seeds each, timed by CUDA events, 100 samples each
timed at  SM 1980 MHz, memory 2619 MHz, 600 W of at most 700, 52 °C, not throttled
allowed   errors of at most 0.01 in all and 0.05 in a row: operands and output are rounded""" == screen(
        tables.header(h100_run()), 100
    )


def test_a_device_is_described_by_what_is_known_of_it() -> None:
    assert "NVIDIA L4 (sm_89)" == tables.device_text(Device("sm_89", "NVIDIA L4"))
    assert "none: compiled for sm_89, nothing measured" == tables.device_text(Device("sm_89"))


def with_another_binary(run: Run, config_id: str) -> Run:
    """The run, but with one register more compiled for this config."""

    def changed(row: Row) -> Row:
        if row.config_id != config_id or row.compiled is None:
            return row
        return replace(row, compiled=replace(row.compiled, registers_per_thread=row.compiled.registers_per_thread + 1))

    return replace(run, rows=tuple(map(changed, run.rows)))


def test_recorded_latencies_are_headed_as_recorded_and_rows_that_differ_are_marked() -> None:
    compiled, recorded = with_another_binary(compiled_run(), "m32n64k32d128w2s5"), h100_run()
    recorded = replace(recorded, rows=tuple(replace(r, tied_with_best=False) for r in recorded.rows))
    assert RECORDED_80 == screen(tables.ranked_table(recorded_over(compiled, recorded)), 80)


def test_rejected_rows_whose_recorded_latency_is_another_binarys_are_marked_too() -> None:
    one = recorded_over(with_another_binary(compiled_run(), "m32n64k32d32w2s5"), h100_run())
    ranked, rejected = screen(tables.ranked_table(one), 120), screen(tables.rejected_tables(one)[2], 120)
    assert "m32n64k32d32w2s5*" in rejected
    assert "the recorded latency is of another binary" in rejected
    assert "*" not in ranked
    assert "*" not in screen(sweep_report(h100_run()), 120)


def test_ties_of_the_recorded_run_are_marked_as_those_of_that_run() -> None:
    text = screen(tables.ranked_table(recorded_run()), 120)
    assert ["≈1", "≈2", "3"] == [line.split()[0] for line in text.splitlines() if "d128w" in line][:3]
    assert "≈ tied for the best, within the noise of the recorded run" in text


def test_the_source_of_recorded_latencies_is_named_in_the_answer_and_whole_below() -> None:
    text = screen(sweep_report(recorded_run()), 120)
    answer, _, below = text.partition("latency ms")
    assert "ms, recorded on NVIDIA H100 80GB HBM3: " in answer
    assert "device    none: compiled for sm_90, nothing measured" in below
    assert "recorded  latencies are of NVIDIA H100 80GB HBM3, driver 580.159.04, Triton 3.6.0, 2026-11-23" in below


def test_recorded_wrong_rows_are_below_as_recorded_with_what_was_compiled_here() -> None:
    text = screen(sweep_report(recorded_run(), lists_rejected=True), 100)
    _, _, below = text.partition("Wrong output: not ranked, not to be used (wrong, as recorded): 10")
    assert "m32n64k32d32w2s5        1.663   0.73  18.75   3.00   110  35840  shared memory" in below
    assert "recorded" in below.splitlines()[1]


def test_what_is_wrong_by_construction_is_below_and_not_among_those_to_choose_from() -> None:
    ranked, *rejected = screen(tables.ranked_table(constrained_run()), 100), *tables.rejected_tables(constrained_run())
    assert 5 == ranked.count("not measured") == ranked.count("d128w")
    assert "\n".join(screen(part, 80) for part in rejected).startswith(BY_CONSTRUCTION_80)


BY_CONSTRUCTION_80 = """
Wrong output: not ranked, not to be used (wrong): 10
                     occ  warps         smem
config                 %  sched  regs  bytes  limited by                why
───────────────────────────────────────────────────────────────────────────
m128n64k32d32w4s4   12.5   2.00   186  86784  registers, shared memory  [1]
m128n64k32d64w4s4   12.5   2.00   186  99072  registers, shared memory  [2]
"""


def test_a_recorded_latency_and_error_stand_beside_what_is_wrong_by_construction() -> None:
    text = screen(sweep_report(recorded_over(constrained_run(), h100_run()), lists_rejected=True), 100)
    _, _, below = text.partition("Wrong output: not ranked, not to be used (wrong): 10\n")
    assert "recorded" in below.splitlines()[0]
    assert "m32n64k32d32w2s5        1.663   0.73  18.75   3.00   110  35840  shared memory             [1]" in below
    assert "[1] by construction: sums only the first 32 of 128 state elements (dstate) and does not loop" in below
    assert "relative error 0.73, at most" not in below


def test_without_a_recorded_run_the_latency_says_not_measured_in_the_order_of_the_space() -> None:
    text = screen(tables.ranked_table(compiled_run()), 100)
    ids = [line.split()[0] for line in text.splitlines() if "not measured" in line]
    assert 15 == len(ids)
    assert ["m128n64k32d32w4s4", "m128n64k32d64w4s4"] == ids[:2]
    assert "recorded" not in text


def test_a_row_that_the_recorded_run_lacks_says_not_measured_and_comes_last() -> None:
    extra = row(config(16, 16, 16, 128, 4, 2), 64, 8192, status="not-run", reason="compiled only, no GPU")
    compiled = replace(compiled_run(), rows=(extra, *compiled_run().rows))
    shown = screen(tables.ranked_table(recorded_over(compiled, h100_run())), 100)
    lines = [line for line in shown.splitlines() if "d128w" in line and "baseline" not in line]
    assert "m16n16k16d128w4s2" in lines[-1]
    assert "not measured" in lines[-1]


def test_top_shows_the_first_rows_of_the_ranking_and_says_so() -> None:
    text = screen(sweep_report(h100_run(), top=2), 100)
    assert "the first 2 of 5 (--all shows them all)" in text
    assert "m64n128k32d128w4s4" not in text


def test_the_fastest_of_each_table_is_its_first_row() -> None:
    text = screen(tables.rejected_tables(h100_run())[2], 100)
    assert "m32n64k32d32w2s5" in text.splitlines()[3]


def test_a_run_with_nothing_correct_says_so() -> None:
    assert "No config gave a correct output that could be timed." == screen(tables.ranked_table(run([TOO_LARGE])))
    assert "No config compiled." == screen(tables.ranked_table(run([TOO_LARGE], COMPILE_HEADER)))
    wrong = [r for r in constrained_run().rows if r.by_construction]
    assert "No config that compiled can be used." == screen(tables.ranked_table(run(wrong, COMPILE_HEADER)))


def test_a_kernel_without_variants_has_its_hash_alone() -> None:
    text = screen(tables.label_grid(tables.source_lines(replace(HEADER, kernel_hashes={"": "0123456789abcdef"}))))
    assert "kernel    chunk_scan, source 0123456789abcdef\n" in text


def test_without_a_baseline_there_is_no_speed_up() -> None:
    rows = [row(BASELINE, 255, 41728, latency_ms=2.3)]
    text = screen(tables.ranked_table(run(rows, replace(HEADER, baseline_id=None))), 100)
    assert "speed" not in text


def test_spills_have_a_column_only_if_there_are_any() -> None:
    rows = [row(BASELINE, 255, 41728, latency_ms=2.3, spill_bytes=24)]
    assert "spill" in screen(tables.ranked_table(run(rows)), 100)
    assert "spill" not in screen(tables.ranked_table(h100_run()), 100)


def test_interrupted_rows_are_listed_as_not_run() -> None:
    left = row(config(16, 16, 16, 128, 4, 2), status="not-run", reason="interrupted")
    parts = tables.rejected_tables(run([row(BASELINE, 255, 41728, latency_ms=2.3), left]))
    lines = "\n".join(screen(part) for part in parts).splitlines()
    assert ["", "Not run (not-run): 1", "config             reason"] == lines[:3]
    assert "m16n16k16d128w4s2  interrupted" == lines[4]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_33_rows_of_the_longest_ids_are_whole_and_within_the_width(width: int) -> None:
    configs = [
        config(m, n, 64, d, 4, 4, maxnreg=maxnreg, variant="split")
        for m in (64, 128)
        for n in (128, 256)
        for d in (64, 128)
        for maxnreg in (None, 128, 168, 255)
    ]
    configs.append(config(32, 32, 32, 128, 4, 4))
    rows = [row(c, 255, 231424, latency_ms=10 + i, spill_bytes=120) for i, c in enumerate(configs)]
    text = screen(sweep_report(run(rows, replace(HEADER, baseline_id=id_of(configs[0]))), top=None), width)
    lines = text.splitlines()
    assert 33 == sum("231424" in line for line in lines)
    assert all(id_of(c) in text for c in configs)
    assert "…" not in text
    assert max(cell_len(line) for line in lines) <= width


def test_a_table_wider_than_everything_it_can_give_up_is_wider_than_the_screen_and_whole() -> None:
    cells = ("abcdefghijklmnopqrstuvwxyz",)
    text = screen(FittedTable((ScreenColumn("a", cells), ScreenColumn("b", ("12345",)))), 20)
    assert "abcdefghijklmnopqrstuvwxyz 12345" == text.splitlines()[-1]


def test_columns_give_up_in_their_order() -> None:
    columns = (
        ScreenColumn("keep", ("xxxxxxxxxx",)),
        ScreenColumn("late", ("yyyyyyyyyy",), gives_up=2),
        ScreenColumn("early", ("zzzzzzzzzz",), short=("z",), gives_up=1),
    )
    assert ((2, ()), (1, ()), (1, ("early",)), (1, ("early", "late"))) == tuple(
        (found.gap, tuple(column.heading for column in found.left_out))
        for found in (fit(columns, width) for width in (34, 27, 21, 16))
    )
