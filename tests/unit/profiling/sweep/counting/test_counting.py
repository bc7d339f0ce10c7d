"""Which configs of a run ncu counts, what is kept of it, and what happens if it cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_ncu import CountingNcu
from fake_runs import BASELINE, H100_GPU, SUBJECT, compiled_run, h100_run, id_of
from run_records import kept

from ssdprof.profiling.ncu import program
from ssdprof.profiling.ncu.export import read_export
from ssdprof.profiling.runs.counters import Counted
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.sweep.added import counting
from ssdprof.profiling.sweep.added.counting import Wanted, with_counters
from ssdprof.profiling.sweep.request import Event, SweepRequest

RUN = h100_run()
RANKED = [row.config_id for row in RUN.ranked]
BASE = id_of(BASELINE)
LAST = RANKED[-1]
REQUEST = SweepRequest(SUBJECT, "mamba", (), "sm_90", gpu=H100_GPU, seed=3)
NCU = Path("ncu")
PRINTED = read_export(Path(__file__).parents[4] / "golden" / "ncu_h100_raw_page.csv")[0]


class Heard:
    """What `with_counters` tells: events, records and warnings."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.records: list[Counted] = []
        self.warnings: list[str] = []

    def count(self, run: Run, wanted: Wanted, request: SweepRequest = REQUEST) -> Run:
        return with_counters(run, wanted, request, self.events.append, self.records.append, self.warnings.append)


@pytest.fixture
def ncu(monkeypatch: pytest.MonkeyPatch) -> CountingNcu:
    fake = CountingNcu()
    monkeypatch.setattr(program, "run_program", fake)
    return fake


def with_baseline(name: str) -> Run:
    return replace(RUN, header=replace(RUN.header, baseline_id=name))


@pytest.mark.parametrize(
    ("best", "baseline", "expected"),
    [
        (2, LAST, [*RANKED[:2], LAST]),
        (2, RANKED[0], RANKED[:2]),
        (2, "m1", RANKED[:2]),
        (9, LAST, RANKED),
        (None, LAST, RANKED),
    ],
)
def test_the_best_and_the_baseline_are_counted_and_each_is_kept(
    ncu: CountingNcu, best: int | None, baseline: str, expected: list[str]
) -> None:
    heard = Heard()
    found = heard.count(with_baseline(baseline), Wanted(best, (), NCU))

    assert [tuple(expected)] == ncu.launched
    assert (SUBJECT, 3) == ncu.works[0][:2]
    assert expected == [one.config_id for one in heard.records]
    assert {one.config_id: one.counters for one in heard.records} == {
        row.config_id: row.counters for row in found.rows if row.counters
    }
    assert [(len(expected), "counting")] == [(event.total, event.phase) for event in heard.events]
    assert [] == heard.warnings


def test_only_correct_configs_are_launched(ncu: CountingNcu) -> None:
    Heard().count(RUN, Wanted(None, (), NCU))
    assert {row.config_id for row in RUN.rows if row.status == "ok"} == set(ncu.launched[0])
    assert any(row.status == "wrong" for row in RUN.rows)


def test_what_was_counted_before_is_not_counted_again_unless_more_is_wanted(ncu: CountingNcu) -> None:
    first = kept(Heard().count(RUN, Wanted(1, (), NCU)))
    again = Heard().count(first, Wanted(2, (), NCU))
    more = Heard().count(again, Wanted(2, ("sm__inst_executed.sum",), NCU))

    assert [(RANKED[0],), (RANKED[1],), tuple(RANKED[:2])] == [one[:2] for one in ncu.launched]
    assert [2, 2] == [sum(row.counters is not None for row in one.rows) for one in (again, more)]


def test_many_are_counted_some_at_a_time_so_that_it_is_told_how_far_it_is(
    ncu: CountingNcu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "AT_ONCE", 2)
    heard = Heard()
    heard.count(RUN, Wanted(None, (), NCU))
    assert [0, 2, 4] == [event.done for event in heard.events]
    assert [False, True, True] == [event.eta_s is not None for event in heard.events]
    assert RANKED == [name for some in ncu.launched for name in some]


@pytest.mark.parametrize(
    ("fake", "expected"),
    [
        (
            CountingNcu(refuses=True),
            (
                "no counters: ERR_NVGPUCTRPERM: no permission for the GPU's performance counters: run as root, give "
                "the container --cap-add=SYS_ADMIN, or load the driver with NVreg_RestrictProfilingToAdminUsers=0 "
                "(developer.nvidia.com/ERR_NVGPUCTRPERM)"
            ),
        ),
        (
            CountingNcu(["sm__nothing.sum"]),
            (
                "no counters: Failed to find metric sm__nothing.sum (exit code 1): `ncu --query-metrics` lists those "
                "of this GPU"
            ),
        ),
    ],
    ids=["refused", "unknown"],
)
def test_an_ncu_that_counts_nothing_leaves_the_run_as_it_is_and_says_why_in_a_line(
    monkeypatch: pytest.MonkeyPatch, fake: CountingNcu, expected: str
) -> None:
    monkeypatch.setattr(program, "run_program", fake)
    heard = Heard()
    assert heard.count(RUN, Wanted(2, ("sm__nothing.sum",), NCU)) == RUN
    assert ([expected], []) == (heard.warnings, heard.records)


def test_an_interruption_keeps_what_was_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(CountingNcu):
        def __call__(self, *arguments: Any) -> Any:
            if "--import" not in arguments[0] and len(self.launched) == 1 and "--version" not in arguments[0]:
                raise KeyboardInterrupt
            return super().__call__(*arguments)

    monkeypatch.setattr(program, "run_program", Interrupted())
    monkeypatch.setattr(counting, "AT_ONCE", 1)
    found = Heard().count(RUN, Wanted(None, (), NCU))
    assert found.header.interrupted
    assert [RANKED[0]] == [row.config_id for row in found.rows if row.counters]


def test_what_fails_under_ncu_alone_and_what_has_no_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "run_program", CountingNcu(loses=RANKED[:1]))
    heard = Heard()
    heard.count(RUN, Wanted(2, ("sm__other.sum",), NCU))
    assert [
        f"no counters of {RANKED[0]}: failed under ncu alone",
        "ncu gave no number for sm__other.sum",
    ] == heard.warnings


def test_without_a_gpu_nothing_is_launched(ncu: CountingNcu) -> None:
    heard = Heard()
    found = compiled_run()
    assert found == heard.count(found, Wanted(2, (), NCU), replace(REQUEST, gpu=None))
    assert [] == ncu.launched
    assert heard.warnings[0].startswith("no counters: nothing ran here, since no GPU is used; --counters-from FILE")
