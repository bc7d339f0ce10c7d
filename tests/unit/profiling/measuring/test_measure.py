"""Who is blamed for a write where none may be, and what is done about it: measuring in this process, on the CPU."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fake_launches
import pytest
import torch
from fake_kernel import FakeSubject, fake
from fake_launches import CHECKED, FakeKernel, Tensors, write
from fake_timer import SteadyTimer
from host_timer import HOST
from measured_here import SUBJECT, Trouble, measured, planted, status

from ssdprof.profiling.measuring import measure as measure_module
from ssdprof.profiling.measuring.measure import OTHER_BITS, prepare, resample
from ssdprof.profiling.measuring.session import LAUNCHES_IF_WRONG, LAUNCHES_PER_SEED, Session
from ssdprof.profiling.runs.measured import Finding

CHANGED = "wrote to memory that is not its output: {}"


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_module, "_session", None)
    prepare(SUBJECT, HOST, seed=3)


def test_a_device_that_is_ready_names_the_process_that_measures_on_it() -> None:
    assert os.getpid() == prepare(SUBJECT, HOST, seed=3).pid


def timed_again(name: str, correct: bool = True) -> tuple[int, str]:
    """How many samples there were, and what was wrong."""
    batch, trouble = resample(SUBJECT.launch(fake(name)), name, 3, 1.0, None, correct)
    return len(batch.samples_ms), trouble


def to_x(t: Tensors) -> torch.Tensor:
    return t.x


def to_weights(t: Tensors) -> torch.Tensor:
    return t.weights


def in_launch(number: int, to: Callable[[Tensors], torch.Tensor] = to_x) -> Trouble:
    """Writes to an input in the launch of this number alone."""
    return lambda launch, t: to(t).add_(1.0) if launch == number else None


@pytest.mark.parametrize("to", [to_x, to_weights])
@pytest.mark.parametrize("number", [1, 2, CHECKED - LAUNCHES_PER_SEED - 1, CHECKED, CHECKED + 1])
def test_a_launch_that_writes_to_its_input_is_wrong_and_the_next_config_is_not(
    monkeypatch: pytest.MonkeyPatch, number: int, to: Callable[[Tensors], torch.Tensor]
) -> None:
    """Whichever of its launches did it, the one that is timed among them, and wherever the input lies."""
    planted(monkeypatch, "scribbles_once", in_launch(number, to))

    found = measured("scribbles_once")

    changed = CHANGED.format(to.__name__.removeprefix("to_"))
    assert (("wrong", changed), None) == (status(found), found.batch)
    assert ("ok", "") == status(measured("right"))


def test_a_wrong_config_that_writes_to_its_input_when_it_is_timed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = 1 + 1 + LAUNCHES_IF_WRONG

    def trouble(launch: int, t: Tensors) -> None:
        t.scaled[2] = 9.0
        if launch > checked:
            t.x[0, 0] += 1.0

    planted(monkeypatch, "wrong_and_scribbles", trouble)

    found = measured("wrong_and_scribbles")

    assert (("wrong", CHANGED.format("x")), None) == (status(found), found.batch)
    assert ["input-changed", "one-tile"] == [finding.code for finding in found.check.findings]
    assert ("ok", "") == status(measured("right"))


@pytest.mark.parametrize(
    ("name", "said"),
    [("nan_rows", "NaN in 2 rows: rows 2 to 3 (computed)"), ("unwritten", "NaN in 8 rows: lane 0 (never written)")],
)
def test_nan_that_a_kernel_computes_is_told_from_what_it_never_writes(name: str, said: str) -> None:
    assert [said] == [finding.message for finding in measured(name).check.findings]


def test_both_kinds_of_nan_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def body(t: Tensors) -> None:
        before = t.scaled.clone()
        write(t)
        t.scaled[2:5] = float("nan")
        t.scaled[1:3, 0] = before[1:3, 0]

    monkeypatch.setattr(fake_launches, "both", FakeKernel(body), raising=False)
    (found,) = measured("both").check.findings
    assert found.message.endswith("(computed in 3 of these rows, and never written in 2)")


@pytest.mark.parametrize("is_wrong", [True, False])
def test_a_config_that_fails_when_it_is_timed_is_still_wrong_if_it_was(
    monkeypatch: pytest.MonkeyPatch, is_wrong: bool
) -> None:
    def trouble(launch: int, t: Tensors) -> None:
        if is_wrong:
            t.scaled[2] = float("inf")
        if launch > (1 + 1 + LAUNCHES_IF_WRONG if is_wrong else CHECKED):
            raise RuntimeError("operation not permitted when stream is capturing")

    planted(monkeypatch, "fails_when_timed", trouble)

    if is_wrong:
        found = measured("fails_when_timed")
        assert ("wrong", None) == (status(found)[0], found.batch)
        assert ("RuntimeError", "operation not permitted when stream is capturing") == found.failed
    else:
        with pytest.raises(RuntimeError, match="stream is capturing"):
            measured("fails_when_timed")


@pytest.mark.parametrize("name", ["unstable", "wrong_scaled", "narrow"])
def test_a_config_that_is_not_launched_on_all_inputs_is_not_said_to_have_changed_them(name: str) -> None:
    """Inputs beside the outputs are then those of the first set, not of the last."""
    assert CHANGED.format("weights") not in status(measured(name, LANES=4))[1]


def test_a_write_outside_the_outputs_in_the_launch_that_is_timed_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def trouble(launch: int, t: Tensors) -> None:
        if launch == CHECKED + 1:
            t.scaled.as_strided((1,), (1,), storage_offset=t.scaled.storage_offset() - 1).fill_(1.0)

    planted(monkeypatch, "beyond_when_timed", trouble)

    verdict, reason = status(measured("beyond_when_timed"))

    assert ("wrong", True) == (verdict, "1 element before its beginning" in reason)
    assert ("ok", "") == status(measured("right"))


def test_a_result_that_depends_on_what_was_there_before_is_not_correct(monkeypatch: pytest.MonkeyPatch) -> None:
    def greatest(t: Tensors) -> None:
        before = t.scaled.clone()
        write(t)
        t.scaled.copy_(torch.fmax(t.scaled, before))  # passes over NaN, as Triton's maximum does

    monkeypatch.setattr(fake_launches, "greatest", FakeKernel(greatest), raising=False)
    assert "unstable" == status(measured("greatest"))[0]


@pytest.mark.parametrize("name", ["right", "wrong_row", "unstable", "scribbles", "beyond"])
def test_damage_is_looked_for_once_for_each_config(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    looks: list[str] = []
    damage = Session.damage

    def counting(session: Session) -> list[Finding]:
        looks.append(name)
        return damage(session)

    monkeypatch.setattr(Session, "damage", counting)

    measured(name)

    assert [name] == looks


def test_the_second_and_the_fourth_launch_on_each_set_of_inputs_are_under_load(monkeypatch: pytest.MonkeyPatch) -> None:
    launched = 0
    under_load: list[int] = []

    def count(launch: int, _: Tensors) -> None:
        nonlocal launched
        launched = launch

    @contextmanager
    def load(timer: SteadyTimer, duration_ms: float) -> Iterator[None]:
        before = launched
        yield
        under_load.extend(range(before + 1, launched + 1))

    planted(monkeypatch, "right_and_counted", count)
    monkeypatch.setattr(SteadyTimer, "under_load", load)
    prepare(SUBJECT, "fake_timer:SteadyTimer", seed=3)

    measured("right_and_counted")

    to_load, once = 1, 1  # before the first that counts; between the first and the second
    first = to_load + 1
    second_and_fourth = [first + once + 1, first + once + 3]
    assert [*second_and_fourth, *[number + once + LAUNCHES_PER_SEED for number in second_and_fourth]] == under_load


@pytest.mark.parametrize("to", [to_x, to_weights])
def test_a_config_is_not_blamed_in_a_round_for_what_another_did_to_its_input(
    monkeypatch: pytest.MonkeyPatch, to: Callable[[Tensors], torch.Tensor]
) -> None:
    planted(monkeypatch, "scribbles_later", in_launch(CHECKED + 4, to))
    assert [("ok", "")] * 2 == [status(measured(name)) for name in ("right", "scribbles_later")]
    assert [(3, "")] * 2 == [timed_again(name) for name in ("right", "scribbles_later")]

    assert [(3, "")] * 3 == [timed_again(name) for name in ("right", "right", "scribbles_later")]


def test_a_config_that_gives_other_bits_in_a_round_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, "races_later", lambda launch, t: t.total.mul_(1 + 1e-5) if launch > CHECKED + 1 else None)
    assert ("ok", "") == status(measured("races_later"))

    assert (3, OTHER_BITS) == timed_again("races_later")
    assert (3, "") == timed_again("races_later", correct=False)


@pytest.mark.parametrize("to", [to_x, to_weights])
def test_a_config_that_spoils_its_input_in_each_launch_of_a_round_is_blamed(
    monkeypatch: pytest.MonkeyPatch, to: Callable[[Tensors], torch.Tensor]
) -> None:
    def trouble(launch: int, t: Tensors) -> None:
        if launch > CHECKED + 1:
            to(t).add_(1.0)
            write(t)

    planted(monkeypatch, "scribbles_from_then_on", trouble)
    assert ("ok", "") == status(measured("scribbles_from_then_on"))

    assert (3, OTHER_BITS) == timed_again("scribbles_from_then_on")


def test_all_that_was_made_before_is_freed_before_it_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is device memory for one set of it."""
    session = measure_module._session
    assert session is not None
    tensors = [*session.first.values(), *session.outputs.values()]
    for inputs in session.inputs:
        tensors += [*inputs.reference.values(), *inputs.tensors.values()]
    made = [weakref.ref(tensor) for tensor in tensors]
    assert 2 + 2 + 2 * (2 + 3) == len(made)
    session.inputs[0].tensors["x"][0, 0] += 1.0
    session.damage()
    del session, tensors, inputs
    left: list[int] = []
    make_inputs = FakeSubject.inputs

    def counting(self: FakeSubject, *arguments: Any) -> dict[str, torch.Tensor]:
        left.append(sum(tensor() is not None for tensor in made))
        return make_inputs(self, *arguments)

    monkeypatch.setattr(FakeSubject, "inputs", counting)

    assert ("ok", "") == status(measured("right"))
    assert [0, 0] == left
