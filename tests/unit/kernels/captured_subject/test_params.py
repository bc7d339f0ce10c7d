"""The parameters of a captured kernel, and the space that its own autotune list gives."""

from typing import Any

import pytest
from captured_softmax import LISTED, softmax_launch

from ssdprof.kernels.captured.model import Autotune, CapturedLaunch, ListedConfig
from ssdprof.kernels.captured.params import OPTIONS, captured_config, own_space, table_of
from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.errors import ConfigError

OPTION_NAMES = [param.name for param in OPTIONS]


def listed(*configs: dict[str, Any], **changes: Any) -> CapturedLaunch:
    """The softmax with another autotune list."""
    return softmax_launch(autotune=Autotune(tuple(ListedConfig(one) for one in configs)), **changes)


def alone(**changes: Any) -> CapturedLaunch:
    """The softmax without an autotuner: BLOCK_M is an argument like BLOCK."""
    plain = softmax_launch()
    config = {"BLOCK": 8, "BLOCK_M": 2, "num_warps": 4, "num_stages": 3, "num_ctas": 1}
    return softmax_launch(**{"autotune": None, "args": {**plain.args, "BLOCK_M": 2}, "config": config, **changes})


def values_of(launch: CapturedLaunch) -> list[dict[str, Any]]:
    return [dict(one.values) for one in own_space(launch, table_of(launch)).configs]


def around(launch: CapturedLaunch) -> dict[str, tuple[int, ...]]:
    """The values that are tried beside a config's own, by parameter."""
    return {param.name: param.around for param in table_of(launch) if param.around}


def test_what_the_list_sets_comes_first_then_launch_options_then_other_constants() -> None:
    table = table_of(softmax_launch())
    assert ["BLOCK_M", *OPTION_NAMES, "BLOCK", "EVEN"] == [param.name for param in table]
    assert (True, None) == (table.by_name["BLOCK_M"].required, table.by_name["BLOCK_M"].default)
    assert (False, 8) == (table.by_name["BLOCK"].required, table.by_name["BLOCK"].default)
    assert ("softmax",) == table.functions


def test_the_example_is_the_config_that_the_launch_ran_with() -> None:
    launch = softmax_launch()
    table = table_of(launch)
    assert table.example == captured_config(launch, table)
    assert "BLOCK_M=2,num_warps=4,num_stages=3" == table.id(captured_config(launch, table))


def test_a_parameter_that_only_some_configs_set_has_the_value_of_the_launch_otherwise() -> None:
    launch = listed({"BLOCK_M": 2}, {"BLOCK_M": 2, "BLOCK": 16})
    param = table_of(launch).by_name["BLOCK"]
    assert (False, 8) == (param.required, param.default)
    assert [8, 16] == [one["BLOCK"] for one in values_of(launch)]


def test_what_a_heuristic_computes_has_no_value_but_any_can_be_set() -> None:
    table = table_of(softmax_launch())
    assert table.example is not None
    assert table.example["EVEN"] is None
    assert True is parse_config("BLOCK_M=2,num_warps=4,num_stages=3,EVEN=True", table)["EVEN"]


def test_bools_and_other_values_of_the_arguments_are_no_parameters() -> None:
    launch = alone(args={**alone().args, "BLOCK": True, "BLOCK_M": 0.5}, config={"num_warps": 4})
    assert {"BLOCK", "BLOCK_M"}.isdisjoint(table_of(launch).by_name)


@pytest.mark.parametrize(("value", "low"), [(0, 0), (7, 0), (-1, None), (1 << 31, None), ("tf32", None)])
def test_whole_numbers_stay_whole_numbers_and_anything_else_takes_any_value(value: Any, low: int | None) -> None:
    table = table_of(softmax_launch(args={**softmax_launch().args, "BLOCK": value}))
    assert low == table.by_name["BLOCK"].low
    if low == 0:
        with pytest.raises(ConfigError, match="BLOCK must be a whole number"):
            parse_config("BLOCK_M=2,num_warps=4,num_stages=3,BLOCK=wide", table)


def test_the_own_space_is_the_list_without_what_its_pruning_drops() -> None:
    launch = softmax_launch()
    space = own_space(launch, table_of(launch))
    assert [(1, 2), (1, 4), (2, 2), (2, 4)] == [(one["BLOCK_M"], one["num_warps"]) for one in space.configs]
    assert {"left out by the kernel's own pruning for this launch"} == {one.reason for one in space.left_out}
    assert ["BLOCK_M=4,num_warps=2,num_stages=3", "BLOCK_M=4,num_warps=4,num_stages=3"] == [
        one.config_id for one in space.left_out
    ]
    assert "the kernel's own autotune list: 4 configs" == space.description


def test_equal_configs_of_a_list_are_one() -> None:
    assert 1 == len(values_of(listed({"BLOCK_M": 2}, {"BLOCK_M": 2, "num_warps": 4})))


def test_a_config_of_the_list_that_breaks_a_rule_is_left_out_and_says_why() -> None:
    launch = listed({"BLOCK_M": 2, "num_warps": 3}, {"BLOCK_M": 2})
    space = own_space(launch, table_of(launch))
    assert 1 == len(space.configs)
    assert [("BLOCK_M=2, num_warps=3", True)] == [
        (one.config_id, "num_warps must be a power of two" in one.reason) for one in space.left_out
    ]


@pytest.mark.parametrize(
    "launch",
    [alone(), softmax_launch(autotune=Autotune(tuple(ListedConfig(one.values, pruned=True) for one in LISTED)))],
    ids=["no list", "all pruned"],
)
def test_without_a_config_to_take_from_a_list_the_space_is_the_captured_one(launch: CapturedLaunch) -> None:
    table = table_of(launch)
    assert (captured_config(launch, table),) == own_space(launch, table).configs


def test_a_kernel_without_a_list_says_so() -> None:
    launch = alone()
    assert "no list of its own" in own_space(launch, table_of(launch)).description


def test_around_are_halves_and_doubles_of_listed_sizes_and_what_launch_options_have() -> None:
    found = around(softmax_launch())
    assert ["BLOCK_M", "num_warps", "num_stages"] == list(found)
    assert (1, 2, 4, 8) == found["BLOCK_M"]


def test_around_halves_and_doubles_sizes_without_a_list() -> None:
    found = around(alone())
    assert [(1, 2, 4), (4, 8, 16)] == [found["BLOCK_M"], found["BLOCK"]]


def test_numbers_that_are_no_sizes_have_only_the_listed_values_around() -> None:
    launch = listed({"ORDER": 1, "MODE": "a"}, {"ORDER": 3, "MODE": "b"}, config={"ORDER": 3, "MODE": "b"})
    assert [(1, 3), None] == [around(launch).get(name) for name in ("ORDER", "MODE")]


@pytest.mark.parametrize("autotuned", [True, False])
def test_launch_options_that_the_program_passed_are_those_of_its_configs(autotuned: bool) -> None:
    options = {"maxnreg": 64}
    config = {**alone().config, **options}
    launch = softmax_launch(options=options) if autotuned else alone(options=options, config=config)
    assert {64} == {one["maxnreg"] for one in values_of(launch)}
    assert 64 == captured_config(launch, table_of(launch))["maxnreg"]


def test_every_id_reads_back_as_its_config() -> None:
    mixed = {"BLOCK_M": 2, "MODE": "a", "FAST": True, "SCALE": 0.5}
    for launch in (softmax_launch(), alone(), listed(mixed, config=mixed)):
        table = table_of(launch)
        configs = own_space(launch, table).configs
        assert list(configs) == [parse_config(table.id(one), table) for one in configs]
