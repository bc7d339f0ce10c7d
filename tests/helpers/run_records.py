"""Run files of made-up runs, whose timings stand for samples that give just them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssdprof.profiling.runs.codec import DERIVED
from ssdprof.profiling.runs.counters import Counted
from ssdprof.profiling.runs.measured import Batch, Conditions, Timing
from ssdprof.profiling.runs.model import Row, Run, RunHeader
from ssdprof.profiling.runs.modelled import Modelled
from ssdprof.profiling.runs.rank import timing_of
from ssdprof.profiling.runs.run_file import RunFile
from ssdprof.profiling.runs.state import Record, RunState


def records_of(run: Run) -> tuple[Record, ...]:
    """The header, the rows without what is derived, and the model, samples and counters of each."""
    derived: dict[str, Any] = dict.fromkeys(("timing", *DERIVED[Row]))
    rows = [replace(row, **derived) for row in run.rows]
    counted = [Counted(row.config_id, row.counters) for row in run.rows if row.counters]
    modelled = [Modelled(row.config_id, row.model) for row in run.rows if row.model]
    return (run.header, *rows, *modelled, *(batch for row in run.rows for batch in batches_of(row)), *counted)


def kept(run: Run) -> Run:
    """The run as its records give it: ranks, speed-ups and ties are computed, whatever was made up for them."""
    return state_of(records_of(run)).run()


def state_of(records: Sequence[Record]) -> RunState:
    """What the records, the header first, say together."""
    assert isinstance(records[0], RunHeader)
    state = RunState(records[0])
    for record in records:
        state.add(record)
    return state


def save(run: Run, path: Path) -> None:
    """A run file of the run, in place of what is there."""
    file = RunFile(path, anew=True)
    file.write(*records_of(run))
    file.close()


def batches_of(row: Row) -> Iterator[Batch]:
    """Batches that give exactly the row's timing, if it has one."""
    if row.timing is None:
        return
    timing = row.timing
    conditions = Conditions(
        sm_clock_mhz=timing.sm_clock_mhz,
        memory_clock_mhz=timing.memory_clock_mhz,
        power_w=timing.power_w,
        temperature_c=timing.temperature_c,
        throttled=timing.throttled if timing.only_throttled or not timing.throttled else (),
    )
    batches = [Batch(row.config_id, samples_of(timing), timing.timed_by, conditions)]
    if timing.dropped_samples:
        samples_ms = (timing.latency_p80_ms,) * timing.dropped_samples
        batches.append(Batch(row.config_id, samples_ms, timing.timed_by, Conditions(throttled=timing.throttled)))
    assert timing == timing_of(batches), "made-up figures that no samples give: take 50 samples or more"
    yield from batches


def samples_of(timing: Timing) -> tuple[float, ...]:
    """Samples in steps: each of the timing's figures is that of a whole step, so that nothing is interpolated."""
    n = timing.samples
    ends = (
        (math.ceil(0.2 * (n - 1)), timing.latency_p20_ms),
        (math.floor(n / 2 - 1.96 * math.sqrt(n) / 2) - 1, timing.latency_ci95_low_ms),
        (math.ceil(n / 2 + 1.96 * math.sqrt(n) / 2) - 1, timing.latency_ms),
        (math.floor(0.8 * (n - 1)) - 1, timing.latency_ci95_high_ms),
        (n - 1, timing.latency_p80_ms),
    )
    return tuple(next(figure_ms for end, figure_ms in ends if index <= end) for index in range(n))
