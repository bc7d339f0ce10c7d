"""A space crossed with values of one's own, and the spaces of a kernel that has none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from config_forms import scan

from ssdprof.kernels.config import NUM_STAGES, NUM_WARPS, Config, Param, ParamTable
from ssdprof.kernels.errors import SpaceError, UsageError
from ssdprof.kernels.space import space_of, values_from
from ssdprof.kernels.space_file import CONFIGS_MAX
from ssdprof.kernels.ssd.params import PARAMS

ROWS = Param("ROWS", low=1, high=4096, power_of_two=True, required=True)


TABLE = ParamTable((ROWS, Param("LAYOUT", default="blocked"), NUM_WARPS, NUM_STAGES))


@dataclass(frozen=True)
class Bare:
    """A kernel with neither spaces nor letters nor variants."""

    name: str = "bare"
    params: ParamTable = TABLE

    def identity(self) -> dict[str, Any]:
        return {"N": 100, "title": "none", "causal": True}

    def resolve(self, config: Config) -> Config:
        return config


BARE: Any = Bare()


def crossed(space: str, **values: list[object]) -> list[str]:
    return [PARAMS.id(config) for config in space_of(scan(), space, values=values).configs]


@pytest.mark.parametrize(
    ("expected", "texts"),
    [
        ({}, []),
        ({"num_warps": ["2", "4"]}, ["num_warps=2,4"]),
        ({"BLOCK_SIZE_M": ["64"], "maxnreg": ["none", "128"]}, ["BLOCK_SIZE_M=64", " maxnreg = none , 128"]),
        ({"LAYOUT": ["a", "b"]}, ["LAYOUT=a,b"]),
    ],
)
def test_values_are_read_from_texts(expected: dict[str, list[object]], texts: list[str]) -> None:
    assert expected == values_from(texts)


@pytest.mark.parametrize("text", ["", "num_warps", "num_warps=", "=2,4", "num_warps=2,,4", " =2", "num_warps=2,"])
def test_a_text_without_values_says_the_form(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--values .*: give NAME=VALUE,VALUE,…, such as num_warps=2,4$"):
        values_from([text])


def test_a_name_that_is_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--values names num_warps twice: give all of its values once$"):
        values_from(["num_warps=2", "num_warps =4"])


def test_each_config_is_taken_with_each_value() -> None:
    mamba = crossed("mamba")

    assert [name.replace("d128", f"d{tile}") for name in mamba for tile in (32, 64, 128)] == crossed(
        "mamba", BLOCK_SIZE_DSTATE=["32", "64", "128"]
    )
    assert crossed("tensorrt-llm-pr") == crossed("mamba", block_dstate=[32, 64, 128])
    assert crossed("tensorrt-llm-pr") == crossed("mamba", DState=[32, 64, 128])


def test_several_names_are_crossed_with_each_other_and_what_comes_twice_stands_once() -> None:
    both = crossed("mamba", num_warps=[2, 4], num_stages=["1", "2"])
    shapes = dict.fromkeys(name.rpartition("w")[0] for name in crossed("mamba"))

    assert [f"{shape}w{warps}s{stages}" for shape in shapes for warps in (2, 4) for stages in (1, 2)] == both


def test_a_value_may_be_unset() -> None:
    assert ["grouped:m64n64k64d128w4s2h8", "grouped:m64n64k64d128w4s2"] == crossed(
        "ssdprof", heads=["8", "none"], num_stages=[2], num_warps=[4], BLOCK_SIZE_M=[64], BLOCK_SIZE_K=[64]
    )


@pytest.mark.parametrize(
    ("name", "given", "reason"),
    [
        ("num_wraps", [2], "unknown key num_wraps: did you mean num_warps?"),
        ("BLOCK_SIZE_DSTATES", [32], "unknown key BLOCK_SIZE_DSTATES: did you mean BLOCK_SIZE_DSTATE?"),
        ("LAYOUT", [32], "unknown key LAYOUT: one of BLOCK_SIZE_M, BLOCK_SIZE_N, BLOCK_SIZE_K, "),
        ("variant", ["split"], "it cannot be swept"),
        ("num_warps", [3], "num_warps must be a power of two from 1 to 32, got 3: try 2"),
        ("num_warps", ["many"], "num_warps must be a whole number, got many"),
        ("num_warps", [None], "num_warps must be a power of two from 1 to 32, got None: try 1"),
        ("block_m", ["64", "1024"], "block_m must be a power of two from 16 to 512, got 1024: try 512"),
    ],
)
def test_values_that_cannot_be_are_answered_with_the_rule_or_the_nearest(
    name: str, given: list[object], reason: str
) -> None:
    with pytest.raises(SpaceError) as caught:
        crossed("mamba", **{name: given})
    assert str(caught.value).startswith(f"--values {name}: {reason}")


def test_one_parameter_under_two_names_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"^--values BLOCK_SIZE_M: block_m is given twice$"):
        crossed("mamba", block_m=[64], BLOCK_SIZE_M=[32])


def test_too_many_configs_are_refused_before_they_are_made() -> None:
    with pytest.raises(SpaceError) as caught:
        crossed("mamba", maxnreg=[*range(16, 256)], num_stages=[*range(1, 33)])
    assert f"--values: {11 * 240 * 32} configs, a space has at most {CONFIGS_MAX}" == str(caught.value)


def test_a_space_that_is_crossed_keeps_its_name_and_what_was_left_out() -> None:
    plain, found = space_of(scan(), "mamba"), space_of(scan(), "mamba", values={"num_warps": [4]})
    assert (plain.name, plain.description, plain.left_out) == (found.name, found.description, found.left_out)


def test_a_kernel_without_spaces_takes_a_file_with_constraints_on_its_sizes(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    listed = {"ROWS": [32, 64, 128], "num_warps": 4, "num_stages": [1, 2], "LAYOUT": ["blocked", "swizzled"]}
    path.write_text(json.dumps({"values": listed, "constraints": ["ROWS <= N", "ROWS * num_stages > 64"]}))

    found = space_of(BARE, str(path), values={"num_warps": ["2", "8"]})

    assert "mine.json" == found.name
    assert [
        "ROWS=64,num_warps=2,num_stages=2",
        "ROWS=64,num_warps=8,num_stages=2",
        "ROWS=64,LAYOUT=swizzled,num_warps=2,num_stages=2",
        "ROWS=64,LAYOUT=swizzled,num_warps=8,num_stages=2",
    ] == [TABLE.id(config) for config in found.configs]


@pytest.mark.parametrize("name", [None, "", "mamba"])
def test_a_kernel_without_spaces_asks_for_a_file(name: str | None) -> None:
    with pytest.raises(SpaceError) as caught:
        space_of(BARE, name)
    assert "bare has no spaces of its own: give the path of a file that ends in .json, .yaml or .yml" == str(
        caught.value
    )


def test_a_kernel_without_variants_refuses_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('["ROWS=64,num_warps=4,num_stages=2"]')
    with pytest.raises(SpaceError, match=r"^bare has no variants: leave --variant out$"):
        space_of(BARE, str(path), variant="split")
    path.write_text('{"values": {"ROWS": 64, "num_warps": 4, "num_stages": 2}, "variant": "split"}')
    with pytest.raises(SpaceError, match=r"unknown key variant: one of name, values, constraints$"):
        space_of(BARE, str(path))
