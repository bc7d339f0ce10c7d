"""Measures the ceilings of a GPU, in a worker process: what each of its units does at most, by a kernel that does
nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timezone
from statistics import median
from typing import Any

import torch

from ssdprof.kernels.launch import LaunchPlan, TensorMeta
from ssdprof.profiling.hardware.ceilings import Ceilings
from ssdprof.profiling.measuring import measure as measuring
from ssdprof.profiling.measuring.ceiling_probes import Probe, Unit, probes
from ssdprof.profiling.measuring.timer import CudaTimer

WARM_UP_MS = 100.0
"""An idle GPU gets so long a work first: it takes its clocks some time to rise."""
TARGET_MS = 1.0
"""How long a launch takes: some 300 times the overhead of a launch, and too short for the power limit."""
SAMPLES = 7
LAUNCH_SAMPLES = 40
LAUNCH_MS = 0.005
NOTHING = LaunchPlan("ssdprof.profiling.binary.nothing", "NOTHING", (1,), {}, {"num_warps": 4})
OnceMs = Callable[[Callable[[], Any]], float]


def measure(device: str, visible: str | None, copy_gbps: float | None, names: Collection[str]) -> Ceilings | None:
    """The ceilings of `device`, cuda:0; None if its architecture is too old for these kernels.

    `visible`: the GPU's entry in CUDA_VISIBLE_DEVICES. `copy_gbps`: its copy bandwidth if it was measured before.
    `names`: the probes that compile. The inputs of a sweep are dropped first: this needs up to 2 GiB, and comes after
    everything else.
    """
    measuring.forget()
    torch.cuda.empty_cache()
    properties = torch.cuda.get_device_properties(device)
    found = probes(
        f"sm_{properties.major}{properties.minor}", properties.multi_processor_count, properties.L2_cache_size
    )
    if not found:
        return None
    timer = CudaTimer(device, visible or "0")
    _warm_up(timer, found["issue"], device)
    rates: dict[tuple[Unit, str], float] = {}
    for probe in (found[name] for name in found if name in names):
        key = probe.unit, probe.dtype
        rates[key] = max(rates.get(key, 0.0), rate(probe, timer.once_ms, device))

    def billions(unit: Unit) -> float | None:
        per_s = rates.get((unit, ""))
        return None if per_s is None else per_s / 1e9

    return Ceilings(
        source="measured",
        device=properties.name,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        dram_gbps=copy_gbps or timer.copy_gbps(),
        l2_gbps=billions("l2"),
        smem_gbps=billions("shared"),
        tensor_tflops=tuple((dtype, per_s / 1e12) for (unit, dtype), per_s in rates.items() if unit == "tensor"),
        issue_gips=billions("issue"),
        exp_gops=billions("exp"),
        launch_us=_launch_us(timer),
    )


def rate(probe: Probe, once_ms: OnceMs, device: str) -> float:
    """What the probe's launch does per second: its work over the median time of SAMPLES launches of some TARGET_MS.

    `once_ms` is the time of one launch that has run before.
    """
    tensors = {name: _tensor(meta, device) for name, meta in probe.tensors.items()}

    def launch_of(turns: int) -> Callable[[], Any]:
        return probe.with_turns(turns).bind(tensors)

    turns = 1
    launch_of(turns)()  # compiles, or loads from Triton's cache
    for _ in range(2):  # the first time is mostly that of the launch
        turns = max(turns, round(turns * TARGET_MS / once_ms(launch_of(turns))))
    launch = launch_of(turns)
    times_ms = [once_ms(launch) for _ in range(SAMPLES)]
    return probe.work * probe.plan.grid_blocks * turns / (1e-3 * median(times_ms))


def _warm_up(timer: CudaTimer, probe: Probe, device: str) -> None:
    tensors = {name: _tensor(meta, device) for name, meta in probe.tensors.items()}
    probe.plan.bind(tensors)()
    launch = probe.with_turns(1000).bind(tensors)
    for _ in range(1 + int(WARM_UP_MS / timer.once_ms(launch))):
        launch()
    timer.synchronize()


def _launch_us(timer: CudaTimer) -> float:
    """The median time of an empty kernel, as a config's latency is measured."""
    launch = NOTHING.callee()[NOTHING.grid]
    times_ms, *_ = timer.batch(lambda: launch(**NOTHING.options), LAUNCH_SAMPLES, LAUNCH_MS, "graph")
    return 1e3 * median(times_ms)


def _tensor(meta: TensorMeta, device: str) -> torch.Tensor:
    """Random operands: zeros take less power, and a GPU at its power limit would be faster on them."""
    dtype: torch.dtype = getattr(torch, meta.dtype)
    if meta.is_written:
        return torch.empty(meta.shape, dtype=dtype, device=device)
    if not dtype.is_floating_point:
        return torch.empty(meta.shape, dtype=dtype, device=device).random_()
    return torch.randn(meta.shape, device=device).to(dtype)
