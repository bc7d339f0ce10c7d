"""Explains one config: compiles it, reads what its shared memory and registers hold, and recompiles it with one
parameter changed at a time; with a GPU, all of these are checked and timed.

The answer is given as soon as the config itself is compiled, and what the changes do once they all are.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import replace

from ssdprof.kernels.config import Config, Param
from ssdprof.kernels.interface import Diagnosing
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.occupancy import LaunchError
from ssdprof.profiling.runs.ledger import Ledger
from ssdprof.profiling.runs.measured import Compiled
from ssdprof.profiling.runs.model import Device, Explanation, Neighbours, Row, Run
from ssdprof.profiling.runs.modelled import Model
from ssdprof.profiling.runs.rank import ranked_run
from ssdprof.profiling.runs.recorded import Latencies, latencies_for, latency_source, with_latencies
from ssdprof.profiling.runs.registers import Registers
from ssdprof.profiling.runs.state import Record
from ssdprof.profiling.sweep.added.modelling import model_of
from ssdprof.profiling.sweep.begin import expect_descriptors
from ssdprof.profiling.sweep.changes import capped, changes
from ssdprof.profiling.sweep.request import Event, SweepRequest
from ssdprof.profiling.sweep.sweep import Sweep
from ssdprof.profiling.workers.pool import Pool
from ssdprof.profiling.workers.worker import Failure

LEDGER = "ssdprof.profiling.binary.ledger:launch_ledger"
REGISTERS = "ssdprof.profiling.binary.registers.estimate:launch_registers"


def explain(
    config: Config,
    request: SweepRequest,
    measured: Run | None,
    how: str,
    on_event: Callable[[Event], None],
    pool: Pool | None = None,
    on_answer: Callable[[Explanation], None] = lambda _: None,
    whose: str = "",
) -> Explanation:
    """Compiles the config and its neighbours. Raises ConfigError if the kernel cannot take the config.

    `request` names subject, architecture, workers and, if they are to be measured, the GPU; its configs are ignored.
    Latencies come from `measured` or, failing that, from the recorded run, if it is of the same kernel source, problem
    and architecture; the config and its neighbours get them if no GPU measures them. `how`: whether the user `measured`
    that run, or it is `recorded` and ships with ssdprof. `pool`: processes to work in, for the caller to close.
    `on_answer` gets the explanation without neighbours, once: as soon as the config is compiled and its ledgers read,
    or at the end if it does not compile. `whose`: see `Explanation`.
    """
    with nullcontext(pool) if pool is not None else closing(Pool(measurers=bool(request.gpu))) as running:
        return _Explaining(config, request, measured, how, running, on_answer, whose).run(on_event)


class _Explaining:
    """What is known so far of one config and its neighbours."""

    def __init__(
        self,
        config: Config,
        request: SweepRequest,
        measured: Run | None,
        how: str,
        pool: Pool,
        on_answer: Callable[[Explanation], None],
        whose: str,
    ) -> None:
        subject = request.subject
        self.config = subject.resolve(config)
        self.own = subject.params.id(self.config)
        self.question = subject.question(self.config) if isinstance(subject, Diagnosing) else None
        self.changes = changes(subject, self.config, self.question.parameter if self.question else "")
        configs = (self.config, *(changed for _, changed in self.changes))  # the first is compiled first
        self.request = replace(request, configs=configs, baseline=self.config)
        self.measured, self.how, self.pool = measured, how, pool
        self.on_answer, self.whose = on_answer, whose
        self.ledger: Ledger | Failure | None = None
        self.registers: Registers | Failure | None = None
        self.models: dict[bool, Model | None] = {}  # by whether it is of this GPU, or of the one that was measured
        self.found: Latencies | None = None
        self.answered: Explanation | None = None

    def run(self, on_event: Callable[[Event], None]) -> Explanation:
        """Compiles everything and, with a GPU, measures it."""
        expect_descriptors(self.request.arch, {self.own: self.request.subject.launch(self.config)}, self.pool)
        self.sweep = Sweep(self.request, on_event, self._hear, pool=self.pool)
        run = self.sweep.run()
        first = self.answered or self._answer(run)
        if any(row.timing for row in run.rows):  # measured here: recorded latencies go beside its own
            rows = [
                replace(self._modelled(row, here=True), recorded=first.row.recorded)
                if row.config_id == self.own
                else row
                for row in run.rows
            ]
            run, source = ranked_run(run.header, rows), f"measured on {run.header.provenance}"
        else:
            run = replace(run, rows=tuple(map(self._modelled, run.rows)))
            run = with_latencies(run, self.found) if self.found else ranked_run(run.header, run.rows)
            source = latency_source(run) or ""
        rows_by_id = {row.config_id: row for row in run.rows}
        return replace(
            first,
            header=run.header,
            row=rows_by_id[self.own],
            neighbours=self._neighbours(rows_by_id),
            latency_source=source or None,
        )

    def _hear(self, record: Record) -> None:
        """Answers once the config is compiled, while its neighbours compile: reading its ledgers takes a moment."""
        is_own = isinstance(record, Row) and record.config_id == self.own
        if self.answered is not None or not is_own or not isinstance(record, Row) or record.compiled is None:
            return
        self._try_cap(record.compiled)
        plan = self.request.subject.launch(self.config)
        self.ledger = self.pool.ask(LEDGER, plan, self.request.arch, timeout_s=self.request.timeout_s)
        self.registers = self.pool.ask(REGISTERS, plan, self.request.arch, timeout_s=self.request.timeout_s)
        header = self.sweep.state.header
        for here, device in ((False, self._measured_on(record)), (True, header.device)):
            if not here or self.request.gpu:
                self.models[here] = model_of(self.request.subject, record, self.request.arch, device, self.pool)
        self._answer(Run(self.sweep.state.header, tuple(self.sweep.state.rows.values())))

    def _measured_on(self, row: Row) -> Device:
        """The GPU that a latency of the config known beforehand is from, else one that stands for its architecture."""
        compiled = Run(replace(self.sweep.state.header, device=Device(self.request.arch)), (row,))
        found = latencies_for(compiled, self.measured, self.how)
        return found.source.header.device if found else compiled.header.device

    def _try_cap(self, compiled: Compiled) -> None:
        """Adds the cap on registers that gives one more block."""
        try:
            found = capped(self.request.subject, self.config, compiled.launch, limits_for(self.request.arch))
        except LaunchError:  # the config itself cannot be launched
            return
        if found is not None and found not in self.changes:
            self.changes.append(found)
            self.sweep.add([found[1]])

    def _answer(self, run: Run) -> Explanation:
        """What the config alone tells, with what is known elsewhere of it, whoever measures it here later on."""
        header = replace(run.header, device=Device(self.request.arch))
        compiled = Run(header, tuple(map(self._modelled, run.rows)))
        self.found = latencies_for(compiled, self.measured, self.how)
        laid = with_latencies(compiled, self.found) if self.found else ranked_run(compiled.header, compiled.rows)
        self.answered = Explanation(
            header=run.header,
            row=next(row for row in laid.rows if row.config_id == self.own),
            neighbours=(),
            question=self.question,
            latency_source=latency_source(laid),
            whose=self.whose,
            source=self.found.source if self.found else None,
            ledger=None if isinstance(self.ledger, Failure) else self.ledger,
            ledger_absent=self.ledger.line if isinstance(self.ledger, Failure) else "",
            registers=None if isinstance(self.registers, Failure) else self.registers,
            registers_absent=self.registers.line if isinstance(self.registers, Failure) else "",
        )
        self.on_answer(self.answered)
        return self.answered

    def _modelled(self, row: Row, *, here: bool = False) -> Row:
        """The row with what was computed of the config itself, for this GPU or for the one that was measured."""
        model = self.models.get(here)
        return replace(row, model=model) if row.config_id == self.own and model else row

    def _neighbours(self, rows: dict[str, Row]) -> tuple[Neighbours, ...]:
        """The changed configs with the config itself, by parameter in the order of the table, by value."""
        params = self.request.subject.params
        groups: dict[Param, list[Config]] = {}
        for param in params:
            changed = [one for of, one in self.changes if of == param]
            if changed:
                groups[param] = sorted([self.config, *changed], key=lambda one: _order(one, param))
        return tuple(Neighbours(param, tuple(rows[params.id(one)] for one in group)) for param, group in groups.items())


def _order(config: Config, param: Param) -> float:
    """By value; a parameter that is not set comes last, as the loosest of caps."""
    value = config[param.name]
    return float(value) if isinstance(value, int | float) else float("inf")
