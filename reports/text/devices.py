"""The GPUs of a machine, and what the occupancy model assumes of each one's architecture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.text import Text

from ssdprof.profiling.gpu.devices import GpuInfo
from ssdprof.profiling.hardware.limits import ArchError, SmLimits, limits_for
from ssdprof.reports.export.run_json import SCHEMA, json_text
from ssdprof.reports.text.tables import label_grid

GIB = 1 << 30


def devices_report(gpus: Sequence[GpuInfo], known_archs: Sequence[str]) -> RenderableType:
    """One block per GPU; without any, what a sweep does then."""
    if not gpus:
        return Text(
            "No NVIDIA GPU is visible (no driver, or CUDA_VISIBLE_DEVICES hides them): `ssdprof sweep` compiles only,"
            f" for sm_90 or --arch. Known architectures: {', '.join(known_archs)}."
        )
    parts: list[RenderableType] = []
    for gpu in gpus:
        parts += [Text(f"GPU {gpu.index}: {gpu.name}", style="bold"), label_grid(gpu_lines(gpu)), Text()]
    return Group(*parts[:-1])


def gpu_lines(gpu: GpuInfo) -> list[tuple[str, str]]:
    """What NVML says of a GPU and what is assumed of its architecture, each with its label."""
    throttled = gpu.conditions.throttled
    return [
        ("architecture", gpu.arch),
        ("UUID", gpu.uuid or "unknown"),
        ("driver", f"{gpu.driver}, CUDA {gpu.cuda}"),
        ("memory", f"{gpu.memory_free_bytes / GIB:.1f} GiB free of {gpu.memory_bytes / GIB:.1f}"),
        ("SM clock", _of(gpu.sm_clock_mhz, gpu.sm_clock_max_mhz, "MHz")),
        ("memory clock", _of(gpu.memory_clock_mhz, gpu.memory_clock_max_mhz, "MHz")),
        ("power", _of(gpu.power_w, gpu.power_limit_w, "W")),
        ("temperature", _of(gpu.temperature_c, None, "°C")),
        ("throttled by", "not told by NVML" if throttled is None else ", ".join(throttled) or "nothing"),
        ("other processes", "; ".join(gpu.others) or "none seen"),
        ("MIG", {None: "not supported", True: "on", False: "off"}[gpu.mig]),
        ("assumed per SM", _assumed_text(gpu.arch)),
    ]


def devices_json(gpus: Sequence[GpuInfo]) -> str:
    """The same for programs."""
    entries = []
    for gpu in gpus:
        limits = _limits(gpu.arch)
        assumed = {"throttled": gpu.conditions.throttled, "assumed": asdict(limits) if limits else None}
        entries.append({**asdict(gpu), **assumed})
    return json_text({"schema": SCHEMA, "devices": entries})


def _limits(arch: str) -> SmLimits | None:
    try:
        return limits_for(arch)
    except ArchError:
        return None


def _assumed_text(arch: str) -> str:
    limits = _limits(arch)
    if limits is None:
        return "nothing: the limits of this architecture are not known, so no occupancy can be computed"
    return (
        f"{limits.max_warps_per_sm} warps, {limits.max_blocks_per_sm} blocks, {limits.registers_per_sm} registers, "
        f"{limits.shared_mem_per_sm_bytes} bytes of shared memory ({limits.shared_mem_opt_in_bytes} for one block), "
        f"{limits.sub_partitions} schedulers"
    )


def _of(value: float | None, limit: float | None, unit: str) -> str:
    if value is None:
        return "unknown"
    return f"{value:.0f} {unit}" + ("" if limit is None else f" of at most {limit:.0f}")
