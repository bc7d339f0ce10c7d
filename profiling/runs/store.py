"""Keeps runs and finds them again: in the user's data folder, a file that the user names, or shipped with ssdprof."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssdprof.profiling.runs.kept import index
from ssdprof.profiling.runs.kept.folder import SUFFIX, kept_files
from ssdprof.profiling.runs.kept.folder import runs_dir as runs_dir
from ssdprof.profiling.runs.model import Run, RunHeader
from ssdprof.profiling.runs.run_file import NoHeaderError, RunFile, check_free, first_header, parse_state
from ssdprof.profiling.runs.run_file import RunError as RunError
from ssdprof.profiling.runs.state import Record, RunState

RECORDED = "recorded"
"""Instead of a path: the recorded run that ships with ssdprof."""
NONE_KEPT = f"no run has been kept yet: run `ssdprof sweep` first, or name the run that ships with ssdprof, {RECORDED}"
NAMING = f"give a path, a number that `ssdprof runs` prints, last or {RECORDED}"


def new_run_path(header: RunHeader) -> Path:
    """A unique path for a new run, which sorts by date."""
    stamp = "".join(character for character in header.date if character.isalnum())
    space = re.sub(r"[^\w.-]+", "-", Path(header.space.partition(",")[0]).stem)
    return runs_dir() / f"{stamp}-{space}-{header.device.arch}-{os.getpid()}{SUFFIX}"


def load_state(path: Path) -> RunState:
    """What a run file holds, up to its last whole line. Raises RunError if it is missing or not a run file.

    Raises NoHeaderError if it is cut off before the end of its header.
    """
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        raise RunError(f"no run file {path}: `ssdprof sweep` keeps one; {NAMING}") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    return parse_state(text, str(path))


def load_run(path: Path) -> Run:
    """The run in a file, ranked. Raises RunError as `load_state` does."""
    return load_state(path).run()


def latest_run(fits: Callable[[RunHeader], bool] | None = None) -> Run:
    """The latest run that was kept, of those whose header fits. Raises RunError if there is none."""
    return load_run(latest_path(fits))


def latest_path(fits: Callable[[RunHeader], bool] | None = None) -> Path:
    """The file of that run. Raises RunError if there is none."""
    for path in kept_files():
        if fits is not None:
            if _header_fits(path, fits):
                return path
            continue
        with suppress(NoHeaderError, FileNotFoundError):  # it has just started, or the disk was full
            first_header(path)
            return path
    raise RunError(NONE_KEPT)


def resumable(header: RunHeader, path: Path | None) -> tuple[Path, RunState] | None:
    """The run to resume in a sweep that begins with `header`, in `path` or else the latest matching one kept.

    Gives its file and what that holds; None if there is nothing to resume: no such run, or a file that is missing,
    empty or cut off in its header. Raises RunError if the file does not hold a run or holds a different one, or if
    another ssdprof is writing it.
    """
    if path is None:
        path = next((one for one in kept_files() if _same(one, header)), None)
    if path is None or not path.exists():
        return None
    try:
        check_free(path)
        state = load_state(path)
    except NoHeaderError:
        return None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    check_resumable(path, state.header, header)
    return path, state


def check_resumable(path: Path, old: RunHeader, new: RunHeader) -> None:
    """Raises RunError if the run of `old`, in `path`, cannot be resumed by a sweep that begins with `new`."""
    if found := differences(old, new):
        raise RunError(
            f"{path} cannot be resumed: {'; '.join(found)}; a run is resumed only with the same kernel, problem, "
            "space, seed, baseline, GPU, driver and versions: leave --resume out, or name another file with -o"
        )


def differences(old: RunHeader, new: RunHeader) -> tuple[str, ...]:
    """In words, what keeps a sweep that begins with `new` from resuming the run of `old`.

    Empty if nothing does. Values that only the measuring worker knows, such as the copy bandwidth, are not compared;
    the ptxas is if both name one.
    """
    there, here = _identity(old), _identity(new)
    if old.ptxas and new.ptxas:
        there["ptxas"], here["ptxas"] = old.ptxas, new.ptxas
    return tuple(
        f"{name} {_words(there.get(name))} there, {_words(here.get(name))} here"
        for name in there | here
        if there.get(name) != here.get(name)
    )


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a run's file, in one line, and whether that is a warning; the file, if all is well.

    `is_latest`: whether that is the run that is taken if none is named.
    """

    line: str
    is_warning: bool
    path: Path | None = field(default=None, compare=False)
    is_latest: bool = field(default=True, compare=False)


class Keeper:
    """Appends each record it is called with to one file: `path`, or a new one in the data folder.

    A file at `path` is replaced unless the run in it is resumed. A full disk gives one warning and costs no results:
    records that could not be written go out before the next ones. `warn` hears what went wrong, in one line.
    """

    def __init__(self, path: Path | None, *, resumes: bool = False, warn: Callable[[str], None]) -> None:
        self.path = path
        self._resumes = self._holds_some = resumes
        self._warn = warn
        self._file: RunFile | None = None
        self._unwritten: list[Record] = []
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
        if self.path is not None and self.path.parent == runs_dir() and not self._failure:
            index.add(self.path, run)  # it is ranked here, and need not be read again to be listed
        if self._failure:
            kept = f"only the first part is kept in {self.path} ({self._failure})" if self._holds_some else ""
        else:
            kept = f"the results so far are kept in {self.path}"
        if run.header.interrupted or run.header.stopped:
            how = "interrupted" if run.header.interrupted else "gave up"
            return Kept(f"{how}; {f'{kept}; continue with --resume' if kept else 'nothing is kept'}", True)
        if self._failure:
            remedy = ": make room and measure the rest again with --resume"
            return Kept(f"{kept}{remedy}" if kept else "nothing is kept", True)
        which = "best, '#2' or any config above" if run.ranked else "any config above"
        is_latest = self.path is not None and kept_files()[:1] == [self.path.absolute()]
        return Kept(f"run kept in {self.path}; next: ssdprof explain {which}", False, self.path, is_latest)

    def _opened(self) -> RunFile:
        if self.path is None:
            self.path = new_run_path(next(one for one in self._unwritten if isinstance(one, RunHeader)))
        return RunFile(self.path, anew=not self._resumes)


def _same(path: Path, header: RunHeader) -> bool:
    """Whether a kept run matches `header`."""
    return _header_fits(path, lambda there: not differences(there, header))


def _header_fits(path: Path, fits: Callable[[RunHeader], bool]) -> bool:
    """Whether a kept run's header fits; read from its first line alone, since there may be many long files."""
    try:
        return fits(first_header(path))
    except (OSError, RunError):
        return False


def _identity(header: RunHeader) -> dict[str, Any]:
    """What must be equal before a run can be resumed, by name."""
    device = header.device
    return {
        "kernel": header.kernel,
        "kernel source": ", ".join(f"{variant} {of}".strip() for variant, of in header.kernel_hashes.items()),
        **{f"problem {name}": value for name, value in header.problem.items()},
        "space": header.space,
        "seed": header.seed,
        "baseline": header.baseline_id,
        "architecture": device.arch,
        "GPU": device.name,
        "UUID": device.uuid,
        "driver": device.driver,
        "Triton": header.triton,
        "PyTorch": _public_version(header.torch),
        "ssdprof": header.ssdprof,
    }


def _public_version(version: str | None) -> str | None:
    """The version without its local part: torch calls itself 2.13.0+cu130 in the worker, its package says 2.13.0."""
    return version.partition("+")[0] if version is not None else None


def _words(value: Any) -> str:
    return "none" if value is None else str(value)
