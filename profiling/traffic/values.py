"""Values of many programs at once, kept as sums (numbers) and products (masks) of small arrays.

The first axis of every array counts programs; an axis of size 1 stands for a value that is the same all along it. An
address such as `base[program] + 64 * row + column` is then three small arrays, not one for each element and program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Ints: TypeAlias = NDArray[np.int64]
_MAX_TERMS = 6
_FEW = 8
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that depends on data, or that an operation gives which is not followed; `reason` says which."""

    reason: str


@dataclass(frozen=True, slots=True)
class Sum:
    """A number for each element: the sum of `terms`, which broadcast against each other."""

    terms: tuple[Array, ...]

    def dense(self) -> Array:
        """The sum in the smallest shape that holds it."""
        return reduce(np.add, self.terms)

    def each(self, change: Callable[[Array], Array]) -> Sum:
        """Every term changed, by something that is linear."""
        return Sum(tuple(map(change, self.terms)))

    @property
    def uniform(self) -> Array | None:
        """Its only term if that is one number for each program at most."""
        if len(self.terms) == 1 and all(size == 1 for size in self.terms[0].shape[1:]):
            return self.terms[0]
        return None


@dataclass(frozen=True, slots=True)
class Mask:
    """A truth for each element: all `factors`, which broadcast against each other; none: true everywhere."""

    factors: tuple[Array, ...]

    def dense(self) -> Array:
        """The product in the smallest shape that holds it."""
        return reduce(np.logical_and, self.factors) if self.factors else np.ones((1,), bool)

    def each(self, change: Callable[[Array], Array]) -> Mask:
        """Every factor changed."""
        return Mask(tuple(map(change, self.factors)))


Value: TypeAlias = Sum | Mask | Unknown


def number(value: float, rank: int = 0) -> Sum:
    """One number everywhere."""
    dtype = np.float64 if isinstance(value, float) else np.int64
    return Sum((np.full((1,) * (rank + 1), value, dtype),))


def mask_of(*factors: Array) -> Mask:
    """The product of these, without those that are true everywhere."""
    kept: list[Array] = []
    for factor in factors:
        if not factor.all() and not any(factor is other for other in kept):
            kept.append(factor)
    return Mask(tuple(kept))


def add(a: Sum, b: Sum, sign: int = 1) -> Sum:
    """A + b or a - b, terms of one shape together."""
    merged: dict[tuple[bool, ...], Array] = {}
    for term, factor in (*((term, 1) for term in a.terms), *((term, sign) for term in b.terms)):
        signature = tuple(size > 1 for size in term.shape)
        signed = term if factor == 1 else -term
        merged[signature] = merged[signature] + signed if signature in merged else signed
    if len(merged) > 1:  # a constant goes into any other term
        constant = merged.pop((False,) * len(next(iter(merged))), None)
        if constant is not None:
            first = next(iter(merged))
            merged[first] = merged[first] + constant
    if sign < 0 and len(merged) > 1:  # what both have goes
        merged = {signature: term for signature, term in merged.items() if term.any()} or dict([merged.popitem()])
    total = Sum(tuple(merged.values()))
    return total if len(merged) <= _MAX_TERMS else Sum((total.dense(),))


def multiply(a: Sum, b: Sum) -> Sum:
    """A * b; a sum times one number a program stays a sum."""
    for one, other in ((a, b), (b, a)):
        factor = other.uniform
        if factor is not None and (factor.shape[0] == 1 or len(one.terms) == 1):
            return one.each(lambda term, factor=factor: term * factor)  # type: ignore[misc]
    return Sum((a.dense() * b.dense(),))


def select(condition: Mask, a: Value, b: Value) -> Value:
    """A where the condition holds, else b."""
    if a is b or not condition.factors:
        return a
    chosen = condition.dense()
    if not chosen.any():
        return b
    for one in (a, b):
        if isinstance(one, Unknown):
            return one
    assert not isinstance(a, Unknown)
    assert not isinstance(b, Unknown)
    left, right = a.dense(), b.dense()
    found = _where(*_alike(chosen, left, right))
    return mask_of(found) if isinstance(a, Mask) else Sum((found,))


def _where(chosen: Array, left: Array, right: Array) -> Array:
    """As numpy's, which goes through an axis of few choices element by element if it is the last."""
    if chosen.size > _FEW:
        return np.where(chosen, left, right)
    shape = np.broadcast_shapes(chosen.shape, left.shape, right.shape)
    found = np.empty(shape, np.result_type(left, right))
    left, right = np.broadcast_to(left, shape), np.broadcast_to(right, shape)
    for index in np.ndindex(chosen.shape):
        here = tuple(slice(None) if size == 1 else i for i, size in zip(index, chosen.shape, strict=True))
        found[here] = (left if chosen[index] else right)[here]
    return found


def _alike(*arrays: Array) -> list[Array]:
    """The arrays with as many axes each: those of fewer get axes of size 1 at the end."""
    rank = max(array.ndim for array in arrays)
    return [array.reshape(array.shape + (1,) * (rank - array.ndim)) for array in arrays]


def rows_of(parts: Sequence[Array], programs: int) -> tuple[Ints, Ints]:
    """Programs with equal rows in all parts: one of each kind, and for each program which kind it is."""
    kinds = np.zeros(programs, np.int64)
    for part in parts:
        flat = part.reshape(part.shape[0], -1)
        if flat.shape[0] == 1:
            continue
        if flat.dtype == np.bool_:
            flat = np.packbits(flat, axis=1)
        keys = _keys(flat)
        if (keys == keys[0]).all():
            continue
        found = _numbered(keys)
        kinds = _numbered(kinds * (int(found.max()) + 1) + found) if kinds.any() else found
    firsts = np.full(int(kinds.max()) + 1, -1, np.int64)
    firsts[kinds[::-1]] = np.arange(programs - 1, -1, -1)
    return firsts, kinds


def members(kinds: Ints, count: int) -> list[Ints]:
    """The programs of each of so many kinds."""
    if count == 1:
        return [np.arange(len(kinds))]
    if count <= _FEW:
        return [np.flatnonzero(kinds == kind) for kind in range(count)]
    order = np.argsort(kinds, kind="stable")
    return np.split(order, np.cumsum(np.bincount(kinds, minlength=count))[:-1])


def _keys(rows: Array) -> NDArray[np.uint64]:
    """A number for each row; equal rows have equal numbers, and others have others but for one chance in 2^50."""
    if rows.dtype.itemsize * rows.shape[1] <= 8 and rows.dtype == np.uint8:
        padded = np.zeros((len(rows), 8), np.uint8)
        padded[:, : rows.shape[1]] = rows
        return padded.view(np.uint64)[:, 0]
    if rows.shape[1] == 1:
        return np.ascontiguousarray(rows[:, 0], np.int64).view(np.uint64)
    wide = rows.astype(np.int64, copy=False).view(np.uint64)
    found: NDArray[np.uint64] = wide @ _factors(rows.shape[1])
    return found


@lru_cache(maxsize=64)
def _factors(count: int) -> NDArray[np.uint64]:
    """So many odd numbers, at random."""
    found: NDArray[np.uint64] = np.random.default_rng(count).integers(1, 1 << 63, count, np.uint64) | np.uint64(1)
    return found


def _numbered(keys: NDArray[Any]) -> Ints:
    """Equal keys get equal numbers from 0 on, without sorting where there are few."""
    mixed = (keys.astype(np.uint64) * _MIX >> np.uint64(48)).astype(np.uint16)
    order = np.argsort(mixed, kind="stable")  # of 16 bits: by counting
    others = np.diff(mixed[order]) != 0
    if (others | (np.diff(keys[order]) == 0)).all():
        numbers = np.empty(len(keys), np.int64)
        numbers[order] = np.concatenate([[0], np.cumsum(others)])
        return numbers
    found: Ints = np.unique(keys, return_inverse=True)[1]
    return found
