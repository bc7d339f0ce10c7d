"""Adds latencies that another run measured to the rows of one that measured nothing: the only way to show them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

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


def with_recorded(run: Run, source: Run | None = None, how: str = "measured") -> Run:
    """The run, with what `source` measured for its configs added to its rows, which are then ranked by that.

    `how` says whether the source was `measured` by the user or is a `recorded` one, which ships with ssdprof.
    If the source has none of them, the recorded run of the same kernel source, problem and architecture with the most
    of them takes its place; without one, or if the run measured its own latencies or gave up compiling, so that the
    best may be among those that are missing, the run stays as it is.
    """
    if run.measured or run.header.stopped:
        return run
    known = _shared(source, run) if source is not None and source.measured else {}
    if source is None or not known:
        how, found = "recorded", [(one, _shared(one, run)) for one in recorded_runs()]
        source, known = max(found, key=lambda pair: len(pair[1]), default=(run, {}))
    if not known:
        return run
    text, copy_gbps = f"{how} on {source.header.provenance}", source.header.device.copy_gbps
    return ranked_run(run.header, [_over(row, known.get(row.config_id), text, copy_gbps) for row in run.rows])


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
