"""The GPUs that CUDA programs would see, from a made-up NVML; choosing one; and problems that do not fit it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

import pytest
from fake_kernel import FakeSubject
from fake_nvml import FakeGpu, fake_pynvml
from fake_runs import H100_GPU

from ssdprof.profiling.gpu.devices import DeviceError, GpuInfo, gpus, select_gpu
from ssdprof.profiling.runs.measured import Conditions
from ssdprof.profiling.sweep.preflight import GIB, check_measurable, needed_memory_bytes

FIRST = FakeGpu("GPU-11111111-aaaa", mig={"MIG-77777777-cccc": 10 * GIB})
SECOND = FakeGpu("GPU-22222222-bbbb", name="NVIDIA RTX 5090", capability=(12, 0))
OPTIONAL = {
    "nvmlDeviceGetPowerUsage": ["power_w"],
    "nvmlDeviceGetEnforcedPowerLimit": ["power_limit_w"],
    "nvmlDeviceGetMigMode": ["mig"],
    "nvmlDeviceGetClockInfo": ["sm_clock_mhz", "memory_clock_mhz"],
    "nvmlDeviceGetMaxClockInfo": ["sm_clock_max_mhz", "memory_clock_max_mhz"],
    "nvmlDeviceGetTemperature": ["temperature_c"],
}


@pytest.fixture(autouse=True)
def all_gpus_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def nvml(monkeypatch: pytest.MonkeyPatch, *there: FakeGpu, driver: bool = True) -> Any:
    module = fake_pynvml(*there, driver=driver)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return module


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, FIRST, driver=False)
    assert () == gpus()


def test_a_gpu_is_described_in_units_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    module = nvml(monkeypatch, replace(FIRST, compute={4242_4242: 3 * GIB}))
    assert (
        GpuInfo(
            index=0,
            visible="GPU-11111111-aaaa",
            name="NVIDIA H100 80GB HBM3",
            arch="sm_90",
            driver="580.159.04",
            cuda="13.1",
            memory_bytes=80 * GIB,
            memory_free_bytes=79 * GIB,
            sm_clock_mhz=1755,
            sm_clock_max_mhz=1980,
            power_w=123.456,
            power_limit_w=700.0,
            temperature_c=35,
            mig=True,
            throttle_reasons=4,
            uuid="GPU-11111111-aaaa",
            memory_clock_mhz=2619,
            memory_clock_max_mhz=2620,
            others=("pid 42424242, 3.0 GiB",),
        ),
    ) == gpus()
    assert 0 == module.not_shut_down


@pytest.mark.parametrize("query", OPTIONAL)
def test_what_nvml_does_not_tell_is_none_and_the_rest_is_there(monkeypatch: pytest.MonkeyPatch, query: str) -> None:
    nvml(monkeypatch, FIRST)
    everything = gpus()[0]
    nvml(monkeypatch, replace(FIRST, unsupported=(query,)))
    assert replace(everything, **dict.fromkeys(OPTIONAL[query])) == gpus()[0]


@pytest.mark.parametrize(
    ("wanted", "visible"),
    [
        (None, ["GPU-11111111-aaaa", "GPU-22222222-bbbb"]),
        ("", []),
        ("0", ["GPU-11111111-aaaa"]),
        ("1", ["GPU-22222222-bbbb"]),
        ("1,0", ["GPU-22222222-bbbb", "GPU-11111111-aaaa"]),
        (" 1 , 0 ", ["GPU-22222222-bbbb", "GPU-11111111-aaaa"]),
        ("-1", []),
        ("2", []),
        ("²", []),
        ("0,2,1", ["GPU-11111111-aaaa"]),
        ("1,-1,0", ["GPU-22222222-bbbb"]),
        ("NoDevFiles", []),
        ("GPU-22222222-bbbb", ["GPU-22222222-bbbb"]),
        ("GPU-2", ["GPU-2"]),
        ("GPU-2,GPU-1", ["GPU-2", "GPU-1"]),
        ("GPU-33333333", []),
        ("GPU-1,GPU-33333333,GPU-2", ["GPU-1"]),
        ("MIG-77777777-cccc", ["MIG-77777777-cccc"]),
        ("MIG-88888888-dddd", []),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(
    monkeypatch: pytest.MonkeyPatch, wanted: str | None, visible: list[str]
) -> None:
    module = nvml(monkeypatch, FIRST, SECOND)
    if wanted is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
    found = gpus()
    assert visible == [gpu.visible for gpu in found]
    assert list(range(len(visible))) == [gpu.index for gpu in found]
    assert 0 == module.not_shut_down


def test_a_gpu_keeps_its_properties_whatever_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, FIRST, SECOND)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert [("NVIDIA RTX 5090", "sm_120"), ("NVIDIA H100 80GB HBM3", "sm_90")] == [(g.name, g.arch) for g in gpus()]


def test_a_mig_instance_is_described_by_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, SECOND, FIRST)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-77777777-cccc")
    assert ("NVIDIA H100 80GB HBM3", "sm_90", True) == (gpus()[0].name, gpus()[0].arch, gpus()[0].mig)


def test_a_mig_instance_has_its_own_memory_and_uuid_and_the_clocks_of_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, replace(FIRST, compute={4242_4242: GIB}, busy_pct=[99]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-77777777-cccc")

    (gpu,) = gpus()

    assert ("MIG-77777777-cccc", 10 * GIB, 10 * GIB) == (gpu.uuid, gpu.memory_bytes, gpu.memory_free_bytes)
    assert (1755, 2619, 123.456, 4) == (gpu.sm_clock_mhz, gpu.memory_clock_mhz, gpu.power_w, gpu.throttle_reasons)
    assert () == gpu.others  # those of other instances


def test_a_gpu_named_by_the_beginning_of_its_uuid_has_the_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, FIRST, SECOND)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-2")
    assert [("GPU-2", "GPU-22222222-bbbb")] == [(gpu.visible, gpu.uuid) for gpu in gpus()]


def test_the_conditions_of_a_gpu_name_what_throttles_it(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, FIRST, replace(SECOND, reasons=1))
    first, second = gpus()
    assert Conditions(1755, 2619, 123.456, 35, ("power cap",)) == first.conditions
    assert () == second.conditions.throttled
    assert replace(first, throttle_reasons=None).conditions.throttled is None


ONE = (H100_GPU,)
TWO = (H100_GPU, replace(H100_GPU, index=1, visible="GPU-1"))


@pytest.mark.parametrize(
    ("text", "known", "index"),
    [
        ("auto", (), None),
        ("auto", TWO, 0),
        ("none", TWO, None),
        ("0", ONE, 0),
        ("cuda:0", ONE, 0),
        ("1", TWO, 1),
        ("cuda:1", TWO, 1),
        ("01", TWO, 1),
    ],
)
def test_a_gpu_is_chosen_by_auto_none_or_an_index(text: str, known: tuple[GpuInfo, ...], index: int | None) -> None:
    assert (None if index is None else known[index]) == select_gpu(text, known)


@pytest.mark.parametrize(
    ("text", "known", "message"),
    [
        ("0", (), "no GPU '0': this machine has no NVIDIA GPU; give --device auto, none or an index"),
        ("1", ONE, "no GPU '1': this machine has only GPU 0; give --device auto, none or an index"),
        ("2", TWO, "no GPU '2': this machine has GPUs 0 to 1; give --device auto, none or an index"),
        ("cuda:2", TWO, "no GPU 'cuda:2': this machine has GPUs 0 to 1; give --device auto, none or an index"),
        ("cuda:", TWO, "no GPU 'cuda:': this machine has GPUs 0 to 1; give --device auto, none or an index"),
        ("-1", TWO, "no GPU '-1': this machine has GPUs 0 to 1; give --device auto, none or an index"),
        ("²", TWO, "no GPU '²': this machine has GPUs 0 to 1; give --device auto, none or an index"),
        ("h100", TWO, "no GPU 'h100': this machine has GPUs 0 to 1; give --device auto, none or an index"),
        ("", TWO, "no GPU '': this machine has GPUs 0 to 1; give --device auto, none or an index"),
    ],
)
def test_a_gpu_that_is_not_there_says_which_are(text: str, known: tuple[GpuInfo, ...], message: str) -> None:
    with pytest.raises(DeviceError) as raised:
        select_gpu(text, known)
    assert message == str(raised.value)


def test_a_gpu_is_looked_for_where_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, FIRST, SECOND)
    chosen = select_gpu("1")
    assert chosen is not None
    assert SECOND.uuid == chosen.visible
    assert select_gpu("none") is None


def test_a_problem_may_need_all_the_memory_that_is_free_and_no_more() -> None:
    subject = FakeSubject()
    needed_bytes = needed_memory_bytes(subject)
    enough = replace(H100_GPU, memory_bytes=80 * GIB, memory_free_bytes=needed_bytes)
    check_measurable(subject, enough)
    with pytest.raises(DeviceError) as raised:
        check_measurable(subject, replace(enough, memory_free_bytes=needed_bytes - 1))
    assert (
        "the problem needs about 5.4 GiB (2 sets of inputs with their float32 references, 2 outputs, buffers, "
        "workspace and the CUDA context), NVIDIA H100 80GB HBM3 has 5.4 of 80.0 GiB free: "
        "make the problem smaller, or use another GPU with --device"
    ) == str(raised.value)


def test_a_gpu_too_full_for_a_problem_says_who_fills_it() -> None:
    full = replace(H100_GPU, memory_free_bytes=GIB, others=("pid 7 (python3), 77.0 GiB", "pid 8, 0.5 GiB"))
    with pytest.raises(
        DeviceError, match=r"79\.6 GiB free \(used by pid 7 \(python3\), 77\.0 GiB, pid 8, 0\.5 GiB\): "
    ):
        check_measurable(FakeSubject(), full)


def test_a_gpu_that_shares_the_hosts_memory_has_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, replace(FIRST, unsupported=("nvmlDeviceGetMemoryInfo",)))

    (gpu,) = gpus()

    assert os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") == gpu.memory_bytes
    assert 0 < gpu.memory_free_bytes <= gpu.memory_bytes
