"""Compares an exported ncu report with our figures: what each launch needs comes from it, the rest we compute."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from ssdprof.kernels.errors import UsageError
from ssdprof.profiling.hardware.launch_table import MAX_FILE_BYTES
from ssdprof.profiling.hardware.limits import ArchError, limits_for
from ssdprof.profiling.hardware.occupancy import CarveoutError, Launch, LaunchError, occupancy
from ssdprof.profiling.hardware.rule import rule_sentence
from ssdprof.profiling.ncu.program import EXPORT_HINT, REGISTERS, NcuCellError, NcuCsvError, NcuNumber, NcuRow, read_raw
from ssdprof.profiling.ncu.verify import (
    CONFIG_SIZE,
    DYNAMIC,
    RESULTS,
    STATIC,
    Comparison,
    Ours,
    Unchecked,
    Verification,
    against_ncu,
    missing_notes,
)

_CC_COLUMNS = ("device__attribute_compute_capability_major", "device__attribute_compute_capability_minor")


def read_export(path: Path, option: str = "--ncu-report") -> tuple[NcuRow, ...]:
    """The launches of an exported report, which `option` names. Raises UsageError if it cannot be read or is none."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_FILE_BYTES:
        raise UsageError(f"{option} {path} is larger than {MAX_FILE_BYTES >> 20} MiB: export fewer launches")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UsageError(f"{option} {path} is not text: export the report with {EXPORT_HINT}")
    return read_raw(text, str(path))


def against_export(rows: Sequence[NcuRow], of: str, arch: str | None) -> Verification:
    """Compares the launches of an exported report: registers, shared memory and block size from it, the rest ours.

    `arch` is for a file that does not name it. Raises NcuCsvError if required columns are missing.
    """
    _check_columns(rows[0], of, arch)
    comparisons: list[Comparison] = []
    unchecked = []
    archs = []
    restored = 0
    for row in rows:
        try:
            ours, was_restored = _ours_of(row, arch)
            found = against_ncu(ours, row, RESULTS)
        except (ArchError, CarveoutError, LaunchError, NcuCellError) as error:
            unchecked.append(Unchecked(_label(row), str(error)))
            continue
        if not found:
            unchecked.append(Unchecked(ours.name, "has no figure to compare"))
        comparisons += found
        archs.append(ours.limits.arch)
        restored += was_restored
    notes = missing_notes(rows, "the export lacks them", RESULTS)
    if restored:
        notes.append(
            f"{restored} of {len(rows)} launches give their shared memory in rounded units; it was read as the "
            f"roundest number that prints that way: {EXPORT_HINT} exports bytes"
        )
    return Verification(
        of=of,
        arch=", ".join(dict.fromkeys(archs)) or arch or "",
        gpu=None,
        ncu="as exported",
        launches=len(rows),
        comparisons=tuple(comparisons),
        unchecked=tuple(unchecked),
        notes=tuple(notes),
    )


def _check_columns(row: NcuRow, of: str, arch: str | None) -> None:
    missing = [] if DYNAMIC in row.cells else [DYNAMIC]
    if not {"launch__block_size", "Block Size", "num_warps"} & row.cells.keys():
        missing.append("launch__block_size")
    if arch is None and "CC" not in row.cells and not set(_CC_COLUMNS) <= row.cells.keys():
        missing.append(f"{_CC_COLUMNS[0]} and …_minor (or give --arch)")
    if missing:
        raise NcuCsvError(f"{of} lacks {', '.join(missing)}: export the report with {EXPORT_HINT}")


def _ours_of(row: NcuRow, arch: str | None) -> tuple[Ours, bool]:
    """Our figures for the launch that ncu describes, and whether its bytes had to be restored from rounded ones."""
    major, minor = (_whole(row, name) for name in _CC_COLUMNS)
    exported = f"{major}.{minor}" if major is not None else row.cells.get("CC", "")
    limits = limits_for(exported or arch or "")
    if arch not in (None, limits.arch):
        raise NcuCsvError(f"--arch {arch} does not match line {row.line} ({limits.arch}): leave --arch out")
    dynamic, static = row.number(DYNAMIC), row.number(STATIC)
    grid, barriers = _count(row, "launch__grid_size", "Grid Size"), _whole(row, "launch__barrier_count")
    threads, warps = _count(row, "launch__block_size", "Block Size"), _whole(row, "num_warps")
    launch = Launch(
        threads_per_block=threads or 32 * (warps or 0),
        registers_per_thread=_whole(row, REGISTERS) or 0,
        dynamic_shared_mem_bytes=_bytes_of(dynamic),
        static_shared_mem_bytes=_bytes_of(static),
        num_barriers=1 if barriers is None else barriers,
        grid_blocks=grid or None,
    )
    cache = row.cells.get("launch__func_cache_config", "").lower()
    prefers_shared = "prefershared" in cache if "prefer" in cache else None
    sms, more_sms = _whole(row, "device__attribute_multiprocessor_count"), _whole(row, "launch__sm_count")
    config_bytes = _config_bytes(row.number(CONFIG_SIZE), limits.carveouts_bytes)
    occ = occupancy(
        launch, limits, shared_mem_config_bytes=config_bytes, prefers_shared=prefers_shared, num_sms=sms or more_sms
    )
    rounded = any(number is not None and number.half_step >= 1 for number in (dynamic, static))
    return Ours(_label(row), launch, limits, occ, rule_sentence(occ)), rounded


def _config_bytes(number: NcuNumber | None, sizes: Sequence[int]) -> int | None:
    """The size that ncu says shared memory was configured to, by its rounded figure; None if it does not say."""
    if number is None:
        return None
    return next((size_bytes for size_bytes in sizes if number.agrees(size_bytes)), round(number.value))


def _label(row: NcuRow) -> str:
    number = f"#{row.cells['ID']}" if row.cells.get("ID") else f"line {row.line}"
    return f"{number} {row.cells.get('Kernel Name', '')[:40]}".strip()


def _count(row: NcuRow, column: str, sides: str) -> int | None:
    """The number in `column`; without it, the product of the three that ncu prints as (1, 2, 3) in `sides`."""
    count, factors = _whole(row, column), re.findall(r"[0-9]+", row.cells.get(sides, ""))
    return math.prod(map(int, factors)) if count is None and factors else count


def _whole(row: NcuRow, column: str) -> int | None:
    number = row.number(column)
    return None if number is None else round(number.value)


def _bytes_of(number: NcuNumber | None) -> int:
    """The bytes of a figure; if ncu rounded it, the number with the most factors of two that prints that way."""
    if number is None:
        return 0
    low, high = number.value - number.half_step, number.value + number.half_step
    for unit in (1 << shift for shift in range(20, 0, -1)):
        nearest = round(number.value / unit) * unit
        if low <= nearest <= high:
            return nearest
    return round(number.value)
