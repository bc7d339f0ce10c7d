"""The header of a run: what must be equal before two latencies may be compared."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import version

from ssdprof.kernels.config import Config
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import Costed, Diagnosing, Located, Referenced, Subject
from ssdprof.profiling.gpu.devices import GpuInfo
from ssdprof.profiling.runs.measured import Prepared
from ssdprof.profiling.runs.model import Device, RunHeader
from ssdprof.profiling.sweep.request import SweepRequest


def run_header(request: SweepRequest) -> RunHeader:
    """The header of a sweep that starts now; `with_prepared` adds what only the measuring worker knows.

    It says interrupted until the run is finished.
    """
    subject = request.subject
    work = subject.work() if isinstance(subject, Costed) else None
    return RunHeader(
        kernel=subject.name,
        kernel_hashes=dict(subject.source_hashes()),
        problem=subject.identity(),
        space=request.space,
        device=_device(request.arch, request.gpu) if request.gpu else Device(arch=request.arch),
        triton=version("triton"),
        torch=version("torch"),
        python=platform.python_version(),
        ssdprof=version("ssdprof"),
        seed=request.seed,
        date=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        command=request.command,
        baseline_id=_baseline_id(request),
        bytes_min=work.bytes_min if work else None,
        flops=work.flops if work else None,
        budget_s=request.budget_s,
        tolerances=subject.tolerances() if isinstance(subject, Referenced) else (),
        interrupted=True,
        params=subject.params.params,
        left_out=request.left_out,
        remarks=tuple(subject.remarks(request.configs, request.arch)) if isinstance(subject, Diagnosing) else (),
        kernel_file=os.path.abspath(subject.file) if isinstance(subject, Located) else "",
    )


def with_prepared(header: RunHeader, prepared: Prepared) -> RunHeader:
    """The header with what the device reported once it was ready."""
    device = replace(
        header.device,
        num_sms=prepared.num_sms,
        memory_bytes=prepared.memory_bytes,
        l2_bytes=prepared.l2_bytes,
        copy_gbps=prepared.copy_gbps,
        limits_differ=prepared.limits_differ,
    )
    return replace(header, device=device)


def with_others(header: RunHeader, others: Iterable[str]) -> RunHeader:
    """The header with other processes on the GPU, as `other_processes` lists them; known ones stay as they are."""
    device = header.device
    known = {_pid(line) for line in device.others}
    new = tuple(line for line in others if _pid(line) not in known)
    return replace(header, device=replace(device, others=(*device.others, *new)))


def _pid(line: str) -> tuple[str, ...]:
    """`pid 1234`, from a line whose rest may change."""
    return tuple(line.replace(",", " ").split()[:2])


def _baseline_id(request: SweepRequest) -> str | None:
    """The baseline's id if it is one of the configs."""
    if request.baseline is None:
        return None
    name = resolved_id(request.subject, request.baseline)
    return name if any(resolved_id(request.subject, config) == name for config in request.configs) else None


def resolved_id(subject: Subject, config: Config) -> str | None:
    """The id of a config as the kernel resolves it; None if the kernel cannot take it."""
    try:
        return subject.params.id(subject.resolve(config))
    except ConfigError:
        return None


def _device(arch: str, gpu: GpuInfo) -> Device:
    return Device(
        arch=arch,
        name=gpu.name,
        uuid=gpu.uuid,
        driver=gpu.driver,
        cuda=gpu.cuda,
        sm_clock_max_mhz=gpu.sm_clock_max_mhz,
        memory_clock_max_mhz=gpu.memory_clock_max_mhz,
        power_limit_w=gpu.power_limit_w,
        conditions=gpu.conditions,
        others=gpu.others,
    )
