# ruff: noqa: E501  # expected sentences are whole, so that they can be searched for
"""The explanation of one config: tables and words that say what the rows show, and nothing more."""

from dataclasses import replace

import pytest
from fake_runs import COMPILE_HEADER, HEADER, TOO_LARGE, config, explanation, row, screen, timing

from ssdprof.profiling.runs.model import Explanation, Neighbours, Row
from ssdprof.reports.text.explain import explain_report, latency_words, words
from ssdprof.reports.words.why_dstate import why_dstate

WGMMA, FRAGMENTS = (128, 64, 32, 4, 4), (64, 64, 32, 2, 4)

WHY_WGMMA = (
    "From a DSTATE tile of 32 to 64 to 128, registers per thread go 186 → 186 → 180, bytes of shared memory per block go "
    "86 784 → 99 072 → 123 648, blocks per SM go 2 → 2 → 1 and warps per scheduler go 2.00 → 2.00 → 1.00. At 128 the "
    "blocks per SM drop from 2 to 1: shared memory allows 1 instead of 2. So the DSTATE tile of 128 does limit this "
    "config: 1.00 of 16 warps per scheduler where 32 would have 2.00. With 4 warps the products compile to wgmma, which "
    "reads operands from shared memory: a larger tile costs shared memory (36 864 bytes more per block), hardly registers "
    "(-6 per thread). A smaller tile is no way out in the `tile` variant: 32 or 64 covers only that much of the 128 "
    "states, so the output is wrong (relative error 0.73, 0.60). The `split` variant loops over the tiles and is right "
    "with each."
)
WHY_FRAGMENTS = (
    "From a DSTATE tile of 32 to 64 to 128, registers per thread go 205 → 214 → 255, bytes of shared memory per block "
    "stay at 41 728, blocks per SM stay at 4 and warps per scheduler stay at 2.00. So DSTATE does not limit the occupancy "
    "of this config: every tile that compiled gives 2.00 of 16 warps per scheduler, limited by registers and shared "
    "memory. The 50 registers more still allow as many blocks. At 128 shared memory is named only because the driver "
    "configures 200 704 bytes of it for that many blocks, assumed; the largest size, 233 472 bytes, would hold 5, so it is"
    " registers that must change first. With 2 warps the products compile to mma.sync, whose "
    "operands are fragments in registers: a larger tile costs registers (50 more per thread), not shared memory. A smaller"
    " tile is no way out in the `tile` variant: 32 or 64 covers only that much of the 128 states, so the output is wrong. "
    "The `split` variant loops over the tiles and is right with each."
)


def of_rows(rows: tuple[Row, ...], parameter: str = "block_dstate") -> Explanation:
    return Explanation(COMPILE_HEADER, rows[-1], (Neighbours(parameter, rows),), None)


def compiled(dstate: int, registers: int, smem_bytes: int, warps: int = 4, variant: str = "tile") -> Row:
    here = config(64, 64, 32, dstate, warps, 4, variant=variant)
    return row(here, registers, smem_bytes, status="not-run", reason="compiled only, no GPU")


def test_it_says_that_shared_memory_takes_a_block_at_128_with_wgmma() -> None:
    assert WHY_WGMMA == why_dstate(explanation(WGMMA))


def test_it_says_that_dstate_limits_nothing_where_every_tile_has_the_same_blocks() -> None:
    assert WHY_FRAGMENTS == why_dstate(explanation(FRAGMENTS, measured=False))


def test_limiters_that_change_with_the_tile_are_told_apart() -> None:
    assert "limited by shared memory at 32 and 64; by registers and shared memory at 128." in why_dstate(
        explanation((64, 32, 32, 2, 5))
    )


def test_blocks_that_rise_with_the_tile_are_said_to_rise() -> None:
    text = why_dstate(of_rows((compiled(32, 255, 60_000), compiled(64, 168, 60_000), compiled(128, 128, 50_000))))
    assert "At 64 the blocks per SM rise from 2 to 3: registers allow 3 instead of 2." in text
    assert "At 128 the blocks per SM rise from 3 to 4: registers allow 4 instead of 3" in text
    assert "does limit" not in text
    assert "wgmma" not in text


def test_a_limit_that_moves_with_the_carve_out_alone_is_no_cause() -> None:
    text = why_dstate(of_rows((compiled(32, 128, 40_000, warps=2), compiled(128, 200, 40_000, warps=2))))
    assert "At 128 the blocks per SM drop from 5 to 4: registers allow 4 instead of 8." in text


def test_where_operands_lie_is_said_for_hopper_alone() -> None:
    other = replace(COMPILE_HEADER, device=replace(COMPILE_HEADER.device, arch="sm_80"))
    text = why_dstate(replace(explanation(WGMMA), header=other))
    assert "wgmma" not in text
    assert "blocks per SM drop from 2 to 1" in text


def test_figures_that_do_not_agree_with_either_kind_are_not_explained() -> None:
    text = why_dstate(of_rows((compiled(32, 100, 40_000), compiled(128, 200, 60_000))))
    assert "wgmma" not in text
    assert "mma.sync" not in text


def test_spills_are_among_what_grows() -> None:
    spilling = row(config(64, 64, 32, 128, 2, 4), 255, 41728, status="not-run", reason="–", spill_bytes=24)
    text = why_dstate(of_rows((compiled(32, 201, 41728, warps=2), spilling)))
    assert "registers per thread go 201 → 255, bytes spilled per thread go 0 → 24, bytes of shared" in text


def test_a_tile_that_did_not_compile_is_named_and_nothing_is_said_of_it() -> None:
    failed = row(config(64, 64, 32, 128, 4, 4), status="compile-error", reason="ptxas died")
    text = why_dstate(of_rows((compiled(32, 128, 40_000), compiled(64, 128, 48_000), failed)))
    assert text.endswith("Tile 128 is missing here: compile-error (ptxas died).")
    assert "From a DSTATE tile of 32 to 64," in text


def test_one_tile_alone_explains_nothing() -> None:
    failed = row(config(64, 64, 32, 32, 4, 4), status="compile-error", reason="ptxas died")
    assert (
        "Tile 32 is missing here: compile-error (ptxas died). What the DSTATE tile changes cannot be said: only tile 128 "
        "compiled for this config."
    ) == why_dstate(of_rows((failed, compiled(128, 128, 40_000))))
    assert why_dstate(of_rows((failed,))).endswith("no tile compiled for this config.")
    alone = why_dstate(of_rows((compiled(128, 128, 40_000),), parameter="num_warps"))
    assert "The variant tile takes the whole state in one DSTATE tile: there is no other to compare with." == alone


def test_in_the_split_variant_a_smaller_tile_is_a_choice() -> None:
    rows = tuple(compiled(d, 128, 40_000 + d, variant="split") for d in (32, 64, 128))
    assert "In the `split` variant a tile of 32 or 64 is a real choice" in why_dstate(of_rows(rows))
    wrong = replace(rows[0], status="wrong", status_reason="NaN")
    assert "split" not in why_dstate(of_rows((wrong, *rows[1:])))


def test_a_small_tile_that_was_found_right_is_not_called_wrong() -> None:
    rows = tuple(row(config(64, 64, 32, d, 4, 4), 128, 40_000, latency_ms=2.0) for d in (32, 128))
    assert "wrong" not in why_dstate(replace(of_rows(rows), header=HEADER))


def test_a_state_that_no_tile_is_smaller_than_has_no_word_on_smaller_tiles() -> None:
    small = replace(COMPILE_HEADER, problem={**COMPILE_HEADER.problem, "dstate": 32})
    text = why_dstate(replace(of_rows((compiled(32, 128, 40_000), compiled(64, 128, 48_000))), header=small))
    assert "smaller" not in text


@pytest.mark.parametrize(
    ("latencies", "expected"),
    [
        ((2.0, 2.4), "No: the right neighbour with a higher occupancy, m64n64k32d128w4s2 (25 % against 12.5 %), takes 2.400 ms against 2.000 ms."),
        ((2.0, 1.6), "It may be: the right neighbour with a higher occupancy, m64n64k32d128w4s2 (25 % against 12.5 %), takes 1.600 ms against 2.000 ms."),
        ((2.0, 2.001), "No: the right neighbour with a higher occupancy, m64n64k32d128w4s2 (25 % against 12.5 %), takes 2.001 ms against 2.000 ms, which is no difference within the noise."),
    ],
)  # fmt: skip
def test_the_latency_of_a_neighbour_of_higher_occupancy_decides(latencies: tuple[float, float], expected: str) -> None:
    other = row(config(64, 64, 32, 128, 4, 2), 96, 50_000, latency_ms=latencies[1])
    own = row(config(64, 64, 32, 128, 4, 4), 168, 90_000, latency_ms=latencies[0])
    assert latency_words(of_rows((other, own), "num_stages")).startswith(expected)


def test_the_fastest_of_several_is_taken_and_the_correlation_added() -> None:
    rows = tuple(
        row(config(64, 64, 32, 128, 4, s), registers, 100_000 // s, latency_ms=2.0 + s / 10)
        for s, registers in ((5, 64), (4, 80), (3, 96), (2, 128), (1, 168))
    )
    text = latency_words(of_rows(rows, "num_stages"))
    assert text.startswith("No: the fastest of the 4 right neighbours with a higher occupancy, m64n64k32d128w4s2")
    assert "Spearman rank correlation" in text


def test_without_neighbours_of_higher_occupancy_it_cannot_be_said() -> None:
    assert "Cannot be said: no right neighbour has a higher occupancy than 12.5 %." == latency_words(
        explanation(FRAGMENTS)
    )
    own = row(config(64, 64, 32, 128, 4, 4), 64, 20_000, latency_ms=2.0)
    others = tuple(row(config(64, 64, 32, 128, 4, s), 168, 90_000, latency_ms=2.0) for s in (1, 2))
    assert "none of the 2 right neighbours with a latency has" in latency_words(of_rows((*others, own), "num_stages"))


def test_without_a_latency_of_its_own_it_cannot_be_said() -> None:
    assert (
        "Cannot be said: m64n64k32d128w2s4 was not measured, so there is no latency to hold occupancy against."
    ) == latency_words(explanation(FRAGMENTS, measured=False))
    wrong = explanation(FRAGMENTS)
    wrong = replace(wrong, row=wrong.neighbours[0].rows[0])
    assert "m64n64k32d32w2s4 is wrong" in latency_words(wrong)


def test_the_report_has_ncus_section_its_sentence_headroom_and_neighbours() -> None:
    text = screen(explain_report(explanation(WGMMA)), 100)
    assert "latency   3.766 ms, measured on NVIDIA H100 80GB HBM3" in text
    assert "Block Limit Shared Mem" in text
    assert "The 1.00 theoretical warps per scheduler this kernel can issue" in text
    assert "What each number of blocks allows" in text
    assert """\
With another DSTATE tile, all else equal
                  smem blocks warps  occ                          latency
DSTATE tile regs bytes    /SM sched    % limited by                    ms status
────────────────────────────────────────────────────────────────────────────────
""" in screen(explain_report(explanation(FRAGMENTS)), 80)
    assert "      ▸ 128   180  123648" in text
    assert "\n32: relative error 0.73, at most 0.01 allowed\n64: relative error 0.6, at most 0.01 allowed\n" in text
    assert "Why DSTATE matters here, or does not\nFrom a DSTATE tile of 32 to 64 to 128" in text
    assert "Is occupancy what limits the latency?" in text


def test_recorded_latencies_are_headed_as_recorded() -> None:
    one = replace(explanation(WGMMA), latency_source="recorded on NVIDIA H100 80GB HBM3, driver 580.159.04")
    text = screen(explain_report(one), 120)
    assert "latency   3.766 ms, recorded on NVIDIA H100 80GB HBM3, driver 580.159.04" in text
    table = text.partition("With another DSTATE tile, all else equal\n")[2]
    assert "recorded" in table.splitlines()[0]


def test_without_latencies_there_is_no_latency_column() -> None:
    text = screen(explain_report(explanation(WGMMA, measured=False)), 120)
    assert "latency   not measured" in text
    assert "latency\n" not in text


def test_a_config_that_did_not_compile_is_explained_by_its_neighbours() -> None:
    rows = (compiled(32, 128, 40_000), compiled(64, 128, 48_000))
    one = Explanation(COMPILE_HEADER, TOO_LARGE, (Neighbours("block_dstate", (*rows, TOO_LARGE)),), None)
    text = screen(explain_report(one), 120)
    assert "status    out-of-resources: needs 279552 bytes of shared memory per block" in text
    assert "No binary to look at: needs 279552 bytes" in text
    assert {"rule": None, "headroom": []} == {k: v for k, v in words(one).items() if k in ("rule", "headroom")}


def test_high_occupancy_has_no_sentence() -> None:
    full = row(config(32, 32, 32, 32, 4, 1), 32, 4096, status="not-run", reason="–")
    assert words(of_rows((full,)))["rule"] is None
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
    assert 3 == text.count("123.456") - text.count("latency   123.456")
