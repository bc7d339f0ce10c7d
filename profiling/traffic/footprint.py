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


def previous(data: Ints) -> Ints:
    """For each access, in order, the place of the one before it to the same datum; -1 for the first."""
    order = np.argsort(data, kind="stable")
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
    gaps.sort()
    beyond = np.concatenate([np.cumsum(gaps[::-1])[::-1], [0]])
    place = np.searchsorted(gaps, lengths, side="right")
    missed = beyond[place] - lengths * (len(gaps) - place)
    found: Floats = int(is_first.sum()) - missed / (n - lengths + 1)
    return found
