"""The traffic of a launch: its programs' accesses, followed through L1 and L2.

Nothing here knows a kernel. What the constants stand for, and how far the results are from Nsight Compute's counters,
is in docs/traffic.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np

from ssdprof.kernels.launch import LaunchPlan, TensorMeta
from ssdprof.profiling.runs.traffic import TensorTraffic, Traffic
from ssdprof.profiling.traffic import pilot as pilots
from ssdprof.profiling.traffic.access import Access
from ssdprof.profiling.traffic.arguments import addresses, arguments, owner
from ssdprof.profiling.traffic.bypass import past_l1
from ssdprof.profiling.traffic.caches import (
    MOST_PROGRAMS,
    Machine,
    Spilled,
    coalesced,
    l1_hits,
    l2_misses,
    spilled_to_l2,
    written_back,
)
from ssdprof.profiling.traffic.contents import Contents
from ssdprof.profiling.traffic.evaluate import Evaluator, TooLongError
from ssdprof.profiling.traffic.footprint import Floats, Ints, distinct, in_order, previous
from ssdprof.profiling.traffic.sectors import SECTOR_BYTES
from ssdprof.profiling.traffic.trace import Accesses, Trace, accesses
from ssdprof.profiling.traffic.ttir import Operation, Program
from ssdprof.profiling.traffic.values import Array, Mask

_PAST_L1 = re.compile(r"cacheModifier = (cg|cv)")
_PRIMES = (1, 3, 7, 13, 31, 61, 127, 251, 509, 1021, 2039, 4093, 8191)
_SAMPLED_ACCESSES = 300_000
_MOST_KNOWN = 4
"""Some 30 MB each."""
_FOLLOWED_OF_L2, _FOLLOWED_WAVES = 32.0, 8
"""Of a large grid, its first programs are followed: until they moved so many times the size of L2, in so many waves."""


class Follower:
    """A kernel's launch whose programs can be followed. `ttir` is what Triton made of it.

    `contents`: what tensors hold on which addresses depend, as far as it is known, as `Peekable.contents` gives it.
    Launches that differ only in their options, such as warps and stages, have one TTIR: what does not depend on these
    is followed once. What does is kept for the launches that follow, for each of a few sets of loads that go past L1.
    """

    def __init__(
        self,
        plan: LaunchPlan,
        tensors: Mapping[str, TensorMeta],
        ttir: str,
        contents: Mapping[str, Array] | None = None,
    ) -> None:
        self.plan, self.program = plan, Program(ttir)
        self.places = addresses(tensors)
        self.arguments = arguments(plan, self.places, [name.lstrip("%") for name, _ in self.program.kernel.arguments])
        self.owner = owner(tensors, self.places)
        self.sizes_bytes = {name: meta.size_bytes for name, meta in tensors.items()}
        self.contents = Contents(contents, self.places) if contents else None
        self.count = prod(plan.grid)
        functions = self.program.functions.values()
        self._loads = {_line(one) for function in functions for one in function.operations() if one.name == "tt.load"}
        self._known: dict[object, _Known] = {}

    @property
    def pilot(self) -> pilots.Pilot:
        """What a sample of programs does. Raises TooLongError."""
        if self._sampled is None:
            raise TooLongError
        return self._sampled

    @cached_property
    def _sampled(self) -> pilots.Pilot | None:
        with suppress(TooLongError):
            return pilots.pilot(self._evaluator, self.program, self.count)
        return None

    def traffic(self, machine: Machine, ptx: str = "", spilled: Spilled | None = None) -> Traffic:
        """What the launch moves on a machine, as its PTX loads and its machine code spills. Raises TooLongError."""
        pilot = self.pilot
        total = max(1.0, (pilot.read_bytes + pilot.write_bytes) / SECTOR_BYTES)
        followed = _FOLLOWED_OF_L2 * machine.l2_bytes / max(1.0, total * SECTOR_BYTES / self.count)
        count = min(self.count, MOST_PROGRAMS, max(machine.slots * _FOLLOWED_WAVES, round(followed)))
        share = count / self.count
        one_of = next((one for one in _PRIMES if total * share / one < _SAMPLED_ACCESSES), _PRIMES[-1])
        known = self._followed(count, one_of, past_l1(ptx) & self._loads)
        weight = SECTOR_BYTES * one_of / share
        summed = self._summed(*known.reuse(machine), machine, pilot, known.names, weight, count)
        if spilled is None:
            return summed
        read_bytes, write_bytes = spilled_to_l2(spilled, machine)
        return replace(
            summed,
            l2_to_sm_read_bytes=summed.l2_to_sm_read_bytes + round(read_bytes),
            l2_to_sm_write_bytes=summed.l2_to_sm_write_bytes + round(write_bytes),
        )

    def trips(self) -> tuple[pilots.Trips, ...]:
        """How often each loop of the kernel runs, in the order of its TTIR: of a sample of programs, on average.

        Raises TooLongError.
        """
        return self.pilot.trips

    def _followed(self, count: int, one_of: int, past: frozenset[str]) -> _Known:
        """The accesses of the first `count` programs. `past`: where the loads stand that go past L1."""
        key = count, one_of, past
        if key not in self._known:
            names: dict[str, int] = {}

            def source_of(address: int) -> int:
                return names.setdefault(self.owner(address), len(names))

            found = accesses(
                self._evaluator, np.arange(count), one_of, source_of, lambda access: _through_l1(access, past)
            )
            if len(self._known) == _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[key] = _Known(found, list(names))
        return self._known[key]

    def _evaluator(
        self,
        on_access: Callable[[Access], None] = lambda _: None,
        on_loop: Callable[[Operation, Array, Mask], None] | None = None,
        on_work: Callable[[Operation, Mask], None] | None = None,
    ) -> Evaluator:
        return Evaluator(
            self.program,
            self.arguments,
            self.plan.grid,
            on_access=on_access,
            on_loop=on_loop,
            on_work=on_work,
            memory=self.contents.at if self.contents else None,
        )

    def _summed(
        self,
        found: Trace,
        before: Ints,
        misses: Floats,
        machine: Machine,
        pilot: pilots.Pilot,
        names: list[str],
        weight: float,
        followed: int,
    ) -> Traffic:
        reads = ~found.writes
        # exact from the programs' own sectors, less what L1 and coalescing take, as shares of the sampled accesses
        past_l1 = reads * (1.0 - l1_hits(found, machine))
        served = coalesced(found, past_l1, machine)
        kept = (float(past_l1.sum()) - served) / max(1, int(reads.sum()))
        if followed < self.count:
            self._rest_of_grid(found, before, misses, names, weight)
        read_misses = misses * past_l1
        read_bytes = float(read_misses.sum()) * weight
        written = written_back(distinct(found.sector[found.writes]) * weight, read_bytes, machine)
        tensors = _tensors(
            found, before, read_misses, past_l1, names, weight, self.sizes_bytes if followed < self.count else {}
        )
        return Traffic(
            least_bytes=sum(one.least_bytes for one in tensors),
            l2_to_sm_read_bytes=round(pilot.read_bytes * kept),
            l2_to_sm_write_bytes=round(pilot.write_bytes),
            dram_read_bytes=round(read_bytes),
            dram_write_bytes=round(written),
            tensors=tensors,
            dependent=pilot.dependent,
            programs=followed,
            masked_pct=100 * (1 - pilot.elements / pilot.places) if pilot.places else 0.0,
            tensor_flops=pilot.tensor_flops,
            special_results=pilot.special_results,
        )

    def _rest_of_grid(self, found: Trace, before: Ints, misses: Floats, names: list[str], weight: float) -> None:
        """Corrects misses for programs that were not followed: they read again what those before them read first.

        A tensor is read for the first time once. What would exceed its size is as likely to miss as other reads again.
        """
        reads = ~found.writes
        for i, name in enumerate(names):
            own = reads & (found.source == i)
            first, again = own & (before < 0), own & (before >= 0)
            size_bytes = self.sizes_bytes.get(name, 0)
            read_bytes = float(first.sum()) * weight
            if read_bytes > size_bytes > 0:
                new = size_bytes / read_bytes
                misses[first] = new + (1 - new) * (float(misses[again].mean()) if again.any() else 1.0)


@dataclass(slots=True)
class _Known:
    """Accesses, the names of what they belong to, and of the last number of programs at once what comes of them."""

    accesses: Accesses
    names: list[str]
    _last: tuple[object, Trace, Ints, Floats] | None = None

    def reuse(self, machine: Machine) -> tuple[Trace, Ints, Floats]:
        """In order of time: the accesses, the place of the one before to the same, and how likely L2 misses each."""
        key = machine.slots, machine.l2_bytes
        if self._last is None or self._last[0] != key:
            found = self.accesses.trace(machine.slots)
            before = previous(found.sector)
            self._last = key, found, before, l2_misses(found, before, machine)
        _, found, before, misses = self._last
        return found, before, misses.copy()


def _line(operation: Operation) -> str:
    """Where an operation stands in the source."""
    return operation.place.rpartition(">")[2]


def _through_l1(access: Access, past: frozenset[str]) -> bool:
    """Whether L1 keeps what is read, if the loads at these places go past it."""
    if access.kind != "load" or access.bulk or _PAST_L1.search(access.operation.attributes):
        return False
    return _line(access.operation) not in past


def _tensors(
    found: Trace,
    before: Ints,
    misses: Floats,
    past_l1: Floats,
    names: list[str],
    weight: float,
    most_bytes: Mapping[str, int],
) -> tuple[TensorTraffic, ...]:
    """What each tensor has of the traffic. `most_bytes`: what can be read of it for the first time, if that is less."""
    rows = []
    order = in_order(found.source)
    bounds = np.searchsorted(found.source[order], np.arange(len(names) + 1))
    for name, begin, end in zip(names, bounds, bounds[1:], strict=False):
        own = order[begin:end]
        is_write = found.writes[own]
        reads, writes = own[~is_write], own[is_write]
        again = reads[before[reads] >= 0]
        most = most_bytes.get(name, math.inf)
        first_bytes = min((len(reads) - len(again)) * weight, most)
        written_bytes = min(distinct(found.sector[writes]) * weight, most)
        read_bytes = float(misses[reads].sum()) * weight
        row = TensorTraffic(
            name,
            least_bytes=round(first_bytes + written_bytes),
            l2_to_sm_bytes=round((float(past_l1[own].sum()) + len(writes)) * weight),
            dram_bytes=round(read_bytes + written_bytes),
            again_bytes=round(max(0.0, read_bytes - first_bytes)) if len(again) else 0,
            again_after=_apart(found, before, again, misses),
        )
        rows.append(row)
    return tuple(sorted(rows, key=lambda row: -row.dram_bytes))


def _apart(found: Trace, before: Ints, again: Ints, misses: Floats) -> int | None:
    """How many programs lie between two reads of the same, of those that miss: the median; None if none misses."""
    where = again[misses[again] > 0.5]
    if not len(where):
        return None
    return int(np.median(np.abs(found.program[where] - found.program[before[where]])))
