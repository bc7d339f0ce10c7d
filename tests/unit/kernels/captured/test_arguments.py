"""Tensors made of a captured file are what the launch had: bits, shapes, strides, and what they share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_captures import launch
from hypothesis import given
from hypothesis import strategies as st

from ssdprof.kernels.captured.arguments import (
    has_data,
    kept_tensor,
    memoryview_of,
    read_launch_inputs,
    read_launch_outputs,
    storage_from,
    tensor_from,
    unpacked,
    written_mask,
)
from ssdprof.kernels.captured.file import CaptureFileError, Reader, Writer
from ssdprof.kernels.captured.model import CapturedLaunch, KeptStorage, KeptTensor
from ssdprof.kernels.errors import TensorError
from ssdprof.kernels.launch import DTYPE_BYTES, Role

DTYPES = sorted(DTYPE_BYTES)


def kept(
    path: Path,
    tensors: list[KeptTensor],
    before: list[bytes],
    after: list[bytes] | None = None,
    written: list[bytes] | None = None,
) -> CapturedLaunch:
    """A launch of these tensors, kept in a file; `before`, `after` and `written` by storage."""
    with Writer(path) as writer:
        storages = tuple(
            KeptStorage(
                len(data),
                writer.add_blob(data),
                writer.add_blob(after[i]) if after and after[i] else "",
                writer.add_blob(written[i]) if written and written[i] else "",
            )
            for i, data in enumerate(before)
        )
        one = replace(launch(), tensors=tuple(tensors), storages=storages)
        writer.add_launch(one)
        writer.finish()
    return one


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back_bit_by_bit(tmp_path: Path, dtype: str) -> None:
    size = DTYPE_BYTES[dtype]
    data = bytes([0, 1] * 8 * size) if dtype == "bool" else bytes(range(16 * size))
    tensor = torch.frombuffer(bytearray(data), dtype=getattr(torch, dtype))
    one = kept(tmp_path / "x", [kept_tensor(tensor, 0)], [bytes(memoryview_of(tensor))])

    with Reader(tmp_path / "x") as reader:
        again = read_launch_inputs(reader, one, "cpu")[0]
    assert (tensor.dtype, tensor.shape) == (again.dtype, again.shape)
    assert data == bytes(memoryview_of(again))


@given(st.data())
def test_any_view_sees_the_elements_that_it_saw(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(["int16", "int32", "uint8", "int64"]))
    shape = data.draw(st.lists(st.integers(0, 3), max_size=4).map(tuple))
    strides = tuple(data.draw(st.integers(0, 7)) for _ in shape)
    offset = data.draw(st.integers(0, 5))
    ragged = data.draw(st.integers(0, 3))
    base = torch.arange(5 + 4 * 2 * 7 + 1, dtype=getattr(torch, dtype))
    tensor = base.as_strided(shape, strides, offset)

    raw = storage_from(bytes(memoryview_of(tensor)) + bytes(ragged), "cpu")
    again = tensor_from(raw, kept_tensor(tensor, 0))
    assert torch.equal(tensor, again)
    assert (tensor.stride(), tensor.storage_offset()) == (again.stride(), again.storage_offset())


def test_tensors_of_one_storage_share_it_and_others_do_not(tmp_path: Path) -> None:
    tensors = [
        KeptTensor(0, "int32", (4,), (1,), 0),
        KeptTensor(0, "int8", (2,), (2,), 5),
        KeptTensor(1, "int32", (4,), (1,), 0),
    ]
    one = kept(tmp_path / "x", tensors, [bytes(16), bytes(16)])

    with Reader(tmp_path / "x") as reader:
        made = read_launch_inputs(reader, one, "cpu")
        made[0].fill_(-1)
        assert [-1, -1] == made[1].tolist()
        assert [0] * 4 == made[2].tolist()
        assert [0] * 4 == read_launch_inputs(reader, one, "cpu")[0].tolist()


def test_outputs_are_the_written_tensors_as_the_launch_left_them(tmp_path: Path) -> None:
    roles: list[Role] = ["in", "out", "in-out", "in-out"]
    tensors = [KeptTensor(i, "uint8", (2,), (1,), 0, role) for i, role in enumerate(roles)]
    before = [bytes([i, i]) for i in range(4)]
    one = kept(tmp_path / "x", tensors, before, [b"", b"\x0b\x0b", b"\x0c\x0c", b""])

    with Reader(tmp_path / "x") as reader:
        inputs, outputs = read_launch_inputs(reader, one, "cpu"), read_launch_outputs(reader, one, "cpu")
    assert {i: [i, i] for i in range(4)} == {i: tensor.tolist() for i, tensor in inputs.items()}
    assert {1: [11, 11], 2: [12, 12], 3: [3, 3]} == {i: tensor.tolist() for i, tensor in outputs.items()}


@given(st.data())
def test_an_element_is_written_if_a_byte_of_it_was(tmp_path_factory: Any, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(["float64", "float16", "uint8"]))
    size = DTYPE_BYTES[dtype]
    shape = data.draw(st.lists(st.integers(0, 3), max_size=3).map(tuple))
    strides = tuple(data.draw(st.integers(0, 5)) for _ in shape)
    offset = data.draw(st.integers(0, 3))
    length = (3 + 3 * 2 * 5 + 1) * size + data.draw(st.integers(0, 7))
    flags = np.array(data.draw(st.lists(st.booleans(), min_size=length, max_size=length)))
    path = tmp_path_factory.mktemp("masks") / "x"
    tensor = KeptTensor(0, dtype, shape, strides, offset, "out")
    one = kept(path, [tensor], [bytes(length)], [b"\x01" * length], [np.packbits(flags).tobytes()])

    with Reader(path) as reader:
        mask = written_mask(reader, one, 0, "cpu")
    assert shape == mask.shape
    for index in np.ndindex(*shape):
        start = (offset + sum(i * stride for i, stride in zip(index, strides, strict=True))) * size
        assert flags[start : start + size].any() == mask[index].item()


@pytest.mark.parametrize(("expected", "role"), [(False, "in"), (True, "out"), (True, "in-out")])
def test_what_was_not_found_out_counts_as_written(tmp_path: Path, expected: bool, role: Role) -> None:
    one = kept(tmp_path / "x", [KeptTensor(0, "float32", (2, 2), (2, 1), 0, role)], [bytes(16)])

    with Reader(tmp_path / "x") as reader:
        assert [[expected] * 2] * 2 == written_mask(reader, one, 0, "cpu").tolist()


def test_bits_are_unpacked_as_numpy_packs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssdprof.kernels.captured.arguments._PIECE_BYTES", 7)
    flags = np.random.default_rng(0).integers(0, 2, 8 * 100).astype(bool)

    assert flags.tolist() == unpacked(torch.from_numpy(np.packbits(flags))).tolist()


def test_bytes_are_of_the_whole_storage_and_not_copied() -> None:
    tensor = torch.arange(6, dtype=torch.int16)[2:4]
    view = memoryview_of(tensor)

    assert torch.arange(6, dtype=torch.int16).numpy().tobytes() == view
    tensor[0] = 9
    assert 9 == view[4]
    assert b"" == memoryview_of(torch.empty(0))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.empty(2, device="meta"), "on meta, torch.strided, cannot be seen"),
        (torch.eye(2).to_sparse(), "torch.sparse_coo, cannot be seen"),
    ],
)
def test_bytes_of_what_is_elsewhere_are_refused(tensor: torch.Tensor, message: str) -> None:
    with pytest.raises(TensorError, match=message):
        memoryview_of(tensor)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (
            torch.empty(2, dtype=torch.complex64),
            "a tensor of complex64 cannot be kept: the dtype must be one of float64",
        ),
        (torch.eye(2).to_sparse(), "layout torch.sparse_coo"),
        (torch.ones(2, dtype=torch.complex64).conj().imag, "negated"),
    ],
)
def test_a_tensor_whose_elements_are_not_its_bytes_is_refused(tensor: torch.Tensor, message: str) -> None:
    with pytest.raises(TensorError, match=message):
        kept_tensor(tensor, 0)


def test_a_storage_that_is_too_small_is_refused() -> None:
    raw = storage_from(bytes(15), "cpu")

    with pytest.raises(TensorError, match="a tensor of 16 bytes does not fit into a storage of 15"):
        tensor_from(raw, KeptTensor(0, "float32", (4,), (1,), 0))
    with pytest.raises(TensorError, match="complex64 cannot be made"):
        tensor_from(raw, KeptTensor(0, "complex64", (1,), (1,), 0))


def test_a_launch_without_data_says_so(tmp_path: Path) -> None:
    with Writer(tmp_path / "x") as writer:
        one = launch("")
        writer.add_launch(one)
        writer.finish()

    assert not has_data(one)
    with (
        Reader(tmp_path / "x") as reader,
        pytest.raises(CaptureFileError, match="the data of kernel, launch 1, was not"),
    ):
        read_launch_inputs(reader, one, "cpu")
