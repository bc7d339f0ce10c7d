"""A captured launch is named by its file, and is found again from what a run keeps of it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from captured_softmax import OTHER, SOURCES, other_launch, softmax_launch, write_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssdprof.kernels import registry
from ssdprof.kernels.captured.file import Writer
from ssdprof.kernels.captured.model import Argument, CapturedLaunch, DescriptorArg, DtypeArg, TensorArg
from ssdprof.kernels.captured.subject import (
    AS_CAPTURED,
    AS_MADE_UP,
    CapturedSubject,
    captured_again,
    captured_names,
    captured_subject,
)
from ssdprof.kernels.errors import ConfigError, UsageError
from ssdprof.kernels.interface import Subject


def wider(writer: Writer) -> CapturedLaunch:
    """The same kernel on the same data with another constant."""
    plain = softmax_launch(writer)
    return replace(plain, args={**plain.args, "BLOCK": 16}, number=2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_file(tmp_path / "one.launch")


@pytest.fixture
def several(tmp_path: Path) -> Path:
    return write_file(tmp_path / "several.launch", softmax_launch, other_launch, wider)


@pytest.fixture
def function(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text("def f(x_ptr):\n    return x_ptr.softmax(1)\n")
    return f"{tmp_path / 'mine.py'}:f"


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
