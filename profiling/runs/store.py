"""Where runs are kept and found again: in the user's data folder, in a file of one's own, or shipped with ssdprof."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from ssdprof.profiling.runs.model import Run, RunHeader
from ssdprof.profiling.runs.run_file import NoHeaderError, check_free, parse_state
from ssdprof.profiling.runs.run_file import RunError as RunError
from ssdprof.profiling.runs.state import RunState

RECORDED = "recorded"
"""In place of a path: the recorded run that ships with ssdprof."""
SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class Resumed:
    """A run that is resumed: its file, and what that held."""

    path: Path
    state: RunState


def runs_dir() -> Path:
    """Where runs are kept: `ssdprof/runs` in the platform's folder for user data."""
    return Path(platformdirs.user_data_dir("ssdprof", appauthor=False)) / "runs"


def new_run_path(header: RunHeader) -> Path:
    """A name of its own for a new run, which sorts by date."""
    stamp = "".join(character for character in header.date if character.isalnum())
    return runs_dir() / f"{stamp}-{Path(header.space).stem}-{header.device.arch}-{os.getpid()}{SUFFIX}"


def load_state(path: Path) -> RunState:
    """What a run file holds, up to its last whole line. Raises RunError where it is missing or no run file.

    NoHeaderError where it is cut off before the end of its header.
    """
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        raise RunError(f"no run file {path}: `ssdprof sweep` keeps one, or give another with --run") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    return parse_state(text, str(path))


def load_run(path: Path) -> Run:
    """The run in a file, ranked. Raises RunError as `load_state` does."""
    return load_state(path).run()


def latest_run() -> Run:
    """The run kept last. Raises RunError where there is none."""
    for path in _kept():
        with suppress(NoHeaderError):  # it was just begun, or there was no room for it
            return load_run(path)
    raise RunError(
        f"no run has been kept yet: run `ssdprof sweep` first, or give --run {RECORDED} for the recorded one"
    )


def resumable(header: RunHeader, path: Path | None) -> Resumed | None:
    """The run to go on with in a sweep that begins with `header`: the file's, or without one the last kept of the same.

    None where there is nothing to go on with: no such run, a file that is missing, empty or cut off in its header.
    Raises RunError where the file holds no run or one of something else, or where another ssdprof is writing it.
    """
    if path is None:
        path = next((one for one in _kept() if _same(one, header)), None)
    if path is None or not path.exists():
        return None
    try:
        check_free(path)
        state = load_state(path)
    except NoHeaderError:
        return None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    if found := differences(state.header, header):
        raise RunError(
            f"{path} cannot be resumed: {'; '.join(found)}; a run is resumed only with the same kernel, problem, "
            "space, seed, baseline, GPU, driver and versions: leave --resume out, or name another file with -o"
        )
    return Resumed(path, state)


def differences(old: RunHeader, new: RunHeader) -> tuple[str, ...]:
    """In words, what keeps a sweep that begins with `new` from resuming the run of `old`.

    Empty where nothing does. What only the measuring worker knows, such as the copy bandwidth, is not compared.
    """
    there, here = _identity(old), _identity(new)
    names = [*there, *(name for name in here if name not in there)]
    return tuple(
        f"{name} {_words(there.get(name))} there, {_words(here.get(name))} here"
        for name in names
        if there.get(name) != here.get(name)
    )


def _kept() -> list[Path]:
    """The files in the data folder, the run begun last first."""
    return sorted(runs_dir().glob(f"*{SUFFIX}"), reverse=True)


def _same(path: Path, header: RunHeader) -> bool:
    """Whether a kept run is of what `header` says; judged by its first line, since there may be many and long ones."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return not differences(parse_state(file.readline(), str(path)).header, header)
    except (OSError, RunError):
        return False


def _identity(header: RunHeader) -> dict[str, Any]:
    """By name, what must be equal before a run can be resumed."""
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
    """Without the local part: the worker's torch calls itself 2.13.0+cu130, its package 2.13.0."""
    return version.partition("+")[0] if version is not None else None


def _words(value: Any) -> str:
    return "none" if value is None else str(value)
