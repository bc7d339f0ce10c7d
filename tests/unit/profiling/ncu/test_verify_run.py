"""The whole verification, on fakes of the compiler, the GPU and ncu; and what of it is run on a GPU."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_ncu import FakeNcu
from fake_runs import H100_ATTRIBUTES, H100_GPU

from ssdprof.kernels.config import NUM_STAGES, NUM_WARPS, Config, ParamTable
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.launch import DescriptorRef, LaunchPlan, TensorMeta, TensorRef
from ssdprof.profiling.gpu import driver
from ssdprof.profiling.hardware.limits import DRIVER_ATTRIBUTES
from ssdprof.profiling.ncu import verify_run
from ssdprof.profiling.ncu.launch_file import read_launches, write_launches
from ssdprof.profiling.ncu.verify import FIGURES, Comparison
from ssdprof.profiling.ncu.verify_run import VerifyRequest, spread, verify
from ssdprof.profiling.runs.measured import Loaded
from ssdprof.profiling.workers import pool

ATTRIBUTES_AND_SMS = {**H100_ATTRIBUTES, "CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT": 132}


TABLE = ParamTable((NUM_WARPS, NUM_STAGES))


def config(stages: int) -> Config:
    return TABLE.config({"num_warps": 2, "num_stages": stages})


def test_configs_are_spread_over_the_whole_list() -> None:
    configs = [config(stages) for stages in range(1, 11)]
    assert [1, 4, 7] == [one.number("num_stages") for one in spread(configs, 3)]
    assert 10 == len(spread(configs, 10)) == len(spread(configs, 99))


# what runs on a GPU


def test_launches_come_back_from_a_file_as_they_were(tmp_path: Path) -> None:
    tensors = {
        "x": TensorMeta((2, 3), "bfloat16"),
        "y": TensorMeta((2, 3), "float32", "in-out", strides=(1, 2), storage="pair", offset=6),
    }
    tile = DescriptorRef("x", "bfloat16", (2, 3), (3, 1), (1, 16))
    arguments = {
        "x_ptr": TensorRef("x", "bfloat16"),
        "y_ptr": TensorRef("y", "float32", offset=3),
        "x": tile,
        "sizes": (2, 3),
        "n": 3,
        "eps": 1.0,
        "flag": True,
        "none": None,
    }
    plans = {
        "b": LaunchPlan("module", "function", (2, 1), arguments, {"num_warps": 2}),
        "a": LaunchPlan("package.module", "other", (7,), {}, {}, file="/somewhere/module.py"),
    }

    write_launches(tmp_path / "todo", tensors, plans)

    assert (tensors, plans) == read_launches(tmp_path / "todo")
    assert ["b", "a"] == list(read_launches(tmp_path / "todo")[1])


class FakeKernel:
    """A kernel as Triton's: indexed by the grid, called with arguments and options; keeps what it was called with."""

    def __init__(self) -> None:
        self.called: list[dict[str, Any]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(**arguments: Any) -> Any:
            if arguments["n"] == 0:
                raise ValueError("n is 0")
            self.called.append({"grid": grid, **arguments})
            metadata = SimpleNamespace(num_warps=2, shared=41728)
            return SimpleNamespace(n_regs=255, n_spills=2, function=7, metadata=metadata)

        return launch


def test_the_target_launches_each_once_on_zeros_and_keeps_the_ids_of_those_that_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ssdprof.profiling.ncu import target as ncu_target

    kernel = FakeKernel()
    monkeypatch.setitem(sys.modules, "fake_kernels", SimpleNamespace(kernel=kernel))  # type: ignore[arg-type]
    monkeypatch.setattr(driver, "cuda_driver", lambda: None)
    monkeypatch.setattr(driver, "driver_blocks_per_sm", lambda *_: 4)
    tensors = {"x": TensorMeta((2, 3), "bfloat16")}
    plan = LaunchPlan("fake_kernels", "kernel", (5,), {"x_ptr": TensorRef("x", "bfloat16"), "n": 3}, {"num_warps": 2})
    bad = replace(plan, args={**plan.args, "n": 0})
    todo, done = tmp_path / "todo", tmp_path / "done"
    write_launches(todo, tensors, {"a": plan, "b": bad, "c": plan})
    ncu_target.main(str(todo), str(done), "cpu")
    assert "a\nc\n" == done.read_text()
    assert "b: ValueError: n is 0\n" == capsys.readouterr().err
    assert [(5,), (5,)] == [call["grid"] for call in kernel.called]
    assert ("torch.bfloat16", (2, 3), 0.0) == (
        str(kernel.called[0]["x_ptr"].dtype),
        tuple(kernel.called[0]["x_ptr"].shape),
        float(kernel.called[0]["x_ptr"].sum()),
    )
    assert Loaded(255, 8, 4) == ncu_target.launch_once(plan)


def test_tensors_have_their_strides_and_share_the_storage_that_they_name() -> None:
    from ssdprof.profiling.ncu import target as ncu_target

    pair = {
        "left": TensorMeta((2, 3), "float32", strides=(6, 1), storage="pair"),
        "right": TensorMeta((2, 3), "float32", "out", strides=(6, 1), storage="pair", offset=3),
        "alone": TensorMeta((3,), "int32"),
        "bytes": TensorMeta((9,), "int8", storage="mixed"),
        "words": TensorMeta((2,), "int32", storage="mixed"),
        "none": TensorMeta((0, 4), "float32"),
    }
    assert {} == ncu_target.prepare(pair, "cpu")
    left, right, alone, in_bytes, words, none = (ncu_target._tensors[name] for name in pair)

    right.fill_(7.0)
    assert ((6, 1), (2, 3), 3) == (right.stride(), tuple(right.shape), right.storage_offset())
    assert 0.0 == float(left.abs().sum())
    assert left.data_ptr() + 12 == right.data_ptr()
    assert left.untyped_storage().nbytes() == 4 * 12
    words.fill_(0x01010101)
    assert [1] * 8 + [0] == in_bytes.tolist()
    assert (0, 4) == tuple(none.shape)
    assert alone.untyped_storage().data_ptr() != left.untyped_storage().data_ptr()


def test_driver_attributes_are_asked_by_the_numbers_of_cuda_h() -> None:
    class Cuda:
        @staticmethod
        def cuInit(flags: int) -> int:  # noqa: N802  # CUDA's name
            return flags

        @staticmethod
        def cuDeviceGetAttribute(value: Any, number: int, device: int) -> int:  # noqa: N802  # CUDA's name
            if number == 111:
                return 1
            value._obj.value = 1000 + number
            return device

    found = driver.driver_attributes(Cuda)
    assert len(DRIVER_ATTRIBUTES) == len(found)
    assert 1016 == found["CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT"]
    assert "CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK" not in found
    assert {*DRIVER_ATTRIBUTES, driver.SM_COUNT} == set(driver.ATTRIBUTE_NUMBERS)
    assert ctypes.sizeof(ctypes.c_int) == 4


@pytest.mark.parametrize(("status", "expected"), [(0, 3), (1, None)])
def test_blocks_per_sm_are_the_drivers_or_unknown_where_it_refuses(status: int, expected: int | None) -> None:
    class Cuda:
        @staticmethod
        def cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks: Any, function: Any, threads: Any, smem: Any) -> int:  # noqa: N802
            assert (7, 128, 4096) == (function.value, threads.value, smem.value)
            blocks._obj.value = 3
            return status

    assert expected == driver.driver_blocks_per_sm(Cuda, 7, 128, 4096)


def test_attribute_numbers_are_those_of_tritons_cuda_h() -> None:
    import triton

    from ssdprof.profiling.gpu.driver import ATTRIBUTE_NUMBERS

    header = Path(triton.__file__).parent / "backends" / "nvidia" / "include" / "cuda.h"
    if not header.exists():
        pytest.skip("this Triton has no cuda.h")
    text = header.read_text(encoding="utf-8", errors="replace")
    for name, number in ATTRIBUTE_NUMBERS.items():
        assert re.search(rf"\b{name} = {number},", text), name


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


def test_a_gpu_that_cannot_be_prepared_leaves_nothing_verified() -> None:
    found = verify(request({}, {}), nobody, device="broken")
    assert ("nothing", 2) == (found.status, len(found.unchecked))
    assert "the GPU could not be prepared: RuntimeError: no CUDA" == found.unchecked[0].reason


def test_ncu_agrees_on_every_figure_and_sentence() -> None:
    ncu = FakeNcu()
    found = verify(request({}, {"regs": 186, "smem": 86784, "warps": 4, "blocks": 2}, ncu=True), nobody, runner=ncu)
    assert ("equal", "2025.3.1", ()) == (found.status, found.ncu, found.notes)
    compared = {one.figure: one.equal for one in found.agreements if one.source == "ncu"}
    assert {**{figure.name: 2 for figure in FIGURES}, "rule_sentence": 2} == compared
    assert "GPU-0" == ncu.env["CUDA_VISIBLE_DEVICES"]


def test_ncu_profiles_the_functions_that_are_launched_whatever_they_are_called() -> None:
    ncu = FakeNcu()
    verify(request({"function": "one"}, {"function": "two"}, {"function": "one"}, ncu=True), nobody, runner=ncu)
    command = next(one for one in ncu.commands if "--kernel-name" in one)
    assert "regex:^(one|two)$" == command[command.index("--kernel-name") + 1]


def test_a_config_that_is_named_twice_is_launched_once() -> None:
    one = request({}, {})
    found = verify(replace(one, configs=(*one.configs, *one.configs)), nobody)
    assert (2, 2) == (found.launches, len({compared.launch for compared in found.comparisons}))


def test_ncu_that_disagrees_names_config_field_and_both_values() -> None:
    found = verify(request({}, ncu=True), nobody, runner=FakeNcu({"launch__occupancy_limit_registers": "5"}))
    assert [Comparison("w2s1", "ncu", "limit_registers_blocks", "4", "5", "differs")] == list(found.differences)


def test_launches_lost_under_ncu_are_told() -> None:
    found = verify(request({}, {}, ncu=True), nobody, runner=FakeNcu(lost=1))
    assert ("Failed only under ncu: w2s1",) == found.notes
    assert {"w2s2"} == {one.launch for one in found.comparisons if one.source == "ncu"}


def test_rows_that_cannot_be_assigned_leave_the_driver_alone() -> None:
    found = verify(request({}, {}, ncu=True), nobody, runner=FakeNcu(rows_lost=1))
    (note,) = found.notes
    assert note == (
        "Only the driver was asked, because ncu was refused or failed: "
        "ncu reports 1 launches of 2: it is unknown which ones"
    )
    assert ("equal", None) == (found.status, found.ncu)


def test_figures_and_sentences_that_ncu_does_not_give_are_told() -> None:
    ncu = FakeNcu({"launch__shared_mem_per_block_driver": ""})
    ncu.details = lambda: ""  # type: ignore[method-assign]
    found = verify(request({}, ncu=True), nobody, runner=ncu)
    assert (
        "Not compared, because ncu gave no value: launch__shared_mem_per_block_driver",
        "Sentences were not compared, because ncu did not apply its Theoretical Occupancy rule here",
    ) == found.notes
