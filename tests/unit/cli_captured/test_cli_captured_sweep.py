"""`ssdprof sweep` of captured launches without a GPU, one or all of a file; `ssdprof explain` of one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from captured_softmax import write_file

from ssdprof.cli.main import run as ssdprof
from ssdprof.cli.options import SubjectOptions
from ssdprof.kernels.captured.subject import captured_subject
from ssdprof.kernels.interface import HELD_AGAINST
from ssdprof.kernels.registry import subject_of_run
from ssdprof.profiling.runs.store import load_run

Say = Callable[..., str]
Command = Callable[..., "CompletedProcess[str]"]
CONFIGS = [f"ROWS={rows},num_warps={warps},num_stages=3" for rows in (1, 2) for warps in (2, 4)]


@pytest.fixture
def reference(here: Path) -> str:
    (here / "mine.py").write_text("def f(x_ptr):\n    return x_ptr.softmax(1)\n")
    return "mine.py:f"


def test_all_launches_of_a_file_are_swept_and_the_whole_is_told(command: Command, here: Path) -> None:
    done = command("sweep", "two.launch", "--all", "--gpu", "none", "-o", "runs")
    assert 0 == done.returncode, done.stderr
    told = " ".join(done.stdout.split())
    assert [] == [config for config in CONFIGS if config not in told]
    for line in (
        "Problem 1 of 2: two.launch:softmax",
        "Problem 2 of 2: two.launch:double",
        f"runs the source of softmax as it was captured from {here / 'program.py'}, line 8",
        "The whole",
        "not in the sums, since the captured config has no latency: softmax, double",
    ):
        assert line in told
    runs = {path.stem: load_run(path) for path in (here / "runs").glob("*.jsonl")}
    assert {"softmax": 4, "double": 1} == {name: len(run.rows) for name, run in runs.items()}
    assert {("not-run", True)} == {(row.status, row.compiled is not None) for run in runs.values() for row in run.rows}
    for name, run in runs.items():
        again = subject_of_run(run.header.kernel, run.header.problem, run.header.kernel_file)
        expected = captured_subject(f"two.launch:{name}")
        assert (expected.name, expected.identity()) == (again.name, again.identity())


def test_a_run_of_a_captured_launch_is_shown_as_it_was_swept_without_the_file(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    one = ["two.launch:1", "--values", "ROWS=1", "--values", "num_warps=2"]
    assert 0 == ssdprof(["sweep", *one, "--gpu", "none", "-q"])
    swept = capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    assert 0 == ssdprof(["show"])
    heading, _, shown = capsys.readouterr().out.partition("\n\n")
    assert heading.startswith("The run kept last, of 20")
    assert "compiled for sm_90, not measured, Triton " in heading
    assert swept == shown
    assert 0 == ssdprof(["runs"])
    assert "captured:softmax x_ptr float32[3,5]" in " ".join(capsys.readouterr().out.split())


def test_one_launch_is_swept_against_a_reference_with_other_constants(
    here: Path, reference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["two.launch:1", "--reference", reference, "--values", "BLOCK=8,16", "--values", "ROWS=2"]
    assert 0 == ssdprof(["sweep", *asked, "--gpu", "none", "-q", "--json"])
    run = json.loads(capsys.readouterr().out)
    assert "captured:softmax" == run["header"]["kernel"]
    assert f"{here / 'mine.py'}:f" == run["header"]["problem"][HELD_AGAINST]
    assert 4 == len(run["rows"])
    assert {8, 16} == {row["BLOCK"] for row in run["rows"]}


def test_what_the_answer_says_to_do_next_works_as_it_stands(
    here: Path, reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    mine, as_captured = str(tmp_path / "mine.jsonl"), "the launch as captured"
    for options, file, held in (
        (["--reference", reference], None, f"{here / reference}"),
        (["-o", mine], mine, as_captured),
    ):
        one = ["two.launch:1", "--values", "ROWS=1", "--values", "num_warps=2"]
        assert 0 == ssdprof(["sweep", *one, *options, "--gpu", "none", "--json"])
        said = capsys.readouterr()
        step = json.loads(said.out)["answer"][-1]
        command = step["message"].split("`")[1]
        assert file == step["figures"]["run"]
        assert said.err.endswith(f"explain any config above{f', with --run {file}' if file else ''}\n")
        assert 0 == ssdprof([*shlex.split(command)[1:], "-q", "--json"])
        header = json.loads(capsys.readouterr().out)["header"]
        assert ("captured:softmax", held) == (header["kernel"], header["problem"][HELD_AGAINST])


def test_a_captured_launch_is_swept_around_a_config(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["two.launch:1", "--around", CONFIGS[0], "--values", "num_stages=3", "--values", "num_warps=2"]
    assert 0 == ssdprof(["sweep", *asked, "--gpu", "none", "-q", "--json"])
    run = json.loads(capsys.readouterr().out)
    assert f"around {CONFIGS[0]}, num_stages=3, num_warps=2" == run["header"]["space"]
    assert [1, 2] == sorted(row["ROWS"] for row in run["rows"])


def test_a_config_of_a_captured_launch_is_explained(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["explain", CONFIGS[0], "--kernel", "two.launch:softmax", "--gpu", "none", "-q"])
    out = capsys.readouterr().out
    assert f"config      {CONFIGS[0]}" in out
    assert "triton.Config({'ROWS': 1}, num_warps=2" in out
    table = out.partition("What one change does, all else equal\n")[2].partition("\n\n")[0]
    for changed in ("▸ as it is", "ROWS 1 → 2", "num_warps 2 → 1", "num_warps 2 → 4", "num_stages 3 → 2"):
        assert f"\n{changed} " in table
    assert "BLOCK" not in table  # a constant of the launch


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("gone.launch",),
            "there is no file {here}/gone.launch: `ssdprof capture -o gone.launch -- COMMAND` makes one",
        ),
        (("program.py",), "program.py is no captured launch: name a file that ends in .launch"),
        (("broken.launch",), "broken.launch is not a capture file"),
        (("two.launch",), "has 2 launches (1 softmax, 2 double): name one as two.launch:NUMBER"),
        (("two.launch:3",), "has no launch '3': name one of 1 softmax, 2 double by its number"),
        (("two.launch:scan",), "has no launch 'scan'"),
        (
            ("two.launch:1", "--kernel", "vllm"),
            "two.launch:1 and --kernel vllm both name a kernel: leave one of them out",
        ),
        (("two.launch:1", "--seqlen", "2048"), "--seqlen: a captured launch has the problem that it was captured with"),
        (("two.launch:1", "--seqlen", "64,128"), "--seqlen: a captured launch has the problem"),
        (("two.launch", "--all", "--seqlen", "64,128"), "--seqlen: a captured launch has the problem"),
        (("two.launch:1", "--preset", "nemotron-3-nano"), "--preset: a captured launch has the problem"),
        (("two.launch:1", "--no-z"), "--z: a captured launch has the problem"),
        (
            ("two.launch:1", "--reference", "mine.py"),
            "--reference mine.py: give FILE:FUNCTION, such as reference.py:scan",
        ),
        (("two.launch:1", "--reference", "gone.py:f"), "--reference gone.py:f: there is no file {here}/gone.py"),
        (("two.launch:1", "--reference", "mine.py:g"), "--reference mine.py:g: {here}/mine.py has no function g"),
        (("two.launch:1", "--trust", "fast"), "fast is not a config: a config is an id such as ROWS="),
        (("two.launch:1", "--trust", "ROWS=2,num_warps=3,num_stages=3"), "num_warps must be a power of two"),
        (("two.launch:1", "--trust", CONFIGS[0], "--reference", "mine.py:f"), "--reference and --trust both say which"),
        (("two.launch", "--all", "--trust", CONFIGS[0]), "--reference and --trust are for one launch: name it as"),
        (("two.launch", "--all", "--top", "3"), "--top and --all exclude each other"),
        (("--trust", CONFIGS[0]), "--trust is for captured launches: chunk-scan has a reference of its own"),
        (("--reference", "mine.py:f"), "--reference is for captured launches: chunk-scan has a reference of its own"),
        (("two.launch:1", "--space", "vllm"), "unknown space vllm: one of own, or the path of a file"),
        (("two.launch:1", "--around", CONFIGS[0], "--space", "own"), "--around and --space both say which configs"),
        (("two.launch:1", "--around", "ROWS=3,num_warps=3,num_stages=3"), "num_warps must be a power of two"),
        (("two.launch", "--all", "--around", "best"), "--around best is of one run, not of 2: name the config itself"),
        (("two.launch:1", "--variant", "tile"), "captured:softmax has no variants: leave --variant out"),
        (("two.launch:1", "--values", "COLUMNS=2"), "COLUMNS"),
    ],
)
def test_what_cannot_be_swept_is_refused_in_one_line(
    say: Say, here: Path, reference: str, arguments: tuple[str, ...], said: str
) -> None:
    (here / "broken.launch").write_text("nothing")
    assert said.format(here=here) in say("sweep", *arguments, "--gpu", "none")


def test_a_file_that_is_cut_is_refused(say: Say, here: Path) -> None:
    whole = (here / "two.launch").read_bytes()
    (here / "cut.launch").write_bytes(whole[: len(whole) // 2])
    assert "cut.launch" in say("sweep", "cut.launch:1", "--gpu", "none")


def test_all_of_a_file_with_one_launch_is_that_launch(tmp_path: Path) -> None:
    write_file(tmp_path / "one.launch")
    options = SubjectOptions(kernel=str(tmp_path / "one.launch"))
    assert [options.kernel] == [one.kernel.partition(":")[0] for one in options.each_captured() if one.kernel]
