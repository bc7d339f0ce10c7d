"""Checks and times launches on one device. Runs in a worker process, which a bad launch may take down.

`prepare` makes the inputs and their references once; `measure` and `resample` then take one launch plan each.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import torch

from ssdprof.kernels.config import Config
from ssdprof.kernels.interface import Subject
from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling.gpu.driver import cuda_driver, driver_attributes, loaded
from ssdprof.profiling.hardware.limits import differences, limits_for
from ssdprof.profiling.measuring.check import judge
from ssdprof.profiling.measuring.session import Session
from ssdprof.profiling.measuring.timer import CudaTimer, timer_for
from ssdprof.profiling.runs.measured import Batch, Measurement, Prepared, TimedBy

OTHER_BITS = "a timed launch gave different bits from the checked ones: a race or a miscompilation"
OTHER_SUMS = "a timed launch gave sums beyond their tolerance, unlike the checked ones: a race or a miscompilation"

_session: Session | None = None


def prepare(subject: Subject, device: str, seed: int, visible: str | None = None) -> Prepared:
    """Makes inputs and references on `device` (cuda:0, or `module:class` of a timer) and measures its bandwidth.

    `visible`: the GPU's entry in CUDA_VISIBLE_DEVICES, which finds it in NVML.
    """
    global _session
    _session = None
    timer = timer_for(device, visible)
    copy_gbps = timer.copy_gbps() if isinstance(timer, CudaTimer) else None
    _session = Session(subject, timer, seed)
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
    """Checks the launch's outputs several times on each set of inputs and, if they are stable, times it.

    Looks for damage once, after all launches, since the next config would be blamed for it; a launch that did damage
    keeps no batch. Raises what the launch raises, but not if it was found wrong before. `name` is the config's id.
    """
    session = _prepared()
    inputs = session.inputs[-1]
    bound = session.bind(plan, inputs)
    compiled = session.launch(bound)
    check, once_ms = session.check(plan, config)
    status, _ = judge(check, session.tolerances)
    batch = None
    if status in ("ok", "wrong", "differs"):
        samples = session.first_look(once_ms, status != "wrong")
        try:
            batch = session.time(bound, name, samples, once_ms, timed_by)
        except Exception as error:
            if status == "ok":
                raise
            return Measurement(check, None, None, failed=(type(error).__name__, str(error)))
    if damage := session.damage():
        check, batch = replace(check, findings=(*damage, *check.findings), sketch=()), None
    elif status in ("ok", "differs"):
        same, sums_within = session.all_same(), session.all_within(session.unordered_errors(inputs))
        if not same or sums_within != session.sums_within:  # sums of another answer are beyond the tolerance always
            errors = [session.errors(inputs)]
            check = session.merged(errors, False, check.launches + 1, check.seeds, check.findings)
            check = replace(check, sums_alone=same)
        if status == "ok":
            session.confirm(name)
    return Measurement(check, batch, loaded(compiled) if session.timer.on_gpu else None)


def resample(
    plan: LaunchPlan, name: str, samples: int | None, latency_ms: float | None, timed_by: TimedBy | None, correct: bool
) -> tuple[Batch, str]:
    """More latencies of a config that was measured before, and what is wrong with the last outputs; empty: nothing.

    A `correct` config must give the bits that were checked; if this process does not know them, it is checked again.
    Outputs that are summed in no order must be correct again.
    Samples and latency None: it was checked, and this is its first look.
    If it fails and its inputs have changed, which an earlier config may have done, it is timed again on new inputs.
    """
    for on_new_inputs in (False, True):
        session = _prepared()
        inputs = session.inputs[-1]
        bound = session.bind(plan, inputs)
        if latency_ms is None:
            session.launch(bound)
            latency_ms = session.once_ms(bound)
        batch = session.time(bound, name, samples or session.first_look(latency_ms, correct), latency_ms, timed_by)
        if correct and name not in session.confirmed and session.within(*session.errors(inputs)):
            session.confirm(name)
        if not correct or session.is_confirmed(name, inputs):
            return batch, ""
        if on_new_inputs or not session.damage():
            break
    sums_alone = name in session.confirmed and not session.has_other_bits(name)
    return batch, OTHER_SUMS if sums_alone else OTHER_BITS


def forget() -> None:
    """Drops the inputs and references: nothing more will be measured on them."""
    global _session
    _session = None


def _prepared() -> Session:
    """The session, made again if a launch has written to inputs or references."""
    global _session
    assert _session is not None, "prepare comes first"
    if _session.stale:
        made_of: tuple[Any, ...] = (_session.subject, _session.timer, _session.seed)
        _session = None  # there is no memory for two
        _session = Session(*made_of)
    return _session
