"""A launch that is kept, of a kernel that was compiled: its memory, what it writes, and the program's own memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import launching_program as program
import numpy as np
import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ssdprof.kernels.captured.arguments import read_launch_inputs, read_launch_outputs
from ssdprof.kernels.captured.file import Reader, read
from ssdprof.kernels.captured.live import noting
from ssdprof.kernels.captured.live.calls import Frame
from ssdprof.kernels.captured.live.noting import Noter
from ssdprof.kernels.captured.live.options import CaptureOptions
from ssdprof.kernels.captured.model import CapturedLaunch, Seen

SIGNATURES = {
    "add_kernel": ({"total_ptr": "*fp32", "x_ptr": "*fp32", "n": "i32"}, {"BLOCK": 64}),
    "even_rows_kernel": ({"x_ptr": "*fp32", "out_ptr": "*fp32", "columns": "i32", "stride": "i32"}, {"BLOCK": 32}),
    "order_kernel": ({"x_ptr": "*fp32", "order_ptr": "*i32", "count_ptr": "*i32", "sum_ptr": "*fp32"}, {"BLOCK": 16}),
    "through_address_kernel": ({"address": "i64", "out_ptr": "*fp32"}, {}),
}


@lru_cache(maxsize=8)
def compiled(name: str) -> Any:
    """The kernel of the program, compiled for a GPU that is not here."""
    types, constants = SIGNATURES[name]
    signature = {**types, **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(fn=getattr(program, name), signature=signature, constexprs=constants)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32))


class Machine:
    """Launches of a kernel of the program: `deed` does on the CPU, with the arguments, what the kernel would do."""

    def __init__(self, path: Path, deed: Callable[..., object], **options: Any) -> None:
        self.noter = Noter(path, CaptureOptions(**options))
        self.deed, self.path = deed, path
        self.launches = 0

    def original(self, kernel: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        if not warmup:
            self.launches += 1
            self.deed(*args, **{name: value for name, value in kwargs.items() if name in kernel.arg_names})
        return SimpleNamespace(asm=compiled(kernel.__name__).asm, metadata=compiled(kernel.__name__).metadata)

    def launch(self, name: str, *args: Any, **kwargs: Any) -> None:
        self.noter.launched((), Frame(getattr(program, name), args, kwargs), (1,), self.original)

    def finished(self) -> tuple[tuple[CapturedLaunch, ...], tuple[Seen, ...]]:
        self.noter.finish()
        captured = read(self.path)
        return captured.launches, captured.seen


def add(total: torch.Tensor, x: torch.Tensor, n: int, **_: Any) -> None:
    total.add_(x)


def even_rows(x: torch.Tensor, out: torch.Tensor, columns: int, stride: int, BLOCK: int) -> None:  # noqa: N803
    out[::2, :columns] = x[::2, :columns] + 1


def order(x: torch.Tensor, places: torch.Tensor, count: torch.Tensor, total: torch.Tensor, **_: Any) -> None:
    places[x >= 0] = torch.arange(16, dtype=torch.int32)[x >= 0]
    count += int((x >= 0).sum())
    total += x.sum()


def written_bits(path: Path, launch: CapturedLaunch, tensor: int) -> Any:
    storage = launch.storages[launch.tensors[tensor].storage]
    with Reader(path) as reader:
        return np.unpackbits(np.frombuffer(reader.blob(storage.written), np.uint8))[: storage.size_bytes]


def test_the_program_has_the_memory_that_its_own_launch_left(path: Path) -> None:
    machine = Machine(path, add)
    total = torch.zeros(64)

    machine.launch("add_kernel", total, torch.ones(64), 64, BLOCK=64)

    assert torch.equal(torch.ones(64), total)
    assert machine.launches > 2
    [launch], _ = machine.finished()
    with Reader(path) as reader:
        assert torch.equal(torch.zeros(64), read_launch_inputs(reader, launch, "cpu")[0])
        assert torch.equal(torch.ones(64), read_launch_outputs(reader, launch, "cpu")[0])
    assert ["in-out", "in"] == [tensor.role for tensor in launch.tensors]
    assert () == launch.notes


def test_the_config_has_what_it_was_compiled_with(path: Path) -> None:
    machine = Machine(path, add)

    machine.launch("add_kernel", torch.zeros(64), torch.ones(64), 64, BLOCK=64)

    [launch], _ = machine.finished()
    assert {"BLOCK": 64, "num_warps": 4, "num_stages": 3, "num_ctas": 1} == launch.config


def test_only_what_may_be_written_is_kept_twice(path: Path) -> None:
    machine = Machine(path, add)

    machine.launch("add_kernel", torch.zeros(64), torch.ones(64), 64, BLOCK=64)

    [launch], _ = machine.finished()
    total, x = (launch.storages[tensor.storage] for tensor in launch.tensors)
    assert total.after
    assert not x.after
    assert "" == total.written  # every byte of its one tensor counts as written


def test_an_output_is_written_in_just_the_bytes_that_the_kernel_stores(path: Path) -> None:
    machine = Machine(path, even_rows)
    x, out = torch.rand(8, 16), torch.rand(8, 16)

    machine.launch("even_rows_kernel", x, out, 10, 16, 32)

    [launch], _ = machine.finished()
    should = np.zeros((8, 16, 4), np.uint8)
    should[::2, :10] = 1
    assert np.array_equal(should.ravel(), written_bits(path, launch, 1))
    assert "out" == launch.tensors[1].role


def test_whole_numbers_that_are_never_read_are_an_output_and_sums_are_told(path: Path) -> None:
    machine = Machine(path, order)
    x, places = torch.arange(16.0) - 4, torch.zeros(16, dtype=torch.int32)

    machine.launch("order_kernel", x, places, torch.zeros(1, dtype=torch.int32), torch.zeros(1), BLOCK=16)

    [launch], _ = machine.finished()
    assert ["in", "out", "in-out", "in-out"] == [tensor.role for tensor in launch.tensors]
    assert ("sum_ptr",) == launch.float_atomics
    assert {"sum_ptr": 0.0} == launch.spreads
    assert np.array_equal(np.repeat(x.numpy() >= 0, 4), written_bits(path, launch, 1))
    assert [0] * 4 + list(range(4, 16)) == places.tolist()


def test_an_output_that_shares_bytes_with_an_input_counts_as_read(path: Path) -> None:
    machine = Machine(path, even_rows)
    memory = torch.rand(9, 16)
    expected = memory.clone()
    even_rows(expected[:8], expected[1:], 10, 16, 32)

    machine.launch("even_rows_kernel", memory[:8], memory[1:], 10, 16, 32)

    [launch], _ = machine.finished()
    assert ["in", "in-out"] == [tensor.role for tensor in launch.tensors]
    assert torch.equal(expected, memory)


def test_an_output_beside_an_input_in_one_storage_stays_an_output(path: Path) -> None:
    machine = Machine(path, even_rows)
    memory = torch.rand(8, 32)

    machine.launch("even_rows_kernel", memory[:, :16], memory[:, 16:], 16, 32, 32)

    [launch], _ = machine.finished()
    assert ["in", "out"] == [tensor.role for tensor in launch.tensors]
    should = np.zeros((8, 32, 4), np.uint8)
    should[::2, 16:] = 1
    assert np.array_equal(should.ravel(), written_bits(path, launch, 1))


def test_what_is_stored_outside_of_the_tensors_is_written_too(path: Path) -> None:
    memory = torch.zeros(80)

    def beyond(total: torch.Tensor, x: torch.Tensor, n: int, **_: Any) -> None:
        add(total, x, n)
        memory[70] = 5.0

    machine = Machine(path, beyond)

    machine.launch("add_kernel", memory[:64], torch.ones(64), 64, BLOCK=64)

    [launch], _ = machine.finished()
    assert [0] * 24 + [0, 0, 1, 1] + [0] * 12 == written_bits(path, launch, 0)[256:296].tolist()  # 5.0 is 00 00 a0 40
    assert 5.0 == memory[70]


def test_launches_that_differ_are_told_and_the_program_keeps_its_own_bytes(path: Path) -> None:
    machine = Machine(path, lambda total, x, n, **_: total.fill_(machine.launches))
    total = torch.zeros(64)

    machine.launch("add_kernel", total, torch.ones(64), 64, BLOCK=64)

    [launch], _ = machine.finished()
    assert ("launches on the same data gave different bits: total_ptr",) == launch.notes
    assert torch.equal(torch.ones(64), total)


def test_a_second_launch_that_fails_costs_the_program_nothing(path: Path) -> None:
    def once(total: torch.Tensor, x: torch.Tensor, n: int, **_: Any) -> None:
        total.add_(x)
        if machine.launches > 1:
            raise RuntimeError("no more\nthan once")

    machine = Machine(path, once)
    total = torch.zeros(64)

    machine.launch("add_kernel", total, torch.ones(64), 64, BLOCK=64)

    [launch], [seen] = machine.finished()
    assert ("it was not launched a second time: RuntimeError: no more",) == launch.notes
    assert torch.equal(torch.ones(64), total)
    with Reader(path) as reader:
        assert torch.equal(torch.ones(64), read_launch_outputs(reader, launch, "cpu")[0])
    assert "" == seen.why_not


def test_memory_behind_a_number_cannot_be_kept(path: Path) -> None:
    machine = Machine(path, lambda address, out: out.fill_(1.0))
    out = torch.zeros(1)

    machine.launch("through_address_kernel", 1 << 40, out)

    launches, [seen] = machine.finished()
    assert () == launches
    assert seen.why_not.startswith("it reaches memory that is not in its arguments: ")
    assert 1 == machine.launches
    assert 1.0 == out


def test_a_launch_in_a_cuda_graph_is_counted_and_one_outside_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(path, add)
    answers = iter([True, True, False])
    monkeypatch.setattr(noting, "_is_capturing", lambda: next(answers))

    for size in (32, 64, 64):
        machine.launch("add_kernel", torch.zeros(size), torch.ones(size), size, BLOCK=64)

    [launch], [graph, seen] = machine.finished()
    assert 3 == launch.number
    assert (1, "it was launched while a CUDA graph was captured: let the program launch it once outside a graph") == (
        graph.count,
        graph.why_not,
    )
    assert (2, "") == (seen.count, seen.why_not)


def test_after_three_launches_that_cannot_be_kept_no_other_is_tried(path: Path) -> None:
    machine = Machine(path, add)

    for _ in range(5):
        machine.launch("add_kernel", torch.zeros(64), torch.ones(64), 64, BLOCK=64, extern_libs=[])
    machine.launch("add_kernel", torch.zeros(64), torch.ones(64), 64, BLOCK=64)

    launches, [seen] = machine.finished()
    assert () == launches
    assert 6 == seen.count == machine.launches


def test_an_interruption_of_a_second_launch_leaves_the_program_its_own_bytes(path: Path) -> None:
    def interrupted(total: torch.Tensor, x: torch.Tensor, n: int, **_: Any) -> None:
        total.add_(x)
        if machine.launches == 2:
            raise KeyboardInterrupt

    machine = Machine(path, interrupted)
    total = torch.zeros(64)

    with pytest.raises(KeyboardInterrupt):
        machine.launch("add_kernel", total, torch.ones(64), 64, BLOCK=64)

    assert torch.equal(torch.ones(64), total)
    launches, _ = machine.finished()
    assert () == launches


def test_while_one_thread_keeps_a_launch_others_go_on_without(path: Path) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def wait(total: torch.Tensor, x: torch.Tensor, n: int, **_: Any) -> None:
        total.add_(x)
        if n == 64:
            inside.set()
            go_on.wait(20)

    machine = Machine(path, wait)
    first = threading.Thread(
        target=machine.launch, args=("add_kernel", torch.zeros(64), torch.ones(64), 64), kwargs={"BLOCK": 64}
    )
    first.start()
    assert inside.wait(20)

    machine.launch("add_kernel", torch.zeros(32), torch.ones(32), 32, BLOCK=64)

    go_on.set()
    first.join(20)
    assert not first.is_alive()
    [launch], seen = machine.finished()
    assert 64 == launch.args["n"]
    assert ["", "another launch of it is kept"] == [one.why_not for one in seen]


@pytest.fixture(autouse=True)
def nothing_is_left(path: Path) -> Iterator[None]:
    yield
    assert [path.name] == [one.name for one in path.parent.iterdir() if one.name.startswith(path.name)]
