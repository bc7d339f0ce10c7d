"""The GPUs of this machine as NVML describes them, and the choice of one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ssdprof.kernels.errors import UsageError
from ssdprof.profiling.gpu import telemetry
from ssdprof.profiling.gpu.telemetry import ask
from ssdprof.profiling.runs.measured import Conditions


class DeviceError(UsageError):
    """A GPU that is not there, or too small."""


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """One GPU or MIG instance. With `visible` in CUDA_VISIBLE_DEVICES a process sees only this one. None: unknown.

    Memory is the instance's; clocks, power and temperature are the whole GPU's. `throttle_reasons` are NVML's bits.
    `others`: other processes that use it, a line each.
    """

    index: int
    visible: str
    name: str
    arch: str
    driver: str
    cuda: str
    memory_bytes: int
    memory_free_bytes: int
    sm_clock_mhz: int | None
    sm_clock_max_mhz: int | None
    power_w: float | None
    power_limit_w: float | None
    temperature_c: int | None
    mig: bool | None
    throttle_reasons: int | None
    uuid: str | None = None
    memory_clock_mhz: int | None = None
    memory_clock_max_mhz: int | None = None
    others: tuple[str, ...] = ()

    @property
    def conditions(self) -> Conditions:
        """Clocks, power, temperature and throttling at the time of the description."""
        throttled = telemetry.throttled_by(self.throttle_reasons)
        return Conditions(self.sm_clock_mhz, self.memory_clock_mhz, self.power_w, self.temperature_c, throttled)


def gpus() -> tuple[GpuInfo, ...]:
    """The GPUs that CUDA programs see here, in order; none without a driver. Honours CUDA_VISIBLE_DEVICES."""
    module = telemetry.nvml()
    if module is None:
        return ()
    try:
        return tuple(_describe(module, handle, i, entry) for i, (handle, entry) in enumerate(_visible(module)))
    finally:
        module.nvmlShutdown()


def select_gpu(text: str, known: tuple[GpuInfo, ...] | None = None) -> GpuInfo | None:
    """`auto`: the first GPU or none; `none`: none; an index, with or without `cuda:`. Raises DeviceError otherwise."""
    if text == "none":
        return None
    known = gpus() if known is None else known
    if text == "auto":
        return known[0] if known else None
    number = text.removeprefix("cuda:")
    if not number.isascii() or not number.isdigit() or int(number) >= len(known):
        there = {0: "no NVIDIA GPU", 1: "only GPU 0"}.get(len(known), f"GPUs 0 to {len(known) - 1}")
        raise DeviceError(f"no GPU {text!r}: this machine has {there}; give --device auto, none or an index")
    return known[int(number)]


def _visible(module: Any) -> list[tuple[Any, str]]:
    """(NVML handle, CUDA_VISIBLE_DEVICES entry) of each visible GPU, by index or UUID as CUDA reads that variable.

    An index becomes the UUID: CUDA may order GPUs by speed, while NVML orders them by bus.
    """
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        wanted = ",".join(str(index) for index in range(module.nvmlDeviceGetCount()))
    visible = []
    for entry in (part.strip() for part in wanted.split(",")):
        handle = telemetry.handle_of(module, entry)
        if handle is None:
            break  # CUDA ignores everything from the first invalid entry on
        visible.append((handle, module.nvmlDeviceGetUUID(handle) if entry.isdigit() else entry))
    return visible


def _host_memory_bytes() -> tuple[int, int]:
    """The host's memory, total and available now, for a GPU that shares it and has none of its own in NVML."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return os.sysconf("SC_PHYS_PAGES") * page_bytes, os.sysconf("SC_AVPHYS_PAGES") * page_bytes


def _describe(module: Any, handle: Any, index: int, visible: str) -> GpuInfo:
    gpu = telemetry.gpu_of(module, handle)
    conditions = telemetry.conditions_of(module, gpu)
    major, minor = module.nvmlDeviceGetCudaComputeCapability(gpu)
    memory = ask(module, "nvmlDeviceGetMemoryInfo", handle)
    total_bytes, free_bytes = (memory.total, memory.free) if memory else _host_memory_bytes()
    cuda = module.nvmlSystemGetCudaDriverVersion()
    limit_mw = ask(module, "nvmlDeviceGetEnforcedPowerLimit", gpu)
    mig = ask(module, "nvmlDeviceGetMigMode", gpu)
    return GpuInfo(
        index=index,
        visible=visible,
        name=module.nvmlDeviceGetName(gpu),
        arch=f"sm_{major}{minor}",
        driver=module.nvmlSystemGetDriverVersion(),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}",
        memory_bytes=total_bytes,
        memory_free_bytes=free_bytes,
        sm_clock_mhz=conditions.sm_clock_mhz,
        sm_clock_max_mhz=ask(module, "nvmlDeviceGetMaxClockInfo", gpu, module.NVML_CLOCK_SM),
        power_w=conditions.power_w,
        power_limit_w=None if limit_mw is None else limit_mw / 1e3,
        temperature_c=conditions.temperature_c,
        mig=None if mig is None else bool(mig[0]),
        throttle_reasons=telemetry.throttle_reasons(module, gpu),
        uuid=ask(module, "nvmlDeviceGetUUID", handle),
        memory_clock_mhz=conditions.memory_clock_mhz,
        memory_clock_max_mhz=ask(module, "nvmlDeviceGetMaxClockInfo", gpu, module.NVML_CLOCK_MEM),
        others=telemetry.other_processes(visible),
    )
