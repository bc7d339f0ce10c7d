"""Which launches stay, once those of all processes are together."""

from __future__ import annotations

from dataclasses import replace

from fake_captures import launch

from ssdprof.kernels.captured.live.choosing import ELSEWHERE, chosen
from ssdprof.kernels.captured.live.options import CaptureOptions
from ssdprof.kernels.captured.model import Captured, CapturedLaunch, Origin, Seen


def of(name: str, number: int, size: int = 32) -> CapturedLaunch:
    return launch("0" * 64, name=name, number=number, size=size, origin=Origin(name, "mine", "mine.py", 7, "0" * 16))


def seen(name: str, total_ms: float | None, count: int = 1, shapes: str = "x_ptr[8] f32", why_not: str = "") -> Seen:
    return Seen(name, "mine.py:7", shapes, count, total_ms, 1, why_not)


def test_the_first_launch_of_each_kernel_stays() -> None:
    launches = (of("a", 1), of("b", 2), of("a", 1, 64))
    captured = Captured(launches, (seen("a", 1.0), seen("b", 2.0), seen("a", 1.0, shapes="x_ptr[16] f32")))

    left = chosen(captured, CaptureOptions())

    assert launches[:2] == left.launches
    assert ["", "", ELSEWHERE] == [one.why_not for one in left.seen]


def test_a_launch_by_number_stays_of_each_process() -> None:
    captured = Captured((of("a", 3), of("a", 3)), (seen("a", 1.0, 9),))

    assert captured == chosen(captured, CaptureOptions(launch=3))


def test_the_slowest_kernel_is_the_one_with_most_time_over_all_its_shapes() -> None:
    captured = Captured(
        (of("a", 1), of("b", 2)), (seen("a", 3.0), seen("b", 2.0), seen("b", 2.0, shapes="x_ptr[16] f32"))
    )

    left = chosen(captured, CaptureOptions(slowest=True))

    assert ["b"] == [one.name for one in left.launches]
    assert ["b is slower", "", ELSEWHERE] == [one.why_not for one in left.seen]


def test_a_kernel_that_could_not_be_kept_keeps_its_reason_and_is_not_the_slowest() -> None:
    captured = Captured((of("a", 1),), (seen("a", 1.0), seen("b", 9.0, why_not="its tensors are on two devices")))

    left = chosen(captured, CaptureOptions(slowest=True))

    assert ["a"] == [one.name for one in left.launches]
    assert ["", "its tensors are on two devices"] == [one.why_not for one in left.seen]


def test_without_times_the_slowest_is_the_one_that_was_launched_most() -> None:
    captured = Captured((of("a", 1), of("b", 2)), (seen("a", None, 2), seen("b", None, 5)))

    assert ["b"] == [one.name for one in chosen(captured, CaptureOptions(slowest=True)).launches]


def test_a_launch_that_nobody_counted_is_among_those_that_were_seen() -> None:
    captured = Captured((of("a", 4),), ())

    assert (replace(seen("a", None), first_number=4),) == chosen(captured, CaptureOptions()).seen


def test_without_launches_there_is_no_slowest() -> None:
    captured = Captured((), (seen("a", 1.0, why_not="why"),))

    assert captured == chosen(captured, CaptureOptions(slowest=True))
