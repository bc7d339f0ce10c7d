"""Planted faults of the GPU tests, those that need no GPU: each launches in Triton's interpreter, as wrong as meant.

In float16, whose rounding hides no error of a few thousandths.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from interpreted import call, interpreting_worker

from ssdprof.profiling.runs.measured import Check
from ssdprof.profiling.workers.worker import Worker

SMALL = {"seqlen": 300, "nheads": 4, "dtype": "float16", "states_dtype": "float32"}
ROUNDING = 5e-4


@pytest.fixture(scope="module")
def planted() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[3] / "gpu"))  # a worker gets this path too
        import faulty_kernels

        yield faulty_kernels
        del sys.modules["faulty_kernels"]


@pytest.fixture(scope="module")
def interpreter(planted: ModuleType) -> Iterator[Worker]:
    with interpreting_worker() as worker:
        yield worker


def checked(worker: Worker, planted: ModuleType, name: str) -> Check:
    gated = name in planted.GATED_FAULTS
    subject = planted.FaultyChunkScan(replace(planted.GATED if gated else planted.PROBLEM, **SMALL))
    config = planted.RIGHT if name == "none" else (planted.GATED_FAULTS if gated else planted.FAULTS)[name].config
    check = call(worker, "interpreter_patches:checked", subject, subject.launch(subject.resolve(config)))
    assert isinstance(check, Check)
    return check


def test_without_a_fault_the_output_is_correct(interpreter: Worker, planted: ModuleType) -> None:
    check = checked(interpreter, planted, "none")
    assert check.relative_error < ROUNDING
    assert () == check.findings


@pytest.mark.parametrize(
    ("name", "off"), [("0.6 % too large", 0.006), ("0.4 % too large", 0.004), ("0.4 % too small", 0.004)]
)
def test_a_scaled_output_is_off_by_its_factor_alone(
    interpreter: Worker, planted: ModuleType, name: str, off: float
) -> None:
    check = checked(interpreter, planted, name)
    assert math.isclose(off, check.relative_error, rel_tol=0.02)
    assert check.worst_row_error < 1.3 * off
    assert () == check.findings


@pytest.mark.parametrize(
    "name",
    [
        "D left out",
        "diagonal left out",
        "tail of each chunk left out",
        "state of the chunk before",
        "C of another group",
        "exp for exp2",
        "gate without sigmoid",
        "sequences ignored",
    ],
)
def test_a_fault_of_the_mathematics_is_beyond_every_tolerance(
    interpreter: Worker, planted: ModuleType, name: str
) -> None:
    check = checked(interpreter, planted, name)
    assert 0.01 < check.relative_error < 10
    assert check.bad_rows > 0
    assert () == check.findings


def test_a_write_before_the_output_is_found(interpreter: Worker, planted: ModuleType) -> None:
    check = checked(interpreter, planted, "write before the output")
    assert check.relative_error < ROUNDING
    assert ["outside"] == [finding.code for finding in check.findings]
    assert "before its beginning" in check.findings[0].message
