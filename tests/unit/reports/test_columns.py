"""The table of columns: names, order and the text of values."""

import pytest
from fake_runs import TOO_LARGE, config, h100_run, recorded_run, row, with_timing

from ssdprof.kernels.config import Config, Param
from ssdprof.kernels.ssd.params import PARAMS
from ssdprof.profiling.runs.model import STATUSES, Row
from ssdprof.reports import columns

CONTRACT = """
rank, config_id, variant, block_m, block_n, block_k, block_dstate, num_warps, num_stages, maxnreg, heads, num_ctas,
status, status_reason, latency_ms, latency_p20_ms, latency_p80_ms, latency_ci95_low_ms,
latency_ci95_high_ms, samples, speedup_vs_baseline, tied_with_best, achieved_gbps, achieved_tflops, floor_share_pct,
recorded_latency_ms, recorded_status, recorded_source, recorded_same_binary, relative_error, worst_row_error,
repeatable, registers_per_thread, spill_bytes, dynamic_shared_mem_bytes, shared_mem_allocated_bytes,
shared_mem_config_bytes, threads_per_block, grid_blocks, blocks_per_sm, warps_per_sm,
warps_per_scheduler, theoretical_occupancy_pct, limit_registers_blocks, limit_shared_mem_blocks,
limit_warps_blocks, limit_blocks_blocks, limit_barriers_blocks, limiters, waves_per_sm, compile_s,
sm_clock_mhz, memory_clock_mhz, power_w, temperature_c, timed_by, dropped_samples, throttled,
checked_launches, checked_seeds, answer, dram_bytes_model, l2_to_sm_bytes_model, floor_ms, bound, bound_share,
dram_bytes, l2_to_sm_bytes, dram_pct, l2_pct, l1tex_pct, tensor_pipe_pct,
issue_active_pct, achieved_occupancy_pct, l1_hit_pct, l2_hit_pct, top_stall, top_stall_pct, ncu_duration_ms
"""
COLUMNS = columns.columns_of(PARAMS)


def test_names_and_order_are_the_published_ones() -> None:
    assert [name.strip() for name in CONTRACT.replace("\n", " ").split(",")] == [c.name for c in COLUMNS]


def test_every_column_says_what_it_is() -> None:
    assert all(column.heading and column.description for column in COLUMNS)


def test_names_end_in_their_unit() -> None:
    suffixes = {"ms": "_ms", "s": "_s", "%": "_pct", "bytes": "_bytes", "MHz": "_mhz", "W": "_w", "°C": "_c"}
    suffixes |= {"GB/s": "_gbps", "TFLOP/s": "_tflops"}
    assert [] == [c.name for c in COLUMNS if not c.name.removesuffix("_model").endswith(suffixes.get(c.unit, ""))]


def test_values_come_from_every_part_of_a_row() -> None:
    best = h100_run().ranked[0]
    values = columns.values(best, COLUMNS)
    expected = {
        "rank": 1,
        "config_id": "m64n64k32d128w2s4",
        "block_dstate": 128,
        "maxnreg": None,
        "status": "ok",
        "latency_ms": 2.332,
        "samples": 100,
        "speedup_vs_baseline": 1.0,
        "tied_with_best": True,
        "achieved_gbps": pytest.approx(2_820_000_000 / 0.002332 / 1e9),
        "achieved_tflops": pytest.approx(1_200_000_000_000 / 0.002332 / 1e12),
        "floor_share_pct": pytest.approx(100 * (2_820_000_000 / 3000e9) / 0.002332),
        "relative_error": 0.0018166,
        "repeatable": True,
        "registers_per_thread": 255,
        "dynamic_shared_mem_bytes": 41728,
        "shared_mem_config_bytes": 200704,
        "threads_per_block": 64,
        "blocks_per_sm": 4,
        "warps_per_scheduler": 2.0,
        "theoretical_occupancy_pct": 12.5,
        "limiters": "registers;shared memory",
        "sm_clock_mhz": 1980,
        "memory_clock_mhz": 2619,
        "power_w": 600.5,
        "temperature_c": 52,
        "timed_by": "events",
        "dropped_samples": 0,
        "throttled": "",
        "checked_launches": 10,
        "checked_seeds": 2,
        "dram_bytes_model": 5_760_800_768,
        "l2_to_sm_bytes_model": 9_248_400_256,
        "floor_ms": pytest.approx(0.94),
        "bound": "dram-reread",
        "bound_share": pytest.approx(5_760_800_768 / 3000e9 / 0.002332),
    }
    assert expected == {name: values[name] for name in expected}


def test_reasons_of_throttling_are_joined() -> None:
    throttled = with_timing(h100_run().ranked[0], throttled=("power cap", "thermal"), dropped_samples=40)
    values = columns.values(throttled, COLUMNS)
    assert ("power cap;thermal", 40) == (values["throttled"], values["dropped_samples"])


def test_a_part_that_does_not_exist_has_no_values() -> None:
    values = columns.values(TOO_LARGE, COLUMNS)
    assert "out-of-resources" == values["status"]
    assert {None} == {values[c.name] for c in COLUMNS if c.unit in ("ms", "%", "registers", "bytes", "×", "W", "°C")}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("latency_ms", 2.33188, "2.332"),
        ("latency_ms", 0.01234, "0.0123"),
        ("latency_ms", None, "–"),
        ("speedup_vs_baseline", 1.4023, "1.40×"),
        ("speedup_vs_baseline", None, "–"),
        ("achieved_gbps", 2968.4, "2968"),
        ("achieved_gbps", 0.12345, "0.123"),
        ("achieved_tflops", 99.96, "100"),
        ("achieved_tflops", 166.21, "166"),
        ("floor_share_pct", 98.917, "98.9"),
        ("floor_share_pct", None, "–"),
        ("relative_error", 0.7294619, "0.73"),
        ("relative_error", float("nan"), "nan"),
        ("relative_error", None, "–"),
        ("warps_per_scheduler", 2.0, "2.00"),
        ("warps_per_scheduler", None, "–"),
        ("theoretical_occupancy_pct", 12.5, "12.5"),
        ("theoretical_occupancy_pct", 100.0, "100"),
        ("theoretical_occupancy_pct", 9.375, "9.38"),
        ("theoretical_occupancy_pct", 0.0, "0"),
        ("theoretical_occupancy_pct", None, "–"),
        ("registers_per_thread", 255, "255"),
        ("repeatable", True, "yes"),
        ("repeatable", False, "no"),
        ("recorded_latency_ms", 0.01234, "0.0123"),
        ("recorded_same_binary", False, "no"),
        ("status", "ok", "ok"),
    ],
)
def test_the_screen_shows_a_value_with_the_digits_it_needs(name: str, value: columns.Value, text: str) -> None:
    assert text == columns.column(name).show(value)


def test_a_column_reads_and_shows_a_row() -> None:
    maxnreg = columns.param_column(PARAMS.by_name["maxnreg"])
    assert "128" == maxnreg.text(row(config(64, 64, 32, 128, 2, 4, maxnreg=128)))
    assert "–" == maxnreg.text(row(config(64, 64, 32, 128, 2, 4)))
    assert "0.5" == columns.as_text(0.5)


def test_the_status_is_described_by_every_status() -> None:
    assert ", ".join(STATUSES).replace(", not-run", " or not-run") == columns.column("status").description


def test_recorded_columns_say_what_another_run_measured() -> None:
    names = ("rank", "latency_ms", "recorded_latency_ms", "recorded_status", "recorded_source", "recorded_same_binary")
    values = columns.values(recorded_run().ranked[0], COLUMNS)
    source = "recorded on NVIDIA H100 80GB HBM3, driver 580.159.04, Triton 3.6.0, 2026-11-23"
    assert (1, None, 2.332, "ok", source, True) == tuple(values[name] for name in names)
    assert {None} == {columns.values(h100_run().ranked[0], COLUMNS)[name] for name in names[2:]}


def test_the_columns_of_another_kernel_are_its_own_and_none_hides_one_of_every_run() -> None:
    params = (Param("ROWS", column="rows", unit="elements", description="rows of a program"), Param("samples"))
    of_kernel = columns.columns_of(params)
    made = Row(Config((("ROWS", 16), ("samples", "many")), "plain"), "rows16", "ok")
    values = columns.values(made, of_kernel)
    assert ["variant", "rows", "param_samples", "status"] == [c.name for c in of_kernel[2:6]]
    assert (16, "many", None) == (values["rows"], values["param_samples"], values["samples"])
    assert len(of_kernel) == len(columns.COLUMNS) + 2 == len(set(values))
