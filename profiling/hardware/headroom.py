"""How far a launch is from one more block per SM, and exactly what each number of blocks allows it.

The same formulas as `occupancy`, solved for registers and shared memory. If a launch changes, the driver chooses the
carve-out again, so the largest configuration counts here, whatever size the present launch was given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ssdprof.profiling.hardware.limits import THREADS_PER_WARP, SmLimits
from ssdprof.profiling.hardware.occupancy import Launch, Occupancy, occupancy

CURVE_POINTS = 32


@dataclass(frozen=True, slots=True)
class Allowance:
    """The most a launch may use if `blocks_per_sm` such blocks are to fit: the value for `maxnreg`, bytes per block."""

    blocks_per_sm: int
    theoretical_occupancy_pct: float
    max_registers_per_thread: int
    max_dynamic_shared_mem_bytes: int


@dataclass(frozen=True, slots=True)
class Step:
    """The least to give up for more blocks per SM, in registers per thread and dynamic bytes.

    Everything listed is needed together; 0 if that resource is not in the way. `blocks_per_sm` is what then fits,
    sometimes more than the one additional block asked for.
    """

    blocks_per_sm: int
    theoretical_occupancy_pct: float
    registers_per_thread: int
    registers_fewer: int
    dynamic_shared_mem_bytes: int
    dynamic_shared_mem_fewer_bytes: int


@dataclass(frozen=True, slots=True)
class Headroom:
    """What the SM still has left for a launch.

    `blocks_per_sm` fit at the largest shared-memory configuration. `step` leads to more; it is None if saving registers
    and shared memory cannot get there, and `blocked_by` names what is in the way. `allowances` has every number of
    blocks that the launch's size allows, from 1 upwards.
    """

    blocks_per_sm: int
    step: Step | None
    blocked_by: tuple[str, ...]
    allowances: tuple[Allowance, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """Theoretical occupancy in percent over one property of a launch, the rest unchanged.

    `points` are the property's values, ascending; `present` is the index of the launch's own.
    """

    of: str
    points: tuple[int, ...]
    occupancies_pct: tuple[float, ...]
    present: int


def headroom(launch: Launch, limits: SmLimits) -> Headroom:
    """The headroom of `launch`. Raises LaunchError as `occupancy` does."""
    present = _occupancy_at_most(launch, limits)
    wanted = present.blocks_per_sm + 1
    fixed = {
        "warps": present.limit_warps_blocks,
        "blocks": present.limit_blocks_blocks,
        "barriers": present.limit_barriers_blocks,
        "clusters": 0 if launch.num_ctas > limits.max_blocks_per_cluster else wanted,
        "static shared memory": wanted if _max_dynamic_bytes(launch, limits, wanted) >= 0 else 0,
    }
    blocked_by = tuple(name for name, limit in fixed.items() if limit < wanted)
    most = min(fixed["warps"], fixed["blocks"], fixed["barriers"])
    found = [_allowance(launch, limits, blocks) for blocks in range(1, most + 1)]
    allowances = tuple(one for one in found if one.max_dynamic_shared_mem_bytes >= 0)
    step = None if blocked_by else _step(launch, limits, _allowance(launch, limits, wanted))
    return Headroom(present.blocks_per_sm, step, blocked_by, allowances)


def occupancy_curves(launch: Launch, occ: Occupancy, limits: SmLimits) -> tuple[Curve, ...]:
    """The three curves that ncu shows: over registers, dynamic shared memory in bytes, and threads.

    Each has 32 points; the launch's own replaces the nearest one above it. `occ` is the launch's occupancy: if its
    configured size is too small for the blocks that would otherwise fit, the curves use that size.
    """
    config_bytes = limits.max_config_bytes
    if _occupancy_at_most(launch, limits).blocks_per_sm > occ.blocks_per_sm:
        config_bytes = occ.shared_mem_config_bytes
    highest_bytes = limits.shared_mem_opt_in_bytes - launch.static_shared_mem_bytes
    curves = []
    for of, field, highest in (
        ("registers per thread", "registers_per_thread", limits.max_registers_per_thread),
        ("bytes of dynamic shared memory per block", "dynamic_shared_mem_bytes", highest_bytes),
        ("threads per block", "threads_per_block", limits.max_threads_per_block),
    ):
        value = getattr(launch, field)
        points = [-(-highest * step // CURVE_POINTS) for step in range(1, CURVE_POINTS + 1)]
        present = next((index for index, point in enumerate(points) if point >= value), CURVE_POINTS - 1)
        points[present] = value
        changed = [replace(launch, **{field: point}) for point in points]
        occupancies = [occupancy(one, limits, shared_mem_config_bytes=config_bytes) for one in changed]
        occupancies_pct = tuple(one.theoretical_occupancy_pct for one in occupancies)
        curves.append(Curve(of, tuple(points), occupancies_pct, present))
    return tuple(curves)


def _occupancy_at_most(launch: Launch, limits: SmLimits) -> Occupancy:
    return occupancy(launch, limits, shared_mem_config_bytes=limits.max_config_bytes)


def _step(launch: Launch, limits: SmLimits, allowance: Allowance) -> Step:
    registers = min(launch.registers_per_thread, allowance.max_registers_per_thread)
    dynamic_bytes = min(launch.dynamic_shared_mem_bytes, allowance.max_dynamic_shared_mem_bytes)
    changed = replace(launch, registers_per_thread=registers, dynamic_shared_mem_bytes=dynamic_bytes)
    reached = _occupancy_at_most(changed, limits)
    return Step(
        blocks_per_sm=reached.blocks_per_sm,
        theoretical_occupancy_pct=reached.theoretical_occupancy_pct,
        registers_per_thread=registers,
        registers_fewer=launch.registers_per_thread - registers,
        dynamic_shared_mem_bytes=dynamic_bytes,
        dynamic_shared_mem_fewer_bytes=launch.dynamic_shared_mem_bytes - dynamic_bytes,
    )


def _allowance(launch: Launch, limits: SmLimits, blocks: int) -> Allowance:
    warps_per_sub_partition = -(-blocks * launch.warps_per_block // limits.sub_partitions)
    per_warp = limits.registers_per_sm // limits.sub_partitions // warps_per_sub_partition
    per_warp -= per_warp % limits.register_allocation_unit
    return Allowance(
        blocks_per_sm=blocks,
        theoretical_occupancy_pct=100 * blocks * launch.warps_per_block / limits.max_warps_per_sm,
        max_registers_per_thread=min(limits.max_registers_per_thread, per_warp // THREADS_PER_WARP),
        max_dynamic_shared_mem_bytes=_max_dynamic_bytes(launch, limits, blocks),
    )


def _max_dynamic_bytes(launch: Launch, limits: SmLimits, blocks: int) -> int:
    """Negative if the static and reserved bytes alone are too many for `blocks` blocks."""
    allocated_bytes = limits.max_config_bytes // blocks
    allocated_bytes -= allocated_bytes % limits.shared_mem_allocation_unit_bytes
    own_bytes = min(limits.shared_mem_opt_in_bytes, allocated_bytes - limits.shared_mem_reserved_bytes)
    return own_bytes - launch.static_shared_mem_bytes
