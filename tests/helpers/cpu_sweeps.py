"""Sweeps of the fake subject whose measuring worker uses the CPU; and the few samples that they take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fake_kernel import FakeSubject
from fake_runs import H100_GPU
from host_timer import HOST

from ssdprof.kernels.config import Config
from ssdprof.profiling.measuring import amounts
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.profiling.runs.state import Record, RunState
from ssdprof.profiling.sweep import rounds
from ssdprof.profiling.sweep.request import Event, SweepRequest
from ssdprof.profiling.sweep.sweep import Sweep

TIMEOUT_S = 60.0
ROUNDS, SAMPLES_PER_ROUND = 2, 3
REFINED = ROUNDS * SAMPLES_PER_ROUND
SHARED_TOO_LARGE = "needs 300000 bytes of shared memory per block, sm_90 allows 232448"

Events = list[Event]


def request(*configs: Config, gpu: bool = True, **fields: Any) -> SweepRequest:
    asked = SweepRequest(
        subject=FakeSubject(),
        space="fakes",
        configs=configs,
        arch="sm_90",
        gpu=H100_GPU if gpu else None,
        seed=7,
        baseline=None,
        jobs=2,
        timeout_s=TIMEOUT_S,
        command="ssdprof sweep",
    )
    return replace(asked, **fields)


def swept(
    asked: SweepRequest,
    on_event: Callable[[Event], None] = lambda _: None,
    on_record: Callable[[Record], None] = lambda _: None,
    state: RunState | None = None,
    device: str = HOST,
) -> Run:
    """A sweep whose measuring worker uses the CPU."""
    return Sweep(asked, on_event, on_record, state, device).run()


def by_variant(run: Run) -> dict[str, Row]:
    """The first row of each variant."""
    return {row.config.variant: row for row in reversed(run.rows)}


def take_few_samples(patch: pytest.MonkeyPatch) -> None:
    """The finalists are timed again as often as `REFINED` says."""
    patch.setattr(rounds, "MIN_ROUNDS", ROUNDS)
    patch.setattr(rounds, "TARGET_INTERVAL_SHARE", math.inf)
    patch.setattr(amounts, "TURN_SAMPLES", (SAMPLES_PER_ROUND, SAMPLES_PER_ROUND))
