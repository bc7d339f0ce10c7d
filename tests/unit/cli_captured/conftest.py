"""A program with two kernels that was captured once, and the command line in a process of its own or in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from fake_sweeps import IdlePool

from ssdprof.cli.main import run as ssdprof
from ssdprof.profiling.gpu import devices as device
from ssdprof.profiling.workers import pool as pool_module

Say = Callable[..., str]
Command = Callable[..., "CompletedProcess[str]"]
PROGRAM = """\
import sys

import torch
import triton
import triton.language as tl


@triton.autotune(
    configs=[triton.Config({"ROWS": rows}, num_warps=warps) for rows in (1, 2) for warps in (2, 4)],
    key=["n_cols"],
    do_bench=lambda call, quantiles: [1.0, 1.0, 1.0],
)
@triton.jit
def softmax(x_ptr, o_ptr, stride, n_rows, n_cols, BLOCK: tl.constexpr, ROWS: tl.constexpr):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    cols = tl.arange(0, BLOCK)
    mask = (rows < n_rows)[:, None] & (cols < n_cols)[None, :]
    x = tl.load(x_ptr + rows[:, None] * stride + cols[None, :], mask=mask, other=-1e30)
    e = tl.exp(x - tl.max(x, axis=1)[:, None])
    tl.store(o_ptr + rows[:, None] * stride + cols[None, :], e / tl.sum(e, axis=1)[:, None], mask=mask)


@triton.jit
def double(x_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + at, 2 * tl.load(x_ptr + at, mask=at < n), mask=at < n)


x = torch.linspace(-1, 1, 15).reshape(3, 5)
out = torch.empty_like(x)
softmax[lambda meta: (triton.cdiv(3, meta["ROWS"]),)](x, out, 5, 3, 5, BLOCK=8)
for _ in range(3):
    double[(2,)](out, 15, BLOCK=8)
print("sum", round(out.sum().item()), *sys.argv[1:])
sys.exit(3 if "fail" in sys.argv else 0)
"""


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program, and the user's folders beside it."""
    folder = tmp_path_factory.mktemp("captured")
    (folder / "program.py").write_text(PROGRAM)
    return folder


def run_in(folder: Path, *arguments: str, **environment: str) -> CompletedProcess[str]:
    """`ssdprof` with these arguments, in that folder, in a process of its own."""
    home = {"XDG_DATA_HOME": str(folder / "data"), "XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "240"}
    command = [sys.executable, "-m", "ssdprof", *arguments]
    env = {**os.environ, **home, **environment}
    env.pop("COVERAGE_PROCESS_CONFIG", None)  # imports take twice as long under coverage, and other tests run the same
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def captured(session_folder: Path) -> CompletedProcess[str]:
    """The capture of the program, whose file is `two.launch`."""
    return run_in(session_folder, "capture", "-o", "two.launch", "--", "program.py", "a", TRITON_INTERPRET="1")


@pytest.fixture
def here(session_folder: Path, captured: CompletedProcess[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the program and the captured file, which is the current one."""
    assert 0 == captured.returncode, captured.stderr
    monkeypatch.chdir(session_folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(session_folder / "cache"))
    monkeypatch.setenv("COLUMNS", "240")
    return session_folder


@pytest.fixture
def command(here: Path) -> Command:
    """`ssdprof` in a process of its own."""

    def run(*arguments: str, **environment: str) -> CompletedProcess[str]:
        return run_in(here, *arguments, **environment)

    return run


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, here: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """The one line that the command line fails with, with code 2, before any work."""
    monkeypatch.setattr(device, "gpus", lambda: ())
    monkeypatch.setattr(pool_module, "Pool", IdlePool)

    def line(*arguments: str) -> str:
        capsys.readouterr()
        assert 2 == ssdprof(arguments)
        said = capsys.readouterr()
        assert ("", 1) == (said.out, said.err.count("\n"))
        return said.err.rstrip("\n")

    return line
