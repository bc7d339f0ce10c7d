"""The sections of a capture file: a line that says what it is, then headers and payloads; no torch, no triton.

A header has the section's kind, the size of its payload, the payload's SHA-256, and a checksum over these and over the
header before it, so a section that was changed, moved or left out is found without reading any payload.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path

from ssdprof.kernels.errors import UsageError

FORMAT = 1
"""The version of the file format."""
FIRST_LINE = b"ssdprof capture %d\n" % FORMAT
JSON_LIMIT_BYTES = 256 << 20
"""The largest section that is not a blob: sources and numbers take far less."""
_START = FIRST_LINE.split(b"%d" % FORMAT)[0]
_FIELDS = struct.Struct("<8sQ32s")
_CHECKSUM_BYTES = 32
HEADER_BYTES = _FIELDS.size + _CHECKSUM_BYTES
KINDS = ("blob", "launch", "seen", "end")
AGAIN = "copy it once more from where it was captured, or capture again"


class CaptureFileError(UsageError):
    """A capture file that cannot be written or read: names the file, what is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a file: the SHA-256 of its payload in hexadecimal digits, and where the payload is, in bytes.

    `chain`: the checksum of its header, which the next one's covers.
    """

    kind: str
    digest: str
    start: int
    size: int
    chain: bytes

    @property
    def end(self) -> int:
        """Where the next section's header begins."""
        return self.start + self.size


@dataclass(slots=True)
class Sections:
    """The sections of a file that are whole, in order, and what is wrong after them: None if nothing is.

    Payloads are not looked at.
    """

    whole: list[Section] = field(default_factory=list)
    problem: CaptureFileError | None = None


BEGINNING = Section("", "", len(FIRST_LINE), 0, hashlib.sha256(FIRST_LINE).digest())
"""Stands for what is before the first section."""


def header(kind: str, digest: bytes, start: int, size: int, before: Section) -> tuple[bytes, Section]:
    """The header of a section whose payload begins at `start`, and the section."""
    fields = _FIELDS.pack(kind.encode(), size, digest)
    chain = hashlib.sha256(before.chain + fields).digest()
    return fields + chain, Section(kind, digest.hex(), start, size, chain)


def open_to_read(path: Path) -> int:
    """A descriptor of a regular file. Raises CaptureFileError if there is none, or if it may not be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
    except FileNotFoundError:
        raise CaptureFileError(f"there is no file {path}: name one that was captured") from None
    except OSError as error:
        raise CaptureFileError(f"cannot read {path}: {error.strerror}: name a file that you may read") from error
    raise CaptureFileError(f"{path} is not a regular file: name one that was captured")


def scan(descriptor: int, path: Path) -> Sections:
    """The sections of an open file, up to the first that is not whole; `path` is for messages."""
    found = Sections()
    try:
        _scan(descriptor, path, found)
    except CaptureFileError as error:
        found.problem = error
    return found


def _scan(descriptor: int, path: Path, found: Sections) -> None:
    size = os.fstat(descriptor).st_size
    _check_first_line(os.pread(descriptor, 64, 0), path)
    last = BEGINNING
    while last.kind != "end":
        if last.end == size:
            raise CaptureFileError(f"{path} has no end, as if the program that wrote it had been killed: capture again")
        if last.end + HEADER_BYTES > size:
            raise CaptureFileError(f"{path} is cut off after {size} bytes: {AGAIN}")
        section = _section(os.pread(descriptor, HEADER_BYTES, last.end), last)
        if section is None:
            raise damaged(path, last.end)
        if section.end > size:
            raise CaptureFileError(f"{path} is cut off after {size} bytes of at least {section.end}: {AGAIN}")
        found.whole.append(section)
        last = section
    if last.end != size:
        raise CaptureFileError(f"{path} goes on for {size - last.end} bytes after its end: {AGAIN}")


def _check_first_line(start: bytes, path: Path) -> None:
    if not start:
        raise CaptureFileError(f"{path} is empty: {AGAIN}")
    if start.startswith(FIRST_LINE):
        return
    if FIRST_LINE.startswith(start):
        raise CaptureFileError(f"{path} is cut off after {len(start)} bytes: {AGAIN}")
    version, newline, _ = start.removeprefix(_START).partition(b"\n")
    if start.startswith(_START) and newline and version.isdigit():
        written = int(version)
        way_out = "update ssdprof, or capture again" if written > FORMAT else "capture again"
        raise CaptureFileError(f"{path} has format {written}, this ssdprof reads format {FORMAT}: {way_out}")
    raise CaptureFileError(f"{path} is not a capture file: it must begin with {FIRST_LINE.decode().strip()!r}")


def _section(head: bytes, before: Section) -> Section | None:
    if len(head) != HEADER_BYTES:
        return None
    kind, size, digest = _FIELDS.unpack_from(head)
    name = kind.rstrip(b"\0").decode("latin-1")
    if name not in KINDS:
        return None
    again, section = header(name, digest, before.end + HEADER_BYTES, size, before)
    return section if again == head else None


def payload(descriptor: int, section: Section, path: Path) -> bytes:
    """The payload of a section that is not a blob. Raises CaptureFileError if it was changed."""
    if section.size > JSON_LIMIT_BYTES:
        raise damaged(path, section.start)
    data = os.pread(descriptor, section.size, section.start)
    if hashlib.sha256(data).hexdigest() != section.digest:
        raise damaged(path, section.start)
    return data


def damaged(path: Path, at: int) -> CaptureFileError:
    """The error of a file whose bytes are not those that were written."""
    return CaptureFileError(f"{path} is damaged in the section at byte {at}: {AGAIN}")


def cannot_write(path: Path, error: OSError) -> CaptureFileError:
    """The error of a file that the operating system does not let be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    way_out = "free some space, or name a file on another disk" if full else "name a file that you may write"
    return CaptureFileError(f"cannot write {path}: {error.strerror}: {way_out}")


def write_all(descriptor: int, data: memoryview | bytes, offset: int) -> None:
    """Writes all bytes at `offset`."""
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count
