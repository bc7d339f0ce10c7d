"""What a launch reads and writes, from the text of its TTIR; no torch, no triton.

Addresses are followed through every operation, loop, branch and call from the kernel's pointer and descriptor
arguments to the loads, stores and atomic operations that use them. The order of operations does not count: an argument
that may be what is stored to is one that is stored to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ssdprof.kernels.captured.source.ttir import Node, Program
from ssdprof.kernels.errors import UsageError


class RolesError(UsageError):
    """A TTIR whose kernel does not have the arguments that were named."""


@dataclass(frozen=True, slots=True)
class RoleFound:
    """What a kernel does with the memory behind one of its arguments.

    `float_atomic`: adds floating-point numbers to it atomically, so that the sum depends on the order. `unknown`: why
    that is not all, in one line; then it is to be taken as both read and written, and if it holds addresses, what they
    point to as well.
    """

    loads: bool = False
    stores: bool = False
    float_atomic: bool = False
    unknown: str = ""

    def merged(self, other: RoleFound) -> RoleFound:
        """What two arguments of the same name do together."""
        loads, stores = self.loads or other.loads, self.stores or other.stores
        return RoleFound(loads, stores, self.float_atomic or other.float_atomic, self.unknown or other.unknown)


ELSEWHERE = ""
"""The name under which memory is told of that the kernel reaches by an address that is not in any of the arguments."""


def roles_of(ttir: str, names: Sequence[str]) -> Mapping[str, RoleFound]:
    """What the kernel of `ttir` (`compiled.asm["ttir"]`) does with each of its pointer and descriptor arguments.

    `names`: of the parameters that are tensors or descriptors in this launch, in the order of the kernel's parameters,
    one for each tensor of a tuple. Arguments that are None, numbers or constants are left out. The key `ELSEWHERE` is
    there if the kernel makes addresses of numbers. Raises RolesError if the kernel has not as many such arguments.
    """
    program = Program(ttir)
    if len(program.roots) != len(names):
        has = f"the kernel has {len(program.roots)} pointers and descriptors, {len(names)} are named"
        raise RolesError(f"roles: {has}: name every argument that is a tensor or a descriptor, in order")
    found = dict.fromkeys(names, RoleFound())
    for place, role in _judged(program):
        name = ELSEWHERE if place is None else names[place]
        found[name] = found.get(name, RoleFound()).merged(role)
    return found


_Tag: TypeAlias = tuple[int, bool]
"""(argument, whether the value was read from its memory; otherwise it is an address in it)."""


def _judged(program: Program) -> Iterator[tuple[int | None, RoleFound]]:
    """(argument, what one operation does with it); None for memory that no argument points to."""
    tags = _tags(program)
    for access in program.accesses:
        if not tags[access.address]:
            yield None, RoleFound(unknown="the kernel makes an address of a number")
        for root, is_read in tags[access.address]:
            if is_read:
                yield root, RoleFound(unknown="the kernel follows addresses that it reads from it")
            else:
                yield root, RoleFound(access.loads, access.stores, access.is_float_sum)
    written = [(node, "the kernel writes its address to memory") for one in program.accesses for node in one.values]
    for node, why in [*program.escapes, *written]:
        for root, is_read in tags[node]:
            if not is_read:
                yield root, RoleFound(unknown=why)


def _tags(program: Program) -> dict[Node, set[_Tag]]:
    """Of each value, what it may be."""
    tags: dict[Node, set[_Tag]] = defaultdict(set)
    pending: list[tuple[Node, _Tag]] = [(node, (place, False)) for place, node in enumerate(program.roots)]
    while pending:
        node, tag = pending.pop()
        if tag not in tags[node]:
            tags[node].add(tag)
            pending += [(to, (tag[0], tag[1] or is_read)) for to, is_read in program.edges[node]]
    return tags
