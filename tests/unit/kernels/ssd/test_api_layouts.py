"""`chunk_scan` on tensors that lie in memory as an engine has them, what it remembers of a call, and torch.compile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from api_calls import FULL, LAYOUTS, SMALL, Launches, arguments, at
from interpreted import call, interpreting_worker
from torch import Tensor

from ssdprof.kernels import chunk_scan
from ssdprof.kernels.errors import TensorError
from ssdprof.kernels.launch import LaunchPlan
from ssdprof.kernels.ssd import function
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.workers.worker import Worker

WIDE = replace(FULL, headdim=64)


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Worker]:
    with interpreting_worker() as worker:
        yield worker


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    return Launches.instead(monkeypatch)


class Kernel:
    """Stands in for a compiled kernel: notes the grids and arguments of its launches."""

    def __init__(self) -> None:
        self.launched: list[tuple[tuple[int, ...], tuple[Any, ...]]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda *given: self.launched.append((grid, given))


@pytest.fixture
def kernel(launches: Launches, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """First calls are noted by `launches` and give this kernel, which notes those that are known."""
    noted = Kernel()

    def first(plan: LaunchPlan, tensors: dict[str, Tensor]) -> Kernel:
        launches(plan, tensors)
        return noted

    monkeypatch.setattr(function, "_launch", first)
    monkeypatch.setattr(function, "_calls", {})
    monkeypatch.setattr(function, "arch_of", lambda _: "sm_90")
    return noted


def of_one_buffer(shape: Sequence[int], begins: Sequence[int], dtype: torch.dtype) -> list[Tensor]:
    """Tensors whose rows of heads and dimensions lie side by side in rows of 64 elements."""
    batch, seqlen, nheads, headdim = shape
    buffer = torch.zeros(batch, seqlen, 64, dtype=dtype)
    return [buffer[..., begin : begin + nheads * headdim].unflatten(2, (nheads, headdim)) for begin in begins]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("config", [None, "split:m16n16k16d16w4s1"])
def test_x_z_c_and_out_may_lie_in_memory_as_they_like(interpreter: Worker, layout: str, config: str | None) -> None:
    problem = replace(SMALL, batch=2, ngroups=2, z=True, d_form="head")
    for gap, with_out in ((8, True), (3, False)):
        relative, worst_row, same_out, _ = call(interpreter, "api_calls:errors", problem, config, with_out, layout, gap)
        (tolerances,) = ChunkScan(problem).tolerances()
        assert relative <= tolerances.relative_error
        assert worst_row <= tolerances.row_error
        assert with_out == same_out


@pytest.mark.parametrize("config", [None, "split:m16n16k16d16w4s1"])
def test_torch_compile_takes_a_call_as_one_operator(interpreter: Worker, config: str | None) -> None:
    problem = replace(SMALL, z=True, d_form="head")
    (tolerances,) = ChunkScan(problem).tolerances()

    assert call(interpreter, "api_calls:error_in_a_graph", problem, config) <= tolerances.relative_error


def test_an_out_beside_an_input_in_the_same_storage_is_taken(launches: Launches) -> None:
    tensors = arguments()
    count = tensors["x"].numel()
    memory = torch.zeros(2 * count, dtype=torch.bfloat16)
    out = memory[count:].view(tensors["x"].shape)

    assert out is chunk_scan(**tensors | {"x": memory[:count].view(out.shape)}, out=out)
    assert 1 == len(launches.ids)


def test_an_out_in_rows_beside_those_of_an_input_is_taken(launches: Launches) -> None:
    tensors = arguments()
    x, out = of_one_buffer(tensors["x"].shape, (32, 0), torch.bfloat16)

    assert out is chunk_scan(**tensors | {"x": x}, out=out)
    assert 1 == len(launches.ids)


def test_an_out_in_the_rows_of_an_input_is_an_error(launches: Launches) -> None:
    tensors = arguments()
    x, out = of_one_buffer(tensors["x"].shape, (0, 31), torch.bfloat16)

    with pytest.raises(TensorError, match="out shares memory with x, which is read while out is written"):
        chunk_scan(**tensors | {"x": x}, out=out)

    assert [] == launches.ids


def test_tokens_too_far_apart_for_32_bit_offsets_are_an_error(launches: Launches) -> None:
    tensors = arguments(replace(SMALL, seqlen=2))
    far = 2**31 // 16
    tensors["z"] = torch.empty(far + 64, dtype=torch.bfloat16).as_strided((1, 2, 2, 16), (1, far, 16, 1))

    with pytest.raises(TensorError) as raised:
        chunk_scan(**tensors)

    assert str(raised.value) == (
        f"z's tokens are {far} elements apart, but a chunk of 16 may span at most {2**31 - 1}: pass z.contiguous()"
    )
    assert [] == launches.ids


def by_name(kernel: Kernel) -> dict[str, Any]:
    """The arguments of the last launch by the names of the kernel's parameters."""
    from ssdprof.kernels.ssd.grouped import grouped_chunk_scan_kernel

    return dict(zip(grouped_chunk_scan_kernel.arg_names, kernel.launched[-1][1], strict=True))


def test_a_known_call_launches_the_compiled_kernel_on_its_own_tensors(launches: Launches, kernel: Kernel) -> None:
    chunk_scan(**arguments(WIDE))
    tensors = arguments(WIDE)
    out = chunk_scan(**tensors)

    subject = ChunkScan(WIDE)
    plan = subject.launch(subject.resolve(function.candidates(WIDE)[0]))
    given = by_name(kernel)
    assert 1 == len(launches.ids)
    assert [(*plan.grid, 1, 1)] == [grid for grid, _ in kernel.launched]
    pointers = {name: tensors[name] for name in ("cb", "D", "seq_idx")} | {"out": out}
    assert {name: one.data_ptr() for name, one in pointers.items()} == {
        name: given[f"{name.lower()}_ptr"] for name in pointers
    }
    described = {name: given[f"{name}_desc"] for name in ("x", "z", "states", "out")}
    assert all(one.base is {**tensors, "out": out}[name] for name, one in described.items())
    for name, one in described.items():
        expected = plan.args[f"{name}_desc"].of(one.base)
        assert expected == one
    values = {name: value for name, value in plan.args.items() if not name.endswith(("_ptr", "_desc"))}
    assert values == {name: given[name] for name in values}


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.update(x=at(tensors["x"], 1)),
        lambda tensors: tensors.update(cb=at(tensors["cb"], 1)),
        lambda tensors: tensors.update(z=None),
        lambda tensors: tensors.update(config="split:m16n16k16d16w4s1"),
        lambda tensors: tensors.update(C=of_one_buffer(tensors["C"].shape, (0,), torch.bfloat16)[0]),
        lambda tensors: tensors.update(out=torch.zeros_like(tensors["x"])[:, :, :, :]) or tensors.update(D=None),
    ],
    ids=["an odd address of x", "an odd address of cb", "no gate", "a config", "strides of C", "no D"],
)
@pytest.mark.filterwarnings("ignore:chunk_scan cannot use the variant grouped")
def test_a_call_of_another_kind_is_a_first_one(launches: Launches, kernel: Kernel, change: Any) -> None:
    chunk_scan(**arguments(WIDE))
    other = arguments(WIDE)
    change(other)
    chunk_scan(**other)
    chunk_scan(**other)

    assert 2 == len(launches.ids)
    assert 1 == len(kernel.launched)


def test_a_known_call_is_refused_for_what_its_kind_does_not_show(launches: Launches, kernel: Kernel) -> None:
    tensors = arguments(WIDE)
    out = torch.zeros_like(tensors["x"])
    chunk_scan(**tensors, out=out)
    chunk_scan(**tensors, out=torch.zeros_like(out))
    assert 1 == len(kernel.launched)

    with pytest.raises(TensorError, match="out shares memory with z"):
        chunk_scan(**tensors, out=tensors["z"])
    with pytest.raises(TensorError, match="x requires grad"):
        chunk_scan(**{**tensors, "x": tensors["x"].requires_grad_()}, out=out)
    with torch.no_grad():
        chunk_scan(**tensors, out=out)
    assert 2 == len(kernel.launched)


def test_what_is_remembered_is_bounded(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function, "CALLS_MAX", 2)
    for seqlen in (20, 30, 40):
        chunk_scan(**arguments(replace(WIDE, seqlen=seqlen)))

    assert 1 == len(function._calls)
