"""The ceilings of a GPU, kept if they were measured on it before, else measured once by a worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from importlib.metadata import version
from typing import Protocol

from ssdprof.profiling.gpu.devices import GpuInfo
from ssdprof.profiling.hardware.ceilings import Ceilings
from ssdprof.profiling.measuring.ceiling_probes import probes
from ssdprof.profiling.runs.ceilings import ceilings_for, keep_ceilings, kept_ceilings, measured_on
from ssdprof.profiling.runs.model import Device
from ssdprof.profiling.runs.state import Record, RunState
from ssdprof.profiling.sweep.begin import cores
from ssdprof.profiling.sweep.records import device_of
from ssdprof.profiling.sweep.request import Phase, SweepRequest
from ssdprof.profiling.workers.pool import Pool, run_task
from ssdprof.profiling.workers.worker import Failure, Worker

MEASURE = "ssdprof.profiling.measuring.beginning:ceilings"
TIMEOUT_S = 120.0


class Measured(Protocol):
    """A sweep whose configs are all measured."""

    request: SweepRequest
    state: RunState
    pool: Pool
    measurer: Worker | None
    device: str

    def record(self, record: Record) -> None:
        """Adds one result."""

    def tell(self, phase: Phase, done: int, total: int, name: str | None) -> None:
        """Reports how far the sweep is."""


def with_kept(device: Device) -> Device:
    """The GPU of a run, with its ceilings if they were measured before."""
    on = measured_on(device, version("triton"))
    return replace(device, ceilings=kept_ceilings(on)) if on is not None else device


def add_ceilings(sweep: Measured) -> None:
    """Measures the ceilings of the sweep's GPU if they are not known, after all else. A failure costs no results."""
    header, gpu = sweep.state.header, sweep.request.gpu
    if sweep.measurer is None or gpu is None or header.device.ceilings or not sweep.device.startswith("cuda"):
        return
    sweep.tell("ceilings", 0, 0, None)
    with suppress(KeyboardInterrupt):  # the run is complete
        found = measured(sweep.pool, sweep.measurer, header.device, sweep.device, gpu.visible)
        if isinstance(found, Ceilings):
            sweep.record(replace(header, device=replace(header.device, ceilings=found)))


def ceilings_here(gpu: GpuInfo, say: Callable[[str], None]) -> Ceilings | None:
    """The ceilings of a GPU of this machine, kept or measured; if that fails, for a reason that `say` hears, those of
    the table, if it has any.
    """
    device = with_kept(device_of(gpu))
    if device.ceilings is not None:
        return device.ceilings
    say(f"measuring the ceilings of {gpu.name}, once …")
    with closing(Pool(measurers=1)) as pool:
        pool.add_compilers(cores())
        found = measured(pool, pool.measurers[0], device, "cuda:0", gpu.visible)
    if isinstance(found, Failure):
        say(f"the ceilings of {gpu.name} could not be measured: {found.line}")
    return found if isinstance(found, Ceilings) else ceilings_for(device)


def measured(pool: Pool, measurer: Worker, device: Device, cuda: str, visible: str) -> Ceilings | Failure | None:
    """Compiles the kernels on the pool's compilers, has the measurer launch them, and keeps what comes out.

    `cuda`: torch's name of the GPU in the measurer; `visible`: its entry in CUDA_VISIBLE_DEVICES. None: its
    architecture is too old. What does not compile is left out: Triton 3.6 fails on a dot in a loop for sm_100.
    """
    plans = {name: probe.plan for name, probe in probes(device.arch).items()}
    waiting = deque(plans)
    compiled: set[str] = set()
    while waiting or pool.is_compiling:
        pool.compile(waiting, plans, device.arch, TIMEOUT_S)
        compiled |= {task for _, task, outcome in pool.outcomes() if not isinstance(outcome, Failure)}
    asked = (cuda, visible, device.copy_gbps, compiled)
    found: Ceilings | Failure | None = run_task(measurer, MEASURE, *asked, timeout_s=TIMEOUT_S)
    on = measured_on(device, version("triton"))
    if isinstance(found, Ceilings) and on is not None:
        keep_ceilings(on, found)
    return found
