"""A launch whose parts contradict each other is refused, whatever the checksums say."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from fake_captures import SOURCES, launch

from ssdprof.kernels.captured.consistency import check_launch
from ssdprof.kernels.captured.model import DescriptorArg, KeptStorage, KeptTensor, Ref, TensorArg

A, B = "a" * 64, "b" * 64
BLOBS = {A: 32, B: 4}


def tensor(**changes: Any) -> tuple[KeptTensor]:
    """The tensor of a launch with changes."""
    return (replace(launch(A).tensors[0], **changes),)


def test_a_launch_that_fits_together_is_taken() -> None:
    check_launch(launch(A, storages=(KeptStorage(32, A, A, B),)), BLOBS)
    check_launch(launch(A, tensors=tensor(shape=(2**60, 8), strides=(0, 1))), BLOBS)
    check_launch(launch(A, tensors=tensor(shape=(0, 99), strides=(99, 1), offset=99)), BLOBS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"storages": (KeptStorage(32, B),)}, "storage 0 before must have 32 bytes, got 4"),
        ({"storages": (KeptStorage(32, A, B),)}, "storage 0 after must have 32 bytes, got 4"),
        ({"storages": (KeptStorage(32, A, A, A),)}, "storage 0 written must have 4 bytes, got 32"),
        ({"storages": (KeptStorage(32, "c" * 64),)}, "the bytes of storage 0 before are not there"),
        ({"storages": (KeptStorage(-8, ""),)}, "storage 0 must not have -8 bytes"),
        ({"tensors": tensor(dtype="complex64")}, "tensor 0 has dtype complex64, which must be one of float64, "),
        ({"tensors": tensor(strides=())}, "tensor 0 has 1 dimensions and 0 strides"),
        ({"tensors": tensor(strides=(-1,))}, "tensor 0 must have no negative size, stride or offset"),
        ({"tensors": tensor(storage=1)}, "tensor 0 lies in storage 1, but there are 1"),
        ({"tensors": tensor(offset=1)}, "tensor 0 needs 36 bytes of storage 0, which has 32"),
        ({"tensors": tensor(shape=(2**70,))}, "which has 32"),
        ({"args": {"y": 1}}, "y of args is no parameter of kernel"),
        ({"constexprs": ("Y",)}, "Y of constexprs is no parameter of kernel"),
        ({"float_atomics": ("y",)}, "y of atomics is no parameter of kernel"),
        ({"spreads": {"y": 0.1}}, "y of spreads is no parameter of kernel"),
        ({"spreads": {"n": -0.1}}, "the spread of n must be a finite number that is not negative"),
        ({"spreads": {"n": math.nan}}, "the spread of n must be a finite number that is not negative"),
        ({"args": {"n": (1, (TensorArg(1),))}}, "n is tensor 1, but there are 1"),
        ({"args": {"n": DescriptorArg(0, (8,), (1,), ())}}, "n is a descriptor whose shape, strides and block differ"),
        ({"grid": ()}, r"grid \(\) must be one to three numbers"),
        ({"grid": (1, -1)}, "must be one to three numbers that are not negative"),
        ({"grids": (({}, (1, 1, 1, 1)),)}, "must be one to three numbers"),
        ({"sources": replace(SOURCES, kernel=Ref("m1", "kernel"))}, "the text of module m1 is not there"),
        ({"sources": replace(SOURCES, grid=Ref("m2", "grid"))}, "the text of module m2 is not there"),
        ({"sources": replace(SOURCES, heuristics=(("X", Ref("m3", "x")),))}, "the text of module m3 is not there"),
    ],
)
def test_a_contradiction_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_launch(launch(A, **changes), BLOBS)
