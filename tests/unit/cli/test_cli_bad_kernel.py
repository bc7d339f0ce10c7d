"""Kernels, values and runs that cannot be: one clear line that names the way out, and exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import foreign_files
import pytest
from fake_runs import HEADER, h100_run
from foreign_files import LIKE_MAMBA
from run_records import save

from ssdprof.kernels.foreign import files

Say = Callable[..., str]


@pytest.mark.parametrize("command", [("sweep",), ("explain", "m64n64k32d128w2s4"), ("explain", "best"), ("verify",)])
@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("nonesuch", ("unknown kernel nonesuch: ", "one of chunk-scan, mamba_ssm, vllm, sglang, tensorrt_llm, or the")),
        ("vlllm", ("unknown kernel vlllm, did you mean vllm? ",)),
        ("vllm", ("vllm is not installed here: ", "--kernel PATH, the root of a checkout or the file that")),
        ("SGLang", ("sglang is not installed here: ",)),
        ("nowhere/scan.py", ("unknown kernel 'nowhere/scan.py': ", "there is no such path")),
        ("other.py", ("other.py holds no chunk scan: it must define _chunk_scan_fwd and _chunk_scan_fwd_kernel",)),
        ("broken.py", ("broken.py cannot be read as Python source (SyntaxError): name a .py file",)),
        ("empty", ("empty holds no chunk scan: a file must define _chunk_scan_fwd and _chunk_scan_fwd_kernel",)),
        ("newer.py", ("newer.py asks for cache_of_things, which ",)),
    ],
)
def test_a_kernel_that_is_not_there_or_not_known_says_what_is(
    say: Say,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    kernel: str,
    expected: tuple[str, ...],
) -> None:
    monkeypatch.setattr(files, "package_folders", lambda engine: [])
    (tmp_path / "other.py").write_text("def _chunk_scan_fwd(): ...\n")
    (tmp_path / "broken.py").write_text("_chunk_scan_fwd_kernel = = 1\n")
    (tmp_path / "empty").mkdir()
    foreign_files.lone(
        tmp_path, foreign_files.text(LIKE_MAMBA.replace("D=None", "cache_of_things, D=None")), "newer.py"
    )
    line = say(*command, "--kernel", kernel).replace(f"{tmp_path}/", "")
    assert [] == [words for words in expected if words.lower() not in line.lower()]


@pytest.mark.parametrize("command", [("sweep",), ("verify",), ("sweep", "--kernel", "scan.py")])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("NOPE=1,2",), "--values NOPE: unknown key NOPE: one of BLOCK_SIZE_M, "),
        (("BLOCK_SIZE_DSTAET=64",), "--values BLOCK_SIZE_DSTAET: unknown key BLOCK_SIZE_DSTAET: did you mean BLOCK_SI"),
        (("num_wraps=2",), "--values num_wraps: unknown key num_wraps: did you mean num_warps?"),
        (("BLOCK_SIZE_M",), "--values BLOCK_SIZE_M: give NAME=VALUE,VALUE,…, such as num_warps=2,4"),
        (("BLOCK_SIZE_M=",), "--values BLOCK_SIZE_M=: give NAME=VALUE,VALUE,…, "),
        (("BLOCK_SIZE_M=32,,64",), "--values BLOCK_SIZE_M=32,,64: give NAME=VALUE,VALUE,…, "),
        (("=32",), "--values =32: give NAME=VALUE,VALUE,…, "),
        (("num_warps=2", "num_warps=4"), "--values names num_warps twice: give all of its values once"),
        (("block_m=32", "BLOCK_SIZE_M=64"), "--values BLOCK_SIZE_M: block_m is given twice"),
        (("BLOCK_SIZE_M=65",), "--values BLOCK_SIZE_M: block_m must be a power of two from 16 to 512, got 65: try 64"),
        (("num_stages=0",), "--values num_stages: num_stages must be a whole number from 1 to 32, got 0"),
        (("maxnreg=256",), "--values maxnreg: maxnreg must be a whole number from 16 to 255, got 256"),
        (("num_warps=many",), "--values num_warps: num_warps must be a whole number, got many"),
    ],
)
def test_values_that_the_kernel_cannot_take_are_refused(
    say: Say, tmp_path: Path, command: tuple[str, ...], values: tuple[str, ...], expected: str
) -> None:
    foreign_files.lone(tmp_path, foreign_files.text())
    options = [word for value in values for word in ("--values", value)]
    assert say(*command, *options).startswith(f"ssdprof: {expected}")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--space", "own"), "unknown space own: one of compare, mamba, "),
        (
            ("--kernel", "scan.py", "--space", "compare"),
            "unknown space compare: one of own, tensorrt-llm-pr, mamba, vllm",
        ),
        (("--kernel", "scan.py", "--variant", "split"), "scan:chunk_scan has no variants: leave --variant out"),
        (("--kernel", "scan.py", "--baseline", "split:m64n64k32w2s4"), "split:m64n64k32w2s4 is not a config: "),
        (("--kernel", "scan.py", "--space", "a.json"), "a.json, entry 1: unknown key heads: one of BLOCK_SIZE_M, "),
        (("--kernel", "scan.py", "--dstate", "0"), "dstate must be a whole number above 0, got 0"),
        (("--kernel", "scan.py", "--timing", "clock"), "unknown timing 'clock': one of auto, events, graph"),
        (("--kernel", "scan.py", "--budget", "-1"), "--budget must be 0 seconds or more, got -1"),
    ],
)
def test_what_belongs_to_another_kernel_is_refused(
    say: Say, tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    foreign_files.lone(tmp_path, foreign_files.text())
    (tmp_path / "a.json").write_text('[{"heads": 4}]')
    assert say("sweep", *arguments).lower().startswith(f"ssdprof: {expected}".lower())


def run_of(path: Path, kernel: str, **header: Any) -> None:
    """A run file of a kernel."""
    save(replace(h100_run(), header=replace(HEADER, kernel=kernel, **header)), path)


@pytest.mark.parametrize("config", ["best", "#2", "baseline", "m64n64k32d128w2s4"])
def test_a_run_of_another_kernel_is_refused(say: Say, tmp_path: Path, config: str) -> None:
    foreign_files.lone(tmp_path, foreign_files.text())
    save(h100_run(), tmp_path / "run.jsonl")
    line = say("explain", config, "--run", "run.jsonl", "--kernel", "scan.py")
    assert line.startswith("ssdprof: the run is of kernel chunk_scan, not scan:chunk_scan: name that kernel with --ker")
    run_of(tmp_path / "run.jsonl", "scan:chunk_scan")
    assert "the run is of kernel scan:chunk_scan, not chunk_scan: " in say(
        "explain", config, "--run", "run.jsonl", "--seqlen", "2048"
    )


@pytest.mark.parametrize("config", ["best", "m64n64k32d128w2s4"])
def test_a_run_of_a_kernel_that_is_unknown_here_is_refused(say: Say, tmp_path: Path, config: str) -> None:
    run_of(tmp_path / "run.jsonl", "scan:chunk_scan")
    assert "scan" in say("explain", config, "--run", "run.jsonl")
    run_of(tmp_path / "run.jsonl", "matmul", problem={"rows": 8, "columns": 16})
    assert "the run is of kernel matmul, which is unknown here: name its file with --kernel" in say(
        "explain", config, "--run", "run.jsonl"
    )


@pytest.mark.parametrize("content", ["", "no run\n", "{}\n", '{"format": 3, "kind": "row"}\n', "\x00\xff\n"])
def test_whatever_is_no_run_file_is_refused_by_its_name(say: Say, tmp_path: Path, content: str) -> None:
    (tmp_path / "run.jsonl").write_text(content)
    assert say("explain", "best", "--run", "run.jsonl").startswith("ssdprof: run.jsonl is ")
    assert say("explain", "m64n64k32d128w2s4", "--run", "run.jsonl").startswith("ssdprof: run.jsonl is ")
    assert say("explain", "best", "--run", ".").startswith("ssdprof: . cannot be read: ")
