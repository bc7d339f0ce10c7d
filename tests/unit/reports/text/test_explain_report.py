"""The report of one config: its limits, its neighbours, and what is marked."""

import json
import re
from dataclasses import replace

from fake_runs import (
    COMPILE_HEADER,
    QUESTION,
    TOO_LARGE,
    compiled_run,
    config,
    constrained,
    explanation,
    h100_run,
    recorded_over,
    row,
    screen,
    timing,
)

from ssdprof.kernels.ssd.params import BLOCK_DSTATE, PARAMS
from ssdprof.profiling.runs.model import Explanation, Neighbours, Row
from ssdprof.reports.export.run_json import explanation_json
from ssdprof.reports.text.explain import explain_report

WGMMA, FRAGMENTS = (128, 64, 32, 4, 4), (64, 64, 32, 2, 4)


def of_rows(rows: tuple[Row, ...], parameter: str = BLOCK_DSTATE.name) -> Explanation:
    return Explanation(COMPILE_HEADER, rows[-1], (Neighbours(PARAMS.by_name[parameter], rows),), QUESTION, None)


def compiled(dstate: int, registers: int, smem_bytes: int) -> Row:
    here = config(64, 64, 32, dstate, 4, 4)
    return constrained(row(here, registers, smem_bytes, status="not-run", reason="compiled only, no GPU"))


def higher_neighbour() -> Explanation:
    """A config with a correct neighbour of higher occupancy."""
    rows = (
        row(config(64, 64, 32, 128, 4, 2), 96, 40_000, latency_ms=2.5),
        row(config(64, 64, 32, 128, 4, 4), 255, 40_000, latency_ms=2.0),
    )
    return Explanation(COMPILE_HEADER, rows[-1], (Neighbours(PARAMS.by_name["num_stages"], rows),), QUESTION, None)


def test_the_report_has_ncus_section_its_sentence_headroom_and_neighbours() -> None:
    text = screen(explain_report(explanation(WGMMA)), 100)
    assert "latency   3.766 ms, measured on NVIDIA H100 80GB HBM3" in text
    assert "Block Limit Shared Mem" in text
    assert "The 1.00 theoretical warps per scheduler this kernel can issue" in text
    assert "What each number of blocks allows" in text
    assert """\
What one change does, all else equal
                           smem blocks warps  occ            latency
change               regs bytes    /SM sched    % limited by      ms status
──────────────────────────────────────────────────────────────────────────────
▸ as it is            255 41728      4  2.00 12.5 regs, smem   2.332 ok
DSTATE tile 128 → 32  205 41728      4  2.00 12.5 regs, smem   1.798 wrong [1]
DSTATE tile 128 → 64  214 41728      4  2.00 12.5 regs, smem   1.890 wrong [2]
[1] by construction: sums only the first 32 of 128 state elements (dstate) and
does not loop over the rest: take a DSTATE tile of 128, or the variant split
[2] by construction: sums only the first 64 of 128""" in screen(explain_report(explanation(FRAGMENTS)), 80)
    assert re.search(r"^▸ as it is +180 +123648 ", text, re.MULTILINE)
    assert "Why DSTATE matters here, or does not\nFrom a DSTATE tile of 32 to 64 to 128" in text
    assert "Is occupancy what limits the latency?" in screen(explain_report(higher_neighbour()), 100)
    assert "Is occupancy what limits the latency?" not in text  # no neighbour has more: nothing to say


def test_the_config_stands_below_the_answer_as_it_is_pasted_into_a_list() -> None:
    text = screen(explain_report(explanation(FRAGMENTS)), 200)
    source = (
        "triton.Config({'BLOCK_SIZE_M': 64, 'BLOCK_SIZE_N': 64, 'BLOCK_SIZE_K': 32, 'BLOCK_SIZE_DSTATE': 128}, "
        "num_warps=2, num_stages=4)"
    )
    assert f"\nto paste    {source}\nof  " in text
    assert source == json.loads(explanation_json(explanation(FRAGMENTS)))["row"]["triton_config"]


def test_a_neighbour_that_was_recorded_as_wrong_has_the_recorded_reason() -> None:
    source = h100_run()
    run = recorded_over(compiled_run(), source)
    rows = tuple(r for r in run.rows if r.config_id.startswith("m128n64k32"))
    text = screen(explain_report(of_rows(rows)), 100)
    assert "\n[1] relative error 0.73, at most 0.01 allowed\n[2] relative error 0.6, at most 0.01 allowed\n" in text
    assert (1, 1) == (text.count(" wrong [1]\n"), text.count(" wrong [2]\n"))


def test_latencies_of_another_binary_are_marked_in_the_header_and_in_the_tables_with_the_note() -> None:
    one = explanation(FRAGMENTS)
    *others, own = one.neighbours[0].rows
    assert own.recorded is not None
    own = replace(own, recorded=replace(own.recorded, same_binary=False))
    marked = replace(one, row=own, neighbours=(Neighbours(one.neighbours[0].param, (*others, own)),))
    text, note = screen(explain_report(marked), 120), "recorded ones: the recorded latency is of another binary"
    assert "latency   2.332 ms*, measured on NVIDIA H100 80GB HBM3" in text
    assert 2 == text.count(note)
    cells = [line for line in text.splitlines() if "registers, shared memory" in line and "41728" in line]
    assert [line.index("2.332*") for line in cells[:1]] == [line.index("1.798") for line in cells[1:2]]
    unmarked = screen(explain_report(one), 120)
    assert note not in unmarked
    assert "*" not in unmarked


def test_a_config_that_is_wrong_by_construction_says_so_above_everything() -> None:
    one = explanation(WGMMA, measured=False)
    text = screen(explain_report(replace(one, row=one.neighbours[0].rows[0])), 200)
    assert "status    wrong: by construction: sums only the first 32 of 128 state elements (dstate)" in text


def test_a_kernel_of_which_nobody_asks_anything_has_no_answer() -> None:
    text = screen(explain_report(replace(explanation(WGMMA), question=None)), 100)
    assert "Why DSTATE" not in text
    assert "limited by  shared memory (123648 bytes)" in text


def test_recorded_latencies_are_headed_as_recorded() -> None:
    one = replace(explanation(WGMMA), latency_source="recorded on NVIDIA H100 80GB HBM3, driver 580.159.04")
    text = screen(explain_report(one), 120)
    assert "latency   3.766 ms, recorded on NVIDIA H100 80GB HBM3, driver 580.159.04" in text
    table = text.partition("What one change does, all else equal\n")[2]
    assert "recorded" in table.splitlines()[0]


def test_without_latencies_there_is_no_latency_column() -> None:
    text = screen(explain_report(explanation(WGMMA, measured=False)), 120)
    assert "latency   not measured" in text
    assert "latency\n" not in text


def test_a_config_that_did_not_compile_is_explained_by_its_neighbours() -> None:
    rows = (compiled(32, 128, 40_000), compiled(64, 128, 48_000))
    one = Explanation(COMPILE_HEADER, TOO_LARGE, (Neighbours(BLOCK_DSTATE, (*rows, TOO_LARGE)),), QUESTION, None)
    text = screen(explain_report(one), 120)
    assert "status    out-of-resources: needs 279552 bytes of shared memory per block" in text
    assert "No binary to look at: needs 279552 bytes" in text
    content = json.loads(explanation_json(one))
    assert (None, []) == (content["rule"], content["headroom"])


def test_high_occupancy_has_no_sentence() -> None:
    full = row(config(32, 32, 32, 32, 4, 1), 32, 4096, status="not-run", reason="–")
    assert json.loads(explanation_json(of_rows((full,))))["rule"] is None
    assert "theoretical warps per scheduler this kernel" not in screen(explain_report(of_rows((full,))), 100)


def test_nothing_is_cut_at_80_columns() -> None:
    rows = tuple(
        replace(
            row(config(128, 256, 64, 128, warps, 4, variant="split"), 255, 231_424, spill_bytes=1024),
            timing=timing(123.456),
            status="out-of-resources",
            status_reason="too large",
        )
        for warps in (2, 4, 8)
    )
    text = screen(explain_report(of_rows(rows, "num_warps")), 80)
    assert "…" not in text
    assert 3 <= text.count("231424")
    assert 3 == text.count("123.456") - text.count("latency   123.456") - text.count("time: 123.456")
