"""Checks and times launches on one device. Runs inside a worker process, which a bad launch may take down.

`prepare` makes the inputs and their references once; `measure` and `resample` then take one launch plan each.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from ssdprof.kernels.interface import Config, KernelSpec, LaunchPlan
from ssdprof.profiling.gpu.driver import cuda_driver, driver_attributes, driver_blocks_per_sm
from ssdprof.profiling.hardware.limits import differences, limits_for
from ssdprof.profiling.measuring.check import (
    Errors,
    figure,
    judge,
    merge,
    output_errors,
    row_norm_rms,
    same_bits,
    within,
)
from ssdprof.profiling.measuring.guard import Fingerprints, GuardedOutput
from ssdprof.profiling.measuring.locate import MOST, locate, share
from ssdprof.profiling.measuring.timer import CudaTimer, Launch, Timer, timer_for
from ssdprof.profiling.runs.model import Batch, Check, Finding, Loaded, Measurement, Prepared, TimedBy
from ssdprof.profiling.sweep.request import GUARD_BYTES, SEEDS
from ssdprof.profiling.sweep.rounds import turn_samples

LAUNCHES_PER_SEED = 5
"""Launches on each set of inputs whose bits are compared."""
UNDER_LOAD = (2, 4)
"""Which of them run beside other work, counted from 1; the others run alone."""
LAUNCHES_IF_WRONG = 3
"""Launches of a config whose first output was wrong: enough to tell wrong from unstable."""
SAMPLES_IF_WRONG = 2
"""Launches of a wrong config that are timed at the first look: enough to see which wrong one is fastest."""
OTHER_BITS = "a launch that was timed gave other bits than those that were checked: a race or a miscompilation"


@dataclass(frozen=True, slots=True)
class _Inputs:
    """One set of inputs with the right output and its typical row norm."""

    tensors: Mapping[str, torch.Tensor]
    reference: torch.Tensor
    norm_rms: float


class _Session:
    """Inputs, references and buffers of one problem on one device."""

    def __init__(self, spec: KernelSpec, problem: Any, timer: Timer, seed: int) -> None:
        self.spec, self.problem, self.timer, self.seed = spec, problem, timer, seed
        self.stale = False
        """Whether inputs or references are not what they were."""
        self.tolerances = spec.tolerances(problem)
        self._make_inputs()
        meta = spec.tensors(problem)[spec.output_name()]
        self.out = GuardedOutput(meta.shape, getattr(torch, meta.dtype), timer.device, GUARD_BYTES)
        self.first = torch.empty_like(self.out.tensor)
        self.confirmed: dict[str, Fingerprints] = {}
        """What the output's bits are on the last set of inputs, of each config that was found right."""

    def _make_inputs(self) -> None:
        """All sets of inputs and their references, and what their bits are."""
        self.inputs: list[_Inputs] = []
        for number in range(SEEDS):
            tensors = self.spec.make_inputs(self.problem, self.timer.device, self.seed + number)
            reference = self.spec.reference(self.problem, tensors)
            self.inputs.append(_Inputs(tensors, reference, row_norm_rms(reference)))
        held: dict[str, torch.Tensor] = {}
        for number, inputs in enumerate(self.inputs):
            held |= {f"{name}/{number}": tensor for name, tensor in inputs.tensors.items()}
            held[f"the reference/{number}"] = inputs.reference
        self.fingerprints = Fingerprints(held)

    def bind(self, plan: LaunchPlan, inputs: _Inputs) -> Launch:
        """The launch on one set of inputs, into the guarded output."""
        return plan.bind({**inputs.tensors, self.spec.output_name(): self.out.tensor})

    def errors(self, inputs: _Inputs) -> Errors:
        """How far the output is from the reference now."""
        return output_errors(self.out.tensor, inputs.reference, self.tolerances, inputs.norm_rms)

    def confirm(self, name: str) -> None:
        """Notes the bits of the output as the right ones of a config."""
        self.confirmed[name] = Fingerprints({"out": self.out.tensor})

    def launch(self, launch: Launch) -> Any:
        """Poisons the output, launches and waits: what the launch returned."""
        self.out.poison()
        compiled = launch()
        self.timer.synchronize()
        return compiled

    def check(self, plan: LaunchPlan, config: Config) -> tuple[Check, float]:
        """The output of several launches on each set of inputs, and how long one takes, in ms; no look for damage."""
        found: list[Errors] = []
        findings: list[Finding] = []
        repeatable, launches, seeds, once_ms = True, 0, 0, math.inf
        for inputs in self.inputs:
            launch = self.bind(plan, inputs)
            self.launch(launch)
            seeds, launches = seeds + 1, launches + 1
            self.first.copy_(self.out.tensor)
            found.append(self.errors(inputs))
            right = within(found[-1], self.tolerances)
            once_ms = min(once_ms, self.timer.once_ms(launch))
            for number in range(2, 1 + (LAUNCHES_PER_SEED if right else LAUNCHES_IF_WRONG)):
                with self.timer.under_load(once_ms) if number in UNDER_LOAD else nullcontext():
                    self.launch(launch)
                launches += 1
                if not same_bits(self.out.tensor, self.first):
                    repeatable = False
                    found.append(self.errors(inputs))
                    break
            if not right:
                findings = self.locate(config, inputs, found[0])
            if not right or not repeatable:
                break
        return merge(found, repeatable, launches, seeds, findings), once_ms

    def damage(self) -> list[Finding]:
        """What was written where nothing may be, which is made good before the next config."""
        outside, changed = self.out.damage(), self.fingerprints.changed()
        found = [outside] if outside else []
        if changed:
            names = dict.fromkeys(name.rpartition("/")[0] for name in changed)
            found.insert(0, Finding("input-changed", f"wrote to memory that is not its output: {', '.join(names)}"))
            self.stale = True
        return found

    def locate(self, config: Config, inputs: _Inputs, errors: Errors) -> list[Finding]:
        """Where the output, off by `errors`, is wrong, and why as far as the kernel's own structure tells."""
        out = self.out.tensor
        part = self.spec.partial_sum(self.problem, config, inputs.tensors, inputs.reference, out)
        if part and errors.bad_rows > MOST * errors.rows:  # the cause is known, and it is everywhere
            message = f"{share(errors.bad_rows, errors.rows)}; the worst off by {figure(errors.worst_row_error)}"
            return [Finding("partial", part), Finding("everywhere", message)]
        axes = self.spec.output_axes(self.problem)
        found = locate(out, inputs.reference, self.tolerances, inputs.norm_rms, axes, config)
        return [Finding("partial", part), found] if part else [found]

    def first_look(self, latency_ms: float, right: bool) -> int:
        """How many launches are timed right after the check; one where the host's clock is all there is."""
        if not self.timer.on_gpu:
            return 1
        return turn_samples(latency_ms) if right else SAMPLES_IF_WRONG

    def time(self, launch: Launch, name: str, samples: int, latency_ms: float, timed_by: TimedBy | None) -> Batch:
        """A batch of latencies, the output poisoned before."""
        self.out.poison()
        return Batch(name, *self.timer.batch(launch, samples, latency_ms, timed_by))


_session: _Session | None = None


def prepare(spec: KernelSpec, problem: Any, device: str, seed: int, visible: str | None = None) -> Prepared:
    """Makes inputs and references on `device` (cuda:0, cpu, or `module:class` of a timer), measures its bandwidth.

    `visible`: the GPU's entry in CUDA_VISIBLE_DEVICES, by which NVML is asked about it.
    """
    global _session
    _session = None
    timer = timer_for(device, visible)
    copy_gbps = timer.copy_gbps() if isinstance(timer, CudaTimer) else None
    _session = _Session(spec, problem, timer, seed)
    if not timer.on_gpu:
        return Prepared(None, None, None, None, pid=os.getpid())
    properties = torch.cuda.get_device_properties(device)
    limits = limits_for(f"{properties.major}.{properties.minor}")
    return Prepared(
        num_sms=properties.multi_processor_count,
        l2_bytes=properties.L2_cache_size,
        memory_bytes=properties.total_memory,
        copy_gbps=copy_gbps,
        limits_differ=differences(limits, driver_attributes(cuda_driver())),
        pid=os.getpid(),
    )


def measure(plan: LaunchPlan, config: Config, name: str, timed_by: TimedBy | None = None) -> Measurement:
    """Checks the launch's output several times on each set of inputs and, where it is stable, times it.

    Damage is looked for once, after all launches: what is launched next would be taken to have done it. Then the batch
    is not kept. Raises what the launch raises. `name` is the config's id.
    """
    session = _prepared()
    inputs = session.inputs[-1]
    launch = session.bind(plan, inputs)
    compiled = session.launch(launch)
    check, once_ms = session.check(plan, config)
    status, _ = judge(check, session.tolerances)
    batch = None
    if status in ("ok", "wrong"):
        samples = session.first_look(once_ms, status == "ok")
        batch = session.time(launch, name, samples, once_ms, timed_by)
    if damage := session.damage():
        check, batch = replace(check, findings=(*damage, *check.findings)), None
    elif status == "ok":
        if not same_bits(session.out.tensor, session.first):
            check = merge([session.errors(inputs)], False, check.launches + 1, check.seeds, check.findings)
        session.confirm(name)
    return Measurement(check, batch, loaded(compiled) if session.timer.on_gpu else None)


def resample(
    plan: LaunchPlan,
    name: str,
    samples: int | None,
    latency_ms: float | None,
    timed_by: TimedBy | None,
    right: bool,
) -> tuple[Batch, str]:
    """More latencies of a config that was measured before, and what is wrong with the last output; empty: nothing.

    A `right` one must give the bits that were checked; where they are not known in this process, it is checked anew.
    Samples and latency None: it was checked, and is now looked at for the first time.
    Where it fails and its inputs are not what they were, which one timed before it may have done, it is timed again on
    new ones.
    """
    for on_new_inputs in (False, True):
        session = _prepared()
        inputs = session.inputs[-1]
        launch = session.bind(plan, inputs)
        if latency_ms is None:
            session.launch(launch)
            latency_ms = session.timer.once_ms(launch)
        batch = session.time(launch, name, samples or session.first_look(latency_ms, right), latency_ms, timed_by)
        if right and name not in session.confirmed and within(session.errors(inputs), session.tolerances):
            session.confirm(name)
        if not right or (name in session.confirmed and not session.confirmed[name].changed()):
            return batch, ""
        if on_new_inputs or not session.damage():
            break
    return batch, OTHER_BITS


def _prepared() -> _Session:
    """The session, made again where a launch has written to what all later ones are checked by."""
    global _session
    assert _session is not None, "prepare comes first"
    if _session.stale:
        made_of = (_session.spec, _session.problem, _session.timer, _session.seed)
        _session = None  # there is not memory for two
        _session = _Session(*made_of)
    return _session


def loaded(compiled: Any) -> Loaded:
    """What the driver says of a kernel that was launched, as Triton returns it."""
    return Loaded(
        registers_per_thread=compiled.n_regs,
        spill_bytes=4 * compiled.n_spills,
        blocks_per_sm=driver_blocks_per_sm(
            cuda_driver(), compiled.function, 32 * compiled.metadata.num_warps, compiled.metadata.shared
        ),
    )
