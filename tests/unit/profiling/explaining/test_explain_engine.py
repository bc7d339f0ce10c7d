"""Explaining a config: it and its neighbours recompiled, with latencies from a run or the recorded one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fake_explained import CONFIG, FAKE_HEADER, SAME, SOURCE, WIDE, explained, measured, ship
from fake_kernel import LANES, PARAMS, FakeSubject, fake, fake_id
from fake_launches import CUBIN_REGISTERS
from fake_models import MODEL
from fake_runs import H100, timing
from fake_timer import imports_paid_once

from ssdprof.kernels.config import NUM_STAGES, NUM_WARPS, Config, Param
from ssdprof.kernels.errors import ConfigError
from ssdprof.profiling.runs import recorded
from ssdprof.profiling.runs.ledger import Ledger
from ssdprof.profiling.runs.measured import Check
from ssdprof.profiling.runs.model import Device, Explanation, Row, Run
from ssdprof.profiling.runs.modelled import Model
from ssdprof.profiling.runs.rank import rank
from ssdprof.profiling.runs.registers import Registers
from ssdprof.profiling.sweep.added.modelling import MODEL as LAUNCH_MODEL
from ssdprof.profiling.sweep.explain import LEDGER, REGISTERS
from ssdprof.profiling.sweep.request import Event
from ssdprof.profiling.workers.pool import Pool


@pytest.fixture(scope="module", autouse=True)
def one_import() -> Iterator[None]:
    with imports_paid_once():
        yield


@pytest.fixture(autouse=True)
def nothing_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch)


def neighbours(explanation: Explanation, param: Param) -> list[int]:
    group = next(group for group in explanation.neighbours if group.param == param)
    return [row.config.number(param.name) for row in group.rows]


def test_each_parameter_is_changed_alone_and_the_config_itself_is_among_them() -> None:
    explanation = explained()
    assert [LANES, NUM_WARPS, NUM_STAGES] == [group.param for group in explanation.neighbours]
    assert [16, 32, 64, 128] == neighbours(explanation, LANES)
    assert [1, 2, 4, 8] == neighbours(explanation, NUM_WARPS)
    assert [1, 2, 3, 4, 5] == neighbours(explanation, NUM_STAGES)
    for group in explanation.neighbours:
        assert explanation.row in group.rows
        for row in group.rows:
            assert CONFIG == row.config.with_values({group.param.name: CONFIG[group.param.name]})


def test_a_value_between_those_to_try_has_its_place_among_them_and_what_the_kernel_refuses_has_none() -> None:
    class Narrow(FakeSubject):
        def resolve(self, config: Config) -> Config:
            if config.number("LANES") > 64:
                raise ConfigError("too many lanes")
            return super().resolve(config)

    explanation = explained(fake(num_warps=16), subject=Narrow())
    assert [16, 32, 64] == neighbours(explanation, LANES)
    assert [1, 2, 4, 8, 16] == neighbours(explanation, NUM_WARPS)


def test_everything_is_compiled_and_nothing_measured() -> None:
    explanation = explained()
    rows = [row for group in explanation.neighbours for row in group.rows]
    assert {"not-run"} == {row.status for row in rows}
    assert {CUBIN_REGISTERS} == {row.compiled.registers_per_thread for row in rows if row.compiled}
    assert all(row.compiled and row.occupancy and row.timing is None and row.recorded is None for row in rows)
    assert (None, None) == (explanation.latency_source, explanation.header.device.name)
    assert fake_id() == explanation.row.config_id


def test_what_users_ask_of_the_kernel_is_the_subjects_own_question() -> None:
    question = explained().question
    assert question is not None
    assert ("LANES", "Why LANES matters here, or does not", 16, "") == (
        question.parameter,
        question.title,
        question.extent,
        question.absent,
    )
    of_half = explained(fake("half")).question
    assert of_half is not None
    assert of_half.absent.startswith("The variant half has one tile")


def test_a_config_that_is_wrong_by_construction_says_so_and_its_neighbours_are_compared() -> None:
    explanation = explained(fake("narrow", LANES=4))
    reason = "by construction: covers only 8 of 16 lanes"
    assert ("wrong", reason) == (explanation.row.status, explanation.row.status_reason)
    assert [4, 32, 64, 128] == neighbours(explanation, LANES)
    assert ["wrong", "not-run", "not-run", "not-run"] == [row.status for row in explanation.neighbours[0].rows]
    assert all(row.compiled for row in explanation.neighbours[0].rows)


def test_a_config_in_short_is_resolved_first() -> None:
    assert fake_id() == explained(fake(LANES=None)).row.config_id


def test_a_config_that_the_kernel_does_not_take_is_an_error() -> None:
    with pytest.raises(ConfigError, match="unknown variant nothing: one of right"):
        explained(fake("nothing"))


def test_events_count_the_configs_to_compile() -> None:
    events: list[Event] = []
    explained(on_event=events.append)
    assert (11, 11) == (events[-1].done, events[-1].total)


def test_latencies_statuses_and_errors_come_from_the_run() -> None:
    explanation = explained(run=measured())
    row = explanation.row
    assert ("ok", "", 1, timing(2.0)) == (row.known_status, row.known_reason, row.rank, row.known_timing)
    assert row.known_check == Check(0.001, 0.002, 0, 8, True, 4)
    wider = next(row for row in explanation.neighbours[0].rows if row.config == WIDE)
    assert ("wrong", "relative error 0.60", None, timing(1.0)) == (
        wider.known_status,
        wider.known_reason,
        wider.rank,
        wider.known_timing,
    )
    assert CUBIN_REGISTERS == (wider.compiled.registers_per_thread if wider.compiled else None)
    others = [row for row in explanation.neighbours[1].rows if row.config != CONFIG]
    assert {"not-run"} == {row.known_status for row in others}
    assert f"measured {SOURCE}" == explanation.latency_source


def test_a_latency_of_another_binary_is_marked_so() -> None:
    explanation = explained(run=measured())
    wider = next(row for row in explanation.neighbours[0].rows if row.config == WIDE)
    assert explanation.row.recorded is not None
    assert wider.recorded is not None
    assert (False, True) == (explanation.row.recorded.same_binary, wider.recorded.same_binary)
    assert {f"measured {SOURCE}"} == {explanation.row.recorded.source, wider.recorded.source}


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
        explanation.row.known_status,
        explanation.row.known_timing,
    )


@pytest.mark.parametrize("given", [None, "problem", "measurement"])
def test_the_recorded_run_stands_in_and_says_so(monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
    ship(monkeypatch, measured(OTHERS["architecture"]), measured())
    explanation = explained(run=measured(OTHERS[given]) if given else None)
    assert timing(2.0) == explanation.row.known_timing
    assert f"recorded {SOURCE}" == explanation.latency_source


def test_the_run_that_was_given_goes_before_the_recorded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "recorded_runs", lambda: pytest.fail("not to be asked"))
    assert f"measured {SOURCE}" == explained(run=measured()).latency_source


def test_what_does_not_compile_here_stays_so_whatever_was_measured() -> None:
    broken = fake("compile_error")
    known = Row(broken, PARAMS.id(broken), "ok", compiled=SAME, timing=timing(2.0))
    explanation = explained(broken, run=Run(FAKE_HEADER, rank([known], None)))
    assert ("compile-error", "ValueError: no such layout", None, None) == (
        explanation.row.known_status,
        explanation.row.known_reason,
        explanation.row.known_timing,
        explanation.row.rank,
    )


def test_a_ledger_that_cannot_be_read_costs_only_itself() -> None:
    explanation = explained()
    assert (None, None) == (explanation.ledger, explanation.registers)
    assert "ttgir" in explanation.ledger_absent  # a fake kernel has none
    assert "FakeKernel" in explanation.registers_absent
    assert explanation.row.compiled is not None


def test_the_ledgers_and_the_model_of_the_config_are_made_once_whatever_its_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    told = {LEDGER: Ledger((), 0), REGISTERS: Registers((), 32, 0)}

    def ask(_: Pool, function: str, *arguments: Any, timeout_s: float) -> Ledger | Registers | Model:
        arch = next(one for one in arguments if isinstance(one, str))
        asked.append((function, arguments[0].options["num_warps"], arch))
        return told.get(function, MODEL)

    monkeypatch.setattr(Pool, "ask", ask)
    explanation = explained()
    assert (Ledger((), 0), Registers((), 32, 0), MODEL.traffic) == (
        explanation.ledger,
        explanation.registers,
        explanation.row.model and explanation.row.model.traffic,
    )
    assert [(name, CONFIG.number("num_warps"), "sm_90") for name in (*told, LAUNCH_MODEL)] == asked


def test_what_does_not_compile_has_no_ledger_and_no_reason() -> None:
    explanation = explained(fake("compile_error"))
    assert (None, "") == (explanation.ledger, explanation.ledger_absent)
    assert (None, "") == (explanation.registers, explanation.registers_absent)
