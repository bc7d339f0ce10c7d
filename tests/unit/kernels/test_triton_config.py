"""A config in the source form of Triton's autotune lists: it reads back, and Triton takes its arguments as they are."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from config_forms import chunk_scan_configs, launch_options
from hypothesis import given, settings
from hypothesis import strategies as st

from ssdprof.kernels.config import MAXNREG, NUM_CTAS, NUM_STAGES, NUM_WARPS, Config, Param, ParamTable, triton_kwargs
from ssdprof.kernels.config import triton_config as source_of
from ssdprof.kernels.config_text import config_from_pairs, parse_config
from ssdprof.kernels.ssd.params import PARAMS, chunk_scan_config

BASELINE = chunk_scan_config(64, 64, 32, 128, num_warps=2, num_stages=4)
TILES = {"BLOCK_SIZE_M": 64, "BLOCK_SIZE_N": 64, "BLOCK_SIZE_K": 32, "BLOCK_SIZE_DSTATE": 128}
BACKEND = Param("waves_per_eu", low=0, is_option=True)
"""An option of a launch that `triton.Config` has no keyword for."""
LAYOUT = Param("LAYOUT", default="blocked")
EVEN = Param("EVEN", default=False)
SCALE = Param("SCALE", default=1.0)
OTHER = ParamTable((LAYOUT, EVEN, SCALE, NUM_WARPS, NUM_STAGES, MAXNREG, BACKEND, NUM_CTAS))

of_other = st.fixed_dictionaries(
    {
        "LAYOUT": st.sampled_from(["blocked", "it's", 'say "so"', "a, b: c"]),
        "EVEN": st.booleans(),
        "SCALE": st.floats(allow_nan=False, allow_infinity=False),
        "waves_per_eu": st.none() | st.integers(0, 8),
        **launch_options,
    }
).map(OTHER.config)
unhurried = settings(deadline=None)  # a shared machine stalls now and then


@pytest.mark.parametrize(
    ("expected", "config"),
    [
        (f"triton.Config({TILES}, num_warps=2, num_stages=4)", BASELINE),
        (f"triton.Config({TILES}, num_warps=2, num_stages=4)", replace(BASELINE, variant="split")),
        (
            f"triton.Config({ {**TILES, 'HEADS': 16} }, num_warps=2, num_stages=4, maxnreg=128, num_ctas=2)",
            BASELINE.with_values({"HEADS": 16, "maxnreg": 128, "num_ctas": 2}),
        ),
        (
            "triton.Config({'BLOCK_SIZE_M': 16, 'BLOCK_SIZE_N': 32, 'BLOCK_SIZE_K': 64}, num_warps=4, num_stages=3)",
            chunk_scan_config(16, 32, 64, None, num_warps=4, num_stages=3),
        ),
    ],
)
def test_it_says_what_is_set_and_no_more(expected: str, config: Config) -> None:
    assert expected == source_of(PARAMS, config)


def test_what_triton_has_no_keyword_for_stands_in_the_dictionary() -> None:
    config = OTHER.config({"num_warps": 4, "num_stages": 1, "waves_per_eu": 2})
    assert (
        "triton.Config({'LAYOUT': 'blocked', 'EVEN': False, 'SCALE': 1.0, 'waves_per_eu': 2}, "
        "num_warps=4, num_stages=1)"
    ) == source_of(OTHER, config)


@unhurried
@given(chunk_scan_configs)
def test_it_reads_back_but_for_the_variant(config: Config) -> None:
    assert replace(config, variant="tile") == parse_config(source_of(PARAMS, config), PARAMS)
    assert config == parse_config(f"{config.variant}: {source_of(PARAMS, config)}", PARAMS)


@unhurried
@given(of_other)
def test_that_of_any_kernel_reads_back(config: Config) -> None:
    assert config == parse_config(source_of(OTHER.params, config), OTHER)


@unhurried
@given(of_other)
def test_its_arguments_read_back_from_json(config: Config) -> None:
    arguments = json.loads(json.dumps(triton_kwargs(OTHER, config)))
    assert config == config_from_pairs(arguments.items(), OTHER)


def test_triton_takes_its_arguments_and_prints_the_same_config() -> None:
    triton = pytest.importorskip("triton")
    config = BASELINE.with_values({"maxnreg": 128})
    made = triton.Config(**triton_kwargs(PARAMS, config))
    assert str(made) == str(eval(source_of(PARAMS, config), {"triton": triton}))
    assert config == parse_config(str(made), PARAMS)
