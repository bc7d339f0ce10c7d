"""What a sample of a launch's programs, spread over the grid, does: bytes, work, and the trips of its loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from ssdprof.profiling.traffic.access import Access
from ssdprof.profiling.traffic.evaluate import Evaluator
from ssdprof.profiling.traffic.footprint import Ints
from ssdprof.profiling.traffic.sectors import SECTOR_BYTES, touched
from ssdprof.profiling.traffic.ttir import Operation, Program, shape_of
from ssdprof.profiling.traffic.values import Array, Mask

Make = Callable[..., Evaluator]
"""An evaluator of the launch that reports to what it is given by keyword: `on_access`, `on_loop`, `on_work`."""
_PROGRAMS = 1024


@dataclass(frozen=True, slots=True)
class Trips:
    """Rounds of a loop per program, over all its `entries` per program; `spread`: (rounds each time, their share)."""

    mean_trips: float
    entries: float
    spread: tuple[tuple[int, float], ...]


@dataclass(slots=True)
class Pilot:
    """Of all programs, from the sample: bytes by direction, elements accessed of all in the tiles, and work.

    `trips`: how often each loop of the kernel's function runs, in the order of its TTIR, on average.
    """

    read_bytes: float = 0.0
    write_bytes: float = 0.0
    elements: float = 0.0
    places: float = 0.0
    tensor_flops: float = 0.0
    special_results: float = 0.0
    dependent: tuple[str, ...] = ()
    trips: tuple[Trips, ...] = ()


def spread(count: int) -> Ints:
    """Some programs, one at random of each stretch of the grid: grids have periods that a regular sample would meet."""
    if count <= _PROGRAMS:
        return np.arange(count)
    at = np.arange(_PROGRAMS) + np.random.default_rng(0).random(_PROGRAMS)
    return (at * count / _PROGRAMS).astype(np.int64)


def amount(operation: Operation) -> tuple[float, float]:
    """The floating-point operations of a product and the results of special functions, of one execution."""
    if operation.name.startswith("tt.dot"):
        left, _, rest = operation.types.partition(" * ")
        return 2.0 * prod(shape_of(rest.rpartition(" -> ")[2])) * (shape_of(left) or (1,))[-1], 0.0
    return 0.0, float(prod(shape_of(operation.result_type)))


def pilot(make: Make, program: Program, count: int) -> Pilot:
    """What a grid of so many programs does."""
    chosen = spread(count)
    rounds = _Rounds(program, len(chosen))
    found, weight = Pilot(), count / len(chosen)
    dependent: dict[str, None] = {}

    def on_access(access: Access) -> None:
        if access.reason:
            dependent[f"{access.operation.name.partition('.')[2]}: {access.reason}"] = None
        for one in touched(access, len(chosen)):
            size = len(one.programs) * weight
            if access.kind == "load":
                found.read_bytes += len(one.sectors) * SECTOR_BYTES * size
            else:
                found.write_bytes += len(one.sectors) * SECTOR_BYTES * size
            found.elements += one.elements * size
            found.places += prod(access.tile) * size

    def on_work(operation: Operation, active: Mask) -> None:
        flops, special = amount(operation)
        share = float(active.dense().mean()) * count
        found.tensor_flops += flops * share
        found.special_results += special * share

    make(on_access=on_access, on_loop=rounds.count, on_work=on_work).run(chosen)
    found.dependent, found.trips = tuple(dependent), rounds.trips()
    return found


class _Rounds:
    """Counts the rounds of the loops of a kernel's function that so many programs do."""

    def __init__(self, program: Program, programs: int) -> None:
        loops = [id(one) for one in program.kernel.operations() if one.name in ("scf.for", "scf.while")]
        self._programs = programs
        self._entries = dict.fromkeys(loops, 0.0)
        self._rounds: dict[int, dict[int, float]] = {loop: {} for loop in loops}

    def count(self, operation: Operation, times: Array, active: Mask) -> None:
        """Hears how often the loop is done by each program that comes to it."""
        if id(operation) not in self._entries:  # of a function that is called
            return
        each, inside = np.broadcast_arrays(times.reshape(-1), active.dense().reshape(-1))
        weight = self._programs / len(each)
        values, counts = np.unique(each[inside], return_counts=True)
        self._entries[id(operation)] += float(inside.sum()) * weight
        known = self._rounds[id(operation)]
        for value, number in zip(values.tolist(), counts.tolist(), strict=True):
            known[value] = known.get(value, 0.0) + number * weight

    def trips(self) -> tuple[Trips, ...]:
        """Those of each loop, in the order of the TTIR."""
        found = []
        for loop, entered in self._entries.items():
            each = self._rounds[loop]
            mean = sum(value * number for value, number in each.items()) / self._programs
            shares = tuple((value, number / entered) for value, number in sorted(each.items())) if len(each) > 1 else ()
            found.append(Trips(mean, entered / self._programs, shares))
        return tuple(found)
