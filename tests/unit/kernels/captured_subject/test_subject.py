"""A captured launch as a subject: named by its file, the same again from a run, and described for reports."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from captured_softmax import SOURCES, TEXT, softmax_launch, write_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from interpreted import call, interpreting_worker

from ssdprof.kernels import registry
from ssdprof.kernels.captured.file import Writer
from ssdprof.kernels.captured.model import (
    Argument,
    CapturedLaunch,
    DescriptorArg,
    DtypeArg,
    KeptStorage,
    KeptTensor,
    Ref,
    TensorArg,
)
from ssdprof.kernels.captured.params import AROUND, OWN
from ssdprof.kernels.captured.subject import (
    AS_CAPTURED,
    AS_MADE_UP,
    CONTEXT_BYTES,
    CapturedSubject,
    captured_again,
    captured_names,
    captured_subject,
)
from ssdprof.kernels.errors import ConfigError, SpaceError, UsageError
from ssdprof.kernels.interface import Subject
from ssdprof.profiling.workers.worker import Worker

BEST, OTHER = "BLOCK_M=2,num_warps=4,num_stages=3", "BLOCK_M=1,num_warps=2,num_stages=3"


def other(writer: Writer) -> CapturedLaunch:
    """Another kernel on the same arguments and data."""
    text = TEXT.replace("def softmax", "def other")
    return softmax_launch(
        writer, name="other", sources=replace(SOURCES, modules={"m0": text}, kernel=Ref("m0", "other"))
    )


def wider(writer: Writer) -> CapturedLaunch:
    """The same kernel on the same data with another constant."""
    plain = softmax_launch(writer)
    return replace(plain, args={**plain.args, "BLOCK": 16}, number=2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_file(tmp_path / "one.launch")


@pytest.fixture
def several(tmp_path: Path) -> Path:
    return write_file(tmp_path / "several.launch", softmax_launch, other, wider)


@pytest.fixture
def function(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text("def f(x_ptr):\n    return x_ptr.softmax(1)\n")
    return f"{tmp_path / 'mine.py'}:f"


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with interpreting_worker() as worker:
        yield worker


def again(subject: Subject) -> CapturedSubject:
    """What a run of the subject finds, once its header went through a file."""
    assert isinstance(subject, CapturedSubject)
    found = registry.subject_of_run(subject.name, json.loads(json.dumps(subject.identity())), subject.file)
    assert isinstance(found, CapturedSubject)
    return found


def is_same(one: CapturedSubject, two: CapturedSubject) -> bool:
    facts = [(of.file, of.index, of.trusted, of.reference_name, of.identity(), of.params) for of in (one, two)]
    return facts[0] == facts[1]


def test_a_file_of_one_launch_needs_no_more_than_its_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    subject = captured_subject("one.launch")
    assert (str(file), 0, "captured:softmax") == (subject.file, subject.index, subject.name)
    assert isinstance(registry.subject("one.launch"), CapturedSubject)


@pytest.mark.parametrize(("which", "index"), [("1", 0), ("2", 1), ("3", 2), ("other", 1)])
def test_one_of_several_is_named_by_number_or_kernel(several: Path, which: str, index: int) -> None:
    assert index == captured_subject(f"{several}:{which}").index


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("", r"has 3 launches \(1 softmax, 2 other, 3 softmax\): name one as several.launch:NUMBER"),
        (":softmax", "has more than one launch 'softmax': name one of 1 softmax, 2 other, 3 softmax by its number"),
        (":0", "has no launch '0'"),
        (":4", "has no launch '4'"),
        (":²", "has no launch '²'"),
        (":" + "9" * 5000, "has no launch '99"),
        (":gone", "has no launch 'gone'"),
    ],
)
def test_what_names_no_launch_or_several_is_refused(several: Path, which: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        captured_subject(f"{several}{which}")


def test_a_file_that_is_not_there_says_how_one_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no file .*: `ssdprof capture -o gone.launch -- COMMAND` makes one"):
        captured_subject(f"{tmp_path / 'gone.launch'}:2")


def test_a_file_without_launches_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.launch"
    Writer(path).finish((), "python x.py", "2026-01-01")
    for ask in (lambda: captured_subject(str(path)), lambda: captured_names(path)):
        with pytest.raises(UsageError, match="has no launch whose data was kept"):
            ask()


def test_each_launch_of_a_file_has_a_name_that_finds_it(several: Path, file: Path) -> None:
    assert [f"{several}:{end}" for end in ("1", "other", "3")] == captured_names(several)
    assert [0, 1, 2] == [captured_subject(name).index for name in captured_names(several)]
    assert [f"{file}:softmax"] == captured_names(file)


def test_both_ways_to_say_what_is_correct_exclude_each_other(file: Path, function: str) -> None:
    with pytest.raises(UsageError, match="--reference and --trust both say which output is correct"):
        captured_subject(str(file), function, OTHER)


@pytest.mark.parametrize(
    ("trust", "said"), [("fast", "fast is not a config"), ("BLOCK_M=2,num_warps=3,num_stages=3", "power of two")]
)
def test_trust_of_what_is_no_config_is_refused(file: Path, trust: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        captured_subject(str(file), trust=trust)


def test_what_it_is_held_against_is_named(file: Path, function: str) -> None:
    held = [captured_subject(str(file), *one).reference_name for one in ((), ("captured",), (function,), ("", OTHER))]
    assert [AS_CAPTURED, AS_CAPTURED, function, f"the output of {OTHER}, which --trust names"] == held


@pytest.mark.parametrize("option", ["seqlen", "dtype", "tp", "z"])
def test_a_part_of_a_problem_is_refused(file: Path, option: str) -> None:
    with pytest.raises(UsageError, match=f"--{option}: a captured launch has the problem that it was captured with"):
        registry.subject(str(file), **{option: 1})
    with pytest.raises(UsageError, match="--preset: a captured launch"):
        registry.subject(str(file), preset="nemotron-3-nano")


@pytest.mark.parametrize("option", ["reference", "trust"])
def test_other_kernels_have_a_reference_of_their_own(option: str) -> None:
    with pytest.raises(UsageError, match=f"--{option} is for captured launches: chunk-scan has a reference of its own"):
        registry.subject(**{option: "captured"})  # type: ignore[arg-type]


def test_a_run_finds_its_launch_again(several: Path, function: str) -> None:
    for name in captured_names(several):
        for words in ({}, {"reference": function}, {"reference": "captured"}, {"trust": OTHER}):
            subject = captured_subject(name, **words)
            assert is_same(subject, again(subject))


def test_a_launch_without_data_is_found_again_too(tmp_path: Path) -> None:
    path = write_file(tmp_path / "dry.launch", lambda _: softmax_launch())
    subject = captured_subject(str(path))
    assert AS_MADE_UP == subject.reference_name
    assert is_same(subject, again(subject))


SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ARGUMENTS: st.SearchStrategy[Argument] = st.recursive(
    SIMPLE
    | st.sampled_from([TensorArg(0), DescriptorArg(1, (2, 3), (3, 1), (1, 2))])
    | st.sampled_from(["fp32", "torch.int8"]).map(DtypeArg),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)
NAMES = st.sampled_from(["x_ptr", "n", "stride_x", "data", "held_against", "MODE", "é"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(NAMES, ARGUMENTS, max_size=5), min_size=1, max_size=3))
def test_any_launch_of_a_file_is_found_again_from_what_a_run_keeps(
    tmp_path: Path, all_args: list[dict[str, Argument]]
) -> None:
    def make(args: dict[str, Argument]) -> Any:
        names = (*args, "BLOCK_M")
        constexprs = tuple(name for name in names if name in ("MODE", "BLOCK_M"))
        return lambda writer: replace(
            softmax_launch(writer),
            args=args,
            parameters=names,
            constexprs=constexprs,
            sources=replace(SOURCES, heuristics=()),
        )

    path = tmp_path / "any.launch"
    path.unlink(missing_ok=True)
    write_file(path, *map(make, all_args))
    subjects = [CapturedSubject(str(path), index) for index in range(len(all_args))]
    for subject in subjects:
        first = next(one for one in subjects if one.identity() == subject.identity())
        assert is_same(first, again(subject))


def test_a_run_of_a_launch_that_is_not_there_any_more_says_so(file: Path) -> None:
    subject = captured_subject(str(file))
    identity = subject.identity()
    with pytest.raises(UsageError, match=r"that .*one.launch does not have any more: capture it again"):
        captured_again(str(file), subject.name, {**identity, "n_rows": 7})
    with pytest.raises(UsageError, match="a launch of captured:other that"):
        captured_again(str(file), "captured:other", identity)
    file.unlink()
    with pytest.raises(UsageError, match="cannot be read any more"):
        captured_again(str(file), subject.name, identity)


def test_a_file_that_is_captured_anew_is_read_anew(file: Path) -> None:
    subject = captured_subject(str(file))
    before = subject.identity()
    file.unlink()
    write_file(file, lambda writer: softmax_launch(writer, rows=8))
    os.utime(file, ns=(1, 1))
    assert (6, 8) == (before["n_rows"], subject.identity()["n_rows"])


def test_a_file_that_goes_while_it_is_used_is_told(several: Path) -> None:
    subject = captured_subject(f"{several}:3")
    several.unlink()
    with pytest.raises(UsageError, match="cannot be read any more: No such file or directory"):
        subject.identity()
    write_file(several)
    with pytest.raises(UsageError, match="was replaced: it has 1 launches"):
        subject.identity()


def test_the_identity_tells_arguments_in_one_value_each_and_hashes_the_rest(file: Path) -> None:
    identity = captured_subject(str(file)).identity()
    assert {"x_ptr": "float32[6,5]", "o_ptr": "float32[6,5]", "n_rows": 6, "n_cols": 5} == {
        name: value for name, value in identity.items() if name not in ("data", "held_against")
    }
    assert (16, AS_CAPTURED) == (len(identity["data"]), identity["held_against"])


@pytest.mark.parametrize(
    "change",
    [
        lambda launch: replace(launch, args={**launch.args, "stride_x": 7}),
        lambda launch: replace(launch, args={**launch.args, "BLOCK": 16}),
        lambda launch: replace(launch, tensors=(replace(launch.tensors[0], strides=(1, 6)), launch.tensors[1])),
        lambda launch: replace(launch, storages=(launch.storages[0], launch.storages[0])),
    ],
    ids=["stride", "constant", "layout", "data"],
)
def test_launches_that_differ_in_anything_that_counts_differ_in_identity(tmp_path: Path, change: Any) -> None:
    path = write_file(tmp_path / "two.launch", softmax_launch, lambda writer: change(softmax_launch(writer)))
    one, two = (CapturedSubject(str(path), index) for index in (0, 1))
    assert one.identity() != two.identity()
    assert 1 == again(two).index


def test_how_it_was_launched_is_no_part_of_the_identity(tmp_path: Path) -> None:
    changed = {"number": 9, "in_place_ms": 1.0, "config": {"BLOCK_M": 1}, "grid": (6,)}
    path = write_file(tmp_path / "two.launch", softmax_launch, lambda writer: softmax_launch(writer, **changed))
    one, two = (CapturedSubject(str(path), index) for index in (0, 1))
    assert one.identity() == two.identity()


def test_the_source_hash_is_of_the_kept_text(several: Path) -> None:
    hashes = [CapturedSubject(str(several), index).source_hashes()[""] for index in range(3)]
    assert hashes[0] == hashes[2] != hashes[1]


def test_tensors_have_roles_and_one_that_is_written_in_part_counts_as_read(tmp_path: Path) -> None:
    def partly(writer: Writer) -> CapturedLaunch:
        launch = softmax_launch(writer)
        bits = writer.add_blob(bytes(launch.storages[1].size_bytes // 8))
        return replace(launch, storages=(launch.storages[0], replace(launch.storages[1], written=bits)))

    path = write_file(tmp_path / "two.launch", softmax_launch, partly)
    roles = [[meta.role for meta in CapturedSubject(str(path), index).tensors().values()] for index in (0, 1)]
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


def test_its_spaces_are_its_own_list_and_what_is_around(file: Path) -> None:
    subject = captured_subject(str(file))
    assert [OWN, AROUND] == list(subject.space_names())
    assert OWN == subject.default_space
    assert BEST == subject.params.id(subject.baseline())
    assert subject.baseline() in subject.space(OWN).configs
    with pytest.raises(SpaceError, match="captured:softmax has no variants: leave --variant out"):
        subject.space(OWN, "tile")


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
    assert ["dim 0", "dim 1"] == [axis.name for axis in captured_subject(str(file)).axes("o_ptr")]


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
