"""Which sectors of memory an access touches: one pattern for all programs that differ only in where it begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssdprof.profiling.traffic.access import Access
from ssdprof.profiling.traffic.values import Array, members, rows_of

SECTOR_BYTES = 32
LINE_BYTES = 128
_CHUNK_ELEMENTS = 1 << 22


@dataclass(frozen=True, slots=True)
class Touched:
    """Programs (their places in the batch) that touch the same sectors but for an offset.

    `first`: the offset of each, in sectors; `sectors`: distinct, counted from it. `elements`: accessed by each.
    """

    programs: NDArray[np.int64]
    first: NDArray[np.int64]
    sectors: NDArray[np.int64]
    elements: int


def touched(access: Access, programs: int) -> Iterator[Touched]:
    """What each of so many programs touches, if the address is known; programs that touch nothing are left out."""
    if access.address is None:
        return
    rank = len(access.tile)
    size = int(np.prod(access.tile, dtype=np.int64)) if rank else 1
    of_programs = [term for term in access.address.terms if term.shape[0] > 1]
    same = [term for term in access.address.terms if term.shape[0] == 1]
    masks = [factor for factor in access.mask.factors if factor.shape[0] > 1]
    for begin, end in _chunks(of_programs, programs, size):
        yield from _touched(access, [one[begin:end] for one in of_programs], same, masks, begin, end)


def _chunks(of_programs: list[Array], programs: int, size: int) -> Iterator[tuple[int, int]]:
    """Parts of the batch whose largest array, one number an element, is not too large."""
    largest = max((term[0].size for term in of_programs), default=1)
    step = max(1, _CHUNK_ELEMENTS // (largest if len(of_programs) <= 1 else size))
    for begin in range(0, programs, step):
        yield begin, min(programs, begin + step)


def _touched(
    access: Access, of_programs: list[Array], same: list[Array], masks: list[Array], begin: int, end: int
) -> Iterator[Touched]:
    count, rank = end - begin, len(access.tile)
    bases = np.zeros(count, np.int64)
    moved: list[Array] = []
    for term in of_programs:
        flat = term.reshape(count, -1)
        bases = bases + flat[:, 0].astype(np.int64, copy=False)
        if flat.shape[1] > 1:
            moved.append(term - flat[:, 0].reshape(-1, *(1,) * rank))
    if len(moved) > 1:  # several terms that differ from program to program: their sum says where each element is
        moved = [sum(moved[1:], moved[0])]
    masks = [factor[begin:end] for factor in masks]
    within = bases % LINE_BYTES
    firsts, kinds = rows_of([within.reshape(-1, 1), *moved, *masks], count)
    for first, those in zip(firsts, members(kinds, len(firsts)), strict=True):
        sectors, elements = _sectors(access, same, moved, masks, int(first), int(within[first]))
        if elements:
            yield Touched(those + begin, (bases[those] - within[first]) // SECTOR_BYTES, sectors, elements)


def _sectors(
    access: Access, same: list[Array], moved: list[Array], masks: list[Array], program: int, within: int
) -> tuple[NDArray[np.int64], int]:
    """The distinct sectors of one program's elements, and how many elements there are."""
    whole = np.full((1,) * (len(access.tile) + 1), within, np.int64)
    for term in same:
        whole = whole + term.astype(np.int64, copy=False)
    for term in moved:
        whole = whole + term[program : program + 1].astype(np.int64, copy=False)
    shared = [factor for factor in access.mask.factors if factor.shape[0] == 1]
    holds = [*shared, *(factor[program : program + 1] for factor in masks)]
    mask = None
    for factor in holds:
        shaped = factor.reshape(factor.shape + (1,) * (whole.ndim - factor.ndim))
        mask = shaped if mask is None else mask & shaped
    whole = np.broadcast_to(whole, (1, *access.tile))
    axes = [0, *sorted(range(1, whole.ndim), key=lambda axis: _step(whole, axis), reverse=True)]
    if mask is not None:
        whole = whole.transpose(axes)[np.broadcast_to(mask, whole.shape).transpose(axes)]
    else:
        whole = whole.transpose(axes)
    elements = int(whole.size)
    if not elements:
        return np.empty(0, np.int64), 0
    flat = whole.ravel()
    sectors = flat // SECTOR_BYTES
    sectors = sectors[np.flatnonzero(np.diff(sectors, prepend=sectors[0] - 1))]  # neighbours are mostly in one
    if (sectors[1:] < sectors[:-1]).any():
        sectors = np.unique(sectors)
    if access.item_bytes > SECTOR_BYTES or (flat % access.item_bytes).any():
        sectors = np.unique(np.concatenate([sectors, (flat + access.item_bytes - 1) // SECTOR_BYTES]))
    return sectors, elements


def _step(places: Array, axis: int) -> int:
    """How far apart the first two elements along an axis are."""
    if places.shape[axis] < 2:
        return 0
    one, other = (places[tuple(i if a == axis else 0 for a in range(places.ndim))] for i in (0, 1))
    return abs(int(one) - int(other))
