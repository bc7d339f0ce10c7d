"""The traffic of a launch: its programs' accesses, followed through L1 and L2.

Nothing here knows a kernel. What the constants stand for, and how far the results are from Nsight Compute's counters,
is in docs/traffic.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from ssdprof.kernels.launch import LaunchPlan, TensorMeta
from ssdprof.profiling.runs.traffic import TensorTraffic, Traffic
from ssdprof.profiling.traffic.arguments import addresses, arguments, owner
from ssdprof.profiling.traffic.bypass import past_l1
from ssdprof.profiling.traffic.evaluate import Access, Evaluator, TooLongError
from ssdprof.profiling.traffic.footprint import Flags, Floats, Ints, footprints, previous
from ssdprof.profiling.traffic.sectors import SECTOR_BYTES, touched
from ssdprof.profiling.traffic.trace import Trace, trace
from ssdprof.profiling.traffic.ttir import Operation, Program
from ssdprof.profiling.traffic.values import Array, Mask

L2_SHARE = 0.556
"""A reuse is served by L2 half of the time if this share of its size was touched since. Fitted: docs/traffic.md."""
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
_PAST_L1 = re.compile(r"cacheModifier = (cg|cv)")
_PRIMES = (1, 3, 7, 13, 31, 61, 127, 251, 509, 1021, 2039, 4093, 8191)
_SAMPLED_ACCESSES = 300_000
_PILOT = 1024
_MOST_PROGRAMS = 1 << 19


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
class Trips:
    """Rounds of a loop per program, over all its `entries` per program; `spread`: (rounds each time, their share)."""

    mean_trips: float
    entries: float
    spread: tuple[tuple[int, float], ...]


@dataclass
class _Pilot:
    """What a sample of programs, spread over the grid, does: bytes of all programs, by direction."""

    read_bytes: float = 0.0
    write_bytes: float = 0.0
    elements: float = 0.0
    places: float = 0.0


class Follower:
    """A kernel's launch whose programs can be followed. `ttir` and `ptx` are what Triton made of it."""

    def __init__(self, plan: LaunchPlan, tensors: Mapping[str, TensorMeta], ttir: str, ptx: str) -> None:
        self.plan, self.program = plan, Program(ttir)
        self.places = addresses(tensors)
        self.arguments = arguments(plan, self.places)
        self.owner = owner(tensors, self.places)
        self.past_l1 = past_l1(ptx)
        self.dependent: dict[str, None] = {}
        self.count = prod(plan.grid)

    def traffic(self, machine: Machine) -> Traffic:
        """What the launch moves on a machine."""
        pilot = self._pilot()
        total = max(1.0, (pilot.read_bytes + pilot.write_bytes) / SECTOR_BYTES)
        count = min(self.count, _MOST_PROGRAMS)
        share = count / self.count
        one_of = next((one for one in _PRIMES if total * share / one < _SAMPLED_ACCESSES), _PRIMES[-1])
        sources: dict[tuple[str, bool], int] = {}

        def source_of(access: Access, names: list[str]) -> Ints:
            through_l1 = self._through_l1(access)
            return np.array([sources.setdefault((name, through_l1), len(sources)) for name in names])

        found = trace(self._evaluator, np.arange(count), machine.slots, one_of, source_of, self.owner, staggered=False)
        weight = SECTOR_BYTES * one_of / share
        return self._summed(found, machine, pilot, list(sources), weight)

    def trips(self) -> tuple[Trips, ...]:
        """How often each loop of the kernel runs, in the order of its TTIR: of a sample of programs, on average."""
        chosen = _spread(self.count)
        loops = [one for one in self.program.kernel.operations() if one.name in ("scf.for", "scf.while")]
        entries = {id(one): 0.0 for one in loops}
        rounds: dict[int, dict[int, float]] = {id(one): {} for one in loops}

        def on_loop(operation: Operation, trips: Array, active: Mask) -> None:
            if id(operation) not in entries:  # of a function that is called
                return
            each, inside = np.broadcast_arrays(trips.reshape(-1), active.dense().reshape(-1))
            weight = len(chosen) / len(each)
            values, counts = np.unique(each[inside], return_counts=True)
            entries[id(operation)] += float(inside.sum()) * weight
            for value, count in zip(values.tolist(), counts.tolist(), strict=True):
                known = rounds[id(operation)]
                known[value] = known.get(value, 0.0) + count * weight

        Evaluator(self.program, self.arguments, self.plan.grid, on_access=lambda _: None, on_loop=on_loop).run(chosen)
        found = []
        for one in loops:
            entered, each = entries[id(one)], rounds[id(one)]
            mean = sum(value * count for value, count in each.items()) / len(chosen)
            spread = tuple((value, count / entered) for value, count in sorted(each.items())) if len(each) > 1 else ()
            found.append(Trips(mean, entered / len(chosen), spread))
        return tuple(found)

    def _evaluator(
        self, on_access: Callable[[Access], None], on_work: Callable[[Operation, Mask], None] | None = None
    ) -> Evaluator:
        return Evaluator(self.program, self.arguments, self.plan.grid, on_access=on_access, on_work=on_work)

    def _through_l1(self, access: Access) -> bool:
        operation = access.operation
        if access.kind != "load" or access.bulk or _PAST_L1.search(operation.attributes):
            return False
        return operation.place.rpartition(">")[2] not in self.past_l1

    def _pilot(self) -> _Pilot:
        chosen = _spread(self.count)
        found, weight = _Pilot(), self.count / len(chosen)

        def on_access(access: Access) -> None:
            if access.reason:
                self.dependent[f"{access.operation.name.partition('.')[2]}: {access.reason}"] = None
            for one in touched(access, len(chosen)):
                size = len(one.programs) * weight
                if access.kind == "load":
                    found.read_bytes += len(one.sectors) * SECTOR_BYTES * size
                else:
                    found.write_bytes += len(one.sectors) * SECTOR_BYTES * size
                found.elements += one.elements * size
                found.places += prod(access.tile) * size

        self._evaluator(on_access).run(chosen)
        return found

    def _summed(
        self, found: Trace, machine: Machine, pilot: _Pilot, sources: list[tuple[str, bool]], weight: float
    ) -> Traffic:
        before = previous(found.sector)
        reads = ~found.writes
        # exact from the programs' own sectors, less what L1 and coalescing take, as shares of the sampled accesses
        past_l1 = reads * (1.0 - _l1_hits(found, machine, [through for _, through in sources]))
        at_once = _at_once(found, before) * past_l1
        program_bytes = (pilot.read_bytes + pilot.write_bytes) / self.count
        served = COALESCED * COALESCED_BYTES / (COALESCED_BYTES + program_bytes) * at_once.sum()
        served += COALESCED_AT_START * at_once[found.program < machine.slots].sum()
        kept = (past_l1.sum() - served) / max(1, int(reads.sum()))
        read_misses = _l2_misses(found, before, machine, weight) * past_l1
        unique_writes = np.unique(found.sector[found.writes]).size * weight
        written = unique_writes - min(unique_writes, DIRTY_SHARE * machine.l2_bytes)
        tensors = self._tensors(found, before, read_misses, past_l1, sources, weight)
        return Traffic(
            least_bytes=sum(one.least_bytes for one in tensors),
            l2_to_sm_read_bytes=round(pilot.read_bytes * kept),
            l2_to_sm_write_bytes=round(pilot.write_bytes),
            dram_read_bytes=round(float(read_misses.sum()) * weight),
            dram_write_bytes=round(written),
            tensors=tensors,
            dependent=tuple(self.dependent),
            programs=min(self.count, _MOST_PROGRAMS),
            masked_pct=100 * (1 - pilot.elements / pilot.places) if pilot.places else 0.0,
        )

    def _tensors(
        self,
        found: Trace,
        before: Ints,
        misses: Floats,
        past_l1: Floats,
        sources: list[tuple[str, bool]],
        weight: float,
    ) -> tuple[TensorTraffic, ...]:
        names = list(dict.fromkeys(name for name, _ in sources))
        which = np.array([names.index(name) for name, _ in sources], np.int64)[found.source]
        rows = []
        for i, name in enumerate(names):
            own = which == i
            reads = own & ~found.writes
            writes = own & found.writes
            first_reads = reads & (before < 0)
            written = np.unique(found.sector[writes]).size
            least = int(first_reads.sum()) + written
            dram = float(misses[reads].sum()) + written
            again = max(0.0, float(misses[reads & (before >= 0)].sum()))
            through = float(past_l1[own].sum()) + int(writes.sum())
            sizes = (round(one * weight) for one in (least, through, dram, again))
            rows.append(TensorTraffic(name, *sizes, _apart(found, before, reads & (before >= 0), misses)))
        return tuple(sorted(rows, key=lambda row: -row.dram_bytes))


def _apart(found: Trace, before: Ints, again: Flags, misses: Floats) -> int | None:
    """How many programs lie between two reads of the same, of those that miss: the median; None if none misses."""
    where = np.flatnonzero(again & (misses > 0.5))
    if not len(where):
        return None
    return int(np.median(np.abs(found.program[where] - found.program[before[where]])))


def _spread(count: int) -> Ints:
    """Some programs, one at random of each stretch of the grid: grids have periods that a regular sample would meet."""
    if count <= _PILOT:
        return np.arange(count)
    at = np.arange(_PILOT) + np.random.default_rng(0).random(_PILOT)
    return (at * count / _PILOT).astype(np.int64)


def _at_once(found: Trace, before: Ints) -> Flags:
    """Reads of what another program reads at nearly the same time, by pointers: bulk copies are not coalesced."""
    gap = np.where(before >= 0, found.time - found.time[before], np.inf)
    flags: Flags = ~found.writes & ~found.bulk & (gap < AT_ONCE) & (found.program != found.program[before])
    return flags


def _l1_hits(found: Trace, machine: Machine, through_l1: list[bool]) -> Floats:
    """For each access, how likely L1 serves it: what the same program read through it before, by what came between."""
    hits = np.zeros(len(found.sector))
    inside = np.flatnonzero(np.array(through_l1, bool)[found.source] & ~found.writes)
    if not len(inside):
        return hits
    key = found.sector[inside] * _MOST_PROGRAMS + found.program[inside]
    before = previous(key)
    again = before >= 0
    passed = found.time[inside[again]] - found.time[inside[before[again]]]
    own_bytes = len(np.unique(key)) * SECTOR_BYTES * found.sampled_of / len(np.unique(found.program))
    distance = passed * own_bytes * machine.blocks_per_sm / max(1, machine.l1_bytes)
    hits[inside[again]] = 1 / (1 + (distance / L1_SHARE) ** L1_STEEPNESS)
    return hits


def _l2_misses(found: Trace, before: Ints, machine: Machine, weight: float) -> Floats:
    """For each access, how likely L2 does not have its sector."""
    missed = np.ones(len(found.sector))
    again = np.flatnonzero(before >= 0)
    if len(again):
        lengths = again - before[again]
        distinct = np.maximum(1.0, footprints(found.sector, before, lengths) * weight)
        missed[again] = 1 / (1 + (L2_SHARE * machine.l2_bytes / distinct) ** L2_STEEPNESS)
    return missed


def traffic(
    plan: LaunchPlan, tensors: Mapping[str, TensorMeta], ttir: str, ptx: str, machine: Machine
) -> Traffic | None:
    """The traffic of one launch; None if following its programs takes too long."""
    try:
        return Follower(plan, tensors, ttir, ptx).traffic(machine)
    except TooLongError:
        return None
