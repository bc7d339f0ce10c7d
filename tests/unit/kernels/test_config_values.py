"""A config holds valid values alone, each found by the kernel's name for it; messages show values in one line."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from ssdprof.kernels.config import Config, Param, shown
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.ssd.params import PARAMS

assert PARAMS.example is not None
EXAMPLE = PARAMS.example


@pytest.mark.parametrize("param", list(PARAMS), ids=lambda param: param.column)
@pytest.mark.parametrize("value", [True, 1.5, "64", -64, 0, pytest.param(16**9999, id="huge")])
def test_validation_takes_whole_numbers_alone(param: Param, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{param.column} must be a "):
        PARAMS.validated(EXAMPLE.with_values({param.name: value}))


@pytest.mark.parametrize("param", [param for param in PARAMS if param.required], ids=lambda param: param.column)
def test_what_is_required_cannot_be_unset(param: Param) -> None:
    with pytest.raises(ConfigError, match=f"^{param.column} must be a .*, got None"):
        PARAMS.validated(EXAMPLE.with_values({param.name: None}))


def test_a_parameter_of_any_value_that_has_a_default_or_is_required_must_have_one() -> None:
    for param in (Param("MODE", default="fast"), Param("MODE", required=True)):
        param.check("slow")
        with pytest.raises(ConfigError, match=r"^MODE must have a value$"):
            param.check(None)
    Param("MODE").check(None)


def test_validation_returns_the_config_itself() -> None:
    assert PARAMS.validated(EXAMPLE) is EXAMPLE


def test_validation_refuses_a_config_of_another_table_and_an_unknown_variant() -> None:
    known = (
        "BLOCK_SIZE_M, BLOCK_SIZE_N, BLOCK_SIZE_K, BLOCK_SIZE_DSTATE, num_warps, num_stages, maxnreg, HEADS, num_ctas"
    )
    for values in (EXAMPLE.values[1:], EXAMPLE.values[::-1], (*EXAMPLE.values, ("BLOCK", 1)), ()):
        with pytest.raises(ConfigError) as caught:
            PARAMS.validated(Config(values))
        assert f"a config of this kernel sets {known}" == str(caught.value)
    with pytest.raises(ConfigError, match=r"^unknown variant splt: one of tile, split, grouped$"):
        PARAMS.validated(replace(EXAMPLE, variant="splt"))


def test_a_config_gives_values_by_name_and_keeps_its_order_when_some_change() -> None:
    changed = EXAMPLE.with_values({"num_warps": 8, "HEADS": 2})

    assert (64, None, 8, 2) == (EXAMPLE["BLOCK_SIZE_M"], EXAMPLE["HEADS"], changed["num_warps"], changed["HEADS"])
    assert [name for name, _ in EXAMPLE.values] == [name for name, _ in changed.values]
    assert EXAMPLE == changed.with_values({"num_warps": 2, "HEADS": None})
    assert len({EXAMPLE, changed, EXAMPLE.with_values({})}) == 2
    assert 2 == EXAMPLE.number("num_warps")
    with pytest.raises(KeyError, match="block_m"):
        EXAMPLE["block_m"]


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        ("m64n64", "m64n64"),
        ("'m64 n64'", "m64 n64"),
        (r"'a\nb'", "a\nb"),
        ("''", ""),
        (f"'{' x' * 38} ...'", " x" * 60),
        ("a number beyond 64 bits", 1 << 100),
        ("a list", [[]]),
        ("1.5", 1.5),
        ("None", None),
    ],
)
def test_values_are_shown_short_and_in_one_line(expected: str, value: object) -> None:
    assert expected == shown(value)


def test_reading_configs_and_spaces_imports_neither_torch_nor_triton() -> None:
    code = (
        "import sys; from ssdprof.kernels.registry import subject; from ssdprof.kernels.space import space_of;"
        "chosen = subject(); configs = space_of(chosen, 'all').configs; chosen.params.id(configs[0]);"
        "chosen.source_hashes(); chosen.wrong_by_construction(configs[0]);"
        "print({'torch', 'triton', 'yaml'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "set()" == done.stdout.strip()
