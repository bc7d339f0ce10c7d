"""A process that pays for imports once and forks worker processes from itself.

Importing Triton and torch and hashing Triton's own files takes seconds, and longer in sixteen processes at once. The
server does it before it forks; it never touches the GPU, so its children can. multiprocessing's fork server runs the
caller's main module again in each child and gives no child its own environment, error stream or process group, all of
which a worker that may hang or crash needs.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import itertools
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_MESSAGE_BYTES = 1 << 20
_POLL_S = 0.005
OOM_SCORE = 500
CLOSE_S = 5.0
"""How long children that wait for work have to end by themselves once the server is closed."""


def python_command(statements: str) -> list[str]:
    """The command for a Python process that runs `statements` with this interpreter and its module path."""
    return [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {statements}"]


def child_env(changes: Mapping[str, str | None]) -> dict[str, str]:
    """The environment of this process with `changes` applied; None removes a variable."""
    merged = {**os.environ, **changes}
    return {name: value for name, value in merged.items() if value is not None}


class ForkServer:
    """The parent's side. The server starts with the first request; `env` is added to its environment."""

    def __init__(self, env: Mapping[str, str | None] | None = None) -> None:
        self._env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._tokens = itertools.count()
        self._has_forked = False

    def preload(self, function: str, *args: Any) -> None:
        """Has the server run `module:function` with these arguments; later forks have what it loaded.

        Does not wait. An exception is left to the worker that needs the function. Threads that it starts end before the
        next fork, except daemons.
        """
        self._send(("preload", function, args))

    def fork(self, main: str, argument_fd: int, stderr_fd: int, env: Mapping[str, str | None]) -> int:
        """Forks a child that runs `main`, a `module:function`, with a copy of `argument_fd`; returns a token for it.

        Does not wait. The child leads its own process group, writes to `stderr_fd`, and has this process's environment
        with `env` applied, its module path and its working directory.
        """
        token = next(self._tokens)
        self._send(("fork", token, main, child_env(env), sys.path, os.getcwd()), argument_fd, stderr_fd)
        self._has_forked = True
        return token

    def wait(self, token: int, timeout_s: float) -> int | None:
        """The child's exit code, negative for a signal; None if it still runs after `timeout_s`."""
        return self._ask(("wait", token, timeout_s))

    def kill(self, token: int, *, grace_s: float = 0.0) -> int | None:
        """Ends the child and what it started, after SIGTERM and `grace_s` if given. Returns the exit code."""
        return self._ask(("kill", token, grace_s))

    def drop(self, token: int) -> None:
        """Like `kill` without a grace, but does not wait."""
        if self._process is not None:
            with contextlib.suppress(OSError):  # if the server is gone, so are its children
                self._socket.send(pickle.dumps(("drop", token)))

    def hang_up(self) -> None:
        """Has the server end all children and itself; does not wait for that, `close` does."""
        if self._process is not None:
            self._socket.close()
            if not self._has_forked:  # only imports are running, and they would delay the end
                self._process.terminate()

    def close(self) -> None:
        """Ends all children and the server."""
        self.hang_up()
        if self._process is not None:
            self._process.wait()
            self._process = None
            self._has_forked = False

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            python_command(f"from {__name__} import serve_forks; serve_forks({theirs.fileno()})"),
            env=child_env(self._env),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches only the parent
        )
        theirs.close()

    def _send(self, message: tuple[Any, ...], *fds: int) -> None:
        if self._process is None or self._socket.fileno() < 0 or self._process.poll() is not None:
            self.close()
            self._start()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a dead server shows when asked
            socket.send_fds(self._socket, [pickle.dumps(message)], fds)

    def _ask(self, message: tuple[Any, ...]) -> int | None:
        if self._process is None:
            return None
        try:
            self._socket.send(pickle.dumps(message))
            answer = self._socket.recv(_MESSAGE_BYTES)
        except OSError:
            return None
        return pickle.loads(answer) if answer else None  # noqa: S301  # from our child


def serve_forks(fd: int) -> NoReturn:
    """The server's side: serves requests until the parent closes the connection or dies. Does not return."""
    die_with_parent()
    gc.disable()  # imports stay: scanning them again and again takes a tenth of their time
    control = socket.socket(fileno=fd)
    children = _Children()
    while True:
        data, fds, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, 2)
        if not data:
            break
        kind, *values = pickle.loads(data)  # noqa: S301  # from the parent
        if kind == "preload":
            with contextlib.suppress(Exception):  # the worker that needs it will say
                function_named(values[0])(*values[1])
        elif kind == "fork":
            _join_threads()
            gc.freeze()
            children.fork(control, fds, *values)
        elif kind == "drop":
            children.kill(values[0], grace_s=0.0)
        else:
            control.send(pickle.dumps(getattr(children, kind)(*values)))
    children.end()
    os._exit(0)  # torch's exit handlers take half a second


def _join_threads() -> None:
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()


class _Children:
    """The children of the server by token; exit codes are kept until asked for."""

    def __init__(self) -> None:
        self._pids: dict[int, int] = {}
        self._ended: dict[int, int] = {}

    def fork(
        self, control: socket.socket, fds: list[int], token: int, main: str, env: dict[str, str], path: list[str],
        cwd: str,
    ) -> None:  # fmt: skip
        pid = os.fork()
        with contextlib.suppress(OSError):  # on both sides, so neither continues before it is done
            os.setpgid(pid, pid)
        if pid:
            self._pids[token] = pid
            for fd in fds:
                os.close(fd)
            return
        control.close()
        gc.enable()
        die_with_parent()
        with contextlib.suppress(OSError):  # out of memory, a worker goes before the program that keeps results
            Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
        argument_fd, stderr_fd = fds
        os.dup2(stderr_fd, 1)
        os.dup2(stderr_fd, 2)
        os.close(stderr_fd)
        os.environ.clear()
        os.environ.update(env)
        sys.path[:] = path
        with contextlib.suppress(OSError):
            os.chdir(cwd)
        code = 1
        try:
            function_named(main)(argument_fd)
            code = 0
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)  # the server's exit handlers are not the child's

    def wait(self, token: int, timeout_s: float) -> int | None:
        pid = self._pids.get(token)
        deadline_s = time.monotonic() + timeout_s
        while pid is not None and token not in self._ended:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._ended[token] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline_s:
                break
            else:
                time.sleep(_POLL_S)
        return self._ended.get(token)

    def kill(self, token: int, grace_s: float) -> int | None:
        if token not in self._pids:
            return None
        if grace_s:
            self._signal(os.kill, token, signal.SIGTERM)
            self.wait(token, grace_s)
        self._signal(os.killpg, token, signal.SIGKILL)  # even if the child has ended: what it started may not have
        self.wait(token, CLOSE_S)
        self._pids.pop(token)
        return self._ended.pop(token, None)

    def end(self) -> None:
        """Children that wait for work see their connections close, or get SIGTERM; then all are killed."""
        for token in self._pids:
            self._signal(os.kill, token, signal.SIGTERM)
        deadline_s = time.monotonic() + CLOSE_S
        for token in list(self._pids):
            self.wait(token, max(0.0, deadline_s - time.monotonic()))
            self.kill(token, 0.0)

    def _signal(self, send: Callable[[int, int], None], token: int, number: int) -> None:
        if send is os.killpg or token not in self._ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                send(self._pids[token], number)


def die_with_parent() -> None:
    """Ends this process with SIGKILL when its parent ends, on Linux; Ctrl-C is for the parent to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def function_named(name: str) -> Callable[..., Any]:
    """The function of `module:function`. Raises ImportError or AttributeError."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)  # type: ignore[no-any-return]
