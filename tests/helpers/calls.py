"""A task of a worker as a call."""

from __future__ import annotations

from typing import Any

from ssdprof.profiling.workers.worker import Worker, wait_any


def call(worker: Worker, function: str, *args: Any) -> Any:
    worker.submit("the task", function, *args, timeout_s=60.0)
    while not wait_any([worker], 1.0):
        pass
    return worker.outcome()
