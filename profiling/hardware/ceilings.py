"""What the units of a GPU do at most: measured on it, or from `ceilings.json`, which has the source of each figure."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ssdprof.profiling.hardware.gpu_names import name_key, named_gpu

_FILE = Path(__file__).with_name("ceilings.json")


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The ceilings of one GPU: `measured` on it on `date`, or from the `table` of GPUs by name. None: not known.

    GB is 1e9 bytes. `dram_gbps`: a copy, bytes read plus written. `l2_gbps`: all SMs read a buffer of a quarter of the
    L2. `smem_gbps`: shared memory of all SMs, without bank conflicts. `tensor_tflops`: by the operands' dtype
    (bfloat16, float16, tf32, float8, int8), summed in float32, or in int32 for int8. `issue_gips`: warp instructions of
    all schedulers, 1e9 per second. `exp_gops`: results of the special-function units, 1e9 per second. `launch_us`: the
    latency of an empty kernel, as those of configs are measured. `assumed`: fields that stand for something near.
    `sm_clock_mhz`: the clock of the SMs that what they do is for; None if not known.
    """

    source: Literal["measured", "table"]
    device: str
    date: str
    dram_gbps: float
    l2_gbps: float | None
    smem_gbps: float | None
    tensor_tflops: tuple[tuple[str, float], ...]
    issue_gips: float | None
    exp_gops: float | None
    launch_us: float
    assumed: tuple[str, ...] = ()
    sm_clock_mhz: int | None = None

    def at_clock(self, sm_clock_mhz: float | None) -> Ceilings:
        """These at another clock of the SMs: what SMs do goes with it. The same if either clock is not known."""
        if not sm_clock_mhz or not self.sm_clock_mhz:
            return self
        share = sm_clock_mhz / self.sm_clock_mhz
        return replace(
            self,
            smem_gbps=self.smem_gbps and self.smem_gbps * share,
            tensor_tflops=tuple((dtype, tflops * share) for dtype, tflops in self.tensor_tflops),
            issue_gips=self.issue_gips and self.issue_gips * share,
            exp_gops=self.exp_gops and self.exp_gops * share,
        )

    def tensor(self, dtype: str) -> float | None:
        """TFLOP/s of a dtype by the name it has here; None if the GPU has no such rate."""
        return dict(self.tensor_tflops).get(dtype)


def ceilings_of(arch: str, name: str | None = None, copy_gbps: float | None = None) -> Ceilings | None:
    """From the table: those of the GPU that `name` names, else of one that stands for `arch`; None if there is none.

    `arch` such as sm_90, which means an H100 SXM. `copy_gbps`: the GPU's measured copy bandwidth if there is one.
    """
    found = (_by_name(name) if name is not None else None) or stand_ins().get(arch)
    return None if found is None else _ceilings(found, copy_gbps)


@dataclass(frozen=True, slots=True)
class Size:
    """How large a GPU is: its name in the table, its SMs, and its L2 in bytes."""

    gpu: str
    num_sms: int
    l2_bytes: int


def size_of(arch: str, name: str | None = None) -> Size | None:
    """The size of the GPU that `name` names, else of the one that stands for `arch`; None if there is none."""
    found = (_by_name(name) if name is not None else None) or stand_ins().get(arch)
    entry = _table()["gpus"].get(found, {})
    return Size(str(found), entry["sms"], entry["l2_mib"] * 1024**2) if entry.get("sms") else None


def stand_ins() -> Mapping[str, str]:
    """The GPU that stands for each architecture that has one."""
    archs: Mapping[str, str] = _table()["archs"]
    return archs


@functools.cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return table


def _by_name(name: str) -> str | None:
    """The table's name of a GPU, which tells more variants apart than `gpu_names` does; None if it has none."""
    for known, entry in _table()["gpus"].items():
        if name_key(name) in {name_key(one) for one in (known, *entry.get("also", ()))}:
            return str(known)
    gpu = named_gpu(name)
    return gpu.name if gpu is not None and gpu.name in _table()["gpus"] else None


def _ceilings(name: str, copy_gbps: float | None) -> Ceilings:
    table = _table()
    entry, per_clock = table["gpus"][name], table["per_clock_and_sm"]
    clocks_ghz = entry["sms"] * entry["clock_mhz"] / 1e3 if entry["sms"] is not None else None

    def per_second(unit: str) -> float | None:
        return None if clocks_ghz is None else per_clock[unit] * clocks_ghz

    copied_gbps = copy_gbps or entry.get("copy_gbps")
    return Ceilings(
        source="table",
        device=name,
        date=table["date"],
        dram_gbps=float(copied_gbps or table["copy_share"] * entry["dram_peak_gbps"]),
        l2_gbps=None if entry["l2_gbps"] is None else float(entry["l2_gbps"]),
        smem_gbps=per_second("shared_bytes"),
        tensor_tflops=tuple((dtype, float(tflops)) for dtype, tflops in entry["tensor_tflops"].items()),
        issue_gips=per_second("issued_warp_instructions"),
        exp_gops=per_second("exponentials"),
        launch_us=table["launch_us"],
        sm_clock_mhz=entry["clock_mhz"],
        assumed=(*(() if copied_gbps else ("dram_gbps",)), *entry.get("assumed", ()), "launch_us"),
    )
