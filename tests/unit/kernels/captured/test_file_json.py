"""What is kept of a launch survives JSON exactly, and what is not of its types is refused."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import replace
from enum import IntEnum
from typing import Any

import pytest
from fake_captures import SEEN, launch
from hypothesis import given
from hypothesis import strategies as st

from ssdprof.kernels.captured.as_json import from_json, to_json
from ssdprof.kernels.captured.model import (
    Autotune,
    Captured,
    CapturedLaunch,
    DescriptorArg,
    DtypeArg,
    KeptStorage,
    KeptTensor,
    ListedConfig,
    Ref,
    Seen,
    Sources,
    TensorArg,
)

sizes = st.integers(0, 2**40)
several = st.lists(sizes, max_size=5).map(tuple)
numbers = st.one_of(st.integers(), st.integers(-(2**200), 2**200), st.floats(), st.booleans())
arguments = st.recursive(
    st.one_of(
        st.none(),
        numbers,
        st.text(),
        st.builds(TensorArg, sizes),
        st.builds(DescriptorArg, sizes, several, several, several),
        st.builds(DtypeArg, st.text()),
    ),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
)
anything = st.recursive(
    arguments, lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(), inner, max_size=2))
)
values = st.dictionaries(st.text(), anything, max_size=3)
digests = st.sampled_from(["", "a" * 64])
refs = st.builds(Ref, st.text(), st.text())
launches = st.builds(
    replace,
    st.just(launch()),
    name=st.text(),
    sources=st.builds(
        Sources,
        st.dictionaries(st.text(), st.text(), max_size=2),
        refs,
        st.none() | refs,
        st.text(),
        st.lists(st.tuples(st.text(), refs), max_size=2).map(tuple),
    ),
    args=st.dictionaries(st.text(), arguments, max_size=3),
    config=values,
    grid=several,
    tensors=st.lists(
        st.builds(KeptTensor, sizes, st.text(), several, several, sizes, st.sampled_from(["in", "out", "in-out"])),
        max_size=2,
    ).map(tuple),
    storages=st.lists(st.builds(KeptStorage, sizes, digests, digests, digests), max_size=2).map(tuple),
    grids=st.lists(st.tuples(values, several), max_size=2).map(tuple),
    autotune=st.none()
    | st.builds(Autotune, st.lists(st.builds(ListedConfig, values, st.booleans()), max_size=2).map(tuple)),
    spreads=st.dictionaries(st.text(), st.floats(), max_size=2),
    in_place_ms=st.none() | st.floats(),
    device=values,
    notes=st.lists(st.text(), max_size=2).map(tuple),
)


def exact(value: Any) -> Any:
    """`value` so that equality tells 1 from 1.0 and from True, 0.0 from -0.0, and each NaN is itself."""
    if isinstance(value, float):
        return "float", struct.pack(">d", value)
    if isinstance(value, tuple | list):
        return type(value).__name__, [exact(item) for item in value]
    if isinstance(value, dict):
        return "dict", [(name, exact(item)) for name, item in value.items()]
    if hasattr(value, "__dataclass_fields__"):
        return type(value).__name__, [exact(getattr(value, name)) for name in value.__dataclass_fields__]
    return type(value).__name__, value


@given(launches)
def test_a_launch_comes_back_as_it_was(kept: CapturedLaunch) -> None:
    assert exact(kept) == exact(from_json(CapturedLaunch, to_json(kept)))


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf, -0.0, 5e-324, 0.1, 2**63, -(2**64)])
def test_numbers_that_json_has_no_text_for_are_exact(value: float) -> None:
    data = to_json(launch(args={"n": value}))

    assert exact(value) == exact(from_json(CapturedLaunch, data).args["n"])
    json.loads(data, parse_constant=pytest.fail)


def test_a_number_longer_than_python_prints_is_exact() -> None:
    assert 10**5000 == from_json(CapturedLaunch, to_json(launch(args={"n": 10**5000}))).args["n"]


def test_names_with_odd_characters_are_exact() -> None:
    name = "ключ \ud800 \x00 \u2028 \N{GRINNING FACE}"

    assert name == from_json(Captured, to_json(Captured((), (replace(SEEN, name=name),)))).seen[0].name


class _Number(IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"args": {"f": print}}, r"CapturedLaunch.args\['f'\] cannot be a builtin_function_or_method"),
        ({"args": {"f": [1]}}, r"CapturedLaunch.args\['f'\] cannot be a list"),
        ({"args": {"f": (1, 2j)}}, r"CapturedLaunch.args\['f'\]\[1\] cannot be a complex"),
        ({"args": {"f": _Number.ONE}}, r"args\['f'\] cannot be a _Number"),
        ({"args": {3: 1}}, "CapturedLaunch.args has 3 as a name, which must be a str"),
        ({"config": {"a": {"b": {1}}}}, r"config\['a'\]\['b'\] cannot be a set"),
        ({"grid": [1, 2]}, "CapturedLaunch.grid cannot be a list"),
        ({"grid": (1.0,)}, r"CapturedLaunch.grid\[0\] cannot be a float"),
        ({"grids": (({},),)}, r"CapturedLaunch.grids\[0\] must have 2 values, got 1"),
        ({"autotune": "none"}, "CapturedLaunch.autotune cannot be a str"),
        ({"tensors": (KeptTensor(0, "float32", (), (), 0, "inout"),)}, r"tensors\[0\].role cannot be a str"),  # type: ignore[arg-type]
    ],
)
def test_a_value_of_another_type_is_not_written(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_json(launch(**changes))


def test_endless_nesting_is_refused() -> None:
    value: Any = ()
    for _ in range(100_000):
        value = (value,)

    with pytest.raises(ValueError, match="CapturedLaunch is nested too deeply"):
        to_json(launch(args={"n": value}))


SEEN_DATA = json.loads(to_json(SEEN))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 3.0}, "Seen.count is 3.0, which is not what this version of ssdprof writes there"),
        ({"count": True}, "Seen.count is True"),
        ({"count": None}, "Seen.count is None"),
        ({"count": {"int": "x"}}, "invalid literal"),
        ({"total_ms": 3}, "Seen.total_ms is 3"),
        ({"total_ms": {"float": "7ff"}}, "Seen.total_ms is a dict"),
        ({"name": ["x"]}, "Seen.name is a list"),
        ({"colour": 1}, "Seen has an unknown field colour"),
    ],
)
def test_a_value_of_another_type_is_not_read(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(Seen, json.dumps({**SEEN_DATA, **change}).encode())


def test_a_field_that_has_no_default_must_be_there() -> None:
    def without(name: str) -> bytes:
        return json.dumps({key: value for key, value in SEEN_DATA.items() if key != name}).encode()

    assert SEEN == from_json(Seen, without("why_not"))
    with pytest.raises(ValueError, match="Seen has no field count"):
        from_json(Seen, without("count"))


@given(st.recursive(st.none() | numbers | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_other_json_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="CapturedLaunch"):
        from_json(CapturedLaunch, json.dumps(data, allow_nan=False, default=str).encode() if finite(data) else b"0")


def finite(data: Any) -> bool:
    """Whether JSON has a text for all of it."""
    try:
        json.dumps(data, allow_nan=False)
    except ValueError:
        return False
    return True
