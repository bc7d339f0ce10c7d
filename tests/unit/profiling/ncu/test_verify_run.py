"""The whole verification, on fakes of the compiler, the GPU and ncu."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from fake_ncu import NCU_METRICS, FakeNcu
from fake_runs import H100_ATTRIBUTES, H100_GPU

from ssdprof.kernels.config import NUM_STAGES, NUM_WARPS, Config, ParamTable
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.launch import LaunchPlan, TensorMeta
from ssdprof.profiling.ncu import program, verify_run
from ssdprof.profiling.ncu.verify import FIGURES, Comparison, Verification
from ssdprof.profiling.ncu.verify_run import VerifyRequest, spread, verify
from ssdprof.profiling.workers import pool

ATTRIBUTES_AND_SMS = {**H100_ATTRIBUTES, "CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT": 132}


TABLE = ParamTable((NUM_WARPS, NUM_STAGES))


def config(stages: int) -> Config:
    return TABLE.config({"num_warps": 2, "num_stages": stages})


def test_configs_are_spread_over_the_whole_list() -> None:
    configs = [config(stages) for stages in range(1, 11)]
    assert [1, 4, 7] == [one.number("num_stages") for one in spread(configs, 3)]
    assert 10 == len(spread(configs, 10)) == len(spread(configs, 99))


# the whole run, on fakes of the compiler, the GPU and ncu

FAKES = """
import os
from ssdprof.profiling.runs.measured import Compiled, Loaded

ATTRIBUTES = {attributes}

def compile_launch(plan, arch):
    a = plan.args
    if a["regs"] == 0:
        raise ValueError("does not compile")
    return Compiled(a["regs"], 0, a["smem"], 0, a["warps"], 1, 1, plan.grid[0], 0.1)

def prepare(tensors, device):
    if device == "broken":
        raise RuntimeError("no CUDA")
    return ATTRIBUTES

class OutOfResources(Exception):
    pass

def launch_once(plan):
    a = plan.args
    if a["fate"] == "too large":
        raise OutOfResources("shared memory")
    if a["fate"] == "fault":
        raise RuntimeError("illegal memory access")
    return Loaded(a["regs"], 0, a["blocks"])
"""


class FakeSubject:
    """Configs whose launches say what the fakes shall do with them: its n-th config is the n-th of `launches`."""

    name = "fake"
    params = TABLE

    def __init__(self, launches: Sequence[Mapping[str, Any]]) -> None:
        self.launches = launches

    def resolve(self, config: Config) -> Config:
        if config.number("num_stages") > 30:
            raise ConfigError("too many stages")
        return config

    def tensors(self) -> Mapping[str, TensorMeta]:
        return {"x": TensorMeta((2,), "float32")}

    def launch(self, config: Config) -> LaunchPlan:
        arguments = dict(self.launches[config.number("num_stages") - 1])
        return LaunchPlan("m", arguments.pop("function", "scan_kernel"), (50048,), arguments, {})


GOOD = {"regs": 255, "smem": 41728, "warps": 2, "blocks": 4, "fate": ""}


def request(*launches: Mapping[str, Any], ncu: bool = False, notes: tuple[str, ...] = ()) -> VerifyRequest:
    return VerifyRequest(
        subject=FakeSubject([{**GOOD, **one} for one in launches]),  # type: ignore[arg-type]
        of="mamba",
        configs=tuple(config(stages) for stages in range(1, len(launches) + 1)),
        gpu=H100_GPU,
        jobs=2,
        timeout_s=60,
        ncu=Path("/opt/ncu") if ncu else None,
        notes=notes,
    )


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "fake_gpu.py").write_text(FAKES.format(attributes=ATTRIBUTES_AND_SMS))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(pool, "COMPILE", "fake_gpu:compile_launch")
    for name, function in (("_PREPARE", "prepare"), ("_LAUNCH", "launch_once")):
        monkeypatch.setattr(verify_run, name, f"fake_gpu:{function}")


def nobody(step: str, done: int, total: int) -> None:
    """Hears nothing."""


def verified(request: VerifyRequest, ncu: FakeNcu) -> Verification:
    with mock.patch.object(program, "run_program", ncu):
        return verify(request, nobody)


def test_the_driver_alone_agrees_on_blocks_registers_and_limits() -> None:
    steps: list[tuple[str, int, int]] = []
    found = verify(request({}, {}, notes=("There is no ncu",)), lambda *step: steps.append(step))
    assert ("equal", 2, None) == (found.status, found.launches, found.ncu)
    assert [("can_launch", 2), ("registers_per_thread", 2), ("blocks_per_sm", 2)] == [
        (one.figure, one.equal) for one in found.agreements
    ]
    assert (10, ()) == (found.limits_compared, found.limits_differences)
    assert ("There is no ncu",) == found.notes
    assert {"compiling", "launching"} == {step for step, _, _ in steps}


def test_a_driver_that_disagrees_is_a_difference(tmp_path: Path) -> None:
    attributes = {**ATTRIBUTES_AND_SMS, "CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR": 24}
    (tmp_path / "fake_gpu.py").write_text(FAKES.format(attributes=attributes))
    found = verify(request({}, {"blocks": 5}), nobody)
    assert "differs" == found.status
    assert ["blocks_per_sm"] == [one.figure for one in found.differences]
    assert ("blocks per SM: the driver says 24, limits.json 32 for sm_90",) == found.limits_differences


def test_launches_that_fail_are_not_checked_or_hold_against_our_saying_so() -> None:
    launches = ({"regs": 0}, {"fate": "fault"}, {"fate": "too large"}, {"smem": 300_000, "fate": "fault"}, {})
    one = request(*launches)
    one = replace(one, configs=(*one.configs, config(31)))
    found = verify(one, nobody)
    assert 6 == found.launches
    assert [
        ("w2s31", "too many stages"),
        ("w2s1", "ValueError: does not compile"),
        ("w2s2", "RuntimeError: illegal memory access"),
    ] == [(missing.launch, missing.reason) for missing in found.unchecked]
    outcomes = {compared.launch: compared.outcome for compared in found.comparisons if compared.figure == "can_launch"}
    assert {"w2s3": "differs", "w2s4": "equal", "w2s5": "equal"} == outcomes


def test_a_gpu_that_cannot_be_prepared_leaves_nothing_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_run, "_DEVICE", "broken")
    found = verify(request({}, {}), nobody)
    assert ("nothing", 2) == (found.status, len(found.unchecked))
    assert "the GPU could not be prepared: RuntimeError: no CUDA" == found.unchecked[0].reason


def test_ncu_agrees_on_every_figure_and_sentence() -> None:
    ncu = FakeNcu()
    found = verified(request({}, {"regs": 186, "smem": 86784, "warps": 4, "blocks": 2}, ncu=True), ncu)
    assert ("equal", "2025.3.1", ()) == (found.status, found.ncu, found.notes)
    compared = {one.figure: one.equal for one in found.agreements if one.source == "ncu"}
    assert {**{figure.name: 2 for figure in FIGURES}, "rule_sentence": 2} == compared
    assert "GPU-0" == ncu.env["CUDA_VISIBLE_DEVICES"]
    command = ncu.commands[0]
    assert sorted(NCU_METRICS) == sorted(command[command.index("--metrics") + 1].split(","))


def test_ncu_profiles_the_functions_that_are_launched_whatever_they_are_called() -> None:
    ncu = FakeNcu()
    verified(request({"function": "one"}, {"function": "two"}, {"function": "one"}, ncu=True), ncu)
    command = next(one for one in ncu.commands if "--kernel-name" in one)
    assert "regex:^(one|two)$" == command[command.index("--kernel-name") + 1]


def test_a_config_that_is_named_twice_is_launched_once() -> None:
    one = request({}, {})
    found = verify(replace(one, configs=(*one.configs, *one.configs)), nobody)
    assert (2, 2) == (found.launches, len({compared.launch for compared in found.comparisons}))


def test_ncu_that_disagrees_names_config_field_and_both_values() -> None:
    found = verified(request({}, ncu=True), FakeNcu({"launch__occupancy_limit_registers": "5"}))
    assert [Comparison("w2s1", "ncu", "limit_registers_blocks", "4", "5", "differs")] == list(found.differences)


def test_launches_lost_under_ncu_are_told() -> None:
    found = verified(request({}, {}, ncu=True), FakeNcu(lost=1))
    assert ("Failed only under ncu: w2s1",) == found.notes
    assert {"w2s2"} == {one.launch for one in found.comparisons if one.source == "ncu"}


def test_rows_that_cannot_be_assigned_leave_the_driver_alone() -> None:
    found = verified(request({}, {}, ncu=True), FakeNcu(rows_lost=1))
    (note,) = found.notes
    assert note == (
        "Only the driver was asked, because ncu was refused or failed: "
        "ncu reports 1 launches of 2: it is unknown which ones"
    )
    assert ("equal", None) == (found.status, found.ncu)


def test_figures_and_sentences_that_ncu_does_not_give_are_told() -> None:
    ncu = FakeNcu({"launch__shared_mem_per_block_driver": ""})
    ncu.details = lambda: ""  # type: ignore[method-assign]
    found = verified(request({}, ncu=True), ncu)
    assert (
        "Not compared, because ncu gave no value: launch__shared_mem_per_block_driver",
        "Sentences were not compared, because ncu did not apply its Theoretical Occupancy rule here",
    ) == found.notes
