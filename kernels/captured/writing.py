"""Writing a capture file while the program runs; no torch, no triton."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

from ssdprof.kernels.captured.as_json import to_json
from ssdprof.kernels.captured.consistency import check_launch
from ssdprof.kernels.captured.model import Captured, CapturedLaunch, Seen
from ssdprof.kernels.captured.sections import (
    BEGINNING,
    FIRST_LINE,
    HEADER_BYTES,
    JSON_LIMIT_BYTES,
    CaptureFileError,
    Section,
    cannot_write,
    header,
    write_all,
)
from ssdprof.kernels.errors import UsageError

Buffer: TypeAlias = "bytes | bytearray | memoryview"
_PART_BYTES = 16 << 20
_INLINE_BYTES = 1 << 20
"""Up to so many bytes, a thread costs more than it saves."""


class TooLargeError(UsageError):
    """A file would grow beyond its limit: says which, and how much is needed."""

    def __init__(self, path: Path, limit_bytes: int, needed_bytes: int) -> None:
        self.limit_bytes, self.needed_bytes = limit_bytes, needed_bytes
        limit, needed = limit_bytes / (1 << 30), -(-needed_bytes * 100 // (1 << 30)) / 100
        super().__init__(f"{path} may take {limit:.2f} GiB and needs {needed:.2f}: raise the limit, or keep no data")


def part_path(path: Path) -> Path:
    """Where a file is until it is finished, beside its final place."""
    return path.with_name(path.name + ".part")


@dataclass(slots=True)
class _State:
    last: Section
    blobs: dict[str, int]


class Writer:
    """A capture file that is being written: beside `path` until it is finished, then at `path`, which it replaces.

    `limit_bytes`: the most that its blobs and what is between them may take. Use it as a context manager: what was not
    finished by the end is removed. Threads may share it; a forked child must leave it alone. Raises CaptureFileError if
    the file cannot be written, or if another process is writing it.
    """

    def __init__(self, path: Path, limit_bytes: int | None = None) -> None:
        self._begin(path, limit_bytes)
        try:
            self._cut()
            self._write(FIRST_LINE, 0)
        except CaptureFileError:
            self.discard()
            raise

    def _begin(self, path: Path, limit_bytes: int | None) -> None:
        self.path, self.limit_bytes = path, limit_bytes
        self._part = part_path(path)
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._thread = ThreadPoolExecutor(1, "ssdprof-hash")
        self._state = _State(BEGINNING, {})
        self._descriptor: int | None = _open_locked(path, self._part)

    @classmethod
    def going_on(cls, path: Path, sections: Iterable[Section], source: Path | None = None) -> Writer:
        """Goes on with the unfinished file of `path` after these of its sections, the first ones; the rest is cut off.

        `source`: the file to go on with instead, which is moved there. Raises CaptureFileError as for a new one, and
        OSError if `source` cannot be moved.
        """
        if source is not None:
            nobody_else = _open_locked(path, part_path(path))
            try:
                os.replace(source, part_path(path))
            finally:
                os.close(nobody_else)
        self = cls.__new__(cls)
        self._begin(path, None)
        whole = list(sections)
        blobs = {section.digest: section.size for section in whole if section.kind == "blob"}
        self._state = _State(whole[-1] if whole else BEGINNING, blobs)
        self._cut()
        return self

    def add_blob(self, data: Buffer) -> str:
        """Keeps these bytes and gives their name, the SHA-256 in hexadecimal digits; the same bytes are kept once.

        Raises TooLargeError beyond the limit, which leaves the file as it was, and CaptureFileError.
        """
        view = memoryview(data)
        view = view.cast("B") if view.nbytes else memoryview(b"")
        with self._lock:
            hashed = None
            if view.nbytes in self._state.blobs.values():
                hashed = hashlib.sha256(view).digest()
                if hashed.hex() in self._state.blobs:
                    return hashed.hex()
            parts = (view[start : start + _PART_BYTES] for start in range(0, view.nbytes, _PART_BYTES))
            return self._add_parts(parts, view.nbytes, hashed)

    def add_blob_parts(self, parts: Iterable[Buffer], size_bytes: int) -> str:
        """As `add_blob`, of `size_bytes` that come in parts; each is done with before the next is asked for.

        Raises ValueError if there are fewer or more bytes.
        """
        return self._add_parts(parts, size_bytes, None)

    def _add_parts(self, parts: Iterable[Buffer], size_bytes: int, hashed: bytes | None) -> str:
        with self._lock:
            self.ensure_room(size_bytes)
            with self.together():
                section = self._append("blob", parts, size_bytes, hashed)
                if section.digest not in self._state.blobs:
                    self._state.last = section
                    self._state.blobs[section.digest] = section.size
                else:
                    self._cut()
            return section.digest

    def add_launch(self, launch: CapturedLaunch) -> None:
        """Keeps a launch whose blobs are all there. Raises ValueError if they are not, or if it contradicts itself."""
        with self._lock:
            check_launch(launch, self._state.blobs)
            self._add_json("launch", launch)

    def finish(self, seen: Iterable[Seen] = (), command: str = "", date: str = "") -> None:
        """Ends the file and moves it to its place. Raises CaptureFileError if that fails; then the file is removed."""
        with self._lock:
            try:
                self._add_json("seen", Captured((), tuple(seen), command, date))
                self._state.last = self._append("end", (), 0)
                os.replace(self._part, self.path)
                self._close()
            except OSError as error:
                self.discard()
                raise cannot_write(self.path, error) from error
            except BaseException:
                self.discard()
                raise

    def discard(self) -> None:
        """Removes the file if it is not finished."""
        with self._lock:
            if self._descriptor is not None and os.getpid() == self._process:
                with suppress(OSError):
                    self._part.unlink()
            with suppress(OSError):
                self._close()

    def has_blob(self, digest: str) -> bool:
        """Whether a blob of this name is there."""
        return digest in self._state.blobs

    def ensure_room(self, size_bytes: int) -> None:
        """Raises TooLargeError if so many bytes more are beyond the limit."""
        needed = self._state.last.end + size_bytes
        if self.limit_bytes is not None and needed > self.limit_bytes:
            raise TooLargeError(self.path, self.limit_bytes, needed)

    @contextmanager
    def together(self) -> Iterator[None]:
        """All that is added inside is kept, or nothing if an exception leaves it."""
        with self._lock:
            before = _State(self._state.last, dict(self._state.blobs))
            try:
                yield
            except BaseException:
                self._state = before
                with suppress(CaptureFileError):
                    self._cut()
                raise

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def _add_json(self, kind: str, value: Any) -> None:
        data = to_json(value)
        if len(data) > JSON_LIMIT_BYTES:
            raise ValueError(
                f"what is kept of a {kind} besides its data has {len(data)} bytes: {JSON_LIMIT_BYTES} at most"
            )
        with self.together():
            self._state.last = self._append(kind, (data,), len(data))

    def _append(self, kind: str, parts: Iterable[Buffer], size_bytes: int, known: bytes | None = None) -> Section:
        """Writes a section after the last one: its header last of all, so that it is whole or not there.

        `known`: the payload's SHA-256, if it is.
        """
        start = offset = self._state.last.end + HEADER_BYTES
        hashed = hashlib.sha256()
        for part in parts:
            view = memoryview(part)
            offset += view.nbytes
            if offset > start + size_bytes:
                raise ValueError(f"a blob of {size_bytes} bytes comes in parts of more")
            wait = self._hash(hashed.update, view) if known is None else _nothing
            try:
                self._write(view, offset - view.nbytes)
            finally:
                wait()
        if offset != start + size_bytes:
            raise ValueError(f"a blob of {size_bytes} bytes comes in parts of {offset - start}")
        head, section = header(kind, known or hashed.digest(), start, size_bytes, self._state.last)
        self._write(head, start - HEADER_BYTES)
        return section

    def _hash(self, update: Callable[[memoryview], None], view: memoryview) -> Callable[[], Any]:
        """Begins to hash and gives what waits for it."""
        if view.nbytes > _INLINE_BYTES:
            with suppress(RuntimeError):  # no threads any more: the interpreter is shutting down
                return self._thread.submit(update, view).result
        update(view)
        return _nothing

    def _cut(self) -> None:
        """Cuts off what is after the last section."""
        try:
            os.ftruncate(self._open(), self._state.last.end)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _write(self, data: memoryview | bytes, offset: int) -> None:
        try:
            write_all(self._open(), data, offset)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _open(self) -> int:
        if self._descriptor is None:
            raise CaptureFileError(f"{self.path} is finished or was discarded: begin another file")
        if os.getpid() != self._process:
            raise CaptureFileError(f"{self.path} belongs to process {self._process}: a forked child needs its own file")
        return self._descriptor

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            if os.getpid() == self._process:
                self._thread.shutdown()
            os.close(descriptor)


def _nothing() -> None:
    """Waits for nothing."""


def _open_locked(path: Path, part: Path) -> int:
    """A descriptor of the unfinished file, which no other process has as long as it is open."""
    if path.is_dir():
        raise CaptureFileError(f"cannot write {path}: it is a folder: name a file")
    try:
        while True:
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                _lock(descriptor, path)
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(descriptor), part.stat()):
                        return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # whoever had it has just finished or removed it
    except OSError as error:
        raise cannot_write(path, error) from error


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CaptureFileError(f"another process is writing {path}: wait for it, or name another file") from None
    except OSError:
        return  # a file system without locks
