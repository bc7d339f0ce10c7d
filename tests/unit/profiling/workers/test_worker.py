"""Worker processes: what a task gives back, however it ends, and that the next one is not harmed by it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import worker_tasks

from ssdprof.kernels.errors import first_line
from ssdprof.profiling.workers.fork_server import ForkServer
from ssdprof.profiling.workers.worker import Failure, Worker, wait_any

TIMEOUT_S = 60.0
FOREVER_S = 600.0


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.kill()


def call(worker: Worker, function: Callable[..., Any] | str, *args: Any, timeout_s: float = TIMEOUT_S) -> Any:
    name = function if isinstance(function, str) else f"{function.__module__}:{function.__name__}"
    worker.submit("the task", name, *args, timeout_s=timeout_s)
    while not wait_any([worker], 1.0):
        pass
    return worker.outcome()


def lives_after(worker: Worker) -> bool:
    return call(worker, worker_tasks.add, 2, 3) == 5


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # ended; its parent has not asked yet


def dies_soon(pid: int) -> bool:
    return comes_true(lambda: not is_alive(pid))


def comes_true(condition: Callable[[], bool]) -> bool:
    """Whether it does before anyone would give up waiting."""
    for _ in range(3000):
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_task_gives_its_result(worker: Worker) -> None:
    assert {"sum": [1, None, float("inf")]} == call(worker, worker_tasks.give, {"sum": [1, None, float("inf")]})


def test_a_result_may_be_none_or_larger_than_a_pipe(worker: Worker) -> None:
    assert call(worker, worker_tasks.give, None) is None
    assert 40_000_000 == len(call(worker, worker_tasks.many_bytes, 40_000_000))


def test_one_process_runs_all_tasks_of_a_worker(worker: Worker) -> None:
    first = call(worker, os.getpid)
    assert first == call(worker, os.getpid)
    assert os.getpid() != first


def test_a_task_that_raises_is_a_failure_with_its_type_and_message(worker: Worker) -> None:
    failure = call(worker, worker_tasks.fail, "first line\nsecond line")
    assert Failure("error", "ZeroDivisionError", "first line\nsecond line") == failure
    assert "ZeroDivisionError: first line" == failure.line
    assert lives_after(worker)


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("no_such_module:f", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("worker_tasks:no_such", "AttributeError: module 'worker_tasks' has no attribute 'no_such'"),
    ],
)
def test_a_task_that_does_not_exist_is_a_failure(worker: Worker, function: str, error: str) -> None:
    assert error == call(worker, function).line
    assert lives_after(worker)


def test_a_result_that_cannot_be_pickled_is_a_failure(worker: Worker) -> None:
    failure = call(worker, worker_tasks.a_lambda)
    assert ("error", True) == (failure.kind, "lambda" in failure.message)
    assert lives_after(worker)


def test_a_result_that_cannot_be_unpickled_is_a_failure(worker: Worker) -> None:
    assert Failure("error", "RuntimeError", "not here") == call(worker, worker_tasks.unpicklable_here)
    assert lives_after(worker)


@pytest.mark.parametrize(
    ("function", "args", "line"),
    [
        (worker_tasks.abort, (), "the worker was ended by SIGABRT: LLVM ERROR: out of luck"),
        (worker_tasks.leave, (3,), "the worker exited with code 3: about to leave"),
        (worker_tasks.leave_politely, (4,), "the worker exited with code 4"),
        (worker_tasks.signal_itself, (signal.SIGKILL,), "the worker was ended by SIGKILL"),
        (worker_tasks.signal_itself, (signal.SIGSEGV,), "the worker was ended by SIGSEGV"),
        (worker_tasks.signal_itself, (signal.SIGRTMIN + 1,), f"the worker was ended by signal {signal.SIGRTMIN + 1}"),
    ],
)
def test_a_crash_is_a_failure_with_its_last_words(
    worker: Worker, function: Callable[..., Any], args: tuple[int, ...], line: str
) -> None:
    failure = call(worker, function, *args)
    assert ("crashed", "crash", line) == (failure.kind, failure.error, failure.line)
    assert lives_after(worker)


def test_last_words_are_those_of_the_task_that_crashed_alone(worker: Worker) -> None:
    assert call(worker, worker_tasks.say, "words of an earlier task")
    assert "the worker was ended by SIGKILL" == call(worker, worker_tasks.signal_itself, signal.SIGKILL).line


def test_a_worker_that_closes_its_connection_and_stays_is_a_crash_and_ended(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssdprof.profiling.workers.worker._EXIT_S", 0.2)
    pid = call(worker, os.getpid)
    assert "the worker closed its connection: closing" == call(worker, worker_tasks.close_everything).line
    assert dies_soon(pid)


def test_a_late_task_is_a_timeout_and_its_process_is_ended(worker: Worker) -> None:
    pid = call(worker, os.getpid)
    assert Failure("timeout", "timeout", "no result after 1 s") == call(
        worker, worker_tasks.sleep, FOREVER_S, timeout_s=1.0
    )
    assert dies_soon(pid)
    assert lives_after(worker)


def test_what_a_late_task_started_is_ended_too(worker: Worker, tmp_path: Path) -> None:
    call(worker, os.getpid)
    failure = call(worker, worker_tasks.hang_in_a_program, str(tmp_path / "pid"), timeout_s=1.0)
    assert "timeout" == failure.kind
    assert dies_soon(int((tmp_path / "pid").read_text()))


def test_a_result_that_came_before_it_was_asked_for_is_no_timeout(worker: Worker) -> None:
    call(worker, os.getpid)
    worker.submit("quick", "worker_tasks:give", 7, timeout_s=TIMEOUT_S)
    assert comes_true(worker._connection.poll)
    worker._deadline_s = 0.0
    assert [worker] == wait_any([worker], 0.0)
    assert 7 == worker.outcome()


def test_several_workers_are_waited_for_at_once() -> None:
    workers = [Worker() for _ in range(3)]
    try:
        for number, worker in enumerate(workers):
            worker.submit(number, "worker_tasks:give", number, timeout_s=TIMEOUT_S)
        outcomes = {}
        while len(outcomes) < 3:
            for worker in wait_any(workers, 1.0):
                task = worker.task
                outcomes[task] = worker.outcome()
                assert worker.task is None
        assert {0: 0, 1: 1, 2: 2} == outcomes
        assert [] == wait_any(workers, 0.0)
    finally:
        for worker in workers:
            worker.kill()


def test_one_late_worker_does_not_hide_another_that_is_done() -> None:
    late, done = Worker(), Worker()
    try:
        call(late, os.getpid)
        call(done, os.getpid)
        late.submit("late", "worker_tasks:sleep", FOREVER_S, timeout_s=0.0)
        done.submit("done", "worker_tasks:give", 1, timeout_s=TIMEOUT_S)
        assert comes_true(done._connection.poll)
        assert [done, late] == wait_any([late, done], 1.0)
        assert 1 == done.outcome()
        assert "timeout" == late.outcome().kind
    finally:
        late.kill()
        done.kill()


def test_what_a_task_prints_does_not_disturb_its_result(worker: Worker, capfd: pytest.CaptureFixture[str]) -> None:
    assert "the result" == call(worker, worker_tasks.noisy, "the result")
    assert ("", "") == capfd.readouterr()


def test_env_is_laid_over_this_process_and_none_removes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSDPROF_TEST_KEPT", "kept")
    monkeypatch.setenv("SSDPROF_TEST_CHANGED", "old")
    monkeypatch.setenv("SSDPROF_TEST_REMOVED", "there")
    worker = Worker({"SSDPROF_TEST_CHANGED": "new", "SSDPROF_TEST_REMOVED": None, "SSDPROF_TEST_UNSET": None})
    try:
        names = ["SSDPROF_TEST_KEPT", "SSDPROF_TEST_CHANGED", "SSDPROF_TEST_REMOVED", "SSDPROF_TEST_UNSET"]
        assert ["kept", "new", None, None] == call(worker, worker_tasks.environment, names)
    finally:
        worker.kill()
    assert "there" == os.environ["SSDPROF_TEST_REMOVED"]


def test_a_killed_worker_starts_again_and_one_that_never_started_can_be_killed() -> None:
    worker = Worker()
    worker.kill()
    first = call(worker, os.getpid)
    worker.kill()
    assert not is_alive(first)
    assert first != call(worker, os.getpid)
    worker.kill()
    worker.kill()


def test_an_idle_worker_that_ignores_sigterm_is_ended_all_the_same(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssdprof.profiling.workers.worker._EXIT_S", 0.2)
    pid = call(worker, worker_tasks.ignore_sigterm)
    worker.kill()
    assert not is_alive(pid)


def test_a_worker_that_died_between_two_tasks_fails_the_next_one_and_no_more(worker: Worker) -> None:
    pid = call(worker, os.getpid)
    os.kill(pid, signal.SIGKILL)
    assert dies_soon(pid)
    assert "the worker was ended by SIGKILL" == call(worker, worker_tasks.add, 2, 3).line
    assert lives_after(worker)


def test_an_idle_worker_ends_by_itself_when_the_connection_does(worker: Worker) -> None:
    call(worker, os.getpid)
    worker._connection.close()
    assert 0 == worker._server.wait(worker._token, TIMEOUT_S)


def test_ctrl_c_does_not_reach_a_task(worker: Worker) -> None:
    assert "still here" == call(worker, worker_tasks.interrupt_itself, "still here")


def test_a_worker_dies_with_its_parent_even_while_it_hangs() -> None:
    parent = subprocess.run(
        [sys.executable, "-c", worker_tasks.PARENT_THAT_DIES], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert (0, "") == (parent.returncode, parent.stderr)
    assert dies_soon(int(parent.stdout))


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("one", "one"),
        ("\n\n  two \nthree", "two"),
        ("", "no message"),
        (" \n\t", "no message"),
        ("x" * 240, "x" * 240),
        ("x" * 241, "x" * 239 + "…"),
    ],
)
def test_the_first_line_that_says_something_is_short(message: str, line: str) -> None:
    assert line == first_line(message)


def test_processes_after_the_first_come_from_the_successor() -> None:
    with closing(ForkServer()) as successor, closing(Worker(successor=successor)) as worker:
        successor.preload("importlib:import_module", "wave")
        worker.start()
        assert "wave" not in call(worker, "worker_tasks:modules")
        worker.kill()
        assert "wave" in call(worker, "worker_tasks:modules")
        worker.kill()
        assert "wave" in call(worker, "worker_tasks:modules")


def test_a_worker_with_a_server_of_its_own_ends_with_it() -> None:
    with closing(Worker()) as worker:
        pid = call(worker, "os:getpid")
    assert not is_alive(pid)
