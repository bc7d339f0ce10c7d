"""Planted faults in captured kernels: each is found, and no correct config of the same kernel is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ssdprof.kernels.captured.subject import captured_names, captured_subject
from ssdprof.profiling.api import sweep
from ssdprof.profiling.runs.model import Run

pytestmark = pytest.mark.gpu
PROGRAM = Path(__file__).with_name("captured_faults.py")
KERNELS = (
    "small_tile", "race", "outside", "in_place", "uninitialised", "one_element", "depends_on_previous", "last_tile",
    "counts", "atomic_sum",
)  # fmt: skip


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("captured") / "faults.launch"
    command = [sys.executable, "-m", "ssdprof", "capture", "-o", str(path), "-q", "--", str(PROGRAM)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert 0 == done.returncode, done.stderr
    return path


def swept(path: Path, kernel: str, **values: list[object]) -> Run:
    return sweep(captured_subject(f"{path}:{kernel}"), values={**values, "num_warps": [2, 4]}, budget_s=0.2)


def test_every_kernel_is_kept(captured: Path) -> None:
    assert {f"{captured}:{name}" for name in KERNELS} == set(captured_names(captured))


@pytest.mark.parametrize("kernel", KERNELS[1:])
def test_the_fault_is_found_and_correct_configs_are_kept(captured: Path, kernel: str) -> None:
    run = swept(captured, kernel, FAULT=[0, 1], BLOCK=[128, 256])
    statuses = {(row.config["FAULT"], row.config["BLOCK"], row.config["num_warps"]): row for row in run.rows}
    assert 8 == len(statuses)
    wrong = [row for (fault, *_), row in statuses.items() if fault == 1 and row.status == "ok"]
    lost = [row for (fault, *_), row in statuses.items() if fault == 0 and row.status != "ok"]
    assert [] == [(row.config_id, row.check) for row in wrong]
    assert [] == [(row.config_id, row.status_reason) for row in lost]


def test_a_tile_that_is_too_small_is_found(captured: Path) -> None:
    run = swept(captured, "small_tile", BLOCK=[128, 256, 512])
    assert {512} == {row.config["BLOCK"] for row in run.rows if row.status == "ok"}
    assert 2 == sum(row.status == "ok" for row in run.rows)
