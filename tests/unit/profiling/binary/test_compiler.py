"""Compiling for architectures that are not here, by Triton and ptxas themselves, in a worker process."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import triton

from ssdprof.kernels.config import Config, Value
from ssdprof.kernels.launch import LaunchPlan, TensorRef, capability
from ssdprof.kernels.ssd.launches import DESCRIBED
from ssdprof.kernels.ssd.params import chunk_scan_config
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.binary.cubin import read_cubin
from ssdprof.profiling.runs.measured import Compiled
from ssdprof.profiling.workers.worker import Failure, Worker, wait_any

PROBLEM = ChunkScanProblem(seqlen=128 * 160)
CONFIG = chunk_scan_config(16, 16, 16, 16, num_warps=1, num_stages=2)
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
TIMEOUT_S = 120.0


def ask(worker: Worker, function: str, *args: Any) -> Any:
    worker.submit("compile", function, *args, timeout_s=TIMEOUT_S)
    while not wait_any([worker], 1.0):
        pass
    return worker.outcome()


def with_values(**changes: Value) -> Config:
    return CONFIG.with_values(changes)


def compiled(
    worker: Worker, config: Config = CONFIG, problem: ChunkScanProblem = PROBLEM, arch: str = "sm_90"
) -> tuple[Compiled, str, bytes]:
    outcome = ask(worker, "compile_tasks:compiled_and_binary", ChunkScan(problem).launch(config), arch)
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
    found, _, cubin = compiled(worker, with_values(maxnreg=maxnreg))
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
    wider = with_values(BLOCK_SIZE_N=32)
    free, capped = compiled(worker, wider)[0], compiled(worker, wider.with_values({"maxnreg": 32}))[0]
    assert free.registers_per_thread > 32 >= capped.registers_per_thread
    assert capped.spill_bytes > 0


def test_each_stage_more_takes_shared_memory_and_each_warp_is_counted(worker: Worker) -> None:
    one, three = (compiled(worker, with_values(num_warps=2, num_stages=stages))[0] for stages in (1, 3))
    assert one.dynamic_shared_mem_bytes < three.dynamic_shared_mem_bytes
    assert (64, 64) == (one.threads_per_block, three.threads_per_block)


def test_sizes_beyond_32_bits_are_another_specialisation_and_compile(worker: Worker) -> None:
    longer, beyond = replace(PROBLEM, seqlen=128 * 320), replace(PROBLEM, seqlen=128 * 2400)
    elements = ChunkScan(beyond).tensors()["x"].numel
    assert ChunkScan(longer).tensors()["x"].numel < 2**31 < elements
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
    plan = ChunkScan(everything).launch(CONFIG)
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
    config = ChunkScan(PROBLEM).resolve(chunk_scan_config(64, 64, 64, None, 4, 2, variant="grouped"))
    found, hashed, _ = compiled(worker, config, arch=arch)
    plan = ChunkScan(PROBLEM).launch(config)
    no_descriptors = replace(plan, args={**plan.args, **{f"{name}_desc": None for name in DESCRIBED}})
    _, with_pointers, _ = ask(worker, "compile_tasks:compiled_and_binary", no_descriptors, arch)
    assert same == (hashed == with_pointers)
    assert 0 == found.spill_bytes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"BLOCK_SIZE_M": 24}, r"CompileError: arange's range must be a power of 2 \(line \d+ of the kernel\)"),
        (
            {"BLOCK_SIZE_K": 8},
            r"CompileError: Input shapes should have M >= 1, N >= 1 and K >= 16 \(line \d+ of the kernel\)",
        ),
        (
            {"BLOCK_SIZE_DSTATE": 8},
            r"CompileError: Input shapes should have M >= 1, N >= 1 and K >= 16 \(line \d+ of the kernel\)",
        ),
        ({"maxnreg": 24}, r"CompileError: ptxas\S* fatal +: .*Insufficient registers.*"),
        ({"num_warps": 3}, r"AssertionError: num_warps must be a power of 2"),
    ],
)
def test_what_does_not_compile_says_why_in_one_line(worker: Worker, changes: dict[str, int], reason: str) -> None:
    plan = ChunkScan(PROBLEM).launch(with_values(**changes))
    failure = ask(worker, "ssdprof.profiling.binary.compiler:compile_launch", plan, "sm_90")
    assert isinstance(failure, Failure)
    assert re.fullmatch(reason, failure.line), failure.line


@pytest.mark.parametrize(("arch", "number"), [("sm_75", 75), ("sm_90", 90), ("sm_90a", 90), ("sm_120", 120)])
def test_the_capability_is_the_architectures_number(arch: str, number: int) -> None:
    assert number == capability(arch)


KERNEL_OF_A_FILE = """
import triton
import triton.language as tl
import compiled_extension_that_is_not_here
from an_engine.utils import anything


@triton.autotune([triton.Config({"TILE": 16})], key=[])
@triton.jit
def add_one(x_ptr, out_ptr, TILE: tl.constexpr):
    o = tl.arange(0, TILE)
    tl.store(out_ptr + o, tl.load(x_ptr + o) + 1.0)
"""


def test_a_kernel_of_a_file_compiles_without_what_the_file_imports_besides(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "kernel_of_a_file.py").write_text(KERNEL_OF_A_FILE)
    plan = LaunchPlan(
        module="an_engine.kernel_of_a_file",
        function="add_one",
        grid=(3, 2),
        args={"x_ptr": TensorRef("x", "float32"), "out_ptr": TensorRef("out", "float32", offset=16), "TILE": 64},
        options={"num_warps": 2},
        file=str(tmp_path / "kernel_of_a_file.py"),
    )
    found = ask(worker, "ssdprof.profiling.binary.compiler:compile_launch", plan, "sm_90")
    assert isinstance(found, Compiled), found
    assert (6, 64, 0) == (found.grid_blocks, found.threads_per_block, found.spill_bytes)


@pytest.mark.parametrize(("offset", "same"), [(0, True), (16, True), (2, False)])
def test_a_part_of_a_tensor_is_specialised_by_where_it_begins(worker: Worker, offset: int, same: bool) -> None:
    """As a tensor of its own if it is as aligned, of which 16 bytes are asked."""
    plan = ChunkScan(PROBLEM).launch(CONFIG)
    moved = {name: replace(arg, offset=offset) if name == "x_ptr" else arg for name, arg in plan.args.items()}
    _, hashed, _ = ask(worker, "compile_tasks:compiled_and_binary", replace(plan, args=moved), "sm_90")
    assert same == (hashed == compiled(worker)[1])
