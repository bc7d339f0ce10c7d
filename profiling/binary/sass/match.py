"""Which loop of the machine code is which of the kernel, and how often each goes round.

A loop of the code is one of the kernel if code of the kernel's `for` is in it. A compiler may have copied the loop's
body (unrolling), put copies before or after it (peeling), or left the rest of an unrolled loop to a loop of its own. How
many rounds a body stands for is told by what a round must contain: so many operations of a product, so many loaded
bytes, each known by its line. The least of these ratios counts, since threads may do more than a round needs (where a
tile is smaller than the block), never less. What is outside the loop, on a product's line, was peeled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ssdprof.profiling.binary.sass.classes import spins, tensor_op, thread_bytes
from ssdprof.profiling.binary.sass.flow import Flow
from ssdprof.profiling.binary.sass.source import Source
from ssdprof.profiling.binary.sass.text import Instruction, Place
from ssdprof.profiling.runs.work import SourceLoop

LANES = 32
"""Threads of a warp."""
_LOADS = frozenset({"LDG", "LDGSTS"})
_NEARLY = 1e-6


@dataclass(frozen=True, slots=True)
class Rounds:
    """How often a program comes to a loop of the code and goes round at least once, and the rounds of all these times."""

    entries: float
    rounds: float


@dataclass(frozen=True, slots=True)
class Matching:
    """By loop of the code: `rounds`, the loop of the kernel that it is, and the rounds of that which its body holds.

    Loops that only wait for a barrier have rounds, and no loop of the kernel.
    """

    rounds: Mapping[int, Rounds]
    source: Mapping[int, int]
    unrolled: Mapping[int, int]
    waits: frozenset[int]
    assumed: tuple[str, ...]


def matched(flow: Flow, source: Source, warps: int) -> Matching:
    """The loops of the code of a block of `warps`, matched with those of the kernel."""
    return _Matcher(flow, source, warps).result()


@dataclass
class _Matcher:
    flow: Flow
    source: Source
    warps: int
    assigned: dict[int, int] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)

    def result(self) -> Matching:
        waits = frozenset(i for i in range(len(self.flow.loops)) if spins(self._instructions(i)))
        candidates = [i for i in range(len(self.flow.loops)) if i not in waits]
        self._assign(None, None, candidates)
        rounds: dict[int, Rounds] = {}
        unrolled: dict[int, int] = {}
        for number, loop in enumerate(self.source.loops):
            own = [i for i, which in self.assigned.items() if which == number]
            copies = {i: self._unrolled(i, number) for i in own}
            peeled = self._peeled(number)
            rounds |= _rounds(self._spread(loop), self._entries(loop), copies, peeled)
            unrolled |= copies
            if not own and not peeled:
                self.assumed.append(f"the loop of line {loop.line} is not found in the machine code")
        for i in candidates:
            if i not in self.assigned:
                self.assumed.append(f"a loop near line {self._line(i)} is none of the kernel's: taken to go round once")
        return Matching(rounds, self.assigned, unrolled, waits, tuple(dict.fromkeys(self.assumed)))

    def _assign(self, parent: int | None, around: int | None, candidates: list[int]) -> None:
        """Gives the loops of the code right inside `around` to the kernel's loops right inside `parent`."""
        here = [i for i in candidates if self._parent(i, candidates) == around and i not in self.assigned]
        children = [i for i, loop in enumerate(self.source.loops) if loop.parent == parent]
        for place in dict.fromkeys((self.source.loops[i].file, self.source.loops[i].line) for i in children):
            alike = [i for i in children if (self.source.loops[i].file, self.source.loops[i].line) == place]
            found = [i for i in here if i not in self.assigned and place in self._places(i)]
            for loop, number in self._paired(found, alike).items():
                self.assigned[loop] = number
        for child in children:
            own = [i for i in here if self.assigned.get(i) == child]
            for loop in own:
                self._assign(child, loop, candidates)
            if not own:  # unrolled as a whole: the loops inside it stand where it stood
                self._assign(child, around, candidates)

    def _paired(self, found: list[int], alike: list[int]) -> dict[int, int]:
        """Loops of the code with those of the kernel that stand at one line, since a function was inlined repeatedly."""
        if len(alike) == 1:
            return dict.fromkeys(found, alike[0])
        paired: dict[int, int] = {}
        left = list(alike)
        for loop in found:
            flops = self._flops(self._instructions(loop))
            fitting = [i for i in left if abs(flops - _flops_of(self.source, i)) < 1] or left or alike[-1:]
            paired[loop] = fitting[0]
            left = [i for i in left if i != fitting[0]]
        return paired

    def _parent(self, loop: int, candidates: list[int]) -> int | None:
        parent = self.flow.loops[loop].parent
        while parent is not None and parent not in candidates:
            parent = self.flow.loops[parent].parent
        return parent

    def _instructions(self, loop: int) -> list[Instruction]:
        return [one for block in sorted(self.flow.loops[loop].blocks) for one in self.flow.instructions(block)]

    def _places(self, loop: int) -> set[tuple[str, int]]:
        return {place for one in self._instructions(loop) for place in one.places}

    def _line(self, loop: int) -> int:
        return next((one.places[-1][1] for one in self._instructions(loop) if one.places), 0)

    def _flops(self, instructions: Iterable[Instruction], places: Iterable[Place] | None = None) -> float:
        """Operations of the tensor instructions of a block's warps, of those at one of the places alone."""
        wanted = None if places is None else set(places)
        ops = (tensor_op(one) for one in instructions if wanted is None or wanted.intersection(one.places[:1]))
        return self.warps * sum(op.flops for op in ops if op)

    def _unrolled(self, loop: int, number: int) -> int:
        """The rounds of the kernel's loop that one of the code's loop is."""
        instructions = self._instructions(loop)
        needed: dict[Place, float] = {}
        for dot, place in self.source.dots[number]:
            needed[place] = needed.get(place, 0) + _flops(dot)
        ratios = [self._flops(instructions, [place]) / flops for place, flops in needed.items() if flops]
        loaded: dict[int, int] = {}
        for line, size_bytes in self.source.loops[number].loads:
            loaded[line] = loaded.get(line, 0) + size_bytes
        for line, size_bytes in loaded.items():
            own = (one for one in instructions if one.opcode in _LOADS and one.places and one.places[0][1] == line)
            ratios.append(sum(map(thread_bytes, own)) * LANES * self.warps / size_bytes if size_bytes else 0.0)
        return max(1, int(min((ratio for ratio in ratios if ratio), default=1.0) + _NEARLY))

    def _peeled(self, number: int) -> int:
        """Rounds of the kernel's loop that the code has outside the loops that are it."""
        places = {place for dot, place in self.source.dots[number] if _flops(dot)}
        elsewhere = {place for other, dots in self.source.dots.items() if other != number for _, place in dots}
        if not places or places & elsewhere:
            return 0
        around = self._around(number)
        inside = {block for loop in self.assigned if loop not in around for block in self.flow.loops[loop].blocks}
        blocks = [block for block in self.flow.order if block not in inside]
        if around:
            blocks = [block for block in blocks if block in self.flow.loops[around[0]].blocks]
        outside = (one for block in blocks for one in self.flow.instructions(block))
        return round(self._flops(outside, places) / _flops_of(self.source, number))

    def _around(self, number: int) -> list[int]:
        """The loops of the code that are one around the kernel's loop, the next first."""
        found: list[int] = []
        parent = self.source.loops[number].parent
        while parent is not None:
            found += [i for i, which in self.assigned.items() if which == parent]
            parent = self.source.loops[parent].parent
        return found

    def _entries(self, loop: SourceLoop) -> float:
        if loop.entries is not None:
            return loop.entries
        return 1.0 if loop.parent is None else self.source.loops[loop.parent].mean_trips

    def _spread(self, loop: SourceLoop) -> list[tuple[int, float]]:
        """(trips each time, share of the times); of a mean alone, the two whole numbers next to it."""
        if loop.spread:
            return list(loop.spread)
        entries = self._entries(loop)
        each = loop.mean_trips / entries if entries else 0.0
        low = int(each + _NEARLY)
        more = max(0.0, each - low)
        return [(low, 1 - more), (low + 1, more)]


def _rounds(
    spread: list[tuple[int, float]], entries: float, copies: Mapping[int, int], peeled: int
) -> dict[int, Rounds]:
    """The loops of the code that are one of the kernel's, the one that does most in a round first, take their rounds."""
    left = [(max(0, trips - peeled), share) for trips, share in spread]
    found = {}
    for loop, unrolled in sorted(copies.items(), key=lambda item: -item[1]):
        taken = [(trips // unrolled, share) for trips, share in left]
        found[loop] = Rounds(
            entries * sum(share for rounds, share in taken if rounds),
            entries * sum(rounds * share for rounds, share in taken),
        )
        left = [(trips % unrolled, share) for trips, share in left]
    return found


def _flops(dot: tuple[int, int, int, str]) -> float:
    """Operations of tensor instructions that a product needs; 0 if it is done without them."""
    return 0.0 if dot[3] == "float32" else 2.0 * dot[0] * dot[1] * dot[2]


def _flops_of(source: Source, number: int) -> float:
    return sum(_flops(dot) for dot, _ in source.dots[number])
