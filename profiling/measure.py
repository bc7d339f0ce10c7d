"""Checks and times launches on one device. Runs inside a worker process, which a bad launch may take down.

`prepare` makes the inputs and the reference once; `measure` and `resample` then take one launch plan each.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ssdprof.kernels.interface import KernelSpec, LaunchPlan, TensorRef
from ssdprof.profiling.check import merge, output_errors, row_norm_rms, same_bits
from ssdprof.profiling.driver import cuda_driver, driver_attributes, driver_blocks_per_sm
from ssdprof.profiling.limits import differences, limits_for
from ssdprof.profiling.model import Check, Loaded, Measurement, Prepared

CHECKED_LAUNCHES = 3
"""Launches checked before timing; the last timed one is held against them too."""
QUICK_BUDGET_MS = 60.0
QUICK_SAMPLES = (10, 60)
FLUSH_BYTES = 256 << 20
"""Written before each timed launch; at least twice the L2 of every GPU up to 126 MiB of it."""
COPY_BYTES = 1 << 30
SLEEP_CYCLES_PER_SAMPLE = 200_000
"""GPU clocks slept before a batch, some 0.1 ms a sample, so that the host has queued it before the GPU begins."""


class _Session:
    """Inputs, reference and buffers of one problem on one device."""

    def __init__(self, spec: KernelSpec, problem: Any, device: str, seed: int) -> None:
        self.tolerances = spec.tolerances(problem)
        inputs = spec.make_inputs(problem, device, seed)
        self.reference = spec.reference(problem, inputs)
        self.norm_rms = row_norm_rms(self.reference)
        meta = spec.tensors(problem)[spec.output_name()]
        self.out = torch.empty(meta.shape, dtype=getattr(torch, meta.dtype), device=device)
        self.first = torch.empty_like(self.out)
        self.tensors = {**inputs, spec.output_name(): self.out}
        self.on_gpu = device.startswith("cuda")
        self.flush = torch.empty(FLUSH_BYTES if self.on_gpu else 0, dtype=torch.int8, device=device)

    def synchronize(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()

    def check(
        self, launch: Callable[[], Any], timed: Callable[[], tuple[float, ...]]
    ) -> tuple[Check, tuple[float, ...]]:
        """Poisoned and launched several times, with `timed` in between: errors, and whether all bits agree."""
        errors = []
        repeatable = True
        for launched in range(CHECKED_LAUNCHES):
            self.out.fill_(torch.nan)
            launch()
            self.synchronize()
            if launched == 0:
                self.first.copy_(self.out)
            elif same_bits(self.out, self.first):
                continue
            repeatable = repeatable and launched == 0
            errors.append(output_errors(self.out, self.reference, self.tolerances, self.norm_rms))
        samples_ms = timed()
        if not same_bits(self.out, self.first):
            repeatable = False
            errors.append(output_errors(self.out, self.reference, self.tolerances, self.norm_rms))
        return merge(errors, repeatable, CHECKED_LAUNCHES + 1), samples_ms

    def time_ms(self, launch: Callable[[], Any], samples: int) -> tuple[float, ...]:
        """Latencies of `samples` launches, L2 flushed before each, in the order taken."""
        if not self.on_gpu:
            return tuple(_host_time_ms(launch) for _ in range(samples))
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(samples)]
        torch.cuda._sleep(SLEEP_CYCLES_PER_SAMPLE * samples)
        for start, end in events:
            self.flush.zero_()
            start.record()
            launch()
            end.record()
        torch.cuda.synchronize()
        return tuple(start.elapsed_time(end) for start, end in events)

    def quick_ms(self, launch: Callable[[], Any]) -> tuple[float, ...]:
        """As many samples as the quick budget allows; one where the host's clock is all there is."""
        if not self.on_gpu:
            return self.time_ms(launch, 1)
        once_ms = min(self.time_ms(launch, 2))
        low, high = QUICK_SAMPLES
        return self.time_ms(launch, max(low, min(high, round(QUICK_BUDGET_MS / max(once_ms, 1e-3)))))


_session: _Session | None = None


def prepare(spec: KernelSpec, problem: Any, device: str, seed: int) -> Prepared:
    """Makes inputs and reference on `device` (cuda:0, or cpu under Triton's interpreter) and measures its bandwidth."""
    global _session
    _session = None
    on_gpu = device.startswith("cuda")
    copy_gbps = _copy_gbps(device) if on_gpu else None
    _session = _Session(spec, problem, device, seed)
    if not on_gpu:
        return Prepared(torch.__version__, None, None, None, None)
    properties = torch.cuda.get_device_properties(device)
    limits = limits_for(f"{properties.major}.{properties.minor}")
    return Prepared(
        torch=torch.__version__,
        num_sms=properties.multi_processor_count,
        l2_bytes=properties.L2_cache_size,
        memory_bytes=properties.total_memory,
        copy_gbps=copy_gbps,
        limits_differ=differences(limits, driver_attributes(cuda_driver())),
    )


def measure(plan: LaunchPlan) -> Measurement:
    """Checks the launch's output several times and times it. Raises what the launch raises."""
    session = _prepared()
    launch = bind(plan, session.tensors)
    compiled = launch()
    session.synchronize()
    check, samples_ms = session.check(launch, lambda: session.quick_ms(launch))
    return Measurement(check, samples_ms, loaded(compiled) if session.on_gpu else None)


def resample(plan: LaunchPlan, samples: int) -> tuple[float, ...]:
    """Latencies of `samples` more launches, after one that is not counted."""
    session = _prepared()
    launch = bind(plan, session.tensors)
    launch()
    return session.time_ms(launch, samples)


def bind(plan: LaunchPlan, tensors: Mapping[str, torch.Tensor]) -> Callable[[], Any]:
    """The launch on these tensors as a call without arguments, which returns the compiled kernel."""
    function = getattr(importlib.import_module(plan.module), plan.function)[plan.grid]
    arguments = {
        name: tensors[value.name] if isinstance(value, TensorRef) else value for name, value in plan.args.items()
    }
    return lambda: function(**arguments, **plan.options)


def _prepared() -> _Session:
    assert _session is not None, "prepare comes first"
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


def _host_time_ms(launch: Callable[[], Any]) -> float:
    start_s = time.perf_counter()
    launch()
    return 1e3 * (time.perf_counter() - start_s)


def _copy_gbps(device: str) -> float:
    """Median bandwidth of a device-to-device copy, counting bytes read and written, in GB/s."""
    source = torch.empty(COPY_BYTES, dtype=torch.int8, device=device).random_()
    target = torch.empty_like(source)
    times_ms = []
    for _ in range(12):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        target.copy_(source)
        end.record()
        end.synchronize()
        times_ms.append(start.elapsed_time(end))
    return float(2 * COPY_BYTES / (1e6 * sorted(times_ms)[len(times_ms) // 2]))
