"""What can limit the blocks on an SM, named here and nowhere else: the field with the limit, and ncu's words for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

REGISTERS, SHARED_MEMORY, WARPS, BLOCKS, BARRIERS = "registers", "shared memory", "warps", "blocks", "barriers"


@dataclass(frozen=True, slots=True)
class Limiter:
    """One limiter. `field` of an `Occupancy` holds its limit in blocks; `phrase` is from ncu's rule."""

    name: str
    short: str
    field: str
    phrase: str
    section_row: str


_NAMED = (
    Limiter(BLOCKS, "blocks", "limit_blocks_blocks", "the number of blocks that can fit on the SM", "SM"),
    Limiter(REGISTERS, "regs", "limit_registers_blocks", "the number of required registers", "Registers"),
    Limiter(SHARED_MEMORY, "smem", "limit_shared_mem_blocks", "the required amount of shared memory", "Shared Mem"),
    Limiter(WARPS, "warps", "limit_warps_blocks", "the number of warps within each block", "Warps"),
)
LIMITERS: Mapping[str, Limiter] = MappingProxyType({one.name: one for one in _NAMED})
"""Those that ncu names, in its order."""
BARRIER_LIMITER = Limiter(
    BARRIERS, "barriers", "limit_barriers_blocks", "the number of barriers within each block", "Barriers"
)
"""Ncu has a limit for barriers but no name for them; we name them if they alone limit."""
