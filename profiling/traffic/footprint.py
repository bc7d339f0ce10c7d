"""How many distinct bytes a stretch of accesses touches on average, and so which reuses a cache of some size serves.

The average footprint of all stretches of one length is computed from reuse times alone: Xiang, Ding, Luo and Bao,
"HOTL: a higher order theory of locality" (ASPLOS 2013), equation 4. Only sectors of sampled lines are followed, as in
Waldspurger et al., "Efficient MRC construction with SHARDS" (FAST 2015): a sample of lines keeps every access to them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def in_order(data: Ints) -> Ints:
    """What sorts them, equal ones in the order they have: 16 bits after 16, each of which numpy sorts by counting."""
    if not len(data):
        return np.empty(0, np.int64)
    left = (data - data.min()).view(np.uint64)
    order = np.argsort(left.astype(np.uint16), kind="stable")
    for bits in range(16, int(left.max()).bit_length(), 16):
        order = order[np.argsort((left >> np.uint64(bits)).astype(np.uint16)[order], kind="stable")]
    return order


def distinct(data: Ints) -> int:
    """How many different ones these are."""
    return int(np.count_nonzero(np.diff(data[in_order(data)]))) + bool(len(data))


def previous(data: Ints) -> Ints:
    """For each access, in order, the place of the one before it to the same datum; -1 for the first."""
    order = in_order(data)
    found = np.full(len(data), -1, np.int64)
    same = data[order[1:]] == data[order[:-1]]
    found[order[1:][same]] = order[:-1][same]
    return found


def footprints(data: Ints, before: Ints, lengths: Ints) -> Floats:
    """The average number of distinct data in all stretches of each of these lengths of the accesses `data`."""
    n = len(data)
    places = np.arange(n)
    is_first = before < 0
    is_last = np.ones(n, bool)
    is_last[before[~is_first]] = False
    gaps = np.concatenate([places[is_first] + 1, n - places[is_last], (places - before)[~is_first]])
    counts = np.bincount(gaps, minlength=n + 1)
    longer, beyond = (int(one.sum()) - np.cumsum(one) for one in (counts, counts * np.arange(len(counts))))
    missed = beyond[lengths] - lengths * longer[lengths]
    found: Floats = int(is_first.sum()) - missed / (n - lengths + 1)
    return found
