"""A process that compiles, as a sweep starts them, for the tests of each file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ssdprof.profiling.workers.worker import Worker


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker({"TRITON_INTERPRET": None})
    yield worker
    worker.kill()
