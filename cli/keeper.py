"""Keeps a run's file as rows arrive. A full disk is told once and costs no result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ssdprof.cli.console import note

if TYPE_CHECKING:
    from ssdprof.profiling.model import Run


class Keeper:
    """Saves each run it is called with to one file: `path`, or a new one in the user's data folder."""

    def __init__(self, path: Path | None, *, quiet: bool = False) -> None:
        self.path = path
        self._quiet = quiet
        self._last: Run | None = None
        self._failure = ""

    def __call__(self, run: Run) -> None:
        """Saves the run so far."""
        from ssdprof.profiling.store import new_run_path, save_run

        self._last = run
        self.path = self.path or new_run_path(run)
        try:
            save_run(run, self.path)
        except OSError as error:
            if not self._failure:
                note(f"the run cannot be kept in {self.path}: {error.strerror or error}; going on without")
            self._failure = error.strerror or str(error)
        else:
            self._failure = ""

    def tell(self) -> None:
        """Says where the run is and what to do with it."""
        if self._last is None:
            return
        if self._last.header.interrupted:
            kept = "nothing is kept" if self._failure else f"what was done is kept in {self.path}"
            note(f"interrupted; {kept}")
        elif not self._quiet and not self._failure:
            which = "best, '#2' or any config above" if self._last.ranked else "any config above"
            note(f"run kept in {self.path}; next: ssdprof explain {which}")
