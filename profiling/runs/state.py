"""What is known about a run so far, assembled from its records in the order in which they came.

A sweep keeps each record as it comes; together they give the run as it was, so a sweep that was killed resumes from its
file as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from ssdprof.profiling.runs.answers.outliers import compared
from ssdprof.profiling.runs.counters import Counted, Counters
from ssdprof.profiling.runs.measured import Batch, Timing
from ssdprof.profiling.runs.model import Row, Run, RunHeader
from ssdprof.profiling.runs.modelled import Model, Modelled
from ssdprof.profiling.runs.rank import ranked_run, timing_of

Record = RunHeader | Row | Batch | Counted | Modelled
"""A header, a row, counters or a model replace those before; a batch is added to its config's."""


class RunState:
    """The rows and latencies of a run, by config id. Its header says interrupted until the run is finished."""

    def __init__(self, header: RunHeader) -> None:
        self.header = header
        self._rows: dict[str, Row] = {}
        self._batches: dict[str, list[Batch]] = {}
        self._counters: dict[str, Counters] = {}
        self._models: dict[str, Model] = {}
        self._timings: dict[str, Timing] = {}  # of the batches so far, made when asked for
        self._judged: dict[str, Row] | None = None  # likewise

    @property
    def rows(self) -> Mapping[str, Row]:
        """The rows as added, each judged alone, without timing, counters, model and what is derived, such as ranks."""
        return MappingProxyType(self._rows)

    @property
    def judged(self) -> Mapping[str, Row]:
        """These rows; correct ones with an error that stands out too far from the others' are wrong."""
        if self._judged is None:
            rows = compared(list(self._rows.values()), self.header.tolerances)
            self._judged = {row.config_id: row for row in rows}
        return MappingProxyType(self._judged)

    def batches(self, config_id: str) -> tuple[Batch, ...]:
        """The config's batches, in the order in which they were taken."""
        return tuple(self._batches.get(config_id, ()))

    def counters(self, config_id: str) -> Counters | None:
        """What ncu counted of the config last, if it did."""
        return self._counters.get(config_id)

    def model(self, config_id: str) -> Model | None:
        """What was computed of the config's binary last, if it was."""
        return self._models.get(config_id)

    def add(self, record: Record) -> None:
        """Adds one record."""
        if isinstance(record, RunHeader):
            self.header, self._judged = record, None
        elif isinstance(record, Row):
            self._rows[record.config_id], self._judged = record, None
        elif isinstance(record, Counted):
            self._counters[record.config_id] = record.counters
        elif isinstance(record, Modelled):
            self._models[record.config_id] = record.model
        else:
            self._batches.setdefault(record.config_id, []).append(record)
            self._timings.pop(record.config_id, None)

    def row(self, config_id: str) -> Row:
        """The row, judged, with its counters, model and timing, not ranked.

        The timing is that of its batches, or its own if none were kept. Latencies count only if the
        output was checked: a config that failed later has none.
        """
        row, counters, model = self._timed(config_id), self.counters(config_id), self.model(config_id)
        return row if counters is None and model is None else replace(row, counters=counters, model=model)

    def _timed(self, config_id: str) -> Row:
        row, batches = self.judged[config_id], self._batches.get(config_id, ())
        if row.check is None or not any(batch.samples_ms for batch in batches):
            return row
        if config_id not in self._timings:
            self._timings[config_id] = timing_of(batches)
        return replace(row, timing=self._timings[config_id])

    def run(self) -> Run:
        """The run so far, ranked."""
        return ranked_run(self.header, [self.row(name) for name in self._rows])
