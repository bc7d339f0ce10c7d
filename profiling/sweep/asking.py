"""Turns what a caller asks into requests: which configs, for which architecture and GPU, from which run."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from ssdprof.kernels.config import Config
from ssdprof.kernels.config_text import is_run_reference, parse_config
from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.interface import Baselined, Subject
from ssdprof.kernels.registry import subject as default_subject
from ssdprof.kernels.registry import subject_of_run
from ssdprof.kernels.space import space_around, space_of
from ssdprof.profiling.gpu.devices import DeviceError, GpuInfo, select_gpu
from ssdprof.profiling.hardware.limits import DEFAULT_ARCH, canonical_arch
from ssdprof.profiling.runs.kept.named import LAST, in_words, named_run
from ssdprof.profiling.runs.measured import TimedBy
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.runs.recorded import find_row, recorded_run
from ssdprof.profiling.runs.run_file import RunError
from ssdprof.profiling.runs.store import RECORDED, latest_run
from ssdprof.profiling.sweep.preflight import check_measurable
from ssdprof.profiling.sweep.request import DEFAULT_BUDGET_S, SweepRequest

EXPLAIN_BUDGET_S = 3.0
"""For timing the best of a config's neighbours again: a look, where a sweep ranks."""
TIMINGS: Mapping[str, TimedBy | None] = {"auto": None, "events": "events", "graph": "graph"}


def sweep_request(
    subject: Subject,
    space: str | None,
    around: str | Config | None,
    variant: str | None,
    values: Mapping[str, Sequence[object]] | None,
    baseline: str | Config | None,
    arch: str | None,
    device: str,
    jobs: int | None,
    timeout_s: float,
    budget_s: float,
    timing: str,
    seed: int,
    command: str,
) -> SweepRequest:
    number_of_jobs = checked_jobs(jobs, timeout_s)
    if not 0 <= budget_s < math.inf:
        raise UsageError(f"--budget must be 0 seconds or more, got {budget_s:g}")
    if timing not in TIMINGS:
        raise UsageError(f"unknown timing {timing!r}: one of {', '.join(TIMINGS)}")
    target_arch, gpu = target(arch, device)
    if around is None:
        found = space_of(subject, space, variant=variant, values=values)
    elif space is None:
        found = space_around(subject, config_of(around, None, subject), variant, values)
    else:
        raise UsageError("--around and --space both say which configs to sweep: leave one of them out")
    chosen = subject.baseline() if baseline is None and isinstance(subject, Baselined) else None
    if baseline is not None:
        chosen = config_of(baseline, None, subject)
    configs = found.configs
    if chosen is not None:
        subject.resolve(chosen)
        if gpu is not None or baseline is not None:
            configs = (*configs, chosen)  # named twice it runs once
    if gpu is not None:
        check_measurable(subject, gpu)
    return SweepRequest(
        subject=subject,
        space=_label(space or found.name, variant, values),
        configs=configs,
        arch=target_arch,
        gpu=gpu,
        seed=seed,
        baseline=chosen,
        jobs=number_of_jobs,
        timeout_s=timeout_s,
        command=command,
        budget_s=budget_s,
        timed_by=TIMINGS[timing],
        left_out=found.left_out,
        models=True,
    )


def explain_request(
    subject: Subject,
    config: Config,
    arch: str,
    gpu: GpuInfo | None,
    jobs: int | None,
    timeout_s: float,
    command: str,
    warn: Callable[[str], None],
) -> SweepRequest:
    """What explaining a config asks for; its neighbours are added later. Raises ConfigError if it cannot be taken.

    A GPU of another architecture, or on which nothing can be checked, measures nothing; `warn` hears why not.
    """
    configs = (subject.resolve(config),)
    number_of_jobs = checked_jobs(jobs, timeout_s)
    gpu = gpu if gpu is not None and gpu.arch == arch else None
    try:
        if gpu is not None:
            check_measurable(subject, gpu)
    except DeviceError as error:
        warn(f"nothing is measured: {error}")
        gpu = None
    budget_s = EXPLAIN_BUDGET_S if gpu else DEFAULT_BUDGET_S
    return SweepRequest(
        subject, "neighbours", configs, arch, gpu, jobs=number_of_jobs, timeout_s=timeout_s, command=command,
        budget_s=budget_s,
    )  # fmt: skip


def _label(space: str, variant: str | None, values: Mapping[str, Sequence[object]] | None) -> str:
    """What a run calls its space: also what was changed about it, since other configs are another sweep."""
    crossed = [f"{name}={','.join(map(str, listed))}" for name, listed in (values or {}).items()]
    return ", ".join([space, *([variant] if variant else []), *crossed])


def target(arch: str | None, device: str) -> tuple[str, GpuInfo | None]:
    """(architecture, GPU or None to compile only). Raises UsageError if either is unknown or they do not agree."""
    wanted = canonical_arch(arch) if arch is not None else None
    gpu = select_gpu(device)
    if gpu is None or wanted in (None, gpu.arch):
        return wanted or (gpu.arch if gpu else DEFAULT_ARCH), gpu
    if device == "auto":
        return str(wanted), None
    raise UsageError(f"--arch {wanted} does not match GPU {device} ({gpu.arch}): leave one of them out")


def checked_jobs(jobs: int | None, timeout_s: float) -> int:
    """How many compilers to run. Raises UsageError for fewer than 1, and for a timeout that is not above 0."""
    if timeout_s <= 0:
        raise UsageError(f"--timeout must be above 0 seconds, got {timeout_s:g}")
    if jobs is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if jobs < 1:
        raise UsageError(f"--jobs must be at least 1, got {jobs}")
    return jobs


def run_of(run: Run | Path | str | None, subject: Subject | None, *, is_needed: bool) -> Run | None:
    """The named run; without a name the latest one kept, or None if there is none and none is needed.

    The latest is that of the subject's problem, else of its kernel, if either was kept.
    """
    if run == RECORDED:
        return recorded_run(subject)
    if isinstance(run, (str, Path)):
        found = named_run(run)
    elif run is not None:
        found = run
    else:
        try:
            found = _latest_of(subject)
        except RunError:
            if is_needed:
                raise
            return None
    if subject is None or found.header.kernel == subject.name:
        return found
    if run is None and not is_needed:
        return None
    raise RunError(
        f"the run is of kernel {found.header.kernel}, not {subject.name}: name that kernel with --kernel, or another "
        "run with --run"
    )


def _latest_of(subject: Subject | None) -> Run:
    if subject is not None:
        ours = subject.identity()
        for fits in (
            lambda header: header.kernel == subject.name and all(ours.get(k) == v for k, v in header.problem.items()),
            lambda header: header.kernel == subject.name,
        ):
            with suppress(RunError):
                return latest_run(fits)
    return latest_run()


def subject_and_run(
    subject: Subject | None, run: Run | Path | str | None, *, is_needed: bool
) -> tuple[Subject, Run | None, str]:
    """The subject (default: the run's, else the default one), the run as `run_of` finds it, and whose they are.

    Raises RunError if a run that is named or needed is of another problem than the subject.
    """
    known = run_of(run, subject, is_needed=is_needed)
    whose = "the problem you gave" if subject else "the default problem"
    if known is None:
        return subject or default_subject(), None, whose
    header = known.header
    which = "the run you gave" if isinstance(run, Run) else in_words(LAST if run is None else run)
    which += f", of {header.date[:16].replace('T', ' ')}"
    if subject is None:
        which += " (others: --run, or a problem's options)"
        return subject_of_run(header.kernel, header.problem, header.kernel_file), known, which
    ours = subject.identity()
    pairs = [(name, value, ours.get(name)) for name, value in header.problem.items()]
    differing = [f"{name} {theirs}, not {mine}" for name, theirs, mine in pairs if theirs != mine]
    if differing and (is_needed or run is not None):
        way_out = "leave the problem's options out, or name another run with --run"
        raise RunError(f"{which}, is of another problem ({'; '.join(differing)}): {way_out}")
    return subject, None if differing else known, f"{whose}; {which}" if is_needed else whose


def is_known_baseline(config: str | Config, subject: Subject | None) -> bool:
    """Whether the text is `baseline` and the subject says which that is, so that no run is needed."""
    return isinstance(config, str) and config.strip() == "baseline" and isinstance(subject, Baselined)


def config_of(config: str | Config, run: Run | None, subject: Subject) -> Config:
    """The config itself, the one that the text names, or that of a row in the run (default: the latest one kept)."""
    if not isinstance(config, str):
        return subject.params.validated(config)
    if not is_run_reference(config):
        return parse_config(config, subject.params)
    needed = not is_known_baseline(config, subject)
    found = run or run_of(None, subject, is_needed=needed)
    if not needed and (found is None or found.header.baseline_id is None):
        return cast(Baselined, subject).baseline()
    assert found is not None, "it raises if there is none"
    return find_row(found, config.strip()).config
