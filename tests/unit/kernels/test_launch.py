"""A launch as a value: tensors with strides and offsets, and arguments bound to real memory or to none."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssdprof.kernels.launch import DTYPE_BYTES, DescriptorRef, LaunchPlan, TensorMeta, TensorRef, capability, has_tma


class Kernel:
    """Notes what it is launched with, as `kernel[grid](...)` of Triton does."""

    def __init__(self) -> None:
        self.launches: list[tuple[tuple[int, ...], dict[str, Any]]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(**arguments: Any) -> str:
            self.launches.append((grid, arguments))
            return "compiled"

        return launch


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    one = Kernel()
    monkeypatch.setitem(sys.modules, "made_up_kernels", SimpleNamespace(scan=one))
    return one


def plan(**args: Any) -> LaunchPlan:
    return LaunchPlan("made_up_kernels", "scan", (3, 2), args, {"num_warps": 4})


@pytest.mark.parametrize(
    ("meta", "stride", "numel", "size_bytes", "extent"),
    [
        (TensorMeta((2, 3, 4), "float32"), (12, 4, 1), 24, 96, 24),
        (TensorMeta((5,), "bfloat16"), (1,), 5, 10, 5),
        (TensorMeta((), "int64"), (), 1, 8, 1),
        (TensorMeta((2, 3), "float32", strides=(10, 2)), (10, 2), 6, 24, 15),
        (TensorMeta((3, 2), "float16", strides=(1, 3)), (1, 3), 6, 12, 6),
        (TensorMeta((4, 2), "int8", strides=(0, 1)), (0, 1), 8, 8, 2),
        (TensorMeta((2, 3), "float32", offset=7), (3, 1), 6, 24, 13),
        (TensorMeta((2, 3), "float32", strides=(10, 2), offset=5), (10, 2), 6, 24, 20),
        (TensorMeta((2, 0, 4), "float32"), (4, 4, 1), 0, 0, 0),
        (TensorMeta((0, 4), "float32", offset=3), (4, 1), 0, 0, 3),
    ],
)
def test_strides_count_bytes_and_extent_of_a_tensor(
    meta: TensorMeta, stride: tuple[int, ...], numel: int, size_bytes: int, extent: int
) -> None:
    assert (stride, numel, size_bytes, extent) == (meta.stride, meta.numel, meta.size_bytes, meta.extent)


sizes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@given(sizes)
def test_a_contiguous_tensor_has_torchs_strides(shape: tuple[int, ...]) -> None:
    assert torch.empty(shape).stride() == TensorMeta(shape, "float32").stride


@given(sizes, st.data())
def test_the_extent_is_the_smallest_storage_that_holds_the_tensor(shape: tuple[int, ...], data: st.DataObject) -> None:
    strides = tuple(data.draw(st.integers(0, 5)) for _ in shape)
    meta = TensorMeta(shape, "float32", strides=strides, offset=data.draw(st.integers(0, 3)))

    storage = torch.arange(meta.extent)
    view = storage.as_strided(meta.shape, meta.stride, meta.offset)
    assert meta.numel == view.numel()
    assert meta.extent == (int(view.max()) + 1 if view.numel() else meta.offset)


def test_dtypes_are_torchs_with_torchs_sizes() -> None:
    for name, size in DTYPE_BYTES.items():
        assert size == getattr(torch, name).itemsize, name


@pytest.mark.parametrize(("expected", "role"), [(False, "in"), (True, "out"), (True, "in-out")])
def test_outputs_are_written_and_inputs_are_not(expected: bool, role: Any) -> None:
    assert expected == TensorMeta((1,), "float32", role).is_written


def test_a_bound_launch_passes_tensors_values_and_options_and_gives_back_what_was_compiled(kernel: Kernel) -> None:
    x, out = torch.zeros(2, 3), torch.zeros(2, 3)
    launch = plan(x_ptr=TensorRef("x", "float32"), out_ptr=TensorRef("out", "float32"), z_ptr=None, n=6).bind(
        {"x": x, "out": out, "unused": torch.zeros(1)}
    )
    assert [] == kernel.launches

    assert "compiled" == launch()
    ((grid, arguments),) = kernel.launches

    assert (3, 2) == grid
    assert arguments["x_ptr"] is x
    assert arguments["out_ptr"] is out
    assert {"z_ptr": None, "n": 6, "num_warps": 4} == {name: arguments[name] for name in ("z_ptr", "n", "num_warps")}


def test_a_part_of_a_tensor_begins_at_its_offset_in_the_same_memory(kernel: Kernel) -> None:
    storage = torch.arange(40, dtype=torch.float32)
    x = storage.as_strided((2, 3), (10, 2), 4)
    ref = TensorRef("x", "float32", offset=12)

    plan(x_ptr=ref).bind({"x": x})()

    part = kernel.launches[0][1]["x_ptr"]
    assert 48 == ref.offset_bytes
    assert x.data_ptr() + ref.offset_bytes == part.data_ptr()
    assert (x.dtype, 16.0) == (part.dtype, part.item())
    part += 1
    assert 17.0 == storage[16]


def test_a_descriptor_is_made_of_the_tensor_with_its_shape_strides_and_tile(kernel: Kernel) -> None:
    x = torch.zeros(4, 32)
    ref = DescriptorRef("x", "float32", shape=(4, 32), strides=(32, 1), block=(2, 16))

    plan(x_desc=ref).bind({"x": x})()

    descriptor = kernel.launches[0][1]["x_desc"]
    assert descriptor.base is x
    assert ([4, 32], [32, 1], [2, 16]) == (descriptor.shape, descriptor.strides, descriptor.block_shape)


def test_arguments_come_in_the_kernels_order_and_descriptors_only_if_there_is_tma() -> None:
    one = plan(a=1, x_ptr=TensorRef("x", "float32"), x_desc=DescriptorRef("x", "float32", (4,), (1,), (4,)), b="two")

    without = one.arguments(lambda ref: f"memory of {ref.name}", tma=False)

    assert [("a", 1), ("x_ptr", "memory of x"), ("x_desc", None), ("b", "two")] == list(without.items())


def test_a_kernel_without_pointers_of_its_own_gets_its_descriptors_on_every_gpu() -> None:
    ref = DescriptorRef("x", "float32", (4, 32), (32, 1), (2, 16), is_optional=False)
    x = torch.zeros(4, 32)

    given = plan(x_desc=ref).arguments(lambda _: x, tma=False)

    assert x is given["x_desc"].base


def test_the_callee_is_the_kernel_below_its_autotuner_and_heuristics(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel()
    heuristics = type("Heuristics", (), {"fn": kernel})()
    autotuner = type("Autotuner", (), {"fn": heuristics})()
    monkeypatch.setitem(sys.modules, "made_up_kernels", SimpleNamespace(scan=autotuner))

    assert kernel is plan().callee()


def test_the_callee_is_below_an_autotuner_that_a_package_derives_from_tritons(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel()
    derived = type("CachedAutotuner", (type("Autotuner", (), {}),), {"fn": kernel})()
    monkeypatch.setitem(sys.modules, "made_up_kernels", SimpleNamespace(scan=derived))

    assert kernel is plan().callee()


def test_the_callee_may_be_a_function_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("class Made:\n    pass\n\n\nscan = Made()\n")
    one = LaunchPlan("some.package.mine", "scan", (1,), {}, {}, file=str(path))

    assert "Made" == type(one.callee()).__name__
    assert one.callee() is one.callee()
    assert "some.package.mine" not in sys.modules


@pytest.mark.parametrize(("expected", "grid"), [(1, ()), (7, (7,)), (24, (2, 3, 4))])
def test_blocks_of_a_grid_are_multiplied(expected: int, grid: tuple[int, ...]) -> None:
    assert expected == LaunchPlan("m", "f", grid, {}, {}).grid_blocks


@pytest.mark.parametrize(
    ("arch", "number", "tma"), [("sm_80", 80, False), ("sm_89", 89, False), ("sm_90", 90, True), ("sm_100a", 100, True)]
)
def test_an_architectures_number_and_whether_it_has_tma(arch: str, number: int, tma: bool) -> None:
    assert (number, tma) == (capability(arch), has_tma(arch))
