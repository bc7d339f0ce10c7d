"""Keeps a run's file as results arrive. A full disk gives one warning and costs no results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ssdprof.profiling.runs.model import Run, RunHeader
from ssdprof.profiling.runs.run_file import RunFile
from ssdprof.profiling.runs.state import Record
from ssdprof.profiling.runs.store import Resumed, new_run_path


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a run's file, in one line, and whether that is a warning."""

    line: str
    is_warning: bool


class Keeper:
    """Appends each record it is called with to one file: the resumed run's, `path`, or a new one in the data folder.

    A file at `path` that is not resumed is replaced. Records that could not be written go out before the next ones.
    `warn` hears what went wrong, in one line.
    """

    def __init__(self, path: Path | None, *, resumed: Resumed | None = None, warn: Callable[[str], None]) -> None:
        self.path = resumed.path if resumed is not None else path
        self._resumes = resumed is not None
        self._warn = warn
        self._file: RunFile | None = None
        self._unwritten: list[Record] = []
        self._holds_some = self._resumes
        self._failure = ""

    def __call__(self, *records: Record) -> None:
        """Keeps the records; a sweep's first is its header. Raises RunError if another ssdprof is writing the file."""
        self._unwritten += records
        try:
            self._file = self._file or self._opened()
            self._file.write(*self._unwritten)
        except OSError as error:
            if not self._failure:
                self._warn(f"the run cannot be kept in {self.path}: {error.strerror or error}; continuing without")
            self._failure = error.strerror or str(error)
        else:
            self._unwritten, self._holds_some, self._failure = [], True, ""

    def close(self, run: Run) -> Kept:
        """Closes the file; says where the run is and what to do with it."""
        if self._file is not None:
            self._file.close()
        if self._failure:
            kept = f"only the first part is kept in {self.path} ({self._failure})" if self._holds_some else ""
        else:
            kept = f"the results so far are kept in {self.path}"
        if run.header.interrupted:
            return Kept(f"interrupted; {f'{kept}; continue with --resume' if kept else 'nothing is kept'}", True)
        if self._failure:
            remedy = ": make room and measure the rest again with --resume"
            return Kept(f"{kept}{remedy}" if kept else "nothing is kept", True)
        which = "best, '#2' or any config above" if run.ranked else "any config above"
        return Kept(f"run kept in {self.path}; next: ssdprof explain {which}", False)

    def _opened(self) -> RunFile:
        if self.path is None:
            self.path = new_run_path(next(one for one in self._unwritten if isinstance(one, RunHeader)))
        return RunFile(self.path, anew=not self._resumes)
