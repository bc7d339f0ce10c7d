"""Outputs that a kernel sums by atomics: their bits may differ from launch to launch, their errors may not be large."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from fake_kernel import HELD_AGAINST, FakeSubject, fake
from fake_launches import CHECKED, Tensors
from fake_runs import HEADER, h100_run
from host_timer import HOST
from measured_here import measured, planted, status

from ssdprof.kernels.interface import Tolerances
from ssdprof.profiling.diagnosis.verdicts import statements
from ssdprof.profiling.measuring import measure as measure_module
from ssdprof.profiling.measuring.check import judge
from ssdprof.profiling.measuring.measure import OTHER_BITS, OTHER_SUMS, prepare, resample
from ssdprof.profiling.runs.codec import plain, reader
from ssdprof.profiling.runs.measured import Check
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.sweep.records import run_header
from ssdprof.profiling.sweep.request import SweepRequest
from ssdprof.reports.words.verdicts import words

SUBJECT = FakeSubject()


class SummedSubject(FakeSubject):
    """Whose `total` is summed in no order."""

    def unordered(self) -> frozenset[str]:
        return frozenset({"total"})


class AllSummedSubject(FakeSubject):
    """Whose outputs are all summed in no order."""

    def unordered(self) -> frozenset[str]:
        return frozenset({"scaled", "total"})


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_module, "_session", None)
    prepare(SummedSubject(), HOST, seed=3)


def noisy(share: float, since: int = 0) -> Callable[[int, Tensors], object]:
    """Each launch from the number on has a total that is off by up to that share, another one each time."""
    return lambda launch, t: t.total.mul_(1 + share * (launch % 5) / 4) if launch >= since else None


def timed_again(name: str) -> str:
    return resample(SUBJECT.launch(fake(name)), name, 3, 1.0, None, True)[1]


def test_other_bits_within_the_tolerance_are_no_race(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, "noisy", noisy(0.01))
    found = measured("noisy")
    assert (("ok", ""), True, 10) == (status(found), found.check.repeatable, found.check.launches)
    assert "" == timed_again("noisy")


def test_the_worst_error_of_all_launches_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, "noisy", noisy(0.01))
    check = measured("noisy").check
    assert ("total", pytest.approx(0.01, rel=1e-3)) == (check.output, check.relative_error)


class HeldAgainstCaptured(SummedSubject):
    """Whose outputs are held against what may itself be wrong."""

    def tolerances(self) -> tuple[Tolerances, ...]:
        return tuple(replace(one, against=HELD_AGAINST) for one in super().tolerances())


def test_an_error_beyond_the_tolerance_in_every_launch_is_another_answer_if_the_reference_may_be_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = HeldAgainstCaptured()
    prepare(subject, HOST, seed=3)
    allowed = {one.output: one for one in subject.tolerances()}
    planted(monkeypatch, "off", lambda launch, t: t.total.mul_(1.5 + launch / 1000))
    found = measured("off")
    assert ("differs", True) == (judge(found.check, allowed)[0], found.check.repeatable)
    planted(monkeypatch, "once_right", lambda launch, t: t.total.mul_(1.5 if launch <= CHECKED else 1.0))
    assert "unstable" == judge(measured("once_right").check, allowed)[0]


def test_sums_that_are_once_beyond_the_tolerance_are_not_said_to_have_other_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planted(monkeypatch, "far_off", lambda launch, t: t.total.mul_(2.0) if launch > 3 else None)
    found = measured("far_off")
    expected = "2 launches on the same input gave sums within their tolerance and beyond it (relative error 1.0, "
    assert status(found)[1].startswith(expected)
    assert reader(Check)(plain(found.check)) == found.check


@pytest.mark.parametrize("since", [3, 6, CHECKED, CHECKED + 1])
def test_an_error_beyond_the_tolerance_in_a_later_launch_is_unstable(
    monkeypatch: pytest.MonkeyPatch, since: int
) -> None:
    planted(monkeypatch, "far_off", lambda launch, t: t.total.mul_(2.0) if launch >= since else None)
    assert "unstable" == status(measured("far_off"))[0]


def test_an_error_beyond_the_tolerance_in_every_launch_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, "off", lambda launch, t: t.total.mul_(1.5 + launch / 1000))
    found = measured("off")
    assert ("wrong", True) == (status(found)[0], found.check.repeatable)


def test_the_bits_of_other_outputs_are_compared_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, "races", lambda launch, t: t.scaled.mul_(1 + 1e-5 * launch))
    assert "unstable" == status(measured("races"))[0]


@pytest.mark.parametrize("all_summed", [False, True])
def test_a_timed_launch_with_sums_beyond_their_tolerance_is_blamed_for_them(
    monkeypatch: pytest.MonkeyPatch, all_summed: bool
) -> None:
    prepare(AllSummedSubject() if all_summed else SummedSubject(), HOST, seed=3)
    planted(monkeypatch, "later", lambda launch, t: t.total.mul_(2.0) if launch > CHECKED + 1 else None)
    assert ("ok", "") == status(measured("later"))
    assert OTHER_SUMS == timed_again("later")


def test_a_timed_launch_with_other_bits_in_another_output_is_blamed_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, "later", lambda launch, t: t.scaled.mul_(1 + 1e-5) if launch > CHECKED + 1 else None)
    assert ("ok", "") == status(measured("later"))
    assert OTHER_BITS == timed_again("later")


def test_without_an_exact_output_errors_alone_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(AllSummedSubject(), HOST, seed=3)
    planted(monkeypatch, "noisy", lambda launch, t: t.scaled.mul_(1 + 1e-3 * (launch % 3)))
    assert ("ok", "") == status(measured("noisy"))
    assert "" == timed_again("noisy")


def test_a_run_names_these_outputs_and_says_how_they_were_judged() -> None:
    request = SweepRequest(SummedSubject(), "given", (fake(),), "sm_90")
    assert ("total",) == run_header(request).unordered
    run = h100_run()
    said = statements(Run(replace(HEADER, unordered=("total",)), run.rows))
    (found,) = [one for one in said if one.code == "unordered"]
    assert words(found).startswith("The bits of total differ between launches, since the kernel sums them by atomics")
    assert "unordered" not in {one.code for one in statements(run)}
