"""Which loads of a kernel go past L1: asynchronous copies of 16 bytes do, smaller ones and plain loads do not."""

from __future__ import annotations

import re

_PLACE = re.compile(r"\s*\.loc\s+\d+\s+(\d+)\s+(\d+)")
_PAST_L1 = "cp.async.cg."


def past_l1(ptx: str) -> frozenset[str]:
    """The places in the source, as `line:column`, of the asynchronous copies in a PTX text that go past L1.

    PTX ISA, cp.async: `.cg` caches in L2 alone.
    """
    found, place = set(), ""
    for line in ptx.splitlines():
        if at := _PLACE.match(line):
            place = f"{at[1]}:{at[2]}"
        elif _PAST_L1 in line and place:
            found.add(place)
    return frozenset(found)
