"""`ssdprof capture` runs a program as it is and keeps its launches; `ssdprof launches` lists them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from ssdprof.cli.main import run as ssdprof
from ssdprof.kernels.captured.file import read

Say = Callable[..., str]
Command = Callable[..., "CompletedProcess[str]"]


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def listed(captured: CompletedProcess[str], folder: Path) -> list[list[str]]:
    """The lines after the program's own, in words; files without their folder."""
    return words(captured.stdout.replace(f"{folder}/", ""))[1:]


def test_a_program_runs_as_it_is_and_its_launches_are_listed(captured: CompletedProcess[str], here: Path) -> None:
    assert "sum 24 a" == captured.stdout.splitlines()[0]
    heading, _, softmax, double, *_ = listed(captured, here)
    assert ["kernel", "launches", "ms", "kept", "source", "shapes"] == heading
    assert ["softmax", "1", "–", "1", "program.py:8", "x_ptr[3,", "5]", "f32,", "o_ptr[3,", "5]", "f32"] == softmax
    assert ["double", "3", "–", "2", "program.py:23", "x_ptr[3,", "5]", "f32"] == double
    assert "kept 2 in two.launch (0.01 MiB); next: ssdprof sweep two.launch --all" in captured.stderr


def test_the_file_has_the_command_and_each_kernels_first_launch(here: Path) -> None:
    captured = read(here / "two.launch")
    assert captured.command.endswith("program.py a")
    assert [("softmax", 1), ("double", 2)] == [(one.name, one.number) for one in captured.launches]
    softmax, double = captured.launches
    assert [(1, 2), (1, 4), (2, 2), (2, 4)] == [
        (one.values["ROWS"], one.values["num_warps"]) for one in (softmax.autotune.configs if softmax.autotune else ())
    ]
    assert ["in", "out", "in-out"] == [tensor.role for launch in (softmax, double) for tensor in launch.tensors]


def test_launches_lists_the_same_and_runs_nothing(
    captured: CompletedProcess[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == ssdprof(["launches", "two.launch"])
    assert listed(captured, here) == words(capsys.readouterr().out.replace(f"{here}/", ""))


def test_launches_as_json_has_all_of_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["launches", "two.launch", "--json"])
    content = json.loads(capsys.readouterr().out)
    assert [("softmax", "1", 1), ("double", "2", 3)] == [
        (one["name"], one["kept_as"], one["launches"]) for one in content["seen"]
    ]
    assert [("softmax", 1, 4, 120), ("double", 2, 0, 60)] == [
        (one["name"], one["number"], one["listed_configs"], one["bytes"]) for one in content["launches"]
    ]
    assert {str(here / "program.py")} == {one["file"] for one in content["launches"]}


def test_a_failing_programs_exit_code_is_kept_and_so_are_its_launches(command: Command, here: Path) -> None:
    done = command("capture", "-q", "-o", "fail.launch", "--", "program.py", "fail", TRITON_INTERPRET="1")
    assert (3, "sum 24 fail") == (done.returncode, done.stdout.splitlines()[0])
    assert ["softmax", "double"] == [one.name for one in read(here / "fail.launch").launches]
    assert "ssdprof:" not in done.stderr


def test_a_module_is_run_too_and_one_launch_kept_by_name_and_number(command: Command, here: Path) -> None:
    asked = ["--kernel", "dou*", "--launch", "2", "--json", "-o", "second.launch"]
    done = command("capture", *asked, "--", "-m", "program", TRITON_INTERPRET="1")
    assert 0 == done.returncode, done.stderr
    content = json.loads(done.stdout.partition("\n")[2])
    assert [("double", 3)] == [
        (one["name"], read(here / "second.launch").launches[0].number) for one in content["launches"]
    ]
    assert [None, "1"] == [one["kept_as"] for one in content["seen"]]
    assert content["seen"][0]["why_not"]


def test_a_program_none_of_whose_launches_is_asked_for_says_so(command: Command, here: Path) -> None:
    done = command("capture", "--kernel", "scan*", "-o", "none.launch", "--", "program.py", TRITON_INTERPRET="1")
    assert 1 == done.returncode
    assert "no launch is kept: softmax, double were launched; the list says why none was kept" in done.stderr
    assert [["not", "kept:", name] for name in ("softmax:", "double:")] == [one[:3] for one in words(done.stdout)[-2:]]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("print('hi')", 1, "idle.py launched no Triton kernel: nothing is kept"),
        ("raise SystemExit(5)", 5, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 128 + signal.SIGKILL, ""),
    ],
    ids=["idle", "failing", "killed"],
)
def test_a_program_without_kernels_leaves_no_file(
    command: Command, here: Path, text: str, code: int, said: str
) -> None:
    (here / "idle.py").write_text(text)
    done = command("capture", "-o", "idle.launch", "--", "idle.py")
    assert code == done.returncode
    assert (said in done.stderr, bool(said)) == (True, "ssdprof:" in done.stderr)
    assert not [path for path in here.iterdir() if "idle.launch" in path.name]


def test_several_launches_alike_are_listed_together_and_swept_without_a_number(
    command: Command, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--keep", "3", "--kernel", "dou*", "-o", "three.launch"]
    done = command("capture", *asked, "--", "program.py", TRITON_INTERPRET="1")
    assert 0 == done.returncode, done.stderr
    assert "1,2,3" == next(line.split()[3] for line in done.stdout.splitlines() if line.startswith("double"))
    assert "kept 3 in three.launch (0.01 MiB); next: ssdprof sweep three.launch\n" in done.stderr
    assert 0 == ssdprof(["sweep", "three.launch", "--all", "--gpu", "none", "-q", "--json"])
    assert "captured:double" == json.loads(capsys.readouterr().out)["header"]["kernel"]


def test_sigterm_ends_the_program_and_keeps_what_it_launched(here: Path, tmp_path: Path) -> None:
    waiting = "\nprint('waiting', flush=True)\nimport time\ntime.sleep(60)\n"
    (tmp_path / "waiting.py").write_text((here / "program.py").read_text().rpartition("sys.exit")[0] + waiting)
    words = [sys.executable, "-m", "ssdprof", "capture", "-o", "ended.launch", "--", "waiting.py"]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    with subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert ["sum 24\n", "waiting\n"] == [process.stdout.readline() for _ in range(2)]
        process.terminate()
        assert 143 == process.wait(60)
    assert ["softmax", "double"] == [one.name for one in read(tmp_path / "ended.launch").launches]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "x.bin"), "--out x.bin: the name must end in .launch, by which the other commands know it"),
        (("-o", "two.launch"), "--out two.launch exists already: name another file, or give --force to replace it"),
        (("-o", "missing/x.launch"), "--out missing/x.launch: there is no folder missing, create it first"),
        (("-o", "x.launch", "--launch", "0"), "launch 0: launches are counted from 1, ask for 1 or more"),
        (("-o", "x.launch", "--launch", "1", "--slowest"), "a launch by number and the slowest kernel exclude each"),
        (("-o", "x.launch", "--keep", "0"), "keep 0: say how many launches of each kernel, a whole number from 1 on"),
        (("-o", "x.launch", "--keep", "2", "--launch", "1"), "a launch by number and several to keep exclude each"),
        (("-o", "x.launch", "--limit", "0"), "limit 0 GiB: a file needs room, ask for more than 0"),
        (("-o", "x.launch", "--limit", "nan"), "limit nan GiB: a file needs room"),
    ],
)
def test_bad_options_are_refused_before_the_program_runs(say: Say, arguments: tuple[str, ...], said: str) -> None:
    assert say("capture", *arguments, "--", "program.py").startswith(f"ssdprof: {said}")


def test_a_command_that_is_not_there_is_refused(say: Say, here: Path) -> None:
    said = say("capture", "-o", "x.launch", "--", "no-such-command")
    assert "ssdprof: cannot run no-such-command: No such file or directory: name a program, or a file" in said
    assert "Missing argument 'COMMAND'" in say("capture", "-o", "x.launch")
    assert not (here / "x.launch").exists()


def test_a_file_is_replaced_if_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from captured_softmax import write_file

    from ssdprof.kernels.captured.live import startup

    def run(_command: Any, path: Path, _options: Any) -> startup.Finished:
        return startup.Finished(0, read(write_file(path)), ("process 7 was killed",))

    (here / "old.launch").write_text("old")
    monkeypatch.setattr(startup, "run_command", run)
    assert 1 == ssdprof(["capture", "--force", "-o", "old.launch", "--", "program.py"])
    assert "ssdprof: process 7 was killed" in capsys.readouterr().err
    assert ["softmax"] == [one.name for one in read(here / "old.launch").launches]


@pytest.mark.parametrize(
    ("name", "said"),
    [("gone.launch", "there is no file gone.launch"), ("program.py", "program.py is not a capture file")],
)
def test_what_is_no_capture_file_cannot_be_listed(say: Say, name: str, said: str) -> None:
    assert said in say("launches", name)
