"""Bad input: one clear line on stderr, exit code 2, nothing on stdout, no traceback, and no sweep begun."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_runs import H100_GPU, h100_run
from run_records import save

from ssdprof.cli.main import run as ssdprof
from ssdprof.kernels.errors import SsdprofError
from ssdprof.profiling.gpu import devices as device
from ssdprof.profiling.sweep import sweep as sweep_module

Say = Callable[..., str]


@pytest.mark.parametrize("command", [("sweep",), ("explain", "m64n64k32d128w2s4")])
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--preset", "nope"), "ssdprof: unknown preset nope: one of nemotron-3-super, nemotron-3-nano,"),
        (("--dtype", "int8"), "ssdprof: unknown dtype 'int8': one of bfloat16, float16, float32"),
        (("--states-dtype", "fp16"), "ssdprof: unknown states_dtype 'float16': one of bfloat16, float32"),
        (("--d-form", "x"), "ssdprof: unknown d_form 'x': one of none, head, head-dim"),
        (("--arch", "sm_12"), "ssdprof: unknown architecture 'sm_12': "),
        (("--arch", "hopper"), "ssdprof: unknown architecture 'hopper': "),
        (("--gpu", "3"), "ssdprof: no GPU '3': this machine has no NVIDIA GPU; give --device auto, none or an index"),
        (
            ("--gpu", "tpu"),
            "ssdprof: no GPU 'tpu': this machine has no NVIDIA GPU; give --device auto, none or an index",
        ),
        (("--dstate", "0"), "ssdprof: dstate must be a whole number above 0, got 0"),
        (("--dstate", "-128"), "ssdprof: dstate must be a whole number above 0, got -128"),
        (("--headdim", "0"), "ssdprof: headdim must be a whole number above 0, got 0"),
        (("--seqlen", "0"), "ssdprof: seqlen must be a whole number above 0, got 0"),
        (("--seqlen", "-1"), "ssdprof: seqlen must be a whole number above 0, got -1"),
        (("--chunk-size", "0"), "ssdprof: chunk_size must be a whole number above 0, got 0"),
        (("--chunk-size", "96"), "ssdprof: chunk_size must be a power of two, got 96: try 64 or 128"),
        (("--batch", "0"), "ssdprof: batch must be a whole number above 0, got 0"),
        (
            ("--nheads", "10", "--ngroups", "4"),
            "ssdprof: nheads must be a multiple of ngroups, got 10 heads and 4 groups",
        ),
        (
            ("--tp", "3"),
            (
                "ssdprof: --tp must divide the heads, and divide the groups or be a multiple of them, got --tp 3 for "
                "128 heads and 8 groups"
            ),
        ),
        (
            ("--tp", "0"),
            (
                "ssdprof: --tp must divide the heads, and divide the groups or be a multiple of them, got --tp 0 for "
                "128 heads and 8 groups"
            ),
        ),
        (("--jobs", "0"), "ssdprof: --jobs must be at least 1, got 0"),
        (("--timeout", "0"), "ssdprof: --timeout must be above 0 seconds, got 0"),
    ],
)
def test_what_both_commands_refuse(
    say: Say, command: tuple[str, ...], arguments: tuple[str, ...], expected: str
) -> None:
    assert say(*command, *arguments).startswith(expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--space", "nope"), "ssdprof: unknown space nope: "),
        (("--space", "missing.json"), "ssdprof: missing.json: "),
        (("--variant", "x"), "ssdprof: unknown variant x: one of tile, split, grouped, both"),
        (("--baseline", "m64n64"), "ssdprof: m64n64 is not a config: did you mean m64n64k32w2s4?"),
        (("--baseline", "best"), "ssdprof: no run has been kept yet: "),
        (("--top", "0"), "ssdprof: --top must be at least 1, got 0"),
        (("--csv", "."), "ssdprof: --csv . is a folder: name a file in it"),
        (("--csv", "missing/run.csv"), "ssdprof: --csv missing/run.csv: there is no folder missing, create it first"),
        (("--run-file", "."), "ssdprof: --run-file . is a folder: name a file in it"),
    ],
)
def test_what_sweep_refuses(say: Say, arguments: tuple[str, ...], expected: str) -> None:
    assert say("sweep", *arguments).startswith(expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("nonsense",), "ssdprof: nonsense is not a config: "),
        (("m64n64k32d128w3s4",), "ssdprof: m64n64k32d128w3s4 is not a config: num_warps must be a power of two"),
        (("best",), "ssdprof: no run has been kept yet: "),
        (("#3",), "ssdprof: no run has been kept yet: "),
        (("best", "--run", "missing.json"), "ssdprof: no run file missing.json: "),
        (("best", "--run", "recorded"), "ssdprof: no recorded run has this problem: "),
    ],
)
def test_what_explain_refuses(say: Say, arguments: tuple[str, ...], expected: str) -> None:
    assert say("explain", *arguments).startswith(expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("swep",), "ssdprof: No such command 'swep'"),
        (("sweep", "--nope"), "ssdprof: No such option: --nope"),
        (("sweep", "extra"), "ssdprof: extra is no captured launch: name a file that ends in .launch, or a kernel"),
        (("explain", "best", "extra"), "ssdprof: Got unexpected extra argument"),
        (
            ("sweep", "--seqlen", "many"),
            "ssdprof: --seqlen many: give a whole number of tokens, or several as in 2048,",
        ),
        (("sweep", "--seqlen", "2048,"), "ssdprof: --seqlen 2048,: give a whole number of tokens, or several as in"),
        (("sweep", "--seqlen", "64,128,64"), "ssdprof: --seqlen 64,128,64 names a length twice: name each once"),
        (("sweep", "--seqlen", "64,0"), "ssdprof: seqlen must be a whole number above 0, got 0"),
        (("sweep", "--seqlen", "64,128", "-o", "missing/runs"), "ssdprof: --run-file missing/runs: there is no folder"),
        (
            ("explain", "best", "--seqlen", "64,128"),
            "ssdprof: --seqlen 64,128 names 2 lengths: only sweep takes several",
        ),
        (("verify", "--seqlen", "64,128"), "ssdprof: --seqlen 64,128 names 2 lengths: only sweep takes several"),
        (("spaces", "--seqlen", "64,128"), "ssdprof: --seqlen 64,128 names 2 lengths: only sweep takes several"),
        (("sweep", "--seqlen"), "ssdprof: Option '--seqlen' requires an argument"),
        (("explain",), "ssdprof: Missing argument 'CONFIG' (see ssdprof explain --help)"),
    ],
)
def test_what_the_command_line_itself_refuses(say: Say, arguments: tuple[str, ...], expected: str) -> None:
    assert say(*arguments).startswith(expected)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", '[{"BLOCK_SIZE_M": 64}]', "entry 1"),
        ("b.json", '["m64n64k32d128w2s4", "m64"]', "entry 2"),
        ("c.json", "[", "c.json"),
        ("d.yaml", "- BLOCK_SIZE_M: [", "d.yaml"),
        ("e.json", '["m63n64k32d128w2s4"]', "entry 1"),
        ("f.json", "[]", "f.json"),
    ],
)  # fmt: skip
def test_a_malformed_space_file_is_named_with_its_entry(
    say: Say, tmp_path: Path, name: str, text: str, expected: str
) -> None:
    (tmp_path / name).write_text(text)
    line = say("sweep", "--space", name)
    assert line.startswith(f"ssdprof: {name}")
    assert expected in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_csv_in_a_folder_without_permission_is_refused(say: Say, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "cannot be written: Permission denied" in say("sweep", "--csv", "locked/run.csv")


def test_a_csv_that_the_system_refuses_is_refused_before_the_sweep(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "ssdprof: --csv run.csv cannot be written: Permission denied" == say("sweep", "--csv", "run.csv")


def test_a_csv_that_can_be_written_is_left_as_it_was_when_something_else_is_wrong(say: Say, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("kept")
    say("sweep", "--csv", "old.csv", "--space", "nope")
    say("sweep", "--csv", "new.csv", "--space", "nope")
    assert "kept" == (tmp_path / "old.csv").read_text()
    assert ["old.csv"] == [path.name for path in tmp_path.glob("*.csv*")]


def test_a_problem_larger_than_the_gpus_memory_is_refused_before_anything_is_allocated(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "gpus", lambda: (H100_GPU,))
    line = say("sweep", "--seqlen", "5000000")
    assert line.startswith("ssdprof: the problem needs about ")
    assert "NVIDIA H100 80GB HBM3 has 78.6" in line


def test_an_architecture_that_is_not_the_named_gpus_is_refused(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "gpus", lambda: (H100_GPU,))
    assert "ssdprof: --arch sm_80 does not match GPU 0 (sm_90): leave one of them out" == say(
        "sweep", "--arch", "sm_80", "--gpu", "0"
    )
    assert say("sweep", "--gpu", "1").startswith("ssdprof: no GPU '1': this machine has only GPU 0")


def test_a_rank_that_the_run_lacks_is_refused(say: Say, tmp_path: Path) -> None:
    save(h100_run(), tmp_path / "run.json")
    assert "ssdprof: #6: the run has ranks #1 to #5" == say("explain", "#6", "--run", "run.json")


def test_a_file_that_is_no_run_is_refused(say: Say, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert say("explain", "best", "--run", "run.json").startswith("ssdprof: run.json is not a run file")


def test_a_config_that_the_kernel_cannot_take_is_refused(say: Say) -> None:
    line = say("explain", "m16n16k16d128w1s1", "--batch", "100000", "--seqlen", "1000000")
    assert "choose larger tiles" in line


def test_any_other_error_of_ours_is_one_line_and_code_1(
    monkeypatch: pytest.MonkeyPatch, say: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise SsdprofError("the cubin\nis broken")

    monkeypatch.setattr(sweep_module, "sweep", fail)
    assert 1 == ssdprof(["sweep", "--quiet"])
    assert "ssdprof: the cubin is broken\n" == capsys.readouterr().err


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == ssdprof([])
    captured = capsys.readouterr()
    assert "Usage: " in captured.out + captured.err


KEPT = [
    ("sweep", "--gpu", "none", "-o"),
    ("sweep", "--gpu", "none", "--csv"),
    ("verify", "--ncu-report", "export.csv", "--arch", "sm_90", "--csv"),
    ("occupancy", "--from-csv", "launches.csv", "--arch", "sm_90", "--csv"),
]


@pytest.mark.parametrize("command", KEPT, ids=lambda command: f"{command[0]} {command[-1]}")
def test_a_file_with_results_is_not_replaced(command: tuple[str, ...], say: Say) -> None:
    Path("old").write_text("results", encoding="utf-8")
    option = "--run-file" if command[-1] == "-o" else command[-1]

    expected = f"ssdprof: {option} old exists already: name another file, or give --force to replace it"
    assert expected == say(*command, "old")
    assert "results" == Path("old").read_text(encoding="utf-8")


def test_several_lengths_need_a_folder_without_files(say: Say) -> None:
    Path("runs").mkdir()
    Path("runs/old").write_text("results", encoding="utf-8")
    asked = ("sweep", "--gpu", "none", "--seqlen", "64,128", "-o")

    assert (
        "ssdprof: --run-file runs is not empty: name another folder, or give --force to replace what is in it"
        == say(*asked, "runs")
    )
    assert say(*asked, "runs/old").startswith(
        "ssdprof: --run-file runs/old is a file: with several lengths name a folder"
    )


def test_the_header_beside_a_csv_is_not_replaced_either(say: Say) -> None:
    Path("new.csv.meta.json").write_text("{}", encoding="utf-8")

    assert "new.csv.meta.json exists already: name another" in say("sweep", "--gpu", "none", "--csv", "new.csv")


def test_force_replaces_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    problem = ["--nheads", "2", "--ngroups", "1", "--dstate", "16", "--headdim", "16", "--chunk-size", "16"]
    Path("one.json").write_text('["m16n16k16d16w1s1"]', encoding="utf-8")
    Path("rows.csv").write_text("old", encoding="utf-8")
    Path("run.jsonl").write_text("old", encoding="utf-8")

    asked = ["sweep", "--space", "one.json", "--gpu", "none", "--seqlen", "64", *problem, "--csv", "rows.csv"]
    assert 0 == ssdprof([*asked, "-o", "run.jsonl", "--force"])
    assert "old" not in (Path("rows.csv").read_text(encoding="utf-8"), Path("run.jsonl").read_text(encoding="utf-8"))
