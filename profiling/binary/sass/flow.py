"""The control flow of machine code: basic blocks, the edges between them, and loops.

Dominators by Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm" (2001); a loop is the natural loop of the
back edges to one header (Aho, Sethi and Ullman).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from ssdprof.profiling.binary.sass.text import Code, Instruction

_JUMPS = frozenset({"BRA", "BRX", "BRXU", "JMP", "JMX", "JMXU"})
_CALLS = frozenset({"CALL"})
_ENDS = frozenset({"EXIT", "RET", "KILL"})
_TRAPS = frozenset({"BPT"})
_ALWAYS = frozenset({"", "PT", "UPT"})


@dataclass(frozen=True, slots=True)
class Block:
    """Instructions from `first` up to, without, `end` that are executed one after the other.

    `next`: the blocks that may follow. `calls`: the block that a call at its end goes to, from which it comes back;
    None if there is no call, or if what is called is not in the binary.
    """

    first: int
    end: int
    next: tuple[int, ...]
    calls: int | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """A natural loop: its header, all its blocks, and the loop that it is in, by number."""

    header: int
    blocks: frozenset[int]
    latches: frozenset[int]
    parent: int | None = None


@dataclass(frozen=True)
class Flow:
    """Code as a graph of blocks; block 0 is the kernel's entry."""

    code: Code
    blocks: tuple[Block, ...]

    def instructions(self, block: int) -> tuple[Instruction, ...]:
        """Those of a block."""
        return self.code.instructions[self.blocks[block].first : self.blocks[block].end]

    def last(self, block: int) -> Instruction:
        """The instruction that ends a block."""
        return self.code.instructions[self.blocks[block].end - 1]

    @cached_property
    def before(self) -> Mapping[int, tuple[int, ...]]:
        """The blocks that each block may follow."""
        found: dict[int, list[int]] = {block: [] for block in range(len(self.blocks))}
        for i, block in enumerate(self.blocks):
            for successor in block.next:
                found[successor].append(i)
        return {block: tuple(ones) for block, ones in found.items()}

    @cached_property
    def entries(self) -> tuple[int, ...]:
        """The kernel's entry, and that of each function it calls, after the caller's where they call each other."""
        found = [0]
        for entry in found:
            called = {self.blocks[block].calls for block in self.reached(entry)}
            found += sorted(block for block in called if block is not None and block not in found)
        return tuple(found)

    def reached(self, entry: int) -> set[int]:
        """The blocks that are reached from `entry` without a call."""
        seen, ahead = {entry}, [entry]
        while ahead:
            for successor in self.blocks[ahead.pop()].next:
                if successor not in seen:
                    seen.add(successor)
                    ahead.append(successor)
        return seen

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The blocks of the kernel and of all it calls, each before those that follow it, but for back edges."""
        return tuple(dict.fromkeys(block for entry in self.entries for block in _reverse_postorder(self.blocks, entry)))

    @cached_property
    def rank(self) -> Mapping[int, int]:
        """The place of each block in that order."""
        return {block: i for i, block in enumerate(self.order)}

    @cached_property
    def dominators(self) -> Mapping[int, int]:
        """Each block's immediate dominator; of an entry, and of what several entries lead to, the block itself."""
        return _dominators(self.order, self.before, self.entries)

    def dominates(self, one: int, other: int) -> bool:
        """Whether every way from the entry to `other` goes through `one`."""
        while other != one and self.dominators[other] != other:
            other = self.dominators[other]
        return other == one

    @cached_property
    def loops(self) -> tuple[Loop, ...]:
        """The loops in the order of their headers in the code, outer ones before those inside."""
        latches: dict[int, set[int]] = {}
        for block in self.order:
            for successor in self.blocks[block].next:
                if successor in self.dominators and self.dominates(successor, block):
                    latches.setdefault(successor, set()).add(block)
        bodies = {header: self._body(header, ends) for header, ends in latches.items()}
        headers = sorted(bodies, key=lambda header: (-len(bodies[header]), header))
        headers.sort(key=lambda header: self.blocks[header].first)
        loops = []
        for header in headers:
            around = [i for i, one in enumerate(headers) if one != header and header in bodies[one]]
            parent = min(around, key=lambda i: len(bodies[headers[i]]), default=None)
            loops.append(Loop(header, bodies[header], frozenset(latches[header]), parent))
        return tuple(loops)

    def _body(self, header: int, latches: Iterable[int]) -> frozenset[int]:
        body, ahead = {header}, [block for block in latches if block != header]
        while ahead:
            block = ahead.pop()
            if block not in body:
                body.add(block)
                ahead += [one for one in self.before[block] if one in self.dominators]
        return frozenset(body)

    @cached_property
    def innermost(self) -> Mapping[int, int | None]:
        """The innermost loop around each block, by number."""
        found: dict[int, int | None] = dict.fromkeys(range(len(self.blocks)))
        for i in sorted(range(len(self.loops)), key=lambda i: -len(self.loops[i].blocks)):
            found |= dict.fromkeys(self.loops[i].blocks, i)
        return found

    @cached_property
    def doomed(self) -> frozenset[int]:
        """Blocks from which every way ends in a trap or goes round for ever."""
        alive = {i for i, block in enumerate(self.blocks) if self.last(i).opcode in _ENDS and not self._traps(block)}
        ahead = list(alive)
        while ahead:
            for one in self.before[ahead.pop()]:
                if one not in alive and not self._traps(self.blocks[one]):
                    alive.add(one)
                    ahead.append(one)
        return frozenset(range(len(self.blocks))) - alive

    def ahead(self, start: int, without: int | None = None) -> set[int]:
        """The blocks from a block on, without back edges and without those that are only reached through `without`."""
        seen, ahead = {start}, [start]
        while ahead:
            block = ahead.pop()
            for way in self.blocks[block].next:
                if way not in seen and way != without and self.rank[way] > self.rank[block]:
                    seen.add(way)
                    ahead.append(way)
        return seen

    def escapes(self, start: int, around: int) -> bool:
        """Whether the kernel can end from `start` without coming to a block."""
        if start == around:
            return False
        ahead = self.ahead(start, around)
        return any(not self.blocks[block].next and block not in self.doomed for block in ahead)

    def _traps(self, block: Block) -> bool:
        instructions = self.code.instructions[block.first : block.end]
        return any(one.opcode in _TRAPS and not is_conditional(one) for one in instructions)


def is_conditional(instruction: Instruction) -> bool:
    """Whether it may do nothing: under a predicate, or, of a branch, by its first operand."""
    if instruction.guard not in _ALWAYS:
        return True
    if instruction.opcode not in _JUMPS:
        return False
    first = instruction.operands.split("`")[0].strip(" ,")
    return "DIV" in instruction.modifiers or (first not in _ALWAYS and first.lstrip("!")[:1] in ("P", "U"))


def flow_of(code: Code) -> Flow:
    """The graph of the code. A jump to a place that is only known when it is made is taken to lead nowhere."""
    instructions, starts = code.instructions, {0}
    starts |= {place for place in code.labels.values() if place < len(code.instructions)}
    starts |= {
        i + 1
        for i, one in enumerate(instructions[:-1])
        if one.opcode in _JUMPS or one.opcode in _CALLS or one.opcode in _ENDS
    }
    firsts = sorted(starts)
    number = {first: i for i, first in enumerate(firsts)}
    blocks = []
    for first, end in zip(firsts, [*firsts[1:], len(instructions)], strict=True):
        last, following, calls = instructions[end - 1], [], None
        target = code.labels.get(last.target)
        if last.opcode in _CALLS:
            calls = number.get(target) if target is not None else None
        elif last.opcode in _JUMPS and target in number:
            following.append(number[target])
        if end < len(instructions) and (last.opcode not in _JUMPS | _ENDS or is_conditional(last)):
            following.append(number[end])
        blocks.append(Block(first, end, tuple(dict.fromkeys(following)), calls))
    return Flow(code, tuple(blocks))


def _reverse_postorder(blocks: tuple[Block, ...], entry: int) -> list[int]:
    seen, done = {entry}, []
    ahead = [(entry, iter(blocks[entry].next))]
    while ahead:
        block, following = ahead[-1]
        successor = next((one for one in following if one not in seen), None)
        if successor is None:
            done.append(block)
            ahead.pop()
        else:
            seen.add(successor)
            ahead.append((successor, iter(blocks[successor].next)))
    return done[::-1]


def _dominators(
    order: tuple[int, ...], before: Mapping[int, tuple[int, ...]], entries: Iterable[int]
) -> dict[int, int]:
    rank = {block: i for i, block in enumerate(order)}
    found = {entry: entry for entry in entries}

    def common(one: int | None, other: int) -> int | None:
        while one is not None and one != other:
            one, other = (one, other) if rank[one] > rank[other] else (other, one)
            one = found[one] if found[one] != one else None  # nothing is on the ways from two entries
        return one

    changed = True
    while changed:
        changed = False
        for block in order:
            if block in found and found[block] == block:
                continue
            known = [one for one in before[block] if one in found]
            new: int | None = known[0]
            for one in known[1:]:
                new = common(new, one)
            dominator = block if new is None else new
            changed |= found.get(block) != dominator
            found[block] = dominator
    return found
