"""Compiles configs, launches each once and asks the driver and ncu about it, for `ssdprof verify` to compare.

Our figures come from compiling alone, as they do without a GPU.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ssdprof.kernels.config import Config
from ssdprof.kernels.errors import ConfigError, SsdprofError, UsageError
from ssdprof.kernels.interface import Subject
from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling.gpu.devices import GpuInfo
from ssdprof.profiling.gpu.driver import SM_COUNT
from ssdprof.profiling.hardware.limits import DRIVER_ATTRIBUTES, differences, limits_for
from ssdprof.profiling.hardware.occupancy import occupancy
from ssdprof.profiling.hardware.rule import rule_sentence
from ssdprof.profiling.ncu.program import NcuError, launch_figures, profile, write_launches
from ssdprof.profiling.ncu.verify import (
    FIGURES,
    Comparison,
    Ours,
    Unchecked,
    Verification,
    against_driver,
    against_ncu,
    against_refusal,
    missing_notes,
)
from ssdprof.profiling.runs.measured import Compiled, Loaded
from ssdprof.profiling.workers.fork_server import child_env, python_command
from ssdprof.profiling.workers.pool import WORKER_ENV, Pool, compile_plans, run_task
from ssdprof.profiling.workers.worker import Failure

PREPARE_TIMEOUT_S = 600.0
NCU_START_S, NCU_LAUNCH_S = 300.0, 10.0
"""How long ncu may take to start a process and make its tensors, and for each launch."""
_PREPARE = "ssdprof.profiling.ncu.target:prepare"
_LAUNCH = "ssdprof.profiling.ncu.target:launch_once"
_DEVICE = "cuda:0"
_TARGET = "from ssdprof.profiling.ncu.target import main; main(*sys.argv[1:])"

OnStep = Callable[[str, int, int], None]
"""Hears what is being done, how many are done, and the total."""


class NothingToVerifyError(SsdprofError):
    """There is neither a GPU nor a report to compare the figures with; says what to do."""


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What to verify on `gpu`. `ncu` None: only ask the driver."""

    subject: Subject
    of: str
    configs: tuple[Config, ...]
    gpu: GpuInfo
    jobs: int
    timeout_s: float
    ncu: Path | None
    notes: tuple[str, ...] = ()


def spread(configs: Sequence[Config], count: int) -> tuple[Config, ...]:
    """`count` of the configs, spread evenly over the list; all if there are no more."""
    if count >= len(configs):
        return tuple(configs)
    return tuple(configs[index * len(configs) // count] for index in range(count))


def at_most(configs: Sequence[Config], limit: int | None, *, is_spread: bool) -> tuple[Config, ...]:
    """The first `limit` of the configs, or so many spread over the list; all for None. Raises UsageError below 1."""
    if limit is None:
        return tuple(configs)
    if limit < 1:
        raise UsageError(f"--limit must be at least 1, got {limit}")
    return spread(configs, limit) if is_spread else tuple(configs[:limit])


def verify(request: VerifyRequest, on_step: OnStep) -> Verification:
    """Runs the verification. Ctrl-C ends what was started, then propagates."""
    limits = limits_for(request.gpu.arch)  # an unknown architecture raises before any work
    plans, unchecked = _plans(request)
    launches = len(plans) + len(unchecked)
    compiled = compile_plans(
        plans,
        request.gpu.arch,
        jobs=request.jobs,
        timeout_s=request.timeout_s,
        on_step=lambda done: on_step("compiling", done, len(plans)),
    )
    unchecked += [Unchecked(name, one.line) for name, one in compiled.items() if isinstance(one, Failure)]
    good = {name: one for name, one in compiled.items() if isinstance(one, Compiled)}
    attributes, loaded = _launch(request, {name: plans[name] for name in good}, on_step)
    notes = list(request.notes)
    ours = {}
    for name, one in good.items():
        occ = occupancy(one.launch, limits, num_sms=attributes.get(SM_COUNT))
        ours[name] = Ours(name, one.launch, limits, occ, rule_sentence(occ))
    comparisons: list[Comparison] = []
    for name, found in loaded.items():
        if isinstance(found, Loaded):
            comparisons += against_driver(ours[name], found)
        elif found.kind == "error" and (found.out_of_resources or ours[name].occupancy.cannot_launch):
            comparisons.append(against_refusal(ours[name], found.line))
        else:  # a fault or a timeout does not say whether a block fits
            unchecked.append(Unchecked(name, found.line))
    launched = {name: plans[name] for name, found in loaded.items() if isinstance(found, Loaded)}
    version = None
    if request.ncu is not None and launched:
        on_step("profiling with ncu", 0, len(launched))
        try:
            version, more = _ncu(request, request.ncu, launched, ours, notes)
            comparisons += more
        except SsdprofError as error:
            notes.append(f"Only the driver was asked, because ncu was refused or failed: {error}")
    return Verification(
        of=request.of,
        arch=request.gpu.arch,
        gpu=f"{request.gpu.name}, driver {request.gpu.driver}",
        ncu=version,
        launches=launches,
        comparisons=tuple(comparisons),
        unchecked=tuple(unchecked),
        limits_compared=sum(name in attributes for name in DRIVER_ATTRIBUTES),
        limits_differences=differences(limits, attributes),
        notes=tuple(notes),
    )


def _plans(request: VerifyRequest) -> tuple[dict[str, LaunchPlan], list[Unchecked]]:
    """Each config's launch by id, and the configs that the kernel cannot take."""
    plans: dict[str, LaunchPlan] = {}
    unchecked = []
    subject = request.subject
    for config in dict.fromkeys(request.configs):
        try:
            taken = subject.resolve(config)
        except ConfigError as error:
            unchecked.append(Unchecked(subject.params.id(config), str(error)))
            continue
        plans.setdefault(subject.params.id(taken), subject.launch(taken))
    return plans, unchecked


def _launch(
    request: VerifyRequest, plans: Mapping[str, LaunchPlan], on_step: OnStep
) -> tuple[dict[str, int], dict[str, Loaded | Failure]]:
    """The driver's attributes, and what it says about each launched kernel, or why it was not launched."""
    pool = Pool(measurers=1, early=False, env={"CUDA_VISIBLE_DEVICES": request.gpu.visible})
    (worker,) = pool.measurers
    tensors = dict(request.subject.tensors())
    attributes: dict[str, int] = {}
    found: dict[str, Loaded | Failure] = {}
    ready = False
    try:
        for name, plan in plans.items():
            on_step("launching", len(found), len(plans))
            if not ready:
                prepared = run_task(worker, _PREPARE, tensors, _DEVICE, timeout_s=PREPARE_TIMEOUT_S)
                if isinstance(prepared, Failure):
                    why = replace(prepared, kind="crashed", message=f"the GPU could not be prepared: {prepared.line}")
                    return attributes, {name: found.get(name, why) for name in plans}
                attributes, ready = prepared, True
            outcome = run_task(worker, _LAUNCH, plan, timeout_s=request.timeout_s)
            if isinstance(outcome, Failure) and not outcome.out_of_resources:
                worker.kill()  # a fault poisons the CUDA context: the next launch gets a new process
                ready = False
            found[name] = outcome
    finally:
        worker.kill()
        pool.close()
    return attributes, found


def _ncu(
    request: VerifyRequest, ncu: Path, launched: Mapping[str, LaunchPlan], ours: Mapping[str, Ours], notes: list[str]
) -> tuple[str, list[Comparison]]:
    """Ncu's version and the comparisons with it. Raises NcuError if its results cannot be matched to launches."""
    with tempfile.TemporaryDirectory(prefix="ssdprof-ncu-") as name:
        folder = Path(name)
        todo, done = folder / "launches.pickle", folder / "launched.txt"
        write_launches(todo, request.subject.tensors(), launched)
        version, rows = profile(
            ncu,
            [*python_command(_TARGET), str(todo), str(done), _DEVICE],
            launch_figures([figure.metric for figure in FIGURES]),
            kernels={plan.function for plan in launched.values()},
            folder=folder,
            env=child_env({**WORKER_ENV, "CUDA_VISIBLE_DEVICES": request.gpu.visible}),
            timeout_s=max(request.timeout_s, NCU_START_S + NCU_LAUNCH_S * len(launched)),
        )
        names = done.read_text(encoding="utf-8").splitlines() if done.exists() else []
    if len(names) != len(rows):
        raise NcuError(f"ncu reports {len(rows)} launches of {len(names)}: it is unknown which ones")
    notes += missing_notes(rows, "ncu gave no value")
    if all(row.sentence is None for row in rows):
        notes.append("Sentences were not compared, because ncu did not apply its Theoretical Occupancy rule here")
    if lost := set(launched) - set(names):
        notes.append(f"Failed only under ncu: {', '.join(sorted(lost))}")
    pairs = zip(names, rows, strict=True)
    return version, [one for name, row in pairs for one in against_ncu(ours[name], row)]
