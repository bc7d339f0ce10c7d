"""A config that is off by 0.4 %, within its tolerance, on its whole way: sweep, run file, resume, exports, verdict."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cpu_sweeps import Events, by_variant, request, swept, take_few_samples
from fake_kernel import fake, fake_id
from fake_runs import screen
from fake_timer import imports_paid_once
from run_records import state_of

from ssdprof.kernels.config import Config
from ssdprof.profiling.diagnosis.verdicts import statements
from ssdprof.profiling.runs.measured import Batch
from ssdprof.profiling.runs.model import Row, Run, RunHeader
from ssdprof.profiling.runs.run_file import RunFile
from ssdprof.profiling.runs.state import Record, RunState
from ssdprof.profiling.runs.store import load_run
from ssdprof.reports.export.run_csv import run_csv
from ssdprof.reports.export.run_json import run_json
from ssdprof.reports.text.sweep import sweep_report
from ssdprof.reports.words.verdicts import words

STEADY = "fake_timer:SteadyTimer"
FAULTY = fake("a_little_more", 16)
"""The fastest of all."""
SOUND = [fake("right", rows) for rows in range(20, 25)]
REASON = "scaled: relative error 0.0040 is within the tolerance 0.01, but 5 of 5 other configs agree on "


@pytest.fixture(scope="module", autouse=True)
def one_import() -> Iterator[None]:
    with imports_paid_once():
        yield


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    take_few_samples(monkeypatch)


def judged(run: Run) -> dict[str, tuple[str, str, int | None]]:
    return {row.config_id: (row.status, row.status_reason, row.rank) for row in run.rows}


def sweep_of(*configs: Config, state: RunState | None = None) -> tuple[Run, list[Record]]:
    records: list[Record] = []
    run = swept(request(*configs, baseline=SOUND[0], jobs=1), on_record=records.append, state=state, device=STEADY)
    return run, records


@pytest.fixture(scope="module")
def whole() -> tuple[Run, list[Record]]:
    with pytest.MonkeyPatch.context() as patch:
        take_few_samples(patch)
        return sweep_of(FAULTY, *SOUND)


def assert_faulty_is_wrong(run: Run) -> None:
    rows = by_variant(run)
    faulty, best = rows["a_little_more"], run.ranked[0]
    assert ("wrong", None, None) == (faulty.status, faulty.rank, faulty.speedup_vs_baseline)
    assert faulty.status_reason.startswith(REASON)
    assert "\n" not in faulty.status_reason
    assert (fake_id("right", 20), 1.0) == (best.config_id, best.speedup_vs_baseline)
    assert [1, 2, 3, 4, 5] == [row.rank for row in run.ranked]
    assert 1.0 == pytest.approx(faulty.timing.latency_ms if faulty.timing else 0.0, rel=0.01)  # what it would have been


def test_the_fastest_config_is_wrong_and_not_among_the_finalists_but_as_the_fastest_wrong_one(
    whole: tuple[Run, list[Record]],
) -> None:
    run, records = whole
    assert_faulty_is_wrong(run)
    rounds = [one.round for one in records if isinstance(one, Batch) and one.config_id == fake_id("a_little_more", 16)]
    assert [0, 1, 2] == rounds


@pytest.mark.parametrize("place", [2, 5])
def test_it_is_wrong_wherever_it_comes(place: int, whole: tuple[Run, list[Record]]) -> None:
    run, _ = sweep_of(*SOUND[:place], FAULTY, *SOUND[place:])
    assert_faulty_is_wrong(run)
    assert judged(whole[0]) == judged(run)


def test_no_event_calls_it_the_best_once_all_are_checked() -> None:
    events: Events = []
    swept(request(FAULTY, *SOUND, jobs=1), events.append, device=STEADY)
    best = [event.best.config_id for event in events if event.phase == "refining" and event.best]
    assert {fake_id("right", 20)} == set(best)


def test_its_file_its_exports_its_table_and_its_verdict_agree(whole: tuple[Run, list[Record]], tmp_path: Path) -> None:
    run, records = whole
    path = tmp_path / "run.jsonl"
    file = RunFile(path)
    for record in records:
        file.write(record)
    file.close()
    loaded = load_run(path)
    assert run == loaded
    assert_faulty_is_wrong(loaded)
    name, reason = fake_id("a_little_more", 16), by_variant(run)["a_little_more"].status_reason

    in_csv = {row["config_id"]: row for row in csv.DictReader(io.StringIO(run_csv(loaded)))}[name]
    assert ("wrong", reason, "") == (in_csv["status"], in_csv["status_reason"], in_csv["rank"])
    exported = json.loads(run_json(loaded, statements(loaded)))
    in_json = next(row for row in exported["rows"] if row["config_id"] == name)
    assert ("wrong", reason, None) == (in_json["status"], in_json["status_reason"], in_json["rank"])
    text = screen(sweep_report(loaded, lists_rejected=True), 400)
    assert "Wrong output: not ranked, not to be used" in text
    assert reason in text
    said = {one.code: words(one) for one in statements(loaded)}
    assert said["fastest-correct"].startswith(f"The fastest correct config is {fake_id('right', 20)}")
    assert f"is wrong ({reason}): it must not be used" in said["fastest-is-wrong"]
    assert "stands-out" not in said


def test_a_sweep_cut_off_after_any_record_calls_it_wrong_in_the_end_and_checks_nothing_twice(
    whole: tuple[Run, list[Record]],
) -> None:
    run, records = whole
    for cut in range(1, len(records), 4):
        resumed, later = sweep_of(FAULTY, *SOUND, state=state_of(records[:cut]))
        assert judged(run) == judged(resumed), cut
        checks = [one.config_id for one in [*records[:cut], *later] if isinstance(one, Row) and one.check]
        assert len(set(checks)) == len(checks)
        assert resumed == state_of([*records[:cut], *later]).run()


def test_among_fewer_than_five_others_it_is_ranked_and_a_warning_names_it_until_there_are_more() -> None:
    run, records = sweep_of(*SOUND[:4], FAULTY)
    faulty = by_variant(run)["a_little_more"]
    assert ("ok", "", 1) == (faulty.status, faulty.status_reason, faulty.rank)
    said = next(words(one) for one in statements(run) if one.code == "stands-out")
    assert said.startswith(f"#1 {faulty.config_id} (scaled: 0.0040) has a relative error that stands out")
    resumed, _ = sweep_of(FAULTY, *SOUND, state=state_of(records))
    assert_faulty_is_wrong(resumed)


def test_faults_in_both_directions_and_other_wrong_configs_do_not_hide_each_other() -> None:
    run, _ = sweep_of(*SOUND, FAULTY, fake("a_little_less", 17), fake("wrong_scaled", 18), fake("wrong_row", 19))
    rows = by_variant(run)
    assert {"right": "ok"} | dict.fromkeys(
        ("a_little_more", "a_little_less", "wrong_scaled", "wrong_row"), "wrong"
    ) == {variant: row.status for variant, row in rows.items()}
    assert 5 == len(run.ranked)


def test_the_status_depends_on_no_order_of_the_records(whole: tuple[Run, list[Record]]) -> None:
    run, records = whole
    header = next(one for one in reversed(records) if isinstance(one, RunHeader))
    rows = list({one.config_id: one for one in records if isinstance(one, Row)}.values())
    batches = [one for one in records if isinstance(one, Batch)]
    for order in itertools.islice(itertools.permutations(rows), 0, 720, 37):
        assert judged(run) == judged(state_of([header, *batches, *order]).run())
