"""A captured launch as a subject: what tells it from others, its tensors, its spaces and its outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from captured_softmax import BEST, OTHER, SOURCES, other_launch, softmax_launch, write_file
from interpreted import call, interpreting_worker

from ssdprof.kernels.captured.file import Writer
from ssdprof.kernels.captured.model import CapturedLaunch, KeptStorage, KeptTensor, TensorArg
from ssdprof.kernels.captured.params import OWN
from ssdprof.kernels.captured.subject import (
    AS_CAPTURED,
    CONTEXT_BYTES,
    DATA_HASH,
    CapturedSubject,
    captured_again,
    captured_subject,
)
from ssdprof.kernels.errors import ConfigError, SpaceError
from ssdprof.kernels.interface import HELD_AGAINST
from ssdprof.profiling.workers.worker import Worker


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_file(tmp_path / "one.launch")


@pytest.fixture
def several(tmp_path: Path) -> Path:
    return write_file(tmp_path / "several.launch", softmax_launch, other_launch)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with interpreting_worker() as worker:
        yield worker


def test_the_identity_tells_arguments_in_one_value_each_and_hashes_the_rest(file: Path) -> None:
    identity = captured_subject(str(file)).identity()
    assert {"x_ptr": "float32[6,5]", "o_ptr": "float32[6,5]", "n_rows": 6, "n_cols": 5} == {
        name: value for name, value in identity.items() if name not in (DATA_HASH, HELD_AGAINST)
    }
    assert (16, AS_CAPTURED) == (len(identity[DATA_HASH]), identity[HELD_AGAINST])


def test_no_argument_is_hidden_by_a_key_of_ours_whatever_it_is_called(tmp_path: Path) -> None:
    plain = softmax_launch()
    args = {**plain.args, "data": TensorArg(0), "held_against": 7, "data_hash": 0.5}
    changed = {"args": args, "parameters": (*plain.parameters, *args)}
    path = write_file(tmp_path / "named.launch", lambda writer: softmax_launch(writer, **changed))
    identity = captured_subject(str(path)).identity()
    assert {"data": "float32[6,5]", "held_against": 7, "data_hash": "0.5"}.items() <= identity.items()
    assert [] == [name for name in (DATA_HASH, HELD_AGAINST) if name.isidentifier()]


@pytest.mark.parametrize(
    "change",
    [
        lambda launch: replace(launch, args={**launch.args, "stride_x": 7}),
        lambda launch: replace(launch, args={**launch.args, "BLOCK": 16}),
        lambda launch: replace(launch, tensors=(replace(launch.tensors[0], strides=(1, 6)), launch.tensors[1])),
    ],
    ids=["stride", "constant", "layout"],
)
def test_launches_that_differ_in_anything_that_counts_differ_in_identity(tmp_path: Path, change: Any) -> None:
    path = write_file(tmp_path / "two.launch", softmax_launch, lambda writer: change(softmax_launch(writer)))
    one, two = (CapturedSubject(str(path), index) for index in (0, 1))
    assert one.identity() != two.identity()
    assert 1 == captured_again(str(path), two.name, two.identity()).index


def test_how_it_was_launched_is_no_part_of_the_identity(tmp_path: Path) -> None:
    changed = {"number": 9, "in_place_ms": 1.0, "spreads": {"o_ptr": 0.1}, "config": {"BLOCK_M": 1}, "grid": (6,)}
    path = write_file(tmp_path / "two.launch", softmax_launch, lambda writer: softmax_launch(writer, **changed))
    one, two = (CapturedSubject(str(path), index) for index in (0, 1))
    assert one.identity() == two.identity()


def test_the_source_hash_is_of_the_kept_text(several: Path) -> None:
    hashes = [CapturedSubject(str(several), index).source_hashes()[""] for index in (0, 1)]
    assert hashes[0] != hashes[1]


def test_tensors_have_roles_and_one_that_is_written_in_part_counts_as_read(tmp_path: Path) -> None:
    def partly(writer: Writer) -> CapturedLaunch:
        launch = softmax_launch(writer)
        bits = writer.add_blob(bytes(launch.storages[1].size_bytes // 8))
        return replace(launch, storages=(launch.storages[0], replace(launch.storages[1], written=bits)))

    paths = [write_file(tmp_path / f"{make.__name__}.launch", make) for make in (softmax_launch, partly)]
    roles = [[meta.role for meta in captured_subject(str(path)).tensors().values()] for path in paths]
    assert [["in", "out"], ["in", "in-out"]] == roles


def test_tensors_of_one_storage_name_the_same(tmp_path: Path) -> None:
    def shared(writer: Writer) -> CapturedLaunch:
        blob = writer.add_blob(bytes(240))
        tensors = (KeptTensor(0, "float32", (6, 5), (5, 1), 0), KeptTensor(0, "float32", (6, 5), (5, 1), 30, "out"))
        return softmax_launch(tensors=tensors, storages=(KeptStorage(240, blob, blob),))

    subject = captured_subject(str(write_file(tmp_path / "one.launch", shared)))
    assert [("0", 0), ("0", 30)] == [(meta.storage, meta.offset) for meta in subject.tensors().values()]
    assert 2 * 240 + CONTEXT_BYTES == subject.memory_bytes()


def test_outputs_that_are_summed_atomically_have_no_order(tmp_path: Path, file: Path) -> None:
    path = write_file(tmp_path / "sum.launch", lambda writer: softmax_launch(writer, float_atomics=("o_ptr",)))
    assert frozenset({"o_ptr"}) == captured_subject(str(path)).unordered()
    assert frozenset() == captured_subject(str(file)).unordered()


def test_its_only_space_is_its_own_list(file: Path) -> None:
    subject = captured_subject(str(file))
    assert [OWN] == list(subject.space_names())
    assert OWN == subject.default_space
    assert BEST == subject.params.id(subject.baseline())
    assert subject.baseline() in subject.space(OWN).configs
    with pytest.raises(SpaceError, match="captured:softmax has no variants: leave --variant out"):
        subject.space(OWN, "tile")
    with pytest.raises(SpaceError, match="unknown space 'vllm': only own"):
        subject.space("vllm")


def test_a_config_resolves_to_itself_if_it_can_be_launched(tmp_path: Path, file: Path) -> None:
    subject = captured_subject(str(file))
    assert subject.baseline() == subject.resolve(subject.baseline())
    with pytest.raises(ConfigError, match="must be a whole number"):
        subject.resolve(subject.baseline().with_values({"BLOCK_M": -1}))
    absent = replace(SOURCES, grid=None, grid_absent="it is a method")
    path = write_file(tmp_path / "absent.launch", lambda writer: softmax_launch(writer, sources=absent))
    unknown = captured_subject(str(path))
    with pytest.raises(ConfigError, match="the grid of this config is not known"):
        unknown.resolve(unknown.baseline().with_values({"BLOCK_M": 64}))


def test_remarks_tell_the_source_the_grid_and_the_captures_notes(tmp_path: Path) -> None:
    plain = replace(SOURCES, grid=None)
    path = write_file(
        tmp_path / "told.launch",
        lambda writer: softmax_launch(writer, sources=plain, notes=("one", 'data: {"tensor": 0}')),
    )
    subject = captured_subject(str(path))
    remarks = subject.remarks(subject.space(OWN).configs, "sm_90")
    assert ["captured-source", "grid-as-captured", "capture-note"] == [one.code for one in remarks]
    assert "one" == remarks[-1].message
    assert 2 == len(subject.remarks([subject.baseline()], "sm_90"))


def test_axes_are_numbered(file: Path) -> None:
    assert ["index0", "index1"] == [axis.name for axis in captured_subject(str(file)).axes("o_ptr")]


@pytest.mark.parametrize("config", [BEST, OTHER, "BLOCK_M=4,num_warps=1,num_stages=1,BLOCK=32"])
def test_the_kept_kernel_gives_the_programs_outputs_under_any_config(worker: Worker, file: Path, config: str) -> None:
    expected = captured_subject(str(file)).reference(captured_subject(str(file)).inputs("cpu", 0))["o_ptr"]
    (found,) = call(worker, "captured_softmax:outputs_here", str(file), config).values()
    assert expected.tolist() == [pytest.approx(row, rel=1e-6) for row in found]


def test_the_output_of_a_trusted_config_is_what_it_is_held_against(worker: Worker, tmp_path: Path) -> None:
    def wrong(writer: Writer) -> CapturedLaunch:
        launch = softmax_launch(writer)
        return replace(
            launch, storages=(launch.storages[0], replace(launch.storages[1], after=launch.storages[0].before))
        )

    path = str(write_file(tmp_path / "wrong.launch", wrong))
    (found,) = call(worker, "captured_softmax:reference_here", path, "", OTHER).values()
    assert [pytest.approx(1.0, rel=1e-6)] * 6 == [sum(row) for row in found]


def test_made_up_inputs_are_held_against_the_captured_config(worker: Worker, tmp_path: Path) -> None:
    note = 'data: {"tensor": 0, "name": "x_ptr", "min": -2.0, "max": 3.0, "mean": 0.5, "std": 1.0}'
    path = str(write_file(tmp_path / "dry.launch", lambda _: softmax_launch(notes=(note,))))
    (found,) = call(worker, "captured_softmax:reference_here", path, "", "").values()
    assert [pytest.approx(1.0, rel=1e-6)] * 6 == [sum(row) for row in found]
    assert 1 < len({row[0] for row in found})
