"""Which values hold the registers of compiled kernels, in a worker process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.ssd.params import PARAMS, Numbers
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.runs.registers import HeldInRegisters, Registers
from ssdprof.profiling.sweep.explain import REGISTERS
from ssdprof.profiling.workers.pool import run_task
from ssdprof.profiling.workers.worker import Worker

SUBJECT = ChunkScan(ChunkScanProblem(seqlen=50_000))
TIMEOUT_S = 300.0


def launch(config_id: str) -> tuple[Any, Numbers]:
    config = SUBJECT.resolve(parse_config(config_id, PARAMS))
    return SUBJECT.launch(config), Numbers.of(config)


def of_kernel(worker: Worker, config_id: str) -> tuple[Registers, int, Mapping[str, HeldInRegisters]]:
    """What holds the registers of a config, what its accumulator must have, and the accumulators by variable."""
    plan, numbers = launch(config_id)
    found = run_task(worker, REGISTERS, plan, "sm_90", timeout_s=TIMEOUT_S)
    assert isinstance(found, Registers), found
    kept = found.registers_per_thread + found.spilled_registers
    assert kept == sum(row.registers for row in found.rows) + found.rest_registers
    elements = numbers.m * numbers.n
    return (
        found,
        elements // (32 * numbers.num_warps),
        {row.name: row for row in found.rows if row.kind == "accumulator"},
    )


def test_the_accumulator_of_a_compiled_kernel_has_its_elements_and_the_variables_name(worker: Worker) -> None:
    found, expected, accumulators = of_kernel(worker, "split:m64n64k32d128w2s2")
    assert (expected, 1, "f32", (64, 64)) == (
        (row := accumulators["b_acc"]).registers,
        row.values,
        row.dtype,
        row.shape,
    )
    assert row.file.endswith("kernels/ssd/per_head.py")
    assert "loaded" == next(row.kind for row in found.rows if row.name == "b_cb")
    assert 0 <= found.rest_registers < found.registers_per_thread / 2


def test_the_same_of_a_kernel_with_warp_group_products_and_descriptors(worker: Worker) -> None:
    found, expected, accumulators = of_kernel(worker, "grouped:m64n64k64d128w4s2h4")
    assert expected == accumulators["b_acc"].registers
    assert expected * accumulators["cb_tiles"].values == accumulators["cb_tiles"].registers
    assert "b_c" in {row.name for row in found.rows}
    assert 0 <= found.rest_registers < found.registers_per_thread / 2


def test_at_the_baseline_two_whole_operands_hold_the_most(worker: Worker) -> None:
    found, _, _ = of_kernel(worker, PARAMS.id(SUBJECT.resolve(SUBJECT.baseline())))
    assert [("b_c", "operand", 128), ("b_state", "operand", 64)] == [
        (row.name, row.kind, row.registers) for row in found.rows[:2]
    ]
