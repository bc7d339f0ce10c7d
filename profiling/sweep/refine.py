"""Times the best configs again, in rounds of random order, until their latencies are known well enough."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling.measuring.amounts import turn_samples
from ssdprof.profiling.runs.measured import Batch, Timing
from ssdprof.profiling.runs.model import Row
from ssdprof.profiling.runs.rank import timing_of
from ssdprof.profiling.runs.state import Record, RunState
from ssdprof.profiling.sweep import rounds
from ssdprof.profiling.sweep.request import Phase, SweepRequest

COOL_DOWN_S = 0.1
"""A pause after a throttled batch, for the GPU to cool and its average power to fall."""
LOOK_AGAIN_SHARE = 0.25
"""The share of the budget that second looks may take."""


class Measuring(Protocol):
    """What the rounds need from a sweep."""

    state: RunState
    request: SweepRequest
    plans: dict[str, LaunchPlan]
    """By config id. Only requested configs have one; a resumed run may hold others, if a space file changed."""
    can_measure: bool
    """Whether preparing the GPU has not failed so far."""

    def resample(
        self, name: str, samples: int | None, latency_ms: float | None, on_wait: Callable[[], None]
    ) -> tuple[Batch, str] | None:
        """More latencies of a config, and what is wrong with its last output; None if it failed, which is recorded."""

    def record(self, record: Record) -> None:
        """Adds one result."""

    def tell(self, phase: Phase, done: int, total: int, name: str | None, eta_s: float | None = None) -> None:
        """Reports how far the rounds are."""


def refine(sweep: Measuring) -> None:
    """Times the finalists of the sweep in rounds, until the leading ones are settled or the budget is spent.

    Does not repeat turns that an earlier sweep of this run has taken.
    """
    _Rounds(sweep).run()


class _Rounds:
    """The rounds of one sweep: who takes part, and how far they are."""

    def __init__(self, sweep: Measuring) -> None:
        self.sweep = sweep
        self.turns = self.planned = 0
        self.leading: tuple[str, ...] = ()
        self.others: tuple[str, ...] = ()
        self.start_s = time.monotonic()

    def run(self) -> None:
        for name in self._without_first_look():
            self._take_turn(name, 0)
        self._look_again()
        rows = [self._first_look(row) for row in self._asked()]
        self.leading, self.others = rounds.finalists(rows, self.sweep.state.header.baseline_id)
        first_ms = {row.config_id: row.timing.latency_ms for row in rows if row.timing}
        self.planned = rounds.planned_turns([first_ms[name] for name in self.leading], len(self.others))
        number = 1
        while names := self._round(number):
            for name in names:
                if self._left_s() <= 0 or not self.sweep.can_measure:
                    return
                if self._is_due(name, number):
                    self._take_turn(name, number)
                self.turns += 1
                self._tell(name)
            number += 1

    def _without_first_look(self) -> list[str]:
        """Configs that were checked but not yet timed when the sweep was cut off."""
        state = self.sweep.state
        return [
            row.config_id
            for row in self._asked()
            if row.status in ("ok", "wrong", "differs")
            and row.check
            and row.check.harmless
            and not state.batches(row.config_id)
        ]

    def _look_again(self) -> None:
        """A second look at correct configs that the first may have misjudged, for a share of the budget."""
        until_s = (1 - LOOK_AGAIN_SHARE) * self.sweep.request.budget_s
        for name in rounds.doubted([self._first_look(row) for row in self._asked()]):
            if self._left_s() <= until_s or not self.sweep.can_measure:
                return
            if len(self._first_batches(name)) == 1:
                self._take_turn(name, 0)

    def _asked(self) -> list[Row]:
        return [row for name, row in self.sweep.state.judged.items() if name in self.sweep.plans]

    def _round(self, number: int) -> tuple[str, ...]:
        timings = {name: self._timing(name) for name in self.leading if self.sweep.state.judged[name].status == "ok"}
        return rounds.next_round(number, timings, self.others, self.sweep.request.seed)

    def _is_due(self, name: str, number: int) -> bool:
        """Not if it failed in an earlier turn, or if it took this turn before the sweep was cut off."""
        state = self.sweep.state
        return state.rows[name].check is not None and all(batch.round != number for batch in state.batches(name))

    def _take_turn(self, name: str, number: int) -> None:
        sweep, row = self.sweep, self.sweep.state.row(name)
        latency_ms = row.timing.latency_ms if row.timing else None
        samples = None if latency_ms is None else turn_samples(latency_ms)
        outcome = sweep.resample(name, samples, latency_ms, lambda: self._tell(name))
        if outcome is None:
            return
        batch, trouble = outcome
        if trouble:
            assert row.check is not None
            check = replace(row.check, repeatable=False)
            sweep.record(replace(sweep.state.rows[name], status="unstable", status_reason=trouble, check=check))
            return
        sweep.record(replace(batch, round=number))
        if batch.throttled:
            time.sleep(COOL_DOWN_S)

    def _first_batches(self, name: str) -> list[Batch]:
        return [batch for batch in self.sweep.state.batches(name) if batch.round == 0]

    def _first_look(self, row: Row) -> Row:
        batches = self._first_batches(row.config_id)
        return replace(row, timing=timing_of(batches)) if row.check and batches else row

    def _timing(self, name: str) -> Timing | None:
        """The timing by the rounds alone; None before the first."""
        batches = [batch for batch in self.sweep.state.batches(name) if batch.round > 0]
        return timing_of(batches) if batches else None

    def _left_s(self) -> float:
        return self.sweep.request.budget_s - (time.monotonic() - self.start_s)

    def _tell(self, name: str) -> None:
        total = max(self.planned, self.turns)
        eta_s = None
        if self.turns:
            by_turns_s = (time.monotonic() - self.start_s) / self.turns * (total - self.turns)
            eta_s = max(0.0, min(self._left_s(), by_turns_s))
        self.sweep.tell("refining", self.turns, total, name, eta_s)
