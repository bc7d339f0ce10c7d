"""The process that workers are forked from: what it has loaded they have, and what they do is not its own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import worker_tasks

from ssdprof.profiling.workers import fork_server
from ssdprof.profiling.workers.fork_server import ForkServer, child_env, function_named
from ssdprof.profiling.workers.worker import Worker, wait_any

TIMEOUT_S = 60.0


@pytest.fixture
def server() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture
def worker(server: ForkServer) -> Iterator[Worker]:
    with closing(Worker(server=server)) as worker:
        yield worker


@pytest.fixture
def other(server: ForkServer) -> Iterator[Worker]:
    with closing(Worker(server=server)) as other:
        yield other


def call(worker: Worker, function: str, *args: Any) -> Any:
    worker.submit("the task", function, *args, timeout_s=TIMEOUT_S)
    while not wait_any([worker], 1.0):
        pass
    return worker.outcome()


def is_gone(pid: int) -> bool:
    for _ in range(3000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_workers_have_what_the_server_loaded_before_they_were_forked_and_nothing_else(
    server: ForkServer, worker: Worker, other: Worker
) -> None:
    assert not call(worker, "worker_tasks:has_module", "mailbox")
    server.preload("importlib:import_module", "mailbox")
    assert call(other, "worker_tasks:has_module", "mailbox")
    assert not call(worker, "worker_tasks:has_module", "mailbox")


def test_workers_look_for_garbage_but_not_among_what_the_server_loaded(worker: Worker) -> None:
    looks, never_looked_at = call(worker, "worker_tasks:looks_for_garbage")
    assert looks
    assert never_looked_at > 1000


def test_what_a_thread_loads_in_the_background_is_there_before_a_worker_is_forked(
    server: ForkServer, worker: Worker
) -> None:
    server.preload("worker_tasks:import_in_background", "mailbox", 0.5)
    assert call(worker, "worker_tasks:has_module", "mailbox")


def test_what_cannot_be_loaded_is_the_workers_failure_alone(server: ForkServer, worker: Worker) -> None:
    server.preload("no_such_module:warm_up")
    assert 5 == call(worker, "worker_tasks:add", 2, 3)
    assert "ModuleNotFoundError: No module named 'no_such_module'" == call(worker, "no_such_module:warm_up").line


def test_each_worker_has_an_environment_of_its_own(server: ForkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Worker({"SSDPROF_TEST": "one"}, server)) as one:
        assert ["one"] == call(one, "worker_tasks:environment", ["SSDPROF_TEST"])
    monkeypatch.setenv("SSDPROF_TEST_LATER", "set after the server began")
    with closing(Worker({"SSDPROF_TEST": "other"}, server)) as other:
        assert ["other", "set after the server began"] == call(
            other, "worker_tasks:environment", ["SSDPROF_TEST", "SSDPROF_TEST_LATER"]
        )


def test_a_worker_works_where_the_caller_does(
    worker: Worker, other: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert os.getcwd() == call(worker, "os:getcwd")
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path) == call(other, "os:getcwd")


def test_closing_ends_all_workers_and_what_they_started(server: ForkServer, tmp_path: Path) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(closing(Worker(server=server))) for _ in range(8)]
        pids = [call(worker, "os:getpid") for worker in workers]
        workers[0].submit("hang", "worker_tasks:hang_in_a_program", str(tmp_path / "pid"), timeout_s=TIMEOUT_S)
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.02)
        server.close()
    assert all(map(is_gone, [*pids, int((tmp_path / "pid").read_text())]))


def test_at_the_end_all_are_asked_to_end_before_any_is_waited_for_and_they_share_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With children that never end, and a clock on which only waiting takes time."""
    done: list[str] = []
    now_s = 0.0

    def sleep(duration_s: float) -> None:
        nonlocal now_s
        now_s += duration_s
        done.append("wait")

    clock = SimpleNamespace(monotonic=lambda: now_s, sleep=sleep)
    monkeypatch.setattr(fork_server, "time", clock)
    monkeypatch.setattr(fork_server.os, "waitpid", lambda pid, _: (pid if f"KILL {pid}" in done else 0, 9))
    monkeypatch.setattr(fork_server.os, "kill", lambda pid, number: done.append(f"{number.name[3:]} {pid}"))
    monkeypatch.setattr(fork_server.os, "killpg", fork_server.os.kill)
    children = fork_server._Children()
    children._pids = {token: 10_000_000 + token for token in range(4)}
    pids = list(children._pids.values())

    children.end()

    assert [f"TERM {pid}" for pid in pids] == done[:4]
    assert [f"KILL {pid}" for pid in pids] == [one for one in done[4:] if one != "wait"]
    assert "wait" == done[4]
    assert now_s == pytest.approx(fork_server.CLOSE_S, abs=4 * fork_server._POLL_S)


def test_hanging_up_does_not_wait_and_ends_all(
    server: ForkServer, worker: Worker, other: Worker, tmp_path: Path
) -> None:
    pids = [call(one, "os:getpid") for one in (worker, other)]
    process = server._process
    assert process is not None
    server.preload("worker_tasks:wait_for_file", str(tmp_path / "hung-up"))
    server.hang_up()
    server.hang_up()
    assert process.poll() is None
    (tmp_path / "hung-up").touch()
    server.close()
    assert process.poll() is not None
    assert all(map(is_gone, pids))


def test_a_server_that_was_hung_up_starts_again_when_the_first_has_ended(
    server: ForkServer, worker: Worker, other: Worker
) -> None:
    pid = call(worker, "os:getpid")
    server.hang_up()
    assert 5 == call(other, "worker_tasks:add", 2, 3)
    assert is_gone(pid)


def test_a_server_is_closed_at_the_end_of_its_block() -> None:
    with closing(ForkServer()) as server, closing(Worker(server=server)) as worker:
        pid = call(worker, "os:getpid")
    assert server._process is None
    assert is_gone(pid)


def test_a_worker_that_is_dropped_is_ended_with_what_it_started_and_the_others_go_on(
    worker: Worker, other: Worker, tmp_path: Path
) -> None:
    assert 5 == call(other, "worker_tasks:add", 2, 3)
    worker.submit("hang", "worker_tasks:hang_in_a_program", str(tmp_path / "pid"), timeout_s=TIMEOUT_S)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.02)
    worker.drop()
    assert worker.task is None
    assert is_gone(int((tmp_path / "pid").read_text()))
    assert 7 == call(other, "worker_tasks:add", 3, 4)
    assert 9 == call(worker, "worker_tasks:add", 4, 5)


def test_dropping_what_was_never_started_or_has_lost_its_server_is_fine(server: ForkServer, worker: Worker) -> None:
    worker.drop()
    call(worker, "os:getpid")
    server.close()
    worker.drop()


def test_a_server_that_was_killed_takes_its_workers_along_and_starts_again(server: ForkServer, worker: Worker) -> None:
    pid = call(worker, "os:getpid")
    assert server._process is not None
    os.kill(server._process.pid, signal.SIGKILL)
    assert is_gone(pid)
    assert "the worker closed its connection" == call(worker, "worker_tasks:add", 2, 3).line
    assert 5 == call(worker, "worker_tasks:add", 2, 3)


def test_a_server_that_has_forked_nothing_is_ended_whatever_it_loads(server: ForkServer, tmp_path: Path) -> None:
    server.preload("worker_tasks:wait_for_file", str(tmp_path / "that-never-comes"))
    process = server._process
    assert process is not None
    server.close()
    assert -signal.SIGTERM == process.returncode


def test_a_server_that_was_closed_starts_again_and_closing_it_twice_is_fine(server: ForkServer, worker: Worker) -> None:
    server.close()
    assert 5 == call(worker, "worker_tasks:add", 2, 3)
    server.close()
    server.close()


def test_a_worker_that_is_killed_before_it_has_begun_does_not_begin(
    server: ForkServer, worker: Worker, tmp_path: Path
) -> None:
    server.preload("time:sleep", 1.0)  # the fork waits for that, and the kill waits right behind it
    worker.submit("late", "worker_tasks:hang_in_a_program", str(tmp_path / "pid"), timeout_s=0.1)
    worker.kill()
    assert not (tmp_path / "pid").exists()
    assert 5 == call(worker, "worker_tasks:add", 2, 3)


def test_the_kernel_ends_a_worker_before_the_program_that_measures(worker: Worker) -> None:
    ours = int(Path("/proc/self/oom_score_adj").read_text())
    theirs = int(call(worker, "worker_tasks:read_text", "/proc/self/oom_score_adj"))
    assert ours < theirs


def test_none_takes_a_variable_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSDPROF_TEST", "there")
    assert "SSDPROF_TEST" not in child_env({"SSDPROF_TEST": None})
    assert "here" == child_env({"SSDPROF_TEST": "here"})["SSDPROF_TEST"]


def test_a_function_is_found_by_its_name() -> None:
    assert worker_tasks.add is function_named("worker_tasks:add")
