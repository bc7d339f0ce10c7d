# ruff: noqa: E501  # expected sentences are whole, so that they can be searched for
"""The sentences of an explanation say what the rows show, and nothing more."""

from dataclasses import replace

import pytest
from fake_runs import COMPILE_HEADER, QUESTION, config, constrained, explanation, h100_run, row

from ssdprof.kernels.config import NUM_WARPS, Param
from ssdprof.kernels.ssd.params import BLOCK_DSTATE, PARAMS
from ssdprof.profiling.diagnosis.correlation import among_neighbours
from ssdprof.profiling.diagnosis.why import answer
from ssdprof.profiling.runs.model import Explanation, Neighbours, Row
from ssdprof.reports.words.explanation import parameter_name, sentences

WGMMA, FRAGMENTS = (128, 64, 32, 4, 4), (64, 64, 32, 2, 4)

WHY_WGMMA = (
    "From a DSTATE tile of 32 to 64 to 128, registers per thread go 186 → 186 → 180, bytes of shared memory per block go "
    "86784 → 99072 → 123648, blocks per SM go 2 → 2 → 1 and warps per scheduler go 2.00 → 2.00 → 1.00. At 128 the "
    "blocks per SM drop from 2 to 1: shared memory allows 1 instead of 2. So the DSTATE tile of 128 does limit this "
    "config: 1.00 of 16 warps per scheduler, while 32 would have 2.00. With 4 warps the products compile to wgmma, which "
    "reads operands from shared memory: a larger tile costs shared memory (36864 bytes more per block), hardly registers "
    "(-6 per thread). A smaller tile is no way out: 32 or 64 is wrong by construction (relative error 0.73, 0.60 as "
    "measured). A tile of 32 sums only the first 32 of 128 state elements (dstate) and does not loop over the rest: take a "
    "DSTATE tile of 128, or the variant split."
)
WHY_FRAGMENTS = (
    "From a DSTATE tile of 32 to 64 to 128, registers per thread go 205 → 214 → 255, bytes of shared memory per block "
    "stay at 41728, blocks per SM stay at 4 and warps per scheduler stay at 2.00. So DSTATE does not limit the occupancy "
    "of this config: every tile that compiled gives 2.00 of 16 warps per scheduler, limited by registers and shared "
    "memory. The 50 registers more still allow as many blocks. At 128 shared memory is named only because the driver "
    "configures 200704 bytes of it for that many blocks, assumed; the largest size, 233472 bytes, would hold 5, so it is"
    " registers that must change first. With 2 warps the products compile to mma.sync, whose "
    "operands are fragments in registers: a larger tile costs registers (50 more per thread), not shared memory. A smaller"
    " tile is no way out: 32 or 64 is wrong by construction. A tile of 32 sums only the first 32 of 128 state elements "
    "(dstate) and does not loop over the rest: take a DSTATE tile of 128, or the variant split."
)


FRAGMENT_CONFIG = config(64, 64, 32, 128, 2, 4)


def why(explanation: Explanation) -> str:
    return sentences(explanation, answer(explanation))


def latency(explanation: Explanation) -> str:
    return sentences(explanation, among_neighbours(explanation))


def of_rows(rows: tuple[Row, ...], parameter: Param = BLOCK_DSTATE) -> Explanation:
    return Explanation(COMPILE_HEADER, rows[-1], (Neighbours(parameter, rows),), QUESTION, None)


def compiled(dstate: int, registers: int, smem_bytes: int, warps: int = 4, variant: str = "tile") -> Row:
    here = config(64, 64, 32, dstate, warps, 4, variant=variant)
    return row(here, registers, smem_bytes, status="not-run", reason="compiled only, no GPU")


def test_it_says_that_shared_memory_takes_a_block_at_128_with_wgmma() -> None:
    assert WHY_WGMMA == why(explanation(WGMMA))


def test_it_says_that_dstate_limits_nothing_if_every_tile_has_the_same_blocks() -> None:
    assert WHY_FRAGMENTS == why(explanation(FRAGMENTS, measured=False))


def test_limiters_that_change_with_the_tile_are_told_apart() -> None:
    assert "limited by shared memory at 32 and 64; by registers and shared memory at 128." in why(
        explanation((64, 32, 32, 2, 5))
    )


def test_blocks_that_rise_with_the_tile_are_said_to_rise() -> None:
    text = why(of_rows((compiled(32, 255, 60_000), compiled(64, 168, 60_000), compiled(128, 128, 50_000))))
    assert "At 64 the blocks per SM rise from 2 to 3: registers allow 3 instead of 2." in text
    assert "At 128 the blocks per SM rise from 3 to 4: registers allow 4 instead of 3" in text
    assert "does limit" not in text
    assert "wgmma" not in text


def test_a_limit_that_moves_with_the_carve_out_alone_is_no_cause() -> None:
    text = why(of_rows((compiled(32, 128, 40_000, warps=2), compiled(128, 200, 40_000, warps=2))))
    assert "At 128 the blocks per SM drop from 5 to 4: registers allow 4 instead of 8." in text


def test_where_operands_lie_is_said_for_hopper_alone() -> None:
    other = replace(COMPILE_HEADER, device=replace(COMPILE_HEADER.device, arch="sm_80"))
    text = why(replace(explanation(WGMMA), header=other))
    assert "wgmma" not in text
    assert "blocks per SM drop from 2 to 1" in text


def test_figures_that_do_not_agree_with_either_kind_are_not_explained() -> None:
    text = why(of_rows((compiled(32, 100, 40_000), compiled(128, 200, 60_000))))
    assert "wgmma" not in text
    assert "mma.sync" not in text


def test_spills_are_among_what_grows() -> None:
    spilling = row(config(64, 64, 32, 128, 2, 4), 255, 41728, status="not-run", reason="–", spill_bytes=24)
    text = why(of_rows((compiled(32, 201, 41728, warps=2), spilling)))
    assert "registers per thread go 201 → 255, bytes spilled per thread go 0 → 24, bytes of shared" in text


def test_a_tile_that_did_not_compile_is_named_and_nothing_is_said_of_it() -> None:
    failed = row(config(64, 64, 32, 128, 4, 4), status="compile-error", reason="ptxas died")
    text = why(of_rows((compiled(32, 128, 40_000), compiled(64, 128, 48_000), failed)))
    assert text.endswith("Tile 128 is missing here: compile-error (ptxas died).")
    assert "From a DSTATE tile of 32 to 64," in text


def test_one_tile_alone_explains_nothing() -> None:
    failed = row(config(64, 64, 32, 32, 4, 4), status="compile-error", reason="ptxas died")
    assert (
        "Tile 32 is missing here: compile-error (ptxas died). What the DSTATE tile changes cannot be said: only tile 128 "
        "compiled for this config."
    ) == why(of_rows((failed, compiled(128, 128, 40_000))))
    assert why(of_rows((failed,))).endswith("no tile compiled for this config.")
    one = of_rows((compiled(128, 128, 40_000),), NUM_WARPS)
    absent = "The variant grouped takes the whole state in one DSTATE tile: there is no other to compare."
    assert absent == why(replace(one, question=replace(QUESTION, absent=absent)))
    assert "The kernel takes this config with one DSTATE tile alone: there is no other to compare." == why(one)


def test_a_kernel_of_which_nobody_asks_anything_has_no_answer() -> None:
    assert "" == why(replace(explanation(WGMMA), question=None))


def test_the_answer_is_in_the_words_of_the_parameter_that_is_asked_about() -> None:
    rows = Param("ROWS", column="rows", heading="row", around=(32, 64, 128))
    made = tuple(
        replace(
            compiled(value, 120 + value, 40_000, warps=2), config=replace(FRAGMENT_CONFIG, values=(("ROWS", value),))
        )
        for value in (32, 128)
    )
    one = Explanation(
        replace(COMPILE_HEADER, params=(rows,)),
        made[-1],
        (Neighbours(rows, made),),
        replace(QUESTION, parameter="rows"),
        None,
    )
    assert why(one).startswith("From a row tile of 32 to 128, registers per thread go 152 → 248,")
    assert "So the row tile of 128 does limit this config" in why(one)


def test_a_parameter_is_called_by_its_name_its_heading_or_what_it_tiles() -> None:
    one = explanation(WGMMA)
    names = ("BLOCK_SIZE_DSTATE", "BLOCK_SIZE_M", "num_warps", "HEADS")
    assert ["DSTATE tile", "M tile", "num_warps", "heads"] == [
        parameter_name(one, PARAMS.by_name[name]) for name in names
    ]


def test_in_a_variant_that_loops_a_smaller_tile_is_a_choice() -> None:
    rows = tuple(constrained(compiled(d, 128, 40_000 + d, variant="split")) for d in (32, 64, 128))
    choice = "In the `split` variant a tile of 32 or 64 is a real choice: it loops over the tiles of the 128 elements."
    assert choice in why(of_rows(rows))
    wrong = replace(rows[0], status="wrong", status_reason="NaN")
    assert "split" not in why(of_rows((wrong, *rows[1:])))
    one_variant = tuple(replace(r, config=replace(r.config, variant="")) for r in rows)
    assert "A tile of 32 or 64 is a real choice: the kernel loops over the tiles of the 128 elements." in why(
        of_rows(one_variant)
    )


def test_a_small_tile_that_was_found_correct_is_not_called_wrong() -> None:
    rows = tuple(constrained(row(config(64, 64, 32, d, 4, 4), 128, 40_000, latency_ms=2.0)) for d in (32, 128))
    assert rows[0].by_construction
    assert "wrong" not in why(of_rows(rows))
    recorded = explanation(FRAGMENTS).neighbours[0].rows
    found = tuple(replace(r, recorded=replace(r.recorded, status="ok")) if r.recorded else r for r in recorded)
    assert "wrong" not in why(of_rows(found))


def test_recorded_errors_are_told_as_recorded() -> None:
    one = explanation(FRAGMENTS)
    text = why(replace(one, latency_source=f"recorded on {h100_run().header.provenance}"))
    assert "32 or 64 is wrong by construction (relative error 0.73, 0.60 as recorded). A tile of 32 sums only" in text


def test_a_state_that_no_tile_is_smaller_than_has_no_word_on_smaller_tiles() -> None:
    one = of_rows((compiled(32, 128, 40_000), compiled(64, 128, 48_000)))
    assert "smaller" not in why(replace(one, question=replace(QUESTION, extent=32)))


@pytest.mark.parametrize(
    ("latencies", "expected"),
    [
        ((2.0, 2.4), "No: the correct neighbour with a higher occupancy, m64n64k32d128w4s2 (25 % against 12.5 %), takes 2.400 ms against 2.000 ms."),
        ((2.0, 1.6), "It may be: the correct neighbour with a higher occupancy, m64n64k32d128w4s2 (25 % against 12.5 %), takes 1.600 ms against 2.000 ms."),
        ((2.0, 2.001), "No: the correct neighbour with a higher occupancy, m64n64k32d128w4s2 (25 % against 12.5 %), takes 2.001 ms against 2.000 ms, which is no difference within the noise."),
    ],
)  # fmt: skip
def test_the_latency_of_a_neighbour_of_higher_occupancy_decides(latencies: tuple[float, float], expected: str) -> None:
    other = row(config(64, 64, 32, 128, 4, 2), 96, 50_000, latency_ms=latencies[1])
    own = row(config(64, 64, 32, 128, 4, 4), 168, 90_000, latency_ms=latencies[0])
    assert latency(of_rows((other, own), PARAMS.by_name["num_stages"])).startswith(expected)


def test_the_fastest_of_several_is_taken_and_the_correlation_added() -> None:
    rows = tuple(
        row(config(64, 64, 32, 128, 4, s), registers, 100_000 // s, latency_ms=2.0 + s / 10)
        for s, registers in ((5, 64), (4, 80), (3, 96), (2, 128), (1, 168))
    )
    text = latency(of_rows(rows, PARAMS.by_name["num_stages"]))
    assert text.startswith("No: the fastest of the 4 correct neighbours with a higher occupancy, m64n64k32d128w4s2")
    assert "Spearman rank correlation" in text


def test_without_neighbours_of_higher_occupancy_it_cannot_be_said() -> None:
    assert "Cannot be said: no correct neighbour has a higher occupancy than 12.5 %." == latency(explanation(FRAGMENTS))
    own = row(config(64, 64, 32, 128, 4, 4), 64, 20_000, latency_ms=2.0)
    others = tuple(row(config(64, 64, 32, 128, 4, s), 168, 90_000, latency_ms=2.0) for s in (1, 2))
    assert "none of the 2 correct neighbours with a latency has" in latency(
        of_rows((*others, own), PARAMS.by_name["num_stages"])
    )


def test_without_a_latency_of_its_own_it_cannot_be_said() -> None:
    assert (
        "Cannot be said: m64n64k32d128w2s4 was not measured, so there is no latency to compare occupancy with."
    ) == latency(explanation(FRAGMENTS, measured=False))
    wrong = explanation(FRAGMENTS)
    wrong = replace(wrong, row=wrong.neighbours[0].rows[0])
    assert "m64n64k32d32w2s4 is wrong" in latency(wrong)
