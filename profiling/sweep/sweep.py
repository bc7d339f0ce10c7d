"""A sweep: every config compiled, checked, timed and ranked; a failure is a row, and every result is kept.

Compilers and, if there is a GPU, a measurer run side by side; this process only hands out work, so a config that
crashes the compiler, hangs or faults costs its own row and nothing else.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

from ssdprof.kernels.config import Config
from ssdprof.kernels.interface import Referenced
from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling.gpu.telemetry import other_processes
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.measuring.check import judge
from ssdprof.profiling.runs.measured import Batch, Compiled, Measurement, Prepared
from ssdprof.profiling.runs.model import Row, Run, RunHeader, Status
from ssdprof.profiling.runs.state import Record, RunState
from ssdprof.profiling.sweep import records
from ssdprof.profiling.sweep.added.ceilings import add_ceilings, with_kept
from ssdprof.profiling.sweep.added.modelling import add_models
from ssdprof.profiling.sweep.refine import refine
from ssdprof.profiling.sweep.request import Event, Phase, SweepRequest
from ssdprof.profiling.sweep.trouble import Trouble
from ssdprof.profiling.workers.pool import Pool
from ssdprof.profiling.workers.worker import Failure, Worker, wait_any

PREPARE_TIMEOUT_S = 600.0
COMPILED_ONLY = "compiled only, no GPU"
NOT_MEASURED_YET = "not measured yet"
_TICK_S = 0.2
_PREPARE = "ssdprof.profiling.measuring.beginning:prepare"
_MEASURE = "ssdprof.profiling.measuring.measure:measure"
_RESAMPLE = "ssdprof.profiling.measuring.measure:resample"


def sweep(
    request: SweepRequest,
    on_event: Callable[[Event], None],
    on_record: Callable[[Record], None],
    state: RunState | None = None,
    pool: Pool | None = None,
) -> Run:
    """Runs the sweep. `on_event` hears how far it is; `on_record` gets each result as it comes, header first.

    `state` is that of an earlier sweep of the same request to resume; what it has is not measured again. A `pool` that
    was started before is hung up as soon as nothing is left to do, and is for the caller to close.
    Ctrl-C returns the run so far with `header.interrupted`; one that gives up compiling says why in
    `header.stopped`. Raises what `on_event` or `on_record` raise.
    """
    return Sweep(request, on_event, on_record, state, pool=pool).run()


class Sweep:
    """The state of one sweep. `device` is the measurer's."""

    def __init__(
        self,
        request: SweepRequest,
        on_event: Callable[[Event], None],
        on_record: Callable[[Record], None],
        state: RunState | None = None,
        device: str = "cuda:0",
        pool: Pool | None = None,
    ) -> None:
        self.request, self.on_event, self.on_record, self.device = request, on_event, on_record, device
        subject = request.subject
        self.limits = limits_for(request.arch)
        self.tolerances = {one.output: one for one in subject.tolerances()} if isinstance(subject, Referenced) else {}
        self.plans: dict[str, LaunchPlan] = {}
        self.to_compile: deque[str] = deque()
        self.to_measure: deque[str] = deque()
        self.ready, self.can_measure, self.prepare_failure = False, True, ""
        self.measuring_pids: set[int] = set()
        self.compiled = self.measured = 0
        self.trouble = Trouble()
        self.phase_start_s = pool.began_s if pool and pool.begun else time.monotonic()
        was_interrupted = state is not None and state.header.interrupted
        self.state = state or RunState(records.run_header(request))
        begun = pool.begun if pool else set()
        self.record(replace(self.state.header, interrupted=True))
        self.add(request.configs, begun)
        self.unfinished = state is None or was_interrupted or bool(self.to_compile or begun)
        self.owns_pool = pool is None
        # only after what may raise: nobody would end it
        self.pool = pool or Pool(measurers=1 if request.gpu else 0, early=False)
        self.pool.add_compilers(max(1, min(request.jobs, len(self.to_compile))) - len(self.pool.compilers))
        if request.gpu:
            self.pool.expect_measuring()
        self.measurer: Worker | None = self.pool.measurers[0] if request.gpu else None

    def run(self) -> Run:
        """Runs the sweep; see `sweep`."""
        interrupted = False
        try:
            self._compile_and_measure()
            if self.trouble.ends():
                self._stop_compiling()
            if self.measurer and self.can_measure and self.unfinished:
                refine(self)
                add_ceilings(self)
            if self.request.models:
                add_models(self)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            self.pool.hang_up()
            if self.owns_pool:
                self.pool.close()
        for row in list(self.state.rows.values()):
            if row.status == "not-run":
                ended = self._settled(replace(row, status_reason=self._why_not_run(row)), at_end=True)
                if ended != row:
                    self.record(ended)
        header = replace(self.state.header, interrupted=interrupted, stopped=self.trouble.reason)
        if self.request.gpu and self.device.startswith("cuda"):
            header = self._with_others(header, self.request.gpu.visible)
        self.record(header)
        return self.state.run()

    def record(self, record: Record) -> None:
        """Adds one result and passes it on to be kept."""
        self.state.add(record)
        self.on_record(record)

    def resample(
        self, name: str, samples: int | None, latency_ms: float | None, on_wait: Callable[[], None]
    ) -> tuple[Batch, str] | None:
        """More latencies of a config, and what is wrong with its last output; None if it failed, which is recorded."""
        assert self.measurer is not None
        if not self.ready:
            self._submit_prepare(self.measurer)
            self._set_prepared(self._outcome(self.measurer, on_wait))
            if not self.can_measure:
                return None  # earlier timings stand
        correct = self.state.rows[name].status == "ok"  # by its own check: its bits are known, whatever others have
        arguments = (self.plans[name], name, samples, latency_ms, self.request.timed_by, correct)
        self.measurer.submit(name, _RESAMPLE, *arguments, timeout_s=self.request.timeout_s)
        outcome = self._outcome(self.measurer, on_wait)
        if isinstance(outcome, Failure):
            self._fail_measured(name, outcome)
            return None
        found: tuple[Batch, str] = outcome
        return found

    @staticmethod
    def _outcome(worker: Worker, on_wait: Callable[[], None]) -> Any:
        while not wait_any([worker], _TICK_S):
            on_wait()
        return worker.outcome()

    def _submit_prepare(self, measurer: Worker) -> None:
        """Has the measurer make inputs and references."""
        visible = self.request.gpu.visible if self.request.gpu else None
        arguments = (self.request.subject, self.device, self.request.seed, visible)
        measurer.submit(_PREPARE, _PREPARE, *arguments, timeout_s=PREPARE_TIMEOUT_S)

    def _set_prepared(self, outcome: Prepared | Failure) -> None:
        """The measurer is ready, or failed to get ready, and then no later config would do better."""
        self.phase_start_s = time.monotonic()
        if isinstance(outcome, Failure):
            self.can_measure, self.prepare_failure = False, outcome.line
            return
        self.ready = True
        self.measuring_pids |= {outcome.pid} if outcome.pid else set()
        if self.state.header.device.copy_gbps is None:  # a replaced worker says the same
            header = records.with_prepared(self.state.header, outcome)
            self.record(replace(header, device=with_kept(header.device)))

    def _fail_measured(self, name: str, failure: Failure) -> None:
        """Handles a launch that failed: its row says why, and the next config gets a new process."""
        self._fail(name, failure, "launch-error")
        if self.measurer and not failure.too_much_shared_memory:
            self.measurer.kill()  # a fault poisons the CUDA context, and its memory is not freed
            self.ready = False

    def tell(self, phase: Phase, done: int, total: int, name: str | None, eta_s: float | None = None) -> None:
        """Reports how far the sweep is. The time left is extrapolated unless it is given."""
        if eta_s is None and done:
            eta_s = (time.monotonic() - self.phase_start_s) / done * (total - done)
        correct = [self.state.row(name) for name, row in self.state.judged.items() if row.status == "ok"]
        timed = [row for row in correct if row.timing]
        best = min(timed, key=lambda row: row.timing.latency_ms if row.timing else 0.0, default=None)
        self.on_event(Event(phase, done, total, self.compiled, name, best, eta_s))

    def _with_others(self, header: RunHeader, visible: str) -> RunHeader:
        """The header with other processes on the GPU.

        The measuring process may still be listed, in a container under a pid that is not its own here: if there are new
        processes, they are listed again once it has ended.
        """
        found = records.with_others(header, other_processes(visible, self.measuring_pids, unseen=False))
        if found == header:
            return header
        self.pool.close()
        return records.with_others(header, other_processes(visible, unseen=False))

    def add(self, configs: Iterable[Config], begun: Collection[str] = ()) -> None:
        """Adds a row for each config, to be compiled if the kernel takes it and nothing final is known about it.

        Those that are `begun` the pool compiles already. While the sweep runs, it is for `on_record` to call.
        """
        for name, row in records.first_rows(self.request.subject, configs).items():
            known = self.state.rows.get(name)
            if known is None:
                self.record(self._settled(row))
            if row.status == "not-run":
                self.plans[name] = self.request.subject.launch(row.config)
                if name not in begun and (known is None or not self._is_final(known)):
                    self.to_compile.append(name)

    def _settled(self, row: Row, *, at_end: bool = False) -> Row:
        """The row, marked wrong if it is wrong by construction and neither was nor will be checked."""
        will_be_checked = self.request.gpu is not None and row.status == "not-run" and not at_end
        return row if will_be_checked else records.settled(row)

    def _is_final(self, row: Row) -> bool:
        return not records.is_untried(row) or (self.request.gpu is None and row.compiled is not None)

    def _why_not_run(self, row: Row) -> str:
        if not row.compiled and self.trouble.reason:
            return f"not compiled: {self.trouble.reason}"
        if not row.compiled:
            return "interrupted before it was compiled"
        if not self.measurer:
            return COMPILED_ONLY
        if not self.can_measure:
            return f"the GPU could not be prepared: {self.prepare_failure}"
        return "interrupted before it was measured"

    def _compile_and_measure(self) -> None:
        while self._hand_out():
            for worker, task, outcome in self.pool.outcomes(_TICK_S):
                if worker is not self.measurer:
                    self._set_compiled(task, outcome)
                elif task == _PREPARE:
                    self._set_prepared(outcome)
                else:
                    self._set_measured(task, outcome)
            self._tell()

    def _hand_out(self) -> bool:
        """Gives every idle worker its next task, starting with what the others wait for; whether any worker is busy."""
        if self.measurer and self.measurer.task is None and self.can_measure:
            if not self.ready and (self.to_measure or self.to_compile or self.pool.is_compiling):
                self._submit_prepare(self.measurer)
            elif self.to_measure:
                name = self.to_measure.popleft()
                arguments = (self.plans[name], self.state.rows[name].config, name, self.request.timed_by)
                self.measurer.submit(name, _MEASURE, *arguments, timeout_s=self.request.timeout_s)
        self.pool.compile(self.to_compile, self.plans, self.request.arch, self.request.timeout_s)
        return self.pool.is_busy

    def _set_compiled(self, name: str, outcome: Compiled | Failure) -> None:
        self.compiled += 1
        if isinstance(outcome, Failure):
            self._fail(name, outcome, "compile-error")
            if self.trouble.stops(name, outcome):
                self._stop_compiling()
            return
        self.trouble.stops(name, None)
        status_reason = NOT_MEASURED_YET if self.measurer else COMPILED_ONLY
        num_sms = self.state.header.device.num_sms
        row = records.with_compiled(self.state.rows[name], outcome, self.limits, num_sms, status_reason)
        if row.status == "not-run" and self.measurer:
            self.to_measure.append(name)
        self.record(self._settled(row))

    def _stop_compiling(self) -> None:
        """Compiles nothing more; what failed for want of something on this machine counts as not run."""
        self.to_compile.clear()
        for name in self.trouble.failed:
            row = self.state.rows[name]
            if row.status == "compile-error":
                self.record(replace(row, status="not-run", status_reason=records.NOT_REACHED))

    def _set_measured(self, name: str, outcome: Measurement | Failure) -> None:
        self.measured += 1
        if isinstance(outcome, Failure):
            self._fail_measured(name, outcome)
            return
        row, loaded = self.state.rows[name], outcome.loaded
        if loaded:
            row = records.with_loaded(row, loaded, self.limits, self.state.header.device.num_sms)
        status, reason = judge(outcome.check, self.tolerances)
        self.record(replace(row, status=status, status_reason=reason, check=outcome.check))
        if outcome.batch:
            self.record(outcome.batch)
        if outcome.failed:
            self._fail_measured(name, Failure("error", *outcome.failed))

    def _fail(self, name: str, failure: Failure, status: Status) -> None:
        if failure.kind == "timeout":
            status = "timeout"
        elif failure.out_of_resources:
            status = "out-of-resources"
        row = self.state.rows[name]
        if row.status in ("wrong", "differs", "unstable") and row.check is not None:  # what was found out stands
            self.record(replace(row, status_reason=f"{row.status_reason}; then it failed: {failure.line}"))
        else:
            self.record(self._settled(replace(row, status=status, status_reason=failure.line, check=None)))

    def _tell(self) -> None:
        busy = next((worker.task for worker in reversed(self.pool.workers) if worker.task in self.plans), None)
        total = self.compiled + len(self.to_compile) + sum(worker.task is not None for worker in self.pool.compilers)
        if self.measurer is None or not self.can_measure:
            self.tell("compiling", self.compiled, total, busy)
        elif not self.ready:
            self.tell("preparing", self.measured, total, None)
        else:
            to_compile = total - self.compiled
            running = self.measurer.task is not None
            self.tell("measuring", self.measured, self.measured + to_compile + len(self.to_measure) + running, busy)
