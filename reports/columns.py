"""The columns of a run: one table of name, unit, heading, description and value for screen, CSV and help.

The columns of what a subject's configs set come from its parameters, between those of every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ssdprof.kernels.config import Param
from ssdprof.profiling.runs.model import STATUSES, Row
from ssdprof.reports.numbers import NOT_KNOWN as NOT_KNOWN
from ssdprof.reports.numbers import Value as Value
from ssdprof.reports.numbers import amount_text as amount_text
from ssdprof.reports.numbers import as_text as as_text
from ssdprof.reports.numbers import error_text as error_text
from ssdprof.reports.numbers import latency_text as latency_text
from ssdprof.reports.numbers import one_decimal as one_decimal
from ssdprof.reports.numbers import pct_text as pct_text
from ssdprof.reports.numbers import rate_text as rate_text
from ssdprof.reports.numbers import ratio_text as ratio_text
from ssdprof.reports.numbers import two_decimals as two_decimals

_BY_UNIT = {
    "ms": latency_text,
    "s": two_decimals,
    "waves": two_decimals,
    "×": ratio_text,
    "%": pct_text,
    "GB/s": rate_text,
    "TFLOP/s": rate_text,
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a run.

    `name` carries the unit and is the CSV's name. `heading` is the screen's, with newlines between its lines. `value`
    reads it from a row, None if the row has none; `show` makes the screen's text of a value.
    """

    name: str
    unit: str
    heading: str
    description: str
    value: Callable[[Row], Value]
    show: Callable[[Value], str] = as_text

    def text(self, row: Row) -> str:
        """The value as the screen shows it."""
        return self.show(self.value(row))


def _of(
    part: str, name: str, unit: str, heading: str, description: str, show: Callable[[Value], str] | None = None
) -> Column:
    """The column that has the same field of that part of a row ("": the row itself)."""
    field = name.removeprefix(f"{part}_").removeprefix("checked_")  # in the part itself, whose it is needs no word

    def value(row: Row) -> Value:
        whole: Any = getattr(row, part) if part else row
        found: Any = None if whole is None else getattr(whole, field)
        return ";".join(found) if isinstance(found, tuple) else found

    return Column(name, unit, heading, description, value, show or _BY_UNIT.get(unit, as_text))


_OF_PEAK = "as a share of its peak over the whole launch"


def _counted(
    name: str, heading: str, description: str, show: Callable[[Value], str] = one_decimal, unit: str = "%"
) -> Column:
    """The column of a field of a row's counters."""
    return _of("counters", name, unit, heading, f"counted by ncu: {description}", show)


COLUMNS: tuple[Column, ...] = (
    _of("", "rank", "", "#", "place by latency among the ok rows, from 1; by recorded latency if nothing was measured"),
    _of("", "config_id", "", "config", "id of the config, which every command takes"),
    _of("config", "variant", "", "variant", "variant of the kernel; empty if it has only one"),
    _of("", "status", "", "status", f"{', '.join(list(STATUSES)[:-1])} or {list(STATUSES)[-1]}"),
    _of("", "status_reason", "", "reason", "why the status is not ok"),
    _of("timing", "latency_ms", "ms", "latency\nms", "median of one launch, L2 flushed before"),
    _of("timing", "latency_p20_ms", "ms", "p20\nms", "20th percentile of the latency"),
    _of("timing", "latency_p80_ms", "ms", "p80\nms", "80th percentile of the latency"),
    _of("timing", "latency_ci95_low_ms", "ms", "95 % low\nms", "lower end of the median's 95 % confidence interval"),
    _of("timing", "latency_ci95_high_ms", "ms", "95 % high\nms", "upper end of the median's 95 % confidence interval"),
    _of("timing", "samples", "launches", "samples", "timed launches that count"),
    _of("", "speedup_vs_baseline", "×", "speed\nup", "latency of the baseline config over this one's"),
    _of("", "tied_with_best", "", "tied", "whether the difference from the best is within the noise"),
    _of(
        "achieved",
        "achieved_gbps",
        "GB/s",
        "GB/s",
        "the least bytes that the problem needs over the latency, not the bytes that the kernel moves",
    ),
    _of(
        "achieved",
        "achieved_tflops",
        "TFLOP/s",
        "TFLOP/s",
        "the operations that the problem needs over the latency, not those that the kernel does",
    ),
    _of(
        "achieved",
        "floor_share_pct",
        "%",
        "floor\n%",
        "time of the least bytes at the GPU's measured copy bandwidth over the latency",
        one_decimal,
    ),
    _of(
        "recorded",
        "recorded_latency_ms",
        "ms",
        "recorded\nlatency ms",
        "latency in a recorded run of the same kernel source, problem and architecture, if this run measured nothing",
    ),
    _of("recorded", "recorded_status", "", "recorded\nstatus", "status in that run"),
    _of("recorded", "recorded_source", "", "recorded\nwhere", "GPU, driver, Triton and date of that run"),
    _of(
        "recorded",
        "recorded_same_binary",
        "",
        "same\nbinary",
        "whether its registers, spills and shared memory are this row's",
    ),
    _of("check", "relative_error", "", "error", "norm of (output − reference) over norm of the reference", error_text),
    _of("check", "worst_row_error", "", "worst\nrow", "the largest such error of any single row", error_text),
    _of("check", "repeatable", "", "repeat-\nable", "whether every checked launch gave the same bits"),
    _of("compiled", "registers_per_thread", "registers", "regs", "registers per thread"),
    _of("compiled", "spill_bytes", "bytes", "spill\nbytes", "local memory per thread, stack included"),
    _of("compiled", "dynamic_shared_mem_bytes", "bytes", "smem\nbytes", "dynamic shared memory of one block"),
    _of(
        "occupancy",
        "shared_mem_allocated_bytes",
        "bytes",
        "smem\nalloc.",
        "shared memory that a block gets: its own plus the reserved, rounded up",
    ),
    _of("occupancy", "shared_mem_config_bytes", "bytes", "smem\nconfig.", "shared memory that the SM is configured to"),
    _of("compiled", "threads_per_block", "threads", "threads", "threads of one block, as compiled"),
    _of("compiled", "grid_blocks", "blocks", "grid", "blocks of the launch"),
    _of("occupancy", "blocks_per_sm", "blocks", "blocks\n/SM", "blocks that one SM holds at once"),
    _of("occupancy", "warps_per_sm", "warps", "warps\n/SM", "warps that one SM holds at once"),
    _of("occupancy", "warps_per_scheduler", "warps", "warps\nsched", "theoretical warps per scheduler", two_decimals),
    _of("occupancy", "theoretical_occupancy_pct", "%", "occ\n%", "theoretical occupancy"),
    _of("occupancy", "limit_registers_blocks", "blocks", "limit\nregs", "block limit by registers"),
    _of("occupancy", "limit_shared_mem_blocks", "blocks", "limit\nsmem", "block limit by shared memory"),
    _of("occupancy", "limit_warps_blocks", "blocks", "limit\nwarps", "block limit by warps"),
    _of("occupancy", "limit_blocks_blocks", "blocks", "limit\nblocks", "block limit by the SM's slots"),
    _of("occupancy", "limit_barriers_blocks", "blocks", "limit\nbarr.", "block limit by barriers"),
    _of(
        "occupancy",
        "limiters",
        "",
        "limited by",
        "every limit equal to the smallest, as ncu names them, separated by semicolons",
    ),
    _of("occupancy", "waves_per_sm", "waves", "waves", "blocks of the grid over those that all SMs hold at once"),
    _of("compiled", "compile_s", "s", "compile\ns", "time to compile"),
    _of("timing", "sm_clock_mhz", "MHz", "clock\nMHz", "SM clock while timed"),
    _of("timing", "memory_clock_mhz", "MHz", "mem.\nMHz", "memory clock while timed"),
    _of("timing", "power_w", "W", "power\nW", "power drawn while timed"),
    _of("timing", "temperature_c", "°C", "temp.\n°C", "temperature of the GPU while timed"),
    _of(
        "timing",
        "timed_by",
        "",
        "timed by",
        "events: CUDA events around a launch; graph: the same inside a CUDA graph; host: the host's clock",
    ),
    _of(
        "timing",
        "dropped_samples",
        "launches",
        "dropped",
        "timed launches that do not count, because the clocks were lowered for heat or power",
    ),
    _of(
        "timing",
        "throttled",
        "",
        "throttled",
        "why the clocks were lowered for some samples or, if none were dropped, for all, separated by semicolons; "
        "empty: not lowered, or NVML does not say",
    ),
    _of("check", "checked_launches", "launches", "checked", "launches whose output was checked"),
    _of("check", "checked_seeds", "", "seeds", "sets of inputs it was checked on, drawn by seed or given"),
    _of(
        "",
        "answer",
        "",
        "answer",
        "which of the run's different outputs it gives, from 1, the reference's first; empty if the reference is known "
        "to be correct",
    ),
    Column(
        "dram_bytes_model",
        "bytes",
        "DRAM\nmodel",
        "bytes read from and written to DRAM, computed from the kernel's addresses",
        lambda row: _traffic(row, "dram_bytes"),
        amount_text,
    ),
    Column(
        "l2_to_sm_bytes_model",
        "bytes",
        "L2–SM\nmodel",
        "bytes moved between L2 and the SMs, computed likewise",
        lambda row: _traffic(row, "l2_to_sm_bytes"),
        amount_text,
    ),
    _of("", "floor_ms", "ms", "floor\nms", "time of the least bytes at the GPU's copy bandwidth"),
    Column(
        "bound",
        "",
        "bound",
        "what bounds the latency: dram, dram-reread, l2, l1, tensor, issue, latency-hiding, launch or tail; empty "
        "without a latency",
        lambda row: row.bound.code if row.bound else None,
    ),
    Column(
        "bound_share",
        "",
        "bound\nshare",
        "the unit that is used most: what is asked of it over what it can do in that time",
        lambda row: row.bound.share if row.bound else None,
        two_decimals,
    ),
    _counted("dram_bytes", "DRAM\nbytes", "bytes read from and written to DRAM", amount_text, "bytes"),
    _counted("l2_to_sm_bytes", "L2–SM\nbytes", "bytes moved between L2 and the SMs", amount_text, "bytes"),
    _counted("dram_pct", "DRAM\n%", f"how busy DRAM was, {_OF_PEAK}"),
    _counted("l2_pct", "L2\n%", f"how busy L2 was, {_OF_PEAK}"),
    _counted("l1tex_pct", "L1\n%", f"how busy L1 and shared memory were, {_OF_PEAK}"),
    _counted("tensor_pipe_pct", "tensor\n%", f"how busy the tensor cores were, {_OF_PEAK}"),
    _counted("issue_active_pct", "issue\n%", f"how busy the schedulers were, {_OF_PEAK}"),
    _counted("achieved_occupancy_pct", "achieved\nocc %", "warps at a time over those that an SM can hold"),
    _counted("l1_hit_pct", "L1 hit\n%", "sectors that were found in L1"),
    _counted("l2_hit_pct", "L2 hit\n%", "sectors that were found in L2"),
    _counted("top_stall", "top stall", "why warps waited most between two instructions, in ncu's word", as_text, ""),
    _counted("top_stall_pct", "stall\n%", "share of that in the time between two instructions"),
    _counted("ncu_duration_ms", "ncu\nms", "duration of the launch, caches flushed before", latency_text, "ms"),
)
"""Those of every run; a subject's parameters come in after `variant`."""
_BY_NAME = {column.name: column for column in COLUMNS}
_PARAMS_BEGIN = COLUMNS.index(_BY_NAME["status"])


def _traffic(row: Row, name: str) -> int | None:
    return getattr(row.model.traffic, name) if row.model and row.model.traffic else None


def columns_of(params: Iterable[Param]) -> tuple[Column, ...]:
    """Every column of a run whose configs set these parameters."""
    return (*COLUMNS[:_PARAMS_BEGIN], *map(param_column, params), *COLUMNS[_PARAMS_BEGIN:])


def metric_columns(rows: Iterable[Row]) -> tuple[Column, ...]:
    """A column for each metric that ncu was asked for besides, under ncu's name, in base units."""
    names = dict.fromkeys(name for row in rows if row.counters for name, _ in row.counters.metrics)
    return tuple(Column(name, "", name, "as ncu gives it", _metric(name)) for name in names)


def _metric(name: str) -> Callable[[Row], Value]:
    return lambda row: dict(row.counters.metrics).get(name) if row.counters else None


def param_column(param: Param) -> Column:
    """The column of a parameter, renamed if a column of every run has its name."""
    name = f"param_{param.column}" if param.column in _BY_NAME else param.column
    return Column(name, param.unit, param.heading, param.description, lambda row: row.config[param.name])


def column(name: str) -> Column:
    """The column of that name among those of every run."""
    return _BY_NAME[name]


def values(row: Row, columns: Iterable[Column]) -> dict[str, Value]:
    """The values of a row by column name, in the columns' order."""
    return {column.name: column.value(row) for column in columns}
