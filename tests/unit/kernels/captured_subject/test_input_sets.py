"""Launches that differ in their data alone: one subject with a set of inputs, and of outputs, for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from captured_softmax import COLS, ROWS, softmax_launch, write_file
from host_timer import HostTimer
from interpreted import call, interpreting_worker

from ssdprof.kernels.captured.alike import InputSet, alike
from ssdprof.kernels.captured.arguments import memoryview_of
from ssdprof.kernels.captured.file import Writer
from ssdprof.kernels.captured.model import CapturedLaunch, KeptStorage
from ssdprof.kernels.captured.subject import (
    CONTEXT_BYTES,
    DATA_HASH,
    MADE_UP_SETS,
    captured_again,
    captured_names,
    captured_subject,
)
from ssdprof.profiling.measuring.session import LAUNCHES_PER_SEED, Session
from ssdprof.profiling.workers.worker import Worker

Make = Callable[[Writer], CapturedLaunch]


def of(x: torch.Tensor, before: torch.Tensor | None = None, **changes: Any) -> Make:
    """A softmax of these numbers, into what holds `before`."""

    def make(writer: Writer) -> CapturedLaunch:
        held = torch.zeros(ROWS, COLS) if before is None else before
        blobs = [writer.add_blob(memoryview_of(one)) for one in (x, held, torch.softmax(x, 1))]
        storages = (KeptStorage(4 * x.numel(), blobs[0]), KeptStorage(4 * x.numel(), blobs[1], blobs[2]))
        return softmax_launch(storages=storages, **changes)

    return make


def numbers(seed: int) -> torch.Tensor:
    return torch.randn(ROWS, COLS, generator=torch.Generator().manual_seed(seed))


def wider(writer: Writer) -> CapturedLaunch:
    plain = softmax_launch(writer)
    return replace(plain, args={**plain.args, "BLOCK": 16})


def partly(writer: Writer) -> CapturedLaunch:
    """Writes the first row alone; the rest holds sevens."""
    before = torch.full((ROWS, COLS), 7.0)
    after = before.clone()
    after[0] = 0.5
    blobs = [writer.add_blob(memoryview_of(one)) for one in (numbers(9), before, after)]
    flags = bytearray(-(-4 * ROWS * COLS // 8))
    flags[:2], flags[2] = b"\xff\xff", 0xF0  # 20 bytes
    written = writer.add_blob(flags)
    storages = (KeptStorage(120, blobs[0]), KeptStorage(120, blobs[1], blobs[2], written))
    return softmax_launch(storages=storages)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with interpreting_worker() as worker:
        yield worker


@pytest.fixture
def three(tmp_path: Path) -> Path:
    return write_file(tmp_path / "three.launch", *[of(numbers(i), number=i + 4) for i in range(3)])


def test_each_seed_has_the_next_set_with_the_outputs_of_the_same(three: Path) -> None:
    subject = captured_subject(str(three))
    assert 3 == subject.input_sets
    for seed in (0, 1, 2, 3, 31):
        inputs = subject.inputs("cpu", seed)
        assert torch.equal(numbers(seed % 3), inputs["x_ptr"])
        assert torch.equal(torch.softmax(numbers(seed % 3), 1), subject.reference(inputs)["o_ptr"])


def test_inputs_of_unknown_origin_are_taken_for_the_first_set(three: Path) -> None:
    found = captured_subject(str(three)).reference({"x_ptr": numbers(2)})
    assert torch.equal(torch.softmax(numbers(0), 1), found["o_ptr"])


def test_a_function_gets_the_set_that_is_asked_about(three: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def f(x_ptr):\n    return x_ptr.softmax(1)\n")
    subject = captured_subject(str(three), f"{tmp_path / 'mine.py'}:f")
    for seed in range(3):
        assert torch.equal(torch.softmax(numbers(seed), 1), subject.reference(subject.inputs("cpu", seed))["o_ptr"])


def test_launches_alike_have_one_name_and_no_number_is_needed(three: Path, tmp_path: Path) -> None:
    assert [f"{three}:softmax"] == captured_names(three)
    assert {0} == {captured_subject(f"{three}{which}").index for which in ("", ":softmax", ":1", ":2", ":3")}
    more = write_file(tmp_path / "more.launch", of(numbers(0)), wider, of(numbers(1)))
    assert [f"{more}:1", f"{more}:2"] == captured_names(more)
    assert [2, 1, 2] == [captured_subject(f"{more}:{which}").input_sets for which in (1, 2, 3)]


@pytest.mark.parametrize(
    "change",
    [
        {"args": {"n_rows": True}},
        {"config": {"BLOCK_M": 1}},
        {"grid": (6,)},
        {"name": "other"},
        {"float_atomics": ("o_ptr",)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_launches_that_differ_in_more_than_data_are_not_alike(tmp_path: Path, change: dict[str, Any]) -> None:
    plain = softmax_launch()
    change = {"args": {**plain.args, **change["args"]}} if "args" in change else change
    assert ((0, 1), (2,)) == alike([plain, replace(plain, number=3, notes=("one",)), replace(plain, **change)])


def test_a_layout_or_role_of_its_own_is_not_alike() -> None:
    plain = softmax_launch()
    x, out = plain.tensors
    others = [replace(x, strides=(1, 6)), replace(x, offset=1), replace(x, role="in-out"), replace(x, dtype="int32")]
    assert 5 == len(alike([plain, *[replace(plain, tensors=(one, out)) for one in others]]))


def test_launches_that_read_the_same_data_are_one_set_and_a_remark_says_so(tmp_path: Path) -> None:
    same = [of(numbers(0)), of(numbers(0), before=numbers(5)), of(numbers(1))]  # what is only written is not read
    subject = captured_subject(str(write_file(tmp_path / "same.launch", *same)))
    assert 2 == subject.input_sets
    said = [one.message for one in subject.remarks((), "sm_90") if one.code == "same-inputs"]
    assert ["of its 3 launches some read the same data: there are 2 different sets of inputs"] == said


def test_a_file_without_repeated_data_says_nothing_of_it(three: Path) -> None:
    assert "same-inputs" not in [one.code for one in captured_subject(str(three)).remarks((), "sm_90")]


def test_the_identity_is_of_the_data_of_every_set(three: Path, tmp_path: Path) -> None:
    two = write_file(tmp_path / "two.launch", of(numbers(0)), of(numbers(1)))
    one = write_file(tmp_path / "one.launch", of(numbers(0)))
    subjects = [captured_subject(str(path)) for path in (one, two, three)]
    assert 3 == len({subject.identity()[DATA_HASH] for subject in subjects})
    for subject in subjects:
        assert 0 == captured_again(subject.file, subject.name, subject.identity()).index


def test_an_output_that_one_launch_writes_in_part_is_in_out_in_all_sets(tmp_path: Path) -> None:
    subject = captured_subject(str(write_file(tmp_path / "part.launch", of(numbers(0)), partly)))
    assert ["in", "in-out"] == [meta.role for meta in subject.tensors().values()]
    whole, part = (subject.inputs("cpu", seed)["o_ptr"] for seed in (0, 1))
    assert whole.isnan().all()
    assert part[0].isnan().all()
    assert torch.equal(torch.full((ROWS - 1, COLS), 7.0), part[1:])


def test_made_up_inputs_are_after_the_statistics_of_each_launch_and_at_least_two_sets(tmp_path: Path) -> None:
    def dry(least: float) -> Make:
        note = f'data: {{"tensor": 0, "name": "x_ptr", "min": {least}, "max": 90.0, "mean": 0.5, "std": 1.0}}'
        return lambda _: softmax_launch(notes=(note,))

    subject = captured_subject(str(write_file(tmp_path / "dry.launch", *map(dry, (10.0, 20.0, 30.0)))))
    assert [10.0, 20.0, 30.0, 10.0] == [subject.inputs("cpu", seed)["x_ptr"].min().item() for seed in range(4)]
    assert 3 == subject.input_sets
    assert "same-inputs" not in [one.code for one in subject.remarks((), "sm_90")]
    alone = captured_subject(str(write_file(tmp_path / "alone.launch", dry(-3.0))))
    assert MADE_UP_SETS == alone.input_sets
    assert not torch.equal(*(alone.inputs("cpu", seed)["x_ptr"] for seed in (0, 1)))


def test_memory_is_of_one_set_however_many_there_are(tmp_path: Path, three: Path) -> None:
    subject, single = captured_subject(str(three)), captured_subject(str(write_file(tmp_path / "one.launch")))
    assert 2 * 240 + CONTEXT_BYTES == subject.memory_bytes() == single.memory_bytes()


def test_a_session_checks_each_set_against_its_own_outputs(three: Path) -> None:
    session = Session(captured_subject(str(three)), HostTimer(), seed=2)  # type: ignore[arg-type]
    assert [2, 0, 1] == [inputs.tensors.number for inputs in session.inputs if isinstance(inputs.tensors, InputSet)]
    for inputs in session.inputs:
        assert torch.equal(torch.softmax(inputs.tensors["x_ptr"], 1), inputs.reference["o_ptr"])


@pytest.mark.parametrize(("is_correct", "verdict"), [(True, "ok"), (False, "differs")])
def test_a_config_is_checked_on_every_set(worker: Worker, tmp_path: Path, is_correct: bool, verdict: str) -> None:
    def last(writer: Writer) -> CapturedLaunch:
        launch = of(numbers(2))(writer)
        x, out = launch.storages
        return launch if is_correct else replace(launch, storages=(x, replace(out, after=x.before)))

    path = write_file(tmp_path / "last.launch", of(numbers(0)), of(numbers(1)), last)
    found = call(worker, "captured_softmax:checked_here", str(path), "BLOCK_M=1,num_warps=2,num_stages=3")
    assert (3, 3 * LAUNCHES_PER_SEED, verdict) == tuple(found)


def test_a_launch_without_inputs_is_held_against_what_it_left(tmp_path: Path) -> None:
    def filled(writer: Writer) -> CapturedLaunch:
        launch = of(numbers(0))(writer)
        return replace(launch, tensors=(replace(launch.tensors[0], role="out"), launch.tensors[1]))

    subject = captured_subject(str(write_file(tmp_path / "fill.launch", filled)))
    inputs = subject.inputs("cpu", 0)
    assert {} == inputs
    assert torch.equal(torch.softmax(numbers(0), 1), subject.reference(inputs)["o_ptr"])
