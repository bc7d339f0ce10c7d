"""What L1, the path between SMs and L2, and L2 take from a trace's accesses, as chances; constants: docs/traffic.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssdprof.profiling.traffic.footprint import Floats, Ints, footprints, previous
from ssdprof.profiling.traffic.sectors import SECTOR_BYTES
from ssdprof.profiling.traffic.trace import Trace

L2_SHARE = 0.556
"""A reuse is served by L2 half of the time if this share of its size was touched since."""
L2_STEEPNESS = 5.0
"""How sharply the chance of a hit falls around it: the exponent of the ratio."""
L1_SHARE, L1_STEEPNESS = 1.0, 6.0
"""As for L2, of L1: it replaces nearly what was used longest ago."""
L1_OTHERS = 1.5
"""What other blocks of the SM read through L1 meanwhile, relative to what they do on average."""
NEXT, NEXT_AT_START = 0.14, 0.53
"""Of reads at nearly the same time as the same read of the program next to it, what one read of L2 serves; and what
more of those of the first wave, which starts all at once. Next programs run on SMs that are next to each other."""
OTHERS, OTHERS_AT_START = 0.023, 0.14
"""The same, if the other program is farther away."""
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


@dataclass(frozen=True, slots=True)
class Spilled:
    """Registers in local memory: bytes stored and loaded by all threads, and what the blocks of an SM hold there."""

    store_bytes: float
    load_bytes: float
    held_bytes: float


def spilled_to_l2(spilled: Spilled, machine: Machine) -> tuple[float, float]:
    """Bytes that spills read from L2 and write to it: L1 writes all through, and shares its room with other data."""
    missed = spilled.held_bytes / max(1.0, spilled.held_bytes + machine.l1_bytes)
    return spilled.load_bytes * missed, spilled.store_bytes


def l1_hits(found: Trace, machine: Machine) -> Floats:
    """For each access, how likely L1 serves it: what its program read through L1 since it read the same so."""
    hits = np.zeros(len(found.sector))
    inside = np.flatnonzero(found.cached)
    before = previous(found.sector[inside] * MOST_PROGRAMS + found.program[inside])
    again = before >= 0
    own = found.cached_before[inside[again]] - found.cached_before[inside[before[again]]]
    meanwhile = found.time[inside[again]] - found.time[inside[before[again]]]
    others = L1_OTHERS * (machine.blocks_per_sm - 1) * found.cached_mean * meanwhile
    share = (own + others) * (SECTOR_BYTES / max(1, machine.l1_bytes))
    hits[inside[again]] = 1 / (1 + (share / L1_SHARE) ** L1_STEEPNESS)
    return hits


def coalesced(found: Trace, before: Ints, past_l1: Floats, machine: Machine) -> float:
    """How many of the reads past L1 another SM's read of the same sector serves: none of bulk copies."""
    with_one = np.flatnonzero(~found.writes & ~found.bulk & (before >= 0))
    apart = np.abs(found.program[with_one] - found.program[before[with_one]])
    gap = found.time[with_one] - found.time[before[with_one]]
    weight = past_l1[with_one] * ((apart > 0) & (gap < AT_ONCE))
    starting = found.program[with_one] < machine.slots
    shares = np.where(apart == 1, NEXT + NEXT_AT_START * starting, OTHERS + OTHERS_AT_START * starting)
    return float((weight * shares).sum())


def written_back(written_bytes: float, read_bytes: float, machine: Machine) -> float:
    """Bytes that DRAM has got when a launch ends, of distinct bytes written. `read_bytes`: from DRAM.

    L2 then still holds the last that came into it, of reads and writes alike, up to the share of its size it keeps.
    """
    share = written_bytes / max(1.0, written_bytes + read_bytes)
    return written_bytes - min(written_bytes, share * L2_SHARE * machine.l2_bytes)


def l2_misses(found: Trace, before: Ints, machine: Machine) -> Floats:
    """For each access, how likely L2 does not have its sector."""
    missed = np.ones(len(found.sector))
    again = np.flatnonzero(before >= 0)
    if len(again):
        lengths = again - before[again]
        distinct = np.maximum(1.0, footprints(found.sector, before, lengths) * (SECTOR_BYTES * found.sampled_of))
        missed[again] = 1 / (1 + (L2_SHARE * machine.l2_bytes / distinct) ** L2_STEEPNESS)
    return missed
