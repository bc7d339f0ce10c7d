"""What TTIR's operations make of values, as far as addresses, masks and loops are made of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ssdprof.profiling.traffic.ttir import Operation, pointee_bytes, shape_of
from ssdprof.profiling.traffic.values import (
    Array,
    Mask,
    Sum,
    Unknown,
    Value,
    add,
    mask_of,
    multiply,
    number,
    rows_of,
    select,
)

_SAME = {
    "arith.extsi", "arith.extui", "arith.trunci", "arith.index_cast", "arith.extf", "arith.truncf", "tt.bitcast",
    "arith.bitcast", "tt.int_to_ptr", "tt.ptr_to_int", "tt.fp_to_fp", "tt.broadcast", "arith.index_castui",
}  # fmt: skip
_COMPARISONS: Mapping[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal, "ne": np.not_equal, "slt": np.less, "sle": np.less_equal, "sgt": np.greater,
    "sge": np.greater_equal, "ult": np.less, "ule": np.less_equal, "ugt": np.greater, "uge": np.greater_equal,
    "oeq": np.equal, "one": np.not_equal, "olt": np.less, "ole": np.less_equal, "ogt": np.greater,
    "oge": np.greater_equal, "ueq": np.equal, "une": np.not_equal,
}  # fmt: skip
_UNSIGNED = {"arith.divui", "arith.remui", "arith.ceildivui", "arith.minui", "arith.maxui", "arith.shrui", "tt.mulhiui"}
_BITS = re.compile(r"(?:\b|x)i(\d+)\b")
_FEW_KINDS = 256


def unsigned(operation: Operation, values: Array) -> Array:
    """Whole numbers as an operation without signs reads them: negative ones count from the other end of its type."""
    bits = _BITS.search(operation.types)
    if values.dtype.kind != "i" or not bits or int(bits[1]) >= 64 or not (values < 0).any():
        return values
    found: Array = values & ((1 << int(bits[1])) - 1)
    return found


def splat(value: Sum, rank: int) -> Sum:
    """A number for each program as a tensor of that rank."""
    return value.each(lambda term: term.reshape(-1, *(1,) * rank))


def scaled(value: Sum, factor: int) -> Sum:
    """The value times a number."""
    return value if factor == 1 else value.each(lambda term: term * factor)


def _divided(a: Array, b: Array) -> Array:
    b = np.where(b == 0, 1, b)
    if (a >= 0).all() and (b > 0).all():
        whole: Array = a // b
        return whole
    found: Array = np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))
    return found


def _remainder(a: Array, b: Array) -> Array:
    found: Array = a - _divided(a, b) * b
    return found


_DENSE: Mapping[str, Callable[[Array, Array], Array]] = {
    "arith.divsi": _divided, "arith.divui": _divided, "arith.remsi": _remainder, "arith.remui": _remainder,
    "arith.floordivsi": lambda a, b: a // np.where(b == 0, 1, b),
    "arith.ceildivsi": lambda a, b: -(-a // np.where(b == 0, 1, b)),
    "arith.ceildivui": lambda a, b: -(-a // np.where(b == 0, 1, b)),
    "arith.minsi": np.minimum, "arith.minui": np.minimum, "arith.maxsi": np.maximum, "arith.maxui": np.maximum,
    "arith.minnumf": np.minimum, "arith.maxnumf": np.maximum, "arith.minimumf": np.minimum,
    "arith.maximumf": np.maximum,
    "arith.shrsi": np.right_shift, "arith.shrui": np.right_shift,
    "arith.andi": np.bitwise_and, "arith.ori": np.bitwise_or, "arith.xori": np.bitwise_xor,
    "arith.mulf": np.multiply, "arith.addf": np.add, "arith.subf": np.subtract,
    "arith.divf": lambda a, b: a / np.where(b == 0, 1, b), "tt.precise_divf": lambda a, b: a / np.where(b == 0, 1, b),
    "tt.mulhiui": lambda a, b: (a.astype(object) * b.astype(object) >> 32).astype(np.int64),
}  # fmt: skip
_UNARY: Mapping[str, Callable[[Array], Array]] = {
    "math.floor": np.floor, "math.ceil": np.ceil, "math.sqrt": np.sqrt, "tt.precise_sqrt": np.sqrt,
    "math.absi": np.abs, "math.absf": np.abs, "math.exp": np.exp, "math.exp2": np.exp2, "math.log": np.log,
    "math.log2": np.log2, "arith.negf": np.negative,
    "arith.sitofp": lambda a: a.astype(np.float64), "arith.uitofp": lambda a: a.astype(np.float64),
    "arith.fptosi": lambda a: np.trunc(a).astype(np.int64), "arith.fptoui": lambda a: np.trunc(a).astype(np.int64),
}  # fmt: skip


def computed(operation: Operation, given: Sequence[Any]) -> list[Value]:
    """The results of an operation whose operands are known."""
    name = operation.name
    if name == "tt.split":
        return [value.each(lambda term, i=i: term[..., min(i, term.shape[-1] - 1)]) for value in given for i in (0, 1)]
    found = _computed(name, operation, given)
    return [found] * max(1, len(operation.results))


def _computed(name: str, operation: Operation, given: Sequence[Any]) -> Value:
    if name == "arith.constant":
        return _constant(operation)
    if name == "tt.make_range":
        start, end = (int(re.search(rf"{word} = (\d+)", operation.attributes)[1]) for word in ("start", "end"))  # type: ignore[index]
        return Sum((np.arange(start, end).reshape(1, -1),))
    if name in ("tt.splat", "tt.unsplat"):
        rank = len(shape_of(operation.result_type)) if name == "tt.splat" else 0
        return given[0].each(lambda term: term.reshape(-1, *(1,) * rank))  # type: ignore[no-any-return]
    if name in _SAME:
        return _cast(operation, given[0])
    if name in ("tt.addptr", "arith.addi", "arith.subi", "arith.muli", "arith.shli"):
        return _linear(name, operation, *given)
    if name == "arith.cmpi" or name == "arith.cmpf":
        return _compared(operation, *map(_as_sum, given))
    if name == "arith.select":
        condition = given[0]
        return select(condition, given[1], given[2])
    if isinstance(given[0], Mask) and name in ("arith.andi", "arith.ori", "arith.xori", "arith.muli"):
        return _logical(name, given[0], _as_mask(given[1]))
    if name in _DENSE and len(given) == 2:
        left, right = (_as_sum(one).dense() for one in given)
        if name in _UNSIGNED:
            left, right = unsigned(operation, left), unsigned(operation, right)
        return Sum((_DENSE[name](left, right),))
    if name in _UNARY:
        return Sum((_UNARY[name](_as_sum(given[0]).dense()),))
    return _shaped(name, operation, given)


def _shaped(name: str, operation: Operation, given: Sequence[Any]) -> Value:
    """What moves elements about."""
    if name == "tt.expand_dims":
        axis = _integer(operation.attributes, "axis")
        return given[0].each(lambda term: np.expand_dims(term, axis + 1))  # type: ignore[no-any-return]
    if name == "tt.trans":
        order = re.search(r"array<i32: ([\d, ]+)>", operation.attributes)
        axes = [0, *(int(one) + 1 for one in order[1].split(","))] if order else [0, 2, 1]
        return given[0].each(lambda term: np.transpose(term, axes))  # type: ignore[no-any-return]
    if name == "tt.reshape":
        source, shape = shape_of(operation.types.partition(" -> ")[0]), shape_of(operation.result_type)
        whole = given[0].dense()
        whole = np.broadcast_to(whole, (whole.shape[0], *source)).reshape(whole.shape[0], *shape)
        return mask_of(whole) if isinstance(given[0], Mask) else Sum((whole,))
    if name in ("tt.join", "tt.cat"):
        a, b = (one.dense() for one in given)
        shape = shape_of(operation.types.partition(" -> ")[0])
        programs = max(len(a), len(b))
        a, b = (np.broadcast_to(one, (programs, *shape)) for one in (a, b))
        whole = np.stack([a, b], -1) if name == "tt.join" else np.concatenate([a, b], 1)
        return mask_of(whole) if isinstance(given[0], Mask) else Sum((whole,))
    if name in ("tt.reduce", "tt.scan"):
        return _reduced(operation, given[0])
    return Unknown(f"{name}, which is not followed")


def _reduced(operation: Operation, value: Value) -> Value:
    inside = [one.name for one in operation.inner() if not one.name.endswith("return")]
    by = {
        "arith.addi": np.add, "arith.maxsi": np.maximum, "arith.minsi": np.minimum, "arith.maxui": np.maximum,
        "arith.minui": np.minimum, "arith.addf": np.add, "arith.ori": np.bitwise_or, "arith.andi": np.bitwise_and,
        "arith.xori": np.bitwise_xor, "arith.muli": np.multiply,
    }  # fmt: skip
    if len(inside) != 1 or inside[0] not in by or isinstance(value, Unknown):
        return Unknown(f"{operation.name}, which is not followed")
    shape = shape_of(operation.types)
    axis = _integer(operation.attributes, "axis") + 1
    whole = value.dense()
    whole = np.broadcast_to(whole, (whole.shape[0], *shape))
    ufunc: Any = by[inside[0]]
    if operation.name == "tt.reduce":
        return Sum((ufunc.reduce(whole, axis),))
    if "reverse = true" in operation.attributes:
        return Sum((np.flip(ufunc.accumulate(np.flip(whole, axis), axis), axis),))
    return Sum((ufunc.accumulate(whole, axis),))


def _integer(text: str, name: str) -> int:
    found = re.search(rf"{name} = (\d+)", text)
    return int(found[1]) if found else 0


def _constant(operation: Operation) -> Value:
    text, rank = operation.attributes, len(shape_of(operation.types))
    dense = re.search(r"dense<(.*?)>", text)
    text = (dense[1] if dense else text).strip()
    if text.startswith("{"):
        text = text.partition("}")[2].strip()
    if text in ("true", "false"):
        return Mask(()) if text == "true" else Mask((np.zeros((1,) * (rank + 1), bool),))
    try:
        return number(int(text), rank)
    except ValueError:
        pass
    try:
        return number(float(text), rank)
    except ValueError:
        return Unknown("a constant that is not followed")


def _cast(operation: Operation, value: Value) -> Value:
    if isinstance(value, Mask) and operation.name in ("arith.extui", "arith.extsi"):
        return _as_sum(value, -1 if operation.name == "arith.extsi" else 1)
    if isinstance(value, Sum) and operation.name == "arith.extui":
        whole = value.dense()
        return Sum((unsigned(operation, whole),)) if (whole < 0).any() else value
    if isinstance(value, Sum) and operation.name == "arith.trunci" and re.search(r"i1>?$", operation.types):
        return mask_of(value.dense() & 1 != 0)
    return value


def _as_sum(value: Value, true: int = 1) -> Sum:
    if isinstance(value, Mask):
        return Sum((value.dense().astype(np.int64) * true,))
    assert isinstance(value, Sum)
    return value


def _as_mask(value: Value) -> Mask:
    if isinstance(value, Sum):
        return mask_of(value.dense() != 0)
    assert isinstance(value, Mask)
    return value


def _linear(name: str, operation: Operation, a: Value, b: Value) -> Value:
    if name != "tt.addptr" and isinstance(a, Mask) and isinstance(b, Mask):
        return _logical("arith.andi" if name == "arith.muli" else "arith.xori", a, b)
    left, right = _as_sum(a), _as_sum(b)
    if name == "tt.addptr":
        return add(left, scaled(right, pointee_bytes(operation.types)))
    if name in ("arith.addi", "arith.subi"):
        return add(left, right, 1 if name == "arith.addi" else -1)
    if name == "arith.shli":
        return multiply(left, Sum((np.left_shift(1, right.dense()),)))
    return multiply(left, right)


def _logical(name: str, a: Mask, b: Mask) -> Mask:
    if name in ("arith.andi", "arith.muli"):
        return mask_of(*a.factors, *b.factors)
    left, right = a.dense(), b.dense()
    rank = max(left.ndim, right.ndim)
    left, right = (one.reshape(one.shape + (1,) * (rank - one.ndim)) for one in (left, right))
    return mask_of(left | right if name == "arith.ori" else left ^ right)


def _kinds(values: Array) -> tuple[Array, Array]:
    """The distinct ones of these, and for each which it is."""
    if values.dtype.kind == "f":
        distinct, kinds = np.unique(values, return_inverse=True)
        return distinct, kinds
    firsts, kinds = rows_of([values.reshape(-1, 1)], len(values))
    return values[firsts], kinds


def _compared(operation: Operation, a: Sum, b: Sum) -> Mask:
    predicate = operation.attributes.split(",")[0].strip()
    compare = _COMPARISONS.get(predicate)
    if compare is None:
        return Mask(())
    if operation.name == "arith.cmpi" and predicate.startswith("u"):
        left, right = a.dense(), b.dense()
        if (left < 0).any() or (right < 0).any():
            return mask_of(compare(unsigned(operation, left), unsigned(operation, right)))
    difference = add(a, b, -1)  # what both depend on goes, such as the program's first row
    zero = np.zeros((), np.int64)
    varying = [term for term in difference.terms if term.shape[0] > 1]
    if varying and len(difference.terms) > len(varying) and all(term.size == term.shape[0] for term in varying):
        values, kinds = _kinds(sum(varying[1:], varying[0]).ravel())
        if len(values) < _FEW_KINDS:  # one comparison for all programs that are alike
            rest = [term for term in difference.terms if term.shape[0] == 1]
            few = compare(Sum((values.reshape(-1, *(1,) * (rest[0].ndim - 1)), *rest)).dense(), zero)
            return mask_of(few[kinds])
    return mask_of(compare(difference.dense(), zero))
