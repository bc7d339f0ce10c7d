"""What a compiled kernel's shared memory holds, by Triton itself, in a worker process."""

from __future__ import annotations

from typing import Any

import pytest

from ssdprof.kernels.space import space_of
from ssdprof.kernels.ssd.params import PARAMS, chunk_scan_config
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.runs.ledger import Ledger
from ssdprof.profiling.workers.worker import Failure, Worker, wait_any

SUBJECT = ChunkScan(ChunkScanProblem(seqlen=50_000))
CONFIG = chunk_scan_config(64, 64, 32, 128, num_warps=2, num_stages=4)
SAMPLE = {"mamba": 5, "vllm": 8, "wide": 104, "ssdprof": 6}
"""Each how-manieth config of a space is compiled: three of each."""
TIMEOUT_S = 300.0


def ask(worker: Worker, function: str, *args: Any) -> Any:
    worker.submit("ledger", f"compile_tasks:{function}", *args, timeout_s=TIMEOUT_S)
    while not wait_any([worker], 1.0):
        pass
    outcome = worker.outcome()
    assert not isinstance(outcome, Failure), outcome
    return outcome


def assert_it_adds_up(found: Ledger, shared_bytes: int) -> None:
    """Every byte is some operation's or between two, and the last operation ends where the shared memory does."""
    covered = 0
    for row in found.rows:
        assert 0 < row.size_bytes
        assert row.offset_bytes <= covered
        covered = max(covered, row.end_bytes)
    assert (shared_bytes, shared_bytes, 0) == (covered, found.total_bytes, found.unattributed_bytes)
    assert shared_bytes == max(row.end_bytes for row in found.rows if row.op)


def test_tiles_have_their_names_shapes_copies_and_lines(worker: Worker) -> None:
    found, shared_bytes = ask(worker, "ledger_and_shared", SUBJECT.launch(SUBJECT.resolve(CONFIG)), "sm_90")
    assert_it_adds_up(found, shared_bytes)
    buffers = {row.name: row for row in found.rows if row.kind == "buffer"}
    cb, x = buffers["b_cb"], buffers["b_x"]
    assert ((64, 32), "f32", 3, 3 * 64 * 32 * 4) == (cb.shape, cb.dtype, cb.copies, cb.size_bytes)
    assert ((32, 64), "bf16", 3, 3 * 32 * 64 * 2) == (x.shape, x.dtype, x.copies, x.size_bytes)
    assert cb.file.endswith("kernels/ssd/per_head.py")
    assert cb.line > 0
    assert "convert_layout" in {row.op for row in found.rows if row.kind == "scratch"}


@pytest.mark.slow
@pytest.mark.parametrize("space", SAMPLE)
def test_every_byte_is_accounted_for_in_configs_of_each_space(worker: Worker, space: str) -> None:
    configs = space_of(SUBJECT, space).configs[:: SAMPLE[space]]
    assert 3 == len(configs)
    for config in configs:
        found, shared_bytes = ask(worker, "ledger_and_shared", SUBJECT.launch(SUBJECT.resolve(config)), "sm_90")
        assert found.rows, PARAMS.id(config)
        assert_it_adds_up(found, shared_bytes)


def test_scratch_of_every_kind_is_named_by_its_operation_and_a_call_has_what_the_function_needs(worker: Worker) -> None:
    found, _ = ask(worker, "odd_kernel")
    assert_it_adds_up(found, found.total_bytes)
    sizes = {row.op: row.size_bytes for row in found.rows}
    assert {"scan", "call", "reduce", "histogram", "atomic_rmw", "gather", "atomic_cas"} <= set(sizes)
    assert (4, 4) == (sizes["atomic_rmw"], sizes["atomic_cas"])
    assert 4 * 4 == sizes["call"]  # one float of each of four warps, in the function
    assert 1024 * 4 == sizes["gather"]
    assert {"call"} == {row.op for row in found.rows if row.kind == "call"}
    assert {"scratch_kernels.py"} == {row.file.rpartition("/")[2] for row in found.rows}


def test_an_operation_alone_needs_what_triton_notes_of_it_where_it_notes_it(worker: Worker) -> None:
    _, ttgir = ask(worker, "odd_kernel")
    sizes = ask(worker, "alone_and_noted", ttgir)
    assert 6 <= len(sizes)
    for name, alone, noted in sizes:
        assert alone > 0, name
        assert noted in (0, alone), name
