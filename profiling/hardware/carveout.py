"""The shared-memory size that the driver configures on an SM for a launch; Nsight Compute divides by it.

One physical memory serves as L1 cache and as shared memory; the driver splits it for each launch (the carve-out). The
number of resident blocks does not depend on the split; the shared-memory limit and its ties do.
"""

from __future__ import annotations

from typing import Literal

from ssdprof.kernels.errors import UsageError
from ssdprof.profiling.hardware.limits import SmLimits

ConfigSource = Literal["given", "prefers-shared", "assumed"]

TRITON_PREFERS_SHARED_ABOVE_BYTES = 48 * 1024
"""Triton asks for CU_FUNC_CACHE_PREFER_SHARED if a kernel needs more dynamic shared memory than this."""

MEASURED_ARCH = "sm_90"
"""The architecture that the driver's choice was measured on; others are assumed to take the smallest size that fits."""

_ROOM_BLOCKS = 32
_ROOM_BYTES = 132 * 1024
_ROOM_WITHOUT_OWN_BYTES = 32 * 1024


class CarveoutError(UsageError):
    """A shared-memory size that the architecture does not support; the message lists those it does."""


def smallest_config_bytes(limits: SmLimits, needed_bytes: int) -> int:
    """The smallest configuration of at least `needed_bytes`, or the largest if none is large enough."""
    for size_bytes in limits.carveouts_bytes:
        if size_bytes >= needed_bytes:
            return size_bytes
    return limits.max_config_bytes


def config_size(
    limits: SmLimits,
    *,
    threads_per_block: int,
    own_bytes: int,
    allocated_bytes: int,
    blocks_without_shared_mem: int,
    given_bytes: int | None,
    prefers_shared: bool,
) -> tuple[int, ConfigSource]:
    """The configured size in bytes and where it comes from.

    `own_bytes` is what a block asks for; `allocated_bytes` adds what the system reserves, and is rounded up;
    `blocks_without_shared_mem` is how many blocks the registers, the warps and the SM's block slots allow. If one block
    does not fit in the given size, the smallest size that it fits in replaces it, as in NVIDIA's calculator, and counts
    as assumed. Raises CarveoutError for a given size that the architecture does not support.
    """
    if given_bytes is not None:
        if given_bytes not in limits.carveouts_bytes:
            sizes = ", ".join(str(size_bytes) for size_bytes in limits.carveouts_bytes)
            raise CarveoutError(
                f"{limits.arch} cannot configure its shared memory to {given_bytes} bytes: it has {sizes}"
            )
        if given_bytes >= min(allocated_bytes, limits.max_config_bytes):
            return given_bytes, "given"
        return smallest_config_bytes(limits, allocated_bytes), "assumed"
    if prefers_shared:
        return limits.max_config_bytes, "prefers-shared"
    blocks = blocks_without_shared_mem
    if allocated_bytes == 0 or blocks == 0:
        needed_bytes = allocated_bytes
    elif limits.arch == MEASURED_ARCH:
        needed_bytes = _measured_rule_bytes(limits, threads_per_block, own_bytes, allocated_bytes, blocks)
    else:
        needed_bytes = _resident_bytes(limits, allocated_bytes, blocks)
    return smallest_config_bytes(limits, needed_bytes), "assumed"


def _resident_bytes(limits: SmLimits, allocated_bytes: int, blocks: int) -> int:
    return min(blocks, max(1, limits.max_config_bytes // allocated_bytes)) * allocated_bytes


def _measured_rule_bytes(limits: SmLimits, threads: int, own_bytes: int, allocated_bytes: int, blocks: int) -> int:
    """The room that the driver makes, as measured on one H100 (driver 580.159.04).

    Room for the blocks that can be resident; if a second block is possible and blocks are not of full size, room for
    twice as many as the other limits allow, but for no more than 32 blocks or 132 KiB. In that case a kernel without
    shared memory of its own gets at least 32 KiB (docs/occupancy.md has the counts).
    """
    resident_bytes = _resident_bytes(limits, allocated_bytes, blocks)
    if blocks == 1 or threads == limits.max_threads_per_block:
        return resident_bytes
    room_bytes = min(2 * blocks, _ROOM_BLOCKS) * allocated_bytes
    if own_bytes == 0:
        room_bytes = max(room_bytes, _ROOM_WITHOUT_OWN_BYTES)
    return max(resident_bytes, min(room_bytes, _ROOM_BYTES))
