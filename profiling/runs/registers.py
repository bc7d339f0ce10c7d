"""Which values hold a kernel's registers where it holds the most: an estimate beside the compiler's figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RegisterKind = Literal["accumulator", "operand", "loaded", "carried", "computed", "addresses", "indices", "mask"]
Order = Literal["whole", "sliced", "chained"]
"""The IR's order, operation by operation; the same with operands of products read from shared memory slice by slice;
that with chains of operations done element by element besides. Each holds no more than the one before."""


@dataclass(frozen=True, slots=True)
class HeldInRegisters:
    """A value that is alive where the most registers are held, with the registers of each thread that it takes.

    `name` is the variable's; empty if the compiler kept none. `op` is the operation of the compiler's IR that makes it;
    empty for an argument. `values`: so many alike are in this row. A value that shares its registers with one before it
    has what it adds. `operand`: of a product; `carried`: from one round of a loop to the next. `file` and `line` are
    those of the source; empty and 0 if the compiler kept none.
    """

    kind: RegisterKind
    registers: int
    name: str = ""
    op: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    values: int = 1
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Registers:
    """What a thread's registers hold at the point of the compiler's IR where that is most, the largest first.

    The point is right after `op`, at `file` and `line`; the compiler chooses the order of instructions itself, so its
    own may be elsewhere. `registers_per_thread` and `spilled_registers` are its figures, the latter in local memory.
    `order`: the first, of those that there are, which needs no more than the compiler has. `partitions`: so many groups
    of specialised warps the kernel has besides its own; each gets registers of its own as it starts, and
    `registers_per_thread` is none of theirs. `partition`: the group that holds these, counted from 0; None for the
    kernel's own warps.
    """

    rows: tuple[HeldInRegisters, ...]
    registers_per_thread: int
    spilled_registers: int
    op: str = ""
    file: str = ""
    line: int = 0
    order: Order = "whole"
    partitions: int = 0
    partition: int | None = None

    @property
    def estimated_registers(self) -> int:
        """Registers per thread that the rows take."""
        return sum(row.registers for row in self.rows)

    @property
    def rest_registers(self) -> int:
        """What the compiler has besides: addresses, indices, and what it adds. Negative if the estimate is too high."""
        return self.registers_per_thread + self.spilled_registers - self.estimated_registers
