"""Writing the run file: whole lines at once, whatever the disk, an interrupt or another process does."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import HEADER, h100_run
from run_records import records_of

from ssdprof.profiling.runs import run_file
from ssdprof.profiling.runs.measured import Batch
from ssdprof.profiling.runs.run_file import RunError, RunFile, check_free, dump_records, parse_state
from ssdprof.profiling.runs.state import Record

RECORDS = records_of(h100_run())
BEST = RECORDS[4]


def written(path: Path, *records: Record) -> RunFile:
    file = RunFile(path)
    file.write(*records)
    return file


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_each_write_is_in_the_file_at_once_and_the_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "run.jsonl"
    file = written(path, *RECORDS[:2])
    assert dump_records(RECORDS[:2]) == text_of(path)
    file.write(*RECORDS[2:])
    assert dump_records(RECORDS) == text_of(path)
    file.close()


def test_a_write_is_one_call_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RunFile(tmp_path / "run.jsonl")
    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(run_file.os, "write", lambda fd, data: calls.append(data) or len(data))
        file.write(*RECORDS)
    file.close()
    assert [dump_records(RECORDS).encode()] == calls


@pytest.mark.parametrize("torn", ["", '{"kind": "ba', "\x00"])
def test_going_on_with_a_file_appends_after_its_last_whole_line(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(dump_records(RECORDS[:2]) + torn)
    written(path, *RECORDS[2:]).close()
    assert dump_records(RECORDS) == text_of(path)


def test_a_file_of_a_torn_header_alone_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(dump_records(RECORDS)[:30])
    written(path, *RECORDS).close()
    assert dump_records(RECORDS) == text_of(path)


def test_a_file_begun_anew_holds_nothing_of_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("what was there\n" * 1000)
    file = RunFile(path, anew=True)
    assert "" == text_of(path)
    file.write(*RECORDS)
    file.close()
    assert dump_records(RECORDS) == text_of(path)


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond the size: the system writes what fits, then refuses, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room_bytes", [0, 10])
def test_a_full_disk_leaves_whole_lines_and_later_writes_succeed(tmp_path: Path, room_bytes: int) -> None:
    path = tmp_path / "run.jsonl"
    file = written(path, *RECORDS[:2])
    whole_text = dump_records(RECORDS[:2])
    error: OSError | None = None
    with files_of_at_most(len(whole_text) + room_bytes):
        try:
            file.write(*RECORDS[2:])
        except OSError as raised:
            error = raised
    assert error is not None
    assert error.errno == (errno.ENOSPC if room_bytes else errno.EFBIG)
    if room_bytes:
        assert f"only 10 of {len(dump_records(RECORDS[2:]))} bytes could be written" == error.strerror
    assert whole_text == text_of(path)
    file.write(*RECORDS[2:])
    file.close()
    assert dump_records(RECORDS) == text_of(path)


def test_a_torn_line_that_could_not_be_taken_back_is_cut_off_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.jsonl"
    file = written(path, HEADER)

    def torn(fd: int, data: bytes) -> int:
        with path.open("ab") as other:
            other.write(data[:7])
        file._cut = refuse  # type: ignore[method-assign]
        return 7

    def refuse() -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(run_file.os, "write", torn)
        with pytest.raises(OSError, match="only 7 of"):
            file.write(BEST)
    del file._cut  # type: ignore[method-assign]
    assert text_of(path) == dump_records([HEADER]) + dump_records([BEST])[:7]
    file.write(BEST)
    file.close()
    assert dump_records([HEADER, BEST]) == text_of(path)


def test_an_interrupt_while_writing_takes_the_write_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.jsonl"
    file = written(path, HEADER)
    real = os.write

    def interrupted(fd: int, data: bytes) -> int:
        real(fd, data)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_file.os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            file.write(BEST)
    assert dump_records([HEADER]) == text_of(path)
    file.write(BEST)
    file.close()
    assert dump_records([HEADER, BEST]) == text_of(path)


def test_a_record_that_json_cannot_hold_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = written(tmp_path / "run.jsonl", HEADER)
    with pytest.raises(TypeError):
        file.write(BEST, replace(HEADER, problem={"seqlen": object()}))
    file.close()
    assert dump_records([HEADER]) == text_of(tmp_path / "run.jsonl")


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        RunFile(tmp_path / "file" / "runs" / "run.jsonl")


@pytest.mark.parametrize("anew", [False, True])
def test_a_file_that_is_being_written_is_neither_gone_on_with_nor_emptied(tmp_path: Path, anew: bool) -> None:
    path = tmp_path / "run.jsonl"
    file = written(path, HEADER)
    message = f"{path} is being written by another ssdprof: wait until it is done, or name another file with -o"
    for claim in (lambda: RunFile(path, anew=anew), lambda: check_free(path)):
        with pytest.raises(RunError) as raised:
            claim()
        assert message == str(raised.value)
    assert dump_records([HEADER]) == text_of(path)
    file.close()
    check_free(path)
    RunFile(path, anew=anew).close()


def test_a_file_system_without_locks_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(fd: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(run_file.fcntl, "flock", none)
    written(tmp_path / "run.jsonl", *RECORDS).close()
    assert dump_records(RECORDS) == text_of(tmp_path / "run.jsonl")


WRITER = """\
import sys
from pathlib import Path
from ssdprof.profiling.runs.measured import Batch
from ssdprof.profiling.runs.run_file import RunFile
file = RunFile(Path(sys.argv[1]))
print("open", flush=True)
while True:
    file.write(Batch("m", (1.0,) * 200, "events"))
"""


def test_a_writer_that_is_killed_leaves_a_file_that_is_read_and_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    written(path, HEADER).close()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            assert "open\n" == writer.stdout.readline()
            with pytest.raises(RunError, match="is being written by another ssdprof"):
                check_free(path)
            while path.stat().st_size < 200_000 and writer.poll() is None:
                pass
        finally:
            writer.kill()
    before = len(parse_state(text_of(path)).batches("m"))
    assert before > 10
    file = RunFile(path)
    file.write(Batch("m", (2.0,), "events"))
    file.close()
    assert before + 1 == len(parse_state(text_of(path)).batches("m"))
