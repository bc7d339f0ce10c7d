"""The columns of a run: one table of name, unit, heading, description and value for screen, CSV and help.

The columns of what a subject's configs set come from its parameters, between those of every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeAlias

from ssdprof.kernels.config import Param
from ssdprof.profiling.runs.model import STATUSES, Row

Value: TypeAlias = str | int | float | bool | None
NOT_KNOWN = "–"


def as_text(value: Value) -> str:
    """Plain text of any value: a dash for none, yes or no, numbers as short as they are."""
    if value is None:
        return NOT_KNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def ratio_text(value: Value) -> str:
    """How many times, with two decimals."""
    return f"{value:.2f}×" if isinstance(value, (int, float)) else NOT_KNOWN


def latency_text(value: Value) -> str:
    """Milliseconds to the microsecond, and one digit more below 0.1 ms, so that near ones stay apart."""
    if not isinstance(value, (int, float)):
        return NOT_KNOWN
    return f"{value:.3f}" if value >= 0.1 else f"{value:.4f}"


def error_text(value: Value) -> str:
    """A relative error with two significant digits."""
    return f"{value:#.2g}" if isinstance(value, (int, float)) else NOT_KNOWN


def two_decimals(value: Value) -> str:
    """A number with two decimals, as ncu prints warps."""
    return f"{value:.2f}" if isinstance(value, (int, float)) else NOT_KNOWN


def pct_text(value: Value) -> str:
    """A percentage without its sign, with the decimals it needs, two at most: 12.5, 43.75, 100."""
    return two_decimals(value).rstrip("0").rstrip(".") if isinstance(value, (int, float)) else NOT_KNOWN


Part: TypeAlias = Callable[[Row], Any]
_ROW: Part = lambda row: row  # noqa: E731  # the parts of a row that hold values, one line each
_CONFIG: Part = attrgetter("config")
_COMPILED: Part = attrgetter("compiled")
_CHECK: Part = attrgetter("check")
_TIMING: Part = attrgetter("timing")
_OCCUPANCY: Part = attrgetter("occupancy")
_RECORDED: Part = attrgetter("recorded")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a run.

    `name` carries the unit and is the CSV's name; it is also the field of that `part` of a row which holds the value,
    unless `field` names another or `is_whole` says that the part is the value. `heading` is the screen's, with newlines
    between its lines; `show` makes the screen's text of a value.
    """

    name: str
    unit: str
    heading: str
    part: Part
    description: str
    show: Callable[[Value], str] = as_text
    field: str = ""
    is_whole: bool = False

    def value(self, row: Row) -> Value:
        """The value in `row`, None if that part of the row does not exist."""
        part = self.part(row)
        if part is None:
            return None
        value: Any = part if self.is_whole else getattr(part, self.field or self.name)
        return ";".join(value) if isinstance(value, tuple) else value

    def text(self, row: Row) -> str:
        """The value as the screen shows it."""
        return self.show(self.value(row))


COLUMNS: tuple[Column, ...] = (
    Column(
        "rank", "", "#", _ROW, "place by latency among the ok rows, from 1; by recorded latency if nothing was measured"
    ),
    Column("config_id", "", "config", _ROW, "id of the config, which every command takes"),
    Column("variant", "", "variant", _CONFIG, "variant of the kernel; empty if it has only one"),
    Column("status", "", "status", _ROW, f"{', '.join(list(STATUSES)[:-1])} or {list(STATUSES)[-1]}"),
    Column("status_reason", "", "reason", _ROW, "why the status is not ok"),
    Column("latency_ms", "ms", "latency\nms", _TIMING, "median of one launch, L2 flushed before", latency_text),
    Column("latency_p20_ms", "ms", "p20\nms", _TIMING, "20th percentile of the latency", latency_text),
    Column("latency_p80_ms", "ms", "p80\nms", _TIMING, "80th percentile of the latency", latency_text),
    Column(
        "latency_ci95_low_ms",
        "ms",
        "95 % low\nms",
        _TIMING,
        "lower end of the median's 95 % confidence interval",
        latency_text,
    ),
    Column(
        "latency_ci95_high_ms",
        "ms",
        "95 % high\nms",
        _TIMING,
        "upper end of the median's 95 % confidence interval",
        latency_text,
    ),
    Column("samples", "launches", "samples", _TIMING, "timed launches that count"),
    Column("speedup_vs_baseline", "×", "speed\nup", _ROW, "latency of the baseline config over this one's", ratio_text),
    Column("tied_with_best", "", "tied", _ROW, "whether the difference from the best is within the noise"),
    Column(
        "recorded_latency_ms",
        "ms",
        "recorded\nlatency ms",
        _RECORDED,
        "latency in a recorded run of the same kernel source, problem and architecture, if this run measured nothing",
        latency_text,
        field="latency_ms",
    ),
    Column("recorded_status", "", "recorded\nstatus", _RECORDED, "status in that run", field="status"),
    Column(
        "recorded_source", "", "recorded\nwhere", _RECORDED, "GPU, driver, Triton and date of that run", field="source"
    ),
    Column(
        "recorded_same_binary",
        "",
        "same\nbinary",
        _RECORDED,
        "whether its registers, spills and shared memory are this row's",
        field="same_binary",
    ),
    Column(
        "relative_error", "", "error", _CHECK, "norm of (output − reference) over norm of the reference", error_text
    ),
    Column("worst_row_error", "", "worst\nrow", _CHECK, "the largest such error of any single row", error_text),
    Column("repeatable", "", "repeat-\nable", _CHECK, "whether every checked launch gave the same bits"),
    Column("registers_per_thread", "registers", "regs", _COMPILED, "registers per thread"),
    Column("spill_bytes", "bytes", "spill\nbytes", _COMPILED, "local memory per thread, stack included"),
    Column("dynamic_shared_mem_bytes", "bytes", "smem\nbytes", _COMPILED, "dynamic shared memory of one block"),
    Column(
        "shared_mem_allocated_bytes",
        "bytes",
        "smem\nalloc.",
        _OCCUPANCY,
        "shared memory that a block gets: its own plus the reserved, rounded up",
    ),
    Column(
        "shared_mem_config_bytes", "bytes", "smem\nconfig.", _OCCUPANCY, "shared memory that the SM is configured to"
    ),
    Column("threads_per_block", "threads", "threads", _COMPILED, "threads of one block, as compiled"),
    Column("grid_blocks", "blocks", "grid", _COMPILED, "blocks of the launch"),
    Column("blocks_per_sm", "blocks", "blocks\n/SM", _OCCUPANCY, "blocks that one SM holds at once"),
    Column("warps_per_sm", "warps", "warps\n/SM", _OCCUPANCY, "warps that one SM holds at once"),
    Column("warps_per_scheduler", "warps", "warps\nsched", _OCCUPANCY, "theoretical warps per scheduler", two_decimals),
    Column("theoretical_occupancy_pct", "%", "occ\n%", _OCCUPANCY, "theoretical occupancy", pct_text),
    Column("limit_registers_blocks", "blocks", "limit\nregs", _OCCUPANCY, "block limit by registers"),
    Column("limit_shared_mem_blocks", "blocks", "limit\nsmem", _OCCUPANCY, "block limit by shared memory"),
    Column("limit_warps_blocks", "blocks", "limit\nwarps", _OCCUPANCY, "block limit by warps"),
    Column("limit_blocks_blocks", "blocks", "limit\nblocks", _OCCUPANCY, "block limit by the SM's slots"),
    Column("limit_barriers_blocks", "blocks", "limit\nbarr.", _OCCUPANCY, "block limit by barriers"),
    Column(
        "limiters",
        "",
        "limited by",
        _OCCUPANCY,
        "every limit equal to the smallest, as ncu names them, separated by semicolons",
    ),
    Column(
        "waves_per_sm",
        "waves",
        "waves",
        _OCCUPANCY,
        "blocks of the grid over those that all SMs hold at once",
        two_decimals,
    ),
    Column("compile_s", "s", "compile\ns", _COMPILED, "time to compile", two_decimals),
    Column("sm_clock_mhz", "MHz", "clock\nMHz", _TIMING, "SM clock while timed"),
    Column("memory_clock_mhz", "MHz", "mem.\nMHz", _TIMING, "memory clock while timed"),
    Column("power_w", "W", "power\nW", _TIMING, "power drawn while timed"),
    Column("temperature_c", "°C", "temp.\n°C", _TIMING, "temperature of the GPU while timed"),
    Column(
        "timed_by",
        "",
        "timed by",
        _TIMING,
        "events: CUDA events around a launch; graph: the same inside a CUDA graph; host: the host's clock",
    ),
    Column(
        "dropped_samples",
        "launches",
        "dropped",
        _TIMING,
        "timed launches that do not count, because the clocks were lowered for heat or power",
    ),
    Column(
        "throttled",
        "",
        "throttled",
        _TIMING,
        "why the clocks were lowered for some samples or, if none were dropped, for all, separated by semicolons; "
        "empty: not lowered, or NVML does not say",
    ),
    Column("checked_launches", "launches", "checked", _CHECK, "launches whose output was checked", field="launches"),
    Column("checked_seeds", "", "seeds", _CHECK, "seeds of the inputs it was checked on", field="seeds"),
)
"""Those of every run; a subject's parameters come in after `variant`."""
_BY_NAME = {column.name: column for column in COLUMNS}
_PARAMS_BEGIN = COLUMNS.index(_BY_NAME["status"])


def columns_of(params: Iterable[Param]) -> tuple[Column, ...]:
    """Every column of a run whose configs set these parameters."""
    return (*COLUMNS[:_PARAMS_BEGIN], *map(param_column, params), *COLUMNS[_PARAMS_BEGIN:])


def param_column(param: Param) -> Column:
    """The column of a parameter, renamed if a column of every run has its name."""
    name = f"param_{param.column}" if param.column in _BY_NAME else param.column
    part: Part = lambda row: row.config[param.name]  # noqa: E731  # as the parts above
    return Column(name, param.unit, param.heading, part, param.description, is_whole=True)


def column(name: str) -> Column:
    """The column of that name among those of every run."""
    return _BY_NAME[name]


def values(row: Row, columns: Iterable[Column]) -> dict[str, Value]:
    """The values of a row by column name, in the columns' order."""
    return {column.name: column.value(row) for column in columns}
