"""A capture file gives back what was written, whole or not at all."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_captures import launch, write

from ssdprof.kernels.captured.file import CaptureFileError, Reader, TooLargeError, Writer, check, part_path, read


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.capture"


def test_what_was_written_is_read(path: Path) -> None:
    expected = write(path, bytes(range(32)), b"a" * 64)

    assert expected == read(path) == check(path)
    with Reader(path) as reader:
        assert bytes(range(32)) == reader.blob(expected.launches[0].storages[0].before)
        assert b"a" * 64 == reader.blob(expected.launches[1].storages[0].before)
    assert [path] == list(path.parent.iterdir())


def test_bytes_stay_readable_and_unchanged_after_the_reader_is_closed(path: Path) -> None:
    digest = write(path, b"a" * 32).launches[0].storages[0].before
    with Reader(path) as reader:
        view = reader.blob(digest)

    assert b"a" * 32 == view
    with pytest.raises(TypeError, match="read-only"):
        view[0] = 1


def test_the_same_bytes_are_kept_once(path: Path) -> None:
    data = os.urandom(1 << 20)
    with Writer(path) as writer:
        first = writer.add_blob(data)
        again = [writer.add_blob(bytearray(data)), writer.add_blob_parts((data[:9], data[9:]), len(data))]
        writer.finish()

    assert [first] * 2 == again
    assert path.stat().st_size < len(data) + 2000


def test_a_large_blob_is_hashed_as_it_is(path: Path) -> None:
    data = os.urandom(5 << 20) * 8
    with Writer(path) as writer:
        digest = writer.add_blob(memoryview(data))
        writer.finish()

    with Reader(path) as reader:
        assert {digest: len(data)} == reader.blobs
        assert data == reader.blob(digest)


def test_other_bytes_of_the_same_size_are_another_blob(path: Path) -> None:
    with Writer(path) as writer:
        digests = [writer.add_blob(byte * 40) for byte in (b"a", b"b", b"a")]
        writer.finish()

    check(path)
    with Reader(path) as reader:
        assert [b"a" * 40, b"b" * 40, b"a" * 40] == [reader.blob(digest) for digest in digests]


def test_an_empty_blob_is_a_blob(path: Path) -> None:
    with Writer(path) as writer:
        digest = writer.add_blob(b"")
        writer.finish()

    check(path)
    with Reader(path) as reader:
        assert b"" == reader.blob(digest)


@pytest.mark.parametrize("size", [7, 9])
def test_parts_of_another_size_leave_the_file_as_it_was(path: Path, size: int) -> None:
    with Writer(path) as writer:
        with pytest.raises(ValueError, match="parts of"):
            writer.add_blob_parts((b"1234", b"5678"), size)
        writer.add_launch(launch(writer.add_blob(b"b" * 32)))
        writer.finish()

    assert 1 == len(check(path).launches)


def test_an_old_file_is_there_until_the_new_one_is_finished(path: Path) -> None:
    path.write_text("old")
    with Writer(path) as writer:
        writer.add_launch(launch())
        assert "old" == path.read_text()
        writer.finish()

    assert (launch(),) == read(path).launches


def test_what_is_not_finished_is_removed(path: Path) -> None:
    with Writer(path) as writer:
        writer.add_blob(b"some")
        assert [part_path(path)] == list(path.parent.iterdir())

    assert [] == list(path.parent.iterdir())


def test_a_launch_is_kept_with_all_its_blobs_or_not_at_all(path: Path) -> None:
    with Writer(path, limit_bytes=2000) as writer:
        kept = launch(writer.add_blob(b"k" * 32))
        writer.add_launch(kept)
        try:
            with writer.together():
                left_out = writer.add_blob(b"x" * 40)
                writer.add_blob(b"y" * 4000)
        except TooLargeError:
            assert not writer.has_blob(left_out)
        writer.finish()

    with Reader(path) as reader:
        assert (kept,) == reader.captured.launches
        assert [32] == list(reader.blobs.values())


def test_a_blob_beyond_the_limit_says_the_limit_and_the_need(path: Path) -> None:
    with Writer(path, limit_bytes=1 << 20) as writer:
        with pytest.raises(TooLargeError, match=r"0\.00 GiB and needs 0\.01: raise the limit") as error:
            writer.add_blob(bytes(2 << 20))
        with pytest.raises(TooLargeError):
            writer.ensure_room(2 << 20)
        writer.ensure_room(1000)

    assert error.value.limit_bytes == 1 << 20
    assert 2 << 20 <= error.value.needed_bytes < (2 << 20) + 200


def test_the_same_bytes_need_no_room(path: Path) -> None:
    data = bytes(1 << 20)
    with Writer(path, limit_bytes=len(data) + 200) as writer:
        assert writer.add_blob(data) == writer.add_blob(data)


def test_a_launch_without_its_blobs_is_refused(path: Path) -> None:
    with Writer(path) as writer, pytest.raises(ValueError, match="bytes of storage 0 before are not there"):
        writer.add_launch(launch("a" * 64))


def test_a_full_disk_takes_nothing_of_a_launch_and_the_rest_can_be_finished(path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Writer(path) as writer:
        writer.add_launch(launch(writer.add_blob(b"a" * 32)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(CaptureFileError, match=r"cannot write .*run.capture: File too large: free some space"):
                writer.add_blob(os.urandom(1 << 20))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        writer.finish()

    assert 1 == len(check(path).launches)


def test_a_file_that_cannot_be_ended_is_removed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Writer(path) as writer:

        def refuse(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "pwrite", refuse)
        with pytest.raises(CaptureFileError, match="No space left on device"):
            writer.finish()

    assert [] == list(path.parent.iterdir())


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (lambda folder: folder / "absent" / "x", "cannot write .*: No such file or directory: name a file that"),
        (lambda folder: folder, "it is a folder: name a file"),
        (lambda folder: Path("/proc/x"), "cannot write /proc/x: .*: name a file that you may write"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_line(
    tmp_path: Path, place: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(CaptureFileError, match=message) as error:
        Writer(place(tmp_path))

    assert "\n" not in str(error.value)


def test_two_processes_do_not_write_one_file(path: Path) -> None:
    with Writer(path) as writer:
        with pytest.raises(CaptureFileError, match="another process is writing"):
            Writer(path)
        writer.finish()

    with Writer(path) as writer:
        writer.finish()


def test_what_a_killed_program_left_is_no_obstacle(path: Path) -> None:
    write(path, b"a" * 32, finish=False)

    expected = write(path, b"b" * 8)
    assert expected == check(path)
    assert not part_path(path).exists()


def test_a_forked_child_leaves_the_file_alone(path: Path) -> None:
    with Writer(path) as writer:
        writer.add_blob(b"some")
        child = os.fork()
        if not child:
            try:
                with writer:
                    writer.add_blob(b"other")
            except CaptureFileError:
                os._exit(7)
            os._exit(1)
        assert 7 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        writer.finish()

    with Reader(path) as reader:
        assert [4] == list(reader.blobs.values())


def test_a_finished_writer_says_so(path: Path) -> None:
    writer = Writer(path)
    writer.finish()

    with pytest.raises(CaptureFileError, match="is finished or was discarded"):
        writer.add_blob(b"more")
    assert path.exists()


def test_it_can_be_finished_while_the_interpreter_shuts_down(path: Path) -> None:
    program = f"""
import atexit, pathlib
from ssdprof.kernels.captured.file import Writer
writer = Writer(pathlib.Path({str(path)!r}))
atexit.register(lambda: (writer.add_blob(bytes(5 << 20)), writer.finish()))
"""
    subprocess.run([sys.executable, "-c", program], check=True)

    check(path)
    with Reader(path) as reader:
        assert [5 << 20] == list(reader.blobs.values())


def test_reading_imports_neither_torch_nor_triton() -> None:
    program = "import sys, ssdprof.kernels.captured.file; print({'torch', 'triton', 'numpy'} & set(sys.modules))"

    out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert "set()\n" == out.stdout
