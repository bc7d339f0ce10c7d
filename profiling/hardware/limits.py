"""The limits of each GPU architecture that decide occupancy, from `limits.json`, which has their sources."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ssdprof.kernels.errors import UsageError

THREADS_PER_WARP = 32
DEFAULT_ARCH = "sm_90"
"""The architecture to compile for if there is no GPU and none is named."""
_FILE = Path(__file__).with_name("limits.json")
_ARCH_FORM = re.compile(r"(?:sm_?|compute_)?(?:(?P<digits>[0-9]{2,3})|(?P<major>[0-9]{1,2})\.(?P<minor>[0-9]))[af]?")


class ArchError(UsageError):
    """An architecture with unknown limits; the message lists the known ones."""


@dataclass(frozen=True, slots=True)
class SmLimits:
    """What one streaming multiprocessor of an architecture holds, and the units it allocates in.

    Sizes in bytes have the suffix; the rest are counts. `shared_mem_opt_in_bytes` is the most that one block can have,
    static and dynamic together; `shared_mem_static_bytes` the most that can be static; `shared_mem_reserved_bytes` what
    the system adds to each block's allocation. `register_allocation_unit` is in registers per warp. `carveouts_bytes`
    are the sizes that shared memory can be configured to, ascending. `barriers_limit_blocks`: whether barriers count in
    the architecture's occupancy. `max_blocks_per_cluster` is the portable size; 1 if there are no clusters.
    """

    arch: str
    chip: str
    max_warps_per_sm: int
    max_blocks_per_sm: int
    max_threads_per_block: int
    sub_partitions: int
    registers_per_sm: int
    max_registers_per_block: int
    max_registers_per_thread: int
    register_allocation_unit: int
    shared_mem_per_sm_bytes: int
    shared_mem_opt_in_bytes: int
    shared_mem_static_bytes: int
    shared_mem_reserved_bytes: int
    shared_mem_allocation_unit_bytes: int
    carveouts_bytes: tuple[int, ...]
    barriers_per_sm: int
    barriers_limit_blocks: bool
    max_blocks_per_cluster: int

    @property
    def compute_capability(self) -> str:
        """The architecture as CUDA writes it, such as `9.0`."""
        digits = self.arch.removeprefix("sm_")
        return f"{digits[:-1]}.{digits[-1]}"

    @property
    def max_warps_per_scheduler(self) -> int:
        """Warps that one of the SM's schedulers (one per sub-partition) can hold."""
        return self.max_warps_per_sm // self.sub_partitions

    @property
    def max_config_bytes(self) -> int:
        """The largest size that shared memory can be configured to."""
        return self.carveouts_bytes[-1]


@functools.cache
def _file() -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return content


@functools.cache
def known_archs() -> tuple[str, ...]:
    """The architectures with known limits, oldest first, such as `sm_90`."""
    return tuple(_file()["architectures"])


def canonical_arch(arch: str) -> str:
    """The `sm_NN` form of `sm_90`, `sm_90a`, `9.0` or `90`. Raises ArchError if its limits are unknown."""
    match = _ARCH_FORM.fullmatch(arch.strip().lower())
    if match:
        name = "sm_" + (match["digits"] or match["major"] + match["minor"])
        if name in known_archs():
            return name
    raise ArchError(f"unknown architecture {arch!r}: one of {', '.join(known_archs())}")


def limits_for(arch: str) -> SmLimits:
    """The limits of an architecture in any form that `canonical_arch` takes. Raises ArchError as that does."""
    return _limits(canonical_arch(arch))


@functools.cache
def _limits(name: str) -> SmLimits:
    entries = _file()["architectures"][name]
    values = {key: entry["value"] for key, entry in entries.items()}
    values["carveouts_bytes"] = tuple(values["carveouts_bytes"])
    return SmLimits(arch=name, **values)


def sources_for(arch: str) -> Mapping[str, str]:
    """The source of each limit of an architecture, by field of `SmLimits`."""
    content = _file()
    entries = content["architectures"][canonical_arch(arch)]
    names = [field.name for field in fields(SmLimits) if field.name != "arch"]
    return {name: content["sources"][entries[name]["source"]] for name in names}


_DRIVER: Mapping[str, tuple[str, Callable[[SmLimits], int]]] = {
    "WARP_SIZE": ("threads per warp", lambda _: THREADS_PER_WARP),
    "MAX_THREADS_PER_BLOCK": ("threads per block", lambda sm: sm.max_threads_per_block),
    "MAX_THREADS_PER_MULTIPROCESSOR": ("threads per SM", lambda sm: THREADS_PER_WARP * sm.max_warps_per_sm),
    "MAX_BLOCKS_PER_MULTIPROCESSOR": ("blocks per SM", lambda sm: sm.max_blocks_per_sm),
    "MAX_REGISTERS_PER_BLOCK": ("registers per block", lambda sm: sm.max_registers_per_block),
    "MAX_REGISTERS_PER_MULTIPROCESSOR": ("registers per SM", lambda sm: sm.registers_per_sm),
    "MAX_SHARED_MEMORY_PER_BLOCK": ("static shared bytes per block", lambda sm: sm.shared_mem_static_bytes),
    "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": ("shared bytes per block", lambda sm: sm.shared_mem_opt_in_bytes),
    "MAX_SHARED_MEMORY_PER_MULTIPROCESSOR": ("shared bytes per SM", lambda sm: sm.shared_mem_per_sm_bytes),
    "RESERVED_SHARED_MEMORY_PER_BLOCK": ("reserved bytes per block", lambda sm: sm.shared_mem_reserved_bytes),
}
DRIVER_ATTRIBUTES: tuple[str, ...] = tuple(f"CU_DEVICE_ATTRIBUTE_{name}" for name in _DRIVER)
"""The device attributes that `differences` compares with the file, by their names in the CUDA driver API."""


def differences(limits: SmLimits, driver_attributes: Mapping[str, int]) -> tuple[str, ...]:
    """Where the driver's attributes differ from the file, one line each; empty if all agree.

    `driver_attributes` are values by the CUDA driver API's names (`DRIVER_ATTRIBUTES`; the common prefix is optional,
    and case does not count). Attributes that the file does not have are ignored.
    """
    lines = []
    for name, value in driver_attributes.items():
        entry = _DRIVER.get(name.upper().removeprefix("CU_DEVICE_ATTRIBUTE_"))
        if entry is None:
            continue
        words, expected = entry
        if value != expected(limits):
            lines.append(f"{words}: the driver says {value}, limits.json {expected(limits)} for {limits.arch}")
    return tuple(lines)
