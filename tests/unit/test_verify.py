"""Our figures against the driver's and ncu's: launches that were recorded on an H100, played by fakes."""

from __future__ import annotations

import csv
import ctypes
import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import Config, LaunchPlan, TensorMeta, TensorRef
from ssdprof.profiling import driver, verify_run
from ssdprof.profiling.launch_file import launches_text, read_launches
from ssdprof.profiling.limits import DRIVER_ATTRIBUTES, limits_for
from ssdprof.profiling.model import Loaded
from ssdprof.profiling.ncu import METRICS, RULE_COLUMN, Finished, NcuCsvError, NcuRow, read_raw
from ssdprof.profiling.ncu_export import against_export
from ssdprof.profiling.occupancy import Launch, occupancy
from ssdprof.profiling.verify import (
    FIGURES,
    Comparison,
    Ours,
    Unchecked,
    Verification,
    against_driver,
    against_ncu,
    against_refusal,
)
from ssdprof.profiling.verify_run import VerifyRequest, spread, verify
from ssdprof.reports.occupancy import rule_sentence
from ssdprof.reports.verify import METRICS as COMPARED_WITH
from ssdprof.reports.verify import verdict, verdicts, verify_csv, verify_json, verify_report

from .fake_runs import H100_GPU, screen

GOLDEN = Path(__file__).parents[1] / "golden" / "ncu_h100_chunk_scan.csv"
SM_90 = limits_for("sm_90")
H100_ATTRIBUTES = {
    "CU_DEVICE_ATTRIBUTE_WARP_SIZE": 32,
    "CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK": 1024,
    "CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR": 2048,
    "CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR": 32,
    "CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK": 65536,
    "CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR": 65536,
    "CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK": 49152,
    "CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 232448,
    "CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR": 233472,
    "CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK": 1024,
    "CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT": 132,
}


def ours(name: str = "a", **launch: Any) -> Ours:
    made = Launch(**{"threads_per_block": 64, "registers_per_thread": 255, "dynamic_shared_mem_bytes": 41728, **launch})
    occ = occupancy(made, SM_90, num_sms=132)
    return Ours(name, made, SM_90, occ, rule_sentence(occ))


def ncu_row(one: Ours, **cells: str) -> NcuRow:
    """What ncu would export were everything equal, but for `cells`."""
    values: dict[str, str] = {}
    for figure in FIGURES:
        value = figure.ours(one)
        if value is not None:
            values[figure.metric] = str(value) if isinstance(value, int) else f"{value:.2f}"
    return NcuRow("raw", 3, {"ID": "0", **values, **cells}, {}, one.sentence or "")


def golden_rows() -> tuple[NcuRow, ...]:
    return read_raw(GOLDEN.read_text(encoding="utf-8"), "golden")


def page(header: str, *lines: str) -> tuple[NcuRow, ...]:
    return read_raw("\n".join([header, *lines]) + "\n", "made-up")


def test_all_metrics_that_are_asked_for_are_compared() -> None:
    assert set(METRICS) == {figure.metric for figure in FIGURES}


def test_the_recorded_chunk_scan_launches_are_equal_sentences_too() -> None:
    found = against_export(golden_rows(), "golden", "sm_90", rule_sentence)
    assert ("equal", 33, 284, ()) == (found.status, found.launches, len(found.comparisons), found.unchecked)
    counts = {one.figure: (one.equal, one.compared) for one in found.agreements}
    assert (33, 33) == counts["shared_mem_config_bytes"] == counts["limit_shared_mem_blocks"]
    assert (20, 20) == counts["rule_sentence"]
    assert "registers_per_thread" not in counts


def test_every_figure_of_a_made_up_row_is_equal_and_each_changed_one_differs() -> None:
    one = ours(grid_blocks=1000)
    assert {"equal"} == {found.outcome for found in against_ncu(one, ncu_row(one))}
    assert len(FIGURES) + 1 == len(against_ncu(one, ncu_row(one)))
    for figure in FIGURES:
        found = against_ncu(one, ncu_row(one, **{figure.metric: "3"}))
        assert [figure.name] == [other.figure for other in found if other.outcome == "differs"]


def test_a_sentence_differs_by_one_character() -> None:
    one = ours()
    row = replace(ncu_row(one), sentence=(one.sentence or "") + " ")
    assert ["rule_sentence"] == [found.figure for found in against_ncu(one, row) if found.outcome == "differs"]


def test_a_rule_silent_on_one_side_alone_differs() -> None:
    one = ours()
    found = against_ncu(one, replace(ncu_row(one), sentence=""))[-1]
    assert ("differs", "(no sentence)") == (found.outcome, found.theirs)
    full = ours(registers_per_thread=32, dynamic_shared_mem_bytes=0)
    assert "equal" == against_ncu(full, replace(ncu_row(full), sentence=""))[-1].outcome


def test_a_tie_of_three_limiters_is_a_known_difference_if_only_the_names_differ() -> None:
    one = ours(threads_per_block=512, registers_per_thread=40, dynamic_shared_mem_bytes=56 * 1024)
    three = replace(one, occupancy=replace(one.occupancy, limiters=("registers", "shared memory", "warps")))
    three = replace(three, sentence="The 8.00 warps. This is limited by a, b, and c.")
    found = against_ncu(three, replace(ncu_row(three), sentence="The 8.00 warps. This is limited by a, and c."))[-1]
    assert "known" == found.outcome
    found = against_ncu(three, replace(ncu_row(three), sentence="The 7.00 warps. This is limited by a, and c."))[-1]
    assert "differs" == found.outcome


def test_the_driver_is_asked_for_registers_and_blocks() -> None:
    one = ours()
    assert ["equal"] * 3 == [found.outcome for found in against_driver(one, Loaded(255, 0, 4))]
    wrong = [found for found in against_driver(one, Loaded(254, 0, 5)) if found.outcome == "differs"]
    assert [("registers_per_thread", "255", "254"), ("blocks_per_sm", "4", "5")] == [
        (found.figure, found.ours, found.theirs) for found in wrong
    ]
    assert 2 == len(against_driver(one, Loaded(255, 0, None)))


def test_a_refused_launch_is_equal_where_we_say_that_it_cannot_be() -> None:
    assert "differs" == against_refusal(ours(), "out of resources").outcome
    large = against_refusal(ours(dynamic_shared_mem_bytes=300_000), "out of resources")
    assert "equal" == large.outcome
    assert large.ours.startswith("no: needs 300000 bytes of shared memory per block")
    assert "differs" == against_driver(ours(dynamic_shared_mem_bytes=300_000), Loaded(255, 0, 0))[0].outcome


HEADER = "ID,Kernel Name,Block Size,Grid Size,CC,launch__registers_per_thread,launch__shared_mem_per_block_dynamic"


def test_an_export_needs_no_arch_where_it_has_the_compute_capability() -> None:
    header = f"{HEADER},launch__occupancy_limit_registers,launch__waves_per_multiprocessor,launch__sm_count"
    rows = page(header, '0,k,"(64, 1, 1)","(2640, 1, 1)",9.0,255,41728,4,5,132')
    found = against_export(rows, "file", None, rule_sentence)
    assert ("equal", "sm_90", 2) == (found.status, found.arch, len(found.comparisons))
    assert {"#0 k"} == {one.launch for one in found.comparisons}
    assert "launch__occupancy_limit_warps" in found.notes[0]
    major, minor = (f"device__attribute_compute_capability_{part}" for part in ("major", "minor"))
    rows = page(header.replace("CC", f"{major},{minor}"), '0,k,"(64, 1, 1)","(2640, 1, 1)",8,0,255,41728,4,5,132')
    assert "sm_80" == against_export(rows, "file", None, rule_sentence).arch


def test_an_arch_that_is_not_the_exports_is_refused() -> None:
    rows = page(f"{HEADER},launch__occupancy_limit_registers", '0,k,"(64, 1, 1)","(9, 1, 1)",9.0,255,41728,4')
    with pytest.raises(NcuCsvError, match=r"^--arch sm_80 is not that of line 2 \(sm_90\)"):
        against_export(rows, "file", "sm_80", rule_sentence)


def test_columns_that_are_missing_are_named_in_one_line() -> None:
    with pytest.raises(NcuCsvError) as error:
        against_export(page("ID,launch__registers_per_thread", "0,255"), "file", None, rule_sentence)
    assert str(error.value) == (
        "file lacks launch__shared_mem_per_block_dynamic, launch__block_size, "
        "device__attribute_compute_capability_major and …_minor (or give --arch): "
        "export the report with ncu --import REPORT --csv --page raw --print-units base"
    )


def test_rows_that_cannot_be_or_have_nothing_to_compare_are_not_checked() -> None:
    rows = page(
        f"{HEADER},launch__occupancy_limit_registers",
        '0,k,"(64, 1, 1)","(9, 1, 1)",3.5,255,41728,4',
        '1,k,"(2048, 1, 1)","(9, 1, 1)",9.0,255,41728,4',
        '2,k,"(64, 1, 1)","(9, 1, 1)",9.0,255,41728,',
    )
    found = against_export(rows, "file", None, rule_sentence)
    assert "nothing" == found.status
    reasons = [one.reason for one in found.unchecked]
    assert reasons[0].startswith("unknown architecture '3.5'")
    assert reasons[1].startswith("2048 threads per block")
    assert "has no figure that could be compared" == reasons[2]


def test_bytes_that_ncu_rounded_are_restored_and_it_is_said() -> None:
    text = (
        f"{HEADER},launch__shared_mem_config_size,launch__occupancy_limit_shared_mem\n"
        ",,,,,register/thread,Kbyte/block,Kbyte,block\n"
        '0,k,"(128, 1, 1)","(9, 1, 1)",9.0,180,86.78,233.47,2\n'
    )
    found = against_export(read_raw(text, "f"), "f", None, rule_sentence)
    assert ("equal", 2) == (found.status, len(found.comparisons))
    assert found.notes[-1].startswith("1 of 1 launches have their shared memory in rounded units")
    assert "233472" == found.comparisons[0].ours
    assert "233.47 Kbyte" == found.comparisons[0].theirs


@pytest.mark.parametrize(("cache", "limit"), [("CachePreferShared", 9), ("CachePreferNone", 5), ("", 5)])
def test_the_cache_preference_is_read_where_it_is_exported(cache: str, limit: int) -> None:
    text = f"{HEADER},launch__func_cache_config,launch__shared_mem_config_size"
    rows = page(text, f'0,k,"(96, 1, 1)","(9, 1, 1)",9.0,255,24576,{cache},233472')
    found = against_export(rows, "f", None, rule_sentence)
    assert ("equal" if limit == 9 else "differs") == found.status


def test_configs_are_spread_over_the_whole_list() -> None:
    configs = [Config(16, 16, 16, 16, 1, stage) for stage in range(1, 11)]
    assert [1, 4, 7] == [config.num_stages for config in spread(configs, 3)]
    assert 10 == len(spread(configs, 10)) == len(spread(configs, 99))


# what runs on a GPU


def test_launches_come_back_from_a_file_as_they_were() -> None:
    tensors = {"x": TensorMeta((2, 3), "bfloat16")}
    arguments = {"x_ptr": TensorRef("x", "bfloat16"), "n": 3, "eps": 1.0, "flag": True, "none": None}
    plans = {"a": LaunchPlan("module", "function", (2, 1), arguments, {"num_warps": 2})}
    assert (tensors, plans) == read_launches(launches_text(tensors, plans))


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
    from ssdprof.profiling import measure, ncu_target

    kernel = FakeKernel()
    monkeypatch.setitem(sys.modules, "fake_kernels", SimpleNamespace(kernel=kernel))  # type: ignore[arg-type]
    monkeypatch.setattr(measure, "cuda_driver", lambda: None)
    monkeypatch.setattr(measure, "driver_blocks_per_sm", lambda *_: 4)
    tensors = {"x": TensorMeta((2, 3), "bfloat16")}
    plan = LaunchPlan("fake_kernels", "kernel", (5,), {"x_ptr": TensorRef("x", "bfloat16"), "n": 3}, {"num_warps": 2})
    bad = replace(plan, args={**plan.args, "n": 0})
    todo, done = tmp_path / "todo", tmp_path / "done"
    todo.write_text(launches_text(tensors, {"a": plan, "b": bad, "c": plan}))
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

    from ssdprof.profiling.driver import ATTRIBUTE_NUMBERS

    header = Path(triton.__file__).parent / "backends" / "nvidia" / "include" / "cuda.h"
    if not header.exists():
        pytest.skip("this Triton has no cuda.h")
    text = header.read_text(encoding="utf-8", errors="replace")
    for name, number in ATTRIBUTE_NUMBERS.items():
        assert re.search(rf"\b{name} = {number},", text), name


# the whole run, on fakes of the compiler, the GPU and ncu

FAKES = """
import os
from ssdprof.profiling.model import Compiled, Loaded

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


class FakeSpec:
    """Configs whose launches say what the fakes shall do with them: its n-th config is the n-th of `launches`."""

    def __init__(self, launches: Sequence[Mapping[str, Any]]) -> None:
        self.launches = launches

    def resolve(self, config: Config, problem: Any) -> Config:
        if config.num_stages > 30:
            raise ConfigError("too many stages")
        return config

    def tensors(self, problem: Any) -> Mapping[str, TensorMeta]:
        return {"x": TensorMeta((2,), "float32")}

    def launch(self, problem: Any, config: Config) -> LaunchPlan:
        return LaunchPlan("m", "chunk_scan_kernel", (50048,), dict(self.launches[config.num_stages - 1]), {})


GOOD = {"regs": 255, "smem": 41728, "warps": 2, "blocks": 4, "fate": ""}


def request(*launches: Mapping[str, Any], ncu: bool = False, notes: tuple[str, ...] = ()) -> VerifyRequest:
    configs = tuple(Config(64, 64, 32, 128, 2, stage) for stage in range(1, len(launches) + 1))
    return VerifyRequest(
        spec=FakeSpec([{**GOOD, **one} for one in launches]),  # type: ignore[arg-type]
        problem=None,
        of="mamba",
        configs=configs,
        gpu=H100_GPU,
        jobs=2,
        timeout_s=60,
        ncu=Path("/opt/ncu") if ncu else None,
        sentence=rule_sentence,
        notes=notes,
    )


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "fake_gpu.py").write_text(FAKES.format(attributes=H100_ATTRIBUTES))
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, function in (("_COMPILE", "compile_launch"), ("_PREPARE", "prepare"), ("_LAUNCH", "launch_once")):
        monkeypatch.setattr(verify_run, name, f"fake_gpu:{function}")


def nobody(step: str, done: int, total: int) -> None:
    """Hears nothing."""


class FakeNcu:
    """An ncu that agrees with us on every launch of the file, but for `changed` cells and the `lost` ids."""

    def __init__(self, changed: Mapping[str, str] | None = None, lost: int = 0, rows_lost: int = 0) -> None:
        self.changed, self.lost, self.rows_lost = changed or {}, lost, rows_lost
        self.env: Mapping[str, str] = {}
        self.rows: list[NcuRow] = []

    def __call__(self, command: Sequence[str], env: Mapping[str, str], timeout_s: float) -> Finished:
        self.env = env
        if "--version" in command:
            return Finished(0, "Version 2025.3.1.0\n")
        if "--import" in command:
            return Finished(0, self.raw() if "raw" in command else self.details())
        todo, done, _device = command[-3:]
        _, plans = read_launches(Path(todo).read_text())
        names = list(plans)[self.lost :]
        self.rows = [ncu_row(self.see(name, plans[name]), **self.changed) for name in names]
        Path(done).write_text("".join(f"{name}\n" for name in names))
        Path(command[command.index("-o") + 1]).write_text("report")
        return Finished(0, "==PROF== Report\n")

    @staticmethod
    def see(name: str, plan: LaunchPlan) -> Ours:
        a: Mapping[str, Any] = plan.args
        return ours(
            name,
            threads_per_block=32 * a["warps"],
            registers_per_thread=a["regs"],
            dynamic_shared_mem_bytes=a["smem"],
            grid_blocks=plan.grid[0],
        )

    def raw(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text)
        columns = list(self.rows[0].cells)
        writer.writerow(columns)
        writer.writerow(["" for _ in columns])
        for index, row in enumerate(self.rows[self.rows_lost :]):
            writer.writerow({**row.cells, "ID": str(index)}.values())
        return text.getvalue()

    def details(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["ID", "Rule Name", "Rule Description"])
        for index, row in enumerate(self.rows):
            writer.writerow([index, "TheoreticalOccupancy", row.sentence])
        return text.getvalue()


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
    attributes = {**H100_ATTRIBUTES, "CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR": 24}
    (tmp_path / "fake_gpu.py").write_text(FAKES.format(attributes=attributes))
    found = verify(request({}, {"blocks": 5}), nobody)
    assert "differs" == found.status
    assert ["blocks_per_sm"] == [one.figure for one in found.differences]
    assert ("blocks per SM: the driver says 24, limits.json 32 for sm_90",) == found.limits_differences


def test_launches_that_fail_are_not_checked_or_hold_against_our_saying_so() -> None:
    launches = (
        {"regs": 0},
        {"fate": "fault"},
        {"fate": "too large"},
        {"smem": 300_000, "fate": "fault"},
        {},
    )
    one = request(*launches)
    one = replace(one, configs=(*one.configs, Config(64, 64, 32, 128, 2, 31)))
    found = verify(one, nobody)
    assert 6 == found.launches
    assert [
        ("m64n64k32d128w2s31", "too many stages"),
        ("m64n64k32d128w2s1", "ValueError: does not compile"),
        ("m64n64k32d128w2s2", "RuntimeError: illegal memory access"),
    ] == [(missing.launch, missing.reason) for missing in found.unchecked]
    outcomes = {compared.launch: compared.outcome for compared in found.comparisons if compared.figure == "can_launch"}
    assert {"m64n64k32d128w2s3": "differs", "m64n64k32d128w2s4": "equal", "m64n64k32d128w2s5": "equal"} == outcomes


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


def test_ncu_that_disagrees_names_config_field_and_both_values() -> None:
    found = verify(request({}, ncu=True), nobody, runner=FakeNcu({"launch__occupancy_limit_registers": "5"}))
    assert [Comparison("m64n64k32d128w2s1", "ncu", "limit_registers_blocks", "4", "5", "differs")] == list(
        found.differences
    )


def test_launches_lost_under_ncu_are_told() -> None:
    found = verify(request({}, {}, ncu=True), nobody, runner=FakeNcu(lost=1))
    assert ("Failed under ncu alone: m64n64k32d128w2s1",) == found.notes
    assert {"m64n64k32d128w2s2"} == {one.launch for one in found.comparisons if one.source == "ncu"}


def test_rows_that_cannot_be_assigned_leave_the_driver_alone() -> None:
    found = verify(request({}, {}, ncu=True), nobody, runner=FakeNcu(rows_lost=1))
    (note,) = found.notes
    assert note == (
        "Only the driver was asked, since ncu was refused or failed: "
        "ncu reports 1 launches of 2: which is which is not known"
    )
    assert ("equal", None) == (found.status, found.ncu)


def test_figures_and_sentences_that_ncu_does_not_give_are_told() -> None:
    ncu = FakeNcu({"launch__shared_mem_per_block_driver": ""})
    ncu.details = lambda: ""  # type: ignore[method-assign]
    found = verify(request({}, ncu=True), nobody, runner=ncu)
    assert (
        "Not compared, since ncu gave none: launch__shared_mem_per_block_driver",
        "Sentences were not compared, since ncu applied no Theoretical Occupancy rule to these launches",
    ) == found.notes


# reports

EQUAL = Comparison("m64n64k32d128w2s4", "driver", "blocks_per_sm", "4", "4", "equal")
DIFFERS = Comparison("m64n64k32d128w2s4", "ncu", "limit_registers_blocks", "4", "5", "differs")
KNOWN = Comparison("m64n64k32d128w2s4", "ncu", "rule_sentence", "by a, b, and c.", "by a, and c.", "known")
FOUND = Verification("mamba", "sm_90", "NVIDIA H100, driver 580", "2025.3.1", 1, (EQUAL, DIFFERS, KNOWN))


def test_the_report_shows_agreements_every_difference_and_the_verdict() -> None:
    found = replace(
        FOUND,
        launches=2,
        unchecked=(Unchecked("m16n16k16d16w1s1", "does not compile"),),
        limits_compared=10,
        limits_differences=("blocks per SM: the driver says 24, limits.json 32 for sm_90",),
        notes=("Something was not asked",),
    )
    assert lines(found) == REPORT.strip("\n").splitlines()


REPORT = """
verified      mamba, 2 launches
architecture  sm_90
GPU           NVIDIA H100, driver 580
ncu           2025.3.1

Equal figures
Figure                  Compared with                                 Driver                    ncu
blocks_per_sm           cuOccupancyMaxActiveBlocksPerMultiprocessor   1 of 1
limit_registers_blocks  launch__occupancy_limit_registers                                    0 of 1
rule_sentence           rule TheoreticalOccupancy                             0 of 1 (1 on purpose)
limits of sm_90         device attributes                            9 of 10

Differences
Launch             Figure                  With  Ours  Theirs
m64n64k32d128w2s4  limit_registers_blocks  ncu   4     5

Differences on purpose
m64n64k32d128w2s4
  ours  by a, b, and c.
  ncu   by a, and c.

Limits of the architecture that differ
  blocks per SM: the driver says 24, limits.json 32 for sm_90

Not checked
m16n16k16d16w1s1  does not compile

Verdict
• Something was not asked.
! Different: 1 of 3 figures, in 1 of 1 launch, and 1 of 10 limits, held against the driver and ncu
  2025.3.1. 1 sentence differs on purpose: ncu drops names where three or more limiters tie, and has
  none for barriers. 1 of 2 launches could not be checked.
"""


def lines(found: Verification) -> list[str]:
    return screen(verify_report(found), width=100).splitlines()


def test_verdicts_say_what_was_held_against_what() -> None:
    alone = replace(FOUND, comparisons=(EQUAL,), ncu=None)
    assert "All equal: 1 of 1 figures of 1 launch, held against the driver alone." == verdict(alone).message
    both = replace(FOUND, comparisons=(EQUAL, KNOWN))
    assert (
        "All equal: 1 of 1 figures of 1 launch, held against the driver and ncu 2025.3.1. 1 sentence differs on "
        "purpose: ncu drops names where three or more limiters tie, and has none for barriers." == verdict(both).message
    )
    nothing = replace(FOUND, comparisons=())
    assert ("nothing", "warning") == (verdict(nothing).code, verdict(nothing).status)
    assert "Nothing could be verified: none of 1 launch." == verdict(nothing).message
    limits = replace(alone, comparisons=(), limits_compared=10, limits_differences=("blocks",))
    assert "Different: 0 of 0 figures, in 0 of 0 launches, and 1 of 10 limits, held against the driver." == (
        verdict(limits).message
    )
    assert "Driver" in "\n".join(lines(limits))
    missing = replace(alone, launches=3, unchecked=(Unchecked("x", "y"),))
    assert verdict(missing).message.endswith("1 of 3 launches could not be checked.")
    assert ["not-asked", "equal"] == [one.code for one in verdicts(replace(alone, notes=("x",)))]


def test_long_sentences_that_differ_stand_below_the_table() -> None:
    sentence = replace(KNOWN, outcome="differs")
    text = "\n".join(lines(replace(FOUND, comparisons=(DIFFERS, sentence))))
    assert "Sentences\nm64n64k32d128w2s4\n  ours  by a, b, and c." in text


def test_json_and_csv_have_every_comparison() -> None:
    found = replace(FOUND, unchecked=(Unchecked("m16n16k16d16w1s1", "does not compile"),))
    content = json.loads(verify_json(found))
    assert ("differs", 3, 2) == (content["status"], len(content["comparisons"]), len(content["differences"]))
    assert "launch__occupancy_limit_registers" == content["agreements"][1]["metric"]
    assert [
        "launch,source,figure,metric,ours,theirs,outcome",
        "m64n64k32d128w2s4,driver,blocks_per_sm,cuOccupancyMaxActiveBlocksPerMultiprocessor,4,4,equal",
        "m64n64k32d128w2s4,ncu,limit_registers_blocks,launch__occupancy_limit_registers,4,5,differs",
        'm64n64k32d128w2s4,ncu,rule_sentence,rule TheoreticalOccupancy,"by a, b, and c.","by a, and c.",known',
        "m16n16k16d16w1s1,,,,,does not compile,unchecked",
    ] == verify_csv(found).splitlines()


def test_every_figure_has_a_name_of_whom_it_is_compared_with() -> None:
    assert {*(figure.name for figure in FIGURES), "rule_sentence", "blocks_per_sm", "can_launch"} == set(COMPARED_WITH)
    assert RULE_COLUMN in GOLDEN.read_text(encoding="utf-8").splitlines()[0]
