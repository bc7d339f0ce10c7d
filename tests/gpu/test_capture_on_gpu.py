"""Launches captured on a real GPU: memory, roles and times, in CUDA graphs, on other streams, of whole programs."""

from __future__ import annotations

import os
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

import ssdprof
from ssdprof.kernels.captured.arguments import read_launch_inputs, read_launch_outputs
from ssdprof.kernels.captured.file import Reader, check, read
from ssdprof.kernels.captured.live import keeping
from ssdprof.kernels.captured.live.options import CaptureOptions
from ssdprof.kernels.captured.live.startup import run_command
from ssdprof.kernels.captured.model import CapturedLaunch, DescriptorArg, TensorArg
from ssdprof.kernels.captured.source.load import load

pytestmark = pytest.mark.gpu

PROGRAM = Path(__file__).parents[1] / "helpers" / "programs" / "launching_program.py"
MIB = 1 << 20


@triton.jit
def copy_tiles_kernel(x_desc, out_desc, rows, M: tl.constexpr, N: tl.constexpr):  # noqa: N803
    first = tl.program_id(0) * M
    out_desc.store([first, 0], x_desc.load([first, 0]) + 1.0)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program, to run on the GPU."""
    monkeypatch.setenv("PROGRAM_DEVICE", "cuda")
    spec = spec_from_file_location("launching_program", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "launches.ssdprof"


def kept(path: Path) -> dict[str, CapturedLaunch]:
    return {launch.name: launch for launch in read(path).launches}


def numbers(n: int) -> torch.Tensor:
    return torch.arange(n, dtype=torch.float32, device="cuda")


def launched_again(path: Path, name: str) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor]]:
    """What a launch from the file alone leaves in the tensors, and what the file says that it leaves."""
    launch = kept(path)[name]
    loaded = load(launch.sources)
    with Reader(path) as reader:
        inputs, outputs = (of(reader, launch, "cuda") for of in (read_launch_inputs, read_launch_outputs))
    given = {name: inputs[one.index] if isinstance(one, TensorArg) else one for name, one in launch.args.items()}
    given |= launch.config
    for meta, compute in loaded.heuristics:
        given[meta] = compute(given)
    loaded.kernel[launch.grid](**given)
    return inputs, outputs


def test_a_program_runs_as_without_a_capture_and_its_launches_are_kept_and_timed(program: Any, path: Path) -> None:
    with ssdprof.capture(path):
        program.main(100_000)

    captured = check(path)
    assert [("scale_kernel", 3, ""), ("add_kernel", 2, "")] == [
        (one.name, one.count, one.why_not) for one in captured.seen
    ]
    for seen, launch in zip(captured.seen, captured.launches, strict=True):
        assert () == launch.notes
        assert launch.in_place_ms is not None
        assert 0 < launch.in_place_ms < 5
        assert seen.total_ms is not None
        assert 0 < seen.total_ms < 50
        assert torch.cuda.get_device_name() == launch.device["name"]
        assert launch.device["arch"].startswith("sm_")
        assert launch.device["driver"]
    assert [["in", "out"], ["in-out", "in"]] == [[one.role for one in each.tensors] for each in captured.launches]


def test_the_config_that_the_autotuner_chose_is_kept(program: Any, path: Path) -> None:
    with ssdprof.capture(path):
        program.main(100_000)

    launch = kept(path)["scale_kernel"]
    best = program.scale_kernel.best_config
    assert {**best.kwargs, "num_warps": best.num_warps, "num_stages": 3, "num_ctas": 1} == launch.config
    assert (triton.cdiv(100_000, best.kwargs["BLOCK"]),) == launch.grid
    assert launch.autotune is not None
    assert [False] * 4 + [True] * 2 == [one.pruned for one in launch.autotune.configs]


@pytest.mark.parametrize("name", ["scale_kernel", "add_kernel"])
def test_a_launch_from_the_file_alone_gives_the_same_bits(program: Any, path: Path, name: str) -> None:
    with ssdprof.capture(path):
        program.main(10_001)

    left, expected = launched_again(path, name)

    assert expected
    assert all(torch.equal(expected[index], left[index]) for index in expected)


@pytest.mark.parametrize("on_host", [False, True])
def test_bytes_that_are_written_are_told_apart_wherever_the_copies_are(
    program: Any, path: Path, monkeypatch: pytest.MonkeyPatch, on_host: bool
) -> None:
    if on_host:
        monkeypatch.setattr(keeping, "free_bytes", lambda _: 0)
    x, out = torch.rand(4000, 20_000, device="cuda"), torch.rand(4000, 20_000, device="cuda")  # 320 MB: several chunks
    expected = out.clone()
    expected[::2, :10] = x[::2, :10] + 1
    before = out.cpu()

    with ssdprof.capture(path):
        program.even_rows(x, out, 10)

    assert torch.equal(expected, out)
    launch = kept(path)["even_rows_kernel"]
    assert () == launch.notes
    storage = launch.storages[launch.tensors[1].storage]
    with Reader(path) as reader:
        assert torch.equal(
            before, torch.frombuffer(reader.blob(storage.before), dtype=torch.float32).view(4000, 20_000)
        )
        assert torch.equal(expected.cpu(), read_launch_outputs(reader, launch, "cpu")[1])
        bits = np.unpackbits(np.frombuffer(reader.blob(storage.written), np.uint8)).reshape(4000, 20_000, 4)
    assert bits[::2, :10].all()
    assert 2000 * 10 * 4 == bits.sum()


def test_sums_by_atomic_addition_are_told_and_added_once(program: Any, path: Path) -> None:
    x, places = numbers(16) - 4, torch.zeros(16, dtype=torch.int32, device="cuda")
    count, total = torch.zeros(1, dtype=torch.int32, device="cuda"), torch.zeros(1, device="cuda")

    with ssdprof.capture(path):
        program.order_kernel[(1,)](x, places, count, total, 16)

    launch = kept(path)["order_kernel"]
    assert (12, 56.0) == (int(count), float(total))
    assert ("sum_ptr",) == launch.float_atomics
    assert ["in", "out", "in-out", "in-out"] == [tensor.role for tensor in launch.tensors]


def test_a_launch_in_a_cuda_graph_is_not_kept_and_the_graph_is_as_without(program: Any, path: Path) -> None:
    total, x, graph = torch.zeros(64, device="cuda"), torch.ones(64, device="cuda"), torch.cuda.CUDAGraph()
    program.add(total, x)

    with ssdprof.capture(path):
        with torch.cuda.graph(graph):
            program.add(total, x)
        graph.replay()
        assert torch.equal(torch.full_like(x, 2.0), total)
        program.add(total, x)

    assert torch.equal(torch.full_like(x, 3.0), total)
    [launch] = read(path).launches
    assert 2 == launch.number
    assert [2] == [one.count for one in read(path).seen]


def test_a_launch_on_another_stream_is_kept_in_order(program: Any, path: Path) -> None:
    total, x, stream = torch.zeros(1 << 24, device="cuda"), torch.ones(1 << 24, device="cuda"), torch.cuda.Stream()
    torch.cuda.synchronize()

    with ssdprof.capture(path), torch.cuda.stream(stream):
        torch.cuda._sleep(10_000_000)
        total.fill_(5.0)
        program.add(total, x)
        total.mul_(2.0)

    torch.cuda.synchronize()
    assert torch.equal(torch.full_like(x, 12.0), total)
    with Reader(path) as reader:
        assert 5.0 == read_launch_inputs(reader, kept(path)["add_kernel"], "cpu")[0].max()


def test_descriptors_whose_blocks_a_config_sets_are_kept(path: Path) -> None:
    if torch.cuda.get_device_capability() < (9, 0):
        pytest.skip("descriptors need a GPU of compute capability 9.0")
    from triton.tools.tensor_descriptor import TensorDescriptor

    def set_blocks(arguments: dict[str, Any]) -> None:
        for name in ("x_desc", "out_desc"):
            arguments[name].block_shape = [arguments["M"], arguments["N"]]

    configs = [triton.Config({"M": rows, "N": 64}, pre_hook=set_blocks) for rows in (16, 32)]
    tuned = triton.autotune(configs, key=["rows"])(copy_tiles_kernel)
    x, out = torch.rand(128, 64, device="cuda"), torch.zeros(128, 64, device="cuda")
    x_desc, out_desc = (TensorDescriptor.from_tensor(one, [1, 64]) for one in (x, out))

    with ssdprof.capture(path):
        tuned[lambda meta: (128 // meta["M"],)](x_desc, out_desc, 128)

    assert torch.equal(x + 1, out)
    launch = kept(path)["copy_tiles_kernel"]
    block = (launch.config["M"], 64)
    assert [DescriptorArg(0, (128, 64), (64, 1), block), DescriptorArg(1, (128, 64), (64, 1), block)] == [
        launch.args["x_desc"],
        launch.args["out_desc"],
    ]
    assert ["in", "out"] == [tensor.role for tensor in launch.tensors]
    assert [(8,), (4,)] == [grid for _, grid in launch.grids]


def test_times_of_launches_agree_with_each_other_and_with_memory(program: Any, path: Path) -> None:
    x, y = numbers(1 << 26), torch.zeros(1 << 26, device="cuda")
    program.scale(x, y)

    with ssdprof.capture(path):
        for _ in range(200):
            program.scale(x, y)

    [seen], launch = read(path).seen, kept(path)["scale_kernel"]
    assert 200 == seen.count
    assert seen.total_ms is not None
    assert launch.in_place_ms is not None
    assert launch.in_place_ms / 1.5 < seen.total_ms / 200 < launch.in_place_ms * 1.5
    assert 2 * x.nbytes / launch.in_place_ms / 1e6 < 20_000  # GB/s: no GPU has memory that fast


def test_noting_a_launch_takes_little_of_the_hosts_time(program: Any, path: Path) -> None:
    total, x = torch.zeros(64, device="cuda"), torch.zeros(64, device="cuda")

    def host_s() -> float:
        program.add(total, x)
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(1000):
            program.add(total, x)
        return time.perf_counter() - began

    alone = host_s()
    with ssdprof.capture(path):
        noted = host_s()

    assert (noted - alone) / 1000 < 100e-6


@pytest.mark.slow
def test_gigabytes_are_kept_in_seconds(program: Any, path: Path) -> None:
    x, y = torch.rand(384 * MIB, device="cuda"), torch.zeros(384 * MIB, device="cuda")
    program.scale(x, y)
    torch.cuda.synchronize()
    held = torch.cuda.memory_allocated()

    began = time.perf_counter()
    with ssdprof.capture(path):
        program.scale(x, y)
    took_s = time.perf_counter() - began

    assert held == torch.cuda.memory_allocated()
    assert 4 * x.nbytes > path.stat().st_size > 2 * x.nbytes
    assert took_s < 60


def test_kernels_of_torch_compile_are_counted_and_not_kept(program: Any, path: Path) -> None:
    function = torch.compile(lambda x: torch.sin(x) * 2 + 1)
    x = torch.rand(1000, device="cuda")

    with ssdprof.capture(path):
        assert torch.allclose(torch.sin(x) * 2 + 1, function(x))

    captured = read(path)
    assert () == captured.launches
    assert any("torch.compile generated it" in one.why_not for one in captured.seen)


def test_a_compiled_kernel_that_the_program_launches_itself_is_counted(program: Any, path: Path) -> None:
    total, x = torch.zeros(64, device="cuda"), torch.ones(64, device="cuda")
    compiled = program.add_kernel.warmup(total, x, 64, BLOCK=64, grid=(1,))

    with ssdprof.capture(path):
        compiled[(1, 1, 1)](total, x, 64, 64)

    assert torch.equal(x, total)
    [seen] = read(path).seen
    assert ("add_kernel", 1) == (seen.name, seen.count)
    assert seen.why_not.startswith("the program launched it compiled")


def test_a_whole_program_is_captured_and_timed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROGRAM_DEVICE", "cuda")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)

    finished = run_command([str(PROGRAM), "5000"], path, CaptureOptions(slowest=True))

    assert (0, ()) == (finished.exit_code, finished.problems)
    assert finished.captured is not None
    assert 1 == len(finished.captured.launches)
    assert all(one.total_ms is not None and one.total_ms > 0 for one in finished.captured.seen)
    assert [path.name] == os.listdir(path.parent)
