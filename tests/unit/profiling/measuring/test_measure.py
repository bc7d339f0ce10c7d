"""Who is blamed for a write where none may be, and what is done about it: measuring in this process, on the CPU."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fake_kernel
import pytest
import torch
from fake_kernel import CHECKED, FakeKernel, FakeProblem, FakeSpec, fake
from fake_timer import SteadyTimer

from ssdprof.profiling.measuring import measure as measure_module
from ssdprof.profiling.measuring.check import judge
from ssdprof.profiling.measuring.measure import LAUNCHES_PER_SEED, measure, prepare, resample
from ssdprof.profiling.runs.model import Finding, Measurement, Status

SPEC, PROBLEM = FakeSpec(), FakeProblem()
CHANGED = "wrote to memory that is not its output: x"
OTHER_BITS = "a launch that was timed gave other bits than those that were checked: a race or a miscompilation"

Trouble = Callable[[int, torch.Tensor, torch.Tensor], None]


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_module, "_session", None)
    prepare(SPEC, PROBLEM, "cpu", seed=3)


def test_a_device_that_is_ready_names_the_process_that_measures_on_it() -> None:
    assert os.getpid() == prepare(SPEC, PROBLEM, "cpu", seed=3).pid


def planted(monkeypatch: pytest.MonkeyPatch, name: str, trouble: Trouble) -> None:
    """A right kernel of that name with a trouble after each launch, which is told the launch's number, x and out."""
    launches = 0

    def body(x: torch.Tensor, out: torch.Tensor) -> None:
        nonlocal launches
        launches += 1
        out.copy_(2 * x)
        trouble(launches, x, out)

    monkeypatch.setattr(fake_kernel, name, FakeKernel(body, dict), raising=False)


def measured(name: str) -> Measurement:
    config = fake(name)
    return measure(SPEC.launch(PROBLEM, config), config, name)


def status(measurement: Measurement) -> tuple[Status, str]:
    return judge(measurement.check, SPEC.tolerances(PROBLEM))


def timed_again(name: str, right: bool = True) -> tuple[int, str]:
    """How many samples there were, and what was wrong."""
    batch, trouble = resample(SPEC.launch(PROBLEM, fake(name)), name, 3, 1.0, None, right)
    return len(batch.samples_ms), trouble


def in_launch(number: int) -> Trouble:
    """Writes to the input in the launch of this number alone."""
    return lambda launch, x, out: x.add_(1.0) if launch == number else None


@pytest.mark.parametrize("number", [1, 2, CHECKED, CHECKED + 1])
def test_a_launch_that_writes_to_its_input_is_wrong_and_the_next_config_is_not(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Whichever of its launches did it, the one that is timed among them."""
    planted(monkeypatch, "scribbles_once", in_launch(number))

    found = measured("scribbles_once")

    assert (("wrong", CHANGED), None) == (status(found), found.batch)
    assert ("ok", "") == status(measured("right"))


def test_a_wrong_config_that_writes_to_its_input_when_it_is_timed_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = 1 + 1 + measure_module.LAUNCHES_IF_WRONG

    def trouble(launch: int, x: torch.Tensor, out: torch.Tensor) -> None:
        out[2] = 9.0
        if launch > checked:
            x[0, 0] += 1.0

    planted(monkeypatch, "wrong_and_scribbles", trouble)

    found = measured("wrong_and_scribbles")

    assert (("wrong", CHANGED), None) == (status(found), found.batch)
    assert ["input-changed", "tile"] == [finding.code for finding in found.check.findings]
    assert ("ok", "") == status(measured("right"))


def test_a_write_outside_the_output_in_the_launch_that_is_timed_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def trouble(launch: int, x: torch.Tensor, out: torch.Tensor) -> None:
        if launch == CHECKED + 1:
            out.as_strided((1,), (1,), storage_offset=out.storage_offset() - 1).fill_(1.0)

    planted(monkeypatch, "beyond_when_timed", trouble)

    verdict, reason = status(measured("beyond_when_timed"))

    assert ("wrong", True) == (verdict, "1 element before its beginning" in reason)
    assert ("ok", "") == status(measured("right"))


@pytest.mark.parametrize("name", ["right", "wrong_row", "unstable", "scribbles", "beyond"])
def test_damage_is_looked_for_once_for_each_config(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    looks: list[str] = []
    damage = measure_module._Session.damage

    def counting(session: measure_module._Session) -> list[Finding]:
        looks.append(name)
        return damage(session)

    monkeypatch.setattr(measure_module._Session, "damage", counting)

    measured(name)

    assert [name] == looks


def test_the_second_and_the_fourth_launch_on_each_set_of_inputs_are_under_load(monkeypatch: pytest.MonkeyPatch) -> None:
    launched = 0
    under_load: list[int] = []

    def count(launch: int, x: torch.Tensor, out: torch.Tensor) -> None:
        nonlocal launched
        launched = launch

    @contextmanager
    def load(timer: SteadyTimer, duration_ms: float) -> Iterator[None]:
        before = launched
        yield
        under_load.extend(range(before + 1, launched + 1))

    planted(monkeypatch, "right_and_counted", count)
    monkeypatch.setattr(SteadyTimer, "under_load", load)
    prepare(SPEC, PROBLEM, "fake_timer:SteadyTimer", seed=3)

    measured("right_and_counted")

    to_load, once = 1, 1  # before the first that counts; between the first and the second
    first = to_load + 1
    second_and_fourth = [first + once + 1, first + once + 3]
    assert [*second_and_fourth, *[number + once + LAUNCHES_PER_SEED for number in second_and_fourth]] == under_load


def test_a_config_is_not_blamed_in_a_round_for_what_another_did_to_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, "scribbles_later", in_launch(CHECKED + 4))
    assert [("ok", "")] * 2 == [status(measured(name)) for name in ("right", "scribbles_later")]
    assert [(3, "")] * 2 == [timed_again(name) for name in ("right", "scribbles_later")]

    assert [(3, "")] * 3 == [timed_again(name) for name in ("right", "right", "scribbles_later")]


def test_a_config_that_gives_other_bits_in_a_round_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    def trouble(launch: int, x: torch.Tensor, out: torch.Tensor) -> None:
        if launch > CHECKED + 1:
            out.mul_(1 + 1e-5)

    planted(monkeypatch, "races_later", trouble)
    assert ("ok", "") == status(measured("races_later"))

    assert (3, OTHER_BITS) == timed_again("races_later")
    assert (3, "") == timed_again("races_later", right=False)


def test_a_config_that_spoils_its_input_in_each_launch_of_a_round_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, "scribbles_from_then_on", lambda launch, x, out: x.add_(1.0) if launch > CHECKED + 1 else None)
    assert ("ok", "") == status(measured("scribbles_from_then_on"))

    assert (3, OTHER_BITS) == timed_again("scribbles_from_then_on")


def test_all_that_was_made_before_is_freed_before_it_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is device memory for one set of it."""
    session = measure_module._session
    assert session is not None
    tensors = [session.first, session.out.tensor]
    for inputs in session.inputs:
        tensors += [inputs.reference, *inputs.tensors.values()]
    made = [weakref.ref(tensor) for tensor in tensors]
    session.inputs[0].tensors["x"][0, 0] += 1.0
    session.damage()
    del session, tensors, inputs
    left: list[int] = []
    make_inputs = FakeSpec.make_inputs

    def counting(self: FakeSpec, *arguments: Any) -> dict[str, torch.Tensor]:
        left.append(sum(tensor() is not None for tensor in made))
        return make_inputs(self, *arguments)

    monkeypatch.setattr(FakeSpec, "make_inputs", counting)

    assert ("ok", "") == status(measured("right"))
    assert [0, 0] == left
