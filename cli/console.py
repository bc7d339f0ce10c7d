"""Where output goes: results to stdout, progress and notes to stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING

import typer

from ssdprof.kernels.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

    from ssdprof.profiling.sweep.request import Event

DOING = {
    "compiling": "compiling",
    "preparing": "compiling, and preparing inputs and references on the GPU",
    "measuring": "checking and timing",
    "refining": "timing the best again, in turns",
    "counting": "counting with ncu",
    "ceilings": "measuring the GPU's ceilings, once",
    "modelling": "following the addresses of each config",
}
STDOUT = Path("-")
"""Instead of a file for the CSV."""
BAR_WIDTH = 12
PIPED_WIDTH = 200
"""Columns of what is no terminal, unless COLUMNS says otherwise."""
LINES_APART_S = 10.0
"""Without a terminal: the least time between two lines of progress within a phase."""


def terminal(*, stderr: bool = False) -> Console:
    """Where rich prints: results to stdout, progress to stderr. It does not guess colours for figures and ids."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def note(message: str) -> None:
    """Prints a line for the user to stderr, on a terminal in lines that end between words; results go to stdout."""
    lines = [f"ssdprof: {message}"]
    if sys.stderr.isatty():
        from ssdprof.reports.text.prose import wrapped

        lines = wrapped(lines[0], get_terminal_size().columns)
    print("\n".join(lines), file=sys.stderr)


def show(answer: RenderableType) -> None:
    """Prints an answer to stdout: a text, such as JSON, as it is, anything else laid out by rich."""
    if isinstance(answer, str):
        typer.echo(answer, nl=False)
    else:
        stdout = terminal()
        if not stdout.is_terminal and "COLUMNS" not in os.environ:
            stdout.width = PIPED_WIDTH
        stdout.print(answer, crop=False)  # an id wider than the terminal goes on in its next line


def check_writable(path: Path, option: str, force: bool) -> None:
    """Raises UsageError if a file cannot be written at `path`, or has content that only `force` may replace."""
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}, create it first")
    there = path.exists()
    if there and not path.is_file():
        raise UsageError(f"{option} {path} is not a regular file: name one")
    if there and path.stat().st_size and not force:
        raise UsageError(f"{option} {path} exists already: name another file, or give --force to replace it")
    try:
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written: {error.strerror or error}") from None
    if not there:
        path.unlink()


def check_folder(path: Path, option: str, force: bool) -> None:
    """Raises UsageError if `path` cannot be a folder for files, or holds some that only `force` may replace."""
    if path.exists() and not path.is_dir():
        raise UsageError(
            f"{option} {path} is a file: with several lengths name a folder, which gets a run file of each"
        )
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}, create it first")
    if not os.access(path if path.exists() else path.parent, os.R_OK | os.W_OK | os.X_OK):
        raise UsageError(f"{option} {path} cannot be written: Permission denied")
    if path.exists() and any(path.iterdir()) and not force:
        raise UsageError(f"{option} {path} is not empty: name another folder, or give --force to replace what is in it")


def check_csv(path: Path | None, *, json: bool, force: bool) -> None:
    """Raises UsageError if the CSV cannot go where `--csv` says: to a file or stdout."""
    if path is not None and path != STDOUT:
        check_writable(path, "--csv", force)
    elif path is not None and json:
        raise UsageError("--csv - and --json both write to stdout: leave one of them out, or give --csv a file")


def write_csv(texts: Mapping[Path, str], *, quiet: bool) -> None:
    """Writes the file of `--csv` and any beside it; after a long command, a failure is only noted."""
    try:
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        note(f"--csv {next(iter(texts))} could not be written: {error.strerror or error}")
    else:
        if not quiet:
            note(f"wrote {' and '.join(map(str, texts))}")


def version_line() -> str:
    """The versions of ssdprof and of the packages its figures depend on, without importing those."""
    from importlib.metadata import version

    return f"ssdprof {version('ssdprof')} (Triton {version('triton')}, PyTorch {version('torch')})"


class ProgressBar:
    """Shows what is happening, how far it is, the best config so far and the time left.

    On a terminal, a bar in one line. Elsewhere, plain lines: one when a phase begins, then at most one every 10 s, as
    `clock` counts them.
    """

    def __init__(
        self, *, quiet: bool = False, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or terminal(stderr=True)
        self._quiet = quiet
        self._clock = clock
        self._phase = ""
        self._noted_s = 0.0
        self._progress: Progress | None = None

    def __enter__(self) -> ProgressBar:
        """Shows the bar, on a terminal."""
        if not self._quiet and self._console.is_terminal:
            from rich.progress import BarColumn, Progress, TextColumn

            columns = BarColumn(bar_width=BAR_WIDTH), TextColumn("{task.description}", markup=False)
            self._progress = Progress(*columns, console=self._console, transient=True)
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
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

    def show(self, answer: RenderableType) -> None:
        """Prints what is known already to stdout, while the bar is away."""
        if self._progress is not None:
            self._progress.stop()
        show(answer)
        if self._progress is not None:
            self._progress.start()

    def _show(self, progress: Progress, event: Event) -> None:
        if event.phase != self._phase:  # a new task: the total of one cannot become unknown again
            for task in progress.task_ids:
                progress.remove_task(task)
            progress.add_task("", total=event.total or None)
        text = bar_text(event, self._console.width - BAR_WIDTH - 1)
        done = event.done if event.total else None  # None leaves what is there
        progress.update(progress.task_ids[0], description=text, completed=done, total=event.total or None)

    def _tell(self, event: Event) -> None:
        now_s = self._clock()
        if event.phase != self._phase:
            size = f" ({configs(event.total)})" if event.phase == "compiling" else ""
            note(f"{DOING[event.phase]}{size} …")
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
    """How far it is, the current config, the best so far and the time left, each if it is known."""
    parts = [f"{event.done}/{event.total}" if event.total else str(event.done or ""), event.config_id or ""]
    if event.best is not None and event.best.timing is not None:
        parts.append(f"best {event.best.timing.latency_ms:.3f} ms {event.best.config_id}")
    if event.eta_s is not None:
        minutes, seconds = divmod(round(event.eta_s), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    return " · ".join(part for part in parts if part)
