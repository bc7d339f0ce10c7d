"""The limits file and how an architecture is asked for."""

import json
from dataclasses import fields
from pathlib import Path

import pytest
from fake_runs import H100_ATTRIBUTES

from ssdprof.kernels.errors import UsageError
from ssdprof.profiling.hardware.limits import (
    DRIVER_ATTRIBUTES,
    ArchError,
    SmLimits,
    differences,
    known_archs,
    limits_for,
)

LIMITS_FILE = Path(__file__).parents[4] / "profiling" / "hardware" / "limits.json"


@pytest.mark.parametrize("arch", ["sm_90", "sm_90a", "SM_90", " sm90 ", "9.0", "90", "compute_90", "9.0a"])
def test_an_architecture_is_found_by_any_of_its_names(arch):
    assert "sm_90" == limits_for(arch).arch


@pytest.mark.parametrize("arch", ["sm_12", "12.1", "121", "sm_121a"])
def test_three_digits_are_read_as_a_two_digit_major_version(arch):
    if arch == "sm_12":
        with pytest.raises(ArchError):
            limits_for(arch)
    else:
        assert "sm_121" == limits_for(arch).arch


@pytest.mark.parametrize("arch", ["sm_91", "", "hopper", "9", "9.0.0", "-90", "sm_90\n9", "٩٠"])
def test_an_unknown_architecture_is_an_error_of_one_line_that_lists_the_known_ones(arch):
    with pytest.raises(ArchError) as caught:
        limits_for(arch)

    assert isinstance(caught.value, UsageError)
    assert "\n" not in str(caught.value)
    assert "sm_70, sm_72, sm_75, sm_80, sm_86, sm_87, sm_89, sm_90, sm_100, sm_103, sm_110, sm_120, sm_121" in str(
        caught.value
    )


def test_thirteen_architectures_are_known():
    assert 13 == len(known_archs())


@pytest.mark.parametrize("arch", known_archs())
def test_every_value_has_a_source(arch):
    content = json.loads(LIMITS_FILE.read_text(encoding="utf-8"))
    entries = content["architectures"][arch]

    assert {field.name for field in fields(SmLimits)} - {"arch"} == set(entries)
    assert all(content["sources"][entry["source"]] for entry in entries.values())


@pytest.mark.parametrize("arch", known_archs())
def test_what_one_block_may_have_at_most_fits_the_largest_configuration(arch):
    limits = limits_for(arch)

    assert limits.max_config_bytes == limits.shared_mem_opt_in_bytes + limits.shared_mem_reserved_bytes
    assert limits.max_config_bytes == limits.shared_mem_per_sm_bytes
    assert sorted(limits.carveouts_bytes) == list(limits.carveouts_bytes)


def test_a_driver_that_agrees_with_the_file_leaves_nothing_to_report():
    assert () == differences(limits_for("sm_90"), H100_ATTRIBUTES)
    assert set(DRIVER_ATTRIBUTES) == set(H100_ATTRIBUTES)


def test_a_difference_to_the_driver_is_one_line_with_both_values():
    attributes = {**H100_ATTRIBUTES, "CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR": 24}

    assert ("blocks per SM: the driver says 24, limits.json 32 for sm_90",) == differences(
        limits_for("sm_90"), attributes
    )


def test_a_driver_may_lack_attributes_and_unknown_ones_are_ignored():
    attributes = {"CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK": 512, "CU_DEVICE_ATTRIBUTE_CLOCK_RATE": 1}

    assert ("threads per block: the driver says 512, limits.json 1024 for sm_90",) == differences(
        limits_for("sm_90"), attributes
    )
