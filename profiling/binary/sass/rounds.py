"""How the rounds of a loop of the kernel are dealt out to the pieces of machine code that do them; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ssdprof.profiling.runs.work import SourceLoop

Spread = list[tuple[int, float]]
"""(trips each time, share of the times)."""
_NEARLY = 1e-6


@dataclass(frozen=True, slots=True)
class Rounds:
    """How often a program comes to a loop of the code and goes round it at all, and the rounds of all these times."""

    entries: float
    rounds: float


@dataclass(frozen=True, slots=True)
class Dealt:
    """What pieces of code do: the rounds of loops, and how often each piece outside all loops is executed."""

    loops: Mapping[int, Rounds]
    pieces: Mapping[int, float]


def spread_of(loop: SourceLoop, entries: float) -> Spread:
    """How many trips the loop makes each time; of a mean alone, the two whole numbers next to it."""
    if loop.spread:
        return list(loop.spread)
    each = loop.mean_trips / entries if entries else 0.0
    low = int(each + _NEARLY)
    more = max(0.0, each - low)
    return [(low, 1 - more), (low + 1, more)]


def dealt(
    spread: Spread, entries: float, peeled: Mapping[int, int], loops: Mapping[int, int], rest: Mapping[int, int]
) -> Dealt:
    """Who does the rounds of a loop that a program comes to `entries` times; each is given with the rounds it does.

    First come `peeled` copies, whose rounds are always done there; then `loops`, the one that does most in a round
    first; what is too little for these is done by copies in `rest`, each once at most.
    """
    left = spread
    done: dict[int, float] = {}
    found: dict[int, Rounds] = {}
    for piece, copies in peeled.items():
        done[piece] = entries * sum(share for trips, share in left if trips >= copies)
        left = [(max(0, trips - copies), share) for trips, share in left]
    for loop, copies in sorted(loops.items(), key=lambda item: -item[1]):
        found[loop] = Rounds(
            entries * sum(share for trips, share in left if trips >= copies),
            entries * sum(trips // copies * share for trips, share in left),
        )
        left = [(trips % copies, share) for trips, share in left]
    for piece, copies in sorted(rest.items(), key=lambda item: -item[1]):
        done[piece] = entries * sum(share for trips, share in left if trips >= copies)
        left = [(trips - copies if trips >= copies else trips, share) for trips, share in left]
    return Dealt(found, done)
