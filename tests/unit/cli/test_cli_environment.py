"""Commands on a machine where nothing could compile, and for architectures where it takes minutes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_sweeps import PTXAS, Asked, fake_sweeps, gpus

import ssdprof
from ssdprof.cli.main import run as command
from ssdprof.kernels.errors import UsageError

Say = Callable[..., str]
SLOW = (
    "ssdprof: sm_75 has no tensor-core path in Triton, so that a config can take minutes to compile: name sm_80 or "
    "later with --arch, or give --force to compile all the same"
)
ONE = ["m64n64k32d128w2s4", "--seqlen", "2048"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    requests = fake_sweeps(monkeypatch, tmp_path)
    gpus(monkeypatch)
    return requests


def test_an_architecture_without_tensor_cores_is_refused_in_one_line(say: Say) -> None:
    assert SLOW == say("sweep", "--arch", "sm_75")
    assert SLOW == say("explain", *ONE, "--arch", "7.5")


def test_force_sweeps_it_all_the_same(asked: Asked) -> None:
    assert 0 == command(["sweep", "--arch", "sm_75", "--force", "-q"])
    assert ["sm_75"] == [one.arch for one in asked]


def test_the_functions_refuse_it_too(asked: Asked) -> None:
    with pytest.raises(UsageError, match=r"^sm_70 has no tensor-core path"):
        ssdprof.sweep(ssdprof.subject(), arch="sm_70")
    with pytest.raises(UsageError, match=r"^sm_70 has no tensor-core path"):
        ssdprof.explain("m64n64k32d128w2s4", ssdprof.subject(), arch="sm_70")
    ssdprof.sweep(ssdprof.subject(), arch="sm_70", force=True)
    assert ["sm_70"] == [one.arch for one in asked]


def test_occupancy_needs_no_compiler_and_so_no_force(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == command(["occupancy", "--arch", "sm_75", "--threads", "128", "--regs", "64"])
    assert "on sm_75" in capsys.readouterr().out


def test_the_ptxas_that_was_tried_reaches_the_sweep(asked: Asked) -> None:
    assert 0 == command(["sweep", "-q"])
    assert [PTXAS] == [one.ptxas for one in asked]


def ran(tmp_path: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The command, really run."""
    return subprocess.run(
        [sys.executable, "-m", "ssdprof", *arguments, "--device", "none"],
        env={**os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), **env},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("sweep",), ("explain", *ONE)])
def test_a_cache_that_cannot_be_written_is_one_line_before_the_work(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("")
    found = ran(tmp_path, *arguments, TRITON_CACHE_DIR=str(tmp_path / "file"))
    line = (
        f"ssdprof: TRITON_CACHE_DIR={tmp_path}/file: Triton's cache {tmp_path}/file cannot be written (it is not a "
        "folder), so no config would compile: set TRITON_CACHE_DIR to a folder that can be written and has room\n"
    )
    assert (2, "", line) == (found.returncode, found.stdout, found.stderr)
    assert [] == list(tmp_path.rglob("*.jsonl"))


@pytest.mark.slow
def test_the_header_says_which_ptxas_compiled_and_a_mistyped_path_is_told(tmp_path: Path) -> None:
    space = tmp_path / "space.json"
    values = {"BLOCK_SIZE_M": 16, "BLOCK_SIZE_N": 16, "BLOCK_SIZE_K": 16, "BLOCK_SIZE_DSTATE": 16, "num_stages": 1}
    space.write_text(json.dumps([{**values, "num_warps": 1}]))
    arguments = ["sweep", "--space", str(space), "--dstate", "16", "--seqlen", "2048", "--arch", "sm_80"]
    found = ran(tmp_path, *arguments, "-o", str(tmp_path / "run.jsonl"), TRITON_PTXAS_PATH="/no/ptxas")
    assert 0 == found.returncode
    warning = found.stderr.splitlines()[0]
    assert warning.startswith("ssdprof: TRITON_PTXAS_PATH=/no/ptxas is no ptxas: there is no such file; Triton takes ")
    ptxas = warning.partition("instead, ")[2].partition(":")[0]
    assert f", {ptxas}, PyTorch" in " ".join(found.stdout.split())
    header = json.loads((tmp_path / "run.jsonl").read_text().splitlines()[0])
    assert ptxas == header["ptxas"]
