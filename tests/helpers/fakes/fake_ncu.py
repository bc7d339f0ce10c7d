"""An ncu that agrees with us but for what it is told to change: the rows of its reports, and the program itself."""

from __future__ import annotations

import csv
import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.occupancy import Launch, occupancy
from ssdprof.profiling.hardware.rule import rule_sentence
from ssdprof.profiling.ncu.export import read_export
from ssdprof.profiling.ncu.matching import NEEDED
from ssdprof.profiling.ncu.program import Finished, NcuRow, read_launches
from ssdprof.profiling.ncu.verify import DYNAMIC, FIGURES, Ours
from ssdprof.profiling.runs.model import Row

GOLDEN = Path(__file__).parents[2] / "golden" / "ncu_h100_chunk_scan.csv"
SM_90 = limits_for("sm_90")
NCU_METRICS = (
    "launch__block_size",
    "launch__grid_size",
    "launch__registers_per_thread",
    "launch__registers_per_thread_allocated",
    "launch__shared_mem_per_block_dynamic",
    "launch__shared_mem_per_block_static",
    "launch__shared_mem_per_block_driver",
    "launch__shared_mem_per_block_allocated",
    "launch__shared_mem_config_size",
    "launch__occupancy_limit_registers",
    "launch__occupancy_limit_shared_mem",
    "launch__occupancy_limit_warps",
    "launch__occupancy_limit_blocks",
    "launch__occupancy_limit_barriers",
    "sm__maximum_warps_per_active_cycle_pct",
    "sm__maximum_warps_avg_per_active_cycle",
    "smsp__maximum_warps_avg_per_active_cycle",
    "launch__waves_per_multiprocessor",
)
"""What ncu has to say about a launch without hardware counters: all of it is to be asked for and compared."""


def ours(name: str = "a", **launch: Any) -> Ours:
    made = Launch(**{"threads_per_block": 64, "registers_per_thread": 255, "dynamic_shared_mem_bytes": 41728, **launch})
    occ = occupancy(made, SM_90, num_sms=132)
    return Ours(name, made, SM_90, occ, rule_sentence(occ))


def ncu_row(one: Ours, **cells: str) -> NcuRow:
    """What ncu would export were everything equal, but for `cells`."""
    values: dict[str, str] = {}
    for figure in FIGURES:
        value = figure.ours(one)
        if value is not None:
            values[figure.metric] = str(value) if isinstance(value, int) else f"{value:.2f}"
    return NcuRow("raw", 3, {"ID": "0", **values, **cells}, {}, one.sentence or "")


class FakeNcu:
    """An ncu that agrees with us on every launch of the file, but for `changed` cells and the `lost` ids."""

    def __init__(self, changed: Mapping[str, str] | None = None, lost: int = 0, rows_lost: int = 0) -> None:
        self.changed, self.lost, self.rows_lost = changed or {}, lost, rows_lost
        self.env: Mapping[str, str] = {}
        self.commands: list[Sequence[str]] = []
        self.rows: list[NcuRow] = []

    def __call__(self, command: Sequence[str], env: Mapping[str, str], timeout_s: float) -> Finished:
        self.env = env
        self.commands.append(command)
        if "--version" in command:
            return Finished(0, "Version 2025.3.1.0\n")
        if "--import" in command:
            return Finished(0, self.raw() if "raw" in command else self.details())
        todo, done, _device = command[-3:]
        _, plans = read_launches(Path(todo))
        names = list(plans)[self.lost :]
        self.rows = [ncu_row(self.see(name, plans[name]), **self.changed) for name in names]
        Path(done).write_text("".join(f"{name}\n" for name in names))
        Path(command[command.index("-o") + 1]).write_text("report")
        return Finished(0, "==PROF== Report\n")

    @staticmethod
    def see(name: str, plan: LaunchPlan) -> Ours:
        a: Mapping[str, Any] = plan.args
        return ours(
            name,
            threads_per_block=32 * a["warps"],
            registers_per_thread=a["regs"],
            dynamic_shared_mem_bytes=a["smem"],
            grid_blocks=plan.grid[0],
        )

    def raw(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text)
        columns = list(self.rows[0].cells)
        writer.writerow(columns)
        writer.writerow(["" for _ in columns])
        for index, row in enumerate(self.rows[self.rows_lost :]):
            writer.writerow({**row.cells, "ID": str(index)}.values())
        return text.getvalue()

    def details(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["ID", "Rule Name", "Rule Description"])
        for index, row in enumerate(self.rows):
            writer.writerow([index, "TheoreticalOccupancy", row.sentence])
        return text.getvalue()


COUNTED = {
    "gpu__time_duration.sum": "1733088",
    "dram__bytes_read.sum": "5224468480",
    "dram__bytes_write.sum": "819200000",
    "lts__t_sectors_srcunit_tex.sum": "264310654",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed": "72.41",
    "lts__throughput.avg.pct_of_peak_sustained_elapsed": "91.65",
    "l1tex__throughput.avg.pct_of_peak_sustained_elapsed": "63.76",
    "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed": "16.27",
    "smsp__issue_active.avg.pct_of_peak_sustained_elapsed": "33.67",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "12.04",
    "l1tex__t_sector_hit_rate.pct": "5.50",
    "lts__t_sector_hit_rate.pct": "61.20",
    **{
        f"smsp__average_warps_issue_stalled_{reason}_per_issue_active.ratio": ratio
        for reason, ratio in {"long_scoreboard": "1.78", "wait": "0.94", "barrier": "0.32", "selected": "1.00"}.items()
    },
    "sm__inst_executed.sum": "123,456,789",
}
"""What ncu counts of any launch: most of it is what it counted of the default config on an H200."""
UNITS = {"gpu__time_duration.sum": "ns", "dram__bytes_read.sum": "byte", "dram__bytes_write.sum": "byte"}


class CountingNcu:
    """An ncu that counts COUNTED in each launch, and knows no metric that is `unknown`.

    `refuses`: it has no permission. `loses`: ids that fail under it. `asked`: the metrics of each run.
    """

    def __init__(self, unknown: Sequence[str] = (), *, refuses: bool = False, loses: Sequence[str] = ()) -> None:
        self.unknown, self.refuses, self.loses = unknown, refuses, loses
        self.asked: list[list[str]] = []
        self.commands: list[Sequence[str]] = []
        self.works: list[Any] = []
        self.launched: list[tuple[str, ...]] = []

    def __call__(self, command: Sequence[str], env: Mapping[str, str], timeout_s: float) -> Finished:
        if "--version" in command:
            return Finished(0, "Version 2025.3.1.0\n")
        if "--import" in command:
            return Finished(0, self.raw())
        self.commands.append(command)
        self.asked.append(command[command.index("--metrics") + 1].split(","))
        if self.refuses:
            return Finished(1, "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission\n")
        if bad := [name for name in self.asked[-1] if name in self.unknown]:
            return Finished(1, f"==PROF== Connected\n==ERROR== Failed to find metric {bad[0]}\n")
        work, done, _device = command[-3:]
        self.works.append(pickle.loads(Path(work).read_bytes()))  # our own file
        self.launched.append(tuple(name for name in self.works[-1][2] if name not in self.loses))
        Path(done).write_text("".join(f"{name}\n" for name in self.launched[-1]))
        Path(command[command.index("-o") + 1]).write_text("report")
        return Finished(0, "==PROF== Report\n")

    def raw(self) -> str:
        known = [name for name in self.asked[-1] if name in COUNTED]
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["ID", "launch__registers_per_thread", *known])
        writer.writerow(["", "register/thread", *(UNITS.get(name, "") for name in known)])
        for number, _ in enumerate(self.launched[-1]):
            writer.writerow([number, 255, *(COUNTED[name] for name in known)])
        return text.getvalue()


SECTORS = {"lts__t_sectors_srcunit_tex.sum": "10"}
"""A counter, in an export."""


def export_of(*rows: Row, **cells: str) -> tuple[NcuRow, ...]:
    """What ncu would export of the launches of these rows: the page of a launch that it printed, but for `cells`."""
    printed = read_export(GOLDEN.with_name("ncu_h100_raw_page.csv"))[0]
    units = {**printed.units, DYNAMIC: "byte/block"}

    def of(row: Row) -> dict[str, str]:
        one = row.compiled
        assert one is not None
        numbers = (one.registers_per_thread, one.dynamic_shared_mem_bytes, one.threads_per_block, one.grid_blocks)
        return {**printed.cells, **dict(zip(NEEDED[1:], map(str, numbers), strict=True)), **cells}

    return tuple(replace(printed, cells=of(row), units=units) for row in rows)
