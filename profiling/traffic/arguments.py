"""A launch's arguments as the evaluator takes them: numbers, and an address for each tensor."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ssdprof.kernels.launch import DTYPE_BYTES, DescriptorRef, LaunchPlan, TensorMeta, TensorRef
from ssdprof.profiling.traffic.access import Descriptor
from ssdprof.profiling.traffic.values import number

_ALIGNMENT_BYTES = 1 << 21


def addresses(tensors: Mapping[str, TensorMeta]) -> dict[str, int]:
    """An address for each tensor: tensors of one storage as they lie in it, storages apart as an allocator has them."""
    ends: dict[str, int] = {}
    for name, meta in tensors.items():
        storage = meta.storage or f"/{name}"
        ends[storage] = max(ends.get(storage, 0), meta.extent * DTYPE_BYTES[meta.dtype])
    begin, bases = _ALIGNMENT_BYTES, {}
    for storage, size_bytes in ends.items():
        bases[storage] = begin
        begin += -(-(size_bytes + 1) // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
    return {
        name: bases[meta.storage or f"/{name}"] + meta.offset * DTYPE_BYTES[meta.dtype]
        for name, meta in tensors.items()
    }


def arguments(plan: LaunchPlan, places: Mapping[str, int], names: Sequence[str] = ()) -> dict[str, Any]:
    """The kernel's arguments by parameter, tensors as addresses, descriptors as such.

    `names`: of the parameters in the IR. Triton 3.6 gives all members of a tuple the tuple's name, with numbers that
    make it unique, and has no parameter for a member that equals 1.
    """
    found = dict(_flat(plan.args, places))
    for name, value in plan.args.items():
        if isinstance(value, tuple):
            mine = [one for one in names if re.fullmatch(rf"{re.escape(name)}(_\d+)?", one) and one not in found]
            for members in (list(value), [one for one in value if isinstance(one, TensorRef) or one != 1]):
                if len(mine) == len(members):
                    found |= _flat(dict(zip(mine, members, strict=True)), places)
    return found


def _flat(args: Mapping[str, Any], places: Mapping[str, int]) -> Iterator[tuple[str, Any]]:
    for name, value in args.items():
        if isinstance(value, TensorRef):
            yield name, places[value.name] + value.offset_bytes
        elif isinstance(value, DescriptorRef):
            base = number(places[value.name])
            sizes, strides = tuple(map(number, value.shape)), tuple(map(number, value.strides))
            yield name, Descriptor(base, sizes, strides, DTYPE_BYTES[value.dtype], tuple(value.block))
            for word, numbers in (("shape", value.shape), ("stride", value.strides)):
                yield from ((f"{name}.{word}.{i}", one) for i, one in enumerate(numbers))
        elif isinstance(value, (bool, int, float)):
            yield name, value
        elif isinstance(value, tuple):
            yield from _flat({f"{name}.{i}": one for i, one in enumerate(value)}, places)


def owner(tensors: Mapping[str, TensorMeta], places: Mapping[str, int]) -> Callable[[int], str]:
    """Which tensor has an address: the last one that begins before it. Empty if none does."""
    begins = sorted((place, name) for name, place in places.items() if tensors[name].numel)
    starts = [place for place, _ in begins]

    def name_of(address: int) -> str:
        at = bisect_right(starts, address) - 1
        return begins[at][1] if at >= 0 else ""

    return name_of
