"""Worker processes that may crash, hang or be killed without taking the run down.

A worker runs one task at a time: a module-level function named as `module:function`, with picklable arguments. An
exception in it comes back as a `Failure`; a dead or late worker is a `Failure` too, and can be restarted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

from ssdprof.kernels.errors import first_line
from ssdprof.profiling.workers.fork_server import ForkServer, function_named

_STDERR_TAIL_BYTES = 4000
_EXIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task gave no result: an exception of type `error`, a dead process, or a missed deadline."""

    kind: Literal["error", "crashed", "timeout"]
    error: str
    message: str

    @property
    def line(self) -> str:
        """The failure in one line."""
        text = first_line(self.message)
        return f"{self.error}: {text}" if self.kind == "error" else text

    @property
    def out_of_resources(self) -> bool:
        """Whether it needs more than the GPU has, according to Triton, our compiler or torch."""
        return self.too_much_shared_memory or self.error == "OutOfMemoryError"

    @property
    def too_much_shared_memory(self) -> bool:
        """Whether it was refused before the launch, so the process is still good."""
        return self.error in ("OutOfResources", "OutOfResourcesError")


class Worker:
    """One child process, forked from `server`, or from a server of its own that has imported nothing.

    `env` is applied to this process's environment; None removes a variable. With a `successor`, processes after the
    first are forked from that server, which has until then to do its imports. `main` is what a process runs: `serve`,
    or a module-level function that ends with it.
    """

    def __init__(
        self,
        env: Mapping[str, str | None] | None = None,
        server: ForkServer | None = None,
        *,
        successor: ForkServer | None = None,
        main: str = f"{__name__}:serve",
    ) -> None:
        self._env = dict(env or {})
        self._owns_server = server is None
        self._server = server or ForkServer(self._env)
        self._successor = successor
        self._main = main
        self._started = False
        self.task: Any = None
        """The caller's name for the running task; None when idle."""

    def start(self) -> None:
        """Starts the process, if there is none, before there is a task."""
        if self._started:
            return
        ours, theirs = socket.socketpair()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process, in _forget)
        self._token = self._server.fork(self._main, theirs.fileno(), self._stderr.fileno(), self._env)
        theirs.close()
        self._connection = Connection(ours.detach())
        self._started = True

    def submit(self, task: Any, function: str, *args: Any, timeout_s: float) -> None:
        """Starts `function(*args)`; `task` is any value but None, handed back with the outcome."""
        assert self.task is None, "a worker runs one task at a time"
        self.start()
        self.task = task
        self._printed_before_bytes = self._stderr.seek(0, os.SEEK_END)
        self._timeout_s = timeout_s
        self._deadline_s = time.monotonic() + timeout_s
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a dead worker shows when asked
            self._connection.send((function, args))

    def kill(self) -> None:
        """Ends the process and what it started, such as ptxas, at once; the next task starts a new process."""
        if self._started:
            # An idle process gets SIGTERM first, so a coverage tool can save its data.
            self._server.kill(self._token, grace_s=_EXIT_S if self.task is None else 0.0)
            self._forget()
        if self._owns_server:
            self._server.close()
            if self._successor:
                self._server, self._owns_server = self._successor, False

    def hang_up(self) -> None:
        """Has its own server end, with its process; does not wait for that, `close` does."""
        if self._owns_server:
            self._server.hang_up()

    def close(self) -> None:
        """Ends its own server and the process, and closes its files; a given server is for the caller to end."""
        if self._owns_server:
            self._server.close()
        if self._started:
            self._forget()

    def drop(self) -> None:
        """Like `kill`, but does not wait, and leaves its own server running."""
        if self._started:
            self._server.drop(self._token)
            self._forget()

    def outcome(self) -> Any:
        """The result of the running task, or a Failure, once `wait_any` has returned this worker."""
        if self._connection.poll():
            try:
                ok, value = self._connection.recv()
            except (EOFError, OSError):
                failure = Failure("crashed", "crash", self._last_words())
                self.kill()
                return failure
            except Exception as error:  # the whole answer was read, so the worker is fine
                ok, value = False, _as_answer(error)
            self.task = None
            return value if ok else Failure("error", *value)
        self.kill()
        return Failure("timeout", "timeout", f"no result after {self._timeout_s:.0f} s")

    def _forget(self) -> None:
        self._connection.close()
        self._stderr.close()
        self._started = False
        self.task = None

    def _last_words(self) -> str:
        """How the process ended and the last thing it printed."""
        code = self._server.wait(self._token, _EXIT_S)
        if code is None:
            how = "the worker closed its connection"
        else:
            how = f"the worker was ended by {_signal(-code)}" if code < 0 else f"the worker exited with code {code}"
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(self._printed_before_bytes, size - _STDERR_TAIL_BYTES))
        lines = [line.strip() for line in self._stderr.read().decode(errors="replace").splitlines() if line.strip()]
        return f"{how}: {lines[-1]}" if lines else how


def wait_any(workers: Sequence[Worker], timeout_s: float) -> list[Worker]:
    """The busy workers that have an answer or are late, after at most `timeout_s`."""
    busy = {worker._connection: worker for worker in workers if worker.task is not None}
    ready = [busy[connection] for connection in wait(list(busy), timeout_s) if isinstance(connection, Connection)]
    now_s = time.monotonic()
    return ready + [worker for worker in busy.values() if now_s > worker._deadline_s and worker not in ready]


def serve(fd: int) -> None:
    """The child's side: runs tasks until the parent closes the connection or dies."""
    connection = Connection(fd)
    while True:
        try:
            function, args = connection.recv()
        except EOFError:
            return
        try:
            connection.send((True, function_named(function)(*args)))
        except Exception as error:  # the task's, for the parent to judge, or of pickling, before anything is sent
            connection.send((False, _as_answer(error)))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


def _as_answer(error: Exception) -> tuple[str, str]:
    return type(error).__name__, str(error)
