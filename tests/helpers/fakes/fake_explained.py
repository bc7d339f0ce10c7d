"""Explanations of the fake subject, and a run that measured some of what they compile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from fake_kernel import PARAMS, FakeSubject, fake
from fake_launches import CUBIN_REGISTERS, CUBIN_STACK_BYTES, SHARED_MEM_BYTES
from fake_runs import H100, HEADER, timing

from ssdprof.kernels.config import Config
from ssdprof.profiling.runs import recorded
from ssdprof.profiling.runs.measured import Check, Compiled
from ssdprof.profiling.runs.model import Explanation, Row, Run
from ssdprof.profiling.runs.rank import rank
from ssdprof.profiling.sweep.explain import explain
from ssdprof.profiling.sweep.request import Event, SweepRequest

SUBJECT = FakeSubject()
CONFIG, WIDE = fake(), fake(LANES=64)
FAKE_HEADER = replace(
    HEADER, kernel="fake", kernel_hashes=dict(SUBJECT.source_hashes()), problem=SUBJECT.identity(), device=H100
)
SOURCE = "on NVIDIA H100 80GB HBM3, driver 580.159.04, Triton 3.6.0, 2026-11-23"
SAME = Compiled(CUBIN_REGISTERS, CUBIN_STACK_BYTES, SHARED_MEM_BYTES, 0, 4, 1, 1, 32, compile_s=1.0)
"""What the recorded cubin has, as it compiles here."""


def ship(monkeypatch: pytest.MonkeyPatch, *runs: Run) -> None:
    """The recorded runs that ship with ssdprof are these."""

    def recorded_runs() -> Iterator[Run]:
        return iter(runs)

    monkeypatch.setattr(recorded, "recorded_runs", recorded_runs)


def explained(
    config: Config = CONFIG,
    run: Run | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    on_answer: Callable[[Explanation], None] = lambda _: None,
    **fields: Any,
) -> Explanation:
    """What is explained of a config without a GPU, unless `fields` of the request say otherwise."""
    asked = SweepRequest(
        subject=SUBJECT,
        space="ignored",
        configs=(fake("compile_error"),),
        arch="sm_90",
        jobs=2,
        timeout_s=60.0,
        command="ssdprof explain",
    )
    return explain(config, replace(asked, **fields), run, "measured", on_event, on_answer=on_answer)


def measured(header: Any = FAKE_HEADER) -> Run:
    """Two of the neighbours: the config itself correct in 2 ms, by another binary; its wider tile wrong in 1 ms."""
    other = replace(SAME, registers_per_thread=96)
    right = Row(
        CONFIG, PARAMS.id(CONFIG), "ok", compiled=other, check=Check(0.001, 0.002, 0, 8, True, 4), timing=timing(2.0)
    )
    wrong = Row(
        WIDE,
        PARAMS.id(WIDE),
        "wrong",
        "relative error 0.60",
        compiled=SAME,
        check=Check(0.6, 0.7, 8, 8, True, 4),
        timing=timing(1.0),
    )
    return Run(header, rank([right, wrong], PARAMS.id(CONFIG)))
