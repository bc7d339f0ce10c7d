"""A config that is given to `chunk_scan`: launched as it is, or refused before anything is launched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from api_calls import FULL, Launches, arguments, at
from triton.runtime.errors import OutOfResources

from ssdprof.kernels import chunk_scan
from ssdprof.kernels.config import Config
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.ssd import function
from ssdprof.kernels.ssd.params import chunk_scan_config

WIDE = replace(FULL, headdim=64)
MISCOMPILES = "ptxas 12.8, which Triton 3.6 has, miscompiles it"


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    return Launches.instead(monkeypatch)


@pytest.fixture
def on_an_h100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function, "arch_of", lambda _: "sm_90")


def test_a_config_that_is_given_is_not_replaced_by_one_that_fits(launches: Launches) -> None:
    launches.refused = 1

    with pytest.raises(OutOfResources):
        chunk_scan(**arguments(), config="split:m32n16k16d16w2s4")

    assert ["split:m32n16k16d16w2s4"] == launches.ids
    assert [2 * 3 * 2] == launches.grids


with_tile_of_48 = chunk_scan_config(64, 64, 32, None, 4, 1).with_values({"BLOCK_SIZE_M": 48})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("m64", "m64 is not a config"),
        (with_tile_of_48, "block_m must be a power of two from 16 to 512, got 48: try 32"),
        ("grouped:m16n16k16d16w4s1", "grouped takes the whole state: block_dstate must be 32, got 16"),
        ("m16n16k16d16w4s1", "m16n16k16d16w4s1 sums only the first 16 of 32 state elements (dstate)"),
    ],
)
def test_a_config_that_cannot_be_correct_is_an_error_before_launch(
    launches: Launches, config: Config | str, message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        chunk_scan(**arguments(), config=config)

    assert str(raised.value).startswith(message)
    assert [] == launches.ids


@pytest.mark.usefixtures("on_an_h100")
@pytest.mark.parametrize("config", ["split:m64n32k64d64w4s1", "split:m128n32k64d64w8s1"])
def test_the_shape_of_split_that_ptxas_miscompiles_is_refused(launches: Launches, config: str) -> None:
    with pytest.raises(ConfigError) as raised:
        chunk_scan(**arguments(WIDE), config=config)

    assert f"{config} may be wrong here: {MISCOMPILES}: take two stages" == str(raised.value)
    assert [] == launches.ids


@pytest.mark.usefixtures("on_an_h100")
@pytest.mark.parametrize(
    "config",
    ["split:m64n32k64d64w4s2", "split:m64n64k64d64w4s1", "split:m64n32k32d64w4s1", "split:m64n32k64d64w2s1",
     "split:m32n32k64d64w4s1", "m64n32k64d64w4s1"],
)  # fmt: skip
def test_its_neighbours_are_taken(launches: Launches, config: str) -> None:
    chunk_scan(**arguments(WIDE), config=config)

    assert [config] == launches.ids


@pytest.mark.usefixtures("on_an_h100")
def test_it_is_taken_in_float32_which_goes_another_way(launches: Launches) -> None:
    chunk_scan(**arguments(replace(WIDE, dtype="float32", states_dtype="float32")), config="split:m64n32k64d64w4s1")

    assert ["split:m64n32k64d64w4s1"] == launches.ids


@pytest.mark.usefixtures("on_an_h100")
def test_grouped_that_is_given_where_it_is_not_safe_is_an_error(launches: Launches) -> None:
    odd = arguments(WIDE)
    odd["states"] = at(odd["states"], 1)

    for unsafe, why in (
        (odd, "through pointers, and a stride or an address"),
        (arguments(FULL), "for a headdim of at most 32"),
    ):
        with pytest.raises(ConfigError, match=f"may be wrong here: {MISCOMPILES} {why}.*: take the variant split"):
            chunk_scan(**unsafe, config="grouped:m16n16k16w4s1")

    assert [] == launches.ids


@pytest.mark.parametrize("config", [{"BLOCK_SIZE_M": 64}, 64, ["m64"]])
def test_a_config_of_another_type_is_an_error(launches: Launches, config: Any) -> None:
    with pytest.raises(ConfigError, match=f"config is a {type(config).__name__}: pass a Config, a text that names one"):
        chunk_scan(**arguments(WIDE), config=config)

    assert [] == launches.ids
