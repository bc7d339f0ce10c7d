"""Records as plain JSON values and back, by their types, so the text NaN stays a text."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, partial
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ssdprof.kernels.config import Config
from ssdprof.kernels.interface import Tolerances
from ssdprof.profiling.runs.measured import Check
from ssdprof.profiling.runs.model import Device, Row, RunHeader

DERIVED: dict[type, tuple[str, ...]] = {
    Row: (
        *("rank", "speedup_vs_baseline", "tied_with_best", "recorded", "achieved", "answer", "counters"),
        *("model", "floor_ms", "bound"),
    )
}
"""Fields that are not kept with their record, since they follow from others."""
LATER: dict[type, tuple[str, ...]] = {
    RunHeader: ("unordered", "reference"),
    Tolerances: ("against",),
    Check: ("sketch", "sums_alone"),
    Device: ("ceilings",),
}
"""Fields that came after others of their format; left out if they are empty, so that older versions read on."""
_NO_NUMBERS = ("NaN", "Infinity", "-Infinity")
_IN_WORDS = {bool: "true or false", dict: "an object", int: "a whole number", list: "a list", str: "text"}


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.name not in DERIVED.get(kind, ()))


def plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Config):
        return {"values": dict(value.values), "variant": value.variant}
    if is_dataclass(value):
        kind: Any = type(value)
        later = LATER.get(kind, ())
        items = ((name, getattr(value, name)) for name in _names(kind))
        return {name: plain(item) for name, item in items if item or name not in later}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


@cache
def reader(kind: Any) -> Callable[[Any], Any]:
    """A function that turns a JSON value into a value of this type, or raises ValueError.

    The type decides, so the text NaN stays a text.
    """
    origin, args = get_origin(kind), get_args(kind)
    if kind is Config:
        return _config
    if is_dataclass(kind):
        return _object_reader(kind)
    if origin in (UnionType, Union):
        kinds = [one for one in args if one is not type(None)]
        return _value if len(kinds) > 1 else partial(_optional, reader(kinds[0]))
    if origin is tuple and args[-1] is not Ellipsis:
        return partial(_tuple, tuple(map(reader, args)))
    if origin is tuple:
        item = reader(args[0])
        return lambda value: tuple(map(item, _instance(list, value)))
    if origin is Literal:
        return lambda value: _checked(value, isinstance(value, str) and value in args, f"one of {', '.join(args)}")
    return _number if kind is float else partial(_instance, origin or kind)


def _object_reader(kind: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(kind)
    readers = {name: reader(hints[name]) for name in _names(kind)}
    needed = [one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING]

    def read(value: Any) -> Any:
        _instance(dict, value)
        for name in needed:
            if name not in value:
                raise ValueError(f"{name} is missing")
        values = {}
        for name, item in value.items():
            if name not in readers:
                raise ValueError(f"unknown field {reprlib.repr(name)}")
            try:
                values[name] = readers[name](item)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return kind(**values)

    return read


def _optional(read: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else read(value)


def _tuple(items: tuple[Callable[[Any], Any], ...], value: Any) -> Any:
    _checked(value, len(_instance(list, value)) == len(items), f"a list of {len(items)}")
    return tuple(item(one) for item, one in zip(items, value, strict=True))


def _value(value: Any) -> Any:
    """What a parameter is set to; JSON itself tells numbers and texts apart."""
    return _checked(value, value is None or isinstance(value, (bool, int, float, str)), "a value of a parameter")


def _config(value: Any) -> Config:
    _checked(value, isinstance(value, dict) and set(value) == {"values", "variant"}, "a config")
    named = tuple((name, _value(item)) for name, item in _instance(dict, value["values"]).items())
    return Config(named, _instance(str, value["variant"]))


def _checked(value: Any, is_valid: bool, what: str) -> Any:
    if not is_valid:
        raise ValueError(f"{reprlib.repr(value)} is not {what}")
    return value


def _instance(kind: type, value: Any) -> Any:
    is_valid = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    return _checked(value, is_valid, _IN_WORDS[kind])


def _number(value: Any) -> Any:
    if isinstance(value, str) and value in _NO_NUMBERS:
        return float(value)
    return _checked(value, isinstance(value, (int, float)) and not isinstance(value, bool), "a number")
