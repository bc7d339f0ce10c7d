"""The kernels that measure ceilings: what their loops consist of, and how a rate follows from their times."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import fake_ceilings
import pytest
import torch
from calls import call
from fake_ceilings import TURNS
from fake_cuda import FakeCuda
from fake_nvml import fake_pynvml

from ssdprof.kernels.launch import LaunchPlan, TensorMeta, TensorRef
from ssdprof.profiling.measuring import ceilings as module
from ssdprof.profiling.measuring import timer as timer_module
from ssdprof.profiling.measuring.ceiling_probes import (
    DOTS,
    EXPONENTIALS,
    ISSUED_PAIRS,
    L2_SHARE,
    L2_UNROLL,
    LOOP_INSTRUCTIONS,
    SHARED_LOADS,
    Probe,
    probes,
)
from ssdprof.profiling.measuring.ceilings import SAMPLES, rate
from ssdprof.profiling.workers.worker import Worker

PROBE = Probe(
    "shared",
    "",
    LaunchPlan("fake_ceilings", "TURNS", (6,), {"out": TensorRef("out", "int32"), "turns": 1}, {"num_warps": 4}),
    {"out": TensorMeta((6,), "int32", "out")},
    blocks_per_sm=2,
    work=1000,
)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker({"TRITON_INTERPRET": None})
    yield worker
    worker.kill()


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_120"])
def test_loops_do_what_is_counted_and_next_to_nothing_else(worker: Worker, arch: str) -> None:
    found = probes(arch)
    issued = call(worker, "compile_tasks:instructions_of_the_loop", found["issue"].plan, arch)
    assert (ISSUED_PAIRS, ISSUED_PAIRS) == (issued["FFMA"], issued["LOP3"])
    assert 2 * ISSUED_PAIRS + LOOP_INSTRUCTIONS <= issued.total() <= 2 * ISSUED_PAIRS + LOOP_INSTRUCTIONS + 1
    assert 16 * (2 * ISSUED_PAIRS + LOOP_INSTRUCTIONS) == found["issue"].work

    exponentials = call(worker, "compile_tasks:instructions_of_the_loop", found["exp"].plan, arch)
    assert EXPONENTIALS == exponentials["MUFU.EX2"]
    assert exponentials.total() <= EXPONENTIALS + LOOP_INSTRUCTIONS
    assert 512 * EXPONENTIALS == found["exp"].work

    shared = call(worker, "compile_tasks:instructions_of_the_loop", found["shared"].plan, arch)
    assert SHARED_LOADS == shared["LDS.128"]
    assert shared.total() < 4 * SHARED_LOADS  # in the four clocks that each load takes, four schedulers issue 16
    assert 512 * SHARED_LOADS * 16 == found["shared"].work

    read = call(worker, "compile_tasks:instructions_of_the_loop", found["l2 4"].plan, arch)
    assert L2_UNROLL == read["LDG.E.128.STRONG.GPU"]  # STRONG.GPU: past L1
    assert 8 * 32 * 16 * L2_UNROLL == found["l2 4"].work


@pytest.mark.parametrize(
    ("arch", "name", "operation", "count"),
    [
        ("sm_90", "tensor bfloat16 128x256", "HGMMA.64x256x16.F32.BF16", 4 * DOTS),
        ("sm_90", "tensor float8 128x128", "QGMMA.64x128x32.F32.E4M3.E4M3", 4 * DOTS),
        ("sm_90", "tensor int8 128x128", "IGMMA.64x128x32.S8.S8", 4 * DOTS),
        ("sm_80", "tensor tf32 128x128", "HMMA.1688.F32.TF32", 64 * DOTS),
        ("sm_120", "tensor bfloat16 128x128", "HMMA.16816.F32.BF16", 64 * DOTS),
    ],
)
def test_tensor_cores_get_operands_that_are_loaded_once(
    worker: Worker, arch: str, name: str, operation: str, count: int
) -> None:
    probe = probes(arch)[name]
    loop = call(worker, "compile_tasks:instructions_of_the_loop", probe.plan, arch)
    assert count == loop[operation]
    assert not [one for one in loop if one.startswith(("LDG", "STG", "STL", "LDL"))]
    rows, columns, depth = (probe.plan.args[one] for one in ("rows", "columns", "depth"))
    assert 2 * rows * columns * depth * DOTS == probe.work


@pytest.mark.parametrize(("arch", "dtypes"), [("sm_80", 4), ("sm_89", 5), ("sm_90", 5), ("sm_100", 5), ("sm_120", 5)])
def test_every_architecture_has_all_units_and_the_dtypes_of_its_tensor_cores(arch: str, dtypes: int) -> None:
    found = probes(arch).values()
    assert {"l2", "shared", "tensor", "issue", "exp"} == {probe.unit for probe in found}
    assert dtypes == len({probe.dtype for probe in found if probe.unit == "tensor"})


def test_before_the_first_architecture_there_is_nothing_to_measure() -> None:
    assert {} == probes("sm_75")


def test_all_programs_together_read_a_quarter_of_the_l2_each_its_own_part() -> None:
    found = probes("sm_90", num_sms=132, l2_bytes=50 << 20)
    for probe in (one for one in found.values() if one.unit == "l2"):
        size_bytes = probe.tensors["source"].size_bytes
        assert 0.8 < L2_SHARE * size_bytes / (50 << 20) <= 1
        assert size_bytes == 4 * probe.plan.grid_blocks * probe.plan.args["span"] * probe.plan.args["block"]
        assert 132 * probe.blocks_per_sm == probe.plan.grid_blocks


def test_binaries_do_not_depend_on_the_gpus_sizes() -> None:
    """So that they can be compiled before a process has opened the GPU."""
    small, large = probes("sm_90"), probes("sm_90", num_sms=132, l2_bytes=50 << 20)
    not_specialised = {"turns", "span", "step", "value"}
    for name, probe in small.items():
        other = large[name].plan
        assert probe.plan.options == other.options
        assert {key: value for key, value in probe.plan.args.items() if key not in not_specialised} == {
            key: value for key, value in other.args.items() if key not in not_specialised
        }


def test_a_rate_is_the_work_over_the_median_of_launches_of_a_millisecond() -> None:
    """Of a launch that takes 3 µs, and 2 µs for each turn; every third time it takes twice as long."""
    asked: list[int] = []

    def once_ms(launch: Callable[[], Any]) -> float:
        launch()
        asked.append(TURNS.turns)
        return (0.003 + 0.002 * TURNS.turns) * (2 if len(asked) % 3 == 0 else 1)

    found = rate(PROBE, once_ms, "cpu")
    turns = asked[-1]
    assert [turns] * SAMPLES == asked[2:]
    assert 0.9 < 0.002 * turns < 1.1
    assert pytest.approx(1000 * 6 * turns / (1e-3 * (0.003 + 0.002 * turns))) == found


def test_every_unit_has_the_best_of_its_probes_that_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a made-up GPU, on which one turn of any kernel takes 2 µs: six blocks do what is theirs in it."""
    gpu = fake_ceilings.BUSY.gpu = FakeCuda()
    busy = replace(PROBE, plan=replace(PROBE.plan, function="BUSY"))
    found = {
        "issue": replace(busy, unit="issue"),
        "l2 4": replace(busy, unit="l2", work=2000),
        "l2 8": replace(busy, unit="l2", work=3000),
        "l2 16": replace(busy, unit="l2", work=9000),
        "tensor int8": replace(busy, unit="tensor", dtype="int8", work=4_000_000),
    }
    monkeypatch.setattr(module, "probes", lambda *_: found)
    monkeypatch.setattr(module, "NOTHING", LaunchPlan("fake_ceilings", "BUSY", (1,), {}, {"num_warps": 4}))
    monkeypatch.setitem(sys.modules, "pynvml", fake_pynvml(driver=False))
    monkeypatch.setattr(timer_module, "LOAD_BYTES", 1 << 16)
    monkeypatch.setattr(timer_module, "COPY_BYTES", 1 << 20)
    properties = SimpleNamespace(name="A GPU", major=9, minor=0, multi_processor_count=3, L2_cache_size=1 << 16)
    with gpu.installed(monkeypatch):
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
        measured = module.measure("cpu", None, None, set(found) - {"l2 16"})
        copied = module.measure("cpu", None, 123.0, {"issue"})

    assert measured is not None
    assert copied is not None
    assert ("measured", "A GPU", None, None) == (
        measured.source,
        measured.device,
        measured.smem_gbps,
        measured.exp_gops,
    )
    assert pytest.approx((9.0, 3.0), rel=0.01) == (measured.l2_gbps, measured.issue_gips)
    assert [("int8", pytest.approx(12.0, rel=0.01))] == list(measured.tensor_tflops)
    assert pytest.approx(gpu.bytes_per_ms / 1e6, rel=0.05) == measured.dram_gbps
    assert pytest.approx(1.0) == measured.launch_us
    assert (123.0, None, ()) == (copied.dram_gbps, copied.l2_gbps, copied.tensor_tflops)


def test_a_launch_that_takes_longer_is_done_once() -> None:
    assert pytest.approx(1000 * 6 / 0.005) == rate(PROBE, lambda launch: launch() or 5.0, "cpu")
