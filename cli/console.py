"""Where output goes: results to stdout, progress and notes to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from ssdprof.profiling.sweep.request import Event

DOING = {
    "compiling": "compiling",
    "preparing": "compiling, and preparing inputs and references on the GPU",
    "measuring": "checking and timing",
    "refining": "timing the best again, in turns",
}
BAR_WIDTH = 12
LINES_APART_S = 10.0
"""Without a terminal: the least time between two lines of progress within a phase."""


def stdout() -> Console:
    """The console for results. Rich does not guess colours for figures and ids."""
    from rich.console import Console

    return Console(highlight=False)


def stderr() -> Console:
    """The console for progress and notes."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def note(message: str) -> None:
    """Prints a line for the user to stderr, as it is; results go to stdout."""
    print(f"ssdprof: {message}", file=sys.stderr)


def version_line() -> str:
    """The versions of ssdprof and of the packages its figures depend on, without importing those."""
    return f"ssdprof {version('ssdprof')} (Triton {version('triton')}, PyTorch {version('torch')})"


class ProgressBar:
    """Shows what is happening, how far it is, the best config so far and the time left.

    On a terminal, a bar in one line. Elsewhere, plain lines: one when a phase begins, then at most one every 10 s, as
    `clock` counts them.
    """

    def __init__(
        self, *, quiet: bool = False, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or stderr()
        self._quiet = quiet
        self._clock = clock
        self._phase = ""
        self._noted_s = 0.0
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> ProgressBar:
        """Shows the bar, on a terminal."""
        if not self._quiet and self._console.is_terminal:
            from rich.progress import BarColumn, Progress, TextColumn

            self._progress = Progress(
                BarColumn(bar_width=BAR_WIDTH),
                TextColumn("{task.description}", markup=False),
                console=self._console,
                transient=True,
            )
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the bar."""
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Shows where a sweep stands."""
        if self._progress is not None:
            self._show(self._progress, event)
        elif not self._quiet:
            self._tell(event)
        self._phase = event.phase

    def _show(self, progress: Progress, event: Event) -> None:
        if event.phase != self._phase:  # a new task: the total of one cannot become unknown again
            if self._task is not None:
                progress.remove_task(self._task)
            self._task = progress.add_task("", total=event.total or None)
        assert self._task is not None
        text = bar_text(event, self._console.width - BAR_WIDTH - 1)
        done = event.done if event.total else None  # None leaves what is there
        progress.update(self._task, description=text, completed=done, total=event.total or None)

    def _tell(self, event: Event) -> None:
        now_s = self._clock()
        if event.phase != self._phase:
            what = (
                f"{DOING[event.phase]} ({configs(event.total)})" if event.phase == "compiling" else DOING[event.phase]
            )
            note(f"{what} …")
        elif now_s - self._noted_s >= LINES_APART_S:
            note(f"{DOING[event.phase]}: {progress_text(event)}")
        else:
            return
        self._noted_s = now_s


def configs(number: int) -> str:
    """So many configs."""
    return f"{number} config" + "s" * (number != 1)


def bar_text(event: Event, width: int) -> str:
    """The text beside the bar, in at most `width` character cells; the current config is dropped first."""
    from rich.cells import cell_len, set_cell_size

    text = f"{event.phase} {progress_text(event)}"
    if cell_len(text) > width:
        text = f"{event.phase} {progress_text(replace(event, config_id=None))}"
    return text if cell_len(text) <= width else set_cell_size(text, max(width - 1, 0)) + "…"


def progress_text(event: Event) -> str:
    """How far it is, if that is known, and what `detail` says."""
    count = f"{event.done}/{event.total}" if event.total else str(event.done or "")
    return " · ".join(part for part in (count, detail(event)) if part)


def detail(event: Event) -> str:
    """The current config, the best so far and the time left, each if it is known."""
    parts = [event.config_id or ""]
    if event.best is not None and event.best.timing is not None:
        parts.append(f"best {event.best.timing.latency_ms:.3f} ms {event.best.config_id}")
    if event.eta_s is not None:
        minutes, seconds = divmod(round(event.eta_s), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    return " · ".join(part for part in parts if part)
