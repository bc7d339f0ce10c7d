"""What an element of a value takes in a thread's registers, and how many of them one access to memory needs."""

from __future__ import annotations

import math
import re

from ssdprof.profiling.binary.registers.ir import Value

MASK_BITS = 8
"""Of an element of a mask: what does not fit the few predicate registers goes into bytes of registers."""
ACCESS_BITS = 128
"""What one load or store takes of a thread at most."""
_WITHOUT_REGISTERS = ("!ttg.memdesc", "!ttg.async.token", "!tt.tensordesc")
_POINTEE = re.compile(r"ptr<(\w+)")
_BITS = re.compile(r"\d+")


def vector(value: Value) -> int:
    """How many elements of a thread one access takes, of a tensor of addresses: those next to each other; else 1."""
    pointee = _POINTEE.search(value.dtype)
    if not value.is_tensor or pointee is None:
        return 1
    count, most = 1, ACCESS_BITS // max(8, bits_of(pointee[1]))
    origin = value.elements[0]
    while 2 * count <= min(most, len(value.elements)):
        apart = [i - start for i, start in zip(value.elements[count], origin, strict=True)]
        if sorted(apart)[-1] != count or sum(map(bool, apart)) != 1:
            break
        count *= 2
    return count


def bits_of(dtype: str) -> int:
    """What an element takes: 64 bits for a pointer, a byte of a mask, nothing for what is a place in shared memory."""
    if dtype.startswith(_WITHOUT_REGISTERS):
        return 0
    if dtype.startswith("!tt.ptr") or dtype == "index":
        return 64
    if dtype == "i1":
        return MASK_BITS
    if dtype.startswith("f8"):
        return 8
    found = _BITS.search(dtype)
    return int(found[0]) if found else 32


def registers(bits: float) -> int:
    """Whole registers for so many bits."""
    return math.ceil(bits / 32)
