"""Ceilings on a real GPU: near what its clock and its number of units allow, the same again, and in a few seconds."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from typing import Any

import pytest

from ssdprof.profiling import api
from ssdprof.profiling.gpu.devices import GpuInfo, gpus
from ssdprof.profiling.gpu.driver import SM_COUNT, cuda_driver, driver_attributes
from ssdprof.profiling.hardware.ceilings import Ceilings, ceilings_of
from ssdprof.profiling.runs.ceilings import ceilings_path

pytestmark = pytest.mark.gpu

AGAIN_SHARE = 0.05
LIMIT_S = 30.0
"""With a cold cache, of which compiling and starting processes take most; the launches themselves take some 2 s."""


@pytest.fixture(scope="module")
def gpu() -> GpuInfo:
    return gpus()[0]


@pytest.fixture(scope="module")
def measured(gpu: GpuInfo, tmp_path_factory: pytest.TempPathFactory) -> Ceilings:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        start_s = time.monotonic()
        [found] = api.ceilings([gpu])
        assert time.monotonic() - start_s < LIMIT_S
        assert gpu.uuid is not None
        assert ceilings_path(gpu.uuid).exists()
    assert found is not None
    print(found)
    return found


def test_they_are_measured_and_every_figure_is_there(gpu: GpuInfo, measured: Ceilings) -> None:
    assert ("measured", gpu.name, ()) == (measured.source, measured.device, measured.assumed)
    assert all(
        getattr(measured, field.name) for field in fields(measured) if field.name not in ("assumed", "sm_clock_mhz")
    )


def test_shared_memory_issue_and_exponentials_are_what_the_sms_do_per_clock(gpu: GpuInfo, measured: Ceilings) -> None:
    """At most at the highest clock, and not far below."""
    assert gpu.sm_clock_max_mhz is not None
    clocks_ghz = driver_attributes(cuda_driver())[SM_COUNT] * gpu.sm_clock_max_mhz / 1e3
    for per_clock, found in ((128, measured.smem_gbps), (4, measured.issue_gips), (16, measured.exp_gops)):
        assert found is not None
        assert 0.85 < found / (per_clock * clocks_ghz) < 1.01


def test_faster_memory_is_nearer_to_the_sms(measured: Ceilings) -> None:
    assert measured.l2_gbps is not None
    assert measured.smem_gbps is not None
    assert measured.dram_gbps < measured.l2_gbps < measured.smem_gbps


def test_tensor_rates_are_near_the_published_ones_and_never_above_what_the_clock_allows(measured: Ceilings) -> None:
    table = ceilings_of("", measured.device)
    if table is None:
        pytest.skip(f"the table has no {measured.device}")
    for dtype, tflops in measured.tensor_tflops:
        published = table.tensor(dtype)
        assert published is not None
        assert 0.7 < tflops / published < 1.15


def test_an_empty_kernel_takes_some_microseconds(measured: Ceilings) -> None:
    assert 0.5 < measured.launch_us < 20


def test_measured_again_they_are_the_same(gpu: GpuInfo, measured: Ceilings) -> None:
    """In the data folder of this test nothing is kept yet."""
    [again] = api.ceilings([gpu])
    assert again is not None

    def figures(of: Ceilings) -> dict[str, Any]:
        names = ("dram_gbps", "l2_gbps", "smem_gbps", "issue_gips", "exp_gops")
        return {**{name: getattr(of, name) for name in names}, **dict(of.tensor_tflops)}

    assert pytest.approx(figures(measured), rel=AGAIN_SHARE) == figures(again)
    said: list[str] = []
    assert (again,) == api.ceilings([replace(gpu, sm_clock_mhz=None)], said.append)
    assert [] == said
