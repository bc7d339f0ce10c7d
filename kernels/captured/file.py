"""Capture files: what `Writer` wrote is read, checked, saved from a killed program, and put together.

Nothing in a file is executed when it is read: it has numbers, texts and bytes. No torch, no triton.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from ssdprof.kernels.captured.as_json import from_json
from ssdprof.kernels.captured.consistency import check_launch, digests
from ssdprof.kernels.captured.model import Captured, CapturedLaunch, Seen
from ssdprof.kernels.captured.sections import (
    AGAIN,
    CaptureFileError,
    Section,
    cannot_write,
    damaged,
    open_to_read,
    payload,
    scan,
)
from ssdprof.kernels.captured.writing import TooLargeError, Writer, part_path

__all__ = [
    "CaptureFileError",
    "Reader",
    "TooLargeError",
    "Writer",
    "check",
    "finish_broken",
    "merge",
    "part_path",
    "read",
]


def read(path: Path) -> Captured:
    """What a file has, without the bytes of its tensors: quick however large it is.

    Raises CaptureFileError for a file that is cut off, damaged in what is read, of another kind or of another version.
    """
    return _load_whole(path).captured


def check(path: Path) -> Captured:
    """What a file has, after every byte of it was checked. Raises CaptureFileError as `read` does."""
    with Reader(path) as reader:
        for digest in reader.blobs:
            reader.blob(digest)
        return reader.captured


class Reader:
    """A file that is open for the bytes of its tensors; a context manager. Raises CaptureFileError as `read` does.

    `captured`: what it has besides. `blobs`: the size of each blob in bytes, by digest.
    """

    def __init__(self, path: Path) -> None:
        contents = _load_whole(path)
        self.captured = contents.captured
        self.blobs = {digest: section.size for digest, section in contents.blobs.items()}
        self._blobs = _Blobs(contents)

    def blob(self, digest: str) -> memoryview:
        """The bytes of a blob, read-only and mapped from the file; checked when they are first asked for.

        Raises KeyError for one that the file does not have, CaptureFileError if it was changed.
        """
        return self._blobs[digest]

    def close(self) -> None:
        """Closes the file; what is still in use of its bytes stays mapped."""
        self._blobs.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def finish_broken(path: Path) -> Captured:
    """Ends the file of a program that was killed, keeps its whole launches, and gives what it has; none were counted.

    `path` is where the file would have been; if only its unfinished part is there, it becomes the file. A file that is
    whole stays as it is. Raises CaptureFileError if there is no whole launch, or as `Writer` does.
    """
    part = part_path(path)
    source = part if part.exists() else path
    contents = _load(source)
    if contents.problem is None:
        with suppress(FileNotFoundError):  # it is at its place
            os.replace(part, path)
        return contents.captured
    last = max((i for i, section in enumerate(contents.sections) if section.kind == "launch"), default=None)
    if last is None:
        raise CaptureFileError(f"no whole launch is left in {source}: {contents.problem}")
    try:
        writer = Writer.going_on(path, contents.sections[: last + 1], None if source == part else path)
    except OSError as error:
        raise cannot_write(path, error) from error
    with writer:
        writer.finish()
    return read(path)


def merge(
    parts: Iterable[Path], path: Path, choose: Callable[[Captured], Captured] | None = None
) -> tuple[Captured, tuple[str, ...]]:
    """Puts the files of several processes together at `path` and removes them; gives what it wrote, and what was wrong.

    Kernels seen by several processes with the same shapes are counted together. Of parts that are unfinished or
    damaged, the whole launches are taken, and a line says so. `choose`: gets all there is, and says which launches,
    kernels, command and date are written; the bytes of other launches are left out. The parts stay if a launch could
    not be copied. Raises CaptureFileError if `path` cannot be written.
    """
    pieces = [_load(part) for part in parts]
    wrong = [
        f"an incomplete part has {len(piece.captured.launches)} whole launches: {piece.problem}"
        for piece in pieces
        if piece.problem is not None
    ]
    everything = _together([piece.captured for piece in pieces])
    wanted = everything if choose is None else choose(everything)
    where = {section.digest: piece for piece in pieces for section in piece.blobs.values()}
    writer, there = _begin(pieces, wanted, path)
    with writer:
        for launch in wanted.launches:
            if id(launch) in there:
                continue
            try:
                with writer.together():
                    for digest in digests(launch):
                        _copy(digest, where[digest], writer)
                    writer.add_launch(launch)
            except CaptureFileError as error:
                wrong.append(f"a launch of {launch.name} is left out, the parts are still there: {error}")
        writer.finish(wanted.seen, wanted.command, wanted.date)
    if not any("left out" in line for line in wrong):
        for piece in pieces:
            if piece.path != path:
                with suppress(OSError):
                    piece.path.unlink()
    return read(path), tuple(wrong)


@dataclass(frozen=True, slots=True)
class _Contents:
    """What was read of a file: its sections as far as they are whole, what they have, and what is wrong after them."""

    path: Path
    sections: list[Section]
    captured: Captured
    problem: CaptureFileError | None

    @property
    def blobs(self) -> dict[str, Section]:
        return {section.digest: section for section in self.sections if section.kind == "blob"}


class _Blobs:
    """The blobs of a file, mapped into memory and checked when they are first asked for; a context manager."""

    def __init__(self, contents: _Contents) -> None:
        self._path, self._sections = contents.path, contents.blobs
        self._checked: set[str] = set()
        self._descriptor = open_to_read(self._path)
        try:
            self._view = memoryview(mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:
            os.close(self._descriptor)
            raise CaptureFileError(f"cannot map {self._path} into memory: {error}: {AGAIN}") from error

    def __getitem__(self, digest: str) -> memoryview:
        section = self._sections[digest]
        # A file that has become shorter would end the process.
        if os.fstat(self._descriptor).st_size < section.end:
            raise CaptureFileError(f"{self._path} was cut off while it was read: {AGAIN}")
        view = self._view[section.start : section.end]
        if digest not in self._checked:
            if hashlib.sha256(view).hexdigest() != digest:
                raise damaged(self._path, section.start)
            self._checked.add(digest)
        return view

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> _Blobs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _load_whole(path: Path) -> _Contents:
    contents = _load(path)
    if contents.problem is not None:
        raise contents.problem
    return contents


def _load(path: Path) -> _Contents:
    """What can be read of a file, up to the first section that cannot."""
    try:
        descriptor = open_to_read(path)
    except CaptureFileError as error:
        return _Contents(path, [], Captured((), ()), error)
    try:
        found = scan(descriptor, path)
        sections, problem = found.whole, found.problem
        blobs: dict[str, int] = {}
        launches: list[CapturedLaunch] = []
        last: Captured | None = None
        sound: list[Section] = []
        try:
            for section in sections:
                if (last is None) == (section.kind == "end"):
                    raise damaged(path, section.start)
                if section.kind == "blob":
                    blobs[section.digest] = section.size
                elif section.kind == "launch":
                    launch = from_json(CapturedLaunch, payload(descriptor, section, path))
                    check_launch(launch, blobs)
                    launches.append(launch)
                elif section.kind == "seen":
                    last = from_json(Captured, payload(descriptor, section, path))
                sound.append(section)
        except (CaptureFileError, ValueError) as error:
            sections, problem = sound, _named(error, path, sections[len(sound)])
    finally:
        os.close(descriptor)
    return _Contents(path, sections, replace(last or Captured((), ()), launches=tuple(launches)), problem)


def _named(error: CaptureFileError | ValueError, path: Path, section: Section) -> CaptureFileError:
    if isinstance(error, CaptureFileError):
        return error
    return CaptureFileError(f"{path} has a {section.kind} section that cannot be read: {error}: capture again")


def _begin(pieces: list[_Contents], wanted: Captured, path: Path) -> tuple[Writer, set[int]]:
    """Begins the file that parts are put into, and says by `id` which launches it has already.

    The largest part is moved there if all of it is wanted, so that its bytes need not be written again.
    """
    ids = {id(launch) for launch in wanted.launches}
    for piece in sorted(pieces, key=lambda piece: -piece.path.stat().st_size if piece.sections else 0)[:1]:
        launches = {id(launch) for launch in piece.captured.launches}
        needed = {digest for launch in piece.captured.launches for digest in digests(launch)}
        if launches and launches <= ids and needed == piece.blobs.keys() and piece.problem is None:
            with suppress(OSError):  # the part is on another disk
                return Writer.going_on(path, piece.sections[:-2], piece.path), launches
    return Writer(path), set()


def _copy(digest: str, piece: _Contents, writer: Writer) -> None:
    if not writer.has_blob(digest):
        with _Blobs(piece) as blobs:
            writer.add_blob(blobs[digest])


def _together(parts: list[Captured]) -> Captured:
    """What is in several files; the same kernel with the same shapes is counted as one."""
    seen: dict[tuple[str, str, str], Seen] = {}
    for one in (one for part in parts for one in part.seen):
        key = (one.name, one.source, one.shapes)
        seen[key] = _sum(seen[key], one) if key in seen else one
    launches = tuple(launch for part in parts for launch in part.launches)
    command = next((part.command for part in parts if part.command), "")
    return Captured(launches, tuple(seen.values()), command, next((part.date for part in parts if part.date), ""))


def _sum(a: Seen, b: Seen) -> Seen:
    total = None if a.total_ms is None or b.total_ms is None else a.total_ms + b.total_ms
    first = min(a.first_number, b.first_number)
    return replace(a, count=a.count + b.count, total_ms=total, first_number=first, why_not=a.why_not and b.why_not)
