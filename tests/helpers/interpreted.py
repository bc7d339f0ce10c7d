"""A worker process in which kernels run in Triton's interpreter, and calls of it, for the tests that need one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssdprof.profiling.workers.worker import Failure, Worker, wait_any

TIMEOUT_S = 120.0


@contextmanager
def interpreting_worker() -> Iterator[Worker]:
    """The worker, with the interpreter repaired."""
    sys.path.insert(0, str(Path(__file__).parent))
    worker = Worker({"TRITON_INTERPRET": "1"})
    assert call(worker, "interpreter_patches:apply")
    sys.path.pop(0)
    yield worker
    worker.kill()


def call(worker: Worker, function: str, *args: object) -> Any:
    """What `module:function` returns in the worker; a failure there is one here."""
    worker.submit("call", function, *args, timeout_s=TIMEOUT_S)
    while not wait_any([worker], 1.0):
        pass
    outcome = worker.outcome()
    assert not isinstance(outcome, Failure), outcome
    return outcome
