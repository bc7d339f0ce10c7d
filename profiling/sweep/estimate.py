"""How long a sweep will take, from what recorded runs took and what this machine has shown so far.

Pure, except that it reads recorded runs. "Measured" constants are of an H100 with 16 cores, unless they name another.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ssdprof.kernels.interface import Costed, Subject
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.runs.recorded import recorded_runs
from ssdprof.profiling.sweep.request import SweepRequest

START_S = 4.0
"""Python, Triton, torch and a CUDA context in new processes, until the first config can be measured (measured)."""
FIRST_S = 1.5
"""Python and Triton in new processes, until the first config can be compiled (measured on 2 cores)."""
BEFORE_S = 0.3
"""Python and the command line, until the sweep is asked for (measured on 2 cores)."""
END_S = 0.5
"""Ranking, the report and the end of the processes (measured on 2 cores)."""
UNKNOWN_COMPILE_S = 2.0
"""One config of a kernel without a recorded run, before this machine has compiled any (assumed)."""
CACHED_S = 0.005
"""One config that Triton has cached (measured on 2 cores)."""
LAUNCHES_PER_CONFIG = 20
"""One config's check and first timing take as long as this many launches; with CONFIG_S about 0.1 s at 50 000 tokens
(measured)."""
CONFIG_S = 0.03
COPY_BYTES_PER_S = 2.5e12
BYTES_OVER_MIN = 3
"""A launch without a recorded latency is assumed to move this many times the least bytes, at the bandwidth above."""
ROUNDS_S = 2.5
"""The time after which most sweeps know the best well enough (measured)."""
RESTART_S = 5.0
"""A new measuring process with its inputs and references, after a config that faulted (assumed)."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What this machine has shown before the estimate.

    `cached`: whether Triton has a config cached, of those that could be asked; None: nothing is known. `compiled_s`:
    how long the first configs took to compile, side by side. `elapsed_s`: since the sweep was asked for.
    """

    cached: Mapping[str, bool] | None = None
    compiled_s: Mapping[str, float] = field(default_factory=dict)
    elapsed_s: float = FIRST_S


def duration_s(
    request: SweepRequest, to_compile: Sequence[str], to_measure: Sequence[str], shown: Shown, cores: int
) -> float:
    """From the start of the program to its end: compiling and measuring side by side, then the rounds. Nothing hangs.

    A config takes as long to compile as in a recorded run of the same kernel, or as its median config, times what those
    that this machine has compiled took longer. It takes as long to measure as its recorded latency says or, for another
    problem, as the bytes that this one moves.
    """
    runs = [run for run in recorded_runs() if run.header.kernel == request.subject.name] if to_measure else None
    if runs is None:  # one run is enough: reading it takes 40 ms, and a config compiles alike for any problem
        first = next((run for run in recorded_runs() if run.header.kernel == request.subject.name), None)
        runs = [first] if first and to_compile else []
    compiling_s = _compiling_s(runs, to_compile, shown, request.jobs, cores)
    so_far_s = BEFORE_S + shown.elapsed_s
    if request.gpu is None:
        return so_far_s + compiling_s + END_S
    measuring_s = _measuring_s(runs, request.subject, to_measure)
    rounds_s = min(request.budget_s, ROUNDS_S)
    return max(so_far_s + compiling_s, max(START_S, so_far_s) + measuring_s) + rounds_s + END_S


def cached_number(names: Sequence[str], shown: Shown) -> tuple[int, bool]:
    """How many of the configs Triton has cached, judging by those that were asked; and whether all were."""
    share, asked = _cached_share(names, shown)
    return round(share * len(names)), 0 < asked == len(names)


def _cached_share(names: Sequence[str], shown: Shown) -> tuple[float, int]:
    """The share of the configs that Triton has cached, of those that were asked, and how many these are."""
    asked = [shown.cached[name] for name in names if name in shown.cached] if shown.cached else []
    return sum(asked) / len(asked) if asked else 0.0, len(asked)


def _compiling_s(runs: Sequence[Run], names: Sequence[str], shown: Shown, jobs: int, cores: int) -> float:
    """What is left of compiling, `jobs` at once.

    The configs compiled so far had as many beside them as the others will have; until there are some, compilers beyond
    the number of cores are taken to share them.
    """
    known = {row.config_id: row.compiled.compile_s for row in runs[0].rows if row.compiled} if runs else {}
    typical_s = statistics.median(known.values()) if known else UNKNOWN_COMPILE_S
    left = [name for name in names if name not in shown.compiled_s]
    workers = max(1, min(jobs, len(left)))
    slower, crowded = 1.0, max(1.0, workers / cores)
    if shown.compiled_s:
        crowded = 1.0
        slower = sum(shown.compiled_s.values()) / sum(known.get(name, typical_s) for name in shown.compiled_s)
    share, _ = _cached_share(left, shown)
    each_s = []
    for name in left:
        hit = (shown.cached or {}).get(name, share)
        each_s.append(hit * CACHED_S + (1 - hit) * slower * known.get(name, typical_s))
    return max(crowded * sum(each_s) / workers, max(each_s, default=0.0))


def _measuring_s(runs: Sequence[Run], subject: Subject, names: Sequence[str]) -> float:
    """What checking and first timing take, with a new process after each config that faulted when it was recorded."""
    identity = subject.identity()
    rows = [(run.header.problem == identity, row) for run in runs for row in run.rows]
    latencies_s = {row.config_id: row.timing.latency_ms / 1e3 for same, row in rows if same and row.timing}
    faulting = {row.config_id for _, row in rows if row.status == "launch-error"}
    typical_s = BYTES_OVER_MIN * _bytes_min(subject) / COPY_BYTES_PER_S
    each_s = [CONFIG_S + LAUNCHES_PER_CONFIG * latencies_s.get(name, typical_s) for name in names]
    return sum(each_s) + RESTART_S * len(faulting.intersection(names))


def _bytes_min(subject: Subject) -> int:
    """The least that a launch moves, or all its tensors if the subject does not say."""
    if isinstance(subject, Costed):
        return subject.work().bytes_min
    return sum(meta.size_bytes for meta in subject.tensors().values())
