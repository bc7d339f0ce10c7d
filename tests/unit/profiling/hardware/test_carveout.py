"""Which size shared memory is configured to, and how far that is known."""

import pytest

from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.occupancy import Launch, occupancy

H100 = limits_for("sm_90")


def configured(launch, limits=H100, **known):
    occ = occupancy(launch, limits, **known)
    return occ.shared_mem_config_bytes, occ.shared_mem_config_source


def test_a_given_size_is_taken_as_it_is():
    assert (200704, "given") == configured(Launch(64, 255, 41728), shared_mem_config_bytes=200704)


def test_a_given_size_that_one_block_does_not_fit_is_raised_and_then_only_assumed():
    assert (65536, "assumed") == configured(Launch(64, 255, 41728), shared_mem_config_bytes=32768)


def test_above_48_kib_of_dynamic_shared_memory_triton_prefers_shared():
    assert "assumed" == configured(Launch(256, 100, 48 * 1024))[1]
    assert (233472, "prefers-shared") == configured(Launch(256, 100, 48 * 1024 + 1))


def test_the_preference_can_be_said():
    assert (233472, "prefers-shared") == configured(Launch(64, 32, 0), prefers_shared=True)
    assert "assumed" == configured(Launch(64, 32, 100_000), prefers_shared=False)[1]


@pytest.mark.parametrize(
    ("launch", "config_bytes"),
    [
        (Launch(192, 180), 8192),  # one block by its registers: no room for a second one
        (Launch(1024, 32), 8192),  # blocks of full size: no room beyond the resident two
        (Launch(96, 182), 32768),  # two blocks without shared memory
        (Launch(32, 32), 32768),
        (Launch(128, 255, 512), 8192),  # twice two blocks of 1536 bytes
        (Launch(32, 32, 512), 65536),  # 32 blocks of 1536 bytes
        (Launch(32, 32, 2048), 102400),  # no more than 32 blocks of 3072 bytes
        (Launch(64, 255, 41728), 200704),  # four resident blocks need more than the 132 KiB
    ],
)
def test_on_sm_90_the_measured_rule_is_assumed(launch, config_bytes):
    assert (config_bytes, "assumed") == configured(launch)


@pytest.mark.parametrize(
    ("arch", "launch", "config_bytes"),
    [
        ("sm_80", Launch(256, 16), 32768),  # without shared memory of its own
        ("sm_80", Launch(256, 64, 15 * 1024), 135168),  # twice four blocks of 16 KiB
        ("sm_80", Launch(64, 32, 20_000), 167936),  # the resident blocks need more than the 132 KiB
        ("sm_86", Launch(256, 16), 8192),  # room for the resident six alone
        ("sm_89", Launch(256, 38, static_shared_mem_bytes=2048), 65536),  # twice six blocks of 3 KiB
        ("sm_89", Launch(128, 100, 11 * 1024), 65536),  # twice five blocks of 12 KiB, but for no more than 64 KiB
    ],
)
def test_elsewhere_the_rule_has_other_numbers(arch, launch, config_bytes):
    assert (config_bytes, "assumed") == configured(launch, limits_for(arch))


def test_every_architecture_says_how_well_its_rule_is_known():
    fits = {arch: limits_for(arch).carveout_fits for arch in ("sm_89", "sm_90", "sm_103")}
    assert {
        "sm_89": "9 of 9 public printouts",
        "sm_90": "867 of 868 launches measured on one H100, and 4 of 4 public printouts",
        "sm_103": "no launch yet: none was seen",
    } == fits


def test_before_sm_80_a_block_without_shared_memory_needs_no_configuration():
    assert (0, "assumed") == configured(Launch(256, 64), limits_for("sm_70"))
    assert (32768, "assumed") == configured(Launch(256, 64), limits_for("sm_75"))
