"""The sweep from end to end on the CPU, around a kernel whose variants are right, wrong or broken in every way."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_kernel
import pytest
from fake_kernel import SHARED_MEM_BYTES, FakeProblem, FakeSpec, fake

from ssdprof.kernels.chunk_scan_spec import ChunkScan
from ssdprof.kernels.config import config_id
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import Config
from ssdprof.kernels.problem import ChunkScanProblem
from ssdprof.profiling import sweep as sweep_module
from ssdprof.profiling.model import STATUSES, Check, Compiled, Loaded, Measurement, Prepared, Row, Run
from ssdprof.profiling.request import Event, SweepRequest
from ssdprof.profiling.sweep import _Sweep, sweep

from .fake_runs import H100_GPU

TIMEOUT_S = 60.0
HANG_TIMEOUT_S = 3.0
ROUNDS, SAMPLES_PER_ROUND = 2, 3
REFINED = ROUNDS * SAMPLES_PER_ROUND
SHARED_TOO_LARGE = "needs 300000 bytes of shared memory per block, sm_90 allows 232448"

Events = list[Event]


def request(*configs: Config, gpu: bool = True, **fields: Any) -> SweepRequest:
    asked = SweepRequest(
        spec=FakeSpec(),
        problem=FakeProblem(),
        space="fakes",
        configs=configs,
        arch="sm_90",
        gpu=H100_GPU if gpu else None,
        seed=7,
        baseline=None,
        jobs=2,
        timeout_s=TIMEOUT_S,
        command="ssdprof sweep",
    )
    return replace(asked, **fields)


def swept(
    asked: SweepRequest,
    on_event: Callable[[Event], None] = lambda _: None,
    on_run: Callable[[Run], None] = lambda _: None,
) -> Run:
    """A sweep whose measuring worker uses the CPU."""
    return _Sweep(asked, on_event, on_run, "cpu", {}).run()


def by_variant(run: Run) -> dict[str, Row]:
    """The first row of each variant."""
    return {row.config.variant: row for row in reversed(run.rows)}


def children() -> set[str]:
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "FINAL_ROUNDS", ROUNDS)
    monkeypatch.setattr(sweep_module, "FINAL_SAMPLES_PER_ROUND", SAMPLES_PER_ROUND)


TROUBLES = {
    "crashes_compiler": ("compile-error", "the worker was ended by SIGABRT: LLVM ERROR: cannot select"),
    "wrong_scaled": ("wrong", "relative error 0.50, tolerance 0.01"),
    "wrong_row": ("wrong", "relative error "),
    "unwritten": ("wrong", "8 of 8 rows wrong, NaN, inf or never-written elements among them"),
    "unstable": (
        "unstable",
        "4 launches on the same input gave different bits (error up to 5.0e-05): a race or a miscompilation",
    ),
    "unstable_when_timed": (
        "unstable",
        "4 launches on the same input gave different bits (error up to 0.50): a race or a miscompilation",
    ),
    "too_much_shared_mem": ("out-of-resources", SHARED_TOO_LARGE),
    "too_many_warps": ("out-of-resources", "1152 threads per block: sm_90 takes 1 to 1024"),
    "too_much_tensor_memory": (
        "out-of-resources",
        "OutOfResourcesError: tensor memory: needs 1024 columns, an SM has 512",
    ),
    "refused_by_triton": ("out-of-resources", "OutOfResources: shared memory, Required: 300000"),
    "refused_by_driver": (
        "out-of-resources",
        "OutOfResources: shared memory, Required: 300000, Hardware limit: 232448",
    ),
    "compile_error": ("compile-error", "ValueError: no such layout"),
    "broken_cubin": ("compile-error", "CubinError: cannot read kernel 'chunk_scan_kernel' from its cubin: "),
    "launch_error": ("launch-error", "RuntimeError: invalid argument"),
    "crashes": ("launch-error", "the worker was ended by SIGABRT: an illegal memory access"),
    "no_such_variant": ("launch-error", "unknown variant 'no_such_variant'"),
}
TROUBLE_CONFIGS = [fake(variant) for variant in TROUBLES if variant != "crashes"]
NEVER_COMPILED = {
    "too_much_tensor_memory",
    "refused_by_triton",
    "compile_error",
    "broken_cubin",
    "crashes_compiler",
    "no_such_variant",
}
NEVER_LAUNCHED = NEVER_COMPILED | {"too_much_shared_mem", "too_many_warps"}


@pytest.fixture(scope="module")
def gauntlet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Events, list[Run], list[str]]:
    """One sweep of every kind of trouble, a fault last, with right configs before, between and after the others: its
    run, what it told, the runs so far, and the process of each preparation.
    """
    log = tmp_path_factory.mktemp("gauntlet") / "prepared.log"
    configs = [
        fake("right"),
        *TROUBLE_CONFIGS[:8],
        fake("slow"),
        *TROUBLE_CONFIGS[8:],
        fake("right", 32),
        fake("crashes"),
    ]
    events: Events = []
    runs: list[Run] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep_module, "FINAL_ROUNDS", ROUNDS)
        patch.setattr(sweep_module, "FINAL_SAMPLES_PER_ROUND", SAMPLES_PER_ROUND)
        patch.setattr(sweep_module, "_SAVE_EVERY_S", 0.0)
        asked = request(*configs, jobs=1, problem=FakeProblem(log=str(log)), baseline=fake("slow"))
        run = swept(asked, events.append, runs.append)
    return run, events, runs, log.read_text().split()


Gauntlet = tuple[Run, Events, list[Run], list[str]]


@pytest.mark.parametrize("variant", TROUBLES)
def test_every_trouble_is_a_row_with_its_status_and_a_reason_of_one_line(gauntlet: Gauntlet, variant: str) -> None:
    status, reason = TROUBLES[variant]
    row = by_variant(gauntlet[0])[variant]
    assert status == row.status
    assert row.status_reason.startswith(reason), row.status_reason
    assert 1 == len(row.status_reason.splitlines())
    assert (None, None, None) == (row.rank, row.speedup_vs_baseline, row.tied_with_best)


def test_the_rows_are_the_configs_in_their_order_and_right_ones_are_ok(gauntlet: Gauntlet) -> None:
    run = gauntlet[0]
    first, rest = TROUBLE_CONFIGS[:8], TROUBLE_CONFIGS[8:]
    assert [fake("right"), *first, fake("slow"), *rest, fake("right", 32), fake("crashes")] == [
        row.config for row in run.rows
    ]
    assert {"right", "slow"} == {row.config.variant for row in run.rows if row.status == "ok"}
    assert all((row.status_reason == "") == (row.status == "ok") for row in run.rows)
    assert set(STATUSES) >= {row.status for row in run.rows}


def test_right_rows_alone_are_ranked_by_latency(gauntlet: Gauntlet) -> None:
    ranked = gauntlet[0].ranked
    assert [1, 2, 3] == [row.rank for row in ranked]
    assert "slow" == ranked[2].config.variant
    latencies = [row.timing.latency_ms for row in ranked if row.timing]
    assert sorted(latencies) == latencies
    assert latencies[2] >= 50.0
    assert (True, False) == (ranked[0].tied_with_best, ranked[2].tied_with_best)


def test_speed_ups_are_over_the_baseline(gauntlet: Gauntlet) -> None:
    run = gauntlet[0]
    assert config_id(fake("slow")) == run.header.baseline_id
    slow = by_variant(run)["slow"]
    assert 1.0 == slow.speedup_vs_baseline
    for row in run.ranked:
        assert row.timing is not None
        assert slow.timing is not None
        assert slow.timing.latency_ms / row.timing.latency_ms == row.speedup_vs_baseline
    assert run.ranked[0].speedup_vs_baseline is not None
    assert run.ranked[0].speedup_vs_baseline > 2.0


def test_finalists_baseline_and_the_fastest_wrong_one_are_timed_again_though_the_last_config_was_a_fault(
    gauntlet: Gauntlet,
) -> None:
    run = gauntlet[0]
    assert "crashes" == run.rows[-1].config.variant
    samples = {row.config_id: row.timing.samples for row in run.rows if row.timing}
    assert REFINED == samples[config_id(fake("slow"))]
    assert REFINED == samples[run.ranked[0].config_id]
    wrong = sorted(row.timing.samples for row in run.rows if row.status == "wrong" and row.timing)
    assert [1, 1, REFINED] == wrong
    assert {1} == {row.timing.samples for row in run.rows if row.status == "unstable" and row.timing}


def test_what_was_compiled_is_in_the_row_even_if_the_launch_failed(gauntlet: Gauntlet) -> None:
    rows = by_variant(gauntlet[0])
    for variant in ("right", "wrong_row", "launch_error", "crashes", "refused_by_driver"):
        compiled, occupancy = rows[variant].compiled, rows[variant].occupancy
        assert compiled is not None
        assert occupancy is not None
        assert (fake_kernel.CUBIN_REGISTERS, fake_kernel.CUBIN_STACK_BYTES, fake_kernel.CUBIN_BARRIERS) == (
            compiled.registers_per_thread,
            compiled.spill_bytes,
            compiled.num_barriers,
        )
        assert (SHARED_MEM_BYTES, 4, 32) == (
            compiled.dynamic_shared_mem_bytes,
            compiled.num_warps,
            compiled.grid_blocks,
        )
        assert 2 == occupancy.blocks_per_sm
    assert NEVER_COMPILED == {variant for variant, row in rows.items() if row.compiled is None}


def test_what_never_ran_has_neither_check_nor_timing(gauntlet: Gauntlet) -> None:
    rows = by_variant(gauntlet[0])
    failed_at_launch = {"refused_by_driver", "launch_error", "crashes"}
    assert NEVER_LAUNCHED | failed_at_launch == {variant for variant, row in rows.items() if row.check is None}
    assert NEVER_LAUNCHED | failed_at_launch == {variant for variant, row in rows.items() if row.timing is None}


def test_a_check_tells_how_far_off_the_output_is(gauntlet: Gauntlet) -> None:
    rows = by_variant(gauntlet[0])
    checks = {variant: row.check for variant, row in rows.items() if row.check is not None}
    assert (0.0, 0.0, 0, 8, True, 4) == (
        checks["right"].relative_error,
        checks["right"].worst_row_error,
        checks["right"].bad_rows,
        checks["right"].rows,
        checks["right"].repeatable,
        checks["right"].launches,
    )
    assert pytest.approx(0.5) == checks["wrong_scaled"].relative_error
    assert 8 == checks["wrong_scaled"].bad_rows
    assert 1 == checks["wrong_row"].bad_rows
    assert pytest.approx(0.2, rel=1e-3) == checks["wrong_row"].worst_row_error
    assert math.isnan(checks["unwritten"].relative_error)
    assert math.isnan(checks["unwritten"].worst_row_error)
    assert (False, False) == (checks["unstable"].repeatable, checks["unstable_when_timed"].repeatable)
    assert checks["unstable"].relative_error < 1e-2


def test_a_fault_costs_a_new_preparation_and_a_refused_launch_does_not(gauntlet: Gauntlet) -> None:
    processes = gauntlet[3]
    faults = ["launch_error", "crashes"]  # the second comes last: the finalists' rounds need a new preparation
    assert 1 + len(faults) == len(processes) == len(set(processes))


def test_events_tell_every_phase_and_count_up_to_the_total(gauntlet: Gauntlet) -> None:
    events = gauntlet[1]
    assert {"preparing", "measuring", "refining"} == {event.phase for event in events}
    refining = [event for event in events if event.phase == "refining"]
    assert refining[-1].done == refining[-1].total == len({event.config_id for event in refining}) * ROUNDS
    assert all(event.done <= event.total for event in events)
    assert all(event.eta_s is None or event.eta_s >= 0 for event in events)
    plans = len(TROUBLES) - 1 + 3
    assert plans == refining[-1].compiled
    compiled = [event.compiled for event in events]
    assert sorted(compiled) == compiled
    best = [event.best for event in events if event.best]
    assert {"ok"} == {row.status for row in best}


def test_each_run_so_far_is_one_that_can_be_kept(gauntlet: Gauntlet) -> None:
    run, _, runs, _ = gauntlet
    assert len(runs) > 3
    assert run == runs[-1]
    for so_far in runs:
        assert len(run.rows) == len(so_far.rows)
        assert run.header.date == so_far.header.date
        assert all((row.status_reason == "") == (row.status == "ok") for row in so_far.rows)
        waiting = {row.status_reason for row in so_far.rows if row.status == "not-run"}
        assert {"not reached", "not measured yet"} >= waiting


def test_the_header_says_what_the_run_is_of(gauntlet: Gauntlet) -> None:
    header = gauntlet[0].header
    assert ("fake", "fa4e" * 4, "fakes", 7, "ssdprof sweep", False) == (
        header.kernel,
        header.kernel_hash,
        header.space,
        header.seed,
        header.command,
        header.interrupted,
    )
    assert {"rows": 8, "columns": 16, "log": header.problem["log"], "trouble": ""} == header.problem
    assert (H100_GPU.name, H100_GPU.driver, "sm_90") == (header.device.name, header.device.driver, header.device.arch)
    assert (8 * 128, 128) == (header.bytes_min, header.flops)


def test_a_compiler_and_a_launch_that_hang_are_timeouts_and_the_rest_goes_on() -> None:
    before = children()
    run = swept(request(fake("hangs_compiler"), fake("hangs"), fake("right"), timeout_s=HANG_TIMEOUT_S))
    rows = by_variant(run)
    late = ("timeout", "no result after 3 s")
    assert late == (rows["hangs_compiler"].status, rows["hangs_compiler"].status_reason)
    assert late == (rows["hangs"].status, rows["hangs"].status_reason)
    assert rows["hangs_compiler"].compiled is None
    assert rows["hangs"].compiled is not None
    assert ("ok", 1) == (rows["right"].status, rows["right"].rank)
    assert before == children()


def test_a_fault_in_the_rounds_of_the_finalists_costs_its_own_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "FINALIST_SLACK", math.inf)
    run = swept(request(fake("crashes_when_timed_again"), fake("right"), fake("slow"), jobs=1))
    rows = by_variant(run)
    failed = rows["crashes_when_timed_again"]
    assert ("launch-error", "the worker was ended by SIGABRT: an illegal memory access") == (
        failed.status,
        failed.status_reason,
    )
    assert (None, None, None) == (failed.rank, failed.timing, failed.check)
    assert [REFINED, REFINED] == [row.timing.samples for row in run.ranked if row.timing]


def test_a_gpu_that_cannot_be_prepared_again_for_the_finalists_leaves_what_was_timed(tmp_path: Path) -> None:
    problem = FakeProblem(log=str(tmp_path / "prepared.log"), trouble="abort")
    run = swept(request(fake("right"), fake("crashes"), problem=problem, jobs=1))
    right, crashed = run.rows
    assert ("ok", 1, 1) == (right.status, right.rank, right.timing.samples if right.timing else 0)
    assert "launch-error" == crashed.status


def test_a_gpu_that_cannot_be_prepared_leaves_compiled_rows_with_that_reason() -> None:
    events: Events = []
    asked = request(fake("right"), fake("right", 32), fake("compile_error"), problem=FakeProblem(trouble="raise"))
    run = swept(asked, events.append)
    assert ["not-run", "not-run", "compile-error"] == [row.status for row in run.rows]
    reason = "the GPU could not be prepared: RuntimeError: no reference today"
    assert {reason} == {row.status_reason for row in run.rows[:2]}
    assert all(row.compiled and row.occupancy and row.rank is None for row in run.rows[:2])
    assert "compiling" in {event.phase for event in events}


def test_what_the_driver_says_of_the_loaded_kernel_goes_before_the_compilers_figures() -> None:
    """A GPU's answer, without a GPU: the sweep is handed what its workers would say."""
    state = _Sweep(request(fake("right")), lambda _: None, lambda _: None, "cpu", {})
    name = config_id(fake("right"))
    state._set_compiled(name, Compiled(255, 24, SHARED_MEM_BYTES, 0, 4, 1, 1, 32, compile_s=1.0))
    state._set_prepared(Prepared("2.13.0", num_sms=132, l2_bytes=None, memory_bytes=None, copy_gbps=None))
    found = Check(0.001, 0.002, 0, 8, True, 4)
    state._set_measured(name, Measurement(found, (2.0, 1.0, 3.0), Loaded(96, 8, blocks_per_sm=5)))
    row = state._so_far().rows[0]
    assert row.compiled is not None
    assert row.occupancy is not None
    assert row.timing is not None
    assert (96, 8, 5, 5) == (
        row.compiled.registers_per_thread,
        row.compiled.spill_bytes,
        row.driver_blocks_per_sm,
        row.occupancy.blocks_per_sm,
    )
    assert pytest.approx(32 / (132 * 5)) == row.occupancy.waves_per_sm
    assert ("ok", found, 2.0, 3) == (row.status, row.check, row.timing.latency_ms, row.timing.samples)


def test_ctrl_c_while_measuring_keeps_what_was_measured_and_says_what_was_not() -> None:
    before = children()
    runs: list[Run] = []

    def interrupt(event: Event) -> None:
        if event.phase == "measuring" and event.done >= 1:
            raise KeyboardInterrupt

    configs = [fake("slow", 16 + number) for number in range(12)]
    run = swept(request(*configs, fake("hangs_compiler"), fake("right", 99), jobs=1), interrupt, runs.append)
    assert run.header.interrupted
    assert [run] == runs[-1:]
    assert before == children()
    reasons = {row.status: set() for row in run.rows}
    for row in run.rows:
        reasons[row.status].add(row.status_reason)
        assert (row.status == "ok") == (row.rank is not None)
    assert {"ok", "not-run"} == set(reasons)
    assert reasons["not-run"] <= {"interrupted before it was measured", "interrupted before it was compiled"}
    assert "interrupted before it was compiled" == run.rows[-1].status_reason


def test_ctrl_c_while_refining_keeps_the_ranks() -> None:
    def interrupt(event: Event) -> None:
        if event.phase == "refining":
            raise KeyboardInterrupt

    run = swept(request(fake("right"), fake("wrong_scaled")), interrupt)
    assert run.header.interrupted
    assert [("ok", 1), ("wrong", None)] == [(row.status, row.rank) for row in run.rows]


def test_ctrl_c_while_compiling_without_a_gpu_calls_compiled_what_was() -> None:
    def interrupt(event: Event) -> None:
        if event.compiled >= 1:
            raise KeyboardInterrupt

    run = swept(request(fake("right"), fake("hangs_compiler"), fake("right", 32), gpu=False, jobs=1), interrupt)
    assert run.header.interrupted
    assert [
        "compiled only, no GPU",
        "interrupted before it was compiled",
        "interrupted before it was compiled",
    ] == [row.status_reason for row in run.rows]


def test_an_error_of_the_caller_ends_the_workers_and_is_raised() -> None:
    before = children()

    def broken(_: Event) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        swept(request(fake("hangs_compiler")), broken)
    assert before == children()


def test_without_a_gpu_everything_is_compiled_and_nothing_measured() -> None:
    events: Events = []
    configs = (fake("right"), fake("wrong_scaled"), fake("too_much_shared_mem"), fake("compile_error"), fake("nothing"))
    run = sweep(request(*configs, gpu=False, baseline=fake("right")), events.append, lambda _: None)
    assert [
        ("not-run", "compiled only, no GPU"),
        ("not-run", "compiled only, no GPU"),
        ("out-of-resources", SHARED_TOO_LARGE),
        ("compile-error", "ValueError: no such layout"),
        ("launch-error", "unknown variant 'nothing'"),
    ] == [(row.status, row.status_reason) for row in run.rows]
    assert (False, (), None) == (run.measured, run.ranked, run.header.device.name)
    assert config_id(fake("right")) == run.header.baseline_id
    assert {"compiling"} == {event.phase for event in events}
    assert 4 == events[-1].done == events[-1].total


def test_a_config_given_twice_or_in_two_ways_is_run_once() -> None:
    whole = replace(fake("right"), block_dstate=None)
    run = sweep(request(fake("right"), whole, fake("right"), gpu=False), lambda _: None, lambda _: None)
    assert ["right:m16n16k16d16w4s2"] == [row.config_id for row in run.rows]


def test_a_baseline_outside_the_space_is_none() -> None:
    asked = request(fake("right"), gpu=False, baseline=fake("right", 32))
    assert sweep(asked, lambda _: None, lambda _: None).header.baseline_id is None


def test_a_baseline_that_the_kernel_does_not_take_is_an_error() -> None:
    with pytest.raises(ConfigError, match="unknown variant 'nothing'"):
        sweep(request(fake("right"), gpu=False, baseline=fake("nothing")), lambda _: None, lambda _: None)


def test_no_configs_are_an_empty_run() -> None:
    runs: list[Run] = []
    assert () == sweep(request(gpu=False), lambda _: None, runs.append).rows
    assert 1 == len(runs)


def test_the_chunk_scan_is_compiled_for_an_architecture_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")  # compiling workers must not see it
    small = ChunkScanProblem(seqlen=64, nheads=2, ngroups=1, headdim=16, dstate=32, chunk_size=16)
    configs = (Config(16, 16, 16, None, 1, 1), Config(16, 16, 16, 8, 1, 1), Config(16, 16, 16, 16, 1, 1, num_ctas=2))
    asked = request(*configs, gpu=False, spec=ChunkScan(), problem=small, arch="sm_80", seed=0)
    run = sweep(asked, lambda _: None, lambda _: None)
    compiled, tile, cluster = run.rows
    assert compiled.compiled is not None
    assert (32, 8) == (compiled.config.block_dstate, compiled.compiled.grid_blocks)
    assert 0 < compiled.compiled.registers_per_thread <= 255
    assert ("compile-error", "compile-error") == (tile.status, cluster.status)
    assert "CompileError: Input shapes should have M >= 1, N >= 1 and K >= 16" in tile.status_reason
    assert "num_ctas > 1 requires NVIDIA SM90+" in cluster.status_reason


def test_sweeps_leave_this_process_as_it_was() -> None:
    assert "CUDA_VISIBLE_DEVICES" not in os.environ or os.environ["CUDA_VISIBLE_DEVICES"] != H100_GPU.visible
