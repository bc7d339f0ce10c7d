"""One pool for everything: what its workers find loaded, that it compiles and measures, and that it leaves nothing."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from calls import call
from fake_kernel import FakeSubject, fake
from fake_launches import CUBIN_REGISTERS
from host_timer import HOST

from ssdprof.profiling.runs.measured import Compiled, Measurement
from ssdprof.profiling.workers import pool as pool_module
from ssdprof.profiling.workers.fork_server import ForkServer
from ssdprof.profiling.workers.pool import Pool, compile_plans, run_task
from ssdprof.profiling.workers.worker import Failure, Worker

SUBJECT = FakeSubject()
PREPARE = "ssdprof.profiling.measuring.beginning:prepare"
MEASURE = "ssdprof.profiling.measuring.measure:measure"
TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with closing(Pool(measurers=2, early=False)) as pool:
        pool.add_compilers(2)
        yield pool


def open_files() -> set[str]:
    """What this process holds open, by inode: sockets, pipes and files that have no name."""
    entries = [Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd")]
    return {f"{os.readlink(entry)} {entry.stat().st_ino}" for entry in entries if entry.exists()}


def children(pid: str = "self") -> set[str]:
    """Of a process, and theirs."""
    found: set[str] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found |= {child, *children(child)}
    return found


def test_workers_that_compile_have_triton_the_hash_of_its_files_and_what_the_first_argument_loads(pool: Pool) -> None:
    worker = pool.compilers[0]
    loaded = call(worker, "worker_tasks:modules")
    assert {"triton.backends.nvidia.compiler", "ssdprof.profiling.binary.compiler"} <= set(loaded)
    assert 1 == call(worker, "worker_tasks:hashed_files")
    call(worker, "triton.runtime.jit:mangle_type", 1)
    assert loaded == call(worker, "worker_tasks:modules")


def test_workers_that_measure_have_torch_and_neither_a_target_nor_a_gpu(pool: Pool) -> None:
    pool.expect_measuring()
    worker = pool.measurers[0]
    assert {"torch", "triton", "ssdprof.profiling.measuring.measure"} <= set(call(worker, "worker_tasks:modules"))
    assert not call(worker, "torch.cuda:is_initialized")
    assert not call(worker, "worker_tasks:has_target")


@pytest.mark.parametrize("early", [True, False])
def test_no_worker_interprets_though_the_caller_does(monkeypatch: pytest.MonkeyPatch, early: bool) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with closing(Pool(measurers=1, early=early, env={"SSDPROF_TEST": "measures"})) as pool:
        pool.add_compilers(1)
        names = ["TRITON_INTERPRET", "SSDPROF_TEST"]
        seen = [call(worker, "worker_tasks:environment", names) for worker in pool.workers]
    assert [[None, None], [None, "measures"]] == seen
    assert "1" == os.environ["TRITON_INTERPRET"]


def test_which_gpu_a_measurer_sees_is_not_said_to_the_caller(monkeypatch: pytest.MonkeyPatch, pool: Pool) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    one, other = pool.measurers
    failure = call(one, PREPARE, SUBJECT, "cuda-that-is-not-here", 0, "GPU-1")
    assert isinstance(failure, Failure)
    asked = ["CUDA_VISIBLE_DEVICES"]
    assert ["GPU-1"] == call(one, "worker_tasks:environment", asked)
    assert ["3,4"] == [os.environ["CUDA_VISIBLE_DEVICES"]]
    assert "GPU-1" not in call(other, "worker_tasks:environment", asked)


def test_one_pool_compiles_and_measures_and_each_outcome_names_its_worker_and_its_task(pool: Pool) -> None:
    plans = {name: SUBJECT.launch(fake(name)) for name in ("right", "compile_error", "half")}
    [measurer, _] = pool.measurers
    measurer.submit("ready", PREPARE, SUBJECT, HOST, 3, timeout_s=TIMEOUT_S)
    waiting, found = deque(plans), {}
    while waiting or pool.is_busy:
        pool.compile(waiting, plans, "sm_90", TIMEOUT_S)
        for worker, task, outcome in pool.outcomes():
            assert (worker in pool.compilers) == (task in plans)
            found[task] = outcome
    assert not pool.is_compiling
    assert {*plans, "ready"} == set(found)
    assert (CUBIN_REGISTERS, "ValueError: no such layout") == (
        found["right"].registers_per_thread,
        found["compile_error"].line,
    )

    measured = run_task(measurer, MEASURE, plans["half"], fake("half"), "half", timeout_s=TIMEOUT_S)

    assert isinstance(measured, Measurement)
    assert pytest.approx(0.5) == measured.check.relative_error


def test_a_task_as_a_call_gives_its_result_or_its_failure(pool: Pool) -> None:
    worker = pool.compilers[0]
    assert 5 == run_task(worker, "worker_tasks:add", 2, 3, timeout_s=TIMEOUT_S)
    assert Failure("error", "ZeroDivisionError", "no") == run_task(
        worker, "worker_tasks:fail", "no", timeout_s=TIMEOUT_S
    )
    assert "timeout" == run_task(worker, "worker_tasks:sleep", 600.0, timeout_s=0.2).kind
    assert 5 == run_task(worker, "worker_tasks:add", 2, 3, timeout_s=TIMEOUT_S)


def test_plans_are_compiled_in_a_pool_of_their_own_that_leaves_no_process() -> None:
    before = children()
    names = ("right", "compile_error", "crashes_compiler", "half", "right_again")
    plans = {name: SUBJECT.launch(fake(name.removesuffix("_again"))) for name in names}
    steps: list[int] = []

    found = compile_plans(plans, "sm_90", jobs=2, timeout_s=TIMEOUT_S, on_step=steps.append)

    assert names == tuple(found)
    assert [True, False, False, True, True] == [isinstance(one, Compiled) for one in found.values()]
    assert "the worker was ended by SIGABRT: LLVM ERROR: cannot select" == found["crashes_compiler"].line
    assert sorted(steps) == steps
    assert (0, True) == (steps[0], steps[-1] < len(names))
    assert before == children()


def test_no_plans_are_compiled_by_nobody() -> None:
    assert {} == compile_plans({}, "sm_90", jobs=2, timeout_s=TIMEOUT_S, on_step=lambda _: None)


class _Noted(ForkServer):
    """Starts nothing; notes what it is asked."""

    made: list[_Noted]

    def __init__(self, env: object = None) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.made.append(self)

    def preload(self, function: str, *args: object) -> None:
        self.asked.append(f"{function}{args}")


@pytest.mark.parametrize("early", [True, False])
def test_compilers_wait_for_nothing_that_measuring_needs(monkeypatch: pytest.MonkeyPatch, early: bool) -> None:
    """The server loads torch only if something is to be measured, and then after what compiling needs."""
    started: list[Worker] = []
    _Noted.made = []
    monkeypatch.setattr(pool_module, "ForkServer", _Noted)
    monkeypatch.setattr(Worker, "start", lambda worker: started.append(worker))
    pool = Pool(measurers=1, early=early)
    pool.add_compilers(3)
    assert ["ssdprof.profiling.binary.compiler:warm_up()"] == _Noted.made[0].asked
    pool.expect_measuring()
    assert "importlib:import_module('ssdprof.profiling.measuring.measure',)" == _Noted.made[0].asked[1]
    assert (pool.measurers if early else []) == started
    assert early == pool.measurers[0]._owns_server
    assert (3, 1, 4) == (len(pool.compilers), len(pool.measurers), len(pool.workers))


def test_measurers_that_are_dismissed_end_and_the_pool_compiles_on() -> None:
    before = children()
    with closing(Pool(measurers=1)) as pool:
        process = pool.measurers[0]._server._process
        assert process is not None
        pool.dismiss_measurers()
        assert [] == pool.measurers == pool.workers
        assert 0 == process.wait(TIMEOUT_S)
        pool.add_compilers(1)
        assert 5 == call(pool.compilers[0], "worker_tasks:add", 2, 3)
    assert before == children()


def test_a_pool_waits_at_its_end_for_measurers_that_were_dismissed() -> None:
    before = children()
    with closing(Pool(measurers=1)) as pool:
        pool.dismiss_measurers()
    assert before == children()


@pytest.mark.parametrize("early", [True, False])
def test_hanging_up_and_closing_leave_no_process_whatever_hangs(early: bool, tmp_path: Path) -> None:
    before = children()
    with closing(Pool(measurers=1, early=early)) as pool:
        pool.add_compilers(1)
        for worker in pool.workers:
            assert 5 == call(worker, "worker_tasks:add", 2, 3)
        assert len(children()) > len(before)
        pool.measurers[0].submit("hang", "time:sleep", 600.0, timeout_s=TIMEOUT_S)
        pool.compilers[0].submit("hang", "worker_tasks:hang_in_a_program", str(tmp_path / "pid"), timeout_s=TIMEOUT_S)
        pool.hang_up()
        assert not pool.is_busy
    assert before == children()


def test_a_pool_that_was_never_used_is_closed_with_what_it_began() -> None:
    before = children()
    Pool(measurers=2).close()
    assert before == children()


def test_a_closed_pool_leaves_no_file_open() -> None:
    before = open_files()
    with closing(Pool(measurers=1, early=False)) as pool:
        pool.add_compilers(1)
        for worker in pool.workers:
            assert 5 == call(worker, "worker_tasks:add", 2, 3)
        held = open_files() - before
    assert held
    assert not held & open_files()


def test_what_is_begun_goes_on_and_what_is_done_comes_first() -> None:
    plans = {str(rows): SUBJECT.launch(fake(rows=rows)) for rows in range(1, 6)}
    with closing(Pool()) as pool:
        early = pool.begin(plans, "sm_90", TIMEOUT_S, jobs=1, enough=2, limit_s=TIMEOUT_S)
        assert (["1", "2"], {"1", "2"}) == ([name for name, _ in early], pool.begun)
        assert (True, True, 1) == (pool.is_busy, pool.is_compiling, len(pool.compilers))
        assert early == [(name, outcome) for _, name, outcome in pool.outcomes()]
        assert not pool.is_busy


def test_an_interruption_of_the_beginning_is_left_to_who_asks_for_the_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> list[Worker]:
        raise KeyboardInterrupt

    with closing(Pool()) as pool:
        monkeypatch.setattr(pool_module, "wait_any", interrupted)
        assert [] == pool.begin({"1": SUBJECT.launch(fake())}, "sm_90", TIMEOUT_S, jobs=1, enough=1, limit_s=TIMEOUT_S)
        with pytest.raises(KeyboardInterrupt):
            pool.outcomes()


def test_the_first_ones_are_not_waited_for_longer_than_said() -> None:
    plans = {name: SUBJECT.launch(fake()) for name in ("1", "2")}
    with closing(Pool()) as pool:
        assert [] == pool.begin(plans, "sm_90", TIMEOUT_S, jobs=1, enough=2, limit_s=0.0)
        assert (set(), False) == (pool.begun, pool.is_busy)
