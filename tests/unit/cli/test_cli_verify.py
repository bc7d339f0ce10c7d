"""`ssdprof verify`: a recorded export compared with our figures; what it asks of a made-up verification, and prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import foreign_files
import pytest
from fake_runs import H100_GPU
from rich.console import Console

from ssdprof.cli import console as console_module
from ssdprof.cli.main import run as ssdprof
from ssdprof.cli.verify import steps
from ssdprof.kernels.foreign.subject import ForeignChunkScan
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.gpu import devices as device
from ssdprof.profiling.ncu import export, verify_run
from ssdprof.profiling.ncu import program as ncu
from ssdprof.profiling.ncu.verify import Comparison, Verification
from ssdprof.profiling.ncu.verify_run import VerifyRequest

GOLDEN = Path(__file__).parents[2] / "golden" / "ncu_h100_chunk_scan.csv"
EQUAL = Comparison("m64n64k32d128w2s4", "driver", "blocks_per_sm", "4", "4", "equal")
FOUND = Verification("mamba", "sm_90", "NVIDIA H100, driver 580", None, 1, (EQUAL,))

Asked = list[VerifyRequest]
Say = Callable[..., str]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Verifications return FOUND; what they are asked is kept."""
    requests: Asked = []

    def verify(request: VerifyRequest, on_step: Callable[[str, int, int], None]) -> Verification:
        requests.append(request)
        on_step("compiling", 0, len(request.configs))
        on_step("compiling", 1, len(request.configs))
        return replace(FOUND, notes=request.notes)

    monkeypatch.setattr(verify_run, "verify", verify)
    monkeypatch.setattr(device, "gpus", lambda: (H100_GPU,))
    monkeypatch.setenv("COLUMNS", "100")
    return requests


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Say:
    """Runs the command, which must fail before any work with the code given; returns its one line."""

    def never(*_: Any) -> None:
        raise AssertionError("work was begun")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verify_run, "verify", never)
    monkeypatch.setattr(device, "gpus", lambda: ())

    def line(*arguments: str, code: int = 2) -> str:
        assert code == ssdprof(["verify", *arguments])
        captured = capsys.readouterr()
        assert "" == captured.out
        assert 1 == captured.err.count("\n")
        return captured.err.rstrip("\n")

    return line


def test_a_recorded_export_is_equal_and_returns_0_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["verify", "--ncu-report", str(GOLDEN), "--arch", "9.0"])
    out = capsys.readouterr().out
    assert "All equal: 284 of 284 figures of 33 launches, compared with an exported ncu report." in " ".join(
        out.split()
    )


def test_an_export_that_differs_returns_3_and_shows_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = tmp_path / "export.csv"
    text = GOLDEN.read_text(encoding="utf-8")
    changed.write_text(text.replace("186,86784,233472,2,2,16", "186,86784,233472,3,2,16", 1), encoding="utf-8-sig")
    assert 3 == ssdprof(["verify", "--ncu-report", str(changed), "--arch", "sm_90", "--json"])
    content = json.loads(capsys.readouterr().out)
    assert [("line 2", "limit_registers_blocks", "2", "3")] == [
        (one["launch"], one["figure"], one["ours"], one["theirs"]) for one in content["differences"]
    ]


def test_every_comparison_can_be_written_as_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "verified.csv"
    assert 0 == ssdprof(["verify", "--ncu-report", str(GOLDEN), "--arch", "sm_90", "--csv", str(target)])
    assert 285 == len(target.read_text(encoding="utf-8").splitlines())
    assert f"ssdprof: wrote {target}\n" == capsys.readouterr().err
    assert 0 == ssdprof(
        ["verify", "--ncu-report", str(GOLDEN), "--arch", "sm_90", "--csv", str(target), "-q", "--force"]
    )
    assert "" == capsys.readouterr().err


def test_a_csv_that_fails_to_be_written_is_told(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert 0 == ssdprof(["verify", "--csv", str(tmp_path / "a.csv"), "-q"])
    assert "a.csv could not be written: No space left on device" in capsys.readouterr().err


def test_defaults_are_the_pull_requests_space_on_the_first_gpu_with_the_driver_alone(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == ssdprof(["verify"])
    request = asked[0]
    assert ("tensorrt-llm-pr", 33, H100_GPU, None, ()) == (
        request.of,
        len(set(request.configs)),
        request.gpu,
        request.ncu,
        request.notes,
    )
    captured = capsys.readouterr()
    assert "All equal: 1 of 1 figures of 1 launch, compared with the driver alone." in captured.out
    assert f"ssdprof: compiling ({len(request.configs)} configs) …\n" == captured.err


def test_our_own_kernel_by_its_name_is_the_default(asked: Asked) -> None:
    assert 0 == ssdprof(["verify", "-q"]) == ssdprof(["verify", "-q", "--kernel", "chunk-scan"])
    assert asked[0] == asked[1]


def test_problem_space_and_limit_reach_the_request(asked: Asked) -> None:
    ssdprof(["verify", "--d-state", "64", "--space", "vllm", "--variant", "split", "--limit", "3", "--jobs", "5", "-q"])
    request = asked[0]
    assert isinstance(request.subject, ChunkScan)
    assert (64, "vllm", 3, 5, {"split"}) == (
        request.subject.problem.dstate,
        request.of,
        len(request.configs),
        request.jobs,
        {config.variant for config in request.configs},
    )
    ssdprof(["verify", "--space", "vllm", "--variant", "split", "--d-state", "64"])
    assert request.configs == asked[1].configs[:3]


def test_a_foreign_kernels_own_list_is_verified_and_values_are_crossed_with_it(asked: Asked, tmp_path: Path) -> None:
    file = foreign_files.lone(tmp_path, foreign_files.text())
    problem = ["--seqlen", "300", "--nheads", "4", "--ngroups", "2"]
    assert 0 == ssdprof(["verify", "--kernel", str(file), *problem, "--values", "num_warps=2,4"])
    request = asked[0]
    assert isinstance(request.subject, ForeignChunkScan)
    assert ("own", 6, {2, 4}) == (request.of, len(request.configs), {config["num_warps"] for config in request.configs})


def test_a_limit_of_the_wide_space_spreads_over_it(asked: Asked) -> None:
    ssdprof(["verify", "--space", "wide"])
    ssdprof(["verify", "--space", "wide", "--limit", "100"])
    whole, part = asked[0].configs, asked[1].configs
    assert (100, whole[0]) == (len(part), part[0])
    assert whole.index(part[-1]) >= 0.98 * len(whole)


def test_ncu_is_found_or_its_absence_told(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ncu, "find_ncu", lambda: Path("/opt/ncu"))
    assert 0 == ssdprof(["verify", "--ncu"])
    assert (Path("/opt/ncu"), ()) == (asked[0].ncu, asked[0].notes)
    monkeypatch.setattr(ncu, "find_ncu", lambda: None)
    capsys.readouterr()
    assert 0 == ssdprof(["verify", "--ncu"])
    assert asked[1].ncu is None
    assert "• Only the driver was asked: no ncu in PATH, /usr/local/cuda/bin" in capsys.readouterr().out


def test_an_ncu_that_is_named_is_run(asked: Asked, tmp_path: Path) -> None:
    program = tmp_path / "ncu"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert 0 == ssdprof(["verify", "--ncu-path", str(program)])
    assert program == asked[0].ncu


@pytest.mark.parametrize(("comparisons", "code"), [((replace(EQUAL, outcome="differs"),), 3), ((), 1)])
def test_the_exit_code_says_what_was_found(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, comparisons: tuple[Comparison, ...], code: int
) -> None:
    monkeypatch.setattr(verify_run, "verify", lambda *_: replace(FOUND, comparisons=comparisons))
    assert code == ssdprof(["verify"])


def test_json_alone_is_on_stdout(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["verify", "--json", "--quiet"])
    captured = capsys.readouterr()
    assert ("equal", "") == (json.loads(captured.out)["status"], captured.err)


def test_without_a_gpu_one_line_names_the_way_out_and_the_code_is_1(say: Say) -> None:
    way_out = "give --ncu-report FILE, an export from a machine that has one"
    assert say(code=1) == f"ssdprof: nothing to verify against: this needs an NVIDIA GPU, and none is here; {way_out}"
    assert "this needs an NVIDIA GPU, and none is used; " in say("--gpu", "none", code=1)
    assert "this needs a GPU of sm_80, and none is here; " in say("--arch", "sm_80", code=1)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--limit", "0"), "--limit must be at least 1, got 0"),
        (("--space", "nope"), "unknown space"),
        (("--gpu", "3"), "no GPU '3': this machine has no NVIDIA GPU"),
        (("--ncu-path", "nothere"), "--ncu-path nothere is not a program that can be run"),
        (("--ncu-report", "nothere"), "--ncu-report nothere cannot be read: No such file or directory"),
        (("--ncu-report", "a.csv", "--ncu"), "--ncu-report reads a file, --ncu runs ncu: leave one of them"),
        (("--ncu-report", "a.csv", "--dstate", "64"), "--ncu-report has its own launches: leave kernel, problem and"),
        (("--ncu-report", "a.csv", "--space", "wide"), "--ncu-report has its own launches: leave kernel, problem and"),
        (("--ncu-report", str(GOLDEN)), f"{GOLDEN} lacks device__attribute_compute_capability_major"),
        (("--ncu-report", str(GOLDEN), "--arch", "sm_12"), "unknown architecture 'sm_12'"),
        (("--csv", "no/folder.csv"), "--csv no/folder.csv: there is no folder no"),
    ],
)
def test_bad_usage_is_one_line_and_code_2(say: Say, arguments: tuple[str, ...], expected: str) -> None:
    assert say(*arguments).startswith(f"ssdprof: {expected}")


def test_reports_that_are_no_text_or_too_large_are_refused(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "report.ncu-rep"
    report.write_bytes(b"NVR\x00\xff\xfe")
    assert "report.ncu-rep is not text: export the report with ncu --import REPORT" in say("--ncu-report", str(report))
    monkeypatch.setattr(export, "MAX_FILE_BYTES", 3)
    assert "is larger than 0 MiB: export fewer launches" in say("--ncu-report", str(report))


def test_on_a_terminal_the_step_is_shown_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    text = StringIO()
    monkeypatch.setattr(console_module, "terminal", lambda **_: Console(file=text, force_terminal=True, width=60))
    with steps(quiet=False) as on_step:
        on_step("compiling", 3, 9)
    assert "compiling: 3 of 9" in text.getvalue() or "starting" in text.getvalue()
