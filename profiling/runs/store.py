"""Where runs are kept and found again: the user's data folder, a file the user names, or those shipped with ssdprof."""

from __future__ import annotations

import os
import re
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
"""Instead of a path: the recorded run that ships with ssdprof."""
SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class Resumed:
    """A run to resume: its file, and what the file holds."""

    path: Path
    state: RunState


def runs_dir() -> Path:
    """Where runs are kept: `ssdprof/runs` in the platform's folder for user data."""
    return Path(platformdirs.user_data_dir("ssdprof", appauthor=False)) / "runs"


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
        raise RunError(f"no run file {path}: `ssdprof sweep` keeps one, or give another with --run") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    return parse_state(text, str(path))


def load_run(path: Path) -> Run:
    """The run in a file, ranked. Raises RunError as `load_state` does."""
    return load_state(path).run()


def latest_run() -> Run:
    """The latest run that was kept. Raises RunError if there is none."""
    for path in _kept():
        with suppress(NoHeaderError):  # it has just started, or the disk was full
            return load_run(path)
    raise RunError(
        f"no run has been kept yet: run `ssdprof sweep` first, or give --run {RECORDED} for the recorded one"
    )


def resumable(header: RunHeader, path: Path | None) -> Resumed | None:
    """The run to resume in a sweep that begins with `header`: the one in `path`, else the latest matching one kept.

    None if there is nothing to resume: no such run, or a file that is missing, empty or cut off in its header.
    Raises RunError if the file does not hold a run or holds a different one, or if another ssdprof is writing it.
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

    Empty if nothing does. Values that only the measuring worker knows, such as the copy bandwidth, are not compared.
    """
    there, here = _identity(old), _identity(new)
    names = [*there, *(name for name in here if name not in there)]
    return tuple(
        f"{name} {_words(there.get(name))} there, {_words(here.get(name))} here"
        for name in names
        if there.get(name) != here.get(name)
    )


def _kept() -> list[Path]:
    """The files in the data folder, latest run first."""
    return sorted(runs_dir().glob(f"*{SUFFIX}"), reverse=True)


def _same(path: Path, header: RunHeader) -> bool:
    """Whether a kept run matches `header`; judged by its first line, since there may be many long files."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return not differences(parse_state(file.readline(), str(path)).header, header)
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
