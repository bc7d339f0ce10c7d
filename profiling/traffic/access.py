"""One execution of an operation that touches memory: its address, its mask and its tile."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssdprof.profiling.traffic.operations import scaled, splat
from ssdprof.profiling.traffic.ttir import Operation, element_bytes, pointee_bytes, shape_of
from ssdprof.profiling.traffic.values import Mask, Sum, Unknown, add, mask_of, multiply

_TILE = re.compile(r"<((?:\d+x)+)(\w+)")
ADDRESSED = {
    "tt.load": "load", "tt.store": "store", "tt.atomic_rmw": "atomic", "tt.atomic_cas": "atomic",
    "tt.descriptor_load": "load", "tt.descriptor_store": "store", "tt.descriptor_reduce": "atomic",
    "tt.descriptor_gather": "load", "tt.descriptor_scatter": "store",
}  # fmt: skip
"""The operations that touch memory, and what each does to it."""
STORING = frozenset(("tt.descriptor_store", "tt.descriptor_reduce", "tt.descriptor_scatter"))
"""Those through a descriptor whose last operand is what they store."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A tensor descriptor: address in bytes, sizes and strides in elements, bytes of an element, and its tile."""

    base: Sum
    sizes: tuple[Sum, ...]
    strides: tuple[Sum, ...]
    item_bytes: int
    block: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """One execution of an operation that touches memory, by all programs at once.

    `address` in bytes, None if it is not known, for `reason`. `tile`: its shape. `bulk`: by the tensor memory
    accelerator.
    """

    operation: Operation
    kind: str
    address: Sum | None
    mask: Mask
    tile: tuple[int, ...]
    item_bytes: int
    bulk: bool = False
    reason: str = ""


def access_of(operation: Operation, values: Mapping[str, Any], active: Mask) -> Access:
    """What an operation of ADDRESSED touches, of the programs that are active."""
    if operation.name.startswith("tt.descriptor"):
        return _through_descriptor(operation, values, active)
    return _through_pointers(operation, values, active)


def mask_operand(operation: Operation) -> str:
    """The name of an operation's mask; empty if it has none."""
    place = {"tt.load": 1, "tt.store": 2, "tt.atomic_rmw": 2}.get(operation.name, len(operation.operands))
    return operation.operands[place] if len(operation.operands) > place else ""


def descriptor_of(operation: Operation, given: Sequence[Any]) -> Descriptor | Unknown:
    """What `tt.make_tensor_descriptor` makes of its operands."""
    for one in given:
        if isinstance(one, Unknown):
            return one
    rank = (len(given) - 1) // 2
    sizes, strides = tuple(given[1 : rank + 1]), tuple(given[rank + 1 :])
    tile = _TILE.search(operation.types)
    if tile is None:
        return Unknown("a descriptor's type, which is not followed")
    block = tuple(map(int, tile[1].rstrip("x").split("x")))
    return Descriptor(given[0], sizes, strides, element_bytes(tile[2]), block)


def _through_pointers(operation: Operation, values: Mapping[str, Any], active: Mask) -> Access:
    kind = ADDRESSED[operation.name]
    pointer = values.get(operation.operands[0], Unknown("not followed"))
    given = mask_operand(operation)
    mask = values.get(given, Unknown("not followed")) if given else Mask(())
    reason = f"its mask is {mask.reason}" if isinstance(mask, Unknown) else ""
    tile, item_bytes = shape_of(operation.types), pointee_bytes(operation.types)
    everyone = active.each(lambda factor: factor.reshape(-1, *(1,) * len(tile)))
    whole = mask_of(*everyone.factors, *(mask.factors if isinstance(mask, Mask) else ()))
    if not isinstance(pointer, Sum):
        why = pointer.reason if isinstance(pointer, Unknown) else "its address"
        return Access(operation, kind, None, whole, tile, item_bytes, reason=why)
    return Access(operation, kind, pointer, whole, tile, item_bytes, reason=reason)


def _through_descriptor(operation: Operation, values: Mapping[str, Any], active: Mask) -> Access:
    kind = ADDRESSED[operation.name]
    descriptor = values.get(operation.operands[0])
    if not isinstance(descriptor, Descriptor):
        reason = descriptor.reason if isinstance(descriptor, Unknown) else "its descriptor"
        return Access(operation, kind, None, active, (), 1, bulk=True, reason=reason)
    names = operation.operands[1 : len(operation.operands) - (operation.name in STORING)]
    indices = [values.get(one, Unknown("not followed")) for one in names]
    item_bytes = descriptor.item_bytes
    for one in indices:
        if not isinstance(one, Sum):
            reason = one.reason if isinstance(one, Unknown) else "its indices"
            return Access(operation, kind, None, active, descriptor.block, item_bytes, bulk=True, reason=reason)
    by_rows = operation.name in ("tt.descriptor_gather", "tt.descriptor_scatter")
    places, tile = _rows(indices, descriptor.block) if by_rows else _tile(indices, descriptor.block)
    rank = len(tile)
    address: Sum = splat(descriptor.base, rank)
    factors = list(active.each(lambda factor: factor.reshape(-1, *(1,) * rank)).factors)
    for place, stride, size in zip(places, descriptor.strides, descriptor.sizes, strict=True):
        address = add(address, multiply(place, scaled(splat(stride, rank), item_bytes)))
        dense = place.dense()
        factors.append((dense >= 0) & (dense < splat(size, rank).dense()))
    return Access(operation, kind, address, mask_of(*factors), tile, item_bytes, bulk=True)


def _tile(indices: Sequence[Sum], block: tuple[int, ...]) -> tuple[list[Sum], tuple[int, ...]]:
    """Where the elements of a tile are along each dimension, and its shape."""
    rank = len(block)
    along = [
        np.arange(size).reshape([1, *(-1 if i == axis else 1 for i in range(rank))]) for axis, size in enumerate(block)
    ]
    return [add(splat(one, rank), Sum((steps,))) for one, steps in zip(indices, along, strict=True)], block


def _rows(indices: Sequence[Sum], block: tuple[int, ...]) -> tuple[list[Sum], tuple[int, ...]]:
    """As `_tile`, of rows with the numbers of the first index, from the column of the second on."""
    rows = indices[0].each(lambda term: term.reshape(*term.shape, 1))
    count = max(term.shape[1] for term in rows.terms)
    columns = add(splat(indices[1], 2), Sum((np.arange(block[-1]).reshape(1, 1, -1),)))
    return [rows, columns], (count, block[-1])
