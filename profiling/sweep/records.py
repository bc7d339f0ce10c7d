"""The header and the rows of a sweep: how they begin, and how they change on its way."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

from ssdprof.kernels.config import Config
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import (
    Constrained,
    Costed,
    Diagnosing,
    Located,
    NamedReference,
    Referenced,
    Subject,
    Unordered,
)
from ssdprof.profiling.gpu.devices import GpuInfo
from ssdprof.profiling.hardware.limits import SmLimits
from ssdprof.profiling.hardware.occupancy import LaunchError, occupancy
from ssdprof.profiling.runs.measured import Compiled, Loaded, Prepared
from ssdprof.profiling.runs.model import Device, Row, RunHeader
from ssdprof.profiling.sweep.request import SweepRequest

GPU_NAMES = ("name", "uuid", "driver", "cuda", "conditions", "others")
GPU_LIMITS = ("sm_clock_max_mhz", "memory_clock_max_mhz", "power_limit_w")
FROM_WORKER = ("num_sms", "memory_bytes", "l2_bytes", "copy_gbps", "limits_differ")
"""What a `Device` has from the GPU's description before the run, and from the measuring worker once it is ready."""
NOT_REACHED = "not reached"
BY_CONSTRUCTION = "by construction"


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
        device=device_of(request.gpu) if request.gpu else Device(request.arch),
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
        ptxas=request.ptxas,
        question=subject.question(request.configs[0]) if isinstance(subject, Diagnosing) and request.configs else None,
        unordered=tuple(sorted(subject.unordered())) if isinstance(subject, Unordered) else (),
        reference=subject.reference_name if isinstance(subject, NamedReference) else "",
    )


def device_of(gpu: GpuInfo) -> Device:
    """A GPU as NVML describes it, before a worker says more of it."""
    return Device(gpu.arch, **_taken(gpu, *GPU_NAMES, *GPU_LIMITS))


def with_prepared(header: RunHeader, prepared: Prepared) -> RunHeader:
    """The header with what the device reported once it was ready."""
    return replace(header, device=replace(header.device, **_taken(prepared, *FROM_WORKER)))


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


def _taken(source: GpuInfo | Prepared, *names: str) -> dict[str, Any]:
    return {name: getattr(source, name) for name in names}


def first_rows(subject: Subject, configs: Iterable[Config]) -> dict[str, Row]:
    """A row for each config, by id: not run yet, or a launch error if the kernel cannot take it."""
    rows: dict[str, Row] = {}
    for config in configs:
        try:
            resolved = subject.resolve(config)
        except ConfigError as error:
            name = subject.params.id(config)
            rows[name] = Row(config, name, "launch-error", str(error))
            continue
        name = subject.params.id(resolved)
        wrong = subject.wrong_by_construction(resolved) if isinstance(subject, Constrained) else None
        rows[name] = Row(resolved, name, "not-run", NOT_REACHED, by_construction=wrong or "")
    return rows


def settled(row: Row) -> Row:
    """The row, marked wrong if it is wrong by construction and was not checked, whatever else happened to it."""
    if not row.by_construction or row.check is not None or row.status == "wrong":
        return row
    failed = "" if row.status == "not-run" else f"; here it also failed ({row.status}: {row.status_reason})"
    return replace(row, status="wrong", status_reason=_why_wrong(row) + failed)


def is_untried(row: Row) -> bool:
    """Whether the row still has to be run: its status is not-run, or wrong by construction and nothing else."""
    return row.status == "not-run" or (row.by_construction != "" and row.status_reason == _why_wrong(row))


def _why_wrong(row: Row) -> str:
    return f"{BY_CONSTRUCTION}: {row.by_construction}"


def with_compiled(row: Row, compiled: Compiled, limits: SmLimits, num_sms: int | None, status_reason: str) -> Row:
    """The row of a compiled config: with its occupancy, or marked as needing more than the architecture has."""
    row = replace(row, compiled=compiled, status="not-run", status_reason=status_reason)
    try:
        row = replace(row, occupancy=occupancy(compiled.launch, limits, num_sms=num_sms))
    except LaunchError as error:  # such as more threads than a block can have
        return replace(row, status="out-of-resources", status_reason=str(error))
    if row.occupancy and row.occupancy.cannot_launch:
        return replace(row, status="out-of-resources", status_reason=row.occupancy.cannot_launch)
    return row


def with_loaded(row: Row, loaded: Loaded, limits: SmLimits, num_sms: int | None) -> Row:
    """The row with what the driver says about the loaded kernel."""
    if row.compiled is None:
        return row
    compiled = replace(row.compiled, registers_per_thread=loaded.registers_per_thread, spill_bytes=loaded.spill_bytes)
    occ = occupancy(compiled.launch, limits, num_sms=num_sms)
    return replace(row, compiled=compiled, occupancy=occ, driver_blocks_per_sm=loaded.blocks_per_sm)
