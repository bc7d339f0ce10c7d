"""The GPUs of this machine, as NVML describes them; choosing one; and whether a problem fits its memory."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.interface import KernelSpec

GIB = 1 << 30


class DeviceError(UsageError):
    """A GPU that is not there, or not large enough."""


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """One GPU. With `visible` in CUDA_VISIBLE_DEVICES a process sees it alone. Unknown values are None."""

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


def gpus() -> tuple[GpuInfo, ...]:
    """The GPUs that CUDA programs would see here, in order; none without a driver. CUDA_VISIBLE_DEVICES is honoured."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pynvml
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(
            _describe(pynvml, handle, index, visible) for index, (handle, visible) in enumerate(_visible(pynvml))
        )
    finally:
        pynvml.nvmlShutdown()


def select_gpu(text: str, known: tuple[GpuInfo, ...] | None = None) -> GpuInfo | None:
    """`auto`: the first GPU or none; `none`: none; an index, with or without `cuda:`. Raises DeviceError otherwise."""
    if text == "none":
        return None
    known = gpus() if known is None else known
    if text == "auto":
        return known[0] if known else None
    number = text.removeprefix("cuda:")
    there = "this machine has no NVIDIA GPU" if not known else f"this machine has GPU 0 to {len(known) - 1}"
    if len(known) == 1:
        there = "this machine has GPU 0 alone"
    if not number.isascii() or not number.isdigit() or int(number) >= len(known):
        raise DeviceError(f"no GPU {text!r}: {there}; give auto, none or an index")
    return known[int(number)]


def check_memory(spec: KernelSpec, problem: Any, gpu: GpuInfo) -> None:
    """Raises DeviceError where measuring `problem` needs more memory than `gpu` has free; nothing is allocated."""
    needed = spec.memory_bytes(problem)
    if needed > gpu.memory_free_bytes:
        raise DeviceError(
            f"the problem needs about {needed / GIB:.1f} GiB, {gpu.name} has {gpu.memory_free_bytes / GIB:.1f} "
            f"of {gpu.memory_bytes / GIB:.1f} GiB free: reduce seqlen, batch or nheads, or divide it with --tp"
        )


def sm_clock_mhz(gpu: GpuInfo) -> int | None:
    """The SM clock now, None where NVML does not tell."""
    current = [one for one in gpus() if one.visible == gpu.visible]
    return current[0].sm_clock_mhz if current else None


def _visible(pynvml: Any) -> list[tuple[Any, str]]:
    """(NVML handle, CUDA_VISIBLE_DEVICES entry) of each visible GPU, by index or UUID as CUDA reads that variable."""
    count = pynvml.nvmlDeviceGetCount()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    uuids = [pynvml.nvmlDeviceGetUUID(handle) for handle in handles]
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return list(zip(handles, uuids, strict=True))
    visible = []
    for entry in (part.strip() for part in wanted.split(",")):
        if entry.isascii() and entry.isdigit() and int(entry) < count:
            visible.append((handles[int(entry)], uuids[int(entry)]))
        elif entry.startswith(("GPU-", "MIG-")):
            match = next((h for h, uuid in zip(handles, uuids, strict=True) if uuid.startswith(entry)), None)
            if match is None and entry.startswith("MIG-"):
                match = _gpu_of_mig(pynvml, entry)
            if match is None:
                break
            visible.append((match, entry))
        else:
            break  # CUDA ignores everything after the first entry that is not valid
    return visible


def _gpu_of_mig(pynvml: Any, uuid: str) -> Any:
    """The handle of the GPU that a MIG instance is part of; None where there is no such instance."""
    try:
        return pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(pynvml.nvmlDeviceGetHandleByUUID(uuid))
    except pynvml.NVMLError:
        return None


def _host_memory_bytes() -> tuple[int, int]:
    """The host's memory, whole and available now, for a GPU that shares it and has none of its own in NVML."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return os.sysconf("SC_PHYS_PAGES") * page_bytes, os.sysconf("SC_AVPHYS_PAGES") * page_bytes


def _describe(pynvml: Any, handle: Any, index: int, visible: str) -> GpuInfo:
    def maybe(function: str, *args: Any) -> Any:
        try:
            return getattr(pynvml, function)(handle, *args)
        except pynvml.NVMLError:
            return None

    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    memory = maybe("nvmlDeviceGetMemoryInfo")
    total_bytes, free_bytes = (memory.total, memory.free) if memory else _host_memory_bytes()
    cuda = pynvml.nvmlSystemGetCudaDriverVersion()
    power_mw = maybe("nvmlDeviceGetPowerUsage")
    limit_mw = maybe("nvmlDeviceGetEnforcedPowerLimit")
    mig = maybe("nvmlDeviceGetMigMode")
    return GpuInfo(
        index=index,
        visible=visible,
        name=pynvml.nvmlDeviceGetName(handle),
        arch=f"sm_{major}{minor}",
        driver=pynvml.nvmlSystemGetDriverVersion(),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}",
        memory_bytes=total_bytes,
        memory_free_bytes=free_bytes,
        sm_clock_mhz=maybe("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_SM),
        sm_clock_max_mhz=maybe("nvmlDeviceGetMaxClockInfo", pynvml.NVML_CLOCK_SM),
        power_w=None if power_mw is None else power_mw / 1e3,
        power_limit_w=None if limit_mw is None else limit_mw / 1e3,
        temperature_c=maybe("nvmlDeviceGetTemperature", pynvml.NVML_TEMPERATURE_GPU),
        mig=None if mig is None else bool(mig[0]),
        throttle_reasons=maybe("nvmlDeviceGetCurrentClocksEventReasons"),
    )
