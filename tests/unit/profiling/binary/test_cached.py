"""What Triton has cached, found out without compiling."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ssdprof.kernels.ssd.params import chunk_scan_config
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.workers.pool import COMPILE, Pool
from ssdprof.profiling.workers.worker import Failure

CACHED = "ssdprof.profiling.binary.cached:cached_launches"
PLANS = {
    str(warps): ChunkScan(ChunkScanProblem(seqlen=2048)).launch(
        chunk_scan_config(16, 16, 16, 16, num_warps=warps, num_stages=2)
    )
    for warps in (1, 2)
}
ANSWER_S = 60.0


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    with closing(Pool()) as pool:
        yield pool


def test_a_launch_is_cached_once_it_was_compiled_for_the_architecture_and_not_by_asking(pool: Pool) -> None:
    assert {"1": False, "2": False} == pool.ask(CACHED, PLANS, "sm_90", ANSWER_S, timeout_s=ANSWER_S)
    assert {"1": False, "2": False} == pool.ask(CACHED, PLANS, "sm_90", ANSWER_S, timeout_s=ANSWER_S)
    assert not isinstance(pool.ask(COMPILE, PLANS["2"], "sm_90", timeout_s=ANSWER_S), Failure)
    assert {"1": False, "2": True} == pool.ask(CACHED, PLANS, "sm_90", ANSWER_S, timeout_s=ANSWER_S)
    assert {"1": False, "2": False} == pool.ask(CACHED, PLANS, "sm_80", ANSWER_S, timeout_s=ANSWER_S)


def test_what_cannot_be_asked_in_time_is_left_out(pool: Pool) -> None:
    start_s = time.monotonic()
    assert {} == pool.ask(CACHED, PLANS, "sm_90", -1.0, timeout_s=ANSWER_S)
    assert time.monotonic() - start_s < ANSWER_S


def test_another_triton_whose_back_end_has_no_such_method_says_nothing(pool: Pool) -> None:
    answer = pool.ask("compile_tasks:asked_of_another_triton", PLANS, "sm_90", ANSWER_S, timeout_s=ANSWER_S)
    assert isinstance(answer, Failure)
    assert "AttributeError" == answer.error
