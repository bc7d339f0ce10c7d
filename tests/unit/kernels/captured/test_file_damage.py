"""A capture file that is not what was written is refused, in one line that names it and says what to do."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fake_captures
import pytest
from fake_captures import SEEN, launch, write

from ssdprof.kernels.captured.as_json import to_json
from ssdprof.kernels.captured.file import CaptureFileError, Reader, Writer, check, finish_broken, part_path, read
from ssdprof.kernels.captured.sections import BEGINNING, FIRST_LINE, HEADER_BYTES, header


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.capture"


def forge(path: Path, *sections: tuple[str, bytes]) -> None:
    """A file with any sections, whose checksums are sound."""
    last, parts = BEGINNING, [FIRST_LINE]
    for kind, data in sections:
        head, last = header(kind, hashlib.sha256(data).digest(), last.end + HEADER_BYTES, len(data), last)
        parts += [head, data]
    path.write_bytes(b"".join(parts))


def refused(path: Path) -> str:
    """The message with which a file is refused."""
    with pytest.raises(CaptureFileError) as error:
        check(path)
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    assert "Traceback" not in message
    return message


def test_a_file_cut_anywhere_is_refused(path: Path) -> None:
    write(path, b"some" * 8, b"more" * 8)
    whole = path.read_bytes()

    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert "again" in refused(path), size
        with pytest.raises(CaptureFileError):
            read(path)


def test_a_file_with_any_byte_changed_is_refused(path: Path) -> None:
    write(path, b"some" * 8)
    whole = path.read_bytes()

    for at in range(len(whole)):
        for flip in (1, 0x80, 0xFF):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
            refused(path)


def test_the_bytes_of_tensors_are_checked_when_they_are_asked_for(path: Path) -> None:
    digest = write(path, b"some" * 8).launches[0].storages[0].before
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"some", b"same", 1))

    assert 1 == len(read(path).launches)
    with Reader(path) as reader:
        for _ in range(2):
            with pytest.raises(
                CaptureFileError, match=r"run\.capture is damaged in the section at byte 98: copy it once"
            ):
                reader.blob(digest)


def test_a_file_that_becomes_shorter_while_it_is_open_is_refused(path: Path) -> None:
    digest = write(path, bytes(100_000)).launches[0].storages[0].before
    with Reader(path) as reader:
        os.truncate(path, 5000)
        with pytest.raises(CaptureFileError, match="was cut off while it was read"):
            reader.blob(digest)


def test_a_section_that_was_left_out_is_missed(path: Path) -> None:
    write(path, b"some" * 8, b"more" * 8)
    whole = path.read_bytes()
    second = whole.index(b"blob", whole.index(b"launch\0"))
    third = whole.index(b"launch\0", second)

    path.write_bytes(whole[:second] + whole[third:])
    assert "is damaged in the section at byte" in refused(path)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 and a lot more", "is not a capture file: it must begin with 'ssdprof capture 1'"),
        (b"ssdprof capture\n", "is not a capture file"),
        (b"ssdprof capture 12\n...", "has format 12, this ssdprof reads format 1: update ssdprof, or capture again"),
        (b"ssdprof capture 0\n...", "has format 0, this ssdprof reads format 1: capture again"),
        (FIRST_LINE, "has no end, as if the program that wrote it had been killed"),
        (FIRST_LINE + bytes(HEADER_BYTES), "is damaged in the section at byte 18"),
        (FIRST_LINE + header("blob", bytes(32), 90, 2**63, BEGINNING)[0], "is cut off after 98 bytes of at least 92"),
        (FIRST_LINE + header("launch", bytes(32), 90, 2**40, BEGINNING)[0], "is cut off"),
        (FIRST_LINE + header("other", bytes(32), 90, 0, BEGINNING)[0], "is damaged"),
    ],
)
def test_what_is_no_file_of_this_version_is_refused(path: Path, contents: bytes, message: str) -> None:
    path.write_bytes(contents)

    assert message in refused(path)


def test_bytes_after_the_end_are_refused(path: Path) -> None:
    write(path)
    with path.open("ab") as stream:
        stream.write(b"x")

    assert "goes on for 1 bytes after its end" in refused(path)


def test_what_cannot_be_opened_is_refused(path: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert "there is no file" in refused(path)
    assert "is not a regular file" in refused(tmp_path)
    assert "is not a regular file" in refused(tmp_path / "pipe")


SEEN_JSON = b'{"launches":[],"seen":[],"command":"","date":""}'


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ([("launch", b"{}"), ("end", b"")], "CapturedLaunch has no field name"),
        ([("launch", b"[" * 100_000)], "nested too deeply"),
        ([("launch", b"\xff")], "launch section that cannot be read"),
        (
            [("seen", b'{"launches":[],"seen":[],"command":"","date":"","more":1}')],
            "Captured has an unknown field more",
        ),
        ([("seen", b'{"launches":[],"seen":[],"command":NaN,"date":""}')], "NaN is not JSON"),
        ([("seen", b'{"launches":[],"seen":[],"command":' + b"1" * 5000 + b',"date":""}')], "cannot be read"),
        ([("seen", SEEN_JSON), ("seen", SEEN_JSON), ("end", b"")], "is damaged"),
        ([("seen", SEEN_JSON), ("blob", b"x"), ("end", b"")], "is damaged"),
        ([("end", b"")], "is damaged"),
    ],
)
def test_sections_with_sound_checksums_are_not_trusted(
    path: Path, sections: list[tuple[str, bytes]], message: str
) -> None:
    forge(path, *sections)

    assert message in refused(path)


def test_a_launch_that_does_not_fit_together_is_refused(path: Path) -> None:
    forge(path, ("launch", to_json(launch("a" * 64))), ("seen", SEEN_JSON), ("end", b""))

    assert "the bytes of storage 0 before are not there" in refused(path)


def test_whole_launches_are_saved_from_a_killed_program_wherever_it_was_killed(path: Path) -> None:
    whole = write(path, b"some" * 8, b"more" * 8, finish=False)
    part = part_path(path)
    left = part.read_bytes()
    ends = [left.index(b'"notes":[]}', start) + 11 for start in (0, left.index(b"more"))]

    for size in range(len(left) + 1):
        part.write_bytes(left[:size])
        count = sum(size >= end for end in ends)
        if not count:
            with pytest.raises(CaptureFileError, match="no whole launch is left in"):
                finish_broken(path)
            continue
        saved = finish_broken(path)
        assert whole.launches[:count] == saved.launches
        assert saved == check(path)
        assert not part.exists()
        path.unlink()


def test_a_copy_that_was_cut_off_is_ended_in_place(path: Path) -> None:
    whole = write(path, b"some" * 8, b"more" * 8)
    os.truncate(path, path.stat().st_size - 3)

    assert whole.launches == finish_broken(path).launches == check(path).launches
    assert whole.launches == finish_broken(path).launches


def test_a_file_that_was_ended_but_not_moved_is_moved(path: Path) -> None:
    expected = write(path, b"some" * 8)
    path.rename(part_path(path))

    assert expected == finish_broken(path) == check(path)
    assert not part_path(path).exists()


def test_a_part_that_is_being_written_is_not_taken_away(path: Path) -> None:
    with Writer(path) as writer:
        writer.add_launch(launch())
        with pytest.raises(CaptureFileError, match="another process is writing"):
            finish_broken(path)
        writer.finish((replace(SEEN, count=9),))

    assert 9 == check(path).seen[0].count


def test_a_process_killed_while_it_writes_leaves_whole_launches(path: Path) -> None:
    program = f"""
import itertools, os, pathlib, sys
sys.path.append({str(Path(fake_captures.__file__).parent)!r})
from fake_captures import launch
from ssdprof.kernels.captured.file import Writer
writer = Writer(pathlib.Path({str(path)!r}))
for number in itertools.count(1):
    data = os.urandom(1 << 20)
    writer.add_launch(launch(writer.add_blob(data), size=len(data), number=number))
    print(number, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "5\n":
                break
        process.kill()

    saved = finish_broken(path)
    assert 5 <= len(saved.launches)
    assert list(range(1, len(saved.launches) + 1)) == [one.number for one in saved.launches]
    assert saved == check(path)
