"""The sweep from end to end on the CPU: hangs and faults on the way, Ctrl-C, and the processes that do the work."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from cpu_sweeps import REFINED, TIMEOUT_S, Events, by_variant, request, swept, take_few_samples
from fake_kernel import FakeSubject, fake, fake_id
from fake_launches import SHARED_MEM_BYTES
from fake_runs import H100_GPU
from fake_timer import imports_paid_once
from host_timer import HOST
from run_records import state_of

from ssdprof.profiling.runs.measured import Batch, Check, Compiled, Loaded, Measurement, Prepared
from ssdprof.profiling.runs.state import Record
from ssdprof.profiling.sweep import sweep as sweep_module
from ssdprof.profiling.sweep.request import Event
from ssdprof.profiling.sweep.sweep import Sweep, sweep
from ssdprof.profiling.workers.fork_server import ForkServer, python_command
from ssdprof.profiling.workers.pool import Pool, run_task
from ssdprof.profiling.workers.worker import Failure

HANG_TIMEOUT_S = 3.0
SWEEP_ALONE = """
import pickle
from ssdprof.profiling.sweep.sweep import Sweep
run = Sweep(pickle.load(sys.stdin.buffer), lambda _: None, lambda _: None, None, "fake_timer:SteadyTimer").run()
print(*(row.status for row in run.rows), end="")
print(", torch:", "torch" in sys.modules)
"""


def children(pid: str = "self") -> set[str]:
    """Of a process, and theirs."""
    found: set[str] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended meanwhile
            for child in (task / "children").read_text().split():
                found |= {child, *children(child)}
    return found


@pytest.fixture(scope="module", autouse=True)
def one_import() -> Iterator[None]:
    with imports_paid_once():
        yield


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    take_few_samples(monkeypatch)


@pytest.mark.slow
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


def test_a_fault_in_the_rounds_of_the_finalists_costs_its_own_row_alone() -> None:
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
    subject = FakeSubject(log=str(tmp_path / "prepared.log"), trouble="abort")
    run = swept(request(fake("right"), fake("crashes"), subject=subject, jobs=1))
    right, crashed = run.rows
    assert ("ok", 1, 1) == (right.status, right.rank, right.timing.samples if right.timing else 0)
    assert "launch-error" == crashed.status


def test_a_gpu_that_cannot_be_prepared_leaves_compiled_rows_with_that_reason() -> None:
    events: Events = []
    asked = request(fake("right"), fake("right", 32), fake("compile_error"), subject=FakeSubject(trouble="raise"))
    run = swept(asked, events.append)
    assert ["not-run", "not-run", "compile-error"] == [row.status for row in run.rows]
    reason = "the GPU could not be prepared: RuntimeError: no reference today"
    assert {reason} == {row.status_reason for row in run.rows[:2]}
    assert all(row.compiled and row.occupancy and row.rank is None for row in run.rows[:2])
    assert "compiling" in {event.phase for event in events}


def test_what_the_driver_says_of_the_loaded_kernel_goes_before_the_compilers_figures() -> None:
    """A GPU's answer, without a GPU: the sweep is handed what its workers would say."""
    state = Sweep(request(fake("right")), lambda _: None, lambda _: None, None, HOST)
    name = fake_id("right")
    state._set_compiled(name, Compiled(255, 24, SHARED_MEM_BYTES, 0, 4, 1, 1, 32, compile_s=1.0))
    state._set_prepared(Prepared(num_sms=132, l2_bytes=None, memory_bytes=None, copy_gbps=None))
    found = Check(0.001, 0.002, 0, 8, True, 4, output="total")
    first = Batch(name, (2.0, 1.0, 3.0), "events")
    state._set_measured(name, Measurement(found, first, Loaded(96, 8, blocks_per_sm=5)))
    row = state.state.run().rows[0]
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


@pytest.mark.parametrize("in_a_round", [False, True])
def test_a_wrong_config_keeps_its_status_when_a_later_step_fails(in_a_round: bool) -> None:
    state = Sweep(request(fake("right")), lambda _: None, lambda _: None, None, HOST)
    name, failure = fake_id("right"), ("RuntimeError", "operation not permitted when stream is capturing")
    infinite = Check(float("nan"), float("nan"), 3, 8, True, 1, output="total")
    state._set_measured(name, Measurement(infinite, None, None, failed=None if in_a_round else failure))
    if in_a_round:
        state._fail_measured(name, Failure("error", *failure))
    row = state.state.row(name)
    assert ("wrong", infinite) == (row.status, row.check)
    assert row.status_reason.startswith("total: 3 of 8 rows wrong, NaN, inf")
    assert row.status_reason.endswith(
        "; then it failed: RuntimeError: operation not permitted when stream is capturing"
    )


def test_ctrl_c_while_measuring_keeps_what_was_measured_and_says_what_was_not() -> None:
    before = children()
    records: list[Record] = []

    def interrupt(event: Event) -> None:
        if event.phase == "measuring" and event.done >= 1:
            raise KeyboardInterrupt

    configs = [fake("slow", 16 + number) for number in range(12)]
    run = swept(request(*configs, fake("hangs_compiler"), fake("right", 99), jobs=1), interrupt, records.append)
    assert run.header.interrupted
    assert run == state_of(records).run()
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


def own_pool(measurers: int = 0, *, early: bool = True) -> Pool:
    """A pool with a server of its own, which `imports_paid_once` would replace."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ssdprof.profiling.workers.pool.ForkServer", ForkServer)
        return Pool(measurers=measurers, early=early)


def test_a_sweep_hangs_up_on_the_pool_that_it_is_given_and_does_not_wait_for_its_end(tmp_path: Path) -> None:
    before = children()
    with closing(own_pool()) as pool:
        process = pool.server._process
        pool.server.preload("worker_tasks:wait_for_file", str(tmp_path / "swept"))
        assert process is not None

        def go_on(_: Event) -> None:
            (tmp_path / "swept").touch()
            pool.server.preload("worker_tasks:wait_for_file", str(tmp_path / "looked-at"))

        sweep(request(fake("right"), gpu=False), go_on, lambda _: None, pool=pool)
        assert pool.server._socket.fileno() < 0
        assert process.poll() is None
        (tmp_path / "looked-at").touch()
    assert process.poll() is not None
    assert before == children()


@pytest.mark.slow
def test_the_measuring_process_that_was_started_before_is_replaced_from_the_server_where_it_ends() -> None:
    asked = request(fake("crashes"), fake("right"), fake("launch_error"), fake("right", 8), fake("right", 4))
    before = children()
    with closing(own_pool(measurers=1)) as pool:
        [measurer] = pool.measurers
        run = Sweep(asked, lambda _: None, lambda _: None, None, HOST, pool).run()
        assert not measurer._owns_server
        assert pool.server is measurer._server
    assert {"right": "ok", "crashes": "launch-error", "launch_error": "launch-error"} == {
        row.config.variant: row.status for row in run.rows
    }
    assert 3 == len(run.ranked)
    assert before == children()


@pytest.mark.slow
def test_answers_of_workers_do_not_make_this_process_import_torch() -> None:
    asked = request(fake("right"), fake("wrong_row"), fake("unstable"), fake("crashes"))
    found = subprocess.run(
        python_command(SWEEP_ALONE), input=pickle.dumps(asked), stdout=subprocess.PIPE, check=True, timeout=60.0
    )
    assert "ok wrong unstable launch-error, torch: False" == found.stdout.decode().strip()


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([()], ()),
        ([("pid 5 (python), 9.0 GiB",), ()], ()),
        ([("pid 5 (python), 9.0 GiB", "pid 7 (other)"), ("pid 7 (other)",)], ("pid 7 (other)",)),
    ],
)
def test_other_processes_on_the_gpu_are_those_that_are_there_when_ours_has_ended(
    monkeypatch: pytest.MonkeyPatch, listed: list[tuple[str, ...]], expected: tuple[str, ...]
) -> None:
    """Until it has, NVML may list it, and under a number of which nobody here knows."""
    with closing(own_pool(measurers=1, early=False)) as pool:
        process, answers, ended = pool.server._process, iter(listed), []

        def answer(visible: str, ours: Collection[int] = (), *, unseen: bool) -> tuple[str, ...]:
            assert process is not None
            ended.append(process.poll() is not None)
            return next(answers)

        monkeypatch.setattr(sweep_module, "other_processes", answer)
        asked = request(fake("right"), subject=FakeSubject(trouble="raise"))
        run = Sweep(asked, lambda _: None, lambda _: None, None, "cuda-that-is-not-here", pool).run()
    assert expected == run.header.device.others
    assert [True] * (len(listed) - 1) == ended[1:]


def test_the_process_that_measures_is_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sweep_module, "other_processes", lambda visible, ours, unseen: () if {5, 7} == ours else ("pid 5 (python)",)
    )
    state = Sweep(request(fake("right")), lambda _: None, lambda _: None, None, HOST)
    for pid in (5, 7):
        state._set_prepared(Prepared(None, None, None, None, pid=pid))
    assert state.state.header == state._with_others(state.state.header, "0")


def test_an_error_of_the_caller_ends_the_workers_and_is_raised() -> None:
    before = children()

    def broken(_: Event) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        swept(request(fake("hangs_compiler")), broken)
    assert before == children()


@pytest.mark.parametrize("name", ["TRITON_INTERPRET", "CUDA_VISIBLE_DEVICES"])
def test_a_sweep_leaves_the_environment_of_this_process_as_it_was(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Its workers see neither the caller's interpreter nor more than the GPU that is measured on."""
    monkeypatch.setenv(name, "1")
    seen: list[str | None] = []

    def ask(event: Event) -> None:
        worker = state.measurer
        if worker is not None and worker.task is None and not seen:
            seen.extend(run_task(worker, "worker_tasks:environment", [name], timeout_s=TIMEOUT_S))

    asked = request(fake("right"), subject=FakeSubject(trouble="raise"))
    state = Sweep(asked, ask, lambda _: None, None, "cuda-that-is-not-here")
    monkeypatch.setattr(sweep_module, "other_processes", lambda *_, **__: ())
    state.run()
    assert {"TRITON_INTERPRET": [None], "CUDA_VISIBLE_DEVICES": [H100_GPU.visible]}[name] == seen
    assert "1" == os.environ[name]
