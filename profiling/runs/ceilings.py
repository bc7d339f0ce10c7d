"""The ceilings of the GPU of a run, and those that were measured once and kept, a file for each GPU."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import platformdirs

from ssdprof.profiling.hardware.ceilings import Ceilings, ceilings_of
from ssdprof.profiling.runs.codec import plain, reader
from ssdprof.profiling.runs.model import Device

FORMAT = 1
"""Counts up when the measurement changes: what an older one has kept is then measured again."""


@dataclass(frozen=True, slots=True)
class MeasuredOn:
    """What the ceilings of a GPU depend on: if any of it changes, they are measured again."""

    uuid: str
    name: str | None
    driver: str | None
    sm_clock_max_mhz: int | None
    memory_clock_max_mhz: int | None
    power_limit_w: float | None
    triton: str
    format: int = FORMAT


def ceilings_for(device: Device) -> Ceilings | None:
    """What the GPU of a run does at most: as measured on it, else from the table; None if neither is known.

    The copy bandwidth is the run's own if it has one.
    """
    if device.ceilings is None:
        return ceilings_of(device.arch, device.name, device.copy_gbps)
    clock_mhz = device.ceilings.sm_clock_mhz or device.sm_clock_max_mhz
    return replace(device.ceilings, dram_gbps=device.copy_gbps or device.ceilings.dram_gbps, sm_clock_mhz=clock_mhz)


def measured_on(device: Device, triton: str) -> MeasuredOn | None:
    """What to keep the ceilings of a GPU under; None if NVML does not say which GPU it is."""
    if device.uuid is None:
        return None
    return MeasuredOn(
        uuid=device.uuid,
        name=device.name,
        driver=device.driver,
        sm_clock_max_mhz=device.sm_clock_max_mhz,
        memory_clock_max_mhz=device.memory_clock_max_mhz,
        power_limit_w=device.power_limit_w,
        triton=triton,
    )


def ceilings_path(uuid: str) -> Path:
    """Where those of a GPU are kept: `ssdprof/ceilings` in the platform's folder for user data."""
    name = "".join(character if character.isalnum() else "-" for character in uuid)
    return Path(platformdirs.user_data_dir("ssdprof", appauthor=False)) / "ceilings" / f"{name}.json"


def kept_ceilings(on: MeasuredOn) -> Ceilings | None:
    """Those that were measured on just this; None if there are none, or if the file cannot be read."""
    try:
        kept = json.loads(ceilings_path(on.uuid).read_text(encoding="utf-8"))
        found: Ceilings = reader(Ceilings)(kept["ceilings"])
        return found if kept["on"] == plain(on) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_ceilings(on: MeasuredOn, ceilings: Ceilings) -> None:
    """Keeps them for later runs. If that fails, the next run measures them again."""
    path = ceilings_path(on.uuid)
    content: dict[str, Any] = {"on": plain(on), "ceilings": plain(ceilings)}
    new = path.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        new.replace(path)
