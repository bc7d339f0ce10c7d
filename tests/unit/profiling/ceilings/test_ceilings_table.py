"""The table of ceilings: every figure has a source, and a GPU is found by its name or its architecture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssdprof.profiling.hardware import ceilings as module
from ssdprof.profiling.hardware.ceilings import Ceilings, ceilings_of, stand_ins
from ssdprof.profiling.hardware.gpu_names import named_gpu
from ssdprof.profiling.hardware.limits import known_archs, limits_for

TABLE = json.loads(Path(module.__file__).with_name("ceilings.json").read_text(encoding="utf-8"))
GPUS = TABLE["gpus"]
KEYS = {"arch", "sms", "clock_mhz", "l2_mib", "dram_peak_gbps", "l2_gbps", "tensor_tflops", "sources"}
DTYPES = {"bfloat16", "float16", "tf32", "float8", "int8"}


@pytest.mark.parametrize("name", GPUS)
def test_every_gpu_has_sources_known_fields_and_the_sms_that_its_name_has_elsewhere(name: str) -> None:
    entry = GPUS[name]
    assert KEYS <= set(entry) <= KEYS | {"copy_gbps", "also", "assumed"}
    assert set(entry["sources"]) <= set(TABLE["sources"])
    assert set(entry["tensor_tflops"]) <= DTYPES
    assert entry["arch"] in known_archs()
    gpu = named_gpu(name)
    assert gpu is not None
    assert entry["arch"] == gpu.arch
    assert gpu.sms is None or gpu.sms == entry["sms"]
    found = ceilings_of("sm_70", name)
    assert found is not None
    assert set(found.assumed) <= set(Ceilings.__dataclass_fields__)
    assert found.dram_gbps <= entry["dram_peak_gbps"]


def test_every_source_is_of_a_figure_and_no_two_gpus_share_a_name() -> None:
    used = {source for entry in GPUS.values() for source in entry["sources"]}
    assert set(TABLE["sources"]) == used | {"guide", "copy"}  # of what all have
    names = [one for name, entry in GPUS.items() for one in (name, *entry.get("also", ()))]
    assert len(names) == len(set(names))


def test_the_gpus_that_stand_for_architectures_are_of_these() -> None:
    assert {"sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"} == set(stand_ins())
    for arch, name in stand_ins().items():
        assert arch == GPUS[name]["arch"]
        assert limits_for(arch).sub_partitions == TABLE["per_clock_and_sm"]["issued_warp_instructions"]


def test_an_architecture_alone_means_one_gpu_of_it_and_one_without_any_none() -> None:
    found = ceilings_of("sm_90")
    assert found == ceilings_of("sm_90", "NVIDIA H100 80GB HBM3") == ceilings_of("sm_90", "H100")
    assert found is not None
    assert ("table", "H100 SXM") == (found.source, found.device)
    assert None is ceilings_of("sm_75")
    assert None is ceilings_of("sm_75", "Tesla T4")


def test_an_unknown_name_is_its_architecture() -> None:
    found = ceilings_of("sm_80", "NVIDIA PG506-230")
    assert found is not None
    assert "A100 SXM4 80GB" == found.device


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("NVIDIA A100-SXM4-40GB", "A100 SXM4 40GB"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM4 80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 PCIe 40GB"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB PCIe"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA L40S", "L40S"),
    ],
)
def test_variants_are_told_apart_as_nvml_spells_them(name: str, device: str) -> None:
    found = ceilings_of(GPUS[device]["arch"], name)
    assert found is not None
    assert device == found.device


def test_units_that_follow_the_clock_are_sms_times_clock() -> None:
    found = ceilings_of("sm_90")
    assert found is not None
    assert 132 * 128 * 1.98 == found.smem_gbps
    assert pytest.approx(132 * 4 * 1.98) == found.issue_gips
    assert pytest.approx(132 * 16 * 1.98) == found.exp_gops


def test_a_copy_bandwidth_that_was_measured_goes_before_the_tables() -> None:
    peak_gbps = GPUS["RTX 4090"]["dram_peak_gbps"]
    table, measured = ceilings_of("sm_89", "RTX 4090"), ceilings_of("sm_89", "RTX 4090", 925.0)
    assert table is not None
    assert measured is not None
    assert (0.9 * peak_gbps, 925.0) == (table.dram_gbps, measured.dram_gbps)
    assert ({"dram_gbps"}, set()) == ({"dram_gbps"} & set(table.assumed), {"dram_gbps"} & set(measured.assumed))


def test_what_is_not_published_is_none() -> None:
    found = ceilings_of("sm_89", "NVIDIA L4")
    assert found is not None
    assert (None, None, None, None) == (found.l2_gbps, found.smem_gbps, found.issue_gips, found.exp_gops)


def test_a_dtype_has_its_rate_and_one_that_the_gpu_lacks_none() -> None:
    found = ceilings_of("sm_80")
    assert found is not None
    assert (312.0, 624.0, None) == (found.tensor("bfloat16"), found.tensor("int8"), found.tensor("float8"))
