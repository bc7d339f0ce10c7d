"""The kept runs, newest first, each in short; and removing some of them.

What reads whole runs is imported only once a file must be read: a list of runs that are noted takes no time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ssdprof.kernels.errors import UsageError
from ssdprof.profiling.runs.kept import index
from ssdprof.profiling.runs.kept.folder import kept_files, runs_dir
from ssdprof.profiling.runs.kept.index import Entry, Summary, entry_of, is_of

if TYPE_CHECKING:
    from datetime import datetime

KeptState = Literal["done", "interrupted", "gave up", "running", "unreadable"]


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A kept run in short. `number`: counted from 1, the newest. `error`: why its file cannot be read, else empty."""

    number: int
    path: Path
    size_bytes: int
    state: KeptState
    summary: Summary | None
    error: str = ""


def kept_runs(names: Sequence[str] = ()) -> tuple[KeptRun, ...]:
    """The kept runs with these names, or all, newest first. Raises UsageError for a name of none of them."""
    files = kept_files()
    wanted = {_kept_path(name, files) for name in names}
    before = index.noted(runs_dir())
    entries = {path.name: before[path.name] for path in files if path.name in before}
    found = [
        _listed(number, path, entries)
        for number, path in enumerate(files, 1)
        if (not names or path in wanted) and path.exists()
    ]
    if entries != before:
        index.note(runs_dir(), entries)
    return tuple(found)


def remove(names: Sequence[str]) -> tuple[Path, ...]:
    """Removes the kept runs with these names, all or none; their files. Raises UsageError.

    Only what is in the data folder is removed, and nothing that is being written.
    """
    from ssdprof.profiling.runs.run_file import check_free

    files = kept_files()
    paths = list(dict.fromkeys(_kept_path(name, files) for name in names))
    for path in paths:
        with suppress(OSError):  # it is said when it is to be removed
            check_free(path)
    return _unlinked(paths)


def keep_newest(number: int) -> tuple[Path, ...]:
    """Removes all but so many of the newest; the removed files. Those that are being written stay."""
    return _unlinked(path for path in kept_files()[number:] if not _is_busy(path))


def remove_older(days: float) -> tuple[Path, ...]:
    """Removes those that were begun longer ago; the removed files. Those that are being written stay."""
    from datetime import datetime, timedelta, timezone

    begun = datetime.now(timezone.utc) - timedelta(days=days)
    return _unlinked(path for path in kept_files() if _begun(path) < begun and not _is_busy(path))


def _listed(number: int, path: Path, entries: dict[str, Entry]) -> KeptRun:
    """The run in that file; what is not noted of it in `entries` is read, and added there."""
    try:
        size_bytes = path.stat().st_size
        entry = entries.get(path.name)
        if entry is None or not is_of(entry, path):
            from ssdprof.profiling.runs.store import load_run

            entry = entries[path.name] = entry_of(path, load_run(path))
    except (OSError, UsageError) as error:
        entries.pop(path.name, None)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return KeptRun(number, path, 0, "unreadable", None, reason)
    return KeptRun(number, path, size_bytes, _state(path, entry.summary), entry.summary)


def _state(path: Path, summary: Summary) -> KeptState:
    if summary.stopped:
        return "gave up"
    if not summary.interrupted:
        return "done"
    return "running" if _is_busy(path) else "interrupted"


def _kept_path(name: str, files: Sequence[Path]) -> Path:
    """The file in the data folder that is named so."""
    from ssdprof.profiling.runs.kept.named import is_recorded, path_of

    if is_recorded(name):
        raise UsageError(f"{name} ships with ssdprof and is not among the kept runs: `ssdprof runs` lists those")
    path = path_of(name)
    found = next((one for one in files if one == path or one.resolve() == path.resolve()), None)
    if found is None:
        raise UsageError(
            f"{name} is no kept run: name one by the number that `ssdprof runs` prints, or by its file in {runs_dir()}"
        )
    return found


def _unlinked(paths: Iterable[Path]) -> tuple[Path, ...]:
    removed = []
    for path in paths:
        try:
            path.unlink()
        except FileNotFoundError:
            continue  # another process was faster
        except OSError as error:
            raise UsageError(f"{path} cannot be removed: {error.strerror or error}") from error
        removed.append(path)
    return tuple(removed)


def _is_busy(path: Path) -> bool:
    from ssdprof.profiling.runs.run_file import check_free

    try:
        check_free(path)
    except UsageError:
        return True
    except OSError:
        return False
    return False


def _begun(path: Path) -> datetime:
    """When the run was begun, by its header; of a file without one, when it was written."""
    from datetime import datetime, timezone

    from ssdprof.profiling.runs.run_file import first_header

    try:
        begun = datetime.fromisoformat(first_header(path).date)
    except (OSError, ValueError, UsageError):
        begun = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
    return begun if begun.tzinfo else begun.replace(tzinfo=timezone.utc)
