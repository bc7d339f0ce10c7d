"""How often each block of machine code is executed, from the rounds of its loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ssdprof.profiling.binary.sass.flow import Flow
from ssdprof.profiling.binary.sass.match import Matching, Rounds

EVEN = 0.5
"""Share of either way where nothing tells which is taken."""


def executions(flow: Flow, matching: Matching, warps: int) -> tuple[Mapping[int, float], tuple[str, ...]]:
    """How often a warp executes each block, on average, and what was assumed.

    Loops have the rounds that they were matched with, others one. A way that ends in a trap, leaves early or makes
    room for rare values by a call is not taken. Where one way leads into a loop and the other does not, the loop's
    entries tell; else both ways are as likely.
    """
    counter = _Counter(flow, matching, warps)
    counter.count()
    return counter.often, tuple(dict.fromkeys(counter.assumed))


@dataclass
class _Counter:
    flow: Flow
    matching: Matching
    warps: int
    often: dict[int, float] = field(default_factory=dict)
    taken: dict[tuple[int, int], float] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)

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
        return self._needed(way) if self._comes_to_loop(way) else often

    def _of_first(self, block: int, one: int, other: int, often: float) -> float:
        """How often the first of two ways is taken."""
        for way, share in ((one, 0.0), (other, 1.0)):
            if self._is_rare(block, way):
                return often * share
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
        if self._comes_to_loop(one, other):
            return min(often, needed[0])
        if self._comes_to_loop(other, one):
            return often - min(often, needed[1])
        if often and not any(needed):
            line = next((place[1] for place in self.flow.last(block).places[-1:]), 0)
            self.assumed.append(f"either way of a branch near line {line} is as likely")
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
            self.taken.get((before, one.header), 0.0) for before in self.flow.before[one.header] if before not in one.blocks
        )
        return min(often, found.entries if found else arriving)

    def _ways(self, block: int) -> list[int]:
        return [way for way in self.flow.blocks[block].next if not self._is_rare(block, way)]

    def _is_rare(self, block: int, way: int) -> bool:
        """Whether a way is taken by what goes wrong alone."""
        flow, last = self.flow, self.flow.last(block)
        if way in flow.doomed or (last.opcode == "BRA" and "DIV" in last.modifiers and way != block + 1):
            return True
        if way in self.waits:
            return True
        return flow.blocks[way].calls is not None and len(flow.before[way]) == 1 and len(flow.blocks[block].next) == 2

    def _is_for_few_threads(self, block: int, one: int, other: int) -> bool:
        """Whether a branch skips what follows it for some threads alone, which meet again right after it."""
        inside, after = (one, other) if one == block + 1 else (other, one)
        opcodes = [instruction.opcode for instruction in self.flow.instructions(block)]
        return "BSSY" in opcodes and inside == block + 1 and self.flow.blocks[inside].next == (after,)

    def _only(self, way: int, beside: int | None = None) -> list[int]:
        """The matched loops that one way comes to and the way beside it, if any, does not, without those behind others."""
        ahead, others = self._ahead(way), set() if beside is None else self._ahead(beside)
        headers = {i: self.flow.loops[i].header for i in self.matching.rounds}
        only = [i for i, header in headers.items() if header in ahead and header not in others]
        return [i for i in only if not any(i != one and headers[i] in self._ahead(headers[one]) for one in only)]

    def _needed(self, way: int, beside: int | None = None) -> float:
        """How often a way must be taken at least, for the loops that it alone comes to."""
        return sum(self.matching.rounds[loop].entries for loop in self._only(way, beside))

    def _comes_to_loop(self, way: int, beside: int | None = None) -> bool:
        """Whether a way cannot but come to a loop that the way beside it does not come to."""
        return any(not self._escapes(way, self.flow.loops[loop].header) for loop in self._only(way, beside))

    def _escapes(self, start: int, around: int) -> bool:
        """Whether the kernel can end from `start` without coming to a block."""
        if start == around:
            return False
        ahead = self._ahead(start, around)
        return any(not self.flow.blocks[block].next and block not in self.flow.doomed for block in ahead)

    def _ahead(self, start: int, without: int | None = None) -> set[int]:
        """The blocks after a block, without back edges and without going through one of them."""
        rank = {block: i for i, block in enumerate(self.flow.order)}
        seen, ahead = {start}, [start]
        while ahead:
            block = ahead.pop()
            for way in self.flow.blocks[block].next:
                if way not in seen and way != without and rank[way] > rank[block]:
                    seen.add(way)
                    ahead.append(way)
        return seen
