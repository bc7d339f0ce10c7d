"""What is done with runs that are there already, as functions: list, remove, find and show. Nothing is measured.

Functions import what they need when called, so importing this module stays quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ssdprof.kernels.errors import UsageError

if TYPE_CHECKING:
    from ssdprof.profiling.runs.kept.listed import KeptRun
    from ssdprof.profiling.runs.model import Run


def kept_runs(names: Sequence[str] = ()) -> tuple[KeptRun, ...]:
    """The kept runs, newest first: all, or those with these names. Raises UsageError for a name of none of them."""
    from ssdprof.profiling.runs.kept.listed import kept_runs

    return kept_runs(names)


def remove(names: Sequence[str], prune: int | None = None, older_than_days: float | None = None) -> tuple[Path, ...]:
    """Removes kept runs: those with these names, or all but the newest `prune`, or those begun longer ago; their files.

    Raises UsageError for names of none, and if it is not said which, or twice.
    """
    from ssdprof.profiling.runs.kept import listed

    if sum([bool(names), prune is not None, older_than_days is not None]) != 1:
        raise UsageError("which runs to remove is said in one way: by --remove RUN…, --prune N or --older-than DAYS")
    if prune is not None:
        if prune < 0:
            raise UsageError(f"--prune must be 0 or more runs to keep, got {prune}")
        return listed.keep_newest(prune)
    if older_than_days is not None:
        if not 0 <= older_than_days < 100_000:
            raise UsageError(f"--older-than must be 0 to 100000 days, got {older_than_days:g}")
        return listed.remove_older(older_than_days)
    return listed.remove(names)


def run_names() -> tuple[str, ...]:
    """What names a run here, besides a path: last and the numbers of those that are kept, and the recorded ones."""
    from ssdprof.kernels.registry import recorded_names
    from ssdprof.profiling.runs.kept.folder import kept_files
    from ssdprof.profiling.runs.kept.named import LAST

    numbers = [str(number) for number in range(1, len(kept_files()) + 1)]
    return *([LAST] if numbers else []), *numbers, *recorded_names()


def load(name: str | Path) -> Run:
    """The run with that name, ranked, as `sweep` gave it. Raises UsageError if there is none, or it cannot be read.

    `name`: a path, a number that `ssdprof runs` prints, "last", or "recorded" for the one that ships with ssdprof.
    """
    from ssdprof.profiling.runs.kept.named import shown_run

    return shown_run(name)


def origin(run: Run, name: str | Path) -> str:
    """In a line: which run that is, when it was begun, and where it was measured."""
    from ssdprof.profiling.runs.kept.named import in_words

    header = run.header
    words, when = in_words(name), header.date[:16].replace("T", " ")
    device = header.device
    where = f"measured on {device.name}" if device.name else f"compiled for {device.arch}, not measured"
    driver = f", driver {device.driver}" if device.driver else ""
    return f"{words[0].upper()}{words[1:]}, of {when}, {where}{driver}, Triton {header.triton}"
