"""The header of a run: what must be equal before two latencies may be compared."""

from __future__ import annotations

import platform
from importlib.metadata import version

from ssdprof.profiling.model import Device, Prepared, RunHeader
from ssdprof.profiling.request import SweepRequest


def run_header(request: SweepRequest, prepared: Prepared | None, date: str, baseline_id: str | None) -> RunHeader:
    """The header of a sweep begun at `date` (ISO 8601); `prepared` None: no GPU was reached."""
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
            num_sms=prepared.num_sms if prepared else None,
            memory_bytes=prepared.memory_bytes if prepared else None,
            l2_bytes=prepared.l2_bytes if prepared else None,
            copy_gbps=prepared.copy_gbps if prepared else None,
            limits_differ=prepared.limits_differ if prepared else (),
        ),
        triton=version("triton"),
        torch=version("torch"),
        python=platform.python_version(),
        ssdprof=version("ssdprof"),
        seed=request.seed,
        date=date,
        command=request.command,
        baseline_id=baseline_id,
        bytes_min=work.bytes_min,
        flops=work.flops,
    )
