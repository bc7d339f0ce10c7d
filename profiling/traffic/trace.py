"""The accesses of a stretch of programs in the order in which a GPU makes them, of a sample of lines."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

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

    `time` is in mean durations of a program; the sectors are those of every `sampled_of`-th line.
    """

    sector: NDArray[np.int64]
    program: NDArray[np.int64]
    writes: NDArray[np.bool_]
    source: NDArray[np.int64]
    time: NDArray[np.float64]
    bulk: NDArray[np.bool_]
    sampled_of: int


def sampled(first: Ints, sectors: Ints, one_of: int) -> tuple[Ints, Ints]:
    """Of the sectors `first[i] + sectors[j]`, those of every `one_of`-th line: the i and the sector of each.

    A prime `one_of` meets every stride that kernels have. Only what is kept is ever made: `sectors` are sorted by what
    is left of their line, so that each offset finds its own among them.
    """
    if one_of == 1:
        return np.repeat(np.arange(len(first)), len(sectors)), (first[:, None] + sectors[None, :]).ravel()
    lines = sectors // _PER_LINE  # offsets are of whole lines
    left = lines % one_of
    order = np.argsort(left, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(left, minlength=one_of))])
    wanted = -(first // _PER_LINE) % one_of
    counts = ends[wanted + 1] - ends[wanted]
    which = np.repeat(np.arange(len(first)), counts)
    within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    return which, first[which] + sectors[order[ends[wanted[which]] + within]]


def starts(durations: NDArray[np.float64], slots: int) -> NDArray[np.float64]:
    """When each program starts if so many run at once, each as long as it takes, the next one where one ends."""
    free: list[float] = []
    begin = np.zeros(len(durations))
    for i, duration in enumerate(durations.tolist()):
        begin[i] = heapq.heappop(free) if i >= slots else 0.0
        heapq.heappush(free, begin[i] + duration)
    return begin


def trace(make: Make, programs: Ints, slots: int, one_of: int, source_of: Callable[[Access, int], int]) -> Trace:
    """What these programs, consecutive in the grid, access, so many at once.

    `source_of`: a number for what an access at an address belongs to.
    """
    count = len(programs)
    done = np.zeros(count, np.float64)  # sectors so far, and work as so many sectors, by program
    parts: list[tuple[Ints, Ints, NDArray[np.float64], bool, bool, int]] = []

    def on_access(access: Access) -> None:
        for one in touched(access, count):
            source = source_of(access, int(one.first[0] + one.sectors[0]) * SECTOR_BYTES)
            which, sectors = sampled(one.first, one.sectors, one_of)
            program = one.programs[which]
            parts.append((sectors, program, done[program], access.kind != "load", access.bulk, source))
            done[one.programs] += len(one.sectors)

    def on_work(operation: Operation, active: Mask) -> None:
        flops, special = amount(operation)
        takes = flops / FLOPS_PER_SECTOR + special / SPECIAL_PER_SECTOR
        done[...] += np.where(active.dense().reshape(-1), takes, 0.0)

    make(on_access=on_access, on_work=on_work).run(programs)
    if not parts:
        none = np.empty(0, np.int64)
        return Trace(none, none, none.astype(bool), none, none.astype(float), none.astype(bool), one_of)
    durations = np.maximum(done, 1.0)
    begin = starts(durations, slots)
    sector, program = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    time = begin[program] + np.concatenate([part[2] for part in parts])
    writes, bulk = (np.concatenate([np.full(len(part[0]), part[i], bool) for part in parts]) for i in (3, 4))
    source = np.concatenate([np.full(len(part[0]), part[5], np.int64) for part in parts])
    at = np.argsort(time, kind="stable")
    return Trace(sector[at], program[at], writes[at], source[at], time[at] / float(durations.mean()), bulk[at], one_of)
