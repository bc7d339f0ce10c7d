"""Outputs of every kind: several, read and written, with gaps, in one storage, of one dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import fake_launches
import pytest
import torch
from fake_kernel import FakeSubject, fake
from fake_launches import FakeKernel, Tensors
from host_timer import HOST
from measured_here import SUBJECT, measured, planted, status

from ssdprof.kernels.interface import Axis
from ssdprof.kernels.launch import TensorMeta
from ssdprof.profiling.measuring import measure as measure_module
from ssdprof.profiling.measuring.measure import prepare, resample
from ssdprof.profiling.measuring.session import LAUNCHES_PER_SEED


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_module, "_session", None)
    prepare(SUBJECT, HOST, seed=3)


def test_a_write_between_the_rows_of_the_outputs_is_seen() -> None:
    verdict, reason = status(measured("between"))

    assert ("wrong", True) == (verdict, reason.startswith("wrote outside its output: 4 bytes between its rows"))
    assert ("ok", "") == status(measured("right"))


@pytest.mark.parametrize("timer", [HOST, "fake_timer:SteadyTimer"])
def test_every_launch_gets_the_tensors_that_it_reads_and_writes_as_they_were(
    monkeypatch: pytest.MonkeyPatch, timer: str
) -> None:
    """Those that load, are checked, are timed once and in a batch, now and in a later round."""
    prepare(SUBJECT, timer, seed=3)
    first, last = (SUBJECT.inputs("cpu", seed) for seed in (3, 4))
    given: list[torch.Tensor] = []

    def note_total(_: int, t: Tensors) -> None:
        given.append(t.total - t.weights[:, None] * t.x)

    planted(monkeypatch, "right_and_noted", note_total)

    assert ("ok", "") == status(measured("right_and_noted"))
    resample(SUBJECT.launch(fake("right_and_noted")), "right_and_noted", None, None, None, True)

    per_seed, timed, timed_again = 1 + LAUNCHES_PER_SEED, 1, 3
    expected = [last] + [first] * per_seed + [last] * (per_seed + timed + timed_again)
    for total, inputs in zip(given, expected, strict=True):
        torch.testing.assert_close(total, inputs["total"])


def test_an_output_that_is_read_and_written_is_checked_as_the_others_are() -> None:
    found = measured("forgets_the_total")

    assert "total" == found.check.output
    verdict, reason = status(found)
    assert ("wrong", True) == (verdict, reason.startswith("total: relative error "))
    assert "; all rows; worst: row " in reason


def test_an_output_that_is_wrong_on_the_second_inputs_alone_is_located_in_that_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = SUBJECT.inputs("cpu", 4)

    def trouble(_: int, t: Tensors) -> None:
        if torch.equal(t.x, second["x"]):
            t.total[3:5, 8:] += 9.0

    planted(monkeypatch, "wrong_on_the_second", trouble)

    found = measured("wrong_on_the_second", LANES=8, rows=2)

    assert (2, "total") == (found.check.seeds, found.check.output)
    assert "all in one tile: rows 3 to 4, lanes 8 to 15; worst: row " in status(found)[1]


def test_where_an_output_is_wrong_is_compared_with_the_tiles_of_its_config() -> None:
    in_one = measured("wrong_tile", rows=2, LANES=8)
    in_two = measured("wrong_tile", rows=1, LANES=8), measured("wrong_tile", rows=2, LANES=4)

    assert "all in one tile: rows 3 to 4, lanes 8 to 15" in status(in_one)[1]
    assert ["one-tile", "rows", "rows"] == [one.check.findings[0].code for one in (in_one, *in_two)]


def test_the_cause_that_the_subject_knows_goes_before_where_it_is_wrong() -> None:
    everywhere = measured("half")
    in_part = measured("narrow", LANES=4)

    assert ["partial", "everywhere"] == [one.code for one in everywhere.check.findings]
    assert "only half of two" == everywhere.check.findings[0].message
    assert ["partial", "everywhere"] == [one.code for one in in_part.check.findings]
    assert "only 8 of 16 lanes" == in_part.check.findings[0].message


class LineSubject(FakeSubject):
    """Whose `scaled` has one dimension, and is twice the first lane."""

    def tensors(self) -> Mapping[str, TensorMeta]:
        return {**super().tensors(), "scaled": TensorMeta((self.rows,), "float32", "out")}

    def reference(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        correct = super().reference(inputs)
        return {**correct, "scaled": correct["scaled"][:, 0]}

    def axes(self, output: str) -> Sequence[Axis]:
        return super().axes(output)[:1] if output == "scaled" else super().axes(output)


def test_an_output_of_one_dimension_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def body(t: Tensors) -> None:
        t.scaled.copy_(2 * t.x[:, 0])
        t.total.add_(t.weights[:, None] * t.x)
        t.scaled[3:5] += spoiled

    monkeypatch.setattr(fake_launches, "of_lines", FakeKernel(body), raising=False)
    prepare(LineSubject(), HOST, seed=3)
    spoiled = 0.0
    assert ("ok", "") == status(measured("of_lines"))
    spoiled = 9.0
    assert status(measured("of_lines"))[1].partition("; ")[2].startswith("all rows: rows 3 to 4; worst: off by ")


class LongLineSubject(LineSubject):
    """With an output of one dimension that is cut into rows."""

    def reference(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**super().reference(inputs), "scaled": 2 * inputs["x"][:, 0].repeat(100)}

    def tensors(self) -> Mapping[str, TensorMeta]:
        return {**super().tensors(), "scaled": TensorMeta((100 * self.rows,), "float32", "out")}


def test_a_long_output_of_one_dimension_is_located_by_rows_that_it_is_cut_into(monkeypatch: pytest.MonkeyPatch) -> None:
    def body(t: Tensors) -> None:
        t.scaled.copy_(2 * t.x[:, 0].repeat(100))
        t.total.add_(t.weights[:, None] * t.x)
        t.scaled[300:302] += 9.0

    monkeypatch.setattr(fake_launches, "of_long_lines", FakeKernel(body), raising=False)
    prepare(LongLineSubject(), HOST, seed=3)
    assert (
        "128-element row 2, elements 44 to 45; worst: 128-element row 2, off by "
        in status(measured("of_long_lines"))[1]
    )


class MaskedSubject(FakeSubject):
    """Whose `scaled` is NaN in the first lane and -inf in the second."""

    def reference(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found = super().reference(inputs)
        found["scaled"][:, 0], found["scaled"][:, 1] = torch.nan, -torch.inf
        return found


@pytest.mark.parametrize(
    ("first", "verdict"), [(torch.nan, "ok"), (0.0, "wrong"), (torch.inf, "wrong"), (None, "wrong")]
)
def test_nan_is_correct_where_the_reference_has_it_unless_it_is_what_was_never_written(
    monkeypatch: pytest.MonkeyPatch, first: float | None, verdict: str
) -> None:
    def body(t: Tensors) -> None:
        t.scaled[:, 2:].copy_(2 * t.x[:, 2:])
        t.scaled[:, 1] = -torch.inf
        t.total.add_(t.weights[:, None] * t.x)
        if first is not None:
            t.scaled[:, 0] = first

    monkeypatch.setattr(fake_launches, "masks", FakeKernel(body), raising=False)
    prepare(MaskedSubject(), HOST, seed=3)
    assert verdict == status(measured("masks"))[0]
    assert {"scaled"} == (measure_module._session and measure_module._session.special)
