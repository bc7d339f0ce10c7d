"""The GPUs of a machine, and what the occupancy model assumes of each one's architecture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.text import Text

from ssdprof.profiling.gpu.devices import GpuInfo
from ssdprof.profiling.hardware.ceilings import Ceilings
from ssdprof.profiling.hardware.limits import ArchError, SmLimits, limits_for
from ssdprof.reports.export.run_json import SCHEMA, json_text
from ssdprof.reports.text.tables import label_grid

GIB = 1 << 30
_TENSOR_UNITS = {"int8": "TOP/s"}
_ASSUMED = " (assumed)"


def devices_report(
    gpus: Sequence[GpuInfo], known_archs: Sequence[str], ceilings: Sequence[Ceilings | None] | None = None
) -> RenderableType:
    """One block per GPU, with its ceilings if they are given; without any GPU, what a sweep does then."""
    if not gpus:
        return Text(
            "No NVIDIA GPU is visible (no driver, or CUDA_VISIBLE_DEVICES hides them): `ssdprof sweep` compiles only,"
            f" for sm_90 or --arch. Known architectures: {', '.join(known_archs)}."
        )
    parts: list[RenderableType] = []
    for i, gpu in enumerate(gpus):
        parts += [Text(f"GPU {gpu.index}: {gpu.name}", style="bold"), label_grid(gpu_lines(gpu)), Text()]
        if ceilings is not None:
            parts += [*ceilings_text(ceilings[i]), Text()]
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


def ceilings_text(ceilings: Ceilings | None) -> list[RenderableType]:
    """What the units of a GPU do at most, below a line that says how that is known."""
    if ceilings is None:
        return [Text("Ceilings: not known for this architecture")]
    how = (
        f"measured on {ceilings.date[:10]}"
        if ceilings.source == "measured"
        else f"from a table, as of {ceilings.device}"
    )
    return [Text(f"Ceilings, {how}", style="bold"), label_grid(ceiling_lines(ceilings))]


def ceiling_lines(ceilings: Ceilings) -> list[tuple[str, str]]:
    """Each unit with its ceiling; what is not known is left out."""
    figures: list[tuple[str, str, float | None, str]] = [
        ("DRAM", "dram_gbps", ceilings.dram_gbps, "GB/s, copied: read plus written"),
        ("L2 to SMs", "l2_gbps", ceilings.l2_gbps, "GB/s, reading a quarter of its size"),
        ("shared memory", "smem_gbps", ceilings.smem_gbps, "GB/s, of all SMs, without bank conflicts"),
        *(
            (f"tensor {dtype}", "", tflops, _TENSOR_UNITS.get(dtype, "TFLOP/s"))
            for dtype, tflops in ceilings.tensor_tflops
        ),
        ("issue", "issue_gips", ceilings.issue_gips, "billion warp instructions/s"),
        ("exponentials", "exp_gops", ceilings.exp_gops, "billion/s, by the special-function units"),
    ]
    lines = [
        (label, f"{value:.0f} {unit}{_ASSUMED if field in ceilings.assumed else ''}")
        for label, field, value, unit in figures
        if value is not None
    ]
    launch = f"{ceilings.launch_us:.1f} µs, an empty kernel"
    return [*lines, ("launch", launch + (_ASSUMED if "launch_us" in ceilings.assumed else ""))]


def devices_json(gpus: Sequence[GpuInfo], ceilings: Sequence[Ceilings | None] | None = None) -> str:
    """The same for programs."""
    entries = []
    for i, gpu in enumerate(gpus):
        limits = _limits(gpu.arch)
        assumed = {"throttled": gpu.conditions.throttled, "assumed": asdict(limits) if limits else None}
        entry = {**asdict(gpu), **assumed}
        if ceilings is not None:
            found = ceilings[i]
            entry["ceilings"] = None if found is None else {**asdict(found), "tensor_tflops": dict(found.tensor_tflops)}
        entries.append(entry)
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
