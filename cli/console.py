"""Where output goes: results to stdout, progress and notes to stderr."""

from __future__ import annotations

import sys
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from ssdprof.profiling.request import Event

DOING = {
    "compiling": "compiling",
    "preparing": "compiling, and preparing inputs and reference on the GPU",
    "measuring": "checking and timing",
    "refining": "timing the best again, in turns",
}


def stdout() -> Console:
    """The console for results. Figures and ids are not coloured by guesswork."""
    from rich.console import Console

    return Console(highlight=False)


def stderr() -> Console:
    """The console for progress and notes."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def note(message: str) -> None:
    """A line for the user that is no result: to stderr, as it is."""
    print(f"ssdprof: {message}", file=sys.stderr)


def version_line() -> str:
    """The version of ssdprof and those its figures depend on, without importing them."""
    return f"ssdprof {version('ssdprof')} (Triton {version('triton')}, PyTorch {version('torch')})"


class ProgressBar:
    """What is happening, how far, the best so far and the time left: a bar on a terminal, a line a phase elsewhere."""

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self._console = console or stderr()
        self._quiet = quiet
        self._phase = ""
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> ProgressBar:
        """Shows the bar, on a terminal."""
        if not self._quiet and self._console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[detail]}"),
                console=self._console,
                transient=True,
            )
            self._task = self._progress.add_task("starting", total=None, detail="")
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bar away."""
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Shows where a sweep stands."""
        if self._progress is not None and self._task is not None:
            self._progress.update(
                self._task,
                description=event.phase,
                completed=event.done,
                total=event.total,
                detail=detail(event),
            )
        elif not self._quiet and event.phase != self._phase:
            what = f"{DOING[event.phase]} ({event.total} configs)" if event.phase == "compiling" else DOING[event.phase]
            note(f"{what} …")
        self._phase = event.phase


def detail(event: Event) -> str:
    """The config at hand, the best so far and the time left, as far as each is known."""
    parts = [event.config_id or ""]
    if event.best is not None and event.best.timing is not None:
        parts.append(f"best {event.best.timing.latency_ms:.3f} ms {event.best.config_id}")
    if event.eta_s is not None:
        minutes, seconds = divmod(round(event.eta_s), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    return " · ".join(part for part in parts if part)
