"""A sweep: every config compiled, checked, timed and ranked; what fails is a row, and what is measured is kept.

Compile workers and, where there is a GPU, one measuring worker run side by side; this process only hands out work,
so that a config that crashes the compiler, hangs or faults costs its own row and no more.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from ssdprof.kernels.config import config_id
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import Config, LaunchPlan
from ssdprof.profiling.gpu.telemetry import other_processes
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.occupancy import LaunchError, occupancy
from ssdprof.profiling.measuring.check import judge
from ssdprof.profiling.runs.model import Compiled, Measurement, Prepared, Row, Run, RunHeader, Status
from ssdprof.profiling.runs.state import Record, RunState
from ssdprof.profiling.sweep.header import run_header, with_others, with_prepared
from ssdprof.profiling.sweep.refine import refine
from ssdprof.profiling.sweep.request import Event, Phase, SweepRequest
from ssdprof.profiling.workers.fork_server import ForkServer
from ssdprof.profiling.workers.pool import COMPILE, WORKER_ENV, expect_measuring, start_server
from ssdprof.profiling.workers.worker import Failure, Worker, wait_any

PREPARE_TIMEOUT_S = 600.0
COMPILED_ONLY = "compiled only, no GPU"
NOT_REACHED = "not reached"
NOT_MEASURED_YET = "not measured yet"
_TICK_S = 0.2
_PREPARE = "ssdprof.profiling.measuring.beginning:prepare"
_MEASURE = "ssdprof.profiling.measuring.measure:measure"


def sweep(
    request: SweepRequest,
    on_event: Callable[[Event], None],
    on_record: Callable[[Record], None],
    state: RunState | None = None,
    server: ForkServer | None = None,
    measurer: Worker | None = None,
) -> Run:
    """Runs the sweep. `on_event` hears where it stands; `on_record` gets each result as it comes, header first.

    `state` is that of an earlier sweep of the same request to go on with: what it has is not measured again. `server`
    and `measurer` were started before; they are hung up as soon as nothing is left to do, and for the caller to close.
    Ctrl-C returns the run so far with `header.interrupted`. Raises what `on_event` or `on_record` raise.
    """
    return Sweep(request, on_event, on_record, state, server=server, measurer=measurer).run()


class Sweep:
    """The state of one sweep. `device` is the measuring worker's."""

    def __init__(
        self,
        request: SweepRequest,
        on_event: Callable[[Event], None],
        on_record: Callable[[Record], None],
        state: RunState | None = None,
        device: str = "cuda:0",
        server: ForkServer | None = None,
        measurer: Worker | None = None,
    ) -> None:
        self.request, self.on_event, self.on_record, self.device = request, on_event, on_record, device
        self.limits = limits_for(request.arch)
        self.tolerances = request.spec.tolerances(request.problem)
        self.plans: dict[str, LaunchPlan] = {}
        self.configs: dict[str, Config] = {}
        self.to_compile: deque[str] = deque()
        self.to_measure: deque[str] = deque()
        self.measurer: Worker | None = None
        self.ready = False
        self.prepare_failure = ""
        self.measuring_pids: set[int] = set()
        self.compiled = self.measured = 0
        self.phase_start_s = time.monotonic()
        was_interrupted = state is not None and state.header.interrupted
        self.state = state or RunState(run_header(request))
        self._add_rows()
        self.unfinished = state is None or was_interrupted or bool(self.to_compile)
        self.owns_server = server is None
        self.server = server or start_server()  # not before what may raise: nobody would end it
        self.compilers = [Worker(WORKER_ENV, self.server) for _ in range(self._jobs())]
        if request.gpu:
            expect_measuring(self.server)
            self.measurer = measurer or Worker(WORKER_ENV, self.server)
        self.workers = [*self.compilers, *([self.measurer] if self.measurer else [])]

    def run(self) -> Run:
        """Runs it all; see `sweep`."""
        interrupted = False
        try:
            self._compile_and_measure()
            if self.measurer and not self.prepare_failure and self.unfinished:
                refine(self)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            self._end_workers()
        for row in list(self.state.rows.values()):
            if row.status == "not-run" and row.status_reason != (reason := self._why_not_run(row)):
                self.record(replace(row, status_reason=reason))
        header = replace(self.state.header, interrupted=interrupted)
        if self.request.gpu and self.device.startswith("cuda"):
            header = self._with_others(header, self.request.gpu.visible)
        self.record(header)
        return self.state.run()

    def record(self, record: Record) -> None:
        """Takes in one result and passes it on to be kept."""
        self.state.add(record)
        self.on_record(record)

    def submit_prepare(self) -> None:
        """Lets the measuring worker make inputs and references."""
        assert self.measurer is not None
        request = self.request
        visible = request.gpu.visible if request.gpu else None
        arguments = (request.spec, request.problem, self.device, request.seed, visible)
        self.measurer.submit(_PREPARE, _PREPARE, *arguments, timeout_s=PREPARE_TIMEOUT_S)

    def set_prepared(self, outcome: Prepared | Failure) -> None:
        """The measuring worker is ready; or it is not, and then no later config would fare better."""
        self.phase_start_s = time.monotonic()
        if isinstance(outcome, Failure):
            self.prepare_failure = outcome.line
            return
        self.ready = True
        self.measuring_pids |= {outcome.pid} if outcome.pid else set()
        if self.state.header.device.copy_gbps is None:  # a worker that was replaced says the same
            self.record(with_prepared(self.state.header, outcome))

    def fail_measured(self, name: str, failure: Failure) -> None:
        """A launch that failed: its row says why, and the next config gets a new process."""
        self._fail(name, failure, "launch-error")
        if self.measurer and not failure.too_much_shared_memory:
            self.measurer.kill()  # a fault poisons the CUDA context, and what was allocated is not given back
            self.ready = False

    def tell(self, phase: Phase, done: int, total: int, name: str | None, eta_s: float | None = None) -> None:
        """Says where the sweep stands. The time left is extrapolated where it is not given."""
        if eta_s is None and done:
            eta_s = (time.monotonic() - self.phase_start_s) / done * (total - done)
        right = [self.state.row(name) for name, row in self.state.rows.items() if row.status == "ok"]
        timed = [row for row in right if row.timing]
        best = min(timed, key=lambda row: row.timing.latency_ms if row.timing else 0.0, default=None)
        self.on_event(Event(phase, done, total, self.compiled, name, best, eta_s))

    def _end_workers(self) -> None:
        """Lets all processes end; they are waited for where nobody else does."""
        for worker in self.workers:
            if worker.task is not None:  # what hangs gets no time to end by itself
                worker.drop()
        for process in self._servers:
            process.hang_up()
        if self.owns_server:
            self._wait_for_end()

    @property
    def _servers(self) -> list[ForkServer | Worker]:
        return [self.server, *([self.measurer] if self.measurer else [])]

    def _wait_for_end(self) -> None:
        for process in self._servers:
            process.close()

    def _with_others(self, header: RunHeader, visible: str) -> RunHeader:
        """The header with other processes on the GPU.

        The one that measured may still be listed, under a number that is not its own here where this is a container:
        what is new is looked for again when it has ended.
        """
        found = with_others(header, other_processes(visible, self.measuring_pids, unseen=False))
        if found == header:
            return header
        self._wait_for_end()
        return with_others(header, other_processes(visible, unseen=False))

    def _add_rows(self) -> None:
        """A row for each config, to be compiled where the kernel takes it and nothing final is known of it."""
        spec, problem = self.request.spec, self.request.problem
        rows: dict[str, Row] = {}
        for config in self.request.configs:
            try:
                config = spec.resolve(config, problem)
            except ConfigError as error:
                name = config_id(config)
                rows[name] = Row(config, name, "launch-error", str(error))
                continue
            name = config_id(config)
            rows[name] = Row(config, name, "not-run", NOT_REACHED)
            self.configs[name] = config
        self.record(replace(self.state.header, interrupted=True))
        for name, row in rows.items():
            known = self.state.rows.get(name)
            if known is None:
                self.record(row)
            if name in self.configs:
                self.plans[name] = spec.launch(problem, self.configs[name])
                if known is None or not self._is_final(known):
                    self.to_compile.append(name)

    def _is_final(self, row: Row) -> bool:
        return row.status != "not-run" or (self.request.gpu is None and row.compiled is not None)

    def _jobs(self) -> int:
        return max(1, min(self.request.jobs, len(self.to_compile)))

    def _why_not_run(self, row: Row) -> str:
        if not row.compiled:
            return "interrupted before it was compiled"
        if not self.measurer:
            return COMPILED_ONLY
        if self.prepare_failure:
            return f"the GPU could not be prepared: {self.prepare_failure}"
        return "interrupted before it was measured"

    def _compile_and_measure(self) -> None:
        while self._hand_out():
            for worker in wait_any(self.workers, _TICK_S):
                task, outcome = worker.task, worker.outcome()
                if worker is not self.measurer:
                    self._set_compiled(task, outcome)
                elif task == _PREPARE:
                    self.set_prepared(outcome)
                else:
                    self._set_measured(task, outcome)
            self._tell()

    def _hand_out(self) -> bool:
        """Gives every idle worker its next task, the one that all wait for first; whether any worker is busy."""
        if self.measurer and self.measurer.task is None and not self.prepare_failure:
            if not self.ready and (self.to_measure or self.to_compile or self._compiling()):
                self.submit_prepare()
            elif self.to_measure:
                name = self.to_measure.popleft()
                arguments = (self.plans[name], self.configs[name], name, self.request.timed_by)
                self.measurer.submit(name, _MEASURE, *arguments, timeout_s=self.request.timeout_s)
        self._hand_out_compiling()
        return any(worker.task is not None for worker in self.workers)

    def _hand_out_compiling(self) -> None:
        for worker in self.compilers:
            if worker.task is None and self.to_compile:
                name = self.to_compile.popleft()
                arguments = (self.plans[name], self.request.arch)
                worker.submit(name, COMPILE, *arguments, timeout_s=self.request.timeout_s)

    def _compiling(self) -> bool:
        return any(worker.task is not None for worker in self.compilers)

    def _set_compiled(self, name: str, outcome: Compiled | Failure) -> None:
        self.compiled += 1
        if isinstance(outcome, Failure):
            self._fail(name, outcome, "compile-error")
            return
        try:
            row = self._with_compiled(self.state.rows[name], outcome)
        except LaunchError as error:  # more threads than a block can have, say
            row = replace(self.state.rows[name], compiled=outcome, status="out-of-resources", status_reason=str(error))
        else:
            if row.occupancy and row.occupancy.cannot_launch:
                row = replace(row, status="out-of-resources", status_reason=row.occupancy.cannot_launch)
            elif self.measurer:
                self.to_measure.append(name)
        self.record(row)

    def _with_compiled(self, row: Row, compiled: Compiled) -> Row:
        return replace(
            row,
            compiled=compiled,
            occupancy=occupancy(compiled.launch, self.limits, num_sms=self.state.header.device.num_sms),
            status_reason=NOT_MEASURED_YET if self.measurer else COMPILED_ONLY,
        )

    def _set_measured(self, name: str, outcome: Measurement | Failure) -> None:
        self.measured += 1
        if isinstance(outcome, Failure):
            self.fail_measured(name, outcome)
            return
        row, loaded = self.state.rows[name], outcome.loaded
        if loaded and row.compiled:
            compiled = replace(
                row.compiled, registers_per_thread=loaded.registers_per_thread, spill_bytes=loaded.spill_bytes
            )
            row = replace(self._with_compiled(row, compiled), driver_blocks_per_sm=loaded.blocks_per_sm)
        status, reason = judge(outcome.check, self.tolerances)
        self.record(replace(row, status=status, status_reason=reason, check=outcome.check))
        if outcome.batch:
            self.record(outcome.batch)

    def _fail(self, name: str, failure: Failure, status: Status) -> None:
        if failure.kind == "timeout":
            status = "timeout"
        elif failure.out_of_resources:
            status = "out-of-resources"
        row = self.state.rows[name]
        self.record(replace(row, status=status, status_reason=failure.line, check=None))

    def _tell(self) -> None:
        measuring = self.measurer is not None and not self.prepare_failure
        busy = next((worker.task for worker in reversed(self.workers) if worker.task in self.plans), None)
        total = self.compiled + len(self.to_compile) + sum(worker.task is not None for worker in self.compilers)
        if not measuring:
            self.tell("compiling", self.compiled, total, busy)
        elif not self.ready:
            self.tell("preparing", self.measured, total, None)
        else:
            running = self.measurer is not None and self.measurer.task is not None
            self.tell(
                "measuring", self.measured, total - self.compiled + self.measured + len(self.to_measure) + running, busy
            )
