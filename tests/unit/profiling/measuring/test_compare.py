"""Outputs of any dtype and shape, and references with NaN or infinity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import fake_launches
import pytest
import torch
from fake_kernel import FakeSubject, fake
from host_timer import HOST

from ssdprof.kernels.config import Config
from ssdprof.kernels.interface import Axis, Tolerances
from ssdprof.kernels.launch import LaunchPlan, TensorMeta, TensorRef
from ssdprof.profiling.measuring import compare
from ssdprof.profiling.measuring import measure as measure_module
from ssdprof.profiling.measuring.check import Errors, judge, merge, share_of
from ssdprof.profiling.measuring.compare import as_rows, is_cut, output_errors, row_norm_rms
from ssdprof.profiling.measuring.guard import GuardedOutput, finite_poison
from ssdprof.profiling.measuring.locate import locate
from ssdprof.profiling.measuring.measure import measure, prepare

TOLERANCES = Tolerances(1e-2, 5e-2, "it suits the tests", output="out")
EXACT = Tolerances(0.0, 0.0, "integers are compared exactly", output="out")
NAN, INF = math.nan, math.inf
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64, *FLOAT8)
INTEGERS = (
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
)  # fmt: skip


def exact(out: torch.Tensor, reference: torch.Tensor) -> Errors:
    return output_errors(out, reference, EXACT, row_norm_rms(reference))


def special(out: torch.Tensor, reference: torch.Tensor, tolerances: Tolerances = TOLERANCES) -> Errors:
    assert not math.isfinite(row_norm_rms(reference))
    return output_errors(out, reference, tolerances, row_norm_rms(reference, special=True), special=True)


def ordinary(dtype: torch.dtype) -> torch.Tensor:
    """Rows of small numbers, all of which each dtype has."""
    return (1 + torch.arange(32).reshape(4, 8) % 7).to(torch.float32).to(dtype)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_equal_outputs_of_any_dtype_have_no_error(dtype: torch.dtype) -> None:
    assert Errors(0.0, 0.0, 0, 4) == exact(ordinary(dtype), ordinary(dtype))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_any_other_integer_makes_its_row_differ(dtype: torch.dtype) -> None:
    out = ordinary(dtype)
    out.view(torch.uint8)[2, 0] ^= 1
    found = exact(out, ordinary(dtype))
    assert (1, True) == (found.bad_rows, found.relative_error > 0)
    assert ("wrong", "1 of 4 rows differ") == judge(merge([found], True, 3), {"out": EXACT})


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint64])
def test_integers_that_float64_cannot_tell_apart_differ(dtype: torch.dtype) -> None:
    reference = torch.full((3, 4), 1 << 60, dtype=torch.int64).to(dtype)
    out = reference.clone()
    out.view(torch.int64)[1, 2] += 1
    assert 1 == exact(out, reference).bad_rows


def test_a_bool_differs_if_it_is_another_or_was_never_written() -> None:
    reference = torch.tensor([[True, False], [True, True], [False, False]])
    assert 0 == exact(reference.clone(), reference).bad_rows
    other, unwritten = reference.clone(), reference.clone()
    other[2, 0] = True
    unwritten.view(torch.uint8)[1, 0] = 0xA5
    assert [1, 1] == [exact(one, reference).bad_rows for one in (other, unwritten)]


@pytest.mark.parametrize("dtype", FLOAT8)
def test_outputs_of_eight_bits_are_compared_as_float32(dtype: torch.dtype) -> None:
    reference = ordinary(torch.float32)
    out = reference.to(dtype)
    assert 0 == output_errors(out, reference, TOLERANCES, row_norm_rms(reference)).bad_rows
    out[3] = torch.full((8,), 16.0).to(dtype)
    assert 1 == output_errors(out, reference, TOLERANCES, row_norm_rms(reference)).bad_rows
    out[1] = torch.full((8,), NAN).to(dtype)
    found = output_errors(out, reference, TOLERANCES, row_norm_rms(reference))
    assert (2, True) == (found.bad_rows, math.isnan(found.relative_error))


def test_outputs_of_float64_are_compared_in_float64() -> None:
    reference = torch.full((2, 4), 1.0, dtype=torch.float64)
    found = output_errors(reference + 1e-12, reference, TOLERANCES, row_norm_rms(reference))
    assert pytest.approx(1e-12, rel=1e-3) == found.relative_error


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_is_not_finite_in_both_adds_nothing_to_errors_and_norms(dtype: torch.dtype, value: float) -> None:
    reference = ordinary(dtype)
    reference[1, 3] = value
    out = reference.clone()
    assert Errors(0.0, 0.0, 0, 4) == special(out, reference)
    out[2, 0] *= 2
    found = special(out, reference)
    rest = ordinary(torch.float64)
    rest[1, 3] = 0.0
    expected = float(ordinary(torch.float64)[2, 0] / rest.norm())
    assert (pytest.approx(expected, rel=1e-3), 1) == (found.relative_error, found.bad_rows)


@pytest.mark.parametrize(
    ("expected", "given"), [(NAN, 1.0), (NAN, INF), (INF, -INF), (INF, 3e38), (-INF, NAN), (2.0, NAN)]
)
def test_another_value_where_either_is_not_finite_is_wrong(expected: float, given: float) -> None:
    reference = ordinary(torch.float32)
    reference[0, 0] = NAN
    out = reference.clone()
    reference[2, 5], out[2, 5] = expected, given
    found = special(out, reference)
    assert (True, 1) == (math.isnan(found.relative_error), found.bad_rows)
    assert "NaN, inf or never-written elements among them" in judge(merge([found], True, 3), {"out": TOLERANCES})[1]


def test_the_least_number_as_a_mask_does_not_hide_what_is_wrong_beside_it() -> None:
    mask = torch.finfo(torch.float32).min
    reference = ordinary(torch.float32)
    reference[1, 4:] = mask
    out = reference.clone()
    assert 0 == special(out, reference).bad_rows
    out[1, 0] = 9.0
    assert 1 == special(out, reference).bad_rows
    assert Errors(0.0, 0.0, 0, 4) == special(reference.bfloat16(), reference)  # where it is -inf


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("expected", [NAN, 0.0, 1.0])
def test_what_was_never_written_is_wrong_where_nan_is_correct_and_beside_it(
    dtype: torch.dtype, expected: float
) -> None:
    guarded = GuardedOutput({"out": TensorMeta((4, 8), str(dtype).removeprefix("torch."), "out")}, "cpu", 256)
    guarded.poison({"out"})
    out = guarded.tensors["out"]
    reference = ordinary(torch.float32)
    reference[0, 0], reference[2, 1] = NAN, expected
    written = out.view(torch.uint8).clone()
    out.copy_(reference.to(dtype))
    assert 0 == special(out, reference).bad_rows
    size = out.element_size()
    out.view(torch.uint8)[2, size : 2 * size] = written[2, size : 2 * size]
    found = special(out, reference)
    assert (True, 1) == (math.isnan(found.relative_error), found.bad_rows)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_finite_poison_is_a_large_number_of_its_dtype(dtype: torch.dtype) -> None:
    value = finite_poison(dtype)
    assert torch.full((1,), value, dtype=torch.float64).to(dtype).double().item() == value > 100


def test_where_nan_is_missing_is_told() -> None:
    reference = ordinary(torch.float32)
    reference[2, 5] = NAN
    out = reference.nan_to_num(0.0)
    norm = row_norm_rms(reference, special=True)
    found = locate(out, reference, TOLERANCES, norm, (Axis("row"), Axis("lane")), {"row": 2}, special=True)
    assert ("nan", "NaN or infinity missing or out of place in 1 row, all in one tile: row 2, lane 5") == (
        found.code,
        found.message,
    )


def test_where_integers_differ_is_told() -> None:
    reference = ordinary(torch.int32)
    out = reference.clone()
    out[1:3, 4:6] += 1
    found = locate(out, reference, EXACT, row_norm_rms(reference), (Axis("row"), Axis("lane")), {"row": 1})
    assert found.message.startswith("50 % of rows: rows 1 to 2, lanes 4 to 5; worst: row ")


@pytest.mark.parametrize("shape", [(0,), (0, 8), (4, 0), (2, 0, 8)])
def test_an_output_without_elements_is_correct(shape: tuple[int, ...]) -> None:
    out = as_rows(torch.zeros(shape))
    assert 0.0 == row_norm_rms(out)
    found = output_errors(out, out, TOLERANCES, 0.0)
    assert (0.0, 0.0, 0) == (found.relative_error, found.worst_row_error, found.bad_rows)


@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        ((), (1, 1)), ((5,), (1, 5)), ((128,), (1, 128)), ((129,), (2, 128)), ((1000,), (8, 128)), ((512,), (4, 128)),
        ((1, 1, 512), (4, 128)), ((2, 512), (2, 512)), ((512, 1), (512, 1)),
    ],
)  # fmt: skip
def test_a_single_long_row_is_cut_into_several(shape: tuple[int, ...], rows: tuple[int, int]) -> None:
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    cut = as_rows(tensor)
    assert (rows, rows != (*(1, 1), *shape)[-2:] and is_cut(tensor)) == (tuple(cut.shape), is_cut(tensor))
    assert torch.equal(tensor.flatten(), cut.flatten()[: tensor.numel()])
    assert not cut.flatten()[tensor.numel() :].any()


@pytest.mark.parametrize("elements", [100_000, 1_000_000])
def test_one_wrong_element_among_millions_in_one_dimension_is_found(elements: int) -> None:
    reference = torch.ones(elements)
    out = reference.clone()
    out[elements // 2] = 2.0
    assert 1 == output_errors(as_rows(out), as_rows(reference), TOLERANCES, row_norm_rms(as_rows(reference))).bad_rows


def test_an_error_over_a_tolerance_of_zero_is_nothing_or_infinite() -> None:
    assert (0.0, INF, 2.0) == (share_of(0.0, 0.0), share_of(1e-9, 0.0), share_of(0.2, 0.1))
    assert math.isnan(share_of(NAN, 0.1))


@pytest.mark.parametrize("piece_elements", [1, 9, 1000])
def test_special_elements_are_found_in_pieces_of_any_size(monkeypatch: pytest.MonkeyPatch, piece_elements: int) -> None:
    monkeypatch.setattr(compare, "PIECE_ELEMENTS", piece_elements)
    reference = ordinary(torch.float32)
    reference[3] = -INF
    wrong: Mapping[int, float] = {0: NAN, 3: 0.0}
    assert 0 == special(reference.clone(), reference).bad_rows
    for row, value in wrong.items():
        out = reference.clone()
        out[row, 1] = value
        assert 1 == special(out, reference).bad_rows


class OddShapes(FakeSubject):
    """With an output of no elements and one of no dimensions beside its own."""

    def tensors(self) -> Mapping[str, TensorMeta]:
        return {
            **super().tensors(),
            "none": TensorMeta((0, 5), "float32", "out"),
            "one": TensorMeta((), "int64", "out"),
        }

    def reference(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        more = {"none": torch.zeros(0, 5), "one": torch.tensor(41)}
        return {**super().reference(inputs), **more}

    def tolerances(self) -> tuple[Tolerances, ...]:
        return (*super().tolerances(), replace(EXACT, output="none"), replace(EXACT, output="one", against="another"))

    def launch(self, config: Config) -> LaunchPlan:
        plan = super().launch(config)
        return replace(plan, args={**plan.args, "none": TensorRef("none", "float32"), "one": TensorRef("one", "int64")})

    def axes(self, output: str) -> Sequence[Axis]:
        return super().axes(output) if output in ("scaled", "total") else ()


@dataclass(frozen=True)
class _Kernel:
    value: int
    factor: float = 2.0

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def run(
            *, x: torch.Tensor, scaled: torch.Tensor, total: torch.Tensor, weights: torch.Tensor, **more: Any
        ) -> None:
            scaled.copy_(self.factor * x)
            total.add_(weights[:, None] * x)
            more["one"].fill_(self.value)

        return run


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (_Kernel(41), ("ok", "")),
        (_Kernel(42), ("differs", "another output than another: one: 1 of 1 rows differ")),
        (_Kernel(42, NAN), ("wrong", "scaled: 8 of 8 rows wrong, NaN, inf or never-written elements among them")),
    ],
)
def test_outputs_of_no_elements_and_of_no_dimensions_are_checked_and_nan_is_told_before_all(
    monkeypatch: pytest.MonkeyPatch, kernel: _Kernel, expected: tuple[str, str]
) -> None:
    monkeypatch.setattr(fake_launches, "odd_shapes", kernel, raising=False)
    monkeypatch.setattr(measure_module, "_session", None)
    subject = OddShapes()
    prepare(subject, HOST, seed=3)
    check = measure(subject.launch(fake("odd_shapes")), fake("odd_shapes"), "odd_shapes").check
    status, reason = judge(check, {one.output: one for one in subject.tolerances()})
    assert expected == (status, reason.partition("; ")[0])
