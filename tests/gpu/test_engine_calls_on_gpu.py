"""`chunk_scan` as an inference engine calls it: in CUDA graphs, on other streams and devices, compiled, on slices."""

from __future__ import annotations

import gc
import statistics
import time
from typing import Any

import pytest
import torch
from api_calls import laid_out, named

from ssdprof.kernels import chunk_scan
from ssdprof.kernels.errors import TensorError
from ssdprof.kernels.ssd import function
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan

pytestmark = pytest.mark.gpu

PROBLEM = ChunkScanProblem(1000, batch=2, nheads=16, ngroups=2, z=True)


def inputs_and_output(
    device: str = "cuda:0", problem: ChunkScanProblem = PROBLEM
) -> tuple[dict[str, Any], torch.Tensor]:
    """Arguments of a call, and what the same kernel gives for them when called plainly, which is correct."""
    subject = ChunkScan(problem)
    inputs = subject.inputs(device, 0)
    correct = subject.reference(inputs)["out"]
    expected = chunk_scan(**named(inputs))
    [tolerances] = subject.tolerances()
    assert float((expected.float() - correct).norm() / correct.norm()) <= tolerances.relative_error
    return named(inputs), expected


def forget() -> None:
    """As in a new process: the next call is a first one."""
    function._calls.clear()
    function._chosen.clear()
    function._plan.cache_clear()


@pytest.mark.parametrize("first", [True, False])
def test_in_a_cuda_graph_the_first_call_included(first: bool) -> None:
    tensors, expected = inputs_and_output()
    out = torch.full_like(tensors["x"], torch.nan)
    if first:
        forget()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        chunk_scan(**tensors, out=out)
    assert not torch.equal(expected, out)

    for _ in range(2):
        out.fill_(torch.nan)
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(expected, out)


def test_a_graph_reads_what_is_in_its_tensors_when_it_is_replayed() -> None:
    tensors, _ = inputs_and_output()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = chunk_scan(**tensors)
    other = named(ChunkScan(PROBLEM).inputs("cuda:0", 1))
    expected = chunk_scan(**other)
    for name, tensor in tensors.items():
        tensor.copy_(other[name])
    graph.replay()
    torch.cuda.synchronize()

    assert torch.equal(expected, out)


@pytest.mark.parametrize("first", [True, False])
def test_on_another_stream_it_runs_after_what_is_queued_there(first: bool) -> None:
    tensors, expected = inputs_and_output()
    x = tensors["x"].clone()
    late = torch.zeros_like(x)
    if first:
        forget()
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        torch.cuda._sleep(200_000_000)
        late.copy_(x)
        out = chunk_scan(**{**tensors, "x": late})
    side.synchronize()

    assert torch.equal(expected, out)


@pytest.mark.skipif("torch.cuda.device_count() < 2", reason="there is no second GPU")
@pytest.mark.parametrize("first", [True, False])
def test_on_another_device_than_the_current_one(first: bool) -> None:
    _, on_first = inputs_and_output("cuda:0")
    torch.cuda.set_device(0)
    tensors, expected = inputs_and_output("cuda:1")
    if first:
        forget()
    out = chunk_scan(**tensors)
    torch.cuda.synchronize("cuda:1")

    assert (torch.device("cuda:1"), 0) == (out.device, torch.cuda.current_device())
    assert torch.equal(expected, out)
    assert torch.equal(on_first, chunk_scan(**inputs_and_output("cuda:0")[0]))


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_it_is_one_operator_of_the_graph(dynamic: bool) -> None:
    @torch.compile(fullgraph=True, dynamic=dynamic)
    def step(tensors: dict[str, Any], config: str | None) -> torch.Tensor:
        return chunk_scan(**tensors, config=config) * 2

    for seqlen in (1000, 1000, 700):
        tensors, expected = inputs_and_output(problem=ChunkScanProblem(seqlen, nheads=16, ngroups=2))
        assert torch.equal(expected * 2, step(tensors, None))
    given = chunk_scan(**tensors, config="split:m64n64k32d128w4s2")
    assert torch.equal(given * 2, step(tensors, "split:m64n64k32d128w4s2"))


def test_in_inference_mode_and_with_parameters() -> None:
    tensors, expected = inputs_and_output()
    tensors["D"] = torch.nn.Parameter(tensors["D"])
    with torch.inference_mode():
        for _ in range(2):
            assert torch.equal(expected, chunk_scan(**tensors))
    with torch.no_grad():
        assert torch.equal(expected, chunk_scan(**tensors))

    with pytest.raises(TensorError, match="D requires grad"):
        chunk_scan(**tensors)


def test_what_is_remembered_of_a_call_holds_no_memory() -> None:
    tensors, _ = inputs_and_output()
    held = []
    for _ in range(4):
        more = {name: tensor.clone() for name, tensor in tensors.items()}
        chunk_scan(**more)
        del more
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()  # what others left in other streams' hands is freed now
        held.append(torch.cuda.memory_allocated())

    assert [held[0]] * 4 == held


def test_slices_of_one_projection_are_read_by_descriptors_and_not_copied() -> None:
    tensors, expected = inputs_and_output()
    slices = {
        name: laid_out(one, "slices", 2 * 1024) if name in ("x", "z", "C") else one for name, one in tensors.items()
    }
    copied = tensors["x"].numel() * tensors["x"].element_size()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    out = chunk_scan(**slices)

    assert torch.cuda.max_memory_allocated() - before <= copied  # that of the output
    assert torch.equal(expected, out)
    plans = [function._plan(PROBLEM, function.candidates(PROBLEM)[0], strides) for strides in described(slices)]
    assert all(plan.args[f"{name}_desc"] for plan in plans for name in ("x", "z", "states", "out"))


def described(tensors: dict[str, Any]) -> list[tuple[tuple[str, tuple[int, ...]], ...]]:
    """The strides of these tensors, as a call notes them."""
    metas = function.arguments.metas_of(tensors, PROBLEM)
    return [function._strides(metas)]


@pytest.mark.parametrize("shift", [0, 1])
def test_calls_that_differ_in_addresses_alone_are_told_apart(shift: int) -> None:
    tensors, expected = inputs_and_output()
    x = torch.empty(tensors["x"].numel() + 8, dtype=torch.bfloat16, device="cuda:0")
    for offset in (0, shift, 0, 8 * shift):
        moved = x[offset : offset + tensors["x"].numel()].view(tensors["x"].shape).copy_(tensors["x"])
        out = chunk_scan(**{**tensors, "x": moved})
        assert float((out.float() - expected.float()).norm() / expected.float().norm()) < 5e-3
        if offset % 8 == 0:
            assert torch.equal(expected, out)


def test_a_call_takes_the_host_tens_of_microseconds() -> None:
    problem = ChunkScanProblem(128)
    tensors, _ = inputs_and_output(problem=problem)
    times_us = []
    for _ in range(20):
        torch.cuda.synchronize()
        for _ in range(50):
            start_ns = time.perf_counter_ns()
            chunk_scan(**tensors)
            times_us.append((time.perf_counter_ns() - start_ns) / 1000)

    assert statistics.median(times_us) <= 60  # 40 are asked of a machine that does nothing else: benchmarks/one_call.py
