"""Configs whose error stands out from the others': which are wrong, which are doubtful, and that no correct one is."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from fake_runs import config, row
from hypothesis import given
from hypothesis import strategies as st

from ssdprof.kernels.interface import Tolerances
from ssdprof.kernels.registry import recorded_files
from ssdprof.kernels.space import space_of
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.runs.answers.outliers import (
    AGREE,
    ENOUGH,
    ROUNDING_SHARE,
    STANDS_OUT,
    Outlier,
    compared,
    outliers,
)
from ssdprof.profiling.runs.measured import Check, Finding
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.profiling.runs.store import load_run

BF16 = Tolerances(0.01, 0.05, "roundings", output="out")
TF32 = Tolerances(0.002, 0.01, "roundings", output="out")
TWO = (Tolerances(0.01, 0.05, "roundings", output="a"), Tolerances(0.002, 0.01, "roundings", output="b"))
RECORDED = [load_run(path) for path in recorded_files()]
ROUNDING = 0.00185
"""What correct configs have in bfloat16."""


def scaled(factor: float, error: float = ROUNDING) -> float:
    """The error of an output that is off by `error` and by a factor; the two are independent."""
    return math.hypot(error, factor - 1)


def checked(place: int, error: float, output: str = "", row_error: float | None = None) -> Row:
    """A correct row, other than those of other places."""
    base = replace(row(config(64, 64, 32, 128, 4, 1)), config_id=f"config {place}")
    return replace(
        base, check=Check(error, 2 * error if row_error is None else row_error, 0, 100, True, 10, 2, (), output)
    )


def rows_of(errors: Sequence[float], output: str = "") -> list[Row]:
    return [checked(place, error, output) for place, error in enumerate(errors)]


def wrong(rows: Sequence[Row], *tolerances: Tolerances) -> list[int]:
    """Places of the rows that comparing makes wrong."""
    return [place for place, row in enumerate(compared(rows, tolerances or (BF16,))) if row.status == "wrong"]


def doubtful(rows: Sequence[Row], *tolerances: Tolerances) -> list[int]:
    """Places of the rows that stand out, and are not wrong."""
    found = outliers(rows, tolerances or (BF16,))
    return [place for place, row in enumerate(rows) if (one := found.get(row.config_id)) and not one.is_wrong]


@pytest.mark.parametrize("factor", [1.004, 1.006, 0.996, 0.994, 1.009])
def test_a_uniform_error_of_less_than_the_tolerance_is_wrong_beside_five_that_agree(factor: float) -> None:
    rows = rows_of([ROUNDING, 0.001853, scaled(factor), 0.00186, ROUNDING, ROUNDING])
    assert [2] == wrong(rows)


def test_the_reason_names_the_error_the_others_and_how_many_agree() -> None:
    *_, found = compared(rows_of([*[0.0018] * 7, 0.0031, 0.0063]), (BF16,))
    assert ("wrong", None) == (found.status, found.rank)
    assert (
        "relative error 0.0063 is within the tolerance 0.01, but 7 of 8 other configs agree on 0.0018 or less: more "
        "than rounding explains"
    ) == found.status_reason


def test_with_fewer_than_five_that_agree_it_is_doubtful_alone() -> None:
    rows = rows_of([ROUNDING] * 4 + [0.0063])
    assert ([], [4]) == (wrong(rows), doubtful(rows))
    assert (
        Outlier(rows[4].config_id, "", 0.0063, 0.01, ROUNDING, agreeing=4, others=4, alike=0)
        == outliers(rows, (BF16,))[rows[4].config_id]
    )
    assert ([], [1]) == (wrong(rows[3:]), doubtful(rows[3:]))
    assert ([], []) == (wrong(rows[4:]), doubtful(rows[4:]))


def test_others_that_do_not_agree_among_themselves_make_none_wrong() -> None:
    spread = rows_of([0.0019, 0.0019, 0.0019, 0.0029, 0.0029, 0.0037, 0.0037, 0.0099])
    assert ([], [7]) == (wrong(spread), doubtful(spread))


def test_several_faulty_configs_are_wrong_if_fewer_than_five_share_their_error() -> None:
    sound = [ROUNDING] * 8
    assert [8, 9, 10] == wrong(rows_of([*sound, scaled(1.004), scaled(1.006), scaled(0.996)]))
    assert [8, 9, 10, 11] == wrong(rows_of([*sound, *[0.0063] * 4]))
    many = rows_of([*sound, *[0.0063] * 5])
    assert ([], [8, 9, 10, 11, 12]) == (wrong(many), doubtful(many))


def test_two_honest_ways_of_computing_make_none_wrong_whichever_is_more_frequent() -> None:
    for low, high in ((20, 10), (15, 15), (10, 20), (200, 5)):
        assert [] == wrong(rows_of([ROUNDING] * low + [0.0045] * high))
    assert [] == doubtful(rows_of([ROUNDING] * 10 + [0.0045] * 12))


def test_one_tf32_config_among_ieee_ones_is_rounding() -> None:
    """Truncating both operands to TF32 lowers each by 3.5e-4 on average: 7e-4 in all, of tolerance 0.002."""
    rows = rows_of([1.2e-7, 3e-7, 1e-7, 1.1e-7, 0.0, 1e-6, 7.0e-4])
    assert ([], []) == (wrong(rows, TF32), doubtful(rows, TF32))
    assert [6] == wrong([*rows[:6], checked(6, 1e-3)], TF32)


@pytest.mark.parametrize("errors", [[0.0] * 9, [0.0] * 8 + [3e-7], [1e-7] * 8 + [3e-4], [1e-9, 1e-7, 1e-5, 1e-4, 3e-4]])
def test_tiny_errors_are_order_of_summation_whatever_their_ratio(errors: list[float]) -> None:
    assert ([], []) == (wrong(rows_of(errors), TF32), doubtful(rows_of(errors), TF32))


@pytest.mark.parametrize("error", [9e-7, 4e-6, 9e-6])
def test_another_order_of_a_float32_sum_is_no_alarm_however_tight_the_tolerance(error: float) -> None:
    tight = Tolerances(1e-5, 1e-4, "order of summation", output="out")
    rows = rows_of([1e-7] * 9 + [error])
    assert ([], []) == (wrong(rows, tight), doubtful(rows, tight))
    assert [9] == wrong(rows_of([1e-7] * 9 + [1.1e-5]), replace(tight, relative_error=2e-5))


def test_outputs_that_must_be_exact_are_not_compared() -> None:
    exact = Tolerances(0.0, 0.0, "integers", output="out")
    assert {} == outliers(rows_of([0.0] * 9), (exact,))


def test_exact_others_agree() -> None:
    assert [5] == wrong(rows_of([0.0] * 5 + [0.004]))


@pytest.mark.parametrize("roundings", [1, 2, 3])
def test_one_rounding_more_or_a_few_make_no_alarm(roundings: int) -> None:
    rows = rows_of([ROUNDING] * 30 + [ROUNDING * math.sqrt(1 + roundings) * 0.999])
    assert ([], []) == (wrong(rows), doubtful(rows))


def test_what_its_own_check_found_wrong_unstable_or_did_not_look_at_neither_counts_nor_changes() -> None:
    rows = rows_of([ROUNDING] * 4 + [0.0063])
    check = rows[0].check
    assert check
    beside = [
        replace(checked(10, ROUNDING), check=None),
        replace(checked(11, 0.3), status="wrong", status_reason="off"),
        replace(checked(12, math.nan), status="wrong", status_reason="NaN"),
        replace(checked(13, ROUNDING), check=replace(check, repeatable=False), status="unstable", status_reason="bits"),
        replace(checked(14, ROUNDING), check=replace(check, findings=(Finding("outside", "o"),)), status="wrong"),
        replace(checked(15, ROUNDING), check=replace(check, bad_rows=1), status="wrong", status_reason="a row"),
        replace(checked(16, ROUNDING), status="not-run", status_reason="not reached"),
    ]
    assert ([], [4]) == ([place for place in wrong([*rows, *beside]) if place < 5], doubtful([*rows, *beside]))
    assert tuple(beside) == compared([*rows, *beside], (BF16,))[5:]


def test_without_tolerances_nothing_is_compared() -> None:
    rows = rows_of([ROUNDING] * 9 + [0.0063])
    assert {} == outliers(rows, ())
    assert tuple(rows) == compared(rows, ())
    unknown = rows_of([ROUNDING] * 9 + [0.0063], output="elsewhere")
    assert {} == outliers(unknown, (BF16,))


def test_each_output_is_judged_by_its_own_tolerance() -> None:
    rows = [*(checked(place, 0.0019, "a") for place in range(6)), *(checked(9 + i, 0.0004, "b") for i in range(6))]
    assert [] == wrong(rows, *TWO)
    faulty_b = checked(30, 0.0019, "b")  # as large as what is usual in a
    assert [12] == wrong([*rows, faulty_b], *TWO)
    assert compared([*rows, faulty_b], TWO)[12].status_reason.startswith("b: relative error 0.0019 is within")


def test_an_output_that_is_the_others_best_is_compared_with_the_most_that_they_can_have_in_it() -> None:
    rows = [checked(place, 0.0019, "a", row_error=0.01) for place in range(6)]
    assert [6] == wrong([*rows, checked(6, 0.0012, "b")], *TWO)
    assert (
        "6 of 6 other configs agree on 0.00040 or less"
        in compared([*rows, checked(6, 0.0012, "b")], TWO)[6].status_reason
    )
    nearly_bad_row = [checked(place, 0.0019, "a", row_error=0.03) for place in range(6)]
    assert [] == wrong([*nearly_bad_row, checked(6, 0.0012, "b")], *TWO)


errors = st.lists(st.floats(min_value=0.0, max_value=0.01), max_size=14)


@given(errors, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_and_comparing_again_change_nothing(found: list[float], rng: random.Random) -> None:
    rows = rows_of(found)
    once = {row.config_id: row for row in compared(rows, (BF16,))}
    shuffled = rng.sample(rows, len(rows))
    assert once == {row.config_id: row for row in compared(shuffled, (BF16,))}
    again = compared(list(once.values()), (BF16,))
    assert tuple(once.values()) == again
    assert outliers(rows, (BF16,)) == outliers(again, (BF16,))


@given(errors)
def test_a_wrong_config_is_a_minority_far_from_five_that_agree(found: list[float]) -> None:
    rows = rows_of(found)
    for place in wrong(rows):
        others = found[:place] + found[place + 1 :]
        far_below = [error for error in others if STANDS_OUT * error < AGREE * found[place]]
        assert len(far_below) >= ENOUGH
        assert 2 * len(far_below) > len(others)
        assert found[place] > STANDS_OUT * ROUNDING_SHARE * BF16.relative_error
    assert 2 * len(wrong(rows)) <= len(rows)


@given(st.lists(st.floats(min_value=0.001, max_value=0.00199), min_size=1, max_size=30))
def test_configs_within_a_factor_of_two_make_no_alarm(found: list[float]) -> None:
    assert ([], []) == (wrong(rows_of(found)), doubtful(rows_of(found)))


def correct_rows(run: Run) -> list[Row]:
    return [row for row in run.rows if row.status == "ok"]


@pytest.mark.parametrize("run", RECORDED, ids=lambda run: f"{run.header.problem['seqlen']}")
def test_recorded_runs_have_no_false_alarm_in_whole_in_each_space_and_in_random_parts(run: Run) -> None:
    rows, tolerances = correct_rows(run), run.header.tolerances
    assert 369 == len(rows)
    assert {} == outliers(run.rows, tolerances)
    subject = ChunkScan(ChunkScanProblem(**run.header.problem))
    for name in ("mamba", "vllm", "wide", "ssdprof"):
        ids = {subject.params.id(subject.resolve(one)) for one in space_of(subject, name).configs}
        part = [row for row in run.rows if row.config_id in ids]
        assert part, name
        assert {} == outliers(part, tolerances)
    rng = random.Random(0)
    for _ in range(200):
        assert {} == outliers(rng.sample(run.rows, rng.randint(1, len(run.rows))), tolerances)


@pytest.mark.parametrize("run", RECORDED, ids=lambda run: f"{run.header.problem['seqlen']}")
@pytest.mark.parametrize("factor", [1.004, 1.006, 0.996])
def test_a_recorded_run_with_one_output_scaled_has_that_one_wrong_wherever_it_is(run: Run, factor: float) -> None:
    rows, rng = correct_rows(run), random.Random(1)
    for _ in range(50):
        part = rng.sample(rows, rng.randint(6, len(rows)))
        chosen = part[0]
        assert chosen.check
        check = replace(chosen.check, relative_error=scaled(factor, chosen.check.relative_error))
        faulty = [replace(chosen, check=check), *part[1:]]
        assert [0] == wrong(faulty, *run.header.tolerances)
