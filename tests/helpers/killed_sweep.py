"""A sweep in a process of its own that keeps its run in a file: for a test that kills it and starts it again."""

from __future__ import annotations

import pickle
import sys
import time
from pathlib import Path

from ssdprof.profiling.runs.measured import Batch
from ssdprof.profiling.runs.model import Row
from ssdprof.profiling.runs.state import Record
from ssdprof.profiling.runs.store import Keeper, resumable
from ssdprof.profiling.sweep.records import run_header
from ssdprof.profiling.sweep.sweep import Sweep

MOMENT_S = 0.01
BEGUN, RESULT = "begun", "result"


def main(path: str) -> None:
    """Resumes the run in the file or begins it, as the pickled request on stdin asks.

    Says a line when it has begun, and after each result that was kept; then it waits for a moment, so that there is
    time to be killed in.
    """
    asked = pickle.load(sys.stdin.buffer)
    where, state = resumable(run_header(asked), Path(path)) or (Path(path), None)
    keep = Keeper(where, resumes=state is not None, warn=lambda line: print(line, flush=True))

    def on_record(record: Record) -> None:
        keep(record)
        if is_result(record):
            print(RESULT, flush=True)
            time.sleep(MOMENT_S)

    print(BEGUN, flush=True)
    keep.close(Sweep(asked, lambda _: None, on_record, state, "fake_timer:SteadyTimer").run())


def is_result(record: Record) -> bool:
    """Whether it was measured: a check or a batch of latencies."""
    return isinstance(record, Batch) or (isinstance(record, Row) and record.check is not None)
