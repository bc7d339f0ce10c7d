"""What NVML says about a GPU while it is timed: clocks, power, temperature and throttling; and who else uses it.

A function that the driver lacks or refuses, or a missing driver, gives None and never an exception.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssdprof.profiling.runs.measured import Conditions

GIB = 1 << 30
THROTTLE_REASONS = {  # by number: pynvml names them nvmlClocksThrottleReason…, and those names will go away
    0x04: "power cap",  # nvmlClocksEventReasonSwPowerCap
    0x08: "hardware slowdown",  # nvmlClocksEventReasonHwSlowdown
    0x20: "thermal",  # nvmlClocksEventReasonSwThermalSlowdown
    0x40: "hardware thermal",  # nvmlClocksEventReasonHwThermalSlowdown
    0x80: "power brake",  # nvmlClocksEventReasonHwPowerBrakeSlowdown
}
"""The bits that lower clocks for heat or power. The others mean idleness, settings or a display."""
UNSEEN_BUSY_PCT = 10
"""At this utilisation or more, a GPU without listed processes counts as used by an unseen one."""
UTILISATION_READINGS = 3
BETWEEN_READINGS_S = 0.5
"""The first reading may be of a process that has just ended: NVML's utilisation covers up to a second."""
_VIOLATIONS = {0: "power cap", 1: "thermal"}  # NVML_PERF_POLICY_POWER, NVML_PERF_POLICY_THERMAL


class Telemetry:
    """One GPU, asked by the process that times on it. `visible`: its entry in CUDA_VISIBLE_DEVICES.

    `begin` and `end` take about 1 ms each on an H100. For a MIG instance, NVML gives the clocks, power and temperature
    of the whole GPU.
    """

    def __init__(self, visible: str) -> None:
        self._nvml = nvml()
        handle = None if self._nvml is None else handle_of(self._nvml, visible)
        self._gpu = None if handle is None else gpu_of(self._nvml, handle)
        self._throttled: tuple[str, ...] | None = None
        self._violations_ns: dict[str, int] = {}

    def begin(self) -> None:
        """Notes what throttles the GPU now, and how long power and heat have throttled it so far."""
        if self._gpu is not None:
            self._throttled = throttled_by(throttle_reasons(self._nvml, self._gpu))
            self._violations_ns = self._read_violations_ns()

    def end(self) -> Conditions:
        """Clocks, power and temperature now, and everything that throttled at `begin`, since then or now.

        `throttled` is None if NVML says neither what throttles nor for how long it did.
        """
        if self._gpu is None:
            return Conditions()
        now, violations_ns = conditions_of(self._nvml, self._gpu), self._read_violations_ns()
        if self._throttled is None and now.throttled is None and not violations_ns:
            return now
        seen = {*(self._throttled or ()), *(now.throttled or ())}
        seen |= {name for name, total_ns in violations_ns.items() if total_ns > self._violations_ns.get(name, total_ns)}
        return replace(now, throttled=tuple(name for name in THROTTLE_REASONS.values() if name in seen))

    def _read_violations_ns(self) -> dict[str, int]:
        answers = {
            name: ask(self._nvml, "nvmlDeviceGetViolationStatus", self._gpu, policy)
            for policy, name in _VIOLATIONS.items()
        }
        return {name: answer.violationTime for name, answer in answers.items() if answer is not None}


def other_processes(visible: str, ours: Collection[int] = (), *, unseen: bool = True) -> tuple[str, ...]:
    """Processes that use the GPU `visible` (an entry in CUDA_VISIBLE_DEVICES) and are not `ours` (pids), a line each.

    In a container NVML may list none: then a GPU that is busy without work of ours has an `unseen` process. Ask for
    that before starting our own work, which utilisation cannot tell from others'; it takes up to 1 s if the GPU is
    busy.
    """
    module = nvml()
    if module is None:
        return ()
    try:
        handle = handle_of(module, visible)
        if handle is None:
            return ()
        used_bytes: dict[int, int | None] = {}
        for function in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
            for process in ask(module, function, handle) or ():
                used_bytes[process.pid] = used_bytes.get(process.pid) or process.usedGpuMemory
        busy_pct = _busy_pct(module, handle) if unseen and not used_bytes else 0
    finally:
        module.nvmlShutdown()
    if busy_pct:
        return (f"an unseen process keeps it {busy_pct} % busy",)
    return tuple(_line(pid, size_bytes) for pid, size_bytes in sorted(used_bytes.items()) if pid not in ours)


def nvml() -> Any:
    """pynvml, ready for use until its `nvmlShutdown`; None if there is no driver."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pynvml
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def ask(module: Any, function: str, *args: Any) -> Any:
    """What pynvml's `function` returns; None if this driver or GPU has no answer."""
    try:
        return getattr(module, function)(*args)
    except (AttributeError, module.NVMLError, module.NVMLLibraryMismatchError):
        return None


def handle_of(module: Any, visible: str) -> Any:
    """NVML's handle of the GPU or MIG instance that an entry in CUDA_VISIBLE_DEVICES names; None if it names none.

    Reads the entry as CUDA does: an index, a UUID, or the beginning of a GPU's UUID.
    """
    handles = (ask(module, "nvmlDeviceGetHandleByIndex", i) for i in range(ask(module, "nvmlDeviceGetCount") or 0))
    if visible.isascii() and visible.isdigit():
        return next((handle for index, handle in enumerate(handles) if index == int(visible)), None)
    if visible.startswith("GPU-"):
        return next((h for h in handles if (ask(module, "nvmlDeviceGetUUID", h) or "").startswith(visible)), None)
    return ask(module, "nvmlDeviceGetHandleByUUID", visible) if visible.startswith("MIG-") else None


def gpu_of(module: Any, handle: Any) -> Any:
    """The handle of the GPU that a MIG instance is part of; for a GPU, its own handle."""
    gpu = ask(module, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle)
    return handle if gpu is None else gpu


def conditions_of(module: Any, gpu: Any) -> Conditions:
    """What NVML says about a GPU now."""
    power_mw = ask(module, "nvmlDeviceGetPowerUsage", gpu)
    return Conditions(
        sm_clock_mhz=ask(module, "nvmlDeviceGetClockInfo", gpu, module.NVML_CLOCK_SM),
        memory_clock_mhz=ask(module, "nvmlDeviceGetClockInfo", gpu, module.NVML_CLOCK_MEM),
        power_w=None if power_mw is None else power_mw / 1e3,
        temperature_c=ask(module, "nvmlDeviceGetTemperature", gpu, module.NVML_TEMPERATURE_GPU),
        throttled=throttled_by(throttle_reasons(module, gpu)),
    )


def throttle_reasons(module: Any, gpu: Any) -> int | None:
    """NVML's bits for why clocks are lowered now; drivers before 535 have only the older name."""
    reasons: int | None = ask(module, "nvmlDeviceGetCurrentClocksEventReasons", gpu)
    return ask(module, "nvmlDeviceGetCurrentClocksThrottleReasons", gpu) if reasons is None else reasons


def throttled_by(reasons: int | None) -> tuple[str, ...] | None:
    """The names of the bits that mean heat or power; None if the bits are unknown."""
    return None if reasons is None else tuple(name for bit, name in THROTTLE_REASONS.items() if reasons & bit)


def _line(pid: int, size_bytes: int | None) -> str:
    try:
        name = f" ({Path(f'/proc/{pid}/comm').read_text(encoding='utf-8', errors='replace').strip()})"
    except OSError:  # in another container, or gone
        name = ""
    return f"pid {pid}{name}" + ("" if size_bytes is None else f", {size_bytes / GIB:.1f} GiB")


def _busy_pct(module: Any, handle: Any) -> int:
    """The lowest of a few readings of the utilisation; 0 if it is below the threshold or unknown."""
    lowest_pct = 100
    for reading in range(UTILISATION_READINGS):
        if reading:
            time.sleep(BETWEEN_READINGS_S)
        utilisation = ask(module, "nvmlDeviceGetUtilizationRates", handle)
        lowest_pct = min(lowest_pct, utilisation.gpu if utilisation else 0)
        if lowest_pct < UNSEEN_BUSY_PCT:
            return 0
    return lowest_pct
