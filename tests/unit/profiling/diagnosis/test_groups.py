"""What a run says whose configs give different outputs, none of which is known to be correct."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from fake_runs import HEADER, QUESTION, config, explanation, row, screen
from run_records import kept, records_of

from ssdprof.kernels.interface import Tolerances
from ssdprof.profiling.diagnosis.advice import advice
from ssdprof.profiling.diagnosis.answers import answer
from ssdprof.profiling.diagnosis.groups import Apart, answers_of, apart, several_answers
from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.profiling.diagnosis.verdicts import statements
from ssdprof.profiling.runs.model import Row, Run, Status
from ssdprof.profiling.runs.rank import ranked_run
from ssdprof.profiling.runs.run_file import dump_records, parse_state
from ssdprof.reports.text.sweep import sweep_report
from ssdprof.reports.words import answers as answer_words
from ssdprof.reports.words import verdicts as verdict_words

AGAINST = "the launch as captured"
HELD = Tolerances(0.01, 0.05, "operands are rounded", output="out", against=AGAINST)
CAPTURED = replace(HEADER, tolerances=(HELD,), question=QUESTION)
LENGTH = 64


def sketch(distance: float) -> tuple[float, ...]:
    """One at that distance from the reference's, which has norm 1."""
    return (1.0, distance, *[0.0] * (LENGTH - 2))


def tile(dstate: int, stages: int, latency_ms: float, distance: float, *, timed: bool = True) -> Row:
    status: Status = "ok" if distance <= HELD.relative_error else "differs"
    made = row(
        config(64, 64, 32, dstate, 2, stages),
        255,
        16_384,
        latency_ms=latency_ms if timed else None,
        error=distance,
        status=status,
        reason="" if status == "ok" else f"another output than {AGAINST}: relative error {distance:.2f}",
    )
    assert made.check
    return replace(made, check=replace(made.check, sketch=sketch(distance)))


def captured(*rows: Row) -> Run:
    return ranked_run(CAPTURED, rows)


def two() -> Run:
    """Two configs that give the captured output, three that are faster and give another."""
    ours = [tile(128, 3, 2.5, 0.0), tile(128, 4, 2.332, 0.001)]
    theirs = [tile(64, stages, 1.7 + 0.1 * stages, 0.73 + 1e-4 * stages) for stages in (1, 2, 3)]
    return captured(*ours, *theirs)


def one() -> Run:
    return captured(tile(128, 3, 2.5, 0.0), tile(128, 4, 2.332, 0.004))


def codes(found: Sequence[Statement]) -> list[str]:
    return [statement.code for statement in found]


def test_answers_name_their_configs_the_fastest_and_the_distance() -> None:
    first, second = answers_of(two())
    assert (("m64n64k32d128w2s3", "m64n64k32d128w2s4"), "m64n64k32d128w2s4", 2.332, 0.0, True) == (
        first.config_ids,
        first.fastest,
        first.latency_ms,
        first.distance,
        first.is_reference,
    )
    assert (3, "m64n64k32d64w2s1", False) == (len(second.config_ids), second.fastest, second.is_reference)
    assert pytest.approx(0.73, abs=2e-3) == second.distance


def test_an_answer_that_was_not_timed_has_no_fastest_config() -> None:
    (found,) = answers_of(captured(tile(128, 3, 2.0, 0.0, timed=False)))
    assert (None, None) == (found.fastest, found.latency_ms)


def test_a_run_with_a_correct_reference_has_no_answers() -> None:
    run = ranked_run(HEADER, [row(config(64, 64, 32, 128, 2, 4), 128, latency_ms=1.0)])
    assert () == answers_of(run)
    assert several_answers(run) is None
    assert {"several-answers", "agreement"}.isdisjoint(codes(statements(run)))


def test_the_parameter_that_tells_answers_apart_is_named_with_its_values() -> None:
    run = captured(*two().rows, tile(32, 3, 1.5, 3.0))
    assert (Apart("BLOCK_SIZE_DSTATE", ((128,), (64,), (32,))),) == apart(run, answers_of(run))


def test_no_parameter_is_named_if_none_tells_answers_apart_alone() -> None:
    run = captured(*two().rows, tile(64, 4, 3.0, 0.002))
    assert 2 == len(answers_of(run))
    assert apart(run, answers_of(run)) is None
    assert apart(one(), answers_of(one())) is None


def test_the_sentence_gives_all_that_is_needed_to_decide() -> None:
    found = several_answers(two())
    assert found
    assert ("warning", "several-answers", "name-the-answer") == (found.status, found.code, found.next_step)
    assert (
        "2 answers: 2 configs give that of the launch as captured (fastest m64n64k32d128w2s4, 2.332 ms), 3 another "
        "(fastest m64n64k32d64w2s1, 1.800 ms), apart by 0.73; BLOCK_SIZE_DSTATE tells them apart (128 / 64). "
        "Name the one to trust: --trust CONFIG, or --reference FILE:FUNCTION."
    ) == verdict_words.words(found)


def test_of_many_answers_the_first_are_told_and_the_rest_counted() -> None:
    rows = [tile(128, 1, 2.0, 0.0), *(tile(64, stages, 1.0, 10.0**stages) for stages in range(1, 6))]
    found = several_answers(captured(*rows))
    assert found
    text = verdict_words.words(found)
    assert text.startswith("6 answers: 1 config gives that of the launch as captured (m64n64k32d128w2s1, 2.000 ms), 1 ")
    assert ", and 2 more" in text


def test_if_no_config_gives_the_captured_output_that_is_said() -> None:
    alone = several_answers(captured(tile(64, 1, 1.7, 0.73), tile(64, 2, 1.8, 0.73)))
    several = several_answers(captured(tile(64, 1, 1.7, 0.73), tile(32, 2, 1.8, 5.0)))
    assert alone
    assert several
    assert verdict_words.words(alone).startswith(
        "1 answer, another than the launch as captured: 2 configs give it (fastest m64n64k32d64w2s1, 1.700 ms). Name"
    )
    assert "2 answers, none of them that of the launch as captured: 1 config gives one (" in verdict_words.words(
        several
    )


def test_nothing_is_recommended_while_it_is_not_decided() -> None:
    said = answer(two())
    assert ["several-answers", "occupancy", "not-used"] == codes(said)
    assert answer_words.words(said[0]).startswith("not decided: 2 answers: 2 configs give ")
    assert ("use", answer_words.words(said[0])) == answer_words.labelled(said)[0]
    assert "3 differs of 5." == answer_words.words(said[-1])
    verdict = codes(statements(two()))
    assert "several-answers" in verdict
    assert {"fastest-correct", "fastest-is-wrong", "memory-floor", "ties", "agreement", "nothing-correct"}.isdisjoint(
        verdict
    )


def test_rows_of_the_captured_output_keep_their_status_and_ranks() -> None:
    assert [("ok", 2, 1), ("ok", 1, 1), *[("differs", None, 2)] * 3] == [
        (one.status, one.rank, one.answer) for one in two().rows
    ]


def test_the_screen_tells_it_once() -> None:
    text = " ".join(screen(sweep_report(two()), 120).split())
    assert 1 == text.count("2 answers: ")
    assert "use not decided: 2 answers" in text
    assert "floor" not in text.partition("occupancy")[0]
    assert "3 differs the fastest, m64n64k32d64w2s1" in text


def test_with_one_answer_its_agreement_is_told_and_that_it_proves_nothing() -> None:
    use = next(found for found in answer(one()) if found.code == "use")
    assert answer_words.words(use).endswith("Same output as the launch as captured: error 0.0040 in 10 launches.")
    (note,) = [found for found in statements(one()) if found.code == "agreement"]
    assert ("note", {"configs": 2, "against": AGAINST}) == (note.status, note.figures)
    assert "which is not known to be correct" in verdict_words.words(note)
    assert 1 == screen(sweep_report(one()), 120).count("not known to be correct")


def test_a_run_with_a_correct_reference_says_what_it_said_before() -> None:
    run = ranked_run(HEADER, [row(config(64, 64, 32, 128, 2, 4), 128, latency_ms=1.0)])
    (use,) = [found for found in answer(run) if found.code == "use"]
    assert "against" not in use.figures
    assert answer_words.words(use).endswith(". Error 0.0018 in 10 launches.")


def test_an_explanation_of_such_a_run_recommends_nothing_either() -> None:
    made = explanation()
    found = advice(replace(made, source=two()))[-1]
    assert ("do", "name-the-answer") == (found.code, found.figures["finding"])
    assert answer_words.words(found).startswith("not decided: configs give different outputs. Name the one to trust:")
    assert "name-the-answer" != advice(replace(made, source=one()))[-1].figures["finding"]


def test_whether_the_occupancy_of_a_config_that_differs_matters_is_not_known() -> None:
    other = two().rows[2]
    matters, do = advice(replace(explanation(), row=other, source=two()))[1:]
    assert answer_words.words(matters).startswith(f"not known, since it gives another output than {AGAINST}: ")
    assert answer_words.words(do).startswith("not decided: ")


def test_a_run_that_is_read_again_has_the_same_answers() -> None:
    again = parse_state(dump_records(records_of(two()))).run()
    assert answers_of(kept(two())) == answers_of(again)
    assert [1, 1, 2, 2, 2] == [one.answer for one in again.rows]


def test_a_sketch_that_no_run_writes_is_none() -> None:
    broken = tile(64, 1, 1.0, 0.73)
    assert broken.check
    run = captured(*one().rows, replace(broken, check=replace(broken.check, sketch=(math.nan,) * LENGTH)))
    assert 1 == len(answers_of(run))
