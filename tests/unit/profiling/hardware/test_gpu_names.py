"""GPUs by name: every one is of a known architecture, has a source, and is found however it is spelled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssdprof.profiling.hardware import gpu_names as module
from ssdprof.profiling.hardware.gpu_names import gpu_names, named_gpu, near_names, sm_count
from ssdprof.profiling.hardware.limits import ArchError, canonical_arch, known_archs, limits_for

TABLE = json.loads(Path(module.__file__).with_name("gpus.json").read_text(encoding="utf-8"))
KEYS = {"arch", "sms", "source", "also"}


def test_every_gpu_is_of_a_known_architecture_and_every_architecture_but_the_oldest_jetson_has_one() -> None:
    archs = {entry["arch"] for entry in TABLE["gpus"].values()}
    assert {"sm_72"} == set(known_archs()) ^ archs


def test_every_number_of_sms_has_a_source_and_only_those_without_are_unpublished() -> None:
    entries = TABLE["gpus"].values()
    assert {"capability", *(entry["source"] for entry in entries)} == set(TABLE["sources"])
    assert all((entry["sms"] is None) == (entry["source"] == "unpublished") for entry in entries)
    assert all(set(entry) <= KEYS for entry in entries)


def test_no_two_gpus_share_a_name() -> None:
    listed = [name for gpu, entry in TABLE["gpus"].items() for name in (gpu, *entry.get("also", ()))]
    assert len(listed) == len({"".join(filter(str.isalnum, name.lower())) for name in listed})
    assert tuple(listed) == gpu_names()


@pytest.mark.parametrize(
    ("written", "arch"),
    [
        ("H100", "sm_90"),
        ("h-100", "sm_90"),
        ("NVIDIA H100 80GB HBM3", "sm_90"),
        ("H200", "sm_90"),
        ("NVIDIA A100-SXM4-80GB", "sm_80"),
        ("L4", "sm_89"),
        ("l40s", "sm_89"),
        ("RTX4090", "sm_89"),
        ("NVIDIA GeForce RTX 4090", "sm_89"),
        ("b200", "sm_100"),
        ("Tesla T4", "sm_75"),
    ],
)
def test_a_gpu_is_found_in_any_spelling(written: str, arch: str) -> None:
    assert arch == canonical_arch(written)
    assert arch == limits_for(written).arch


def test_an_h100_is_the_sxm_one_and_names_the_other() -> None:
    count = sm_count("H100")
    assert count is not None
    assert ("H100 SXM", 132) == (count.gpu and count.gpu.name, count.number)
    assert "on the 132 SMs of H100 SXM; H100 PCIe: 114" == count.words
    pcie = sm_count("h100 pcie")
    assert pcie is not None
    assert "on the 114 SMs of H100 PCIe" == pcie.words


def test_a_given_number_counts_before_the_names() -> None:
    count = sm_count("H100", 120)
    assert count is not None
    assert (120, None, "on 120 SMs") == (count.number, count.gpu, count.words)


@pytest.mark.parametrize("arch", [None, "sm_90", "9.0", "H200"])
def test_without_a_published_number_there_is_none(arch: str | None) -> None:
    assert sm_count(arch) is None


def test_an_unknown_name_is_one_line_with_near_ones() -> None:
    assert named_gpu("RTX 4095") is None
    assert "RTX 4090" in near_names("RTX 4095")
    with pytest.raises(ArchError, match=r"^unknown architecture 'RTX 4095': one of sm_70, .* did you mean RTX 4090"):
        canonical_arch("RTX 4095")
    with pytest.raises(ArchError, match=r"or a GPU by name, such as H100 or RTX 4090$"):
        canonical_arch("%%%")
