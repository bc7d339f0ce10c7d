"""How a run is named, the same wherever one is taken: a path, its number in `ssdprof runs`, last, recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ssdprof.kernels.registry import recorded_names
from ssdprof.profiling.runs.kept.folder import kept_files
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.runs.recorded import with_recorded
from ssdprof.profiling.runs.run_file import RunError
from ssdprof.profiling.runs.store import NONE_KEPT, RECORDED, latest_path, load_run

LAST = "last"
"""Instead of a path: the run that was kept last."""


def path_of(name: str | Path) -> Path:
    """The file of the run that is named so; a file of that path need not be there.

    `name`: a number counts from 1, the newest of the files in the data folder; `last` is the newest that holds a run;
    `recorded`, or `recorded:` and more, is one that ships with ssdprof; anything else, and any `Path`, is a path.
    Raises RunError for a number or a recorded run that there is not.
    """
    if isinstance(name, Path):
        return name
    if name == LAST:
        return latest_path()
    if is_recorded(name):
        shipped = recorded_names()
        if name not in shipped:
            raise RunError(f"{name} is no recorded run: those that ship with ssdprof are {', '.join(shipped)}")
        return shipped[name]
    if _is_number(name):
        return _numbered(name)
    if not name:
        raise RunError("a run's name is empty: give a path, a number that `ssdprof runs` prints, last or recorded")
    return Path(name)


def named_run(name: str | Path) -> Run:
    """The run that is named so, as it was kept. Raises RunError if there is none, or the file cannot be read."""
    return load_run(path_of(name))


def shown_run(name: str | Path) -> Run:
    """The same as a sweep gives it: of one that measured nothing, with latencies that are recorded elsewhere."""
    path = path_of(name)
    is_last = path in kept_files()[:1]
    return replace(with_recorded(load_run(path)), file="" if is_last else str(name))


def is_recorded(name: object) -> bool:
    """Whether that names a run that ships with ssdprof."""
    return isinstance(name, str) and (name == RECORDED or name.startswith(f"{RECORDED}:"))


def in_words(name: str | Path) -> str:
    """The run of that name within a sentence."""
    if is_recorded(name):
        return f"the recorded run {which}" if (which := str(name).partition(":")[2]) else "the recorded run"
    if name == LAST:
        return "the run kept last"
    return f"run {int(name)}" if isinstance(name, str) and _is_number(name) else f"the run in {name}"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _numbered(text: str) -> Path:
    files = kept_files()
    number = int(text) if len(text) < 10 else 0
    if 1 <= number <= len(files):
        return files[number - 1]
    if not files:
        raise RunError(f"run {text}: {NONE_KEPT}")
    those = f"numbers are 1 (the newest) to {len(files)}" if len(files) > 1 else "the only number is 1"
    raise RunError(f"run {text}: there is none of that number; {those}, as `ssdprof runs` lists them")
