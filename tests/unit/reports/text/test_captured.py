"""The list of what a capture file has."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from captured_softmax import softmax_launch
from fake_runs import screen
from rich.cells import cell_len
from rich.console import RenderableType

from ssdprof.kernels.captured.model import Captured, CapturedLaunch, KeptTensor, Seen
from ssdprof.reports.text.captured import SHAPES_WIDTH, launches_json, launches_report, next_of, size_text

FILE = "/somewhere/program.py:7"
SHAPES, WIDE = "x_ptr[6, 5] f32, o_ptr[6, 5] f32", "x_ptr[6, 900] f32, o_ptr[6, 900] f32"
SEEN = Seen("softmax", FILE, SHAPES, 12, 3.25, 1)
REPEATED = replace(SEEN, shapes=WIDE, count=4, total_ms=40.0, first_number=2, why_not="other shapes are kept")
UNTIMED = Seen("copy", "/somewhere/copy.py:3", "a[7] bf16", 2, None, 5, "it was launched inside a CUDA graph")


RULE = "─" * 94


def lines(report: RenderableType, width: int = 160) -> str:
    return "\n".join(line.rstrip() for line in screen(report, width).splitlines())


def wide() -> CapturedLaunch:
    tensor = KeptTensor(0, "float32", (6, 900), (900, 1), 0)
    return softmax_launch(tensors=(tensor, replace(tensor, storage=1, role="out")), number=9)


def captured(*launches: CapturedLaunch, seen: tuple[Seen, ...] = (SEEN, REPEATED, UNTIMED)) -> Captured:
    return Captured(launches or (softmax_launch(),), seen, "python program.py", "2026-01-01")


def test_the_list_has_the_most_time_first_and_says_why_something_is_not_kept() -> None:
    assert f"""\
kernel   launches      ms  kept  source                   shapes
{RULE}
softmax         4  40.000     –  /somewhere/program.py:7  x_ptr[6, 900] f32, o_ptr[6, 900] f32
softmax        12   3.250     1  /somewhere/program.py:7  x_ptr[6, 5] f32, o_ptr[6, 5] f32
copy            2       –     –  /somewhere/copy.py:3     a[7] bf16
not kept: softmax: other shapes are kept
not kept: copy: it was launched inside a CUDA graph""" == lines(launches_report(captured()))


def test_a_narrow_screen_leaves_out_what_it_has_no_room_for_and_breaks_nothing() -> None:
    text = lines(launches_report(captured()), 80)
    assert "left out at this width: shapes (in --json and a wider terminal)" in " ".join(text.split())
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "/somewhere/program.py:7" in text


@pytest.mark.parametrize(("size_bytes", "text"), [(5000, "0.00 MiB"), (1 << 24, "16.00 MiB"), (3 << 29, "1.50 GiB")])
def test_a_size_is_told_in_its_unit(size_bytes: int, text: str) -> None:
    assert text == size_text(size_bytes)


def test_a_launch_is_listed_with_its_own_shapes_whichever_were_launched_before_it() -> None:
    late = softmax_launch(number=30)
    listed = json.loads(launches_json(captured(late, wide())))["seen"]
    assert ["1", "2", None] == [one["kept_as"] for one in listed]


def test_several_launches_of_the_same_shapes_are_listed_together() -> None:
    listed = json.loads(launches_json(captured(softmax_launch(), wide(), softmax_launch(number=3))))["seen"]
    assert ["1,3", "2", None] == [one["kept_as"] for one in listed]


def test_kernels_of_the_same_name_in_other_files_are_told_apart() -> None:
    listed = json.loads(launches_json(captured(seen=(SEEN, replace(SEEN, source="/elsewhere/x.py:7")))))["seen"]
    assert ["1", None] == [one["kept_as"] for one in listed]


def test_long_lists_of_shapes_are_cut_in_the_table_and_whole_in_json() -> None:
    long = replace(UNTIMED, shapes=", ".join(f"t{i}[100, 200] f32" for i in range(9)))
    line = lines(launches_report(captured(seen=(long,)))).splitlines()[2]
    assert line.endswith("…")
    assert SHAPES_WIDTH == len(line[line.index("t0") :])
    assert long.shapes == json.loads(launches_json(captured(seen=(long,))))["seen"][0]["shapes"]


def test_json_has_every_field_of_what_was_seen() -> None:
    content = json.loads(launches_json(captured()))
    assert (1, "python program.py", "2026-01-01") == (content["schema"], content["command"], content["date"])
    assert {
        "name": "copy",
        "source": "/somewhere/copy.py:3",
        "shapes": "a[7] bf16",
        "launches": 2,
        "total_ms": None,
        "why_not": "it was launched inside a CUDA graph",
        "kept_as": None,
    } == content["seen"][2]
    assert (None, 40.0) == (content["seen"][0]["why_not"], content["seen"][1]["total_ms"])


def test_json_tells_of_a_launch_what_it_was_and_how_large_it_is() -> None:
    launch = softmax_launch(in_place_ms=0.25, notes=("two bits",), device={"name": "GPU"}, versions={"triton": "3.9"})
    (content,) = json.loads(launches_json(captured(launch)))["launches"]
    assert {
        "number": 1,
        "name": "softmax",
        "file": "/somewhere/program.py",
        "line": 7,
        "config": {"BLOCK_M": 2, "num_warps": 4, "num_stages": 3, "num_ctas": 1},
        "grid": [3],
        "in_place_ms": 0.25,
        "listed_configs": 6,
        "bytes": 240,
        "notes": ["two bits"],
        "versions": {"triton": "3.9"},
        "device": {"name": "GPU"},
    } == content
    (plain,) = json.loads(launches_json(captured(softmax_launch(autotune=None))))["launches"]
    assert (0, None) == (plain["listed_configs"], plain["in_place_ms"])


def test_a_file_of_nothing_says_so() -> None:
    assert "no launch of a Triton kernel was seen" == lines(launches_report(Captured((), ())))
    assert ([], []) == tuple(json.loads(launches_json(Captured((), ())))[name] for name in ("seen", "launches"))


@pytest.mark.parametrize(
    ("launches", "expected"),
    [
        ((softmax_launch(),), "ssdprof sweep x.launch"),
        ((softmax_launch(), softmax_launch(number=2)), "ssdprof sweep x.launch"),
        ((softmax_launch(), wide()), "ssdprof sweep x.launch --all"),
    ],
    ids=["one", "two alike", "two"],
)
def test_what_comes_next_is_a_sweep_of_the_file(launches: tuple[CapturedLaunch, ...], expected: str) -> None:
    assert expected == next_of(captured(*launches), Path("x.launch"))
