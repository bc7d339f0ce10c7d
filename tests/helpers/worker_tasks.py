"""Tasks that tests give to worker processes, which import this module by its bare name."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

PARENT_THAT_DIES = """
import os
from ssdprof.profiling.workers.worker import Worker, wait_any
worker = Worker()
worker.submit("pid", "os:getpid", timeout_s=60.0)
wait_any([worker], 60.0)
print(worker.outcome(), flush=True)
worker.submit("hang", "time:sleep", 600.0, timeout_s=60.0)
os._exit(0)
"""


def add(one: int, other: int) -> int:
    return one + other


def give(value: Any) -> Any:
    return value


def many_bytes(count: int) -> bytes:
    return bytes(count)


def fail(message: str) -> None:
    raise ZeroDivisionError(message)


def a_lambda() -> Any:
    return lambda: None


class _OnlyThere:
    def __reduce__(self) -> Any:
        return _rebuilt, (os.getpid(),)


def _rebuilt(pid: int) -> None:
    if os.getpid() != pid:
        raise RuntimeError("not here")


def unpicklable_here() -> Any:
    return _OnlyThere()


def say(words: str) -> bool:
    print(words, file=sys.stderr, flush=True)
    return True


def abort() -> None:
    say("a first line\nLLVM ERROR: out of luck\n\n")
    os.abort()


def leave(code: int) -> None:
    print("about to leave", flush=True)
    os._exit(code)


def leave_politely(code: int) -> None:
    sys.exit(code)


def signal_itself(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60.0)


def close_everything() -> None:
    say("closing")
    os.closerange(3, 100)
    time.sleep(600.0)


def wait_for_file(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.01)


def sleep(duration_s: float) -> None:
    time.sleep(duration_s)


def hang_in_a_program(pid_file: str) -> None:
    process = subprocess.Popen(["sleep", "600"])
    Path(pid_file).write_text(str(process.pid))
    process.wait()


def noisy(result: str) -> str:
    print("to stdout " * 1000)
    print("to stderr " * 1000, file=sys.stderr)
    os.write(1, b"\x00\x00\x00\x04raw")
    subprocess.run(["echo", "from a program"], check=True)
    return result


def environment(names: list[str]) -> list[str | None]:
    return [os.environ.get(name) for name in names]


def ignore_sigterm() -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return os.getpid()


def interrupt_itself(result: str) -> str:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
    return result


def has_module(name: str) -> bool:
    return name in sys.modules


def modules() -> list[str]:
    return sorted(sys.modules)


def import_in_background(name: str, after_s: float) -> None:
    def body() -> None:
        time.sleep(after_s)
        importlib.import_module(name)

    threading.Thread(target=body).start()


def hashed_files() -> int:
    """Whether Triton's files have been hashed in this process: 1 or 0."""
    from triton.runtime.cache import triton_key

    size: int = triton_key.cache_info().currsize
    return size


def has_target() -> bool:
    from triton.runtime.driver import driver

    return driver._active is not None


def read_text(path: str) -> str:
    return Path(path).read_text()


def looks_for_garbage() -> tuple[bool, int]:
    """Whether it does, and how many objects it never looks at."""
    return gc.isenabled(), gc.get_freeze_count()
