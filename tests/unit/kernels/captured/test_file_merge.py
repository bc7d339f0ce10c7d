"""The files of several processes become one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from fake_captures import SEEN, write

from ssdprof.kernels.captured.file import CaptureFileError, Reader, Writer, check, merge, part_path
from ssdprof.kernels.captured.model import Captured


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    (tmp_path / "parts").mkdir()
    return [tmp_path / "parts" / name for name in "abc"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.capture"


def test_launches_of_all_parts_are_there_and_equal_bytes_once(parts: list[Path], path: Path) -> None:
    a = write(parts[0], b"a" * 32, b"c" * 64)
    b = write(parts[1], b"b" * 32, b"a" * 32, seen=())
    c = write(parts[2])

    merged, wrong = merge(parts, path)
    assert () == wrong
    assert (*a.launches, *b.launches, *c.launches) == merged.launches
    assert merged == check(path)
    with Reader(path) as reader:
        assert [32, 32, 64] == sorted(reader.blobs.values())
    assert [] == list(parts[0].parent.iterdir())


def test_a_kernel_that_several_processes_launched_is_counted_together(parts: list[Path], path: Path) -> None:
    write(parts[0], seen=(replace(SEEN, first_number=5, why_not="out of memory"),))
    write(parts[1], seen=(replace(SEEN, count=4, total_ms=1.0), replace(SEEN, shapes="x[9] fp32", total_ms=None)))

    assert merge(parts[:2], path)[0].seen == (
        replace(SEEN, count=7, total_ms=1.25, first_number=1),
        replace(SEEN, shapes="x[9] fp32", total_ms=None),
    )


def test_a_single_part_is_moved_not_copied(parts: list[Path], path: Path) -> None:
    expected = write(parts[0], b"a" * 32)
    inode = parts[0].stat().st_ino

    merged, _ = merge(parts[:1], path, lambda all_: replace(all_, command="better"))
    assert replace(expected, command="better") == merged == check(path)
    assert inode == path.stat().st_ino


def test_only_what_is_chosen_is_written(parts: list[Path], path: Path) -> None:
    write(parts[0], b"a" * 32, b"b" * 64)
    write(parts[1], b"c" * 128)

    def choose(everything: Captured) -> Captured:
        return replace(everything, launches=everything.launches[1:2], date="today")

    merged, wrong = merge(parts[:2], path, choose)
    assert ((), "today") == (wrong, merged.date)
    assert [64] == [launch.storages[0].size_bytes for launch in merged.launches]
    with Reader(path) as reader:
        assert [64] == list(reader.blobs.values())


def test_whole_launches_are_taken_of_parts_that_are_not(parts: list[Path], path: Path) -> None:
    whole = write(parts[0], b"a" * 32)
    broken = write(parts[1], b"b" * 64, finish=False)
    parts[2].write_bytes(b"")

    merged, wrong = merge([parts[0], part_path(parts[1]), parts[2]], path)
    assert (*whole.launches, *broken.launches) == merged.launches
    assert 2 == len(wrong)
    assert "an incomplete part has 1 whole launches: " in wrong[0]
    assert "c is empty" in wrong[1]
    assert merged == check(path)


def test_a_launch_whose_bytes_were_changed_is_left_out_and_the_parts_stay(parts: list[Path], path: Path) -> None:
    whole = write(parts[0], b"a" * 64)
    write(parts[1], b"b" * 32)
    parts[1].write_bytes(parts[1].read_bytes().replace(b"bbb", b"bcb", 1))

    merged, (line,) = merge(parts[:2], path)
    assert whole.launches == merged.launches
    assert "a launch of kernel is left out, the parts are still there: " in line
    assert "b is damaged" in line
    assert parts[1].exists()


def test_a_part_on_another_disk_is_copied(parts: list[Path], path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = write(parts[0], b"a" * 32)
    replaced = os.replace

    def replace_here(source: Path, target: Path) -> None:
        if source.parent != target.parent:
            raise OSError(18, "Invalid cross-device link")
        replaced(source, target)

    monkeypatch.setattr(os, "replace", replace_here)
    assert (expected, ()) == merge(parts[:1], path)
    assert not parts[0].exists()


def test_no_parts_make_an_empty_file(path: Path) -> None:
    assert (Captured((), ()), ()) == merge([], path)


def test_a_place_that_another_process_writes_leaves_the_parts(parts: list[Path], path: Path) -> None:
    expected = write(parts[0], b"a" * 32)

    with Writer(path), pytest.raises(CaptureFileError, match="another process is writing"):
        merge(parts[:1], path)
    assert expected == check(parts[0])
