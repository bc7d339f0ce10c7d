"""The model against recorded answers: ncu and the driver on an H100, and NVIDIA's calculator (README.md here)."""

import csv
import json
from pathlib import Path

import pytest

from ssdprof.cli.main import run as run_command
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.occupancy import Launch, Occupancy, occupancy
from ssdprof.profiling.hardware.rule import rule_sentence

HERE = Path(__file__).parent
H100 = limits_for("sm_90")
H100_SMS = 132
COUNTS = (
    "limit_registers_blocks",
    "limit_shared_mem_blocks",
    "limit_warps_blocks",
    "limit_blocks_blocks",
    "limit_barriers_blocks",
    "registers_allocated_per_thread",
    "shared_mem_allocated_bytes",
    "shared_mem_config_bytes",
    "warps_per_sm",
)
TWO_DECIMALS = ("theoretical_occupancy_pct", "warps_per_scheduler", "waves_per_sm")


def rows(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(newline="") as file:
        return list(csv.DictReader(file))


def launch_of(row: dict[str, str]) -> Launch:
    return Launch(
        threads_per_block=int(row["threads_per_block"]),
        registers_per_thread=int(row["registers_per_thread"]),
        dynamic_shared_mem_bytes=int(row["dynamic_shared_mem_bytes"]),
        static_shared_mem_bytes=int(row["static_shared_mem_bytes"]),
        num_barriers=int(row["barrier_count"]),
        grid_blocks=int(row["grid_blocks"]),
    )


def differing(row: dict[str, str], occ: Occupancy) -> list[str]:
    names = [name for name in COUNTS if int(row[name]) != getattr(occ, name)]
    names += [name for name in TWO_DECIMALS if f"{float(row[name]):.2f}" != f"{getattr(occ, name):.2f}"]
    if int(row["driver_max_active_blocks"]) != occ.blocks_per_sm:
        names.append("driver_max_active_blocks")
    return names


def of_printout(row: dict[str, str]) -> Occupancy:
    """With nothing given that ncu found out: not the size that shared memory was configured to."""
    sizes = (int(row[name]) for name in ("registers_per_thread", "dynamic_shared_mem_bytes", "static_shared_mem_bytes"))
    launch = Launch(int(row["threads_per_block"]), *sizes, grid_blocks=int(row["grid_blocks"]))
    prefers_shared = row["prefer_shared"] == "yes"
    limits = limits_for(row["compute_capability"])
    return occupancy(launch, limits, prefers_shared=prefers_shared, num_sms=int(row["num_sms"]))


@pytest.mark.parametrize("row", rows("pasted_printouts.csv"), ids=lambda row: row["case"])
def test_public_printouts_of_eight_architectures_are_reproduced(row):
    occ = of_printout(row)
    counts = [name for name in (*COUNTS, "theoretical_occupancy_pct", "waves_per_sm") if row.get(name)]

    assert "shared_mem_config_bytes" in counts
    assert [] == [name for name in counts if abs(float(row[name]) - getattr(occ, name)) > 0.00501]
    if row["limiters_named"]:
        ours = occ.limiters
        assert [name.removeprefix("the required amount of ") for name in row["limiters_named"].split("+")] == list(ours)


@pytest.fixture(scope="module")
def launches() -> list[dict[str, str]]:
    return rows("ncu_h100_launches.csv")


def test_with_the_configured_size_given_every_field_of_1822_launches_equals_ncus_and_the_drivers(launches):
    equal = 0
    for row in launches:
        given = int(row["shared_mem_config_bytes"])
        occ = occupancy(launch_of(row), H100, shared_mem_config_bytes=given, num_sms=H100_SMS)
        assert "given" == occ.shared_mem_config_source
        assert [] == differing(row, occ), row
        equal += 1

    assert 1822 == equal


def test_the_maximum_is_configured_on_every_launch_that_prefers_shared_memory(launches):
    preferring = [row for row in launches if row["prefer_shared"] == "1"]
    for row in preferring:
        occ = occupancy(launch_of(row), H100, prefers_shared=True, num_sms=H100_SMS)
        assert "prefers-shared" == occ.shared_mem_config_source
        assert [] == differing(row, occ), row

    assert 954 == len(preferring)


def test_the_assumed_size_equals_the_drivers_on_867_of_868_launches_that_prefer_nothing(launches):
    preferring_nothing = [row for row in launches if row["prefer_shared"] == "0"]
    different = []
    for row in preferring_nothing:
        occ = occupancy(launch_of(row), H100, prefers_shared=False, num_sms=H100_SMS)
        assert "assumed" == occ.shared_mem_config_source
        assert int(row["driver_max_active_blocks"]) == occ.blocks_per_sm
        if differing(row, occ):
            different.append((launch_of(row).threads_per_block, differing(row, occ)))

    assert 868 == len(preferring_nothing)
    assert [(640, ["limit_shared_mem_blocks", "shared_mem_config_bytes"])] == different


@pytest.fixture(scope="module")
def calculated() -> list[tuple[dict[str, str], Occupancy]]:
    answers = []
    for row in rows("occupancy_oracle.csv"):
        launch = Launch(
            threads_per_block=int(row["threads_per_block"]),
            registers_per_thread=int(row["registers_per_thread"]),
            dynamic_shared_mem_bytes=int(row["shared_mem_bytes"]),
            num_barriers=int(row["barriers"]),
        )
        given = int(row["shared_mem_config_bytes"])
        occ = occupancy(launch, limits_for(row["compute_capability"]), shared_mem_config_bytes=given)
        answers.append((row, occ))
    return answers


def test_the_occupancy_of_3963_random_launches_on_13_architectures_equals_nvidias_calculators(calculated):
    equal = 0
    for row, occ in calculated:
        assert float(row["occupancy_pct"]) == pytest.approx(occ.theoretical_occupancy_pct, abs=0.01), row
        equal += 1

    assert 3963 == equal


def test_the_limiters_are_the_calculators_wherever_it_names_any_for_a_block_that_can_launch(calculated):
    """The calculator has one word for the limits of warps and of blocks, and names barriers."""
    words = {"blocks": "BLOCKS", "warps": "BLOCKS", "registers": "REGISTERS", "shared memory": "SHARED_MEMORY"}
    equal = 0
    for row, occ in calculated:
        if row["limiters"] and occ.blocks_per_sm:
            ours = {words[name] for name in occ.limiters}
            if "BARRIERS" in row["limiters"]:
                assert occ.blocks_per_sm == occ.limit_barriers_blocks
                ours.add("BARRIERS")
            assert set(row["limiters"].split("+")) == ours, row
            equal += 1

    assert 2037 == equal


def chunk_scan_launch(row: dict[str, str]) -> Launch:
    tiles = -(-128 // int(row["block_m"])) * -(-64 // int(row["block_n"]))
    chunks, heads = -(-50_000 // 128), 128
    return Launch(
        threads_per_block=32 * int(row["num_warps"]),
        registers_per_thread=int(row["launch__registers_per_thread"]),
        dynamic_shared_mem_bytes=int(row["launch__shared_mem_per_block_dynamic"]),
        grid_blocks=tiles * chunks * heads,
    )


def test_every_occupancy_field_of_the_33_chunk_scan_launches_equals_ncus_with_nothing_but_the_launch_known():
    equal = 0
    for row in rows("ncu_h100_chunk_scan.csv"):
        occ = occupancy(chunk_scan_launch(row), H100, num_sms=H100_SMS)
        ours = (
            occ.shared_mem_config_bytes,
            occ.limit_registers_blocks,
            occ.limit_shared_mem_blocks,
            occ.limit_warps_blocks,
            occ.limit_blocks_blocks,
            occ.limit_barriers_blocks,
            f"{occ.theoretical_occupancy_pct:.2f}",
            f"{occ.warps_per_scheduler:.2f}",
            f"{occ.waves_per_sm:.2f}",
        )
        assert (
            int(row["launch__shared_mem_config_size"]),
            int(row["launch__occupancy_limit_registers"]),
            int(row["launch__occupancy_limit_shared_mem"]),
            int(row["launch__occupancy_limit_warps"]),
            int(row["launch__occupancy_limit_blocks"]),
            int(row["launch__occupancy_limit_barriers"]),
            f"{float(row['sm__maximum_warps_per_active_cycle_pct']):.2f}",
            f"{float(row['smsp__maximum_warps_avg_per_active_cycle']):.2f}",
            row["launch__waves_per_multiprocessor"],
        ) == ours, row
        equal += 1

    assert 33 == equal


def test_every_recorded_sentence_of_the_rule_is_ours_character_for_character():
    recorded = 0
    for row in rows("ncu_h100_chunk_scan.csv"):
        sentence = rule_sentence(occupancy(chunk_scan_launch(row), H100))
        if row["theoretical_occupancy_rule"]:
            assert row["theoretical_occupancy_rule"] == sentence
            recorded += 1

    assert 20 == recorded


def test_the_limits_are_the_calculators():
    recorded = json.loads((HERE / "gpu_limits.json").read_text())
    for compute_capability, expected in recorded.items():
        limits = limits_for(compute_capability)
        assert (
            expected["sm_version"],
            expected["max_warps_per_sm"],
            expected["max_thread_blocks_per_sm"],
            expected["max_thread_block_size"],
            expected["warps_allocation_granularity"],
            expected["registers_per_sm"],
            expected["max_regs_per_block"],
            expected["max_regs_per_thread"],
            expected["reg_allocation_unit_size"],
            expected["smem_per_sm"],
            expected["shared_mem_allocation_unit_size"],
            tuple(sorted(expected["shared_mem_size_configs"])),
            expected["block_barriers_per_sm"],
        ) == (
            limits.arch,
            limits.max_warps_per_sm,
            limits.max_blocks_per_sm,
            limits.max_threads_per_block,
            limits.sub_partitions,
            limits.registers_per_sm,
            limits.max_registers_per_block,
            limits.max_registers_per_thread,
            limits.register_allocation_unit,
            limits.shared_mem_per_sm_bytes,
            limits.shared_mem_allocation_unit_bytes,
            limits.carveouts_bytes,
            limits.barriers_per_sm,
        )

    assert 13 == len(recorded)


def test_every_field_and_sentence_that_verify_saw_on_the_gpu_equals_ncus(capsys):
    code = run_command(
        ["verify", "--ncu-report", str(HERE / "ncu_h100_ssdprof_launches.csv"), "--arch", "sm_90", "--json"]
    )

    answer = json.loads(capsys.readouterr().out)
    assert (0, 144) == (code, answer["launches"])
    assert {"rule_sentence", "shared_mem_config_bytes"} <= {one["figure"] for one in answer["agreements"]}
    assert 13 == len(answer["agreements"])
    assert all(one["equal"] == one["compared"] == 144 for one in answer["agreements"])


def test_an_export_of_ncus_raw_page_is_read_as_ncu_wrote_it(capsys):
    code = run_command(["verify", "--ncu-report", str(HERE / "ncu_h100_raw_page.csv"), "--json"])

    answer = json.loads(capsys.readouterr().out)
    assert (0, 3, "sm_90") == (code, answer["launches"], answer["arch"])
    assert (
        39 == sum(one["equal"] for one in answer["agreements"]) == sum(one["compared"] for one in answer["agreements"])
    )
