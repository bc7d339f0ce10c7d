"""The limits of each GPU architecture that decide occupancy, from `limits.json`, which has their sources."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ssdprof.kernels.errors import UsageError
from ssdprof.profiling.hardware.gpu_names import named_gpu, near_names

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
    `carveout_times`, `_room_bytes` and `_least_bytes` say how much room the driver makes (`occupancy` has the rule),
    `carveout_fits` how many known launches that fits.
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
    carveout_times: int
    carveout_room_bytes: int
    carveout_least_bytes: int
    carveout_fits: str

    @property
    def max_config_bytes(self) -> int:
        """The largest size that shared memory can be configured to."""
        return self.carveouts_bytes[-1]


@functools.cache
def _known() -> dict[str, SmLimits]:
    known = {}
    for arch, entries in json.loads(_FILE.read_text(encoding="utf-8"))["architectures"].items():
        values = {name: entry["value"] for name, entry in entries.items()}
        values["carveouts_bytes"] = tuple(values["carveouts_bytes"])
        known[arch] = SmLimits(arch=arch, **values)
    return known


def known_archs() -> tuple[str, ...]:
    """The architectures with known limits, oldest first, such as `sm_90`."""
    return tuple(_known())


def canonical_arch(arch: str) -> str:
    """The `sm_NN` form of `sm_90`, `sm_90a`, `9.0`, `90` or a GPU's name. Raises ArchError if that is unknown."""
    match = _ARCH_FORM.fullmatch(arch.strip().lower())
    if match:
        name = "sm_" + (match["digits"] or match["major"] + match["minor"])
        if name in _known():
            return name
    elif gpu := named_gpu(arch):
        return gpu.arch
    near = near_names(arch)
    guess = f": did you mean {' or '.join(near)}?" if near else ", such as H100 or RTX 4090"
    raise ArchError(f"unknown architecture {arch!r}: one of {', '.join(known_archs())}, or a GPU by name{guess}")


def limits_for(arch: str) -> SmLimits:
    """The limits of an architecture in any form that `canonical_arch` takes. Raises ArchError as that does."""
    return _known()[canonical_arch(arch)]


_PREFIX = "CU_DEVICE_ATTRIBUTE_"
_DRIVER: Mapping[str, tuple[int, str, Callable[[SmLimits], int]]] = {
    "WARP_SIZE": (10, "threads per warp", lambda _: THREADS_PER_WARP),
    "MAX_THREADS_PER_BLOCK": (1, "threads per block", lambda sm: sm.max_threads_per_block),
    "MAX_THREADS_PER_MULTIPROCESSOR": (39, "threads per SM", lambda sm: THREADS_PER_WARP * sm.max_warps_per_sm),
    "MAX_BLOCKS_PER_MULTIPROCESSOR": (106, "blocks per SM", lambda sm: sm.max_blocks_per_sm),
    "MAX_REGISTERS_PER_BLOCK": (12, "registers per block", lambda sm: sm.max_registers_per_block),
    "MAX_REGISTERS_PER_MULTIPROCESSOR": (82, "registers per SM", lambda sm: sm.registers_per_sm),
    "MAX_SHARED_MEMORY_PER_BLOCK": (8, "static shared bytes per block", lambda sm: sm.shared_mem_static_bytes),
    "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": (97, "shared bytes per block", lambda sm: sm.shared_mem_opt_in_bytes),
    "MAX_SHARED_MEMORY_PER_MULTIPROCESSOR": (81, "shared bytes per SM", lambda sm: sm.shared_mem_per_sm_bytes),
    "RESERVED_SHARED_MEMORY_PER_BLOCK": (111, "reserved bytes per block", lambda sm: sm.shared_mem_reserved_bytes),
}
"""By the name of the CUDA driver API's CUdevice_attribute: its number there, our words for it, and its value."""
DRIVER_ATTRIBUTES: Mapping[str, int] = {_PREFIX + name: number for name, (number, _, _) in _DRIVER.items()}
"""The device attributes that `differences` compares with the file: their numbers by their whole names."""


def differences(limits: SmLimits, driver_attributes: Mapping[str, int]) -> tuple[str, ...]:
    """Where the driver's attributes, by their whole names, differ from the file, one line each; empty if all agree."""
    lines = []
    for name, (_, words, limit_of) in _DRIVER.items():
        said, expected = driver_attributes.get(_PREFIX + name), limit_of(limits)
        if said not in (None, expected):
            lines.append(f"{words}: the driver says {said}, limits.json {expected} for {limits.arch}")
    return tuple(lines)
