"""A sweep: every config compiled, checked, timed and ranked; what fails is a row, and what is measured is kept.

Compile workers and, where there is a GPU, one measuring worker run side by side; this process only hands out work,
so that a config that crashes the compiler, hangs or faults costs its own row and no more.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ssdprof.kernels.config import config_id
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import Config, LaunchPlan
from ssdprof.profiling.check import judge
from ssdprof.profiling.device import sm_clock_mhz
from ssdprof.profiling.header import run_header, with_prepared
from ssdprof.profiling.limits import limits_for
from ssdprof.profiling.model import Compiled, Measurement, Prepared, Row, Run, Status
from ssdprof.profiling.occupancy import LaunchError, occupancy
from ssdprof.profiling.rank import rank, timing
from ssdprof.profiling.request import Event, Phase, SweepRequest
from ssdprof.profiling.worker import Failure, Worker, wait_any

PREPARE_TIMEOUT_S = 600.0
COMPILED_ONLY = "compiled only, no GPU"
NOT_MEASURED_YET = "not measured yet"
FINALIST_SLACK = 1.15
"""Right configs within this factor of the best are timed again, in turns, against drift."""
MAX_FINALISTS = 12
FINAL_ROUNDS = 6
FINAL_SAMPLES_PER_ROUND = 10
_TICK_S = 0.2
_SAVE_EVERY_S = 1.0
_COMPILE = "ssdprof.profiling.compiler:compile_launch"
_PREPARE = "ssdprof.profiling.measure:prepare"
_MEASURE = "ssdprof.profiling.measure:measure"
_RESAMPLE = "ssdprof.profiling.measure:resample"


def sweep(request: SweepRequest, on_event: Callable[[Event], None], on_run: Callable[[Run], None]) -> Run:
    """Runs the sweep. `on_event` hears where it stands; `on_run` gets the run so far, once a second and at the end.

    Ctrl-C returns the run so far with `header.interrupted`. Raises what `on_event` or `on_run` raise.
    """
    return _Sweep(request, on_event, on_run, "cuda:0", {"TRITON_INTERPRET": None}).run()


class _Sweep:
    """The state of one sweep. `device` and `env` are the measuring worker's."""

    def __init__(
        self,
        request: SweepRequest,
        on_event: Callable[[Event], None],
        on_run: Callable[[Run], None],
        device: str,
        env: dict[str, str | None],
    ) -> None:
        self.request, self.on_event, self.on_run, self.device = request, on_event, on_run, device
        self.limits = limits_for(request.arch)
        self.tolerances = request.spec.tolerances(request.problem)
        self.rows: dict[str, Row] = {}
        self.plans: dict[str, LaunchPlan] = {}
        self.samples_ms: dict[str, tuple[float, ...]] = {}
        self.to_compile: deque[str] = deque()
        self.to_measure: deque[str] = deque()
        for config in request.configs:
            self._add(config)
        self.baseline_id = None
        if request.baseline is not None:
            baseline = config_id(request.spec.resolve(request.baseline, request.problem))
            self.baseline_id = baseline if baseline in self.rows else None
        jobs = max(1, min(request.jobs, len(self.to_compile)))
        self.compilers = [Worker({"TRITON_INTERPRET": None}) for _ in range(jobs)]
        gpu = request.gpu
        self.measurer = Worker({**env, "CUDA_VISIBLE_DEVICES": gpu.visible}) if gpu else None
        self.workers = [*self.compilers, *([self.measurer] if self.measurer else [])]
        self.ready = False
        self.prepare_failure = ""
        self.header = run_header(request, self.baseline_id)
        self.compiled = self.measured = 0
        self.interrupted = False
        self.saved_s = self.phase_start_s = time.monotonic()

    def run(self) -> Run:
        try:
            self._compile_and_measure()
            if self.measurer and not self.prepare_failure:
                self._refine()
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            for worker in self.workers:
                worker.kill()
        for name, row in self.rows.items():
            if row.status == "not-run":
                self.rows[name] = replace(row, status_reason=self._why_not_run(row))
        run = self._so_far()
        self.on_run(run)
        return run

    def _add(self, config: Config) -> None:
        """A row for the config, to be compiled where the kernel takes it."""
        spec, problem = self.request.spec, self.request.problem
        try:
            config = spec.resolve(config, problem)
        except ConfigError as error:
            name = config_id(config)
            self.rows[name] = Row(config, name, "launch-error", str(error))
            return
        name = config_id(config)
        if name not in self.rows:
            self.rows[name] = Row(config, name, "not-run", "not reached")
            self.plans[name] = spec.launch(problem, config)
            self.to_compile.append(name)

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
                    self._set_prepared(outcome)
                else:
                    self._set_measured(task, outcome)
            self._tell_and_save()

    def _hand_out(self) -> bool:
        """Gives every idle worker its next task; whether any worker is busy."""
        request = self.request
        for worker in self.compilers:
            if worker.task is None and self.to_compile:
                name = self.to_compile.popleft()
                worker.submit(name, _COMPILE, self.plans[name], request.arch, timeout_s=request.timeout_s)
        if self.measurer and self.measurer.task is None and not self.prepare_failure:
            if not self.ready and (self.to_measure or self.to_compile):
                self._submit_prepare(self.measurer)
            elif self.to_measure:
                name = self.to_measure.popleft()
                self.measurer.submit(name, _MEASURE, self.plans[name], timeout_s=request.timeout_s)
        return any(worker.task is not None for worker in self.workers)

    def _submit_prepare(self, worker: Worker) -> None:
        arguments = (self.request.spec, self.request.problem, self.device, self.request.seed)
        worker.submit(_PREPARE, _PREPARE, *arguments, timeout_s=PREPARE_TIMEOUT_S)

    def _set_compiled(self, name: str, outcome: Compiled | Failure) -> None:
        self.compiled += 1
        if isinstance(outcome, Failure):
            self._fail(name, outcome, "compile-error")
            return
        try:
            row = self._with_compiled(self.rows[name], outcome)
        except LaunchError as error:  # more threads than a block can have, say
            self.rows[name] = replace(
                self.rows[name], compiled=outcome, status="out-of-resources", status_reason=str(error)
            )
            return
        if row.occupancy and row.occupancy.cannot_launch:
            row = replace(row, status="out-of-resources", status_reason=row.occupancy.cannot_launch)
        elif self.measurer:
            self.to_measure.append(name)
        self.rows[name] = row

    def _with_compiled(self, row: Row, compiled: Compiled) -> Row:
        return replace(
            row,
            compiled=compiled,
            occupancy=occupancy(compiled.launch, self.limits, num_sms=self.header.device.num_sms),
            status_reason=NOT_MEASURED_YET if self.measurer else COMPILED_ONLY,
        )

    def _set_prepared(self, outcome: Prepared | Failure) -> None:
        """The measuring worker is ready; or it is not, and then no later config would fare better."""
        self.phase_start_s = time.monotonic()
        if isinstance(outcome, Failure):
            self.prepare_failure = outcome.line
        else:
            self.header, self.ready = with_prepared(self.header, outcome), True

    def _set_measured(self, name: str, outcome: Measurement | Failure) -> None:
        self.measured += 1
        if isinstance(outcome, Failure):
            self._fail_measured(name, outcome)
            return
        row, loaded = self.rows[name], outcome.loaded
        if loaded and row.compiled:
            compiled = replace(
                row.compiled, registers_per_thread=loaded.registers_per_thread, spill_bytes=loaded.spill_bytes
            )
            row = replace(self._with_compiled(row, compiled), driver_blocks_per_sm=loaded.blocks_per_sm)
        status, reason = judge(outcome.check, self.tolerances)
        self.rows[name] = replace(row, status=status, status_reason=reason, check=outcome.check)
        self._add_samples(name, outcome.samples_ms)

    def _add_samples(self, name: str, samples_ms: tuple[float, ...]) -> None:
        self.samples_ms[name] = self.samples_ms.get(name, ()) + samples_ms
        clock_mhz = sm_clock_mhz(self.request.gpu) if self.request.gpu else None
        self.rows[name] = replace(self.rows[name], timing=timing(self.samples_ms[name], clock_mhz))

    def _fail_measured(self, name: str, failure: Failure) -> None:
        self._fail(name, failure, "launch-error")
        if self.measurer and not failure.out_of_resources:
            self.measurer.kill()  # a fault poisons the CUDA context: the next config gets a new process
            self.ready = False

    def _fail(self, name: str, failure: Failure, status: Status) -> None:
        if failure.kind == "timeout":
            status = "timeout"
        elif failure.out_of_resources:
            status = "out-of-resources"
        self.rows[name] = replace(self.rows[name], status=status, status_reason=failure.line, check=None, timing=None)

    def _refine(self) -> None:
        """Times the best right configs, the baseline and the fastest wrong one again, in turns."""
        worker, names = self.measurer, self._finalists()
        assert worker is not None
        for name in names:
            self.samples_ms[name] = ()
        self.phase_start_s = time.monotonic()
        turns = [name for _ in range(FINAL_ROUNDS) for name in names]
        for turn, name in enumerate(turns):
            if self.rows[name].timing is None:  # it failed in an earlier turn
                continue
            if not self.ready:
                self._submit_prepare(worker)
                self._set_prepared(self._refined(worker, turn, len(turns), name))
            if self.prepare_failure:
                return  # what was timed before stands
            timeout_s = self.request.timeout_s
            worker.submit(name, _RESAMPLE, self.plans[name], FINAL_SAMPLES_PER_ROUND, timeout_s=timeout_s)
            samples_ms = self._refined(worker, turn, len(turns), name)
            if isinstance(samples_ms, Failure):
                self._fail_measured(name, samples_ms)
            else:
                self._add_samples(name, samples_ms)
            self._tell("refining", turn + 1, len(turns), name)

    def _refined(self, worker: Worker, turn: int, turns: int, name: str) -> Any:
        while not wait_any([worker], _TICK_S):
            self._tell("refining", turn, turns, name)
        return worker.outcome()

    def _finalists(self) -> list[str]:
        timed = sorted(
            (row.timing.latency_ms, name, row.status) for name, row in self.rows.items() if row.timing is not None
        )
        right = {name: latency_ms for latency_ms, name, status in timed if status == "ok"}
        fastest_ms = min(right.values(), default=0.0)
        names = [name for name, latency_ms in right.items() if latency_ms <= FINALIST_SLACK * fastest_ms]
        names = names[:MAX_FINALISTS] + [name for _, name, status in timed if status == "wrong"][:1]
        if self.baseline_id in right and self.baseline_id not in names:
            names.append(self.baseline_id)
        return names

    def _so_far(self) -> Run:
        header = replace(self.header, interrupted=self.interrupted)
        return Run(header=header, rows=rank(list(self.rows.values()), self.baseline_id))

    def _tell_and_save(self) -> None:
        measuring = self.measurer is not None and not self.prepare_failure
        busy = next((worker.task for worker in reversed(self.workers) if worker.task in self.rows), None)
        if not measuring:
            self._tell("compiling", self.compiled, len(self.plans), busy)
        elif not self.ready:
            self._tell("preparing", self.measured, len(self.plans), None)
        else:
            total = len(self.plans) - self.compiled + self.measured + len(self.to_measure)
            running = self.measurer is not None and self.measurer.task is not None
            self._tell("measuring", self.measured, total + running, busy)
        if time.monotonic() - self.saved_s >= _SAVE_EVERY_S:
            self.saved_s = time.monotonic()
            self.on_run(self._so_far())

    def _tell(self, phase: Phase, done: int, total: int, name: Any) -> None:
        elapsed_s = time.monotonic() - self.phase_start_s
        right = [row for row in self.rows.values() if row.status == "ok" and row.timing]
        best = min(right, key=lambda row: row.timing.latency_ms if row.timing else 0.0, default=None)
        eta_s = elapsed_s / done * (total - done) if done else None
        self.on_event(Event(phase, done, total, self.compiled, name, best, eta_s))
