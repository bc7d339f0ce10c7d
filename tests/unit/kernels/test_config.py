"""Every name of a config reads back as the same config; what is no name is answered with the nearest one."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from config_forms import autotune_form, chunk_scan_configs, key_value_form, triton_form
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ssdprof.kernels.config import Config, Param, ParamTable
from ssdprof.kernels.config_text import config_from_pairs, is_run_reference
from ssdprof.kernels.config_text import parse_config as parse
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.ssd.params import PARAMS, chunk_scan_config

unhurried = settings(deadline=None)  # a shared machine stalls now and then
assert PARAMS.example is not None
EXAMPLE = PARAMS.example


def parse_config(text: str) -> Config:
    return parse(text, PARAMS)


def example_with(variant: str = "tile", **values: int | None) -> Config:
    return replace(EXAMPLE.with_values(values), variant=variant)


@unhurried
@given(chunk_scan_configs)
def test_the_id_reads_back(config: Config) -> None:
    assert config == parse_config(PARAMS.id(config))


@unhurried
@given(chunk_scan_configs)
def test_the_id_reads_back_with_the_heads_spelled_out_as_earlier_versions_wrote_it(config: Config) -> None:
    short = PARAMS.id(config.with_values({"HEADS": None}))
    heads = config["HEADS"]
    assert config == parse_config(short if heads is None else f"{short},heads={heads}")


@unhurried
@given(chunk_scan_configs)
def test_key_value_form_reads_back(config: Config) -> None:
    assert config == parse_config(key_value_form(PARAMS, config))


@unhurried
@given(chunk_scan_configs)
def test_tritons_printed_form_reads_back_but_for_the_variant(config: Config) -> None:
    assert replace(config, variant="tile") == parse_config(triton_form(PARAMS, config))
    assert replace(config, variant="split") == parse_config(f"split: {triton_form(PARAMS, config)}")


@unhurried
@given(chunk_scan_configs)
def test_the_autotune_form_reads_back_but_for_the_variant(config: Config) -> None:
    assert replace(config, variant="tile") == parse_config(autotune_form(PARAMS, config))


@unhurried
@given(chunk_scan_configs, chunk_scan_configs)
def test_two_configs_share_an_id_only_where_they_are_equal(one: Config, other: Config) -> None:
    assert (one == other) == (PARAMS.id(one) == PARAMS.id(other))


@unhurried
@given(st.dictionaries(st.sampled_from("bdhmrsw"), st.none() | st.integers(0, 999_999)), st.integers(0, 999_999))
def test_letters_of_parameters_that_may_be_unset_make_no_id_ambiguous(unset: dict[str, int | None], first: int) -> None:
    optional = [Param(f"OF_{letter}", letter=letter, low=0) for letter in "bdhmrsw"]
    table = ParamTable((Param("FIRST", letter="a", low=0, required=True), *optional))
    config = table.config({"FIRST": first, **{f"OF_{letter}": value for letter, value in unset.items()}})
    assert config == parse(table.id(config), table)


@pytest.mark.parametrize(
    ("expected", "config"),
    [
        ("m64n64k32d128w2s4", EXAMPLE),
        ("m64n64k32w2s4", example_with(BLOCK_SIZE_DSTATE=None)),
        ("m64n64k32d128w2s4r128", example_with(maxnreg=128)),
        ("m64n64k32d128w2s4,num_ctas=2", example_with(num_ctas=2)),
        ("split:m64n64k32d128w2s4r128,num_ctas=2", example_with("split", maxnreg=128, num_ctas=2)),
        ("grouped:m64n64k32d128w2s4h16", example_with("grouped", HEADS=16)),
        ("grouped:m64n64k32d128w2s4r128h4,num_ctas=2", example_with("grouped", maxnreg=128, num_ctas=2, HEADS=4)),
    ],
)
def test_id_says_what_is_set_and_no_more(expected: str, config: Config) -> None:
    assert expected == PARAMS.id(config)


def test_written_forms_are_as_documented() -> None:
    published = chunk_scan_config(64, 64, 32, None, num_warps=4, num_stages=2)

    assert (
        "BLOCK_SIZE_M: 64, BLOCK_SIZE_N: 64, BLOCK_SIZE_K: 32, num_warps: 4, num_ctas: 1, num_stages: 2, maxnreg: None"
    ) == triton_form(PARAMS, published)
    assert (
        "triton.Config({'BLOCK_SIZE_M': 64, 'BLOCK_SIZE_N': 64, 'BLOCK_SIZE_K': 32, 'BLOCK_SIZE_DSTATE': 128}, "
        "num_stages=4, num_warps=2, num_ctas=2, maxnreg=128)"
    ) == autotune_form(PARAMS, example_with(maxnreg=128, num_ctas=2))
    assert (
        "BLOCK_SIZE_M=64,BLOCK_SIZE_N=64,BLOCK_SIZE_K=32,BLOCK_SIZE_DSTATE=128,num_warps=2,num_stages=4,"
        "maxnreg=128,variant=split"
    ) == key_value_form(PARAMS, example_with("split", maxnreg=128))


@pytest.mark.parametrize(
    "text",
    [
        "  m64n64k32d128w2s4  ",
        "M64N64K32D128W2S4",
        "tile:m64n64k32d128w2s4",
        "TILE: m64n64k32d128w2s4,",
        "m64n64k32d128w2s4,num_ctas=1,maxnreg=None",
        "block_m=64,block_n=64,block_k=32,block_dstate=128,num_warps=2,num_stages=4",
        "BLOCK_M=64, BLOCK_N=64, BLOCK_K=32, BLOCK_DSTATE=128, num_warps=2, num_stages=4",
        "num_stages=4,variant=tile,num_warps=2,BLOCK_SIZE_DSTATE=128,block_k=32,block_n=64,block_m=64",
        (
            "BLOCK_SIZE_M: 64, BLOCK_SIZE_N: 64, BLOCK_SIZE_K: 32, BLOCK_SIZE_DSTATE: 128, num_warps: 2, num_ctas: 1, "
            "num_stages: 4, maxnreg: None, ir_override: None"
        ),
        (
            "Triton autotuning for function _chunk_scan_fwd_kernel finished after 50.0s,\nbest config selected: "
            "BLOCK_SIZE_M: 64, BLOCK_SIZE_N: 64, BLOCK_SIZE_K: 32, BLOCK_SIZE_DSTATE: 128, num_warps: 2, num_ctas: 1, "
            "num_stages: 4, num_buffers_warp_spec: 0, "
            "num_consumer_groups: 0, reg_dec_producer: 0, reg_inc_consumer: 0, maxnreg: None;"
        ),
        (
            "triton.Config({'BLOCK_SIZE_M': 64, 'BLOCK_SIZE_N': 64, 'BLOCK_SIZE_K': 32, 'BLOCK_SIZE_DSTATE': 128}, "
            "num_stages=4, num_warps=2),"
        ),
        (
            'Config({"BLOCK_SIZE_M": 64, "BLOCK_SIZE_N": 64, "BLOCK_SIZE_K": 32, "BLOCK_SIZE_DSTATE": 128}, 2, 4, '
            "pre_hook=None)"
        ),
    ],
)
def test_every_spelling_of_a_config_reads_as_it(text: str) -> None:
    assert EXAMPLE == parse_config(text)


def test_tritons_own_class_prints_and_means_what_is_read_here() -> None:
    triton = pytest.importorskip("triton")
    tile_sizes = {"BLOCK_SIZE_M": 64, "BLOCK_SIZE_N": 64, "BLOCK_SIZE_K": 32, "BLOCK_SIZE_DSTATE": 128}

    assert EXAMPLE == parse_config(str(triton.Config(tile_sizes, num_warps=2, num_stages=4)))
    assert str(triton.Config(tile_sizes, num_warps=2, num_stages=4)).startswith(triton_form(PARAMS, EXAMPLE))
    source = f"triton.Config({tile_sizes})"
    assert parse_config(str(triton.Config(tile_sizes))) == parse_config(source)


def test_the_first_variant_is_meant_where_none_is_named() -> None:
    assert "split" == parse("m64n64k32w2s4", ParamTable(PARAMS.params, ("split", "tile"))).variant
    assert "other" == parse("other:m64n64k32w2s4", ParamTable(PARAMS.params, ("tile", "other"))).variant


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("m64n64k32w2s4d128", "did you mean m64n64k32d128w2s4?"),
        ("m64n64", "did you mean m64n64k32w2s4?"),
        ("m128 n64 k32 w4 s3", "did you mean m128n64k32w4s3?"),
        ("block_m=64 block_n=128 num_warps=8 split", "did you mean split:m64n128k32w8s4?"),
        ("split:m64n64k32w2s4d128", "did you mean split:m64n64k32d128w2s4?"),
        ("m100n64k32s4w5", "did you mean m128n64k32w4s4?"),
        (
            '{"BLOCK_SIZE_M": 64, "BLOCK_SIZE_N": 32, "num_warps": 8}',
            "block_k and num_stages missing: did you mean m64n32k32w8s4?",
        ),
        ("triton.Config({'BLOCK_SIZE_M': 64, 'BLOCK_SIZE_N': 32}", "did you mean m64n32k32w2s4?"),
        ("triton.Config({'BLOCK_SIZE_M': f(), 'BLOCK_SIZE_N': 32})", "a config is an id such as"),
        ("triton.Config()", "a config is an id such as m64n64k32d128w2s4"),
        ("triton.Config({}).kwargs", "a config is an id such as m64n64k32d128w2s4"),
        ("triton.Config([64], num_warps=2)", "a config is an id such as m64n64k32d128w2s4"),
        ("block_m=64,block_n=64,block_k=32", "num_warps and num_stages missing: did you mean m64n64k32w2s4?"),
        ("block_m=64,block_n=64,block_k=32,num_wraps=2,num_stages=4", "unknown key num_wraps: did you mean num_warps?"),
        ("m64n64k32w2s4,foo=1", "unknown key foo: one of BLOCK_SIZE_M, BLOCK_SIZE_N, "),
        ("m64n64k32w2s4,block_m=64", "block_m is given twice"),
        ("split:m64n64k32w2s4,variant=split", "variant is given twice"),
        ("m64n64k32w2s4,reg_dec_producer=40", "reg_dec_producer cannot be set, got 40: leave it out"),
        ("splt:m64n64k32w2s4", "unknown variant splt: did you mean split?"),
        ("m64n64k32w2s4,variant=7", "unknown variant 7: one of tile, split, grouped"),
        ("m48n64k32w2s4", "block_m must be a power of two from 16 to 512, got 48: try 32"),
        ("m64n64k8w2s4", "block_k must be a power of two from 16 to 512, got 8: try 16"),
        ("m64n1024k32w2s4", "block_n must be a power of two from 16 to 512, got 1024: try 512"),
        ("m64n64k32d8w2s4", "block_dstate must be a power of two from 16 to 512, got 8: try 16"),
        ("m64n64k32w3s4", "num_warps must be a power of two from 1 to 32, got 3: try 2"),
        ("m64n64k32w64s4", "num_warps must be a power of two from 1 to 32, got 64: try 32"),
        ("m64n64k32w2s4,num_ctas=3", "num_ctas must be a power of two from 1 to 16, got 3: try 2"),
        ("m64n64k32w2s0", "num_stages must be a whole number from 1 to 32, got 0"),
        ("m64n64k32w2s4r8", "maxnreg must be a whole number from 16 to 255, got 8"),
        ("m64n64k32w2s4,maxnreg=-5", "maxnreg must be a whole number from 16 to 255, got -5"),
        ("grouped:m64n64k32w2s4,heads=1025", "heads must be a whole number from 1 to 1024, got 1025"),
        ("grouped:m64n64k32w2s4h0", "heads must be a whole number from 1 to 1024, got 0"),
        ("grouped:m64n64k32w2s4h8,heads=8", "heads is given twice"),
        ("grouped:m64n64k32w2s4h8r128", "did you mean grouped:m64n64k32w2s4r128h8?"),
        ("m64n64k32w2s4,maxnreg=many", "maxnreg must be a whole number, got many"),
        ("bets", "did you mean best?"),
        ("", "a config is an id such as m64n64k32d128w2s4"),
        ("64x64x32", "a config is an id such as m64n64k32d128w2s4"),
        ("m" * 50_000, "it has 50000 characters, more than the 10000 allowed"),
    ],
)
def test_what_is_no_config_is_answered_with_the_rule_and_the_nearest(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"is not a config: {reason}")):
        parse_config(text)


def test_the_answer_names_what_was_given() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config("m64n64k32w2s4d128")

    assert "m64n64k32w2s4d128 is not a config: did you mean m64n64k32d128w2s4?" == str(caught.value)


@pytest.mark.parametrize("text", ["best", "baseline", "#1", "#3", " #33 "])
def test_run_references_are_told_apart(text: str) -> None:
    assert is_run_reference(text)
    with pytest.raises(ConfigError, match="names one in a run, and there is no run here"):
        parse_config(text)


@pytest.mark.parametrize("text", ["", "#", "3", "#x", "#-1", "Best of", "m64n64k32w2s4", "#1234567"])
def test_other_text_is_no_run_reference(text: str) -> None:
    assert not is_run_reference(text)


fragments = st.sampled_from(
    [
        *"mnkdwsrh:=,;#({'\"\\\n\x00٣²",
        *("64", "-1", "0", "99999999999", "None", "split", "triton.Config(", "Config({", "})", "BLOCK_SIZE_M"),
        *("block_n: 64", "num_warps=2", "m64n64k32w2s4", "best config selected:", "**", "[" * 300, "lambda:", "~"),
    ]
)


@unhurried
@given(st.text() | st.lists(fragments, max_size=20).map("".join))
@example("triton.Config(" + "(" * 900)
@example("triton.Config(" + "-" * 900 + "1)")
@example("triton.Config({'a': 0x" + "f" * 900 + "})")
@example("triton.Config({'BLOCK_SIZE_M': 0x" + "f" * 900 + "})")
@example("triton.Config({[]: 1})")
@example("triton.Config('\\d')")
@example("triton.Config({}, **{})")
@example("m\u0663n64k32w2s4")
@example("\ud800")
def test_any_text_is_a_config_or_a_config_error_in_one_line(text: str) -> None:
    try:
        config = parse_config(text)
    except ConfigError as error:
        message = str(error)
        assert message.isprintable()
        assert len(message) < 600
        for guess in re.findall(r"did you mean (\S+)\?", message):
            if guess.startswith(("m", "split:", "tile:", "grouped:")) and any(c.isdigit() for c in guess):
                parse_config(guess)
    else:
        assert config == parse_config(PARAMS.id(config))


keys = st.sampled_from(["block_m", "BLOCK_SIZE_N", "block_k", "num_warps", "num_stages", "variant", "maxnreg"])
values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())


@unhurried
@given(st.lists(st.tuples(keys | st.text() | st.integers() | st.none(), values)))
@example([("pre_hook", 16**9999)])
@example([("block_m", 16**9999)])
@example([(16**9999, 1)])
def test_any_pairs_are_a_config_or_a_config_error(pairs: list[tuple[object, object]]) -> None:
    try:
        config = config_from_pairs(pairs, PARAMS)
    except ConfigError as error:
        message = str(error)
    else:
        message = PARAMS.id(config)
    assert message.isprintable()
