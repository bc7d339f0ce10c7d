"""The accesses of a stretch of programs in the order in which a GPU makes them, of a sample of lines."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ssdprof.profiling.traffic.evaluate import Access, Evaluator
from ssdprof.profiling.traffic.sectors import LINE_BYTES, SECTOR_BYTES, touched
from ssdprof.profiling.traffic.ttir import Operation, shape_of
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


def starts(durations: NDArray[np.float64], slots: int, *, staggered: bool) -> NDArray[np.float64]:
    """When each program starts if so many run at once, each as long as it takes, the next one where one ends.

    `staggered`: programs ran before these, so that the slots become free one after the other.
    """
    mean = float(durations.mean()) if len(durations) else 1.0
    free = [mean * i / slots if staggered else 0.0 for i in range(min(slots, len(durations)))]
    heapq.heapify(free)
    begin = np.zeros(len(durations))
    for i, duration in enumerate(durations):
        begin[i] = heapq.heappop(free)
        heapq.heappush(free, begin[i] + float(duration))
    return begin


def amount(operation: Operation) -> tuple[float, float]:
    """The floating-point operations of a product and the results of special functions, of one execution."""
    if operation.name.startswith("tt.dot"):
        left, _, rest = operation.types.partition(" * ")
        return 2.0 * prod(shape_of(rest.rpartition(" -> ")[2])) * (shape_of(left) or (1,))[-1], 0.0
    return 0.0, float(prod(shape_of(operation.result_type)))


def trace(
    make: Callable[[Callable[[Access], None], Callable[[Operation, Mask], None]], Evaluator],
    programs: NDArray[np.int64],
    slots: int,
    one_of: int,
    source_of: Callable[[Access, list[str]], Ints],
    owner: Callable[[int], str],
    *,
    staggered: bool,
) -> Trace:
    """What these programs, consecutive in the grid, access. `make` gives an evaluator that reports to what it takes."""
    count = len(programs)
    done = np.zeros(count, np.float64)  # sectors so far, and work as so many sectors, by program
    parts: list[tuple[Ints, Ints, NDArray[np.float64], bool, bool, int]] = []

    def on_access(access: Access) -> None:
        if access.kind == "loop":
            return
        for one in touched(access, count):
            [source] = source_of(access, [owner(int(one.first[0] + one.sectors[0]) * SECTOR_BYTES)])
            which, sectors = sampled(one.first, one.sectors, one_of)
            program = one.programs[which]
            parts.append((sectors, program, done[program], access.kind != "load", access.bulk, int(source)))
            done[one.programs] += len(one.sectors)

    def on_work(operation: Operation, active: Mask) -> None:
        flops, special = amount(operation)
        takes = flops / FLOPS_PER_SECTOR + special / SPECIAL_PER_SECTOR
        done[...] += np.where(active.dense().reshape(-1), takes, 0.0)

    make(on_access, on_work).run(programs)
    if not parts:
        nothing = np.empty(0, np.int64)
        return Trace(
            nothing, nothing, nothing.astype(bool), nothing, nothing.astype(float), nothing.astype(bool), one_of
        )
    durations = np.maximum(done, 1.0)
    begin = starts(durations, slots, staggered=staggered)
    sector, program = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    time = begin[program] + np.concatenate([part[2] for part in parts])
    writes = np.concatenate([np.full(len(part[0]), part[3]) for part in parts])
    bulk = np.concatenate([np.full(len(part[0]), part[4]) for part in parts])
    source = np.concatenate([np.full(len(part[0]), part[5], np.int64) for part in parts])
    order = np.argsort(time, kind="stable")
    columns = (one[order] for one in (sector, program, writes, source, time / durations.mean(), bulk))
    return Trace(*columns, one_of)
