"""Comparing an output with its reference: exact small cases, and the words for what was found."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from ssdprof.kernels.interface import Tolerances
from ssdprof.profiling.measuring import compare, guard
from ssdprof.profiling.measuring.check import Errors, judge, merge
from ssdprof.profiling.measuring.compare import output_errors, row_norm_rms
from ssdprof.profiling.measuring.guard import bit_words, same_bits
from ssdprof.profiling.runs.measured import Check, Finding, FindingCode

TOLERANCES = Tolerances(relative_error=1e-2, row_error=5e-2, reason="it suits the tests", output="out")
ALLOWED = {"out": TOLERANCES}
NAN, INF = math.nan, math.inf


def errors(out: torch.Tensor, reference: torch.Tensor) -> Errors:
    return output_errors(out, reference, TOLERANCES, row_norm_rms(reference))


def check(relative: float, worst: float, bad_rows: int = 0, repeatable: bool = True) -> Check:
    return Check(relative, worst, bad_rows, 100, repeatable, 4)


def test_equal_tensors_have_no_error() -> None:
    x = torch.arange(24.0).reshape(2, 3, 4)
    assert Errors(0.0, 0.0, 0, 6) == errors(x, x)


def test_errors_are_norms_of_the_difference_over_norms_of_the_reference() -> None:
    reference = torch.tensor([[3.0, 4.0], [6.0, 8.0]])
    out = torch.tensor([[3.0, 4.0], [6.0, 9.0]])
    assert Errors(pytest.approx(1 / math.sqrt(125)), pytest.approx(0.1), 1, 2) == errors(out, reference)


def test_the_last_dimension_is_a_row() -> None:
    reference = torch.ones(2, 3, 5, 4)
    out = reference.clone()
    out[1, 2, 3] = 2.0
    assert Errors(pytest.approx(math.sqrt(1 / 30)), pytest.approx(1.0), 1, 30) == errors(out, reference)


def test_a_row_with_a_small_norm_is_judged_against_a_tenth_of_the_usual_norm() -> None:
    reference = torch.full((100, 4), 5.0)
    reference[0] = 1e-6
    out = reference.clone()
    out[0] += 0.01
    rms = row_norm_rms(reference)
    found = errors(out, reference)
    assert pytest.approx(10 * math.sqrt(99 / 100)) == rms
    assert pytest.approx(0.02 / (0.1 * rms), rel=1e-4) == found.worst_row_error
    assert 0 == found.bad_rows


def test_one_wrong_row_among_many_is_found_though_the_whole_error_is_small() -> None:
    reference = torch.ones(100_000, 8)
    out = reference.clone()
    out[77_777] = 0.0
    found = errors(out, reference)
    assert 1 == found.bad_rows
    assert pytest.approx(1.0) == found.worst_row_error
    assert found.relative_error < TOLERANCES.relative_error
    assert ("wrong", "1 of 100000 rows wrong, the worst by 1.0, tolerance 0.05") == judge(
        merge([found], True, 4), ALLOWED
    )


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_value_that_is_not_finite_makes_the_errors_nan_and_its_row_bad(value: float) -> None:
    reference = torch.ones(4, 4)
    out = reference.clone()
    out[2, 1] = value
    found = errors(out, reference)
    assert (True, True, 1, 4) == (
        math.isnan(found.relative_error),
        math.isnan(found.worst_row_error),
        found.bad_rows,
        found.rows,
    )


def test_a_reference_of_zeros_gives_the_norm_itself() -> None:
    reference = torch.zeros(2, 2)
    assert Errors(0.0, 0.0, 0, 2) == errors(reference, reference)
    found = errors(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), reference)
    assert (pytest.approx(5.0), 1, 2) == (found.relative_error, found.bad_rows, found.rows)
    assert found.worst_row_error > 1e29


def test_half_precision_outputs_are_compared_in_float32() -> None:
    reference = torch.full((4, 64), 1.001)
    found = errors(reference.to(torch.bfloat16), reference)
    assert pytest.approx(0.001 / 1.001, rel=1e-3) == found.relative_error


@pytest.mark.parametrize("piece_elements", [1, 7, 16, 100])
def test_pieces_of_any_size_give_the_same_answer(monkeypatch: pytest.MonkeyPatch, piece_elements: int) -> None:
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn((5, 3, 7), generator=generator)
    out = reference + 0.04 * torch.randn((5, 3, 7), generator=generator)
    whole, whole_rms = errors(out, reference), row_norm_rms(reference)
    assert 0 < whole.bad_rows < 15

    monkeypatch.setattr(compare, "PIECE_ELEMENTS", piece_elements)

    assert pytest.approx(whole_rms) == row_norm_rms(reference)
    assert (
        Errors(pytest.approx(whole.relative_error), pytest.approx(whole.worst_row_error), whole.bad_rows, 15)
    ) == errors(out, reference)


def test_a_nan_in_any_piece_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "PIECE_ELEMENTS", 4)
    reference = torch.ones(6, 4)
    for row in range(6):
        out = reference.clone()
        out[row, 0] = NAN
        assert math.isnan(errors(out, reference).relative_error)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_same_bits_are_the_same_values_nan_included_but_not_minus_zero(dtype: torch.dtype) -> None:
    values = torch.tensor([0.0, 1.0, NAN, INF], dtype=dtype)
    assert same_bits(values, values.clone())
    assert not same_bits(values, torch.tensor([-0.0, 1.0, NAN, INF], dtype=dtype))
    one_bit_off = torch.nextafter(values, torch.tensor(9.0, dtype=dtype)) if dtype != torch.float16 else values + 1e-3
    assert not same_bits(values[:2], one_bit_off[:2])


@pytest.mark.parametrize("piece_elements", [1, 3, 100])
@pytest.mark.parametrize("elements", [1, 3, 4, 5, 23])
def test_any_one_bit_differs_whatever_the_size_and_the_piece(
    monkeypatch: pytest.MonkeyPatch, elements: int, piece_elements: int
) -> None:
    monkeypatch.setattr(guard, "PIECE_ELEMENTS", piece_elements)
    one = torch.randn(elements, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert same_bits(one, one.clone())
    for index in range(elements):
        other = one.clone()
        other.view(torch.int16)[index] ^= 1
        assert not same_bits(one, other)


def test_bits_are_compared_from_any_address_on_and_through_gaps() -> None:
    memory = torch.arange(40, dtype=torch.bfloat16)
    assert same_bits(memory[1:9], memory[1:9].clone())
    assert not same_bits(memory[1:9], memory[2:10])
    assert same_bits(memory.view(5, 8)[:, :3], memory.view(5, 8)[:, :3].clone())


def test_bits_as_words_share_memory_with_the_tensor_and_leave_less_than_a_word() -> None:
    tensor = torch.zeros(7, dtype=torch.bfloat16)
    words, rest = bit_words(tensor)
    assert (1, 6) == (len(words), len(rest))
    assert tensor.data_ptr() == words.data_ptr()


def test_merged_errors_are_the_worst_of_each_and_nan_is_worst() -> None:
    one, other = Errors(0.1, 0.5, 3, 100), Errors(0.2, 0.4, 7, 100)
    assert Check(0.2, 0.5, 7, 100, True, 4) == merge([one, other], True, 4)
    assert Check(0.1, 0.5, 3, 100, False, 2) == merge([one], False, 2)
    found = Finding("rows", "some")
    assert Check(0.1, 0.5, 3, 100, True, 10, 2, (found,)) == merge([one], True, 10, seeds=2, findings=[found])
    for order in ([one, Errors(NAN, NAN, 1, 100)], [Errors(NAN, NAN, 1, 100), one]):
        merged = merge(order, False, 4)
        assert (True, True, 3) == (
            math.isnan(merged.relative_error),
            math.isnan(merged.worst_row_error),
            merged.bad_rows,
        )


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (check(0.0, 0.0), ("ok", "")),
        (check(1e-2, 5e-2), ("ok", "")),
        (check(0.7294, 0.9, 100), ("wrong", "relative error 0.73, tolerance 0.01")),
        (check(12.3, 20.0, 100), ("wrong", "relative error 12, tolerance 0.01")),
        (check(0.001, 0.2, 3), ("wrong", "3 of 100 rows wrong, the worst by 0.20, tolerance 0.05")),
        (check(NAN, NAN, 8), ("wrong", "8 of 100 rows wrong, NaN, inf or never-written elements among them")),
        (
            check(0.001, 0.002, 0, repeatable=False),
            (
                "unstable",
                "4 launches on the same input gave different bits (error up to 0.0010): a race or a miscompilation",
            ),
        ),
        (
            check(NAN, NAN, 8, repeatable=False),
            (
                "unstable",
                "4 launches on the same input gave different bits (error up to NaN): a race or a miscompilation",
            ),
        ),
    ],
)
def test_a_verdict_gives_the_numbers_and_the_tolerance(found: Check, verdict: tuple[str, str]) -> None:
    assert verdict == judge(found, ALLOWED)


WHERE = Finding("one-tile", "all in one tile: token 3")


@pytest.mark.parametrize("code", ["input-changed", "outside"])
@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("relative_error", [0.0, 0.5, NAN])
def test_a_launch_that_wrote_where_it_must_not_is_wrong_whatever_else_it_did(
    code: FindingCode, repeatable: bool, relative_error: float
) -> None:
    found = Check(relative_error, 0.0, 0, 100, repeatable, 4, 2, (WHERE, Finding(code, "wrote there")))
    assert ("wrong", "wrote there") == judge(found, ALLOWED)


def test_all_that_was_written_where_it_must_not_is_told() -> None:
    found = Check(0.0, 0.0, 0, 100, True, 4, 2, (Finding("input-changed", "wrote to x"), Finding("outside", "and on")))
    assert ("wrong", "wrote to x; and on") == judge(found, ALLOWED)


@pytest.mark.parametrize(
    ("relative", "worst", "bad_rows", "expected"),
    [
        (0.7294, 0.9, 100, "relative error 0.73, tolerance 0.01; all in one tile: token 3"),
        (0.001, 0.2, 3, "3 of 100 rows wrong, the worst by 0.20, tolerance 0.05; all in one tile: token 3"),
        (NAN, NAN, 8, "8 of 100 rows wrong, NaN, inf or never-written elements among them; all in one tile: token 3"),
    ],
)
def test_a_wrong_output_is_told_with_the_first_finding(
    relative: float, worst: float, bad_rows: int, expected: str
) -> None:
    found = Check(relative, worst, bad_rows, 100, True, 4, 2, (WHERE, Finding("rows", "not told")))
    assert ("wrong", expected) == judge(found, ALLOWED)


def test_an_unstable_output_is_called_so_before_it_is_called_wrong() -> None:
    status, reason = judge(Check(0.7, 0.9, 8, 100, False, 4, 2, (WHERE,)), ALLOWED)
    assert ("unstable", False) == (status, WHERE.message in reason)


def test_a_finding_is_never_ok_even_where_the_errors_are_small() -> None:
    assert ("wrong", WHERE.message) == judge(Check(0.0, 0.0, 0, 100, True, 4, 2, (WHERE,)), ALLOWED)


BOTH = {"out": TOLERANCES, "total": Tolerances(0.2, 0.5, "it is read and written", output="total")}


def test_of_several_outputs_the_worst_is_named_and_held_against_its_own_tolerance() -> None:
    found = replace(check(0.1, 0.2), output="total")
    assert ("ok", "") == judge(found, BOTH)
    assert ("wrong", "out: relative error 0.10, tolerance 0.01") == judge(replace(found, output="out"), BOTH)
    assert ("wrong", "total: relative error 0.30, tolerance 0.2; all in one tile: token 3") == judge(
        replace(found, relative_error=0.3, findings=(WHERE,)), BOTH
    )
