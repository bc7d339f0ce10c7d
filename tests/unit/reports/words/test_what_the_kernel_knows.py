# ruff: noqa: E501  # expected sentences are whole, so that they can be searched for
"""What the kernel knows of its configs before anything runs, in words."""

from dataclasses import replace

from fake_runs import (
    BASELINE,
    HEADER,
    compiled_run,
    config,
    constrained,
    constrained_run,
    h100_run,
    recorded_over,
    row,
    run,
)

from ssdprof.kernels.interface import LeftOut, Remark
from ssdprof.profiling.diagnosis.verdicts import statements
from ssdprof.profiling.runs.model import Run
from ssdprof.reports.words.verdicts import words


def message(run: Run, code: str) -> str:
    return next(words(one) for one in statements(run) if one.code == code)


def codes(run: Run) -> list[str]:
    return [one.code for one in statements(run)]


def test_configs_that_are_wrong_by_construction_are_counted_with_the_reason_of_one() -> None:
    assert (
        "10 of 16 configs are wrong by construction, on every GPU and for every input. m128n64k32d32w4s4 sums only the first 32 of 128 state elements (dstate) and does not loop over the rest: take a DSTATE tile of 128, or the variant split. Keep them out of the list you tune from."
    ) == message(constrained_run(), "wrong-by-construction")
    one = constrained(row(config(64, 64, 32, 64, 2, 4), 214, 41728, status="not-run"))
    assert "1 of 1 configs is wrong by construction" in message(run([one]), "wrong-by-construction")


def test_recorded_latencies_say_which_of_those_that_are_wrong_by_construction_is_the_fastest() -> None:
    recorded = recorded_over(constrained_run(), h100_run())
    assert "every input. m32n64k32d32w2s5 sums only" in message(recorded, "wrong-by-construction")
    assert "m32n64k32d32w2s5, takes 1.663 ms" in message(recorded, "fastest-is-wrong")
    assert "and is wrong (relative error 0.73)" in message(recorded, "fastest-is-wrong")


def test_a_check_that_disagrees_with_the_construction_is_a_warning_and_decides() -> None:
    odd = replace(row(BASELINE, 255, 41728, latency_ms=2.4), by_construction="sums a part only")
    assert (
        "m64n64k32d128w2s4 must be wrong by construction (sums a part only), but the check found its output correct. The check decides, so it is not called wrong: report this, since one of the two is mistaken."
    ) == message(run([odd]), "by-construction-disagrees")
    assert "wrong-by-construction" not in codes(run([odd]))


def test_a_recorded_check_that_disagrees_with_the_construction_is_a_warning_too() -> None:
    name = "m64n64k32d128w2s4"
    rows = tuple(
        replace(
            r, by_construction="sums a part only", status="wrong", status_reason="by construction: sums a part only"
        )
        if r.config_id == name
        else r
        for r in compiled_run().rows
    )
    recorded = recorded_over(replace(compiled_run(), rows=rows), h100_run())
    assert (
        "Recorded: m64n64k32d128w2s4 must be wrong by construction (sums a part only), but the recorded check found its output correct. Nothing was checked here, so it is listed as wrong: measure on a GPU to decide it."
    ) == message(recorded, "by-construction-disagrees")
    assert name not in [r.config_id for r in recorded.ranked]


def test_what_the_kernels_own_pruning_leaves_out_is_counted_with_its_reasons() -> None:
    left_out = (LeftOut("a", "too many warps"), LeftOut("b", "too large"), LeftOut("c", "too many warps"))
    of = "of the kernel's own list are not in this space"
    some, all_of_them = (run(h100_run().rows, replace(HEADER, left_out=which)) for which in (left_out, left_out[::2]))
    assert f"3 configs {of}: too many warps (2) and too large (1)." == message(some, "left-out")
    assert f"2 configs {of}: too many warps." == message(all_of_them, "left-out")
    one = run(h100_run().rows, replace(HEADER, left_out=left_out[:1]))
    assert message(one, "left-out").startswith("1 config of the kernel's own list is not in this space")


def test_what_the_subject_says_of_its_configs_stands_last_in_its_own_words() -> None:
    remark = Remark("note", "without-tma", "sm_89 has no tensor memory accelerator.", {"arch": "sm_89"})
    found = statements(run(h100_run().rows, replace(HEADER, remarks=(remark,))))
    assert ("without-tma", "sm_89 has no tensor memory accelerator.") == (found[-1].code, words(found[-1]))
