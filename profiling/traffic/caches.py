"""What L1, the path between SMs and L2, and L2 take from a trace's accesses, as chances; constants: docs/traffic.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssdprof.profiling.traffic.footprint import Flags, Floats, Ints, footprints, previous
from ssdprof.profiling.traffic.sectors import SECTOR_BYTES
from ssdprof.profiling.traffic.trace import Trace

L2_SHARE = 0.556
"""A reuse is served by L2 half of the time if this share of its size was touched since."""
L2_STEEPNESS = 5.0
"""How sharply the chance of a hit falls around it: the exponent of the ratio."""
DIRTY_SHARE = 0.13
"""Of L2's size, what may hold written data that DRAM has not got when a launch ends."""
COALESCED, COALESCED_BYTES, COALESCED_AT_START = 0.14, 160 * 1024, 0.2
"""Of reads by several SMs at nearly the same time, what one read of L2 serves: of short programs, less of those that
move more than so many bytes, since they drift apart; and what more of the first wave's."""
L1_SHARE, L1_STEEPNESS = 0.7, 2.0
"""As for L2: of a program's part of L1. L1 replaces less strictly."""
AT_ONCE = 0.2
"""Programs read at once if less than this share of a program's duration lies between."""
MOST_PROGRAMS = 1 << 19


@dataclass(frozen=True, slots=True)
class Machine:
    """What the traffic depends on besides the kernel: SMs, blocks that each holds, and cache sizes in bytes."""

    num_sms: int
    blocks_per_sm: int
    l2_bytes: int
    l1_bytes: int

    @property
    def slots(self) -> int:
        """Programs that run at once."""
        return max(1, self.num_sms * self.blocks_per_sm)


def l1_hits(found: Trace, machine: Machine, through_l1: list[bool]) -> Floats:
    """For each access, how likely L1 serves it: what the same program read through it before, by what came between."""
    hits = np.zeros(len(found.sector))
    inside = np.flatnonzero(np.array(through_l1, bool)[found.source] & ~found.writes)
    if not len(inside):
        return hits
    key = found.sector[inside] * MOST_PROGRAMS + found.program[inside]
    before = previous(key)
    again = before >= 0
    passed = found.time[inside[again]] - found.time[inside[before[again]]]
    own_bytes = len(np.unique(key)) * SECTOR_BYTES * found.sampled_of / len(np.unique(found.program))
    distance = passed * own_bytes * machine.blocks_per_sm / max(1, machine.l1_bytes)
    hits[inside[again]] = 1 / (1 + (distance / L1_SHARE) ** L1_STEEPNESS)
    return hits


def coalesced(found: Trace, before: Ints, past_l1: Floats, machine: Machine, program_bytes: float) -> float:
    """How many of the reads past L1 another SM's read of the same sector serves."""
    at_once = _at_once(found, before) * past_l1
    served = COALESCED * COALESCED_BYTES / (COALESCED_BYTES + program_bytes) * float(at_once.sum())
    return served + COALESCED_AT_START * float(at_once[found.program < machine.slots].sum())


def _at_once(found: Trace, before: Ints) -> Flags:
    """Reads of what another program reads at nearly the same time, by pointers: bulk copies are not coalesced."""
    gap = np.where(before >= 0, found.time - found.time[before], np.inf)
    flags: Flags = ~found.writes & ~found.bulk & (gap < AT_ONCE) & (found.program != found.program[before])
    return flags


def l2_misses(found: Trace, before: Ints, machine: Machine, weight: float) -> Floats:
    """For each access, how likely L2 does not have its sector. `weight`: bytes that a sampled sector stands for."""
    missed = np.ones(len(found.sector))
    again = np.flatnonzero(before >= 0)
    if len(again):
        lengths = again - before[again]
        distinct = np.maximum(1.0, footprints(found.sector, before, lengths) * weight)
        missed[again] = 1 / (1 + (L2_SHARE * machine.l2_bytes / distinct) ** L2_STEEPNESS)
    return missed
