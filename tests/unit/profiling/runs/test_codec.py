"""Values as plain JSON and back by their types."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssdprof.kernels.config import NUM_WARPS, Config, Param, Value
from ssdprof.kernels.ssd.params import PARAMS
from ssdprof.profiling.runs.codec import plain, reader


@dataclass(frozen=True)
class Inner:
    share: float


@dataclass(frozen=True)
class Outer:
    """One field of each kind that records have."""

    name: str
    inner: Inner | None
    inners: tuple[Inner, ...]
    value: Value
    code: Literal["a", "b"]
    config: Config
    param: Param
    figures: dict[str, Any] = field(default_factory=dict)
    count: int | None = None
    shares: tuple[float, ...] | None = None


OUTER = Outer("x", Inner(0.5), (Inner(1.0), Inner(2.0)), "blocked", "b", Config((("ROWS", 1),), "fused"), NUM_WARPS)


def there_and_back(value: Any, kind: Any) -> Any:
    return reader(kind)(json.loads(json.dumps(plain(value), allow_nan=False)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"inner": None, "inners": (), "count": 3, "shares": ()},
        {"figures": {"arch": "sm_90", "counts": [1, 2], "none": None}, "shares": (0.25, -math.inf)},
        {"inner": Inner(math.inf), "param": PARAMS.by_name["BLOCK_SIZE_M"]},
        {"config": Config(())},
        {"config": Config((("a", None), ("b", True), ("c", 1.5), ("d", "NaN"), ("e", -7)))},
    ],
)
def test_every_kind_of_field_comes_back(changes: dict[str, Any]) -> None:
    outer = replace(OUTER, **changes)
    assert outer == there_and_back(outer, Outer)


@pytest.mark.parametrize("value", [None, True, False, 0, 1, 1.0, -2.5, "", "NaN", "-Infinity", "true", "1", "none"])
def test_a_value_of_a_parameter_comes_back_with_its_type(value: Value) -> None:
    for found in (
        there_and_back(value, Value),
        there_and_back(replace(OUTER, value=value), Outer).value,
        there_and_back(replace(NUM_WARPS, default=value), Param).default,
        there_and_back(Config((("A", value),)), Config)["A"],
    ):
        assert (type(value), value) == (type(found), found)


@given(st.lists(st.tuples(st.text(), st.none() | st.booleans() | st.integers() | st.text()), unique_by=lambda p: p[0]))
def test_a_config_keeps_its_order(pairs: list[tuple[str, Value]]) -> None:
    config = Config(tuple(pairs))
    assert config.values == there_and_back(config, Config).values


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_has_not_come_back(number: float) -> None:
    found = there_and_back(Inner(number), Inner).share
    assert number == found or (math.isnan(number) and math.isnan(found))


@pytest.mark.parametrize(
    ("kind", "given_value", "message"),
    [
        (Value, [1], r"\[1\] is not a value of a parameter"),
        (Value, {}, "{} is not a value of a parameter"),
        (Inner | None, 3, "3 is not an object"),
        (Inner, {"share": "half"}, "share: 'half' is not a number"),
        (Inner, {"share": True}, "share: True is not a number"),
        (Inner, {}, "share is missing"),
        (Inner, {"share": 1, "more": 2}, "unknown field 'more'"),
        (tuple[Inner, ...], {}, "{} is not a list"),
        (Literal["a", "b"], "c", "'c' is not one of a, b"),
        (Config, {"values": {}}, "is not a config"),
        (Config, {"values": {}, "variant": "", "more": 1}, "is not a config"),
        (Config, {"values": {"A": []}, "variant": ""}, r"\[\] is not a value of a parameter"),
        (Config, {"values": [], "variant": ""}, r"\[\] is not an object"),
        (Config, {"values": {}, "variant": None}, "None is not text"),
        (int, True, "True is not a whole number"),
        (str, 1, "1 is not text"),
        (bool, 1, "1 is not true or false"),
        (float | None, "fast", "'fast' is not a number"),
    ],
)
def test_what_is_of_another_type_says_so(kind: Any, given_value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reader(kind)(given_value)
