"""Several launches of a kernel that differ in their data alone are kept, as many as are asked for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_captures import launch

import ssdprof
from ssdprof.kernels.captured.arguments import read_launch_inputs, read_launch_outputs
from ssdprof.kernels.captured.file import Reader, read
from ssdprof.kernels.captured.live.choosing import ELSEWHERE, FURTHER, OTHERWISE, chosen
from ssdprof.kernels.captured.live.options import CaptureError, CaptureOptions
from ssdprof.kernels.captured.live.startup import run_command
from ssdprof.kernels.captured.model import Captured, CapturedLaunch, Origin, Seen
from ssdprof.kernels.captured.subject import captured_subject

HELPERS = Path(__file__).parents[4] / "helpers" / "programs"
SCRIPT = """
import subprocess, sys, torch
import launching_program as program

for i in range(2):
    program.scale(torch.full((64,), float(i)), torch.zeros(64))
if len(sys.argv) > 1:
    subprocess.run([sys.executable, __file__], check=True)
"""


def launched(program: Any, *sizes: int, **options: Any) -> None:
    """Adds ones, twos, threes and so on."""
    for i, size in enumerate(sizes, 1):
        program.add(torch.zeros(size), torch.full((size,), float(i)), **options)


def added(path: Path) -> list[float]:
    """What was added in each launch that is kept."""
    with Reader(path) as reader:
        return [read_launch_inputs(reader, one, "cpu")[1][0].item() for one in reader.captured.launches]


def whys(path: Path) -> list[str]:
    return [one.why_not for one in read(path).seen]


def of(name: str, number: int, size: int = 32, **changes: Any) -> CapturedLaunch:
    origin = Origin(name, "mine", "mine.py", 7, "0" * 16)
    return launch("0" * 64, name=name, number=number, size=size, origin=origin, **changes)


def seen(name: str, why_not: str = "", shapes: str = "x_ptr[8] f32", total_ms: float = 1.0) -> Seen:
    return Seen(name, "mine.py:7", shapes, 5, total_ms, 1, why_not)


def test_the_first_launches_of_a_kernel_are_kept_each_with_its_own_data(program: Any, path: Path) -> None:
    with ssdprof.capture(path, keep=3):
        launched(program, *[64] * 5)

    assert [1.0, 2.0, 3.0] == added(path)
    with Reader(path) as reader:
        outputs = [read_launch_outputs(reader, one, "cpu")[0][0].item() for one in reader.captured.launches]
    assert [1.0, 2.0, 3.0] == outputs
    assert [""] == whys(path)


def test_one_is_kept_if_nothing_is_said(program: Any, path: Path) -> None:
    with ssdprof.capture(path):
        launched(program, 64, 64)

    assert [1.0] == added(path)


def test_of_an_autotuned_kernel_those_with_the_same_key_are_kept(program: Any, path: Path) -> None:
    with ssdprof.capture(path, keep=2):
        for i in range(3):
            program.scale(torch.full((100,), float(i)), torch.zeros(100))

    assert [1, 2] == [one.number for one in read(path).launches]


def test_launches_of_other_shapes_are_passed_over(program: Any, path: Path) -> None:
    with ssdprof.capture(path, keep=2):
        launched(program, 64, 128, 64, 128)

    assert [1.0, 3.0] == added(path)
    assert ["", ELSEWHERE] == whys(path)


@pytest.mark.parametrize("other", ["scalar", "option", "strides", "offset"])
def test_launches_with_other_arguments_are_passed_over_and_a_line_says_so(program: Any, path: Path, other: str) -> None:
    total, x = torch.zeros(64), torch.full((128,), 2.0)
    with ssdprof.capture(path, keep=2):
        launched(program, 64)
        if other == "scalar":
            program.add_kernel[(1,)](total, x[:64], 63)
        elif other == "option":
            program.add(total, x[:64], num_warps=8)
        else:
            program.add(total, x[::2] if other == "strides" else x[64:])

    assert [1.0] == added(path)
    assert [FURTHER + OTHERWISE] == whys(path)


def test_a_launch_with_another_grid_is_not_alike(program: Any, path: Path) -> None:
    with ssdprof.capture(path, keep=2):
        for grid in (1, 2):
            program.add_kernel[(grid,)](torch.zeros(64), torch.ones(64), 64)

    assert [(1,)] == [one.grid for one in read(path).launches]
    assert [FURTHER + OTHERWISE] == whys(path)


def test_how_arguments_are_passed_does_not_matter(program: Any, path: Path) -> None:
    with ssdprof.capture(path, keep=2):
        program.add_kernel[(1,)](torch.zeros(64), torch.ones(64), 64)
        program.add_kernel[(1,)](torch.zeros(64), x_ptr=torch.full((64,), 2.0), n=64, BLOCK=64)

    assert [1.0, 2.0] == added(path)


def test_a_file_that_is_full_keeps_what_it_has_and_says_why_there_is_no_more(program: Any, path: Path) -> None:
    with ssdprof.capture(path, keep=3, limit_gib=5.6e-5):  # the inputs alone are 6e-5
        launched(program, *[4_000] * 3)

    assert [1.0, 2.0] == added(path)
    [why] = whys(path)
    assert why.startswith(FURTHER)
    assert why.endswith("raise the limit, or keep no data")


def test_what_is_kept_is_one_subject_with_so_many_sets(program: Any, path: Path) -> None:
    path = path.with_suffix(".launch")
    with ssdprof.capture(path, keep=3):
        launched(program, 64, 64, 64)

    subject = captured_subject(str(path))
    assert 3 == subject.input_sets
    assert [1.0, 2.0, 3.0] == [subject.inputs("cpu", seed)["x_ptr"][0].item() for seed in range(3)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep": 0}, "keep 0: say how many launches of each kernel, a whole number from 1 on"),
        ({"keep": -2}, "keep -2: "),
        ({"keep": 1.5}, r"keep 1\.5: "),
        ({"keep": True}, "keep True: "),
        ({"keep": "3"}, "keep 3: "),
        ({"keep": 2, "launch": 1}, "a launch by number and several to keep exclude each other"),
    ],
)
def test_what_is_no_number_of_launches_is_refused(path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(CaptureError, match=said), ssdprof.capture(path, **options):
        pass


def test_the_options_travel_to_other_processes() -> None:
    assert 4 == CaptureOptions.from_text(CaptureOptions(keep=4).text()).keep
    assert CaptureOptions(launch=2, keep=1) == CaptureOptions.from_text(CaptureOptions(launch=2).text())


def test_of_all_processes_at_most_so_many_stay_and_only_those_alike() -> None:
    launches = (of("a", 1), of("b", 2), of("a", 3), of("a", 1, 64), of("a", 1, grid=(2,)), of("a", 2), of("a", 3))
    captured = Captured(launches, (seen("a"), seen("b"), seen("a", shapes="x_ptr[16] f32")))

    left = chosen(captured, CaptureOptions(keep=3))

    assert [("a", 1), ("a", 3), ("a", 2), ("b", 2)] == [(one.name, one.number) for one in left.launches]
    assert ["", "", ELSEWHERE] == [one.why_not for one in left.seen]


def test_all_kept_launches_of_the_slowest_kernel_stay() -> None:
    captured = Captured(
        (of("a", 1), of("a", 2), of("b", 3), of("b", 4)), (seen("a", FURTHER + OTHERWISE), seen("b", total_ms=9.0))
    )

    left = chosen(captured, CaptureOptions(slowest=True, keep=2))

    assert ["b", "b"] == [one.name for one in left.launches]
    assert ["b is slower", ""] == [one.why_not for one in left.seen]


@pytest.mark.parametrize(("keep", "why"), [(2, ""), (3, FURTHER + OTHERWISE)])
def test_that_there_are_fewer_is_said_only_if_all_processes_together_have_fewer(keep: int, why: str) -> None:
    captured = Captured((of("a", 1), of("a", 2)), (seen("a", FURTHER + OTHERWISE),))

    assert [why] == [one.why_not for one in chosen(captured, CaptureOptions(keep=keep)).seen]


def test_a_reason_of_a_process_that_kept_none_is_left_out_if_another_did() -> None:
    captured = Captured((of("a", 1),), (seen("a", ELSEWHERE),))

    assert replace(captured, seen=(seen("a"),)) == chosen(captured, CaptureOptions(keep=2))


@pytest.mark.parametrize("slowest", [False, True])
def test_a_whole_program_with_a_child_keeps_as_many_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slowest: bool
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), *([before] if before else [])]))
    script, path = tmp_path / "twice.py", tmp_path / "kept.launch"
    script.write_text(SCRIPT)

    finished = run_command([str(script), "again"], path, CaptureOptions(keep=3, slowest=slowest))

    assert (0, ()) == (finished.exit_code, finished.problems)
    assert finished.captured is not None
    assert 3 == len(finished.captured.launches)
    assert [(4, "")] == [(one.count, one.why_not) for one in finished.captured.seen]
    assert 2 == captured_subject(str(path)).input_sets  # both processes launch it on zeros first
