"""A sweep from its request to the run as it is kept: resumed if asked, told beforehand, with recorded latencies and
counters.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.runs.recorded import with_recorded
from ssdprof.profiling.runs.state import Record
from ssdprof.profiling.runs.store import Keeper, Kept, resumable
from ssdprof.profiling.sweep import sweep
from ssdprof.profiling.sweep.added.counting import Wanted, with_counters
from ssdprof.profiling.sweep.begin import begun, expect_descriptors
from ssdprof.profiling.sweep.environment import with_toolchain
from ssdprof.profiling.sweep.preflight import left, preflight
from ssdprof.profiling.sweep.records import run_header
from ssdprof.profiling.sweep.request import Event, SweepRequest
from ssdprof.profiling.workers.pool import Pool


@dataclass(frozen=True, slots=True)
class Heard:
    """Who hears of a sweep: how far it is, each result, warnings, notes, and where the run is kept."""

    on_event: Callable[[Event], None]
    on_record: Callable[[Record], None]
    warn: Callable[[str], None]
    say: Callable[[str], None]
    on_kept: Callable[[Kept], None]


@dataclass(frozen=True, slots=True)
class Keeping:
    """Whether a run is kept: in the file `out`, or with `keep` in a new one; and whether one there is resumed."""

    out: Path | None
    keep: bool
    resume: bool


def swept(
    request: SweepRequest,
    processes: AbstractContextManager[Pool],
    keeping: Keeping,
    heard: Heard,
    wanted: Wanted | None,
    start_s: float,
) -> Run:
    """The run of the request, ranked. `start_s`: when it was asked for, by the monotonic clock.

    Raises RunError for a run that cannot be resumed.
    """
    path, state = (resumable(run_header(request), keeping.out) if keeping.resume else None) or (keeping.out, None)
    if keeping.resume:
        heard.say(f"resuming {path}" if state else "nothing to resume: a new run begins")
    ahead = left(request, state)
    is_kept = keeping.keep or path is not None
    keeper = Keeper(path, resumes=state is not None, warn=heard.warn) if is_kept else None

    def record(one: Record) -> None:
        if keeper is not None:
            keeper(one)
        heard.on_record(one)

    with processes as pool:
        if ahead.to_compile or ahead.to_measure:
            expect_descriptors(request.arch, ahead.to_compile, pool)
            request = with_toolchain(request, pool, heard.warn, path, state)
        shown = begun(request, ahead.to_compile, pool, start_s)
        heard.say(preflight(request, ahead, shown, resumed=bool(state)).line)
        run = with_recorded(sweep.sweep(request, heard.on_event, record, state, pool))
        if wanted is not None and not run.header.interrupted and not run.header.stopped:
            pool.close()  # the measurer's memory on the GPU is for the launches under ncu
            run = with_counters(run, wanted, request, heard.on_event, record, heard.warn)
    if keeper is not None:
        heard.on_kept(keeper.close(run))
    return run
