"""What is kept of a launch as JSON and back, exactly: no number is rounded, no field guessed; no torch, no triton."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ssdprof.kernels.captured.model import DescriptorArg, DtypeArg, TensorArg
from ssdprof.kernels.config import shown

T = TypeVar("T")
_PLAIN_BITS = 63


class _Argument:
    """Stands for `model.Argument`, which is recursive, in the types of fields."""


_TAGGED: Mapping[str, type] = {"tensor": TensorArg, "descriptor": DescriptorArg, "dtype": DtypeArg}
_TAGS: Mapping[type, str] = {kind: tag for tag, kind in _TAGGED.items()}


def to_json(value: Any) -> bytes:
    """A dataclass of `model` as JSON. Raises ValueError, in one line, for a value that its type does not allow."""
    try:
        plain = _written(type(value), value, type(value).__name__)
        return json.dumps(plain, allow_nan=False, separators=(",", ":")).encode()
    except RecursionError:
        raise ValueError(f"{type(value).__name__} is nested too deeply") from None


def from_json(kind: type[T], data: bytes) -> T:
    """A dataclass of `model` from its JSON. Raises ValueError, in one line, for anything else."""
    try:
        value: T = _read(kind, json.loads(data, parse_constant=_refuse_constant), kind.__name__)
    except RecursionError:
        raise ValueError(f"{kind.__name__} is nested too deeply") from None
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


@lru_cache(maxsize=64)
def _types(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, localns={"Argument": _Argument})


def _written(hint: Any, value: Any, where: str) -> Any:
    if hint in (_Argument, Any):
        return _written_value(value, where, any_container=hint is Any)
    hint = _without_none(hint, value)
    origin, of = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and type(value) is hint:
        types = _types(type(value))
        return {f.name: _written(types[f.name], getattr(value, f.name), f"{where}.{f.name}") for f in fields(hint)}
    if origin is tuple and type(value) is tuple:
        return [_written(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(_items(of, value, where))]
    if _is_mapping(origin) and isinstance(value, Mapping):
        return {_key(name, where): _written(of[1], item, f"{where}[{name!r}]") for name, item in value.items()}
    if origin is Literal and value in of:
        return value
    if hint is float and type(value) in (int, float):
        return _written_value(float(value), where)
    if hint in (int, bool, str, NoneType) and type(value) is hint:
        return _written_value(value, where)
    raise ValueError(f"{where} cannot be a {type(value).__name__}")


def _written_value(value: Any, where: str, *, any_container: bool = False) -> Any:
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return value if value.bit_length() <= _PLAIN_BITS else {"int": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"float": struct.pack(">d", value).hex()}
    if kind is tuple:
        return {"tuple": [_written_value(x, f"{where}[{i}]", any_container=any_container) for i, x in enumerate(value)]}
    if kind in _TAGS:
        return {_TAGS[kind]: _written(kind, value, where)}
    if any_container and kind is list:
        return [_written_value(x, f"{where}[{i}]", any_container=True) for i, x in enumerate(value)]
    if any_container and isinstance(value, Mapping):
        items = value.items()
        return {"map": {_key(k, where): _written_value(x, f"{where}[{k!r}]", any_container=True) for k, x in items}}
    raise ValueError(f"{where} cannot be a {kind.__name__}")


def _read(hint: Any, data: Any, where: str) -> Any:
    if hint in (_Argument, Any):
        return _read_value(data, where, any_container=hint is Any)
    hint = _without_none(hint, data)
    origin, of = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and type(data) is dict:
        return _read_dataclass(hint, data, where)
    if origin is tuple and type(data) is list:
        return tuple(_read(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(_items(of, data, where)))
    if _is_mapping(origin) and type(data) is dict:
        return {name: _read(of[1], item, f"{where}[{name!r}]") for name, item in data.items()}
    if origin is Literal and type(data) is str and data in of:
        return data
    if hint in (int, float, bool, str, NoneType):
        value = _read_value(data, where) if hint in (int, float) else data
        if type(value) is hint:
            return value
    raise ValueError(f"{where} is {shown(data)}, which is not what this version of ssdprof writes there")


def _read_dataclass(kind: Any, data: dict[str, Any], where: str) -> Any:
    types = _types(kind)
    if unknown := [name for name in data if name not in types]:
        raise ValueError(f"{where} has an unknown field {shown(unknown[0])}")
    required = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    if absent := [name for name in required if name not in data]:
        raise ValueError(f"{where} has no field {absent[0]}")
    return kind(**{name: _read(types[name], item, f"{where}.{name}") for name, item in data.items()})


def _read_value(data: Any, where: str, *, any_container: bool = False) -> Any:
    if data is None or type(data) in (bool, str, int, float):
        return data
    if any_container and type(data) is list:
        return [_read_value(x, f"{where}[{i}]", any_container=True) for i, x in enumerate(data)]
    if type(data) is dict and len(data) == 1:
        ((tag, of),) = data.items()
        if tag in _TAGGED:
            return _read(_TAGGED[tag], of, where)
        if tag == "tuple" and type(of) is list:
            return tuple(_read_value(x, f"{where}[{i}]", any_container=any_container) for i, x in enumerate(of))
        if tag == "map" and any_container and type(of) is dict:
            return {name: _read_value(x, f"{where}[{name!r}]", any_container=True) for name, x in of.items()}
        if tag == "int" and type(of) is str:
            return int(of, 16)
        if tag == "float" and type(of) is str and len(of) == 16:
            return struct.unpack(">d", bytes.fromhex(of))[0]
    raise ValueError(f"{where} is {shown(data)}, which is not what this version of ssdprof writes there")


def _without_none(hint: Any, value: Any) -> Any:
    """The type that `hint` has for this value: of `X | None`, X unless the value is None."""
    if get_origin(hint) not in (Union, UnionType):
        return hint
    return NoneType if value is None else next(kind for kind in get_args(hint) if kind is not NoneType)


def _items(of: tuple[Any, ...], values: Any, where: str) -> list[tuple[Any, Any]]:
    """Each value of a tuple with its type."""
    kinds = [of[0]] * len(values) if of[1:] == (...,) else list(of)
    if len(kinds) != len(values):
        raise ValueError(f"{where} must have {len(kinds)} values, got {len(values)}")
    return list(zip(kinds, values, strict=True))


def _key(name: Any, where: str) -> str:
    if type(name) is not str:
        raise ValueError(f"{where} has {shown(name)} as a name, which must be a str")
    return name


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)
