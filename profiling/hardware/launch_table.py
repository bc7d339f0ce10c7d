"""Occupancy of many launches: a CSV of launches in, the same CSV with the answers added out."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssdprof.kernels.errors import UsageError
from ssdprof.profiling.hardware.gpu_names import sm_count
from ssdprof.profiling.hardware.limits import SmLimits, limits_for
from ssdprof.profiling.hardware.occupancy import Launch, Occupancy, check_launch, check_shared_mem, occupancy

MAX_FILE_BYTES = 64 * 1024 * 1024
"""Larger input is refused; this is over a million launches."""
NEEDED = ("threads_per_block", "registers_per_thread", "dynamic_shared_mem_bytes")
OPTIONAL = ("static_shared_mem_bytes", "barriers", "shared_mem_config_bytes", "prefer_shared", "grid_blocks")
ARCH = "compute_capability"
ANSWERS = (
    *("shared_mem_allocated_bytes", "shared_mem_config_bytes", "shared_mem_config_source"),
    *("blocks_per_sm", "warps_per_sm", "warps_per_scheduler", "theoretical_occupancy_pct"),
    *("limit_registers_blocks", "limit_shared_mem_blocks", "limit_warps_blocks", "limit_blocks_blocks"),
    *("limit_barriers_blocks", "limiters", "waves_per_sm", "cannot_launch"),
)
"""The columns that are added, in this order: fields of an `Occupancy`."""
ERROR = "error"
"""The last column: why a line has no answer."""
INPUT_PREFIX = "input_"
"""Prefixed to an input column if an answer has the same name."""
_TRUTHS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}(?:\.0*)?")


class LaunchTableError(UsageError):
    """A CSV of launches that cannot be read; names the column, or the line and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class LaunchTable:
    """Launches with their answers: `header` and `rows` of equal length, input columns first.

    `errors`: of the lines without an answer, which and why.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    errors: tuple[str, ...] = ()

    def as_csv(self) -> str:
        """The table as CSV; a missing value is an empty cell."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows(["" if value is None else value for value in row] for row in self.rows)
        return text.getvalue()

    def as_records(self) -> list[dict[str, object]]:
        """The rows by column name; input columns are the original text."""
        return [dict(zip(self.header, row, strict=True)) for row in self.rows]


def answered_file(path: Path, *, arch: str | None = None, num_sms: int | None = None) -> LaunchTable:
    """The occupancy of every launch in a CSV file (`-`: stdin), as `answered` gives it. Raises LaunchTableError."""
    is_stdin = path == Path("-")
    try:
        with nullcontext(sys.stdin.buffer) if is_stdin else path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise LaunchTableError(f"--from-csv {path} cannot be read: {error.strerror or error}") from None
    return answered(content, "stdin" if is_stdin else str(path), arch=arch, num_sms=num_sms)


def answered(content: bytes, name: str, *, arch: str | None = None, num_sms: int | None = None) -> LaunchTable:
    """The occupancy of every launch in a CSV file's `content`; messages call the file `name`.

    The columns `NEEDED` are required and, without `arch`, `compute_capability`; `OPTIONAL` ones count unless they are
    empty. Input columns are kept as they are, renamed to `input_…` if an answer has the same name. A launch that asks
    for more than the architecture has gets an answer too: 0 blocks, and why. A line that cannot be read, or has numbers
    that no launch can have, gets no answer but the reason in `error`. Raises LaunchTableError if that is every line,
    and for a file or header that cannot be read.
    """
    if len(content) > MAX_FILE_BYTES:
        raise LaunchTableError(f"{name} is larger than {MAX_FILE_BYTES >> 20} MiB: split it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LaunchTableError(f"{name} is not a text file: byte {error.start} is not UTF-8") from None
    records = _records(text)
    line, found, problem = next(records, (1, [], ""))
    if problem:
        raise LaunchTableError(f"{name}, line {line}: {problem}")
    header = [column.strip() for column in found]
    _check_header(header, name, arch)
    if arch is not None:
        limits_for(arch)  # raises if that is unknown
    rows, errors = [], []
    for line, cells, problem in records:
        answers, reason = _answers(dict(zip(header, cells, strict=False)), problem, arch, num_sms)
        if reason:
            errors.append(f"line {line}: {reason}")
        padded = (*cells, *[""] * len(header))[: len(header)]
        rows.append((*padded, *answers, errors[-1] if reason else None))
    if not rows:
        raise LaunchTableError(f"{name} has a header and no launches below it")
    if len(errors) == len(rows):
        others = f"; the other {len(rows) - 1} cannot be read either" if len(rows) > 1 else ""
        raise LaunchTableError(f"{name}, {errors[0]}{others}")
    return LaunchTable((*_kept(header), *ANSWERS, ERROR), tuple(rows), tuple(errors))


def _answers(cells: Mapping[str, str], problem: str, arch: str | None, num_sms: int | None) -> tuple[list[object], str]:
    """The answers to a line, and why there are none: its own `problem`, or what is wrong with its cells."""
    try:
        if problem:
            raise LaunchTableError(problem)
        occ = _answer(cells, arch, num_sms)
    except UsageError as error:
        return [None] * len(ANSWERS), str(error)
    values = (getattr(occ, column) for column in ANSWERS)
    return [";".join(value) if isinstance(value, tuple) else value for value in values], ""


def answer(
    limits: SmLimits,
    num_sms: int | None = None,
    *,
    shared_mem_config_bytes: int | None = None,
    prefers_shared: bool | None = None,
    **launch: Any,
) -> tuple[Launch, Occupancy]:
    """One launch and its occupancy. Raises UsageError for numbers that no launch can have."""
    asked = Launch(**launch)
    check_launch(asked, limits)
    check_shared_mem(asked, limits)
    return asked, occupancy(
        asked, limits, shared_mem_config_bytes=shared_mem_config_bytes, prefers_shared=prefers_shared, num_sms=num_sms
    )


def _kept(header: list[str]) -> list[str]:
    """The input's column names; one that an answer has too is prefixed until no other column has that name."""
    added = (*ANSWERS, ERROR)
    taken = {*header, *added}
    names = []
    for column in header:
        name = column
        if column in added:
            while name in taken:
                name = INPUT_PREFIX + name
            taken.add(name)
        names.append(name)
    return names


def _records(text: str) -> Iterator[tuple[int, list[str], str]]:
    """Line number (from 1, of the record's first line) and cells of each record that is not blank.

    Of one that is no record, or has another number of cells than the first, also why.
    """
    delimiter = max(",;\t", key=text.partition("\n")[0].count)  # a spreadsheet's export may have semicolons or tabs
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line, columns = 1, 0
    while True:
        cells, problem = _next(reader)
        if cells is None:
            return
        if problem or any(cell.strip() for cell in cells):
            columns = columns or len(cells)
            if not problem and len(cells) != columns:
                problem = f"{len(cells)} fields, the header has {columns}"
            yield line, cells, problem
        line = reader.line_num + 1


def _next(reader: Iterator[list[str]]) -> tuple[list[str] | None, str]:
    """The next record, None if there is none; and what is wrong with it if it is none."""
    try:
        return next(reader, None), ""
    except csv.Error as error:
        return [], str(error)


def _check_header(header: list[str], name: str, arch: str | None) -> None:
    if not header:
        raise LaunchTableError(f"{name} is empty: it needs a header with {', '.join(NEEDED)}")
    missing = [column for column in NEEDED if column not in header]
    if missing:
        raise LaunchTableError(
            f"{name} has no column {', '.join(missing)}: required are {', '.join(NEEDED)}, "
            f"optional are {', '.join((ARCH, *OPTIONAL))}"
        )
    if arch is None and ARCH not in header:
        raise LaunchTableError(f"{name} has no column {ARCH}: add it, or give --arch for all launches")
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise LaunchTableError(f"{name} has the column {', '.join(twice)} more than once")


def _answer(cells: Mapping[str, str], default: str | None, num_sms: int | None) -> Occupancy:
    written = cells.get(ARCH, "").strip()
    if re.fullmatch(r"[0-9]|1[0-9]", written):  # a spreadsheet turned 9.0 into 9
        written += ".0"
    arch = written or default
    if not arch:
        raise LaunchTableError(f"{ARCH} is empty")
    limits, sms = limits_for(arch), sm_count(arch, num_sms)
    launch = Launch(
        **{column: _needed(cells, column) for column in NEEDED},
        static_shared_mem_bytes=_integer(cells, "static_shared_mem_bytes") or 0,
        num_barriers=1 if (barriers := _integer(cells, "barriers")) is None else barriers,
        grid_blocks=_integer(cells, "grid_blocks"),
    )
    config_bytes, prefers = _integer(cells, "shared_mem_config_bytes"), _truth(cells, "prefer_shared")
    return occupancy(
        launch,
        limits,
        shared_mem_config_bytes=config_bytes,
        prefers_shared=prefers,
        num_sms=sms.number if sms else None,
    )


def _needed(cells: Mapping[str, str], column: str) -> int:
    value = _integer(cells, column)
    if value is None:
        raise LaunchTableError(f"{column} is empty")
    return value


def _integer(cells: Mapping[str, str], column: str) -> int | None:
    """A whole number, also as pandas writes it next to empty cells (64.0); None if the cell is empty or missing."""
    written = cells.get(column, "").strip()
    if not written:
        return None
    if not _INTEGER.fullmatch(written):
        raise LaunchTableError(f"{column} is {_shortened(written)}, not a whole number of at most 18 digits")
    return int(written.partition(".")[0])


def _truth(cells: Mapping[str, str], column: str) -> bool | None:
    written = cells.get(column, "").strip().lower()
    truth = _TRUTHS.get(written.removesuffix(".0"))
    if written and truth is None:
        raise LaunchTableError(f"{column} is {_shortened(written)}: write 1 or 0")
    return truth


def _shortened(written: str) -> str:
    return repr(written if len(written) <= 30 else written[:27] + "…")
