"""Compiling for architectures that are not here, by Triton and ptxas themselves, in a worker process."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import triton

from ssdprof.kernels.interface import Config, capability
from ssdprof.kernels.ssd import grouped
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.binary.cubin import read_cubin
from ssdprof.profiling.runs.measured import Compiled
from ssdprof.profiling.workers.worker import Failure, Worker, wait_any

SPEC = ChunkScan()
PROBLEM = ChunkScanProblem(seqlen=128 * 160)
CONFIG = Config(16, 16, 16, 16, num_warps=1, num_stages=2)
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
TIMEOUT_S = 120.0


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker({"TRITON_INTERPRET": None})
    yield worker
    worker.kill()


def ask(worker: Worker, function: str, *args: Any) -> Any:
    worker.submit("compile", function, *args, timeout_s=TIMEOUT_S)
    while not wait_any([worker], 1.0):
        pass
    return worker.outcome()


def compiled(
    worker: Worker, config: Config = CONFIG, problem: ChunkScanProblem = PROBLEM, arch: str = "sm_90"
) -> tuple[Compiled, str, bytes]:
    outcome = ask(worker, "compile_tasks:compiled_and_binary", SPEC.launch(problem, config), arch)
    assert not isinstance(outcome, Failure), outcome
    return outcome  # type: ignore[no-any-return]


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100", "sm_120"])
def test_registers_shared_memory_and_launch_are_known_for_every_architecture(worker: Worker, arch: str) -> None:
    found, _, _ = compiled(worker, arch=arch)
    assert 16 <= found.registers_per_thread <= 255
    assert (0, 0) == (found.spill_bytes, found.static_shared_mem_bytes)
    assert 512 <= found.dynamic_shared_mem_bytes <= 8192
    assert (1, 32, 1, 1) == (found.num_warps, found.threads_per_block, found.num_ctas, found.num_barriers)
    tiles = (64 // 16) * (128 // 16)
    assert tiles * PROBLEM.nheads * PROBLEM.nchunks == found.grid_blocks
    assert found.compile_s > 0.0


@pytest.mark.skipif(not CUOBJDUMP.exists(), reason="this Triton ships no cuobjdump")
@pytest.mark.parametrize("maxnreg", [None, 32])
def test_registers_and_stack_are_those_that_cuobjdump_prints(
    worker: Worker, tmp_path: Path, maxnreg: int | None
) -> None:
    found, _, cubin = compiled(worker, replace(CONFIG, maxnreg=maxnreg))
    (tmp_path / "kernel.cubin").write_bytes(cubin)
    printed = subprocess.run(
        [CUOBJDUMP, "--dump-resource-usage", tmp_path / "kernel.cubin"], capture_output=True, text=True, check=True
    ).stdout
    match = re.search(r"chunk_scan_kernel:\s+REG:(\d+) STACK:(\d+)", printed)
    assert match is not None, printed
    assert (int(match[1]), int(match[2])) == (found.registers_per_thread, found.spill_bytes)
    resources = read_cubin(cubin, "chunk_scan_kernel")
    assert (int(match[1]), int(match[2])) == (resources.registers_per_thread, resources.local_bytes)


def test_maxnreg_is_kept_to_and_the_rest_spills(worker: Worker) -> None:
    wider = replace(CONFIG, block_n=32)
    free, capped = compiled(worker, wider)[0], compiled(worker, replace(wider, maxnreg=32))[0]
    assert free.registers_per_thread > 32 >= capped.registers_per_thread
    assert capped.spill_bytes > 0


def test_each_stage_more_takes_shared_memory_and_each_warp_is_counted(worker: Worker) -> None:
    one, three = (compiled(worker, replace(CONFIG, num_warps=2, num_stages=stages))[0] for stages in (1, 3))
    assert one.dynamic_shared_mem_bytes < three.dynamic_shared_mem_bytes
    assert (64, 64) == (one.threads_per_block, three.threads_per_block)


def test_sizes_beyond_32_bits_are_another_specialisation_and_compile(worker: Worker) -> None:
    longer, beyond = replace(PROBLEM, seqlen=128 * 320), replace(PROBLEM, seqlen=128 * 2400)
    elements = SPEC.tensors(beyond)["x"].numel
    assert SPEC.tensors(longer)["x"].numel < 2**31 < elements
    (_, here_hash, _), (_, longer_hash, _) = compiled(worker), compiled(worker, problem=longer)
    found, beyond_hash, cubin = compiled(worker, problem=beyond)
    assert here_hash == longer_hash
    assert here_hash != beyond_hash
    assert 16 <= found.registers_per_thread <= 255
    assert found.registers_per_thread == read_cubin(cubin, "chunk_scan_kernel").registers_per_thread


def test_an_odd_size_is_another_specialisation(worker: Worker) -> None:
    assert compiled(worker)[1] != compiled(worker, problem=replace(PROBLEM, seqlen=128 * 160 - 1))[1]


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_stand_in_is_specialised_as_a_tensor_of_torch_is(worker: Worker, device: str) -> None:
    everything = replace(PROBLEM, d_form="head-dim", z=True, seq_idx=True, states_dtype="float32")
    plan = SPEC.launch(everything, CONFIG)
    assert compiled(worker, problem=everything)[1] == ask(
        worker, "compile_tasks:hash_with_tensors", plan, "sm_90", device
    )


def test_architectures_take_turns_in_one_process(worker: Worker) -> None:
    first = compiled(worker)
    compiled(worker, arch="sm_80")
    again = compiled(worker)
    assert first[1:] == again[1:]
    assert first[1] != compiled(worker, arch="sm_80")[1]


@pytest.mark.parametrize(("arch", "same"), [("sm_80", True), ("sm_89", True), ("sm_90", False)])
def test_without_tma_grouped_is_compiled_with_pointers_and_spills_nothing(
    worker: Worker, arch: str, same: bool
) -> None:
    config = SPEC.resolve(Config(64, 64, 64, None, 4, 2, variant="grouped"), PROBLEM)
    found, hashed, _ = compiled(worker, config, arch=arch)
    _, with_pointers, _ = ask(
        worker, "compile_tasks:compiled_and_binary", grouped.launch(PROBLEM, config, descriptors=False), arch
    )
    assert same == (hashed == with_pointers)
    assert 0 == found.spill_bytes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"block_m": 24}, r"CompileError: arange's range must be a power of 2 \(line \d+ of the kernel\)"),
        (
            {"block_k": 8},
            r"CompileError: Input shapes should have M >= 1, N >= 1 and K >= 16 \(line \d+ of the kernel\)",
        ),
        (
            {"block_dstate": 8},
            r"CompileError: Input shapes should have M >= 1, N >= 1 and K >= 16 \(line \d+ of the kernel\)",
        ),
        ({"maxnreg": 24}, r"CompileError: ptxas\S* fatal +: .*Insufficient registers.*"),
        ({"num_warps": 3}, r"AssertionError: num_warps must be a power of 2"),
    ],
)
def test_what_does_not_compile_says_why_in_one_line(worker: Worker, changes: dict[str, int], reason: str) -> None:
    plan = SPEC.launch(PROBLEM, replace(CONFIG, **changes))
    failure = ask(worker, "ssdprof.profiling.binary.compiler:compile_launch", plan, "sm_90")
    assert isinstance(failure, Failure)
    assert re.fullmatch(reason, failure.line), failure.line


@pytest.mark.parametrize(("arch", "number"), [("sm_75", 75), ("sm_90", 90), ("sm_90a", 90), ("sm_120", 120)])
def test_the_capability_is_the_architectures_number(arch: str, number: int) -> None:
    assert number == capability(arch)
