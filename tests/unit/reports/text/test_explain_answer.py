"""The answer that an explanation begins with: what limits occupancy, whether that matters, and what to do."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fake_models import MODEL
from fake_runs import COMPILE_HEADER, QUESTION, TOO_LARGE, compiled_run, explanation, h100_run, recorded_over, screen

from ssdprof.profiling.diagnosis.advice import advice
from ssdprof.profiling.diagnosis.bound import bound_statement
from ssdprof.profiling.runs.model import Explanation, Recorded, Row, Run
from ssdprof.profiling.runs.rank import derived
from ssdprof.profiling.runs.recorded import recorded_runs
from ssdprof.reports.export.run_json import explanation_json
from ssdprof.reports.text.explain import explain_report
from ssdprof.reports.words import answers
from ssdprof.reports.words.bound import short

LONG = next(one for one in recorded_runs() if one.header.problem["seqlen"] == 50_000)
WHOSE = "the recorded run, of 2026-11-25 20:40; for another problem give its options, such as --seqlen"


def of(config_id: str, source: Run = LONG) -> Explanation:
    """What `explain` makes of a config of a recorded run, without neighbours."""
    return of_row(next(row for row in source.rows if row.config_id == config_id), source)


def of_row(own: Row, source: Run = LONG) -> Explanation:
    return Explanation(source.header, own, (), QUESTION, f"recorded on {source.header.provenance}", WHOSE, source)


def with_model(one: Explanation) -> Explanation:
    """What `explain` makes of it if its addresses could be followed."""
    return replace(one, row=derived(replace(one.row, model=MODEL), one.header))


def lines(one: Explanation) -> dict[str, str]:
    return dict(answers.labelled(advice(one)))


def test_the_best_config_is_to_be_used_and_more_occupancy_is_not_missing() -> None:
    best = LONG.ranked[0]
    said = lines(of(best.config_id))
    assert said["limited by"].startswith(
        "registers (220): 2 of 16 warps per scheduler, 12.5 %. 52 registers fewer: one more block, 18.75 %."
    )
    assert said["matters"].startswith(f"no: {best.known_latency_ms:.3f} ms, #1 of 369, 1.01 times the floor, the best.")
    assert "The fastest with more, split:m32n64k32d64w2s3 (25 %), takes 2.139 ms." in said["matters"]
    assert "use it: DRAM bounds it, and no change of the config gains much more." == said["do"]


def test_a_slower_config_is_told_the_better_one_and_that_occupancy_is_not_the_difference() -> None:
    best = LONG.ranked[0].config_id
    said = lines(of("m64n64k32d128w2s4"))
    assert said["limited by"].startswith("registers (255) and shared memory (41728 bytes): 2 of 16")
    assert (
        f"no: 2.300 ms, #44 of 369, 2.45 times the floor; {best} is 2.42 times as fast with the same 12.5 %."
        == (said["matters"])
    )
    assert f"take {best} instead." == said["do"]


def test_a_config_of_more_occupancy_than_the_best_is_told_so() -> None:
    slow = next(row for row in LONG.ranked if row.occupancy and row.occupancy.theoretical_occupancy_pct > 60)
    assert "times as fast with less, 12.5 %." in lines(of(slow.config_id))["matters"]


def test_less_occupancy_than_the_best_may_matter() -> None:
    low = next(row for row in LONG.ranked if row.occupancy and row.occupancy.theoretical_occupancy_pct < 12)
    assert lines(of(low.config_id))["matters"].startswith("perhaps: ")


def test_one_that_is_tied_with_the_best_may_be_used() -> None:
    source = h100_run()
    own = next(row for row in source.ranked if row.rank == 2)
    said = lines(of_row(own, source))
    assert own.tied_with_best
    assert f"tied with the best, {source.ranked[0].config_id}." in said["matters"]
    assert "use it: no config that was tried is faster; what else would help is said below." == said["do"]
    unknown = lines(of_row(replace(own, bound=None), source))
    assert unknown["do"].startswith("use it; what bounds it is not known")


def test_a_wrong_config_is_not_to_be_used_whatever_its_time() -> None:
    said = lines(of("m64n64k32d32w2s4"))
    assert said["matters"].startswith("no, it is wrong: ")
    assert f"do not use it; take {LONG.ranked[0].config_id} instead." == said["do"]


def test_one_that_does_not_compile_says_why() -> None:
    source = recorded_over(compiled_run(), h100_run())
    one = Explanation(COMPILE_HEADER, replace(TOO_LARGE, compiled=None, occupancy=None), (), None, None, WHOSE, source)
    said = lines(one)
    assert said["limited by"].startswith("not known, out-of-resources: needs 279552 bytes")
    assert said["do"].startswith("do not use it; take m64n64k32d128w2s4 instead")


def test_without_a_latency_it_is_to_be_measured() -> None:
    said = lines(explanation(measured=False))
    assert "not known: there is no latency of this config." == said["matters"]
    assert said["do"].startswith("measure it: `ssdprof sweep` on a GPU.")


def test_what_a_gpu_measures_with_the_changes_is_announced_and_not_compared_with_another_run() -> None:
    one = of("m64n64k32d128w2s4")
    row = replace(one.row, status="not-run", timing=None, check=None)
    first = replace(one, row=row, source=None, latency_source=None)
    said = lines(first)
    assert "not known yet: this config is measured below, beside each change of it." == said["matters"]
    assert "see below what each change gains; `ssdprof sweep` compares it with all others." == said["do"]
    assert said == lines(replace(first, row=one.row))  # when it has been measured, with no run to compare it with
    others = replace(LONG, rows=tuple(row for row in LONG.rows if row.config_id != one.row.config_id))
    assert said == lines(replace(one, source=others))


def test_beside_a_run_it_is_judged_by_the_latency_that_the_run_has() -> None:
    one = of("m64n64k32d128w2s4")
    assert one.row.timing is not None
    recorded = Recorded(WHOSE, "ok", "", one.row.check, one.row.timing, same_binary=True)
    here = replace(one.row, recorded=recorded, timing=replace(one.row.timing, latency_ms=0.5))
    assert "no: 2.300 ms, #44 of 369" in lines(replace(one, row=here))["matters"]


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("config_id", [LONG.ranked[0].config_id, "m64n64k32d128w2s4", "m64n64k32d32w2s4"])
def test_it_is_complete_in_the_first_twelve_lines_and_then_says_whose_it_is(config_id: str, width: int) -> None:
    one = with_model(of(config_id))
    assert one.row.bound is not None
    shown = screen(explain_report(one), width).splitlines()
    end = next(i for i, line in enumerate(shown) if line.startswith("of  "))
    assert end <= 12
    assert "of          the recorded run, of 2026-11-25 20:40;" in shown[end]
    told = " ".join(" ".join(shown[:end]).split())
    assert all(" ".join(text.split()) in told for text in (config_id, *lines(one).values()))
    found = bound_statement(one.row, one.header)
    assert found is not None
    assert " ".join(short(found.figures).split()) in told


def test_json_has_the_answer() -> None:
    content = json.loads(explanation_json(of("m64n64k32d128w2s4")))
    assert ["limits", "matters", "do"] == [one["code"] for one in content["answer"]]
    assert lines(of("m64n64k32d128w2s4"))["do"] == content["answer"][-1]["message"]
    assert LONG.ranked[0].config_id == content["answer"][-1]["figures"]["best_id"]
