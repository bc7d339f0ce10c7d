"""The plan of a captured launch under any config: its arguments, heuristics and grid."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from captured_softmax import SOURCES, TEXT, softmax_launch

from ssdprof.kernels.captured.launching import Launching, dtype_of
from ssdprof.kernels.captured.model import (
    Argument,
    CapturedLaunch,
    DescriptorArg,
    DtypeArg,
    KeptStorage,
    KeptTensor,
    Ref,
    Sources,
    TensorArg,
)
from ssdprof.kernels.captured.params import captured_config, table_of
from ssdprof.kernels.config import Config
from ssdprof.kernels.errors import ConfigError, UsageError
from ssdprof.kernels.launch import DescriptorRef, TensorRef

ABSENT = replace(SOURCES, grid=None, grid_absent="it uses a socket")
NUMBERS = replace(SOURCES, grid=None)


def launching(launch: CapturedLaunch) -> Launching:
    return Launching(launch, table_of(launch))


def config_of(one: Launching, **changes: Any) -> Config:
    """The captured config with some values changed."""
    return captured_config(one.launch, one.params).with_values(changes)


def with_text(text: str) -> Sources:
    """The softmax with a grid function or a heuristic replaced; `text` defines `grid` or `even` anew."""
    return replace(SOURCES, modules={"m0": f"{TEXT}\n\n{text}\n"})


def with_args(**values: Argument) -> Launching:
    """A kernel with these arguments, whose grid was numbers."""
    tensors = (KeptTensor(0, "float32", (4, 4), (4, 1), 0), KeptTensor(0, "float32", (4, 4), (1, 4), 0))
    return launching(
        softmax_launch(
            sources=replace(NUMBERS, heuristics=()),
            parameters=(*values, "BLOCK_M"),
            constexprs=("BLOCK_M",),
            args=values,
            tensors=tensors,
            storages=(KeptStorage(64, ""),),
        )
    )


def test_the_captured_config_is_launched_as_the_program_did() -> None:
    one = launching(softmax_launch())
    plan = one.plan(config_of(one))
    assert {
        "x_ptr": TensorRef("x_ptr", "float32"),
        "o_ptr": TensorRef("o_ptr", "float32"),
        "stride_x": 5,
        "n_rows": 6,
        "n_cols": 5,
        "BLOCK": 8,
        "BLOCK_M": 2,
        "EVEN": True,
    } == plan.args
    assert one.launch.grid == plan.grid
    assert {"num_warps": 4, "num_stages": 3, "num_ctas": 1} == plan.options
    assert "softmax" == plan.callee().__name__


def test_the_plan_keeps_the_order_of_the_kernels_parameters() -> None:
    one = launching(softmax_launch())
    assert list(one.launch.parameters) == list(one.plan(config_of(one)).args)


@pytest.mark.parametrize(("rows", "grid", "even"), [(1, 6, True), (2, 3, True), (4, 2, False), (8, 1, False)])
def test_the_grid_and_the_heuristics_are_those_of_the_config(rows: int, grid: int, even: bool) -> None:
    one = launching(softmax_launch())
    plan = one.plan(config_of(one, BLOCK_M=rows))
    assert ((grid,), even, rows) == (plan.grid, plan.args["EVEN"], plan.args["BLOCK_M"])


def test_a_config_that_sets_what_a_heuristic_computes_has_its_way() -> None:
    one = launching(softmax_launch())
    assert False is one.plan(config_of(one, EVEN=False)).args["EVEN"]


def test_a_constant_of_the_launch_can_be_changed() -> None:
    one = launching(softmax_launch())
    assert 16 == one.plan(config_of(one, BLOCK=16)).args["BLOCK"]


@pytest.mark.parametrize(("maxnreg", "expected"), [(None, None), (128, 128)])
def test_a_config_has_the_last_word_on_launch_options(maxnreg: int | None, expected: int | None) -> None:
    one = launching(softmax_launch(options={"maxnreg": 64, "debug": True}))
    options = one.plan(config_of(one, maxnreg=maxnreg, num_warps=8)).options
    assert (expected, 8, True) == (options.get("maxnreg"), options["num_warps"], options["debug"])


def test_the_grid_function_sees_launch_options_and_tensors_without_data() -> None:
    text = "def grid(meta):\n    return meta['x_ptr'].shape[0], meta['num_warps'], meta['x_ptr'].stride(0)"
    one = launching(softmax_launch(sources=with_text(text)))
    assert (6, 8, 5) == one.grid(config_of(one, num_warps=8))


def test_a_grid_of_one_number_is_one_dimension() -> None:
    one = launching(softmax_launch(sources=with_text("def grid(meta):\n    return meta['BLOCK_M']")))
    assert (4,) == one.grid(config_of(one, BLOCK_M=4))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "def grid(meta):\n    return (meta['missing'],)",
            "grid function fails under this config: KeyError: 'missing'",
        ),
        ("def grid(meta):\n    return ('many',)", "grid function fails under this config: ValueError"),
        ("def grid(meta):\n    return (4, meta['BLOCK_M'] - 2)", r"grid function gives \(4, 0\) under this config"),
        ("def even(args):\n    return 1 // 0", "the heuristic of EVEN fails under this config: ZeroDivisionError"),
    ],
)
def test_what_fails_for_a_config_is_told_in_one_line(text: str, said: str) -> None:
    one = launching(softmax_launch(sources=with_text(text)))
    with pytest.raises(ConfigError, match=said) as error:
        one.plan(config_of(one))
    assert "\n" not in str(error.value)


def test_a_grid_of_numbers_is_that_of_every_config() -> None:
    one = launching(softmax_launch(sources=NUMBERS))
    assert {(3,)} == {one.grid(config_of(one, BLOCK_M=rows)) for rows in (1, 2, 4)}


def test_a_grid_that_is_not_known_is_known_for_the_kernels_own_list_alone() -> None:
    one = launching(softmax_launch(sources=ABSENT, grids=(({"BLOCK_M": 1, "num_warps": 2}, (6,)),)))
    assert [(3,), (6,)] == [one.grid(config_of(one, BLOCK_M=rows)) for rows in (2, 1)]
    with pytest.raises(ConfigError, match=r"could not be kept \(it uses a socket\): take a config of the kernel's own"):
        one.grid(config_of(one, BLOCK_M=8))


def test_a_grid_that_is_not_known_stays_the_same_under_other_launch_options() -> None:
    one = launching(softmax_launch(sources=ABSENT))
    assert (3,) == one.grid(config_of(one, num_warps=8, num_stages=1))


def test_a_grid_that_is_not_known_is_not_taken_for_that_of_another_constant() -> None:
    one = launching(softmax_launch(sources=ABSENT))
    with pytest.raises(ConfigError, match="the grid of this config is not known"):
        one.grid(config_of(one, BLOCK=16))


@pytest.mark.parametrize(
    ("sources", "rows", "said"),
    [
        (SOURCES, (1, 2), ""),
        (NUMBERS, (2,), ""),
        (NUMBERS, (1, 2), "the program gave its grid as plain numbers"),
        (ABSENT, (2,), r"could not be kept (it uses a socket): other configs cannot run"),
    ],
)
def test_what_is_said_of_the_grids(sources: Sources, rows: tuple[int, ...], said: str) -> None:
    one = launching(softmax_launch(sources=sources))
    remark = one.grid_remark([config_of(one, BLOCK_M=count, num_warps=8) for count in rows])
    assert (said in remark, bool(said)) == (True, bool(remark))


def test_nothing_of_the_source_runs_before_a_grid_is_asked_for(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    one = launching(softmax_launch(sources=with_text(f"open({str(marker)!r}, 'w').close()")))
    assert not marker.exists()
    one.grid(config_of(one))
    assert marker.exists()


def test_a_view_that_two_parameters_have_is_one_tensor_and_two_views_are_two() -> None:
    one = with_args(a=TensorArg(0), b=TensorArg(0), c=TensorArg(1))
    assert {"a": 0, "c": 1} == one.names
    args = one.plan(config_of(one)).args
    assert ["a", "a", "c"] == [args[name].name for name in "abc"]


def test_descriptors_dtypes_tuples_and_none_are_passed_as_they_were() -> None:
    one = with_args(
        d=DescriptorArg(1, (4, 4), (4, 1), (2, 2)), t=DtypeArg("torch.bfloat16"), n=None, p=(1, (2.5, DtypeArg("fp32")))
    )
    args = one.plan(config_of(one)).args
    assert DescriptorRef("d", "float32", (4, 4), (4, 1), (2, 2), is_optional=False) == args["d"]
    assert (torch.bfloat16, None, (1, (2.5, dtype_of(DtypeArg("fp32"))))) == (args["t"], args["n"], args["p"])


@pytest.mark.parametrize("name", ["fp32", "bf16", "int8", "fp8e4nv", "int1"])
def test_dtypes_of_triton_come_back_by_their_names(name: str) -> None:
    assert name == dtype_of(DtypeArg(name)).name


def test_a_tensor_inside_a_tuple_cannot_be_launched_and_says_so() -> None:
    one = with_args(a=(TensorArg(0), 3))
    with pytest.raises(UsageError, match="softmax takes a tensor inside a tuple"):
        one.plan(config_of(one))


def test_a_kernel_is_found_by_its_name_in_the_kept_text() -> None:
    sources = Sources(
        {"m0": TEXT.replace("def softmax", "def inner"), "m1": "from .m0 import inner"}, Ref("m0", "inner")
    )
    one = launching(softmax_launch(sources=sources))
    plan = one.plan(config_of(one))
    assert ("inner", "inner") == (plan.function, plan.callee().__name__)
