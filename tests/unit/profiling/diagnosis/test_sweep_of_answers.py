"""Configs that give two outputs, neither of which is known to be correct, on their whole way: sweep, file, exports."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cpu_sweeps import request, swept, take_few_samples
from fake_kernel import HELD_AGAINST, CapturedSubject, FakeSubject, fake, fake_id
from fake_runs import screen
from fake_timer import imports_paid_once
from run_records import state_of

from ssdprof.kernels.interface import GivenInputs, NamedReference, Subject
from ssdprof.profiling.diagnosis.groups import answers_of
from ssdprof.profiling.diagnosis.verdicts import statements
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.profiling.runs.run_file import RunFile, dump_records
from ssdprof.profiling.runs.state import Record, RunState
from ssdprof.profiling.runs.store import load_run
from ssdprof.reports.export.run_csv import run_csv
from ssdprof.reports.export.run_json import run_json
from ssdprof.reports.text.sweep import sweep_report

STEADY = "fake_timer:SteadyTimer"
OURS = [fake("right", rows) for rows in (20, 21, 22)]
THEIRS = [fake("wrong_scaled", rows) for rows in (12, 13)]
NEITHER = fake("nan_rows", 30)


@pytest.fixture(scope="module", autouse=True)
def one_import() -> Iterator[None]:
    with imports_paid_once():
        yield


def sweep_of(subject: Subject, state: RunState | None = None) -> tuple[Run, list[Record]]:
    records: list[Record] = []
    with pytest.MonkeyPatch.context() as patch:
        take_few_samples(patch)
        asked = request(*OURS, *THEIRS, NEITHER, subject=subject, jobs=1)
        return swept(asked, on_record=records.append, state=state, device=STEADY), records


@pytest.fixture(scope="module")
def whole() -> tuple[Run, list[Record]]:
    return sweep_of(CapturedSubject())


def judged(run: Run) -> list[tuple[str, int | None, int | None]]:
    return [(row.status, row.rank, row.answer) for row in run.rows]


EXPECTED = [("ok", 1, 1), ("ok", 2, 1), ("ok", 3, 1), ("differs", None, 2), ("differs", None, 2), ("wrong", None, None)]


def test_both_outputs_are_found_and_numbered(whole: tuple[Run, list[Record]]) -> None:
    run, _ = whole
    assert EXPECTED == judged(run)
    assert [(True, 3), (False, 2)] == [(one.is_reference, len(one.config_ids)) for one in answers_of(run)]
    assert f"another output than {HELD_AGAINST}: scaled: relative error 0.50" in run.rows[3].status_reason
    assert [1] * 5 == [row.check.seeds for row in run.rows[:5] if row.check]


def test_the_header_says_what_outputs_were_held_against(whole: tuple[Run, list[Record]]) -> None:
    run, _ = whole
    assert isinstance(CapturedSubject(), NamedReference)
    assert isinstance(CapturedSubject(), GivenInputs)
    assert CapturedSubject.reference_name == run.header.reference
    assert f"held against  {CapturedSubject.reference_name}" in screen(sweep_report(run), 120)


def test_the_fastest_that_differs_takes_part_in_the_rounds(whole: tuple[Run, list[Record]]) -> None:
    run, records = whole
    state = state_of(records)
    rounds = {row.config_id: {batch.round for batch in state.batches(row.config_id)} for row in run.rows}
    assert {0, 1, 2} == rounds[fake_id("wrong_scaled", 12)] == rounds[fake_id("right", 20)]
    assert {0} == rounds[fake_id("wrong_scaled", 13)]


def test_a_run_file_gives_the_same_answers(whole: tuple[Run, list[Record]], tmp_path: Path) -> None:
    run, records = whole
    file = RunFile(tmp_path / "run.jsonl")
    file.write(*records)
    file.close()
    again = load_run(tmp_path / "run.jsonl")
    assert judged(run) == judged(again)
    assert answers_of(run) == answers_of(again)


def test_a_resumed_sweep_has_nothing_left_to_measure(whole: tuple[Run, list[Record]]) -> None:
    run, records = whole
    again, more = sweep_of(CapturedSubject(), state_of(records))
    assert judged(run) == judged(again)
    assert [] == [record for record in more if isinstance(record, Row)]


def test_exports_number_the_answers_and_say_that_nothing_is_decided(whole: tuple[Run, list[Record]]) -> None:
    run, _ = whole
    rows = list(csv.DictReader(io.StringIO(run_csv(run))))
    assert ["1", "1", "1"] == [row["answer"] for row in rows if row["status"] == "ok"]
    assert ["2", "2"] == [row["answer"] for row in rows if row["status"] == "differs"]
    assert [""] == [row["answer"] for row in rows if row["status"] == "wrong"]
    exported = json.loads(run_json(run, statements(run)))
    assert "several-answers" == exported["answer"][0]["code"]
    assert exported["answer"][0]["message"].startswith("not decided: 2 answers: 3 configs give that of ")
    assert [3, 2] == [one["configs"] for one in exported["answer"][0]["figures"]["answers"]]
    assert CapturedSubject.reference_name == exported["header"]["reference"]


def test_a_subject_with_a_correct_reference_writes_what_it_wrote_before() -> None:
    run, records = sweep_of(FakeSubject())
    assert [("ok", None), ("wrong", None)] == [(row.status, row.answer) for row in run.rows[2:4]]
    assert [] == [
        name for name in ("sketch", "against", "unordered", "reference") if f'"{name}"' in dump_records(records)
    ]
