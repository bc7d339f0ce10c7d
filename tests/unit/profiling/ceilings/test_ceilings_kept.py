"""Ceilings in a run's file, and those that are kept for each GPU."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_ceilings import MEASURED
from fake_runs import h100_run

from ssdprof.profiling.hardware.ceilings import Ceilings, ceilings_of
from ssdprof.profiling.runs.ceilings import (
    MeasuredOn,
    ceilings_for,
    ceilings_path,
    keep_ceilings,
    kept_ceilings,
    measured_on,
)
from ssdprof.profiling.runs.codec import plain, reader
from ssdprof.profiling.runs.model import Device

ON = MeasuredOn("GPU-0/1", "NVIDIA H100 80GB HBM3", "580.159.04", 1980, 2619, 700.0, "3.6.0")


def there_and_back(device: Device) -> Device:
    found: Device = reader(Device)(json.loads(json.dumps(plain(device))))
    return found


def test_the_device_of_a_run_has_its_ceilings_in_the_file_and_one_without_is_as_before() -> None:
    device = h100_run().header.device
    assert "ceilings" not in plain(device)
    assert device == there_and_back(device)
    measured = replace(device, ceilings=MEASURED)
    assert measured == there_and_back(measured)


@pytest.mark.parametrize("rates", [[["bfloat16"]], [["bfloat16", 1.0, 2.0]], [[1.0, 1.0]], "bfloat16"])
def test_rates_that_are_no_pairs_are_an_error(rates: object) -> None:
    with pytest.raises(ValueError, match="tensor_tflops"):
        reader(Ceilings)({**plain(MEASURED), "tensor_tflops": rates})


def test_a_run_has_its_measured_ceilings_with_its_own_copy_bandwidth() -> None:
    device = replace(h100_run().header.device, ceilings=MEASURED)
    at_most = replace(MEASURED, sm_clock_mhz=1980)  # what was measured without a clock was so at the highest
    assert replace(at_most, dram_gbps=device.copy_gbps or 0.0) == ceilings_for(device)
    assert at_most == ceilings_for(replace(device, copy_gbps=None))
    assert MEASURED == ceilings_for(replace(device, copy_gbps=None, sm_clock_max_mhz=None))
    slower = replace(device, ceilings=replace(MEASURED, sm_clock_mhz=1755))
    assert slower.ceilings == ceilings_for(replace(slower, copy_gbps=None))


def test_a_run_without_has_the_tables_with_its_own_copy_bandwidth() -> None:
    device = h100_run().header.device
    found = ceilings_for(device)
    assert ceilings_of("sm_90", device.name, device.copy_gbps) == found
    assert found is not None
    assert ("table", "H100 SXM", device.copy_gbps) == (found.source, found.device, found.dram_gbps)
    assert ceilings_of("sm_90") == ceilings_for(Device("sm_90"))
    assert None is ceilings_for(Device("sm_75"))


def test_they_are_kept_for_the_same_gpu_driver_clocks_and_triton() -> None:
    assert None is kept_ceilings(ON)
    keep_ceilings(ON, MEASURED)
    assert MEASURED == kept_ceilings(ON)
    assert [ceilings_path("GPU-0/1")] == list(ceilings_path("GPU-0/1").parent.iterdir())
    for changed in (
        {"driver": "590.1"},
        {"sm_clock_max_mhz": 1755},
        {"memory_clock_max_mhz": 1593},
        {"power_limit_w": 350.0},
        {"triton": "3.9.0"},
        {"format": ON.format + 1},
        {"uuid": "GPU-1"},
    ):
        assert None is kept_ceilings(replace(ON, **changed))  # type: ignore[arg-type]
    keep_ceilings(replace(ON, triton="3.9.0"), replace(MEASURED, launch_us=2.0))
    assert None is kept_ceilings(ON)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"on": {}, "ceilings": {"source": "measured"}}', "\x00"])
def test_a_file_that_holds_something_else_is_as_if_there_were_none(text: str) -> None:
    keep_ceilings(ON, MEASURED)
    ceilings_path(ON.uuid).write_text(text, encoding="utf-8")
    assert None is kept_ceilings(ON)


def test_a_folder_that_cannot_be_written_costs_nothing(data_home: Path) -> None:
    data_home.write_text("a file where the data folder should be", encoding="utf-8")
    keep_ceilings(ON, MEASURED)
    assert None is kept_ceilings(ON)


def test_a_gpu_that_nvml_does_not_name_is_not_kept() -> None:
    device = replace(h100_run().header.device, uuid="GPU-0", power_limit_w=700.0)
    found = measured_on(device, "3.6.0")
    assert found is not None
    assert ("GPU-0", "3.6.0", device.name, 700.0) == (found.uuid, found.triton, found.name, found.power_limit_w)
    assert None is measured_on(replace(device, uuid=None), "3.6.0")
