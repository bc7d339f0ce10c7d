"""A launch's arguments as data: what is kept of each kind, and what cannot be."""

from __future__ import annotations

import json
from enum import IntEnum
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
import triton.language as tl
from triton.runtime.jit import reinterpret
from triton.tools.tensor_descriptor import TensorDescriptor

from ssdprof.kernels.captured.live.shapes import shapes_text
from ssdprof.kernels.captured.live.values import Arguments, CannotKeep, plain, statistics_line
from ssdprof.kernels.captured.model import DescriptorArg, DtypeArg, TensorArg


class Order(IntEnum):
    SECOND = 2


class Pair(NamedTuple):
    first: int
    second: int


def test_numbers_strings_and_dtypes_are_kept_as_they_are() -> None:
    given: dict[str, Any] = {"n": 3, "x": 0.5, "flag": True, "name": "tanh", "none": None, "pair": (1, (2.0, "a"))}
    dtypes = {"tl": tl.float8e4nv, "torch": torch.bfloat16}

    assert given == plain(given)
    assert {"tl": DtypeArg("fp8e4nv"), "torch": DtypeArg("torch.bfloat16")} == plain(dtypes)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(tl.constexpr(64), 64), (Order.SECOND, 2), (torch.Size([3])[0], 3), (torch.tensor(2).numpy()[()], 2)],
)
def test_what_stands_for_a_plain_value_becomes_one(value: Any, expected: Any) -> None:
    kept = plain({"n": value})["n"]

    assert (expected, type(expected)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1, 2], "n: an argument of type list cannot be kept"),
        (Pair(1, 2), "n: an argument of type Pair cannot be kept"),
        (object(), "n: an argument of type object cannot be kept"),
        (torch.zeros(2), "n: a tensor cannot be kept as an option"),
        (torch.zeros(2, dtype=torch.complex64), "n: tensors of dtype complex64 cannot be kept"),
        (torch.zeros(2, device="meta"), "n: a Tensor on device meta cannot be kept"),
        (SimpleNamespace(data_ptr=lambda: 0), "n: an object with an address, of type SimpleNamespace"),
    ],
)
def test_anything_else_is_refused_with_the_name_and_the_reason(value: Any, reason: str) -> None:
    with pytest.raises(CannotKeep, match=reason):
        plain({"n": value})


def test_a_view_that_is_passed_twice_is_one_tensor() -> None:
    memory, arguments = torch.zeros(10), Arguments()

    kept = arguments.all_of({"x": memory[2:], "out": memory[2:], "other": memory[1:]})

    assert {"x": TensorArg(0), "out": TensorArg(0), "other": TensorArg(1)} == kept
    assert [["x", "out"], ["other"]] == arguments.used_by


def test_a_parameter_that_learns_is_a_plain_tensor() -> None:
    arguments = Arguments()

    arguments.all_of({"w": torch.nn.Parameter(torch.ones(3))})

    assert not arguments.tensors[0].requires_grad
    assert type(arguments.tensors[0]) is torch.Tensor


def test_a_tensor_that_is_reinterpreted_has_the_dtype_that_the_kernel_sees() -> None:
    arguments = Arguments()

    arguments.all_of({"x": reinterpret(torch.zeros(4, dtype=torch.uint8), tl.float8e5)})

    assert torch.float8_e5m2 == arguments.tensors[0].dtype


def test_a_descriptor_is_kept_with_its_tensor() -> None:
    arguments = Arguments()

    kept = arguments.all_of({"desc": TensorDescriptor(torch.zeros(8, 16), [8, 16], [16, 1], [4, 16])})

    assert {"desc": DescriptorArg(0, (8, 16), (16, 1), (4, 16))} == kept


def test_a_descriptor_that_pads_with_nan_is_refused() -> None:
    descriptor = TensorDescriptor(torch.zeros(8, 16), [8, 16], [16, 1], [4, 16], "nan")

    with pytest.raises(CannotKeep, match="pads with NaN"):
        Arguments().all_of({"desc": descriptor})


def test_statistics_leave_nan_out_and_say_its_share() -> None:
    line = statistics_line(1, "x", torch.tensor([1.0, 3.0, torch.nan, torch.nan]))

    assert line.startswith("data: ")
    facts = json.loads(line.removeprefix("data: "))
    assert {"tensor": 1, "name": "x", "nan_share": 0.5, "min": 1.0, "max": 3.0, "mean": 2.0, "std": 1.0} == facts


def test_statistics_of_whole_numbers_are_their_range() -> None:
    facts = json.loads(statistics_line(0, "index", torch.tensor([7, -2], dtype=torch.int32)).removeprefix("data: "))

    assert {"tensor": 0, "name": "index", "min": -2, "max": 7} == facts


def test_infinite_values_have_no_statistics_that_json_lacks() -> None:
    facts = json.loads(statistics_line(0, "x", torch.tensor([torch.inf, 1.0])).removeprefix("data: "))

    assert {"tensor": 0, "name": "x", "nan_share": 0.0, "min": 1.0} == facts


def test_shapes_are_told_in_a_few_words() -> None:
    values = {"x": torch.zeros(1, 5, dtype=torch.bfloat16), "n": 5, "pair": (torch.zeros(2, dtype=torch.int64),)}

    assert "x[1, 5] bf16, pair[2] i64" == shapes_text(values)
