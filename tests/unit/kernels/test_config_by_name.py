"""A kernel without letters: ids are NAME=VALUE, read back, and keep values of which nothing is known."""

from __future__ import annotations

import re
from typing import Any

import pytest
from config_forms import autotune_form, key_value_form, triton_form
from hypothesis import given, settings
from hypothesis import strategies as st

from ssdprof.kernels.config import MAXNREG, NUM_CTAS, NUM_STAGES, NUM_WARPS, Config, Param, ParamTable, Value
from ssdprof.kernels.config_text import config_from_pairs, parse_config
from ssdprof.kernels.errors import ConfigError

ROWS = Param("ROWS", column="rows", low=1, high=4096, power_of_two=True, required=True, description="rows of a tile")
LAYOUT = Param("LAYOUT", default="blocked")
EVEN = Param("EVEN", default=False)
SCALE = Param("SCALE", default=1.0)
COUNT = Param("COUNT")
TABLE = ParamTable((ROWS, LAYOUT, EVEN, SCALE, COUNT, NUM_WARPS, NUM_STAGES, MAXNREG, NUM_CTAS))
VARIED = ParamTable((ROWS, NUM_WARPS), ("plain", "fused"))
MIXED = ParamTable((NUM_WARPS, NUM_STAGES, MAXNREG, LAYOUT, NUM_CTAS))
"""Only launch options have letters: what the kernel has besides stands behind them."""

unhurried = settings(deadline=None)  # a shared machine stalls now and then
words = st.from_regex(r"[A-Za-z_.][A-Za-z0-9_.+-]{0,8}", fullmatch=True).filter(
    lambda word: word.lower() not in ("none", "null", "true", "false")
)
options = {
    "num_warps": st.sampled_from([1, 2, 4, 8, 16, 32]),
    "num_stages": st.integers(1, 32),
    "maxnreg": st.none() | st.integers(16, 255),
    "num_ctas": st.sampled_from([1, 2, 16]),
}
values = st.fixed_dictionaries(
    {
        "ROWS": st.sampled_from([1 << power for power in range(13)]),
        "LAYOUT": words,
        "EVEN": st.booleans(),
        "SCALE": st.floats(allow_nan=False, allow_infinity=False),
        "COUNT": st.none() | st.integers(-(10**18) + 1, 10**18 - 1),
        **options,
    }
)
configs = values.map(TABLE.config)
mixed = st.fixed_dictionaries({"LAYOUT": words, **options}).map(MIXED.config)


@unhurried
@given(configs)
def test_the_id_reads_back(config: Config) -> None:
    assert config == parse_config(TABLE.id(config), TABLE)
    assert [type(value) for _, value in config.values] == [
        type(value) for _, value in parse_config(TABLE.id(config), TABLE).values
    ]


@unhurried
@given(mixed)
def test_an_id_of_letters_and_names_reads_back(config: Config) -> None:
    assert config == parse_config(MIXED.id(config), MIXED)


@unhurried
@given(configs)
def test_key_value_and_printed_form_read_back(config: Config) -> None:
    assert config == parse_config(key_value_form(TABLE, config), TABLE)
    assert config == parse_config(triton_form(TABLE, config), TABLE)
    assert config == parse_config(autotune_form(TABLE, config), TABLE)


@unhurried
@given(configs, configs)
def test_two_configs_share_an_id_only_if_they_are_equal(one: Config, other: Config) -> None:
    assert (one == other) == (TABLE.id(one) == TABLE.id(other))


def test_both_zeros_are_one() -> None:
    given_values = {"ROWS": 64, "num_warps": 4, "num_stages": 3}
    zeros = [TABLE.config({**given_values, "SCALE": zero}) for zero in (0.0, -0.0)]
    assert zeros[0] == zeros[1]
    assert TABLE.id(zeros[0]) == TABLE.id(zeros[1])


@unhurried
@given(configs, st.data())
def test_one_changed_value_changes_the_id_and_the_same_values_do_not(config: Config, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([param.name for param in TABLE]))
    changed = config.with_values({name: data.draw(values)[name]})

    assert (changed[name] == config[name]) == (TABLE.id(changed) == TABLE.id(config)) == (changed == config)
    assert TABLE.id(config) == TABLE.id(TABLE.config(dict(config.values)))


@pytest.mark.parametrize(
    ("expected", "given_values"),
    [
        ("rows=64,num_warps=4,num_stages=3", {}),
        ("rows=64,LAYOUT=swizzled,num_warps=4,num_stages=3", {"LAYOUT": "swizzled"}),
        (
            "rows=64,EVEN=True,num_warps=4,num_stages=3,maxnreg=128,num_ctas=2",
            {"EVEN": True, "maxnreg": 128, "num_ctas": 2},
        ),
        ("rows=64,SCALE=0.5,num_warps=4,num_stages=3", {"SCALE": 0.5}),
        ("rows=64,SCALE=1e-05,num_warps=4,num_stages=3", {"SCALE": 1e-5}),
        ("rows=64,LAYOUT=7,num_warps=4,num_stages=3", {"LAYOUT": 7}),
    ],
)
def test_id_names_what_is_required_and_what_is_not_at_its_default(
    expected: str, given_values: dict[str, Value]
) -> None:
    config = TABLE.config({"ROWS": 64, "num_warps": 4, "num_stages": 3, **given_values})

    assert expected == TABLE.id(config)
    assert config == parse_config(expected, TABLE)


def test_id_of_a_variant_begins_with_it_unless_it_is_the_first() -> None:
    plain, fused = (VARIED.config({"ROWS": 64, "num_warps": 4}, variant) for variant in VARIED.variants)

    assert ("rows=64,num_warps=4", "fused:rows=64,num_warps=4") == (VARIED.id(plain), VARIED.id(fused))
    assert [plain, fused] == [parse_config(VARIED.id(config), VARIED) for config in (plain, fused)]
    assert fused == parse_config("rows=64,num_warps=4,variant=fused", VARIED)


def test_options_with_letters_come_first_and_names_after_them() -> None:
    config = MIXED.config({"num_warps": 4, "num_stages": 2, "LAYOUT": "swizzled", "num_ctas": 2})

    assert "w4s2,num_ctas=2,LAYOUT=swizzled" == MIXED.id(config)
    assert "w4s2" == MIXED.id(MIXED.config({"num_warps": 4, "num_stages": 2}))


def test_written_forms_use_the_kernels_own_names() -> None:
    config = TABLE.config({"ROWS": 64, "num_warps": 4, "num_stages": 3, "EVEN": True})

    assert (
        "ROWS: 64, LAYOUT: blocked, EVEN: True, SCALE: 1.0, num_warps: 4, num_ctas: 1, num_stages: 3, maxnreg: None"
    ) == triton_form(TABLE, config)
    assert (
        "triton.Config({'ROWS': 64, 'LAYOUT': 'blocked', 'EVEN': True, 'SCALE': 1.0}, num_stages=3, num_warps=4)"
    ) == autotune_form(TABLE, config)
    assert "ROWS=64,LAYOUT=blocked,EVEN=True,SCALE=1.0,num_warps=4,num_stages=3" == key_value_form(TABLE, config)


@pytest.mark.parametrize(
    "text",
    [
        "ROWS=64,num_warps=4,num_stages=3",
        "rows: 64, num_warps: 4, num_ctas: 1, num_stages: 3, maxnreg: None",
        "Rows=64, warps=4, stages=3",
        "triton.Config({'ROWS': 64}, num_warps=4, num_stages=3)",
        "triton.Config({'ROWS': 64, 'LAYOUT': 'blocked'})",
        "EVEN=false,num_warps=4,rows=64,num_stages=3,SCALE=1.0,LAYOUT=None",
    ],
)
def test_every_spelling_of_a_config_reads_as_it(text: str) -> None:
    assert TABLE.config({"ROWS": 64, "num_warps": 4, "num_stages": 3}) == parse_config(text, TABLE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rows=64", "num_warps and num_stages missing: did you mean rows=64,num_warps=4,num_stages=3?"),
        ("rows=48,num_warps=4,num_stages=3", "rows must be a power of two from 1 to 4096, got 48: try 32"),
        ("rows=64,num_warps=4,num_stages=3,EVENN=1", "unknown key EVENN: did you mean EVEN?"),
        (
            "rows=64,num_warps=4,num_stages=3,variant=x",
            "unknown key variant: one of ROWS, LAYOUT, EVEN, SCALE, COUNT, num_",
        ),
        ("rows 64 warps 2", "did you mean rows=64,num_warps=2,num_stages=3?"),
        ("64x64", "a config is an id such as rows=1,num_warps=4,num_stages=3, ROWS: 1, … as Triton prints it"),
        ("m64n64k32w2s4", "did you mean rows=1,num_warps=2,num_stages=4?"),
        ("rows=64,num_warps=4,num_stages=3,ROWS=64", "rows is given twice"),
    ],
)
def test_what_is_no_config_is_answered_in_the_kernels_own_words(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"is not a config: {reason}")):
        parse_config(text, TABLE)


def test_a_variant_that_a_kernel_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown variant fuse: did you mean fused\?"):
        parse_config("rows=64,num_warps=4,variant=fuse", VARIED)


@unhurried
@given(st.text() | st.lists(st.sampled_from([*"=:,;", "rows", "64", "LAYOUT", "1.5", "num_warps", "-"])).map("".join))
def test_any_text_is_a_config_or_a_config_error_in_one_line(text: str) -> None:
    try:
        message = TABLE.id(parse_config(text, TABLE))
    except ConfigError as error:
        message = str(error)
    assert message.isprintable()


anything = st.none() | st.booleans() | st.integers() | st.floats() | words | st.lists(st.integers())


@unhurried
@given(st.lists(st.tuples(st.sampled_from(["ROWS", "LAYOUT", "SCALE", "num_warps", "num_stages"]), anything)))
def test_any_pairs_are_a_config_or_a_config_error(pairs: list[tuple[object, Any]]) -> None:
    try:
        message = TABLE.id(config_from_pairs(pairs, TABLE))
    except ConfigError as error:
        message = str(error)
    assert message.isprintable()


def test_headings_and_columns_are_the_name_unless_given() -> None:
    assert ("LAYOUT", "LAYOUT", ("layout",)) == (LAYOUT.column, LAYOUT.heading, LAYOUT.spellings)
    assert ("rows", "rows", ("rows",)) == (ROWS.column, ROWS.heading, ROWS.spellings)
    assert ("num_warps", "warps", ("num_warps", "warps")) == (NUM_WARPS.column, NUM_WARPS.heading, NUM_WARPS.spellings)
    assert [ROWS, LAYOUT, EVEN, SCALE, COUNT] == list(TABLE.shape_params)
    assert (False, True) == (TABLE.has_letters, MIXED.has_letters)
