"""Explaining a config: it and its neighbours recompiled, with latencies from a run or the recorded one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import pytest
from cpu_sweeps import take_few_samples
from fake_kernel import LANES, PARAMS, FakeSubject, fake, fake_id
from fake_launches import CUBIN_REGISTERS, CUBIN_STACK_BYTES, SHARED_MEM_BYTES
from fake_runs import H100, H100_GPU, HEADER, timing
from fake_timer import imports_paid_once
from host_timer import HOST

from ssdprof.kernels.config import MAXNREG, NUM_STAGES, NUM_WARPS, Config, Param, ParamTable
from ssdprof.kernels.errors import ConfigError
from ssdprof.profiling.diagnosis.counterfactuals import counterfactuals
from ssdprof.profiling.runs import recorded
from ssdprof.profiling.runs.ledger import Ledger
from ssdprof.profiling.runs.measured import Check, Compiled
from ssdprof.profiling.runs.model import Device, Explanation, Row, Run
from ssdprof.profiling.runs.rank import rank
from ssdprof.profiling.sweep import explain as explain_module
from ssdprof.profiling.sweep.explain import LEDGER, explain
from ssdprof.profiling.sweep.request import Event, SweepRequest
from ssdprof.profiling.sweep.sweep import Sweep
from ssdprof.profiling.workers.pool import Pool

SUBJECT = FakeSubject()
CONFIG, WIDE = fake(), fake(LANES=64)
FAKE_HEADER = replace(
    HEADER, kernel="fake", kernel_hashes=dict(SUBJECT.source_hashes()), problem=SUBJECT.identity(), device=H100
)
SOURCE = "on NVIDIA H100 80GB HBM3, driver 580.159.04, Triton 3.6.0, 2026-11-23"
SAME = Compiled(CUBIN_REGISTERS, CUBIN_STACK_BYTES, SHARED_MEM_BYTES, 0, 4, 1, 1, 32, compile_s=1.0)
"""What the recorded cubin has, as it compiles here."""


def ship(monkeypatch: pytest.MonkeyPatch, *runs: Run) -> None:
    def recorded_runs() -> Iterator[Run]:
        return iter(runs)

    monkeypatch.setattr(recorded, "recorded_runs", recorded_runs)


@pytest.fixture(scope="module", autouse=True)
def one_import() -> Iterator[None]:
    with imports_paid_once():
        yield


@pytest.fixture(autouse=True)
def nothing_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch)


def explained(
    config: Config = CONFIG,
    run: Run | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    on_answer: Callable[[Explanation], None] = lambda _: None,
    **fields: Any,
) -> Explanation:
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
    assert explanation.ledger is None
    assert "ttgir" in explanation.ledger_absent  # a fake kernel has none
    assert explanation.row.compiled is not None


def test_the_ledger_of_the_config_is_read_once_whatever_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask(_: Pool, function: str, *arguments: Any, timeout_s: float) -> Ledger:
        asked.append((function, arguments[0].options["num_warps"], arguments[1]))
        return Ledger((), 0)

    monkeypatch.setattr(Pool, "ask", ask)
    assert Ledger((), 0) == explained().ledger
    assert [(LEDGER, CONFIG.number("num_warps"), "sm_90")] == asked


def test_what_does_not_compile_has_no_ledger_and_no_reason() -> None:
    explanation = explained(fake("compile_error"))
    assert (None, "") == (explanation.ledger, explanation.ledger_absent)


class Capped(FakeSubject):
    """Its configs set a cap on registers too."""

    params: ClassVar[ParamTable] = ParamTable((*PARAMS, MAXNREG), PARAMS.variants)

    def resolve(self, config: Config) -> Config:
        return self.params.validated(config)


def test_the_cap_that_gives_one_more_block_is_tried_as_soon_as_the_registers_are_known() -> None:
    events: list[Event] = []
    capped = Config((*CONFIG.values, (MAXNREG.name, None)), CONFIG.variant)
    explanation = explained(capped, subject=Capped(), on_event=events.append)
    (group,) = (group for group in explanation.neighbours if group.param == MAXNREG)
    assert [168, None] == [row.config[MAXNREG.name] for row in group.rows]
    assert all(row.compiled for row in group.rows)
    assert (12, 12) == (events[-1].done, events[-1].total)


def test_the_answer_comes_first_with_its_ledger_and_latency_and_no_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pool, "ask", lambda *_, **__: Ledger((), 7))
    compiled, answers = [0], list[tuple[int, Explanation]]()

    def count(event: Event) -> None:
        compiled[0] = event.compiled

    last = explained(
        run=measured(), jobs=1, on_event=count, on_answer=lambda first: answers.append((compiled[0], first))
    )
    ((done, first),) = answers
    assert 0 == done  # it is the first that is compiled, and nothing waits for it
    assert (Ledger((), 7), (), 2.0) == (first.ledger, first.neighbours, first.row.known_latency_ms)
    assert measured() == first.source
    assert (first.row.compiled, first.ledger, first.source) == (last.row.compiled, last.ledger, last.source)
    assert first.latency_source == last.latency_source


def test_what_does_not_compile_is_answered_too_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Explanation] = []
    last = explained(fake("compile_error"), on_answer=answers.append)
    assert ["compile-error"] == [one.row.status for one in answers]
    assert () == answers[0].neighbours
    assert last.neighbours


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measuring worker uses the CPU."""
    take_few_samples(monkeypatch)
    monkeypatch.setattr(explain_module, "Sweep", partial(Sweep, device=HOST))


@pytest.mark.slow
@pytest.mark.usefixtures("on_the_cpu")
def test_with_a_gpu_the_config_and_its_neighbours_are_checked_and_timed() -> None:
    answers: list[Explanation] = []
    config = fake("narrow", LANES=16)
    narrow = replace(measured().rows[0], config=config, config_id=PARAMS.id(config))
    run = Run(FAKE_HEADER, rank([narrow], None))
    explanation = explained(config, run, gpu=H100_GPU, budget_s=1.0, on_answer=answers.append)
    row = explanation.row
    assert ("not-run", 2.0) == (answers[0].row.status, answers[0].row.known_latency_ms)
    assert ("ok", 2.0) == (row.status, row.recorded.latency_ms if row.recorded else None)
    assert row.timing is not None
    assert f"measured on {explanation.header.provenance}" == explanation.latency_source
    found = counterfactuals(explanation)
    assert {"ok"} == {one.row.status for one in found}
    assert all(one.row.check and one.row.timing and one.row.recorded is None for one in found)
    assert all(one.times_as_fast for one in found)
    assert PARAMS.id(config) == explanation.header.baseline_id  # timed in the same rounds as the best


@pytest.mark.slow
def test_if_the_gpu_fails_the_latencies_of_the_run_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_module, "Sweep", partial(Sweep, device="no_timer:Missing"))
    explanation = explained(run=measured(), gpu=H100_GPU)
    assert (None, 2.0) == (explanation.row.timing, explanation.row.known_latency_ms)
    assert "the GPU could not be prepared" in explanation.row.status_reason
    assert f"measured {SOURCE}" == explanation.latency_source
