"""The run file, format 2: JSON Lines, one record of a run a line, appended as results come.

Each line is an object whose `kind` says what its other fields are: `header` (RunHeader, with the format; first, and
again where it changed), `row` (Row, less its rank and what goes with it; its timing is that of the batches, and stands
in the row only where their samples were not kept) or `batch` (Batch). A later header or row replaces the one before it,
batches add up. A line that was cut off does not count; every line before it does.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import re
import reprlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ssdprof.kernels.errors import UsageError
from ssdprof.profiling.runs.model import Batch, Row, Run, RunHeader
from ssdprof.profiling.runs.state import Record, RunState

FORMAT = 2
_KINDS: dict[str, type] = {"header": RunHeader, "row": Row, "batch": Batch}
_DERIVED: dict[type, tuple[str, ...]] = {Row: ("rank", "speedup_vs_baseline", "tied_with_best")}
_START = f'{{"format": {FORMAT}, "kind": "header", '
_FORMAT = re.compile(r'\{\s*"format"\s*:\s*([0-9]{1,9})')
_NO_NUMBERS = ("NaN", "Infinity", "-Infinity")


class RunError(UsageError):
    """A run file that is missing, cannot be read or is in use, or a row that a run does not have."""


class NoHeaderError(RunError):
    """A run file that is empty or ends before its header does."""


class RunFile:
    """A run file that is written: what it holds is whole lines after each write, whether that succeeded or not."""

    def __init__(self, path: Path, *, anew: bool = False) -> None:
        """Goes on with the file, without the part of a line that it may end in, or makes it; `anew` empties it first.

        The folder is made where there is none. Raises OSError, and RunError where another process writes this file.
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
        self._cut()  # what an earlier write left and could not take back
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
        """Ends writing, so that another process may go on with the file."""
        self._file.close()

    def _cut(self) -> None:
        self._file.truncate(self._whole_bytes)


def check_free(path: Path) -> None:
    """Raises RunError where a process writes this run file, OSError where it cannot be opened."""
    with path.open("rb") as file:
        _lock(file.fileno(), fcntl.LOCK_SH, path)


def dump_records(records: Iterable[Record]) -> str:
    """The records as lines. Numbers that JSON has not are written as the strings NaN, Infinity and -Infinity."""
    return "".join(json.dumps(_line(record), allow_nan=False) + "\n" for record in records)


def parse_state(text: str, name: str = "the text") -> RunState:
    """The run as far as the text has whole lines. Raises RunError, in which `name` is what the text is called.

    NoHeaderError where not even the first line is whole.
    """
    *lines, _ = text.split("\n")
    found = _FORMAT.match(text)
    if found is not None and int(found[1]) != FORMAT:
        older = int(found[1]) < FORMAT
        age, way_out = ("older", "sweep again") if older else ("newer", f"this one reads format {FORMAT}")
        raise RunError(f"{name} is of format {found[1]}, made by {'an' if older else 'a'} {age} ssdprof: {way_out}")
    if found is None and not _START.startswith(text):
        raise RunError(f"{name} is not a run file: it does not begin with a header of format {FORMAT}")
    if not lines:
        raise NoHeaderError(f"{name} is cut off before the end of its first line: it holds no run")
    records = (_record(line, number, name) for number, line in enumerate(lines, 1))
    header = next(records)
    assert isinstance(header, RunHeader)  # the others have no format
    state = RunState(header)
    for record in records:
        state.add(record)
    return state


def parse_run(text: str) -> Run:
    """The run in the text, ranked. Raises RunError."""
    return parse_state(text).run()


def _lock(fd: int, operation: int, path: Path) -> None:
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(
            f"{path} is being written by another ssdprof: wait for its end, or name another file with -o"
        ) from None
    except OSError:
        pass  # a file system without locks, as some clusters have: nothing can be known there


def _line(record: Record) -> dict[str, Any]:
    kind = next(kind for kind, of in _KINDS.items() if isinstance(record, of))
    start = {"format": FORMAT, "kind": kind} if kind == "header" else {"kind": kind}
    return {**start, **_plain(record)}


def _record(line: str, number: int, name: str) -> Record:
    try:
        return _parsed(line)
    except json.JSONDecodeError as error:
        what = f"no valid JSON at column {error.colno}: {error.msg}"
    except (ValueError, RecursionError) as error:
        what = str(error)
    raise RunError(f"{name} is not a run file of format {FORMAT}: line {number}: {what}")


def _parsed(line: str) -> Record:
    values = json.loads(line)
    kind = values.pop("kind", None) if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"no record: its kind is none of {', '.join(_KINDS)}")
    if kind == "header" and (given := values.pop("format", None)) != FORMAT:
        raise ValueError(f"a header of format {reprlib.repr(given)}")
    record: Record = _reader(_KINDS[kind])(values)
    return record


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.name not in _DERIVED.get(kind, ()))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if is_dataclass(value):
        kind: Any = type(value)
        return {name: _plain(getattr(value, name)) for name in _names(kind)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    """What makes a value of this type of what JSON gives for it. Raises ValueError.

    The type decides, so that a text which says NaN stays a text.
    """
    origin, args = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _object_reader(kind)
    if origin in (UnionType, Union):
        read = _reader(next(one for one in args if one is not type(None)))
        return lambda value: None if value is None else read(value)
    if origin is tuple:
        item = _reader(args[0])
        return lambda value: tuple(map(item, _checked(value, isinstance(value, list), "a list")))
    if origin is Literal:
        return lambda value: _checked(value, isinstance(value, str) and value in args, f"one of {', '.join(args)}")
    return _PLAIN_READERS[origin or kind]


def _object_reader(kind: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(kind)
    readers = {name: _reader(hints[name]) for name in _names(kind)}
    needed = [one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING]

    def read(value: Any) -> Any:
        _checked(value, isinstance(value, dict), "an object")
        for name in needed:
            if name not in value:
                raise ValueError(f"{name} is missing")
        values = {}
        for name, item in value.items():
            if name not in readers:
                raise ValueError(f"unknown field {reprlib.repr(name)}")
            try:
                values[name] = readers[name](item)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return kind(**values)

    return read


def _checked(value: Any, right: bool, what: str) -> Any:
    if not right:
        raise ValueError(f"{reprlib.repr(value)} is not {what}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, str) and value in _NO_NUMBERS:
        return float(value)
    right = isinstance(value, (int, float)) and not isinstance(value, bool)
    number: float = _checked(value, right, "a number")
    return number


_PLAIN_READERS: dict[Any, Callable[[Any], Any]] = {
    bool: lambda value: _checked(value, isinstance(value, bool), "true or false"),
    dict: lambda value: _checked(value, isinstance(value, dict), "an object"),
    float: _number,
    int: lambda value: _checked(value, isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    str: lambda value: _checked(value, isinstance(value, str), "a text"),
}
