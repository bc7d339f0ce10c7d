"""ssdprof as functions: `sweep`, `explain`, `occupancy`, and what else the command line needs; it uses nothing else.

Functions import what they need when called, so importing this module stays quick.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssdprof.kernels.errors import UsageError

if TYPE_CHECKING:
    from ssdprof.kernels.config import Config
    from ssdprof.kernels.interface import Subject
    from ssdprof.profiling.diagnosis.statement import Statement
    from ssdprof.profiling.gpu.devices import GpuInfo
    from ssdprof.profiling.hardware.ceilings import Ceilings
    from ssdprof.profiling.hardware.gpu_names import SmCount
    from ssdprof.profiling.hardware.launch_table import LaunchTable
    from ssdprof.profiling.hardware.limits import SmLimits
    from ssdprof.profiling.hardware.occupancy import Launch, Occupancy
    from ssdprof.profiling.ncu.verify import Verification
    from ssdprof.profiling.ncu.verify_run import OnStep
    from ssdprof.profiling.runs.model import Explanation, Run
    from ssdprof.profiling.runs.state import Record
    from ssdprof.profiling.runs.store import Kept
    from ssdprof.profiling.sweep.request import Event
    from ssdprof.profiling.workers.pool import Pool


def sweep(
    subject: Subject,
    *,
    space: str | None = None,
    around: str | Config | None = None,
    variant: str | None = None,
    values: Mapping[str, Sequence[object]] | None = None,
    baseline: str | Config | None = None,
    arch: str | None = None,
    device: str = "auto",
    jobs: int | None = None,
    timeout_s: float = 300.0,
    budget_s: float = 10.0,
    timing: str = "auto",
    seed: int = 0,
    out: Path | None = None,
    keep: bool = False,
    resume: bool = False,
    force: bool = False,
    counters: int | str | Path | None = None,
    metrics: str | Sequence[str] = (),
    ncu: Path | None = None,
    command: str = "",
    on_event: Callable[[Event], None] = lambda _: None,
    on_record: Callable[[Record], None] = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    on_kept: Callable[[Kept], None] = lambda _: None,
    pool: Pool | None = None,
) -> Run:
    """Compiles, checks, times and ranks every config of a space; without a GPU, only compiles for `arch`.

    - `subject`: a kernel on a problem, as `ssdprof.subject` makes it;
    - `space`: a space's name or the path of a JSON or YAML file (default: the subject's own); or `around`: a config,
      as for `baseline`, and its neighbours, as `explain` tries them; `variant` replaces the configs' variant, `values`
      (by parameter) are crossed with them;
    - `baseline`: what speed-ups are relative to: an id, or `best` or `#3` from the latest run (default: the subject's);
    - `arch` such as sm_90 (default: the GPU's, else sm_90); `device`: auto, none, or a GPU's index;
    - `jobs`: configs to compile at once (default: the CPU cores); `timeout_s`: for one config to compile or to measure;
    - `budget_s`: seconds for timing the best again; `timing`: auto, events or graph; `seed`: for the inputs;
    - `out`: the run's file; `keep`: without `out`, a file in the user's data folder; `resume`: continues such a run;
    - `force`: also for an architecture whose configs take minutes to compile (before sm_80);
    - `counters`: how many of the best configs ncu counts in the end, besides the baseline, or all, or an export to
      read instead; `metrics`: what else it counts, by its names; `ncu`: the one to run (default: as found here);
    - `on_event` hears how far it is, `on_record` each result, `warn` and `say` lines, `on_kept` where the run is kept;
    - `pool`: processes from `started`, for the caller to close.

    Returns the run, ranked, with recorded latencies if it measured none; after Ctrl-C what there is. Raises UsageError.
    """
    from ssdprof.profiling.sweep.added.counting import wanted_counters
    from ssdprof.profiling.sweep.asking import sweep_request
    from ssdprof.profiling.sweep.environment import check_arch
    from ssdprof.profiling.sweep.whole import Heard, Keeping, swept

    start_s = time.monotonic()
    wanted = wanted_counters(counters, metrics, ncu, warn)
    configs = (space, around, variant, values, baseline)
    request = sweep_request(subject, *configs, arch, device, jobs, timeout_s, budget_s, timing, seed, command)
    check_arch(request.arch, force)
    if pool is not None and request.gpu is None:
        pool.dismiss_measurers()
    processes = nullcontext(pool) if pool is not None else closing(started(device))
    heard = Heard(on_event, on_record, warn, say, on_kept)
    return swept(request, processes, Keeping(out, keep, resume), heard, wanted, start_s)


def started(device: str = "auto") -> Pool:
    """The processes of a sweep, started at once: they do the slow imports while the caller does other things."""
    from ssdprof.profiling.binary.needs import temporary_files
    from ssdprof.profiling.gpu.driver import may_measure
    from ssdprof.profiling.workers.pool import Pool

    temporary_files()  # or no process could be started
    return Pool(measurers=1 if device != "none" and may_measure() else 0)


def explain(
    config: str | Config,
    subject: Subject | None = None,
    *,
    run: Run | Path | str | None = None,
    arch: str | None = None,
    device: str = "auto",
    jobs: int | None = None,
    timeout_s: float = 300.0,
    force: bool = False,
    counters: int | str | Path | None = None,
    metrics: str | Sequence[str] = (),
    ncu: Path | None = None,
    command: str = "",
    on_event: Callable[[Event], None] = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
    on_answer: Callable[[Explanation], None] = lambda _: None,
) -> Explanation:
    """Explains a config's occupancy and latency: compiles it again with one parameter changed at a time.

    `config`: a `Config`, a text in any form, or `best`, `baseline` or `#3` from `run`: a run, the path of its file, its
    number or another name as for `results.load`, or (None) the latest run of this kernel. `subject` None:
    the run's. `force`, `warn`: see `sweep`. Without a GPU, latencies are the run's, or recorded ones. `on_answer` gets
    the explanation without neighbours, once the config itself is compiled. With `counters`, `metrics` and `ncu`, as for
    `sweep`, ncu counts this config, whatever the number. Raises UsageError if it cannot be done.
    """
    from ssdprof.kernels.config_text import is_run_reference
    from ssdprof.profiling.runs.kept.named import is_recorded
    from ssdprof.profiling.sweep.added.counting import explained_with_counters, wanted_counters
    from ssdprof.profiling.sweep.asking import config_of, explain_request, is_known_baseline, subject_and_run, target
    from ssdprof.profiling.sweep.environment import check_arch, with_toolchain
    from ssdprof.profiling.sweep.explain import explain as explain_config

    is_reference = isinstance(config, str) and is_run_reference(config)
    is_needed = is_reference and not (run is None and is_known_baseline(config, subject))
    subject, known, whose = subject_and_run(subject, run, is_needed=is_needed)
    wanted = wanted_counters(counters, metrics, ncu, warn)
    target_arch, gpu = target(arch, device)
    if known is not None and arch is None:
        target_arch = known.header.device.arch
    check_arch(target_arch, force)
    chosen = config_of(config, known, subject)
    request = explain_request(subject, chosen, target_arch, gpu, jobs, timeout_s, command, warn)
    how = "recorded" if is_recorded(run) else "measured"
    with closing(started(device if request.gpu else "none")) as pool:
        request = with_toolchain(request, pool, warn)
        found = explain_config(request.configs[0], request, known, how, on_event, pool, on_answer, whose)
    return explained_with_counters(found, wanted, request, gpu, on_event, warn)


def occupancy(
    *,
    threads_per_block: int,
    registers_per_thread: int,
    dynamic_shared_mem_bytes: int = 0,
    static_shared_mem_bytes: int = 0,
    num_barriers: int = 1,
    grid_blocks: int | None = None,
    num_ctas: int = 1,
    arch: str = "sm_90",
    shared_mem_config_bytes: int | None = None,
    prefers_shared: bool | None = None,
    num_sms: int | None = None,
) -> Occupancy:
    """Theoretical occupancy of one launch as Nsight Compute prints it: every limit, and the names of the limiters.

    Shared memory is in bytes per block, registers are per thread. `shared_mem_config_bytes`: the shared memory that the
    driver configured for the SM, if known. `arch` may be a GPU's name, such as H100, which gives `num_sms` too where
    NVIDIA published it. Raises UsageError for numbers that no launch can have.
    """
    return answer_launch(
        threads_per_block=threads_per_block,
        registers_per_thread=registers_per_thread,
        arch=arch,
        dynamic_shared_mem_bytes=dynamic_shared_mem_bytes,
        static_shared_mem_bytes=static_shared_mem_bytes,
        num_barriers=num_barriers,
        grid_blocks=grid_blocks,
        num_ctas=num_ctas,
        shared_mem_config_bytes=shared_mem_config_bytes,
        prefers_shared=prefers_shared,
        num_sms=num_sms,
    )[1]


def answer_launch(
    *, arch: str | None = None, num_sms: int | None = None, **launch: Any
) -> tuple[Launch, Occupancy, SmLimits, SmCount | None]:
    """The launch, its occupancy as from `occupancy`, the limits of the architecture, and the SMs that waves are over.

    `arch` None: as `arch_here` has it.
    """
    from ssdprof.profiling.hardware.gpu_names import sm_count
    from ssdprof.profiling.hardware.launch_table import answer
    from ssdprof.profiling.hardware.limits import limits_for

    limits, sms = limits_for(arch or arch_here()), sm_count(arch, num_sms)
    return *answer(limits, sms.number if sms else None, **launch), limits, sms


def verify(
    subject: Subject,
    *,
    space: str | None = None,
    variant: str | None = None,
    values: Mapping[str, Sequence[object]] | None = None,
    limit: int | None = None,
    is_spread: bool = False,
    arch: str | None = None,
    device: str = "auto",
    jobs: int | None = None,
    timeout_s: float = 300.0,
    ncu: Path | None = None,
    notes: tuple[str, ...] = (),
    on_step: OnStep = lambda *_: None,
) -> Verification:
    """Compares our occupancy figures with the driver's and, with `ncu`, with Nsight Compute's, on this machine.

    `limit`: only that many configs of the space, the first or, if `is_spread`, spread over it. Raises
    NothingToVerifyError without a GPU, UsageError for anything that cannot be done.
    """
    from ssdprof.kernels.space import space_of
    from ssdprof.profiling.ncu.verify_run import NothingToVerifyError, VerifyRequest, at_most
    from ssdprof.profiling.ncu.verify_run import verify as run_verification
    from ssdprof.profiling.sweep.asking import checked_jobs, target
    from ssdprof.profiling.sweep.preflight import check_measurable

    found = space_of(subject, space, variant=variant, values=values)
    configs = at_most(found.configs, limit, is_spread=is_spread)
    number_of_jobs = checked_jobs(jobs, timeout_s)
    target_arch, gpu = target(arch, device)
    if gpu is None:
        what = f"a GPU of {target_arch}" if arch else "an NVIDIA GPU"
        raise NothingToVerifyError(
            f"nothing to verify against: this needs {what}, and none is {'used' if device == 'none' else 'here'}; give "
            "--ncu-report FILE, an export from a machine that has one"
        )
    check_measurable(subject, gpu)
    request = VerifyRequest(subject, found.name, configs, gpu, number_of_jobs, timeout_s, ncu, notes)
    return run_verification(request, on_step)


def verify_report(path: Path, arch: str | None = None) -> Verification:
    """Compares an exported ncu report, a CSV of its raw page, with our figures. Raises UsageError if it is not one."""
    from ssdprof.profiling.hardware.limits import canonical_arch
    from ssdprof.profiling.ncu.export import against_export, read_export

    return against_export(read_export(path), str(path), arch and canonical_arch(arch))


def find_ncu(path: Path | None = None) -> tuple[Path | None, str]:
    """Ncu at `path`, or as found here, or None; and where we looked. Raises UsageError if `path` is not a program."""
    from ssdprof.profiling.ncu import program

    if path is not None:
        if not path.is_file() or not os.access(path, os.X_OK):
            raise UsageError(f"--ncu-path {path} is not a program that can be run")
        return path, ""
    return program.find_ncu(), f"PATH, {', '.join(program.FALLBACK_FOLDERS)}"


def answer_launches(path: Path, *, arch: str | None = None, num_sms: int | None = None) -> LaunchTable:
    """The occupancy of every launch in a CSV file (`-`: stdin). Raises UsageError for anything that cannot be read."""
    from ssdprof.profiling.hardware.launch_table import answered_file

    return answered_file(path, arch=arch, num_sms=num_sms)


def devices() -> tuple[tuple[GpuInfo, ...], tuple[str, ...]]:
    """The GPUs that CUDA programs see here, as NVML describes them; and the architectures with known limits."""
    from ssdprof.profiling.gpu.devices import gpus
    from ssdprof.profiling.hardware.limits import known_archs

    return gpus(), known_archs()


def ceilings(gpus: Sequence[GpuInfo], say: Callable[[str], None] = lambda _: None) -> tuple[Ceilings | None, ...]:
    """What the units of each GPU do at most, measured if it is not kept. `say` hears of that: it takes seconds."""
    from ssdprof.profiling.sweep.added.ceilings import ceilings_here

    return tuple(ceilings_here(gpu, say) for gpu in gpus)


def statements(run: Run) -> list[Statement]:
    """Everything that can be said from the figures of a run, as data."""
    from ssdprof.profiling.diagnosis.verdicts import statements

    return statements(run)


def arch_here(arch: str | None = None) -> str:
    """The given architecture, else that of the GPU here, else the default one. Raises UsageError."""
    from ssdprof.profiling.sweep.asking import target

    return target(arch, "auto")[0]


def arch_names() -> tuple[str, ...]:
    """The architectures with known limits, and the GPUs that may be named instead."""
    from ssdprof.profiling.hardware import gpu_names, limits

    return *limits.known_archs(), *gpu_names.gpu_names()
