"""`ssdprof occupancy`: theoretical occupancy as Nsight Compute prints it, for one launch or a CSV of launches."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ssdprof.cli import completion, console
from ssdprof.cli.options import Force, Json, Quiet, grouped, option
from ssdprof.kernels.errors import UsageError

_launch = partial(option, "Launch")
_target = partial(option, "Target")
_many = partial(option, "Many launches")


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """One launch as compiled. None: not given."""

    threads: Annotated[int | None, _launch("Threads per block.")] = None
    regs: Annotated[int | None, _launch("Registers per thread.")] = None
    smem: Annotated[int | None, _launch("Dynamic shared memory, bytes per block.", default="0")] = None
    grid: Annotated[int | None, _launch("Blocks in the grid, to compute waves.")] = None
    static_smem: Annotated[int | None, _launch("Static shared memory, bytes per block.", default="0")] = None
    barriers: Annotated[int | None, _launch("Barriers per block.", default="1")] = None
    smem_config: Annotated[
        int | None,
        _launch(
            "Shared memory that the driver configured for the SM, in bytes, if you know it.",
            default="what the driver is known or assumed to choose",
        ),
    ] = None
    prefer_shared: Annotated[
        bool | None, _launch("Whether the kernel prefers shared memory to L1.", default="as in Triton: above 48 KiB")
    ] = None
    ctas: Annotated[int | None, _launch("Blocks per cluster.", default="1")] = None

    def values(self) -> dict[str, Any]:
        """The launch, as `ssdprof.occupancy` takes it. Raises UsageError if threads or registers are missing."""
        if self.threads is None or self.regs is None:
            missing = "--threads" if self.threads is None else "--regs"
            raise UsageError(f"{missing} is not given: give --threads and --regs of one launch, or --from-csv FILE")
        return {
            "threads_per_block": self.threads,
            "registers_per_thread": self.regs,
            "dynamic_shared_mem_bytes": self.smem or 0,
            "static_shared_mem_bytes": self.static_smem or 0,
            "num_barriers": 1 if self.barriers is None else self.barriers,
            "grid_blocks": self.grid,
            "num_ctas": 1 if self.ctas is None else self.ctas,
            "shared_mem_config_bytes": self.smem_config,
            "prefers_shared": self.prefer_shared,
        }


@dataclass(frozen=True, slots=True)
class TableOptions:
    """Launches in a file, and where the answers go."""

    from_csv: Annotated[
        Path | None,
        _many(
            "CSV file, or - for stdin, one launch per line. Columns: threads_per_block, registers_per_thread,"
            " dynamic_shared_mem_bytes, compute_capability (or --arch); optional: static_shared_mem_bytes, barriers,"
            " shared_mem_config_bytes, prefer_shared, grid_blocks."
        ),
    ] = None
    csv: Annotated[Path | None, _many("Write the answers to this file instead of stdout (-).")] = None
    force: Force = False


@grouped
def occupancy(
    launch: LaunchOptions,
    table: TableOptions,
    arch: Annotated[
        str | None,
        _target(
            "Architecture or GPU, such as sm_90 or H100.", default="the GPU's, else sm_90", values=completion.archs
        ),
    ] = None,
    sms: Annotated[
        int | None,
        typer.Option(
            min=1, help="SMs of the GPU, to compute waves; some GPUs by name bring theirs.", rich_help_panel="Target"
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Print theoretical occupancy exactly as Nsight Compute does, its limiters, and what one more block would take.

    Needs no GPU.
    """
    if table.from_csv is not None:
        given = [name.replace("_", "-") for name, value in asdict(launch).items() if value is not None]
        if given:
            raise UsageError(f"--{given[0]} and --from-csv exclude each other: leave one of them out")
        _answer_table(table.from_csv, table, arch, sms, json=json, quiet=quiet)
    elif table.csv is not None:
        raise UsageError("--csv goes with --from-csv FILE: give that too, or --json for one launch")
    else:
        _answer_launch(launch, arch, sms, json=json, quiet=quiet)
    return 0


def _answer_launch(options: LaunchOptions, arch: str | None, sms: int | None, *, json: bool, quiet: bool) -> None:
    from ssdprof.profiling import api
    from ssdprof.reports.export.occupancy_export import launch_json
    from ssdprof.reports.text import occupancy as report

    answer = api.answer_launch(**options.values(), arch=arch, num_sms=sms)
    if json:
        console.show(launch_json(*answer))
    else:
        stdout = console.terminal()
        stdout.print(report.report(*answer), soft_wrap=not stdout.is_terminal, crop=False)
    if options.grid is not None and answer[-1] is None and not quiet:
        console.note("waves per SM need the number of SMs: give --sms")


def _answer_table(
    source: Path, options: TableOptions, arch: str | None, sms: int | None, *, json: bool, quiet: bool
) -> None:
    from ssdprof.profiling import api
    from ssdprof.reports.export.occupancy_export import table_json

    console.check_csv(options.csv, json=json, force=options.force)
    target = None if options.csv == console.STDOUT else options.csv
    table = api.answer_launches(source, arch=arch, num_sms=sms)
    if table.errors:
        count = f"{len(table.errors)} of {len(table.rows)} launches have no answer"
        console.note(f"{count}, the column error says why; the first is {table.errors[0]}")
    if target is not None:
        try:
            target.write_text(table.as_csv(), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--csv {target} cannot be written: {error.strerror or error}") from None
        if not quiet:
            console.note(f"wrote {target}: {len(table.rows)} launches")
    if json:
        console.show(table_json(table))
    elif target is None:
        console.show(table.as_csv())
