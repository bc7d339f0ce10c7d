"""What tensors hold, for addresses that depend on it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ssdprof.profiling.traffic.values import Array


class Contents:
    """Arrays at their tensors' addresses: `arrays` as `Peekable.contents` gives them, `places` in bytes."""

    def __init__(self, arrays: Mapping[str, Array], places: Mapping[str, int]) -> None:
        self._arrays = [(places[name], array) for name, array in arrays.items() if name in places and array.size]

    def at(self, addresses: Array, mask: Array, item_bytes: int) -> Array | None:
        """What items of so many bytes hold; 0 where the mask does not hold. None if one of them is not known."""
        found, known = np.zeros(addresses.shape, np.int64), ~mask
        for begin, array in self._arrays:
            if array.itemsize != item_bytes:
                continue
            inside = (addresses >= begin) & (addresses < begin + array.nbytes) & ~known
            found[inside] = array[(addresses[inside] - begin) // item_bytes]
            known = known | inside
        return found if known.all() else None
