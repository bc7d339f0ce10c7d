"""Keeps a run's file as results arrive. A full disk is told once and costs no result."""

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
    """What became of a run's file, in a line, and whether that is a warning."""

    line: str
    is_warning: bool


class Keeper:
    """Appends each record it is called with to one file: the resumed run's, `path`, or a new one in the data folder.

    A file at `path` that is not resumed is replaced. Records that could not be written are written before the next.
    `warn` hears what went wrong, in a line.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        resumed: Resumed | None = None,
        warn: Callable[[str], None],
    ) -> None:
        self.path = resumed.path if resumed is not None else path
        self._resumes = resumed is not None
        self._warn = warn
        self._file: RunFile | None = None
        self._unwritten: list[Record] = []
        self._holds_some = self._resumes
        self._failure = ""

    def __call__(self, *records: Record) -> None:
        """Keeps the records, of which a sweep's first is its header. Raises RunError where another ssdprof writes."""
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
        """Ends the file: where the run is and what to do with it."""
        if self._file is not None:
            self._file.close()
        if self._failure:
            kept = f"the first part alone is kept in {self.path} ({self._failure})" if self._holds_some else ""
        else:
            kept = f"what was done is kept in {self.path}"
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
