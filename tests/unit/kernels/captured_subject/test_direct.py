"""A kernel swept where it is launched: nothing is kept, and its arguments are as after the launch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssdprof.kernels.errors import UsageError
from ssdprof.profiling.direct import sweep_kernel

PROGRAM = """
import torch, triton, triton.language as tl
import ssdprof

@triton.jit
def double(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + i, 2 * tl.load(x_ptr + i, mask=i < n), mask=i < n)

x, out = torch.arange(100.0), torch.zeros(100)
grid = lambda meta: (triton.cdiv(100, meta["BLOCK"]),)
options = {"values": {"BLOCK": [32, 64]}, "device": "none"}
run = ssdprof.sweep_kernel(double, grid, x, out, 100, BLOCK=64, options=options)
print(sorted(row.config_id for row in run.rows), bool((out == 2 * x).all()), run.header.kernel)
"""


def test_a_launch_is_swept_directly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # imports take twice as long under coverage
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={**os.environ, "TRITON_INTERPRET": "1", "XDG_DATA_HOME": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    ids = "['BLOCK=32,num_warps=4,num_stages=3', 'BLOCK=64,num_warps=4,num_stages=3']"
    assert f"{ids} True captured:double" == done.stdout.strip()
    assert {"program.py"} == {path.name for path in tmp_path.iterdir()}


def test_a_launch_that_is_none_is_told() -> None:
    class NotAKernel:
        def __getitem__(self, grid: object) -> object:
            return lambda *_: None

    with pytest.raises(UsageError, match="no Triton kernel was launched"):
        sweep_kernel(NotAKernel(), (1,), 2.0)
