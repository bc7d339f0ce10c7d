"""The header of a run: what must be equal before two latencies may be compared."""

from __future__ import annotations

import platform
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import version

from ssdprof.profiling.model import Device, Prepared, RunHeader
from ssdprof.profiling.request import SweepRequest


def run_header(request: SweepRequest, baseline_id: str | None) -> RunHeader:
    """The header of a sweep that begins now; what only the measuring worker knows is added by `with_prepared`."""
    gpu, work = request.gpu, request.spec.work(request.problem)
    return RunHeader(
        kernel=request.spec.name,
        kernel_hash=request.spec.source_hash(),
        problem=request.problem.as_dict(),
        space=request.space,
        device=Device(
            arch=request.arch,
            name=gpu.name if gpu else None,
            driver=gpu.driver if gpu else None,
            cuda=gpu.cuda if gpu else None,
        ),
        triton=version("triton"),
        torch=version("torch"),
        python=platform.python_version(),
        ssdprof=version("ssdprof"),
        seed=request.seed,
        date=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        command=request.command,
        baseline_id=baseline_id,
        bytes_min=work.bytes_min,
        flops=work.flops,
    )


def with_prepared(header: RunHeader, prepared: Prepared) -> RunHeader:
    """The header with what the device said when it was made ready."""
    device = replace(
        header.device,
        num_sms=prepared.num_sms,
        memory_bytes=prepared.memory_bytes,
        l2_bytes=prepared.l2_bytes,
        copy_gbps=prepared.copy_gbps,
        limits_differ=prepared.limits_differ,
    )
    return replace(header, device=device)
