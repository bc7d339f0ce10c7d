"""Explaining a config: it and its neighbours recompiled, with latencies from a run or the recorded one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fake_kernel import CUBIN_REGISTERS, FakeProblem, FakeSpec, fake
from fake_runs import H100, H100_GPU, HEADER, timing

from ssdprof.kernels.config import config_id
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import Config
from ssdprof.profiling.runs.measured import Check
from ssdprof.profiling.runs.model import Device, Explanation, Row, Run
from ssdprof.profiling.runs.rank import rank
from ssdprof.profiling.sweep.explain import ExplainRequest, explain
from ssdprof.profiling.sweep.request import Event, SweepRequest

explain_module = sys.modules["ssdprof.profiling.sweep.explain"]
CONFIG = fake("right", block_dstate=16, num_warps=4, num_stages=2)
WIDE = replace(CONFIG, block_dstate=64)
FAKE_HEADER = replace(
    HEADER, kernel="fake", kernel_hashes=dict(FakeSpec().source_hashes()), problem=FakeProblem().as_dict(), device=H100
)


@pytest.fixture(autouse=True)
def nothing_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_module, "recorded_for", lambda run: None)


def explained(
    config: Config = CONFIG, run: Run | None = None, on_event: Callable[[Event], None] = lambda _: None
) -> Explanation:
    asked = SweepRequest(
        spec=FakeSpec(),
        problem=FakeProblem(),
        space="ignored",
        configs=(fake("compile_error"),),
        arch="sm_90",
        gpu=H100_GPU,
        seed=0,
        baseline=None,
        jobs=2,
        timeout_s=60.0,
        command="ssdprof explain",
    )
    return explain(ExplainRequest(config, asked, run), on_event)


def measured(header: Any = FAKE_HEADER) -> Run:
    """Two of the neighbours: the config itself right in 2 ms, its wider tile wrong in 1 ms."""
    right = Row(CONFIG, config_id(CONFIG), "ok", check=Check(0.001, 0.002, 0, 8, True, 4), timing=timing(2.0))
    wrong = Row(
        WIDE, config_id(WIDE), "wrong", "relative error 0.60", check=Check(0.6, 0.7, 8, 8, True, 4), timing=timing(1.0)
    )
    return Run(header, rank([right, wrong], config_id(CONFIG)))


def neighbours(explanation: Explanation, parameter: str) -> list[int]:
    group = next(group for group in explanation.neighbours if group.parameter == parameter)
    return [getattr(row.config, parameter) for row in group.rows]


def test_each_parameter_is_changed_alone_and_the_config_itself_is_among_them() -> None:
    explanation = explained()
    assert ["block_dstate", "num_warps", "num_stages"] == [group.parameter for group in explanation.neighbours]
    assert [16, 32, 64, 128] == neighbours(explanation, "block_dstate")
    assert [1, 2, 4, 8] == neighbours(explanation, "num_warps")
    assert [1, 2, 3, 4, 5] == neighbours(explanation, "num_stages")
    for group in explanation.neighbours:
        assert explanation.row in group.rows
        for row in group.rows:
            assert CONFIG == replace(row.config, **{group.parameter: getattr(CONFIG, group.parameter)})


def test_everything_is_compiled_and_nothing_measured() -> None:
    explanation = explained()
    rows = [row for group in explanation.neighbours for row in group.rows]
    assert {"not-run"} == {row.status for row in rows}
    assert {CUBIN_REGISTERS} == {row.compiled.registers_per_thread for row in rows if row.compiled}
    assert all(row.compiled and row.occupancy and row.timing is None for row in rows)
    assert (None, None) == (explanation.latency_source, explanation.header.device.name)
    assert config_id(CONFIG) == explanation.row.config_id


def test_a_config_in_short_is_resolved_first() -> None:
    assert config_id(CONFIG) == explained(replace(CONFIG, block_dstate=None)).row.config_id


def test_a_config_that_the_kernel_does_not_take_is_an_error() -> None:
    with pytest.raises(ConfigError, match="unknown variant 'nothing'"):
        explained(fake("nothing"))


def test_events_count_the_configs_to_compile() -> None:
    events: list[Event] = []
    explained(on_event=events.append)
    assert (11, 11) == (events[-1].done, events[-1].total)


def test_latencies_statuses_and_errors_come_from_the_run() -> None:
    explanation = explained(run=measured())
    row = explanation.row
    assert ("ok", 1, 1.0, timing(2.0)) == (row.status, row.rank, row.speedup_vs_baseline, row.timing)
    assert row.check is not None
    assert row.compiled is not None
    wider = next(row for row in explanation.neighbours[0].rows if row.config.block_dstate == 64)
    assert ("wrong", "relative error 0.60", None, timing(1.0)) == (
        wider.status,
        wider.status_reason,
        wider.rank,
        wider.timing,
    )
    assert CUBIN_REGISTERS == (wider.compiled.registers_per_thread if wider.compiled else None)
    others = [row for row in explanation.neighbours[1].rows if row.config != CONFIG]
    assert {"not-run"} == {row.status for row in others}
    assert (
        "measured on NVIDIA H100 80GB HBM3, driver 580.159.04, Triton 3.6.0, 2026-11-23" == explanation.latency_source
    )


OTHERS = {
    "kernel source": replace(FAKE_HEADER, kernel_hashes={"right": "0" * 16}),
    "problem": replace(FAKE_HEADER, problem={**FAKE_HEADER.problem, "rows": 9}),
    "architecture": replace(FAKE_HEADER, device=replace(H100, arch="sm_80")),
    "measurement": replace(FAKE_HEADER, device=Device(arch="sm_90")),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_run_of_another_kernel_problem_or_architecture_is_not_used(what: str) -> None:
    explanation = explained(run=measured(OTHERS[what]))
    assert (None, "not-run", None) == (
        explanation.latency_source,
        explanation.row.status,
        explanation.row.timing,
    )


def test_the_recorded_run_stands_in_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Run] = []

    def recorded_for(run: Run) -> Run:
        asked.append(run)
        return measured()

    monkeypatch.setattr(explain_module, "recorded_for", recorded_for)
    explanation = explained(run=measured(OTHERS["problem"]))
    assert 11 == len(asked[0].rows)
    assert timing(2.0) == explanation.row.timing
    assert (
        "recorded on NVIDIA H100 80GB HBM3, driver 580.159.04, Triton 3.6.0, 2026-11-23" == explanation.latency_source
    )


def test_the_run_that_was_given_goes_before_the_recorded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_module, "recorded_for", lambda run: pytest.fail("not to be asked"))
    assert str(explained(run=measured()).latency_source).startswith("measured on")


def test_what_does_not_compile_here_stays_so_whatever_was_measured() -> None:
    broken = replace(CONFIG, variant="compile_error")
    known = Row(broken, config_id(broken), "ok", timing=timing(2.0))
    explanation = explained(broken, run=Run(FAKE_HEADER, rank([known], None)))
    assert ("compile-error", "ValueError: no such layout", None) == (
        explanation.row.status,
        explanation.row.status_reason,
        explanation.row.timing,
    )
