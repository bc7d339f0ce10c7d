"""What compiled kernels execute, against what their source says: in a worker process, by Triton itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.runs.work import Executed
from ssdprof.profiling.workers.worker import Failure, Worker, wait_any

SUBJECT = ChunkScan(ChunkScanProblem(seqlen=2048))
"""Chunks of 128, all of them full; a state of 128."""
TIMEOUT_S = 300.0
POINTERS = {"q_ptr": "*fp16", "k_ptr": "*fp16", "v_ptr": "*fp16", "o_ptr": "*fp16"}


def ask(worker: Worker, function: str, *args: Any) -> Any:
    worker.submit("sass", f"sass_tasks:{function}", *args, timeout_s=TIMEOUT_S)
    while not wait_any([worker], 1.0):
        pass
    outcome = worker.outcome()
    assert not isinstance(outcome, Failure), outcome
    return outcome


def scanned(worker: Worker, config_id: str) -> tuple[Executed, float]:
    """What a program executes on average over a chunk's tiles, and the operations that it needs."""
    config = SUBJECT.resolve(parse_config(config_id, SUBJECT.params))
    block_m, block_k = config.number("BLOCK_SIZE_M"), config.number("BLOCK_SIZE_K")
    tiles = 128 // block_m
    trips = Counter(-(-min((i + 1) * block_m, 128) // block_k) for i in range(tiles))
    over_tokens = tuple((count, times / tiles) for count, times in sorted(trips.items()))
    over_state = ((128 // config.number("BLOCK_SIZE_DSTATE"), 1.0),)
    heads = config.number("HEADS") if config.variant == "grouped" else 0
    return ask(worker, "scan_executed", SUBJECT.launch(config), over_tokens, over_state, heads)


@pytest.mark.parametrize(
    "config_id",
    [
        "m32n32k32d128w4s3", "m32n64k32d128w2s2", "m64n64k32d128w4s1", "m64n64k64d128w4s2", "m128n64k32d128w4s4",
        "split:m32n32k32d32w2s1", "split:m32n64k32d64w4s1", "split:m64n32k32d64w4s1", "split:m64n32k64d64w4s1",
        "split:m64n64k32d64w2s1", "grouped:m64n64k64d128w4s2",
    ],
)  # fmt: skip
def test_tensor_operations_of_a_scan_are_those_of_its_products(worker: Worker, config_id: str) -> None:
    found, needed = scanned(worker, config_id)
    assert (needed, ()) == (found.flops, found.assumed)
    assert ["bfloat16"] == [dtype for dtype, _ in found.tensor_flops]


@pytest.mark.parametrize("block", [128, 1024])
def test_an_unrolled_loop_makes_as_many_exponentials_as_its_source(worker: Worker, block: int) -> None:
    """Two for each element in the first loop and one in the second; one for each thread's own maximum between them."""
    trips, signature = 13, {"x_ptr": "*bf16", "o_ptr": "*bf16", "n": "i32"}
    found = ask(worker, "kernel_of", "softmax_kernel", signature, {"BLOCK": block}, (trips, trips))
    assert (3 * trips * block + block, ()) == (found.exponentials, found.assumed)


@pytest.mark.parametrize("block_m", [64, 128])
def test_loops_of_a_function_that_is_inlined_twice_are_both_counted(worker: Worker, block_m: int) -> None:
    """With tiles of 64, the second goes round once, and the code has no loop for it."""
    constants = {"D": 64, "BLOCK_M": block_m, "BLOCK_N": 64}
    last = block_m // 64
    found = ask(worker, "kernel_of", "attention_kernel", POINTERS, constants, (8.0, float(last)))
    assert (2 * 2 * block_m * 64 * 64 * (8 + last), ()) == (found.flops, found.assumed)


def test_what_a_wgmma_reads_is_counted_once_for_its_four_warps(worker: Worker) -> None:
    """C and the state's tile are read, then x: one tile by the first program of a chunk, two by the second."""
    found, _ = scanned(worker, "m64n64k64d128w4s2")
    assert (64 + 64) * 128 * 2 + 1.5 * 64 * 64 * 2 == found.shared_operand_bytes
    assert 1.5 * 64 * 64 + 128 <= found.exponentials
    assert found.warp_instructions == sum(count for _, count in found.by_class)
    assert 0 < found.of_class("barrier") < found.of_class("fp32")


ROWS = {"x_ptr": "*bf16", "o_ptr": "*bf16", "n": "i32"}
SOFTMAX = ("softmax_kernel", ROWS, {"BLOCK": 128})
ATTENTION = ("attention_kernel", POINTERS, {"D": 64, "BLOCK_M": 64, "BLOCK_N": 64})
DIVIDING = ("dividing_kernel", ROWS, {"BLOCK": 128})
CALLING = ("calling_kernel", ROWS, {"BLOCK": 128})
BROKEN = ("", {}, {})


@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_that_are_disassembled_together_have_the_code_that_each_has_alone(
    worker: Worker, capability: int
) -> None:
    """For sm_90, newer compilers make files of another kind of those that wait at barriers."""
    kernels = [ATTENTION, DIVIDING, SOFTMAX, DIVIDING, CALLING, BROKEN]
    at_once, alone, runs = ask(worker, "disassembled_both_ways", kernels, capability)
    assert alone == at_once
    assert 2 <= runs <= 3, "one or two kinds, and one that is no cubin"
    attention, dividing, softmax, again, calling, broken = at_once
    assert any(one.places for one, _ in attention), "newer compilers tell those of inlined calls too"
    assert dividing == again != softmax
    assert all(any(one.opcode == "CALL" and at for one, at in code) for code in (dividing, calling))
    assert "nvdisasm cannot read kernel 'none'" == broken
