"""What L1, the path between SMs and L2, and L2 take from a trace's accesses, as chances; constants: docs/traffic.md."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ssdprof.profiling.traffic.footprint import Flags, Floats, Ints, footprints, in_order, previous
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
SMS_PER_GPC = 16.5
"""Programs are placed GPC by GPC: on an H200, so many of the first ones that follow each other in the grid share one.
Reads of the same by SMs of one GPC are served by one read of L2 if they come at nearly the same time."""
AT_ONCE, NEARLY_AT_ONCE = 213.0, 4000.0
"""Two reads come at once, or nearly, if an SM moves fewer sectors than this between them."""
IN_STEP, BESIDE, LONG, UNEVEN = 0.777, 0.889, 123_000.0, 20.0
"""Of reads at once in a GPC, the share that others serve if programs are long, of equal length, and each has an SM
alone. Several on an SM: by 1 / (1 + `BESIDE`) less; `LONG`: programs of so many sectors have half, as those that read
together keep step the better the longer they do; programs of unequal length do not keep step."""
AT_START, CROWDED = 0.705, 0.079
"""The same share of the first wave, which starts all at once; and what each further block of an SM takes off it."""
BETWEEN_GPCS = 0.096
"""The share of reads nearly at once in different GPCs, but for the first wave and bulk copies."""
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
    """For each access, how likely L1 serves it: what its SM read through L1 since it read the same so."""
    hits = np.zeros(len(found.sector))
    sm = found.place % machine.num_sms
    inside = np.flatnonzero(found.cached)
    inside = inside[in_order(sm[inside])]
    before = previous(found.sector[inside] * machine.num_sms + sm[inside])
    again = np.flatnonzero(before >= 0)
    after, first = inside[again], inside[before[again]]
    own = found.cached_before[after] - found.cached_before[first]  # exact, while ranks are of sampled sectors
    meanwhile = found.time[after] - found.time[first]
    others = L1_OTHERS * (machine.blocks_per_sm - 1) * found.cached_mean * meanwhile
    is_own = found.program[after] == found.program[first]
    between = np.where(is_own, own + others, (again - before[again]) * found.sampled_of)
    share = between * (SECTOR_BYTES / max(1, machine.l1_bytes))
    hits[after] = 1 / (1 + (share / L1_SHARE) ** L1_STEEPNESS)
    return hits


def coalesced(found: Trace, past_l1: Floats, machine: Machine) -> float:
    """How many of the reads past L1 another SM's read of the same sector serves."""
    reads = np.flatnonzero(~found.writes)
    reads = reads[in_order(found.sector[reads])]
    sector, program = found.sector[reads], found.program[reads]
    running = min(machine.slots, int(found.program.max(initial=0)) + 1)
    moved = np.diff(found.time[reads]) * (found.duration * running / machine.num_sms)
    moved[sector[1:] != sector[:-1]] = np.inf
    gpc = (found.place[reads] % machine.num_sms / SMS_PER_GPC).astype(np.int64)
    served = _after_first(moved >= AT_ONCE, gpc)
    nearly = ~served & np.concatenate([[False], moved < NEARLY_AT_ONCE])
    starting = program < machine.slots
    beside = running / machine.num_sms
    in_step = IN_STEP / (1 + BESIDE * (beside > 1)) * found.duration / (found.duration + LONG)
    in_step /= 1 + UNEVEN * found.uneven
    started = AT_START / (1 + CROWDED * max(0.0, math.ceil(beside) - 1))
    between = nearly & ~starting & ~found.bulk[reads]
    shares = np.where(starting, started, in_step) * served + BETWEEN_GPCS * between
    return float((past_l1[reads] * shares).sum())


def _after_first(parted: Flags, group: Ints) -> Flags:
    """Of reads in order, parted into runs between them, those whose group has read before in their run."""
    run = np.concatenate([[0], np.cumsum(parted)])
    return previous(run * (int(group.max(initial=0)) + 1) + group) >= 0


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
