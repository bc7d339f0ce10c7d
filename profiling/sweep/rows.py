"""How a config's row changes on its way through a sweep: pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ssdprof.kernels.config import Config
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import Constrained, Subject
from ssdprof.profiling.hardware.limits import SmLimits
from ssdprof.profiling.hardware.occupancy import LaunchError, occupancy
from ssdprof.profiling.runs.measured import Compiled, Loaded
from ssdprof.profiling.runs.model import Row

NOT_REACHED = "not reached"
BY_CONSTRUCTION = "by construction"


def first_rows(subject: Subject, configs: Iterable[Config]) -> dict[str, Row]:
    """A row for each config, by id: not run yet, or a launch error if the kernel cannot take it."""
    rows: dict[str, Row] = {}
    for config in configs:
        try:
            resolved = subject.resolve(config)
        except ConfigError as error:
            name = subject.params.id(config)
            rows[name] = Row(config, name, "launch-error", str(error))
            continue
        name = subject.params.id(resolved)
        wrong = subject.wrong_by_construction(resolved) if isinstance(subject, Constrained) else None
        rows[name] = Row(resolved, name, "not-run", NOT_REACHED, by_construction=wrong or "")
    return rows


def settled(row: Row) -> Row:
    """The row, marked wrong if it is wrong by construction and was not checked, whatever else happened to it."""
    if not row.by_construction or row.check is not None or row.status == "wrong":
        return row
    failed = "" if row.status == "not-run" else f"; here it also failed ({row.status}: {row.status_reason})"
    return replace(row, status="wrong", status_reason=_why_wrong(row) + failed)


def is_untried(row: Row) -> bool:
    """Whether the row still has to be run: its status is not-run, or wrong by construction and nothing else."""
    return row.status == "not-run" or (row.by_construction != "" and row.status_reason == _why_wrong(row))


def _why_wrong(row: Row) -> str:
    return f"{BY_CONSTRUCTION}: {row.by_construction}"


def with_compiled(row: Row, compiled: Compiled, limits: SmLimits, num_sms: int | None, status_reason: str) -> Row:
    """The row of a compiled config: with its occupancy, or marked as needing more than the architecture has."""
    row = replace(row, compiled=compiled, status="not-run", status_reason=status_reason)
    try:
        row = replace(row, occupancy=occupancy(compiled.launch, limits, num_sms=num_sms))
    except LaunchError as error:  # such as more threads than a block can have
        return replace(row, status="out-of-resources", status_reason=str(error))
    if row.occupancy and row.occupancy.cannot_launch:
        return replace(row, status="out-of-resources", status_reason=row.occupancy.cannot_launch)
    return row


def with_loaded(row: Row, loaded: Loaded, limits: SmLimits, num_sms: int | None) -> Row:
    """The row with what the driver says about the loaded kernel."""
    if row.compiled is None:
        return row
    compiled = replace(row.compiled, registers_per_thread=loaded.registers_per_thread, spill_bytes=loaded.spill_bytes)
    occ = occupancy(compiled.launch, limits, num_sms=num_sms)
    return replace(row, compiled=compiled, occupancy=occ, driver_blocks_per_sm=loaded.blocks_per_sm)
