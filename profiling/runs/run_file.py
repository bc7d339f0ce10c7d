"""The run file, format 3: JSON Lines, one record of a run per line, appended as results come.

Each line is an object whose `kind` says what its other fields are: `header` (RunHeader, with the format; first, and
again if it changes), `row` (Row, without derived fields; its timing comes from the batches, and is in the row only if
their samples were not kept), `batch` (Batch), `counters` (Counted) or `model` (Modelled). A later header, row, counters
or model replace those before; batches add up. A line that is cut off does not count; every line before it does. Format
2 and earlier ids of configs are read too.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import reprlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.registry import todays_id, upgraded
from ssdprof.profiling.runs.codec import plain, reader
from ssdprof.profiling.runs.counters import Counted
from ssdprof.profiling.runs.measured import Batch
from ssdprof.profiling.runs.model import Row, RunHeader
from ssdprof.profiling.runs.modelled import Modelled
from ssdprof.profiling.runs.state import Record, RunState

FORMAT, OLDER_FORMATS = 3, (2,)
_KINDS: dict[str, type] = {"header": RunHeader, "row": Row, "batch": Batch, "counters": Counted, "model": Modelled}
_START = f'{{"format": {FORMAT}, "kind": "header", '
_FORMAT = re.compile(r'\{\s*"format"\s*:\s*([0-9]{1,9})')


class RunError(UsageError):
    """A run file that is missing, unreadable or in use, or a row that a run does not have."""


class NoHeaderError(RunError):
    """A run file that is empty or ends before its header does."""


class RunFile:
    """A run file open for writing: it holds whole lines after each write, whether that succeeded or not."""

    def __init__(self, path: Path, *, anew: bool = False) -> None:
        """Opens the file to append, dropping a partial last line, or creates it; `anew` empties it first.

        Creates the folder if needed. Raises OSError, and RunError if another process is writing this file.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)
        try:
            _lock(self._file.fileno(), fcntl.LOCK_EX, path)
            self._file.seek(0)
            self._whole_bytes = 0 if anew else self._file.readall().rfind(b"\n") + 1
            self._cut()
        except BaseException:
            self._file.close()
            raise

    def write(self, *records: Record) -> None:
        """Appends the records, all or none of them. Raises OSError."""
        lines = dump_records(records).encode("ascii")
        self._cut()  # what an earlier write left behind
        try:
            written = os.write(self._file.fileno(), lines)
            if written < len(lines):
                raise OSError(errno.ENOSPC, f"only {written} of {len(lines)} bytes could be written")
            self._whole_bytes += written
        except BaseException:
            with suppress(OSError):
                self._cut()
            raise

    def close(self) -> None:
        """Stops writing, so another process may continue the file."""
        self._file.close()

    def _cut(self) -> None:
        self._file.truncate(self._whole_bytes)


def check_free(path: Path) -> None:
    """Raises RunError if a process is writing this run file, OSError if it cannot be opened."""
    with path.open("rb") as file:
        _lock(file.fileno(), fcntl.LOCK_SH, path)


def first_header(path: Path) -> RunHeader:
    """The header in the first line of a run file, whatever follows. Raises RunError as `parse_state` does, OSError."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return parse_state(file.readline(), str(path)).header


def dump_records(records: Iterable[Record]) -> str:
    """The records as lines. Numbers that JSON lacks become the strings NaN, Infinity and -Infinity."""
    return "".join(json.dumps(_line(record), allow_nan=False) + "\n" for record in records)


def parse_state(text: str, name: str = "the text") -> RunState:
    """The run in the text, up to its last whole line. Raises RunError, which calls the text `name`.

    Raises NoHeaderError if not even the first line is whole.
    """
    *lines, _ = text.split("\n")
    found = _FORMAT.match(text)
    number = int(found[1]) if found else FORMAT
    if number != FORMAT and number not in OLDER_FORMATS:
        older = number < FORMAT
        age, way_out = ("older", "sweep again") if older else ("newer", f"this one reads format {FORMAT}")
        raise RunError(f"{name} is of format {number}, made by {'an' if older else 'a'} {age} ssdprof: {way_out}")
    if found is None and not _START.startswith(text):
        raise RunError(f"{name} is not a run file: it does not begin with a header of format {FORMAT}")
    if not lines:
        raise NoHeaderError(f"{name} is cut off before the end of its first line: it holds no run")
    records = (_record(line, i, name, number) for i, line in enumerate(lines, 1))
    header = next(records)
    assert isinstance(header, RunHeader)  # the others have no format
    state = RunState(header)
    for record in chain([header], records):
        state.add(_of_today(record, header.kernel))
    return state


def _lock(fd: int, operation: int, path: Path) -> None:
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(
            f"{path} is being written by another ssdprof: wait until it is done, or name another file with -o"
        ) from None
    except OSError:
        pass  # a file system without locks, as on some clusters: there is no way to know


def _line(record: Record) -> dict[str, Any]:
    kind = next(kind for kind, of in _KINDS.items() if isinstance(record, of))
    start = {"format": FORMAT, "kind": kind} if kind == "header" else {"kind": kind}
    return {**start, **plain(record)}


def _record(line: str, number: int, name: str, file_format: int) -> Record:
    try:
        return _parsed(line, file_format)
    except json.JSONDecodeError as error:
        what = f"not valid JSON at column {error.colno}: {error.msg}"
    except (ValueError, RecursionError) as error:
        what = str(error)
    raise RunError(f"{name} is not a run file of format {file_format}: line {number}: {what}")


def _of_today(record: Record, kernel: str) -> Record:
    """The record with the id that its config has today."""
    if isinstance(record, RunHeader):
        baseline_id = record.baseline_id
        return record if baseline_id is None else replace(record, baseline_id=todays_id(kernel, baseline_id))
    name = todays_id(kernel, record.config_id)
    return record if name == record.config_id else replace(record, config_id=name)


def _parsed(line: str, file_format: int) -> Record:
    values = json.loads(line)
    kind = values.pop("kind", None) if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"not a record: its kind must be one of {', '.join(_KINDS)}")
    if kind == "header" and (given := values.pop("format", None)) != file_format:
        raise ValueError(f"a header of format {reprlib.repr(given)}")
    if file_format != FORMAT:
        values = upgraded(kind, values)
    record: Record = reader(_KINDS[kind])(values)
    return record
