"""Explaining in two parts: the answer once the config is compiled, then its neighbours, measured on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import ClassVar

import pytest
from cpu_sweeps import take_few_samples
from fake_explained import CONFIG, FAKE_HEADER, SOURCE, explained, measured, ship
from fake_kernel import PARAMS, FakeSubject, fake
from fake_models import MODEL
from fake_runs import H100_GPU
from fake_timer import imports_paid_once
from host_timer import HOST

from ssdprof.kernels.config import MAXNREG, Config, ParamTable
from ssdprof.profiling.diagnosis.counterfactuals import counterfactuals
from ssdprof.profiling.runs.ledger import Ledger
from ssdprof.profiling.runs.model import Explanation, Run
from ssdprof.profiling.runs.rank import rank
from ssdprof.profiling.runs.registers import Registers
from ssdprof.profiling.sweep import explain as explain_module
from ssdprof.profiling.sweep.explain import LEDGER, REGISTERS
from ssdprof.profiling.sweep.request import Event
from ssdprof.profiling.sweep.sweep import Sweep
from ssdprof.profiling.workers.pool import Pool


@pytest.fixture(scope="module", autouse=True)
def one_import() -> Iterator[None]:
    with imports_paid_once():
        yield


@pytest.fixture(autouse=True)
def nothing_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch)


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
    told = {LEDGER: Ledger((), 7), REGISTERS: Registers((), 32, 0)}
    monkeypatch.setattr(Pool, "ask", lambda _, function, *__, **___: told.get(function, MODEL))
    compiled, answers = [0], list[tuple[int, Explanation]]()

    def count(event: Event) -> None:
        compiled[0] = event.compiled

    last = explained(
        run=measured(), jobs=1, on_event=count, on_answer=lambda first: answers.append((compiled[0], first))
    )
    ((done, first),) = answers
    assert 0 == done  # it is the first that is compiled, and nothing waits for it
    assert (Ledger((), 7), (), 2.0) == (first.ledger, first.neighbours, first.row.known_latency_ms)
    assert (Registers((), 32, 0), first.registers) == (first.registers, last.registers)
    assert measured() == first.source
    assert (first.row.compiled, first.ledger, first.source) == (last.row.compiled, last.ledger, last.source)
    assert first.row.model is not None
    assert (MODEL.traffic, first.row.model) == (first.row.model.traffic, last.row.model)
    assert (first.row.floor_ms, first.row.bound) == (last.row.floor_ms, last.row.bound)
    assert first.row.bound is not None
    assert first.latency_source == last.latency_source


def test_what_does_not_compile_is_answered_too_once() -> None:
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
