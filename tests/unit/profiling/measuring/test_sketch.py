"""Sketches of outputs: their distances are about the outputs' own, and equal outputs have equal ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from fake_kernel import CapturedSubject, FakeSubject, fake
from host_timer import HOST
from measured_here import planted

from ssdprof.profiling.measuring import measure as measure_module
from ssdprof.profiling.measuring import sketch as sketch_module
from ssdprof.profiling.measuring.measure import measure, prepare
from ssdprof.profiling.measuring.sketch import BUCKETS, sketch


def output(seed: int = 0, *shape: int) -> torch.Tensor:
    return torch.randn(shape or (500, 300), generator=torch.Generator().manual_seed(seed))


def of(tensor: torch.Tensor, norm: float = 1.0) -> tuple[float, ...]:
    return sketch({"out": tensor}, {"out": norm})


CHANGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "everywhere a little": lambda x: x + 1e-3 * output(1),
    "twice": lambda x: 2 * x,
    "by a constant": lambda x: x + 1,
    "one row": lambda x: x.index_fill(0, torch.tensor([7]), 0.0),
    "one column": lambda x: x.index_fill(1, torch.tensor([64]), 0.0),
    "the same in each row": lambda x: x + output(2, 300),
    "every 64th element": lambda x: x + (torch.arange(150_000) % 64 == 0).view(500, 300),
    "rounded": lambda x: x.bfloat16(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_distance_of_sketches_is_about_that_of_the_outputs(change: str) -> None:
    before = output()
    after = CHANGES[change](before)
    distance = float((after.double() - before).norm())
    assert pytest.approx(distance, rel=0.3) == math.dist(of(before), of(after))


def test_equal_outputs_have_equal_sketches_wherever_they_lie_and_whatever_their_strides() -> None:
    whole = output(0, 100, 70)
    copy = torch.empty(70, 100).t()
    copy.copy_(whole)
    assert of(whole) == of(copy)
    assert BUCKETS == len(of(whole))


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_pieces_of_any_size_give_the_same_sketch(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    whole = of(output(0, 1234))
    monkeypatch.setattr(sketch_module, "PIECE_ROWS", rows)
    assert pytest.approx(whole, rel=1e-4, abs=1e-6) == of(output(0, 1234))


def test_outputs_weigh_alike_whatever_their_norms() -> None:
    large, small = 1e6 * output(0), 1e-3 * output(1)
    norms = {"large": float(large.norm()), "small": float(small.norm())}
    both = sketch({"large": large, "small": small}, norms)
    assert pytest.approx(math.sqrt(2), rel=0.3) == math.hypot(*both)
    assert pytest.approx(1.0, rel=0.3) == math.dist(both, sketch({"large": large, "small": 2 * small}, norms))


def test_what_is_not_finite_counts_as_nothing() -> None:
    odd = output()
    odd[3, :4] = torch.tensor([math.nan, math.inf, -math.inf, torch.finfo(torch.float32).min])
    zero = odd.clone()
    zero[3, :4] = 0.0
    assert of(zero) == of(odd)


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.float8_e4m3fn, torch.bfloat16, torch.int64])
def test_outputs_of_any_dtype_have_a_sketch(dtype: torch.dtype) -> None:
    ones = torch.ones(1000).to(dtype)
    assert pytest.approx(math.sqrt(1000), rel=0.3) == math.hypot(*of(ones))


def test_an_output_without_elements_adds_nothing_and_a_norm_of_zero_is_none() -> None:
    assert (0.0,) * BUCKETS == of(torch.zeros(0, 4), 0.0)
    assert of(output()) == of(output(), 0.0)


def test_sums_are_kept_with_six_digits() -> None:
    assert all(value == float(f"{value:.6g}") for value in of(output()))


@pytest.fixture
def sketches(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[float, ...]]:
    """Those of some configs, measured."""
    monkeypatch.setattr(measure_module, "_session", None)
    prepare(CapturedSubject(), HOST, seed=3)
    planted(monkeypatch, "right_again", lambda *_: None)
    names = ("right", "right_again", "a_little_more", "wrong_scaled", "nan_rows", "unstable", "beyond")
    return {name: measure(FakeSubject().launch(fake(name)), fake(name), name).check.sketch for name in names}


def test_configs_that_are_ok_or_differ_have_one_and_no_others(sketches: dict[str, tuple[float, ...]]) -> None:
    assert {"right", "right_again", "a_little_more", "wrong_scaled"} == {name for name, one in sketches.items() if one}
    assert sketches["right"] == sketches["right_again"]


def test_distances_of_measured_configs_are_relative_to_the_reference(sketches: dict[str, tuple[float, ...]]) -> None:
    assert pytest.approx(0.004, rel=0.4) == math.dist(sketches["right"], sketches["a_little_more"])
    assert pytest.approx(0.5, rel=0.4) == math.dist(sketches["right"], sketches["wrong_scaled"])


def test_a_subject_with_a_correct_reference_takes_no_sketches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_module, "_session", None)
    prepare(FakeSubject(), HOST, seed=3)
    assert () == measure(FakeSubject().launch(fake()), fake(), "right").check.sketch
