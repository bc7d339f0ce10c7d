"""Adds what ncu counts to a run or an explanation: of the best configs and the baseline, or from an exported report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.interface import Subject
from ssdprof.profiling.gpu.devices import GpuInfo
from ssdprof.profiling.ncu.counters import Counting, Launches, counters_of, has_any, metric_names
from ssdprof.profiling.ncu.export import read_export
from ssdprof.profiling.ncu.matching import check_columns, matched
from ssdprof.profiling.ncu.program import FALLBACK_FOLDERS, NcuError, NcuRow, find_ncu
from ssdprof.profiling.runs.counters import Counted, Counters
from ssdprof.profiling.runs.model import Explanation, Row, Run
from ssdprof.profiling.sweep import sweep
from ssdprof.profiling.sweep.preflight import check_measurable
from ssdprof.profiling.sweep.request import Event, SweepRequest

ALL = "all"
BEST_COUNTED = 5
"""So many of the best are counted unless it is said how many, and the baseline."""
AT_ONCE = 16
"""Launches in one run of ncu: after each, what was counted is kept, and how far it is is told."""
FROM_EXPORT = "--counters-from"
NO_COUNTERS = "no counters"
ANOTHER = f"{FROM_EXPORT} FILE takes an export of another machine"

OnEvent = Callable[[Event], None]
Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which configs to count, and what. `best` None: every correct one. `rows`: of an export, instead of counting."""

    best: int | None
    metrics: tuple[str, ...]
    ncu: Path | None = None
    rows: tuple[NcuRow, ...] = ()
    source: str = ""


def wanted_counters(
    counters: int | str | Path | None, metrics: str | Sequence[str], ncu: Path | None, warn: Warn
) -> Wanted | None:
    """What is to be counted; None if nothing is, or if there is no ncu, which `warn` then hears.

    `counters`: so many of the best, `all`, or the path of an exported report. Raises UsageError for anything else, and
    for metrics without counters.
    """
    names = metric_names(metrics) if metrics or isinstance(metrics, str) else ()
    if counters is None:
        if names:
            raise UsageError("--metrics says what else ncu counts: give --counters too, or --counters-from FILE")
        return None
    if isinstance(counters, Path):
        rows = read_export(counters, FROM_EXPORT)
        check_columns(rows, f"{FROM_EXPORT} {counters}")
        if absent := [name for name in names if name not in rows[0].cells]:
            raise UsageError(f"{FROM_EXPORT} {counters} has no metric {', '.join(absent)}: profile with --metrics")
        return Wanted(None, names, rows=rows, source=f"the export {counters.name}")
    best = None if counters == ALL else counters
    if best is not None and (not isinstance(best, int) or best < 1):
        raise UsageError(f"--counters takes {ALL} or how many of the best, at least 1; got {best}")
    found = ncu or find_ncu()
    if found is None:
        warn(
            f"{NO_COUNTERS}: no ncu on PATH or in {', '.join(FALLBACK_FOLDERS)}; install Nsight Compute, or give "
            f"--ncu-path or {FROM_EXPORT}"
        )
        return None
    return Wanted(best, names, found)


def with_counters(
    run: Run, wanted: Wanted, request: SweepRequest, on_event: OnEvent, on_record: Callable[[Counted], None], warn: Warn
) -> Run:
    """The run with the counters of its best configs and its baseline, or of those that the export has.

    `on_record` gets each as it comes. Only configs that were checked and are ok are launched. What goes wrong, `warn`
    hears in a line, and the run is as it was. Ctrl-C returns the run so far with `header.interrupted`.
    """
    if wanted.rows:
        found = _from_export(run.rows, wanted, request.subject, warn)
        for name, one in found.items():
            on_record(Counted(name, one))
        return _with(run, found)
    if request.gpu is None or not run.measured:
        warn(f"{NO_COUNTERS}: nothing ran here, since no GPU is used; {ANOTHER}")
        return run
    rows = chosen(run, wanted)
    counting, found, start_s = _counting(wanted), dict[str, Counters](), time.monotonic()
    try:
        for i_first in range(0, len(rows), AT_ONCE):
            done_s = (time.monotonic() - start_s) / i_first if i_first else None
            eta_s = None if done_s is None else done_s * (len(rows) - i_first)
            on_event(Event("counting", i_first, len(rows), len(run.rows), None, run.ranked[0], eta_s))
            new = _counted(counting, rows[i_first : i_first + AT_ONCE], request, request.gpu, warn)
            for name, one in new.items():
                on_record(Counted(name, one))
            found |= new
    except KeyboardInterrupt:
        return _with(replace(run, header=replace(run.header, interrupted=True)), found)
    except NcuError as error:
        warn(f"{'no more counters' if found else NO_COUNTERS}: {error}")
    _tell_missing(found.values(), wanted, warn)
    return _with(run, found)


def chosen(run: Run, wanted: Wanted) -> list[Row]:
    """The rows to count: so many of the best as are wanted, and the baseline; not those that have it all already."""
    ok = [row for row in run.ranked if row.status == "ok"]
    best = ok[: wanted.best]
    rows = [*best, *(row for row in ok[len(best) :] if row.config_id == run.header.baseline_id)]
    return [row for row in rows if not _has_all(row, wanted)]


def explained_with_counters(
    explanation: Explanation,
    wanted: Wanted | None,
    request: SweepRequest,
    gpu: GpuInfo | None,
    on_event: OnEvent,
    warn: Warn,
) -> Explanation:
    """The explanation with its config's counters: those of the run that its latency is from, or newly counted ones.

    A config that is not known to be ok is checked first.
    """
    row = explanation.row
    known = {one.config_id: one for one in (explanation.source.rows if explanation.source else ())}.get(row.config_id)
    if known is not None and known.counters and row.recorded and row.recorded.same_binary:
        row = replace(row, counters=known.counters)
    if wanted is not None and wanted.rows:
        others = [other for group in explanation.neighbours for other in group.rows if other.config_id != row.config_id]
        found = _from_export([row, *others], wanted, request.subject, warn, only=row.config_id)
        row = replace(row, counters=found.get(row.config_id, row.counters))
    elif wanted is not None and not _has_all(row, wanted):
        counters = _newly_counted(row, wanted, request, gpu, on_event, warn)
        row = replace(row, counters=counters or row.counters)
    return explanation if row is explanation.row else replace(explanation, row=row)


def _newly_counted(
    row: Row, wanted: Wanted, request: SweepRequest, gpu: GpuInfo | None, on_event: OnEvent, warn: Warn
) -> Counters | None:
    """The counters of a config on this GPU, if it is correct there."""
    if row.compiled is None:
        return None
    if gpu is None or gpu.arch != request.arch:
        here = "there is no GPU here" if gpu is None else f"the GPU here is of {gpu.arch}, not {request.arch}"
        warn(f"{NO_COUNTERS}: {here}; {ANOTHER}")
        return None
    if row.status != "ok" and (row.known_status != "ok" or not (row.recorded and row.recorded.same_binary)):
        check_measurable(request.subject, gpu)
        one = replace(request, configs=(row.config,), gpu=gpu, budget_s=0.0)
        checked = sweep.sweep(one, on_event, lambda _: None).rows[0]
        if checked.status != "ok":
            warn(f"{NO_COUNTERS}: {row.config_id} is {checked.status} here, {checked.status_reason}")
            return None
    on_event(Event("counting", 0, 1, 1, row.config_id, None, None))
    try:
        found = _counted(_counting(wanted), [row], request, gpu, warn)
    except NcuError as error:
        warn(f"{NO_COUNTERS}: {error}")
        return None
    _tell_missing(found.values(), wanted, warn)
    return found.get(row.config_id)


def _counting(wanted: Wanted) -> Counting:
    assert wanted.ncu is not None, "without it, an export is read"
    return Counting(wanted.ncu, wanted.metrics)


def _counted(
    counting: Counting, rows: Sequence[Row], request: SweepRequest, gpu: GpuInfo, warn: Warn
) -> dict[str, Counters]:
    plans = {row.config_id: request.subject.launch(row.config) for row in rows}
    found = counting.count(Launches(request.subject, request.seed, plans, gpu.visible))
    if lost := [name for name in plans if name not in found]:
        warn(f"{NO_COUNTERS} of {', '.join(lost)}: failed under ncu alone")
    return found


def _from_export(
    rows: Iterable[Row], wanted: Wanted, subject: Subject, warn: Warn, only: str | None = None
) -> dict[str, Counters]:
    """The counters that the export has of these rows, or of the `only` one; `warn` hears of what cannot be told."""
    compiled = {
        row.config_id: (subject.launch(row.config).function, row.compiled) for row in rows if row.compiled is not None
    }
    found = matched(wanted.rows, compiled)
    for names in found.alike:
        if only is None or only in names:
            warn(f"{NO_COUNTERS} of {', '.join(names)}: their launches look the same in {wanted.source}")
    counters = {name: counters_of(row, wanted.source, wanted.metrics) for name, row in found.rows.items()}
    counters = {name: one for name, one in counters.items() if only in (None, name)}
    if not counters and not found.alike:
        what = "one of these configs" if only is None else only
        warn(
            f"{NO_COUNTERS}: no launch in {wanted.source} is of {what}: none has the function, registers, shared "
            "memory, block and grid that it has here"
        )
    elif counters and not any(map(has_any, counters.values())):
        warn(f"{NO_COUNTERS} in {wanted.source}: profile with ncu --set full, or name them with its --metrics")
    return {name: one for name, one in counters.items() if has_any(one)}


def _has_all(row: Row, wanted: Wanted) -> bool:
    """Whether all that is wanted was counted before."""
    return row.counters is not None and {name for name, _ in row.counters.metrics} >= set(wanted.metrics)


def _tell_missing(found: Iterable[Counters], wanted: Wanted, warn: Warn) -> None:
    given = [{name for name, _ in one.metrics} for one in found]
    if given and (absent := [name for name in wanted.metrics if not any(name in names for names in given)]):
        warn(f"ncu gave no number for {', '.join(absent)}")


def _with(run: Run, found: dict[str, Counters]) -> Run:
    return replace(run, rows=tuple(replace(row, counters=found.get(row.config_id, row.counters)) for row in run.rows))
