"""Adds latencies that another run measured to the rows of one that measured nothing: the only way to show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ssdprof.kernels.interface import Subject
from ssdprof.kernels.registry import recorded_files
from ssdprof.profiling.runs.measured import Compiled
from ssdprof.profiling.runs.model import Recorded, Row, Run
from ssdprof.profiling.runs.rank import ranked_run
from ssdprof.profiling.runs.run_file import RunError
from ssdprof.profiling.runs.store import load_run


def recorded_runs() -> Iterator[Run]:
    """The runs that ship with ssdprof, each measured on a named GPU."""
    return map(load_run, recorded_files())


def recorded_run(subject: Subject | None) -> Run:
    """The recorded run of a subject, or of the default problem if None. Raises RunError if there is none."""
    wanted = (subject.name, subject.identity()) if subject is not None else None
    runs = [run for run in recorded_runs() if wanted in (None, (run.header.kernel, run.header.problem))]
    if not runs:
        raise RunError("no recorded run has this problem: leave --run out, or run `ssdprof sweep` on a GPU")
    return max(runs, key=lambda run: (run.header.bytes_min or 0, len(run.rows)))


@dataclass(frozen=True, slots=True)
class Latencies:
    """What is known elsewhere of a run's configs: the run that measured them, its comparable rows by id, and how."""

    source: Run
    rows: Mapping[str, Row]
    how: str


def latencies_for(run: Run, source: Run | None = None, how: str = "measured") -> Latencies | None:
    """Where latencies of a run that measured nothing can come from: `source`, or the best of the recorded runs.

    `how` says whether the source was `measured` by the user or is a `recorded` one, which ships with ssdprof.
    If the source has none of the configs, the recorded run of the same kernel source, problem and architecture with the
    most of them takes its place. None without one, or if the run measured its own latencies or gave up compiling, so
    that the best may be among those that are missing.
    """
    if run.measured or run.header.stopped:
        return None
    if source is not None and source.measured and (known := _shared(source, run)):
        return Latencies(source, known, how)
    found = [Latencies(one, _shared(one, run), "recorded") for one in recorded_runs()]
    best = max(found, key=lambda one: len(one.rows), default=None)
    return best if best is not None and best.rows else None


def with_recorded(run: Run, source: Run | None = None, how: str = "measured") -> Run:
    """The run, with what `latencies_for` finds added to its rows, which are then ranked by that."""
    found = latencies_for(run, source, how)
    return run if found is None else with_latencies(run, found)


def with_latencies(run: Run, found: Latencies) -> Run:
    """The run with these latencies added to its rows, ranked by them."""
    header = found.source.header
    text, copy_gbps = f"{found.how} on {header.provenance}", header.device.copy_gbps
    laid = [_over(row, found.rows.get(row.config_id), text, copy_gbps) for row in run.rows]
    return ranked_run(run.header, laid)


def find_row(run: Run, reference: str) -> Row:
    """The row that `#3` (by rank), `best` or `baseline` names; a compile-only run has recorded ranks.

    Raises RunError if the run has no such row.
    """
    if reference == "baseline":
        wanted = run.header.baseline_id
        if wanted is None:
            raise RunError("this run has no baseline: name one with `ssdprof sweep --baseline CONFIG`")
    else:
        ranked = with_recorded(run).ranked
        if not ranked:
            raise RunError(
                f"{reference}: the run has no ranked config (nothing correct was measured): name a config by its id"
            )
        place = 1 if reference == "best" else _place(reference)
        if not 1 <= place <= len(ranked):
            raise RunError(f"{reference}: the run has ranks #1 to #{len(ranked)}")
        wanted = ranked[place - 1].config_id
    row = next((row for row in run.rows if row.config_id == wanted), None)
    if row is None:
        raise RunError(f"{reference}: {wanted} is not among the run's configs")
    return row


def _place(reference: str) -> int:
    digits = reference.removeprefix("#")
    if not (reference.startswith("#") and digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise RunError(f"{reference!r} names no row of a run: give #N (its rank), best or baseline")
    return int(digits)


def latency_source(run: Run) -> str | None:
    """Where the recorded latencies of a run's rows come from; None if there are none."""
    return next((row.recorded.source for row in run.rows if row.recorded), None)


def _shared(source: Run, run: Run) -> dict[str, Row]:
    """The comparable rows of a source whose configs the run has too, by id."""
    wanted, variants = {row.config_id for row in run.rows}, run.header.comparable_variants(source.header)
    rows = (row for row in source.rows if row.config_id in wanted and row.config.variant in variants)
    return {row.config_id: row for row in rows}


def _over(row: Row, known: Row | None, source: str, copy_gbps: float | None) -> Row:
    if known is None or row.compiled is None:
        return row
    same = known.compiled is not None and _resources(known.compiled) == _resources(row.compiled)
    recorded = Recorded(source, known.status, known.status_reason, known.check, known.timing, same, copy_gbps)
    return replace(row, recorded=recorded)


def _resources(compiled: Compiled) -> tuple[int, int, int]:
    return compiled.registers_per_thread, compiled.spill_bytes, compiled.dynamic_shared_mem_bytes
