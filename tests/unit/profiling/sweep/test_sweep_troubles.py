"""One sweep on the CPU around a subject whose variants are correct, wrong or broken in every way."""

from __future__ import annotations

import math

import fake_launches
import pytest
from cpu_sweeps import REFINED, ROUNDS, SHARED_TOO_LARGE, Events, by_variant, request, swept, take_few_samples
from fake_kernel import PARAMS, FakeSubject, fake
from fake_launches import SHARED_MEM_BYTES
from fake_runs import H100_GPU

from ssdprof.kernels.interface import Remark
from ssdprof.profiling.measuring.amounts import SEEDS
from ssdprof.profiling.runs.measured import Batch
from ssdprof.profiling.runs.model import STATUSES, Row, Run, RunHeader
from ssdprof.profiling.runs.state import Record, RunState

TROUBLES = {
    "crashes_compiler": ("compile-error", "the worker was ended by SIGABRT: LLVM ERROR: cannot select"),
    "wrong_scaled": ("wrong", "scaled: relative error 0.50, tolerance 0.01; all rows"),
    "wrong_row": ("wrong", "scaled: relative error "),
    "wrong_tile": ("wrong", "scaled: relative error "),
    "forgets_the_total": ("wrong", "total: relative error 0.62, tolerance 0.02; all rows"),
    "unwritten": (
        "wrong",
        "scaled: 8 of 8 rows wrong, NaN, inf or never-written elements among them; NaN in 8 rows: lane 0",
    ),
    "nan_rows": (
        "wrong",
        "scaled: 2 of 8 rows wrong, NaN, inf or never-written elements among them; NaN in 2 rows: rows 2 to 3",
    ),
    "last_chunk": ("wrong", "scaled: relative error "),
    "half": ("wrong", "scaled: relative error 0.50, tolerance 0.01; only half of two"),
    "beyond": ("wrong", "wrote outside its output: 2 elements after its end"),
    "between": ("wrong", "wrote outside its output: 4 bytes between its rows"),
    "scribbles_on_weights": ("wrong", "wrote to memory that is not its output: weights"),
    "scribbles": ("wrong", "wrote to memory that is not its output: x"),
    "unstable": (
        "unstable",
        "2 launches on the same input gave different bits (error up to 4.0e-05): a race or a miscompilation",
    ),
    "unstable_when_timed": (
        "unstable",
        "11 launches on the same input gave different bits (error up to 0.50): a race or a miscompilation",
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
    "too_much_memory": ("out-of-resources", "OutOfMemoryError: CUDA out of memory. Tried to allocate 1.00 TiB"),
    "compile_error": ("compile-error", "ValueError: no such layout"),
    "broken_cubin": ("compile-error", "CubinError: cannot read kernel 'chunk_scan_kernel' from its cubin: "),
    "launch_error": ("launch-error", "RuntimeError: invalid argument"),
    "crashes": ("launch-error", "the worker was ended by SIGABRT: an illegal memory access"),
    "no_such_variant": ("launch-error", "unknown variant no_such_variant: one of right, "),
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
FAILED_AT_LAUNCH = {"refused_by_driver", "too_much_memory", "launch_error", "crashes"}
NOT_TIMED = {"unstable", "beyond", "between", "scribbles", "scribbles_on_weights"}
RIGHT, ALSO_RIGHT, SLOW = fake(), fake(rows=32), fake("slow", 64)
"""They last 1, 2 and 4 ms on the made-up GPU."""
FIRST, REST = TROUBLE_CONFIGS[:8], TROUBLE_CONFIGS[8:]
ALL = (RIGHT, *FIRST, SLOW, *REST, ALSO_RIGHT, fake("crashes"))


@pytest.fixture(scope="module")
def gauntlet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Events, list[Record], list[str]]:
    """One sweep of every kind of trouble, a fault last, with correct configs before, between and after the others: its
    run, what it said, its records, and the process of each preparation.
    """
    log = tmp_path_factory.mktemp("gauntlet") / "prepared.log"
    events: Events = []
    records: list[Record] = []
    with pytest.MonkeyPatch.context() as patch:
        take_few_samples(patch)
        asked = request(*ALL, jobs=1, subject=FakeSubject(log=str(log)), baseline=SLOW)
        run = swept(asked, events.append, records.append, device="fake_timer:SteadyTimer")
    return run, events, records, log.read_text().split()


Gauntlet = tuple[Run, Events, list[Record], list[str]]


@pytest.mark.parametrize("variant", TROUBLES)
def test_every_trouble_is_a_row_with_its_status_and_a_reason_of_one_line(gauntlet: Gauntlet, variant: str) -> None:
    status, reason = TROUBLES[variant]
    row = by_variant(gauntlet[0])[variant]
    assert status == row.status
    assert row.status_reason.startswith(reason), row.status_reason
    assert 1 == len(row.status_reason.splitlines())
    assert (None, None, None) == (row.rank, row.speedup_vs_baseline, row.tied_with_best)


def test_the_rows_are_the_configs_in_their_order_and_correct_ones_are_ok(gauntlet: Gauntlet) -> None:
    run = gauntlet[0]
    assert [*ALL] == [row.config for row in run.rows]
    assert {RIGHT, SLOW, ALSO_RIGHT} == {row.config for row in run.rows if row.status == "ok"}
    assert all((row.status_reason == "") == (row.status == "ok") for row in run.rows)
    assert set(STATUSES) >= {row.status for row in run.rows}


def test_correct_rows_alone_are_ranked_by_latency(gauntlet: Gauntlet) -> None:
    ranked = gauntlet[0].ranked
    assert [(1, RIGHT), (2, ALSO_RIGHT), (3, SLOW)] == [(row.rank, row.config) for row in ranked]
    latencies_ms = [row.timing.latency_ms for row in ranked if row.timing]
    assert pytest.approx([1.0, 2.0, 4.0], rel=2e-3) == latencies_ms
    assert [True, False, False] == [row.tied_with_best for row in ranked]


def test_speed_ups_are_over_the_baseline(gauntlet: Gauntlet) -> None:
    run = gauntlet[0]
    assert PARAMS.id(SLOW) == run.header.baseline_id
    slow = by_variant(run)["slow"]
    assert 1.0 == slow.speedup_vs_baseline
    for row in run.ranked:
        assert row.timing is not None
        assert slow.timing is not None
        assert slow.timing.latency_ms / row.timing.latency_ms == row.speedup_vs_baseline
    assert pytest.approx(4.0, rel=4e-3) == run.ranked[0].speedup_vs_baseline


def test_finalists_baseline_and_the_fastest_wrong_one_are_timed_again_though_the_last_config_was_a_fault(
    gauntlet: Gauntlet,
) -> None:
    run = gauntlet[0]
    assert "crashes" == run.rows[-1].config.variant
    samples = {row.config_id: row.timing.samples for row in run.rows if row.timing}
    assert REFINED == samples[PARAMS.id(SLOW)]
    assert REFINED == samples[run.ranked[0].config_id]
    wrong = sorted(row.timing.samples for row in run.rows if row.status == "wrong" and row.timing)
    assert [1, 1, 1, 1, 1, 1, 1, REFINED] == wrong


def test_what_was_compiled_is_in_the_row_even_if_the_launch_failed(gauntlet: Gauntlet) -> None:
    rows = by_variant(gauntlet[0])
    for variant in ("right", "wrong_row", "launch_error", "crashes", "refused_by_driver"):
        compiled, occupancy = rows[variant].compiled, rows[variant].occupancy
        assert compiled is not None
        assert occupancy is not None
        assert (fake_launches.CUBIN_REGISTERS, fake_launches.CUBIN_STACK_BYTES, fake_launches.CUBIN_BARRIERS) == (
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
    never_ran = NEVER_LAUNCHED | FAILED_AT_LAUNCH
    assert never_ran == {variant for variant, row in rows.items() if row.check is None}
    assert never_ran | NOT_TIMED | {"unstable_when_timed"} >= {v for v, row in rows.items() if row.timing is None}
    assert never_ran | NOT_TIMED <= {variant for variant, row in rows.items() if row.timing is None}


def test_a_check_tells_how_far_off_the_output_is(gauntlet: Gauntlet) -> None:
    rows = by_variant(gauntlet[0])
    checks = {variant: row.check for variant, row in rows.items() if row.check is not None}
    assert (0.0, 0.0, 0, 8, True, 10, 2) == (
        checks["right"].relative_error,
        checks["right"].worst_row_error,
        checks["right"].bad_rows,
        checks["right"].rows,
        checks["right"].repeatable,
        checks["right"].launches,
        checks["right"].seeds,
    )
    assert (3, 1) == (checks["wrong_row"].launches, checks["wrong_row"].seeds)
    codes = {variant: tuple(finding.code for finding in check.findings) for variant, check in checks.items()}
    assert {
        "right": (),
        "half": ("partial", "everywhere"),
        "nan_rows": ("nan",),
        "wrong_tile": ("one-tile",),
        "last_chunk": ("tail",),
        "beyond": ("outside",),
        "between": ("outside",),
        "scribbles": ("input-changed",),
        "scribbles_on_weights": ("input-changed",),
    }.items() <= codes.items()
    assert {"scaled", "total"} == {check.output for check in checks.values()}
    assert ["forgets_the_total"] == [
        variant for variant, check in checks.items() if (check.output, check.bad_rows) == ("total", 8)
    ]
    assert pytest.approx(0.5) == checks["wrong_scaled"].relative_error
    assert 8 == checks["wrong_scaled"].bad_rows
    assert 1 == checks["wrong_row"].bad_rows
    assert pytest.approx(0.2, rel=1e-3) == checks["wrong_row"].worst_row_error
    assert math.isnan(checks["unwritten"].relative_error)
    assert math.isnan(checks["unwritten"].worst_row_error)
    assert (False, False) == (checks["unstable"].repeatable, checks["unstable_when_timed"].repeatable)
    assert checks["unstable"].relative_error < 1e-2


def test_a_fault_costs_a_new_process_and_a_refused_launch_does_not(gauntlet: Gauntlet) -> None:
    processes = gauntlet[3]
    faults = ["too_much_memory", "launch_error", "crashes"]  # the last comes last: the rounds need a new preparation
    assert 1 + len(faults) == len(set(processes))


def test_inputs_that_were_overwritten_are_made_again_for_the_configs_to_come(gauntlet: Gauntlet) -> None:
    run, _, _, processes = gauntlet
    assert SEEDS * (1 + 4) == len(processes)
    assert [row.config for row in run.rows].index(ALSO_RIGHT) > [row.config for row in run.rows].index(
        fake("scribbles")
    )
    assert "ok" == next(row.status for row in run.rows if row.config == ALSO_RIGHT)


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


def test_records_put_together_are_the_run_at_any_moment(gauntlet: Gauntlet) -> None:
    run, _, records, _ = gauntlet
    assert isinstance(records[0], RunHeader)
    assert run.header.date == records[0].date
    state = RunState(records[0])
    for record in records:
        state.add(record)
        so_far = state.run()
        assert all((row.status_reason == "") == (row.status == "ok") for row in so_far.rows)
        waiting = {row.status_reason for row in so_far.rows if row.status == "not-run"}
        assert {"not reached", "not measured yet"} >= waiting
        assert so_far.header.interrupted == (record is not records[-1])
    assert run == state.run()


def test_no_config_is_checked_twice_and_none_is_timed_before_its_check(gauntlet: Gauntlet) -> None:
    checked: list[str] = []
    for record in gauntlet[2]:
        if isinstance(record, Row) and record.check:
            checked.append(record.config_id)
        if isinstance(record, Batch):
            assert record.config_id in checked
    assert len(set(checked)) == len(checked)


def test_the_header_says_what_the_run_is_of(gauntlet: Gauntlet) -> None:
    header = gauntlet[0].header
    assert ("fake", "fa4e" * 4, "fakes", 7, "ssdprof sweep", False) == (
        header.kernel,
        header.kernel_hashes["half"],
        header.space,
        header.seed,
        header.command,
        header.interrupted,
    )
    assert {"rows": 8, "columns": 16, "log": header.problem["log"], "trouble": ""} == header.problem
    assert (PARAMS.params, FakeSubject().tolerances(), ()) == (header.params, header.tolerances, header.left_out)
    said = Remark("note", "sleepers", "On sm_90, 1 of these configs sleep before they end.", {"configs": 1})
    assert (said,) == header.remarks
    assert (H100_GPU.name, H100_GPU.driver, "sm_90") == (header.device.name, header.device.driver, header.device.arch)
    assert (4 * (4 * 128 + 8), 3 * 128) == (header.bytes_min, header.flops)
