"""How often each block of machine code is executed, from the rounds of its loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ssdprof.profiling.binary.sass.flow import Flow
from ssdprof.profiling.binary.sass.match import Matching
from ssdprof.profiling.binary.sass.rounds import Rounds

EVEN = 0.5
"""Share of either way where nothing tells which is taken."""

NOTED = 0.01
"""Share of all instructions from which a guess is worth a word."""

_OF_FEW = frozenset({"LDGSTS", "SYNCS"})
_OF_CUDA = "$__"
"""In the names of CUDA's own functions, which the compiler calls for values that its short way does not cover."""


def executions(flow: Flow, matching: Matching, warps: int) -> tuple[Mapping[int, float], tuple[str, ...]]:
    """How often a warp executes each block, on average, and what was assumed.

    Loops have the rounds that they were matched with, others one. A barrier is asked for in vain once. A way that ends
    in a trap, leaves early or calls CUDA's own functions for rare values is not taken. If one way leads into a loop and
    the other does not, the loop's entries tell; else both ways are as likely.
    """
    counter = _Counter(flow, matching, warps)
    counter.count()
    return counter.often, counter.assumed()


@dataclass
class _Counter:
    flow: Flow
    matching: Matching
    warps: int
    often: dict[int, float] = field(default_factory=dict)
    taken: dict[tuple[int, int], float] = field(default_factory=dict)
    guessed: list[tuple[int, float]] = field(default_factory=list)

    @cached_property
    def waits(self) -> frozenset[int]:
        """The first blocks of the loops that wait for a barrier."""
        return frozenset(self.flow.loops[loop].header for loop in self.matching.waits)

    def count(self) -> None:
        flow = self.flow
        headers = {loop.header: i for i, loop in enumerate(flow.loops)}
        called: dict[int, float] = {0: 1.0}
        for block in flow.order:
            arriving = called.get(block, 0.0) + sum(self.taken.get((one, block), 0.0) for one in flow.before[block])
            self.often[block] = self._rounds(headers[block], arriving) if block in headers else arriving
            self._leave(block)
            callee = flow.blocks[block].calls
            if callee is not None:
                called[callee] = called.get(callee, 0.0) + self.often[block]

    def assumed(self) -> tuple[str, ...]:
        """The branches of which nothing tells which way is taken, if it makes a difference."""
        total = sum(often * len(self.flow.instructions(block)) for block, often in self.often.items())
        blocks = [block for block, instructions in self.guessed if instructions * EVEN > NOTED * total]
        lines = (next((place[1] for place in self.flow.last(block).places[-1:]), 0) for block in blocks)
        return tuple(f"either way of a branch near line {line} is as likely" for line in dict.fromkeys(lines))

    def _size(self, way: int, beside: int) -> int:
        """Instructions that one way comes to and the way beside it does not."""
        return sum(len(self.flow.instructions(block)) for block in self.flow.ahead(way) - self.flow.ahead(beside))

    def _rounds(self, loop: int, arriving: float) -> float:
        """How often the header of a loop is executed: once more than its rounds if it is what leaves the loop."""
        found = self.matching.rounds.get(loop, Rounds(arriving, arriving))
        one = self.flow.loops[loop]
        leaves = any(block not in one.blocks for block in self.flow.blocks[one.header].next)
        return found.rounds + (found.entries if leaves and one.header not in one.latches else 0.0)

    def _leave(self, block: int) -> None:
        ways = self.flow.blocks[block].next
        often = self.often[block]
        if len(ways) == 1:
            self.taken[block, ways[0]] = min(often, self._after_exit(block, ways[0], often))
        elif len(ways) == 2:
            first = self._of_first(block, ways[0], ways[1], often)
            self.taken[block, ways[0]] = first
            self.taken[block, ways[1]] = often - first
        else:
            self.taken |= {(block, way): often / len(ways) for way in ways}

    def _after_exit(self, block: int, way: int, often: float) -> float:
        """How often a warp goes on after what may be its exit: as a loop tells that it must come to, or else always."""
        if self.flow.last(block).opcode != "EXIT" or self.flow.innermost[block] is not None:
            return often
        return self._needed(way) if self._comes_to_known(way) else often

    def _of_first(self, block: int, one: int, other: int, often: float) -> float:
        """How often the first of two ways is taken."""
        for way, share in ((one, 0.0), (other, 1.0)):
            if self._is_rare(block, way):
                return often * share
            if way in self.waits and block not in self.waits:
                return often * (1 - share)
        loop = self.flow.innermost[block]
        if loop is not None:
            blocks = self.flow.loops[loop].blocks
            stays = [way in blocks for way in (one, other)]
            if stays == [True, False]:
                return often - self._leaving(loop, block, often)
            if stays == [False, True]:
                return self._leaving(loop, block, often)
        if self._is_for_few_threads(block, one, other):
            share = 1 / self.warps
            return often * (share if one == block + 1 else 1 - share)
        needed = [self._needed(way, beside) for way, beside in ((one, other), (other, one))]
        if self._comes_to_known(one, other):
            return min(often, needed[0])
        if self._comes_to_known(other, one):
            return often - min(often, needed[1])
        if often and not any(needed):
            self.guessed.append((block, often * abs(self._size(one, other) - self._size(other, one))))
        if sum(needed) >= often:
            return often * needed[0] / sum(needed) if often else 0.0
        return min(max(often * EVEN, needed[0]), often - needed[1])

    def _leaving(self, loop: int, block: int, often: float) -> float:
        """How often a loop is left from a block: from a latch, if one leaves it, as often as the loop is entered."""
        one = self.flow.loops[loop]
        exits = [i for i in self.flow.order if i in one.blocks and any(way not in one.blocks for way in self._ways(i))]
        chosen = next((i for i in reversed(exits) if i in one.latches), exits[-1])
        if block != chosen:
            return 0.0
        found = self.matching.rounds.get(loop)
        arriving = sum(
            self.taken.get((before, one.header), 0.0)
            for before in self.flow.before[one.header]
            if before not in one.blocks
        )
        return min(often, found.entries if found else arriving)

    def _ways(self, block: int) -> list[int]:
        return [way for way in self.flow.blocks[block].next if not self._is_rare(block, way)]

    def _is_rare(self, block: int, way: int) -> bool:
        """Whether a way is taken by what goes wrong alone."""
        flow, last = self.flow, self.flow.last(block)
        if way in flow.doomed or (last.opcode == "BRA" and "DIV" in last.modifiers and way != block + 1):
            return True
        return _OF_CUDA in flow.last(way).target and len(flow.before[way]) == 1

    def _is_for_few_threads(self, block: int, one: int, other: int) -> bool:
        """Whether a branch skips for most threads, which wait right after it, what a warp does for all: to set up a
        barrier, or to copy a tile with fewer elements than the block has threads.
        """
        inside, after = (one, other) if one == block + 1 else (other, one)
        if inside != block + 1 or self.flow.blocks[inside].next != (after,):
            return False
        opcodes = [{instruction.opcode for instruction in self.flow.instructions(i)} for i in (block, inside)]
        return "BSSY" in opcodes[0] and bool(opcodes[1] & _OF_FEW)

    def _only(self, way: int, beside: int | None = None) -> list[int]:
        """The known blocks that one way comes to and the way beside it, if any, does not; none is behind another."""
        ahead = self.flow.ahead(way)
        others = set() if beside is None else self.flow.ahead(beside)
        only = [block for block in self.matching.known if block in ahead and block not in others]
        return [block for block in only if not any(block != one and block in self.flow.ahead(one) for one in only)]

    def _needed(self, way: int, beside: int | None = None) -> float:
        """How often a way must be taken at least, for the known blocks that it alone comes to."""
        return sum(self.matching.known[block] for block in self._only(way, beside))

    def _comes_to_known(self, way: int, beside: int | None = None) -> bool:
        """Whether a way cannot but come to a known block that the way beside it does not come to."""
        return any(not self.flow.escapes(way, block) for block in self._only(way, beside))
