"""Which loop of the machine code is which of the kernel, and how often each goes round.

A loop of the code is one of the kernel if code of the kernel's `for` is in it. A compiler may have copied the loop's
body (unrolling), put copies before or after it (peeling), or left the rest of an unrolled loop to copies of their own.
How many rounds a copy stands for is told by what a round must contain: so many operations of a product, so many loaded
bytes, each known by its place in the source. The least of these ratios counts, since threads may do more than a round
needs (where a tile is smaller than the block), never less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ssdprof.profiling.binary.sass.classes import LANES, spins, tensor_op, thread_bytes
from ssdprof.profiling.binary.sass.flow import Flow
from ssdprof.profiling.binary.sass.rounds import Rounds, dealt, spread_of
from ssdprof.profiling.binary.sass.source import Chain, Source
from ssdprof.profiling.binary.sass.text import Instruction
from ssdprof.profiling.runs.work import Dot

_LOAD = frozenset({"LDG"})
_LOADS = frozenset({"LDG", "LDGSTS"})
_NEARLY = 1e-6


@dataclass(frozen=True, slots=True)
class Matching:
    """By loop of the code: its `rounds`, the loop of the kernel that it is, and how many rounds of that its body holds.

    `known`: how often a program comes to a block from outside the loop that it heads, or to a copy of a round outside
    all loops. `waits`: the loops that only ask a barrier again and again. `assumed`: what had to be guessed.
    """

    rounds: Mapping[int, Rounds]
    source: Mapping[int, int]
    unrolled: Mapping[int, int]
    known: Mapping[int, float]
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
    rounds: dict[int, Rounds] = field(default_factory=dict)
    unrolled: dict[int, int] = field(default_factory=dict)
    known: dict[int, float] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)
    owners: dict[Chain, tuple[int, ...]] = field(default_factory=dict)

    def result(self) -> Matching:
        waits = frozenset(i for i in range(len(self.flow.loops)) if spins(self._body(i)))
        candidates = [i for i in range(len(self.flow.loops)) if i not in waits]
        self._assign(None, None, candidates)
        for number in range(len(self.source.loops)):
            self._count(number)
        for i in candidates:
            if i not in self.assigned:
                line = next((one.places[-1][1] for one in self._body(i) if one.places), 0)
                self.assumed.append(f"a loop near line {line} is none of the kernel's: taken to go round once")
        assumed = tuple(dict.fromkeys(self.assumed))
        return Matching(self.rounds, self.assigned, self.unrolled, self.known, waits, assumed)

    def _assign(self, parent: int | None, around: int | None, candidates: list[int]) -> None:
        """Gives the loops of the code right inside `around` to the kernel's loops right inside `parent`."""
        here = [i for i in candidates if self._parent(i, candidates) == around and i not in self.assigned]
        children = [i for i, loop in enumerate(self.source.loops) if loop.parent == parent]
        chains = {i: self._known_chain(self.source.chains[i]) for i in children}
        found: dict[Chain, list[int]] = {}
        for loop in here:
            body = self._body(loop)
            fitting = [i for i in children if chains[i] and any(_has(one, chains[i]) for one in body)]
            if fitting:
                best = max((self._votes(loop, i), -i) for i in fitting)[1] * -1
                found.setdefault(chains[best], []).append(loop)
        for chain, loops in found.items():
            self.assigned |= self._paired(loops, [i for i in children if chains[i] == chain])
        for child in children:
            own = [i for i in here if self.assigned.get(i) == child]
            for loop in own:
                self._assign(child, loop, candidates)
            if not own:  # unrolled as a whole: the loops inside it stand where it stood
                self._assign(child, around, candidates)

    def _paired(self, found: list[int], alike: list[int]) -> dict[int, int]:
        """Loops of the code with those of the kernel at one place, several if a function was inlined several times."""
        if len(alike) == 1:
            return dict.fromkeys(found, alike[0])
        paired: dict[int, int] = {}
        left = list(alike)
        for loop in found:
            flops = self._flops(self._body(loop))
            needed = {i: sum(_flops(dot) for dot in self.source.loops[i].dots) for i in left}
            fitting = [i for i in left if abs(flops - needed[i]) < 1] or left or alike[-1:]
            paired[loop] = fitting[0]
            left = [i for i in left if i != fitting[0]]
        return paired

    def _parent(self, loop: int, candidates: list[int]) -> int | None:
        parent = self.flow.loops[loop].parent
        while parent is not None and parent not in candidates:
            parent = self.flow.loops[parent].parent
        return parent

    def _count(self, number: int) -> None:
        """Deals out the rounds of one of the kernel's loops to the code that does them."""
        loop = self.source.loops[number]
        own = {i: self._copies(i, number) for i, which in self.assigned.items() if which == number}
        pieces = self._pieces(number, own)
        if not own and not pieces:
            self.assumed.append(f"the loop of line {loop.line} is not found in the machine code")
        headers = [self.flow.loops[i].header for i in own]
        peeled = {
            block: rounds
            for block, rounds in pieces.items()
            if not headers or any(self._goes_with(block, header) for header in headers)
        }
        rest = {block: rounds for block, rounds in pieces.items() if block not in peeled}
        entries = loop.entries
        if entries is None:
            entries = 1.0 if loop.parent is None else self.source.loops[loop.parent].mean_trips
        spread = spread_of(loop, entries)
        groups = [own]
        if own and loop.parent is not None and loop.parent not in self.assigned.values():
            # The loop around it was unrolled as a whole: there is one loop of the code for each of its rounds.
            groups = [{i: copies} for i, copies in own.items()]
        for group in groups:
            found = dealt(spread, entries / len(groups), peeled, group, rest)
            self.rounds |= found.loops
            self.known |= found.pieces
            self.known |= {self.flow.loops[i].header: rounds.entries for i, rounds in found.loops.items()}
        self.unrolled |= own

    def _pieces(self, number: int, own: Mapping[int, int]) -> dict[int, int]:
        """By its first block, each piece of code that holds whole rounds of a loop outside the loops that are it."""
        around = self._around(number)
        inside = {block for i in self.assigned if i not in around for block in self.flow.loops[i].blocks}
        blocks = [block for block in self.flow.order if block not in inside]
        if around:
            blocks = [block for block in blocks if block in self.flow.loops[around[0]].blocks]
        needed = self._flops_of(number)
        if not needed and any(one.opcode == "LDGSTS" for i in own for one in self._body(i)):
            return {}  # the loads outside the loop are for later rounds
        if needed:
            more = min((self._dot_ratio(i, number) / copies for i, copies in own.items()), default=1.0)
            needed *= max(1.0, more)  # where several warps do the same
        found: dict[int, int] = {}
        first, rounds = 0, 0.0
        for block in blocks:
            ones = [one for one in self.flow.instructions(block) if self._is_outside(one.places, number)]
            share = self._flops(ones) / needed if needed else min(self._load_ratios(ones, number, _LOAD), default=0.0)
            if share:
                first, rounds = (first if rounds else block), rounds + share
            if rounds + _NEARLY >= 1:
                found[first] = int(rounds + _NEARLY)
                rounds = 0.0
        return found

    def _goes_with(self, block: int, header: int) -> bool:
        """Whether a block is executed whenever a loop is: before it, or after it."""
        return self.flow.dominates(block, header) or not self.flow.escapes(header, block)

    def _around(self, number: int) -> list[int]:
        """The loops of the code that are those around one of the kernel's, the next first."""
        found: list[int] = []
        parent = self.source.loops[number].parent
        while parent is not None:
            found += [i for i, which in self.assigned.items() if which == parent]
            parent = self.source.loops[parent].parent
        return found

    def _copies(self, loop: int, number: int) -> int:
        """The rounds of one of the kernel's loops that a round of the code's loop is: at least one."""
        ratios = [self._dot_ratio(loop, number), *self._load_ratios(self._body(loop), number, _LOADS)]
        return max(1, int(min((ratio for ratio in ratios if ratio), default=1.0) + _NEARLY))

    def _dot_ratio(self, loop: int, number: int) -> float:
        """Operations of products in a loop of the code, over those that a round of the kernel's loop needs."""
        inside = {
            block
            for i, which in self.assigned.items()
            if which != number and self.flow.loops[i].blocks < self.flow.loops[loop].blocks
            for block in self.flow.loops[i].blocks
        }
        own = (one for block in self.flow.loops[loop].blocks - inside for one in self.flow.instructions(block))
        needed = self._flops_of(number)
        return self._flops(own) / needed if needed else 0.0

    def _flops_of(self, number: int) -> float:
        """Operations of products in a round, with those of loops inside that were unrolled as a whole."""
        loop = self.source.loops[number]
        inside = [
            (i, one)
            for i, one in enumerate(self.source.loops)
            if one.parent == number and i not in self.assigned.values()
        ]
        unrolled = sum(self._flops_of(i) * one.mean_trips / (loop.mean_trips or 1.0) for i, one in inside)
        return sum(map(_flops, loop.dots)) + unrolled

    def _load_ratios(self, instructions: list[Instruction], number: int, opcodes: frozenset[str]) -> list[float]:
        """For each place that loads in a round: the bytes that the code loads there, over those that a round needs."""
        needed: dict[Chain, float] = {}
        for size_bytes, chain in self.source.loads[number]:
            known = self._known_chain(chain)
            needed[known] = needed.get(known, 0.0) + size_bytes
        loaded = {
            chain: sum(thread_bytes(one) for one in instructions if one.opcode in opcodes and _has(one, chain))
            for chain in needed
        }
        return [loaded[chain] * LANES * self.warps / amount for chain, amount in needed.items() if amount and chain]

    def _owners(self, places: Chain) -> tuple[int, ...]:
        """The innermost of the kernel's loops that have a place among their lines.

        They are several if a function was inlined several times and the code does not say for which call.
        """
        if places not in self.owners:
            self.owners[places] = self._found_owners(places)
        return self.owners[places]

    def _found_owners(self, places: Chain) -> tuple[int, ...]:
        every = self.source.spans
        for i, (file, line) in enumerate(places):
            key = file, places[i + 1 :]
            found = [n for n, spans in enumerate(every) if key in spans and _within(line, spans[key])]
            if found:
                return self._innermost(found)
        file, line = places[0] if places else ("", 0)
        found = [
            n
            for n, spans in enumerate(every)
            if any(_within(line, span) for (other, calls), span in spans.items() if other == file and calls)
        ]
        return self._innermost(found)

    def _innermost(self, numbers: list[int]) -> tuple[int, ...]:
        depth = max((self.source.loops[n].depth for n in numbers), default=0)
        return tuple(n for n in numbers if self.source.loops[n].depth == depth)

    def _is_outside(self, places: Chain, number: int) -> bool:
        """Whether code outside all loops is of one of the kernel's loops: in doubt of one that the code has not."""
        owners = self._owners(places)
        missing = [n for n in owners if n not in self.assigned.values()]
        return number in owners and (len(owners) == 1 or missing[:1] == [number])

    def _votes(self, loop: int, child: int) -> int:
        """Instructions of a loop of the code that are of one of the kernel's loops, or of one inside that."""
        return sum(self._is_in(owner, child) for one in self._body(loop) for owner in self._owners(one.places)[:1])

    def _is_in(self, number: int | None, outer: int) -> bool:
        while number is not None and number != outer:
            number = self.source.loops[number].parent
        return number == outer

    def _known_chain(self, chain: Chain) -> Chain:
        """A place with the calls around it, as the code has it; without the calls if it has others there."""
        return chain if chain in self._chains else chain[:1]

    @cached_property
    def _chains(self) -> frozenset[Chain]:
        return frozenset(one.places for one in self.flow.code.instructions)

    def _body(self, loop: int) -> list[Instruction]:
        return [one for block in sorted(self.flow.loops[loop].blocks) for one in self.flow.instructions(block)]

    def _flops(self, instructions: Iterable[Instruction]) -> float:
        """Operations of the tensor instructions of all of a block's warps."""
        return self.warps * sum(op.flops for op in map(tensor_op, instructions) if op)


def _has(instruction: Instruction, chain: Chain) -> bool:
    return instruction.places[: len(chain)] == chain


def _within(line: int, span: tuple[int, int]) -> bool:
    return span[0] <= line <= span[1]


def _flops(dot: Dot) -> float:
    """Operations of tensor instructions that a product needs; 0 if it is done without them."""
    return 0.0 if dot[3] == "float32" else 2.0 * dot[0] * dot[1] * dot[2]
