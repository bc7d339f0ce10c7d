"""What NVML says of a GPU while it is timed, and who else uses it, from a made-up NVML that changes as time passes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_nvml import GIB, FakeGpu, fake_pynvml

from ssdprof.profiling.gpu import telemetry
from ssdprof.profiling.gpu.telemetry import Telemetry, other_processes
from ssdprof.profiling.runs.measured import Conditions

UUID, MIG = "GPU-11111111-aaaa", "MIG-77777777-cccc"
REASONS = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
COUNTERS = "nvmlDeviceGetViolationStatus"
PROCESSES = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses")
UNUSED_PID = 4_000_000_000
"""Beyond any that the kernel gives: nothing is known of such a process, as of one in another container."""


def nvml(monkeypatch: pytest.MonkeyPatch, *there: FakeGpu, driver: bool = True) -> Any:
    module = fake_pynvml(*there, driver=driver)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return module


def idle(**fields: Any) -> FakeGpu:
    return FakeGpu(UUID, reasons=1, mig={MIG: 10 * GIB}, **fields)


def test_conditions_are_those_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = idle()
    nvml(monkeypatch, gpu)
    watch = Telemetry(UUID)
    watch.begin()
    gpu.temperature_c = 61
    assert Conditions(1755, 2619, 123.456, 61, ()) == watch.end()


@pytest.mark.parametrize(
    ("reasons", "names"),
    [
        (0x00, ()),
        (0x01, ()),  # idle
        (0x02, ()),  # clocks set by the user
        (0x10, ()),  # sync boost
        (0x100, ()),  # display
        (0x04, ("power cap",)),
        (0x08, ("hardware slowdown",)),
        (0x20, ("thermal",)),
        (0x40, ("hardware thermal",)),
        (0x80, ("power brake",)),
        (0x1FF, ("power cap", "hardware slowdown", "thermal", "hardware thermal", "power brake")),
    ],
)
def test_reasons_that_mean_heat_or_power_throttle_and_others_do_not(
    monkeypatch: pytest.MonkeyPatch, reasons: int, names: tuple[str, ...]
) -> None:
    gpu = idle()
    nvml(monkeypatch, gpu)
    watch = Telemetry(UUID)
    watch.begin()
    gpu.reasons = reasons
    assert names == watch.end().throttled


def test_a_reason_at_the_beginning_counts_until_the_next_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = idle()
    nvml(monkeypatch, gpu)
    watch = Telemetry(UUID)
    gpu.reasons = 0x40
    watch.begin()
    gpu.reasons = 0x04
    assert ("power cap", "hardware thermal") == watch.end().throttled
    gpu.reasons = 0
    watch.begin()
    assert () == watch.end().throttled


@pytest.mark.parametrize(("policy", "name"), [(0, "power cap"), (1, "thermal")])
def test_throttling_that_came_and_went_in_between_is_seen_by_its_counter(
    monkeypatch: pytest.MonkeyPatch, policy: int, name: str
) -> None:
    gpu = idle(violations_ns={0: 5_000, 1: 7_000})
    nvml(monkeypatch, gpu)
    watch = Telemetry(UUID)
    watch.begin()
    assert () == watch.end().throttled
    gpu.violations_ns[policy] += 1
    assert (name,) == watch.end().throttled


def test_a_reason_that_is_counted_too_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = idle()
    nvml(monkeypatch, gpu)
    watch = Telemetry(UUID)
    watch.begin()
    gpu.reasons, gpu.violations_ns[0], gpu.violations_ns[1] = 0x04, 1, 1
    assert ("power cap", "thermal") == watch.end().throttled


def test_throttling_is_not_known_where_nvml_tells_neither_reasons_nor_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, idle(unsupported=(*REASONS, COUNTERS)))
    watch = Telemetry(UUID)
    watch.begin()
    assert Conditions(1755, 2619, 123.456, 35, None) == watch.end()


@pytest.mark.parametrize("unsupported", [REASONS, (COUNTERS,), REASONS[:1]])
def test_either_reasons_or_counters_are_enough(monkeypatch: pytest.MonkeyPatch, unsupported: tuple[str, ...]) -> None:
    gpu = idle(unsupported=unsupported)
    nvml(monkeypatch, gpu)
    watch = Telemetry(UUID)
    watch.begin()
    assert () == watch.end().throttled
    gpu.reasons, gpu.violations_ns[0] = 0x04, 1
    assert ("power cap",) == watch.end().throttled


def test_a_function_that_the_library_has_no_longer_is_one_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    module = nvml(monkeypatch, idle())
    for name in (COUNTERS, *REASONS, "nvmlDeviceGetTemperature"):
        delattr(module, name)
    watch = Telemetry(UUID)
    watch.begin()
    assert Conditions(1755, 2619, 123.456, None, None) == watch.end()


@pytest.mark.parametrize(
    ("driver", "visible"), [(False, UUID), (True, "GPU-9"), (True, "3"), (True, ""), (True, "MIG-8")]
)
def test_where_there_is_no_such_gpu_every_answer_is_none(
    monkeypatch: pytest.MonkeyPatch, driver: bool, visible: str
) -> None:
    nvml(monkeypatch, idle(compute={UNUSED_PID: GIB}), driver=driver)
    watch = Telemetry(visible)
    watch.begin()
    assert Conditions() == watch.end()
    assert () == other_processes(visible)


@pytest.mark.parametrize("visible", ["1", UUID, "GPU-1", MIG])
def test_the_gpu_is_found_by_index_uuid_and_mig_instance(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    nvml(monkeypatch, FakeGpu("GPU-22222222-bbbb", temperature_c=90), idle(temperature_c=20))
    watch = Telemetry(visible)
    watch.begin()
    assert 20 == watch.end().temperature_c


def test_other_processes_are_listed_with_what_is_known_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_busy_pct", lambda *_: pytest.fail("processes are listed: nothing is unseen"))
    ours, named = os.getppid(), os.getpid()
    gpu = idle(
        compute={UNUSED_PID: round(12.34 * GIB), ours: GIB, named: None},
        graphics={UNUSED_PID + 1: None, UNUSED_PID: None},
    )
    module = nvml(monkeypatch, gpu)
    name = Path(f"/proc/{named}/comm").read_text(encoding="utf-8").strip()
    assert (f"pid {named} ({name})", "pid 4000000000, 12.3 GiB", "pid 4000000001") == other_processes(UUID, (ours,))
    gpu.compute, gpu.graphics = {ours: GIB}, {}
    assert () == other_processes(UUID, {ours})
    assert 0 == module.not_shut_down


@pytest.mark.parametrize("fields", [{}, {"unsupported": PROCESSES}, {"mismatched": PROCESSES}])
def test_a_busy_gpu_without_a_listed_process_has_an_unseen_one(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    slept_s: list[float] = []
    monkeypatch.setattr(telemetry.time, "sleep", slept_s.append)
    nvml(monkeypatch, idle(busy_pct=[95, 87, 99], **fields))
    assert ("an unseen process keeps it 87 % busy",) == other_processes(UUID)
    assert [0.5, 0.5] == slept_s


@pytest.mark.parametrize("busy_pct", [[0], [9], [100, 9], [100, 100, 0]])
def test_a_gpu_that_is_idle_or_soon_is_has_none(monkeypatch: pytest.MonkeyPatch, busy_pct: list[int]) -> None:
    monkeypatch.setattr(telemetry.time, "sleep", lambda _: None)
    nvml(monkeypatch, idle(busy_pct=busy_pct))
    assert () == other_processes(UUID)


def test_utilisation_that_nvml_does_not_tell_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, idle(busy_pct=[99], unsupported=("nvmlDeviceGetUtilizationRates",)))
    assert () == other_processes(UUID)
