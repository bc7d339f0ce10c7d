"""What of a verification is run on a GPU: the launches on zeros, and what the driver is asked."""

from __future__ import annotations

import ctypes
import pickle
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_runs import H100_ATTRIBUTES

from ssdprof.kernels.launch import DescriptorRef, LaunchPlan, TensorMeta, TensorRef
from ssdprof.profiling.gpu import driver
from ssdprof.profiling.hardware.limits import DRIVER_ATTRIBUTES
from ssdprof.profiling.ncu.program import read_launches, write_launches
from ssdprof.profiling.runs.measured import Loaded

ATTRIBUTES_AND_SMS = {**H100_ATTRIBUTES, "CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT": 132}


def test_launches_come_back_from_a_file_as_they_were(tmp_path: Path) -> None:
    tensors = {
        "x": TensorMeta((2, 3), "bfloat16"),
        "y": TensorMeta((2, 3), "float32", "in-out", strides=(1, 2), storage="pair", offset=6),
    }
    tile = DescriptorRef("x", "bfloat16", (2, 3), (3, 1), (1, 16))
    arguments = {
        "x_ptr": TensorRef("x", "bfloat16"),
        "y_ptr": TensorRef("y", "float32", offset=3),
        "x": tile,
        "sizes": (2, 3),
        "n": 3,
        "eps": 1.0,
        "flag": True,
        "none": None,
    }
    plans = {
        "b": LaunchPlan("module", "function", (2, 1), arguments, {"num_warps": 2}),
        "a": LaunchPlan("package.module", "other", (7,), {}, {}, file="/somewhere/module.py"),
    }

    write_launches(tmp_path / "todo", tensors, plans)

    assert (tensors, plans) == read_launches(tmp_path / "todo")
    assert ["b", "a"] == list(read_launches(tmp_path / "todo")[1])


class FakeKernel:
    """A kernel as Triton's: indexed by the grid, called with arguments and options; keeps what it was called with."""

    def __init__(self) -> None:
        self.called: list[dict[str, Any]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(**arguments: Any) -> Any:
            if arguments["n"] == 0:
                raise ValueError("n is 0")
            self.called.append({"grid": grid, **arguments})
            metadata = SimpleNamespace(num_warps=2, shared=41728)
            return SimpleNamespace(n_regs=255, n_spills=2, function=7, metadata=metadata)

        return launch


def test_the_target_launches_each_once_on_zeros_and_keeps_the_ids_of_those_that_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ssdprof.profiling.ncu import target as ncu_target

    kernel = FakeKernel()
    monkeypatch.setitem(sys.modules, "fake_kernels", SimpleNamespace(kernel=kernel))  # type: ignore[arg-type]
    monkeypatch.setattr(driver, "cuda_driver", lambda: None)
    monkeypatch.setattr(driver, "driver_blocks_per_sm", lambda *_: 4)
    tensors = {"x": TensorMeta((2, 3), "bfloat16")}
    plan = LaunchPlan("fake_kernels", "kernel", (5,), {"x_ptr": TensorRef("x", "bfloat16"), "n": 3}, {"num_warps": 2})
    bad = replace(plan, args={**plan.args, "n": 0})
    todo, done = tmp_path / "todo", tmp_path / "done"
    write_launches(todo, tensors, {"a": plan, "b": bad, "c": plan})
    ncu_target.main(str(todo), str(done), "cpu")
    assert "a\nc\n" == done.read_text()
    assert "b: ValueError: n is 0\n" == capsys.readouterr().err
    assert [(5,), (5,)] == [call["grid"] for call in kernel.called]
    assert ("torch.bfloat16", (2, 3), 0.0) == (
        str(kernel.called[0]["x_ptr"].dtype),
        tuple(kernel.called[0]["x_ptr"].shape),
        float(kernel.called[0]["x_ptr"].sum()),
    )
    assert Loaded(255, 8, 4) == ncu_target.launch_once(plan)


class Sums:
    """A subject with a weight that is read only in the storage of `total`, which is read and written, and an output."""

    def tensors(self) -> dict[str, TensorMeta]:
        return {
            "x": TensorMeta((2, 3), "float32"),
            "total": TensorMeta((2,), "float32", "in-out", strides=(2,), storage="pair"),
            "weight": TensorMeta((2,), "float32", strides=(2,), storage="pair", offset=1),
            "out": TensorMeta((2,), "float32", "out"),
        }

    def inputs(self, device: str, seed: int) -> dict[str, Any]:
        import torch

        x = torch.full((2, 3), float(seed), device=device)
        return {"x": x, "total": torch.tensor([1.0, 2.0]), "weight": torch.tensor([5.0, 7.0])}


def test_to_count_each_launch_finds_the_inputs_of_the_seed_whatever_those_before_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssdprof.profiling.ncu import target as ncu_target

    found = []

    class Adds:
        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            def launch(x: Any, total: Any, weight: Any, out: Any) -> Any:
                found.append((float(x.sum()), total.tolist(), weight.tolist(), total.stride(), tuple(out.shape)))
                assert total.untyped_storage().data_ptr() == weight.untyped_storage().data_ptr()
                total += weight
                weight.fill_(0.0)
                metadata = SimpleNamespace(num_warps=2, shared=0)
                return SimpleNamespace(n_regs=32, n_spills=0, function=7, metadata=metadata)

            return launch

    monkeypatch.setitem(sys.modules, "fake_kernels", SimpleNamespace(kernel=Adds()))  # type: ignore[arg-type]
    monkeypatch.setattr(driver, "cuda_driver", lambda: None)
    monkeypatch.setattr(driver, "driver_blocks_per_sm", lambda *_: 4)
    names = ("x", "total", "weight", "out")
    plan = LaunchPlan("fake_kernels", "kernel", (2,), {name: TensorRef(name, "float32") for name in names}, {})
    work, done = tmp_path / "work", tmp_path / "done"
    work.write_bytes(pickle.dumps((Sums(), 3, {"a": plan, "b": plan})))

    ncu_target.main_on_inputs(str(work), str(done), "cpu")

    assert "a\nb\n" == done.read_text()
    assert [(18.0, [1.0, 2.0], [5.0, 7.0], (2,), (2,))] * 2 == found


def test_tensors_have_their_strides_and_share_the_storage_that_they_name() -> None:
    from ssdprof.profiling.ncu import target as ncu_target

    pair = {
        "left": TensorMeta((2, 3), "float32", strides=(6, 1), storage="pair"),
        "right": TensorMeta((2, 3), "float32", "out", strides=(6, 1), storage="pair", offset=3),
        "alone": TensorMeta((3,), "int32"),
        "bytes": TensorMeta((9,), "int8", storage="mixed"),
        "words": TensorMeta((2,), "int32", storage="mixed"),
        "none": TensorMeta((0, 4), "float32"),
    }
    assert {} == ncu_target.prepare(pair, "cpu")
    left, right, alone, in_bytes, words, none = (ncu_target._tensors[name] for name in pair)

    right.fill_(7.0)
    assert ((6, 1), (2, 3), 3) == (right.stride(), tuple(right.shape), right.storage_offset())
    assert 0.0 == float(left.abs().sum())
    assert left.data_ptr() + 12 == right.data_ptr()
    assert left.untyped_storage().nbytes() == 4 * 12
    words.fill_(0x01010101)
    assert [1] * 8 + [0] == in_bytes.tolist()
    assert (0, 4) == tuple(none.shape)
    assert alone.untyped_storage().data_ptr() != left.untyped_storage().data_ptr()


def test_driver_attributes_are_asked_by_the_numbers_of_cuda_h() -> None:
    class Cuda:
        @staticmethod
        def cuInit(flags: int) -> int:  # noqa: N802  # CUDA's name
            return flags

        @staticmethod
        def cuDeviceGetAttribute(value: Any, number: int, device: int) -> int:  # noqa: N802  # CUDA's name
            if number == 111:
                return 1
            value._obj.value = 1000 + number
            return device

    found = driver.driver_attributes(Cuda)
    assert len(DRIVER_ATTRIBUTES) == len(found)
    assert 1016 == found["CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT"]
    assert "CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK" not in found
    assert set(ATTRIBUTES_AND_SMS) == set(driver.ATTRIBUTE_NUMBERS)
    assert ctypes.sizeof(ctypes.c_int) == 4


@pytest.mark.parametrize(("status", "expected"), [(0, 3), (1, None)])
def test_blocks_per_sm_are_the_drivers_or_unknown_where_it_refuses(status: int, expected: int | None) -> None:
    class Cuda:
        @staticmethod
        def cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks: Any, function: Any, threads: Any, smem: Any) -> int:  # noqa: N802
            assert (7, 128, 4096) == (function.value, threads.value, smem.value)
            blocks._obj.value = 3
            return status

    assert expected == driver.driver_blocks_per_sm(Cuda, 7, 128, 4096)


def test_attribute_numbers_are_those_of_tritons_cuda_h() -> None:
    import triton

    from ssdprof.profiling.gpu.driver import ATTRIBUTE_NUMBERS

    header = Path(triton.__file__).parent / "backends" / "nvidia" / "include" / "cuda.h"
    if not header.exists():
        pytest.skip("this Triton has no cuda.h")
    text = header.read_text(encoding="utf-8", errors="replace")
    for name, number in ATTRIBUTE_NUMBERS.items():
        assert re.search(rf"\b{name} = {number},", text), name
