"""Keeps a run's file as results arrive. A full disk is told once and costs no result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ssdprof.cli.console import note

if TYPE_CHECKING:
    from ssdprof.profiling.runs.model import Run
    from ssdprof.profiling.runs.run_file import RunFile
    from ssdprof.profiling.runs.state import Record
    from ssdprof.profiling.runs.store import Resumed


class Keeper:
    """Appends each record it is called with to one file: the resumed run's, `path`, or a new one in the data folder.

    A file at `path` that is not resumed is replaced. Records that could not be written are written before the next.
    """

    def __init__(self, path: Path | None, *, resumed: Resumed | None = None, quiet: bool = False) -> None:
        self.path = resumed.path if resumed is not None else path
        self._resumes = resumed is not None
        self._quiet = quiet
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
                note(f"the run cannot be kept in {self.path}: {error.strerror or error}; going on without")
            self._failure = error.strerror or str(error)
        else:
            self._unwritten, self._holds_some, self._failure = [], True, ""

    def tell(self, run: Run) -> None:
        """Ends the file, and says where the run is and what to do with it."""
        if self._file is not None:
            self._file.close()
        if self._failure:
            kept = f"the first part alone is kept in {self.path} ({self._failure})" if self._holds_some else ""
        else:
            kept = f"what was done is kept in {self.path}"
        if run.header.interrupted:
            way_on = f"{kept}; go on with --resume" if kept else "nothing is kept"
            note(f"interrupted; {way_on}")
        elif self._failure and kept:
            note(f"{kept}: make room and measure the rest again with --resume")
        elif not self._quiet and not self._failure:
            which = "best, '#2' or any config above" if run.ranked else "any config above"
            note(f"run kept in {self.path}; next: ssdprof explain {which}")

    def _opened(self) -> RunFile:
        from ssdprof.profiling.runs.model import RunHeader
        from ssdprof.profiling.runs.run_file import RunFile
        from ssdprof.profiling.runs.store import new_run_path

        if self.path is None:
            self.path = new_run_path(next(one for one in self._unwritten if isinstance(one, RunHeader)))
        return RunFile(self.path, anew=not self._resumes)
