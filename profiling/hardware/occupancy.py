"""Theoretical occupancy of a launch as Nsight Compute prints it, every field, from the launch and the limits.

The formulas follow the CUDA programming guide's chapter on hardware multithreading; 1 822 launches measured with Nsight
Compute on an H100 and 3 963 answers of NVIDIA's occupancy calculator confirm them (docs/occupancy.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ssdprof.kernels.errors import UsageError
from ssdprof.profiling.hardware.limiters import BLOCKS, REGISTERS, SHARED_MEMORY, WARPS
from ssdprof.profiling.hardware.limits import THREADS_PER_WARP, SmLimits

ConfigSource = Literal["given", "prefers-shared", "assumed"]
TRITON_PREFERS_SHARED_ABOVE_BYTES = 48 * 1024
"""Triton asks for CU_FUNC_CACHE_PREFER_SHARED if a kernel needs more dynamic shared memory than this."""
_ROOM_BLOCKS = 32


class CarveoutError(UsageError):
    """A shared-memory size that the architecture does not support; the message lists those it does."""


class LaunchError(UsageError):
    """A launch that cannot exist on any GPU of the architecture, such as one with 0 threads; says the rule."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What a launch asks of an SM. Shared memory is in bytes per block, registers are per thread.

    `threads_per_block` is the compiled count (warp specialisation raises it). `num_barriers` is what the binary
    declares. `num_ctas` is the number of blocks per cluster, which ncu's theoretical occupancy ignores. `grid_blocks`
    counts blocks as ncu's Grid Size does: Triton's programs times `num_ctas`.
    """

    threads_per_block: int
    registers_per_thread: int
    dynamic_shared_mem_bytes: int = 0
    static_shared_mem_bytes: int = 0
    num_barriers: int = 1
    grid_blocks: int | None = None
    num_ctas: int = 1

    @property
    def warps_per_block(self) -> int:
        """Warps of one block; the last may be partly filled."""
        return -(-self.threads_per_block // THREADS_PER_WARP)

    @property
    def shared_mem_bytes(self) -> int:
        """Static and dynamic shared memory of one block in bytes."""
        return self.static_shared_mem_bytes + self.dynamic_shared_mem_bytes


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Every field of ncu's Occupancy section for one launch; limits are in blocks per SM, sizes in bytes.

    `limiters` are the limits equal to the smallest, in ncu's order and words: blocks, registers, shared memory, warps.
    It is empty if barriers alone limit, which ncu never names. `warps_per_scheduler` is at least 1 if a block is
    resident, which is what ncu prints for fewer warps than the SM has schedulers. `shared_mem_config_source` says where
    the configured size comes from. `waves_per_sm` needs the grid and the number of SMs. `cannot_launch` is the reason;
    empty if the block can launch. Values are plain, so a run file can hold them.
    """

    blocks_per_sm: int
    warps_per_block: int
    warps_per_sm: int
    warps_per_scheduler: float
    theoretical_occupancy_pct: float
    limit_registers_blocks: int
    limit_shared_mem_blocks: int
    limit_warps_blocks: int
    limit_blocks_blocks: int
    limit_barriers_blocks: int
    limiters: tuple[str, ...]
    registers_allocated_per_thread: int
    shared_mem_allocated_bytes: int
    shared_mem_config_bytes: int
    shared_mem_config_source: ConfigSource
    waves_per_sm: float | None
    cannot_launch: str
    max_warps_per_sm: int
    max_warps_per_scheduler: int


def occupancy(
    launch: Launch,
    limits: SmLimits,
    *,
    shared_mem_config_bytes: int | None = None,
    prefers_shared: bool | None = None,
    num_sms: int | None = None,
) -> Occupancy:
    """The occupancy of `launch` on an SM with `limits`.

    `shared_mem_config_bytes` is the configured size, if known; without it, the largest if the kernel prefers shared
    memory, else an assumed one. `prefers_shared` None: as in Triton, above 48 KiB of dynamic shared memory. Raises
    LaunchError for numbers that no launch can have, CarveoutError for a configuration that the architecture lacks. A
    block that needs more registers or shared memory than the SM has is not an error: it gives 0 blocks, and the reason
    in `cannot_launch`.
    """
    check_launch(launch, limits)
    warps = launch.warps_per_block
    registers_per_warp = _round_up(launch.registers_per_thread * THREADS_PER_WARP, limits.register_allocation_unit)
    allocated_bytes = _round_up(
        launch.shared_mem_bytes + limits.shared_mem_reserved_bytes, limits.shared_mem_allocation_unit_bytes
    )
    limit_warps = limits.max_warps_per_sm // warps
    limit_registers = _limit_registers(registers_per_warp, warps, limits)
    limit_blocks = limit_barriers = limit_shared_mem = limits.max_blocks_per_sm
    if limits.barriers_limit_blocks:
        limit_barriers = min(limit_blocks, limits.barriers_per_sm // max(1, launch.num_barriers))
    if prefers_shared is None:
        prefers_shared = launch.dynamic_shared_mem_bytes > TRITON_PREFERS_SHARED_ABOVE_BYTES
    if shared_mem_config_bytes is not None:
        config_bytes, config_source = _given_config(shared_mem_config_bytes, allocated_bytes, limits)
    elif prefers_shared:
        config_bytes, config_source = limits.max_config_bytes, "prefers-shared"
    else:
        others = min(limit_warps, limit_registers, limit_blocks)
        config_bytes, config_source = _assumed_config_bytes(launch, allocated_bytes, others, limits), "assumed"
    if allocated_bytes:
        limit_shared_mem = config_bytes // allocated_bytes
    named = {BLOCKS: limit_blocks, REGISTERS: limit_registers, SHARED_MEMORY: limit_shared_mem, WARPS: limit_warps}
    cannot_launch = _cannot_launch(launch, limits, registers_per_warp, limit_registers)
    smallest = min(limit_barriers, *named.values())
    blocks = 0 if cannot_launch else smallest
    warps_per_sm = blocks * warps
    waves = None
    if launch.grid_blocks is not None and num_sms and blocks:
        waves = launch.grid_blocks / (num_sms * blocks)
    return Occupancy(
        blocks_per_sm=blocks,
        warps_per_block=warps,
        warps_per_sm=warps_per_sm,
        warps_per_scheduler=max(1.0, warps_per_sm / limits.sub_partitions) if blocks else 0.0,
        theoretical_occupancy_pct=100 * warps_per_sm / limits.max_warps_per_sm,
        limit_registers_blocks=limit_registers,
        limit_shared_mem_blocks=limit_shared_mem,
        limit_warps_blocks=limit_warps,
        limit_blocks_blocks=limit_blocks,
        limit_barriers_blocks=limit_barriers,
        limiters=tuple(name for name, limit in named.items() if limit == smallest),
        registers_allocated_per_thread=registers_per_warp // THREADS_PER_WARP,
        shared_mem_allocated_bytes=allocated_bytes,
        shared_mem_config_bytes=config_bytes,
        shared_mem_config_source=config_source,
        waves_per_sm=waves,
        cannot_launch=cannot_launch,
        max_warps_per_sm=limits.max_warps_per_sm,
        max_warps_per_scheduler=limits.max_warps_per_sm // limits.sub_partitions,
    )


def check_launch(launch: Launch, limits: SmLimits) -> None:
    """Raises LaunchError if a number in `launch` is one that no launch on the architecture can have."""
    ranges = (
        ("threads per block", launch.threads_per_block, 1, limits.max_threads_per_block),
        ("registers per thread", launch.registers_per_thread, 1, limits.max_registers_per_thread),
        ("bytes of dynamic shared memory", launch.dynamic_shared_mem_bytes, 0, None),
        ("bytes of static shared memory", launch.static_shared_mem_bytes, 0, limits.shared_mem_static_bytes),
        ("barriers", launch.num_barriers, 0, 16),
        ("blocks of the grid", launch.grid_blocks, 1, None),
        ("blocks of a cluster", launch.num_ctas, 1, None),
    )
    for what, value, lowest, highest in ranges:
        if value is None or (lowest <= value and (highest is None or value <= highest)):
            continue
        rule = f"at least {lowest}" if highest is None else f"{lowest} to {highest}"
        raise LaunchError(f"{value} {what}: {limits.arch} takes {rule}")


def check_shared_mem(launch: Launch, limits: SmLimits) -> None:
    """Raises LaunchError if a block asks for more shared memory than one may have, opt-in included."""
    if launch.shared_mem_bytes > limits.shared_mem_opt_in_bytes:
        raise LaunchError(
            f"{launch.shared_mem_bytes} bytes of shared memory per block: "
            f"{limits.arch} allows {limits.shared_mem_opt_in_bytes}"
        )


def _limit_registers(registers_per_warp: int, warps: int, limits: SmLimits) -> int:
    if registers_per_warp * _round_up(warps, limits.sub_partitions) > limits.max_registers_per_block:
        return 0
    # each sub-partition has its own register file: what is left over in one is no use to another
    warps_per_sub_partition = limits.registers_per_sm // limits.sub_partitions // registers_per_warp
    return warps_per_sub_partition * limits.sub_partitions // warps


def _given_config(given_bytes: int, allocated_bytes: int, limits: SmLimits) -> tuple[int, ConfigSource]:
    """The given size; if one block does not fit in it, the smallest that it fits in, as in NVIDIA's calculator."""
    if given_bytes not in limits.carveouts_bytes:
        sizes = ", ".join(str(size_bytes) for size_bytes in limits.carveouts_bytes)
        raise CarveoutError(f"{limits.arch} cannot configure its shared memory to {given_bytes} bytes: it has {sizes}")
    if given_bytes >= min(allocated_bytes, limits.max_config_bytes):
        return given_bytes, "given"
    return _smallest_config_bytes(limits, allocated_bytes), "assumed"


def _assumed_config_bytes(launch: Launch, allocated_bytes: int, blocks: int, limits: SmLimits) -> int:
    """The shared-memory size that the driver probably configures on an SM; Nsight Compute divides by it.

    One physical memory serves as L1 cache and as shared memory; the driver splits it for each launch (the carve-out).
    The number of resident blocks does not depend on the split; the shared-memory limit and its ties do. `blocks` is how
    many the registers, the warps and the SM's block slots allow.

    There is room for the blocks that can be resident. If a second block is possible and blocks are not of full size,
    there is room for `carveout_times` as many as the other limits allow, but for no more than 32 blocks or
    `carveout_room_bytes`. In that case a kernel without shared memory of its own gets at least `carveout_least_bytes`.
    Measured on one H100, fitted to public printouts on others (docs/occupancy.md has the counts).
    """
    if allocated_bytes == 0 or blocks == 0:
        return _smallest_config_bytes(limits, allocated_bytes)
    needed_bytes = min(blocks, max(1, limits.max_config_bytes // allocated_bytes)) * allocated_bytes
    if limits.carveout_times > 1 and blocks > 1 and launch.threads_per_block < limits.max_threads_per_block:
        room_bytes = min(limits.carveout_times * blocks, _ROOM_BLOCKS) * allocated_bytes
        if launch.shared_mem_bytes == 0:
            room_bytes = max(room_bytes, limits.carveout_least_bytes)
        needed_bytes = max(needed_bytes, min(room_bytes, limits.carveout_room_bytes))
    return _smallest_config_bytes(limits, needed_bytes)


def _smallest_config_bytes(limits: SmLimits, needed_bytes: int) -> int:
    """The smallest configuration of at least `needed_bytes`, or the largest if none is large enough."""
    large_enough = (size_bytes for size_bytes in limits.carveouts_bytes if size_bytes >= needed_bytes)
    return next(large_enough, limits.max_config_bytes)


def _cannot_launch(launch: Launch, limits: SmLimits, registers_per_warp: int, limit_registers: int) -> str:
    reasons = []
    if launch.shared_mem_bytes > limits.shared_mem_opt_in_bytes:
        reasons.append(
            f"needs {launch.shared_mem_bytes} bytes of shared memory per block, "
            f"{limits.arch} allows {limits.shared_mem_opt_in_bytes}"
        )
    if limit_registers == 0:
        warps = _round_up(launch.warps_per_block, limits.sub_partitions)
        reasons.append(
            f"needs {warps * registers_per_warp} registers per block ({warps} warps of {registers_per_warp}), "
            f"{limits.arch} allows {limits.max_registers_per_block}"
        )
    if launch.num_ctas > limits.max_blocks_per_cluster:
        allowed = limits.max_blocks_per_cluster
        allows = f"allows {allowed}" if allowed > 1 else "has no clusters"
        reasons.append(f"needs a cluster of {launch.num_ctas} blocks, {limits.arch} {allows}")
    return "; ".join(reasons)


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
