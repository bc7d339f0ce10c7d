"""What a block's shared memory holds, as values: a row for each buffer, and a row for the bytes that nothing claims."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

HeldKind = Literal["buffer", "barrier", "scratch", "call", "unused", "not attributed"]


@dataclass(frozen=True, slots=True)
class Held:
    """Something in shared memory, from `offset_bytes` on, for a part of the kernel's time.

    `name` is the variable's; empty if the compiler kept none. `op` is the operation of the compiler's IR that the
    bytes are of; empty for bytes of none. `copies` of `shape`, one for each stage that is in flight, are all in
    `size_bytes`, padding included. `scratch` passes values between threads within one operation, `call` is what a
    called function has. `unused`: between two buffers. `not attributed`: no operation's, or of one whose size the
    compiler does not tell. `file` and `line` are those of the source; empty and 0 if the compiler kept none.
    `in_turn_with`: the rows, counted from 0, that hold some of the same bytes at other times.
    """

    kind: HeldKind
    offset_bytes: int
    size_bytes: int
    name: str = ""
    op: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    copies: int = 1
    file: str = ""
    line: int = 0
    in_turn_with: tuple[int, ...] = ()

    @property
    def end_bytes(self) -> int:
        """The first byte after it."""
        return self.offset_bytes + self.size_bytes


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a block's dynamic shared memory of `total_bytes` holds, by offset: together the rows cover every byte."""

    rows: tuple[Held, ...]
    total_bytes: int

    @property
    def claimed_bytes(self) -> int:
        """The sizes of all that is held, whether at the same time or in turn."""
        return sum(row.size_bytes for row in self.rows if row.op)

    @property
    def unattributed_bytes(self) -> int:
        """The sizes of the rows that are not attributed."""
        return sum(row.size_bytes for row in self.rows if row.kind == "not attributed")


def ledger(held: list[Held], allocated_bytes: int, total_bytes: int) -> Ledger:
    """The ledger of a kernel with `total_bytes`, of which `allocated_bytes` went to `held`, in the program's order.

    What is alike is one row. A row whose size is not known (0) gets the bytes from its offset on that nothing else has.
    Raises ValueError if something reaches beyond `allocated_bytes`.
    """
    rows = list(dict.fromkeys(held))
    known = [row for row in rows if row.size_bytes]
    beyond = next((row for row in known if row.end_bytes > allocated_bytes), None)
    if beyond is not None:
        raise ValueError(f"{beyond.op} ends at byte {beyond.end_bytes} of {allocated_bytes}")
    for row in sorted((row for row in rows if not row.size_bytes), key=lambda row: -row.offset_bytes):
        free = next((gap for gap in _gaps(known, allocated_bytes) if gap[0] <= row.offset_bytes < gap[1]), None)
        size_bytes = free[1] - row.offset_bytes if free else 0
        known.append(replace(row, kind="not attributed", size_bytes=size_bytes))
    for start, end in _gaps(known, allocated_bytes):
        kind: HeldKind = "unused" if end < allocated_bytes else "not attributed"
        known.append(Held(kind, start, end - start))
    if total_bytes > allocated_bytes:
        known.append(Held("not attributed", allocated_bytes, total_bytes - allocated_bytes))
    known.sort(key=lambda row: row.offset_bytes)
    return Ledger(tuple(replace(row, in_turn_with=_overlapping(i, known)) for i, row in enumerate(known)), total_bytes)


def _gaps(rows: list[Held], end_bytes: int) -> list[tuple[int, int]]:
    """The byte ranges below `end_bytes` that no row covers."""
    gaps, covered = [], 0
    for row in sorted(rows, key=lambda row: row.offset_bytes):
        if row.offset_bytes > covered:
            gaps.append((covered, row.offset_bytes))
        covered = max(covered, row.end_bytes)
    return [*gaps, (covered, end_bytes)] if covered < end_bytes else gaps


def _overlapping(i_row: int, rows: list[Held]) -> tuple[int, ...]:
    own = rows[i_row]
    return tuple(
        i
        for i, row in enumerate(rows)
        if i != i_row and row.offset_bytes < own.end_bytes and own.offset_bytes < row.end_bytes
    )
