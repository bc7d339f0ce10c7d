"""Launches of one chunk scan from different places, checked and timed on the same inputs in one process."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.measuring.check import Errors, judge, merge, output_errors, row_norm_rms, same_bits
from ssdprof.profiling.measuring.guard import Fingerprints, GuardedOutput
from ssdprof.profiling.measuring.timer import Launch, Timer
from ssdprof.profiling.runs.model import Batch, Check, Status, Timing
from ssdprof.profiling.runs.rank import timing_of
from ssdprof.profiling.sweep.request import GUARD_BYTES
from ssdprof.profiling.sweep.rounds import turn_samples
from ssdprof.profiling.workers.worker import first_line

LAUNCHES = 5
FINALISTS = 5
"""Right configs of each kernel that are timed in rounds, the fastest at a first look."""
REFERENCE = "tile"
"""The kernel, of ours and of the published structure, that speed-ups are relative to."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One kernel under one config: its launch, and the output (1, seqlen, nheads, headdim) that it writes."""

    kernel: str
    config: str
    launch: Launch
    out: torch.Tensor

    @property
    def name(self) -> str:
        """Kernel and config."""
        return f"{self.kernel} {self.config}"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a candidate. `once_ms`: its latency at the check; `check` None: it could not be launched."""

    candidate: Candidate
    status: Status
    reason: str
    check: Check | None = None
    once_ms: float = 0.0
    timing: Timing | None = None

    @property
    def latency_ms(self) -> float:
        """The median where it was timed, else the latency at the check."""
        return self.timing.latency_ms if self.timing else self.once_ms


@dataclass(frozen=True, slots=True)
class Entry:
    """A kernel on a problem: how many configs it has, and its best right one; None and empty where there is none."""

    problem: str
    kernel: str
    configs: int
    wrong: int
    failed: int
    config: str = ""
    latency_ms: float | None = None
    roofline_share: float | None = None
    speedup: float | None = None
    relative_error: float | None = None
    worst_row_error: float | None = None


class Bench:
    """One problem's inputs, reference and guarded output on a device, and what is done with candidates there."""

    def __init__(self, problem: ChunkScanProblem, timer: Timer, seed: int = 0) -> None:
        self.spec, self.problem, self.timer, self.seed = ChunkScan(), problem, timer, seed
        self.inputs = self.spec.make_inputs(problem, timer.device, seed)
        self._reference = self.spec.reference(problem, self.inputs)
        self._norm_rms = row_norm_rms(self._reference)
        self._tolerances = self.spec.tolerances(problem)
        self._unchanged = Fingerprints({**self.inputs, "the reference": self._reference})
        meta = self.spec.tensors(problem)[self.spec.output_name()]
        self._guarded = GuardedOutput(meta.shape, getattr(torch, meta.dtype), timer.device, GUARD_BYTES)
        self.out = self._guarded.tensor
        self._first = torch.empty_like(self.out)

    def check(self, candidate: Candidate) -> Result:
        """Launches it several times. Ends the script where the GPU or the inputs are of no use afterwards."""
        try:
            result = self._checked(candidate)
        except Exception as error:
            self._require_gpu_alive(candidate)
            return Result(candidate, "launch-error", f"{type(error).__name__}: {first_line(str(error))}")
        if changed := self._unchanged.changed():
            sys.exit(f"{candidate.name} wrote to {', '.join(changed)}: nothing after it can be checked")
        return result

    def race(self, results: Sequence[Result], rounds: int) -> list[Result]:
        """The fastest right ones of each kernel in rounds of random order, with their timing."""
        looked = [self._turn(one, [], 0) for one in results if one.status == "ok"]
        batches: dict[str, list[Batch]] = {}
        finalists: dict[str, Result] = {}
        for kernel in dict.fromkeys(one.candidate.kernel for one in looked):
            right = [one for one in looked if one.candidate.kernel == kernel and one.status == "ok"]
            finalists |= {one.candidate.name: one for one in sorted(right, key=lambda one: one.latency_ms)[:FINALISTS]}
        generator = random.Random(self.seed)  # noqa: S311  # an order, no secret
        for number in range(1, rounds + 1):
            names = [name for name, one in finalists.items() if one.status == "ok"]
            generator.shuffle(names)
            for name in names:
                finalists[name] = self._turn(finalists[name], batches.setdefault(name, []), number)
        raced = {one.candidate.name: replace(one, timing=None) for one in looked} | finalists
        return [raced.get(one.candidate.name, one) for one in results]

    def _checked(self, candidate: Candidate) -> Result:
        self._launch(candidate)
        self._first.copy_(candidate.out)
        errors = [self._errors(candidate)]
        once_ms = self.timer.once_ms(candidate.launch)
        repeatable, launches = True, 1
        while repeatable and launches < LAUNCHES:
            with self.timer.under_load(once_ms):
                self._launch(candidate)
            launches += 1
            repeatable = same_bits(candidate.out, self._first)
        if not repeatable:
            errors.append(self._errors(candidate))
        outside = self._guarded.damage()
        check = merge(errors, repeatable, launches, findings=[outside] if outside else [])
        status, reason = judge(check, self._tolerances)
        return Result(candidate, status, reason, check, once_ms)

    def _errors(self, candidate: Candidate) -> Errors:
        return output_errors(candidate.out, self._reference, self._tolerances, self._norm_rms)

    def _launch(self, candidate: Candidate) -> None:
        candidate.out.fill_(torch.nan)
        candidate.launch()
        self.timer.synchronize()

    def _turn(self, one: Result, batches: list[Batch], number: int) -> Result:
        """One more batch, and the timing of all so far; wrong where the last output is."""
        one.candidate.out.fill_(torch.nan)
        timed = self.timer.batch(one.candidate.launch, turn_samples(one.latency_ms), one.latency_ms, None)
        batches.append(Batch(one.candidate.name, *timed, round=number))
        check = merge([self._errors(one.candidate)], True, 1)
        status, reason = judge(check, self._tolerances)
        if status != "ok":
            return replace(one, status=status, reason=f"after it was timed: {reason}", check=check, timing=None)
        return replace(one, timing=timing_of(batches))

    def _require_gpu_alive(self, candidate: Candidate) -> None:
        try:
            self.timer.synchronize()
        except Exception as error:
            sys.exit(f"{candidate.name} left the GPU in error, which ends the process: {first_line(str(error))}")


def entries(problem: str, results: Sequence[Result], roofline_ms: float) -> list[Entry]:
    """A line per kernel in the order in which they come. A config is right where it was timed and not wrong since."""
    right = [one for one in results if one.status == "ok" and one.timing is not None]
    reference_ms = min((one.latency_ms for one in right if one.candidate.kernel == REFERENCE), default=None)
    found = []
    for kernel in dict.fromkeys(one.candidate.kernel for one in results):
        statuses = [one.status for one in results if one.candidate.kernel == kernel]
        wrong = sum(status in ("wrong", "unstable") for status in statuses)
        entry = Entry(problem, kernel, len(statuses), wrong, statuses.count("launch-error"))
        best = min(
            (one for one in right if one.candidate.kernel == kernel), key=lambda one: one.latency_ms, default=None
        )
        if best is not None and best.check is not None:
            entry = replace(
                entry,
                config=best.candidate.config,
                latency_ms=best.latency_ms,
                roofline_share=roofline_ms / best.latency_ms,
                speedup=None if reference_ms is None else reference_ms / best.latency_ms,
                relative_error=best.check.relative_error,
                worst_row_error=best.check.worst_row_error,
            )
        found.append(entry)
    return found
