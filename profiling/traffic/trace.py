"""The accesses of a stretch of programs in the order in which a GPU makes them, of a sample of lines."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ssdprof.profiling.traffic.access import Access
from ssdprof.profiling.traffic.pilot import Make, amount
from ssdprof.profiling.traffic.sectors import LINE_BYTES, SECTOR_BYTES, touched
from ssdprof.profiling.traffic.ttir import Operation
from ssdprof.profiling.traffic.values import Mask

_PER_LINE = LINE_BYTES // SECTOR_BYTES
FLOPS_PER_SECTOR, SPECIAL_PER_SECTOR = 1000.0, 16.0
"""What takes about as long as a sector from L2, on GPUs from A100 on: of programs that run beside each other, those
that compute more fall behind."""


Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trace:
    """Accesses in order of time: sector, program, whether it writes, which operation, and when.

    `time` is in mean durations of a program, each of which takes as long as `duration` sectors;
    `uneven`: their standard deviation over their mean. `place`: where its
    program runs, of those that run at once. `bulk`: by the tensor memory accelerator. `cached`: reads that L1 keeps;
    `cached_before`: how many such sectors the program read before, `cached_mean`: how many programs read on average.
    The sectors are those of every `sampled_of`-th line.
    """

    sector: Ints
    program: Ints
    place: Ints
    writes: NDArray[np.bool_]
    source: Ints
    time: NDArray[np.float64]
    bulk: NDArray[np.bool_]
    cached: NDArray[np.bool_]
    cached_before: Ints
    cached_mean: float
    duration: float
    uneven: float
    sampled_of: int


def sampled(first: Ints, sectors: Ints, one_of: int) -> tuple[Ints, Ints]:
    """Of the sectors `first[i] + sectors[j]`, those of every `one_of`-th line: the i and the j of each.

    A prime `one_of` meets every stride that kernels have. Only what is kept is ever made: `sectors` are sorted by what
    is left of their line, so that each offset finds its own among them.
    """
    if one_of == 1:
        return np.repeat(np.arange(len(first)), len(sectors)), np.tile(np.arange(len(sectors)), len(first))
    lines = sectors // _PER_LINE  # offsets are of whole lines
    left = lines % one_of
    order = np.argsort(left, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(left, minlength=one_of))])
    wanted = -(first // _PER_LINE) % one_of
    counts = ends[wanted + 1] - ends[wanted]
    which = np.repeat(np.arange(len(first)), counts)
    within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    return which, order[ends[wanted[which]] + within]


def starts(durations: NDArray[np.float64], slots: int) -> tuple[NDArray[np.float64], Ints]:
    """When and where each program starts if so many run at once, each as long as it takes, the next where one ends."""
    every = durations.tolist()
    begin, places = [0.0] * min(slots, len(every)), list(range(min(slots, len(every))))
    free = list(zip(every, places, strict=False))
    heapq.heapify(free)
    for duration in every[slots:]:
        start, place = free[0]
        begin.append(start)
        places.append(place)
        heapq.heapreplace(free, (start + duration, place))
    return np.array(begin, np.float64), np.array(places, np.int64)


@dataclass(slots=True)
class Accesses:
    """What programs access, whatever runs at once, in the order in which it was followed.

    Of each access: sector, program, how long after its program's begin, sectors read through L1 before; of each stretch
    of them: how many, and (source, whether it writes, bulk, cached). `durations`: of the programs.
    """

    sector: Ints
    program: Ints
    since: NDArray[np.float64]
    before: Ints
    lengths: Ints
    flags: tuple[NDArray[Any], ...]
    durations: NDArray[np.float64]
    cached_mean: float
    sampled_of: int

    def trace(self, slots: int) -> Trace:
        """The same in the order of time, if so many programs run at once."""
        begin, places = starts(self.durations, slots)
        time = begin[self.program] + self.since
        at = np.argsort(time, kind="stable")
        of_part = np.repeat(np.arange(len(self.lengths)), self.lengths)[at]
        source, writes, bulk, keeps = self.flags
        return Trace(
            self.sector[at],
            self.program[at],
            places[self.program[at]],
            writes[of_part],
            source[of_part],
            time[at] / float(self.durations.mean()),
            bulk[of_part],
            keeps[of_part],
            self.before[at],
            self.cached_mean,
            float(self.durations.mean()),
            float(self.durations.std() / self.durations.mean()),
            self.sampled_of,
        )


def accesses(
    make: Make, programs: Ints, one_of: int, source_of: Callable[[int], int], cached: Callable[[Access], bool]
) -> Accesses:
    """What these programs, consecutive in the grid, access.

    `source_of`: a number for what an address belongs to; `cached`: whether L1 keeps what it reads.
    """
    count = len(programs)
    done = np.zeros(count, np.float64)  # sectors so far, and work as so many sectors, by program
    through_l1 = np.zeros(count, np.int64)
    flags: list[tuple[int, int, bool, bool, bool]] = []
    parts: list[tuple[Ints, Ints, NDArray[np.float64], Ints]] = []

    def on_access(access: Access) -> None:
        keeps = cached(access)
        for one in touched(access, count):
            source = source_of(int(one.first[0] + one.sectors[0]) * SECTOR_BYTES)
            which, place = sampled(one.first, one.sectors, one_of)
            program = one.programs[which]
            sectors = one.first[which] + one.sectors[place]
            parts.append((sectors, program, done[program], through_l1[program] + place))
            flags.append((len(place), source, access.kind != "load", access.bulk, keeps))
            done[one.programs] += len(one.sectors)
            if keeps:
                through_l1[one.programs] += len(one.sectors)

    def on_work(operation: Operation, active: Mask) -> None:
        flops, special = amount(operation)
        takes = flops / FLOPS_PER_SECTOR + special / SPECIAL_PER_SECTOR
        done[...] += np.where(active.dense().reshape(-1), takes, 0.0)

    make(on_access=on_access, on_work=on_work).run(programs)
    if not parts:
        nothing = np.empty(0, np.int64)
        parts.append((nothing, nothing, nothing.astype(float), nothing))
        flags.append((0, 0, False, False, False))
    sector, program, since, before = (np.concatenate([part[i] for part in parts]) for i in range(4))
    lengths, source, writes, bulk, keeps = (np.array([one[i] for one in flags]) for i in range(5))
    return Accesses(
        sector,
        program,
        since,
        before,
        lengths,
        (source, writes, bulk, keeps),
        np.maximum(done, 1.0),
        float(through_l1.mean()) if count else 0.0,
        one_of,
    )
