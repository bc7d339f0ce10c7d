"""Sweeps that were cut off at any moment and go on as if nothing had happened, without measuring anything again."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cpu_sweeps import request, swept, take_few_samples
from fake_kernel import PARAMS, FakeSubject, fake, fake_id
from fake_timer import imports_paid_once
from killed_sweep import BEGUN, MOMENT_S, RESULT, is_result
from run_records import state_of

from ssdprof.profiling.runs.measured import Batch
from ssdprof.profiling.runs.model import Row, Run, RunHeader
from ssdprof.profiling.runs.state import Record, RunState
from ssdprof.profiling.runs.store import load_run
from ssdprof.profiling.sweep.request import Event, SweepRequest
from ssdprof.profiling.workers.fork_server import python_command

FEW = (fake("wrong_scaled", 18), fake("right", 17), fake("launch_error", 18), fake("right", 16))
MANY = (
    fake("right", 16),
    fake("wrong_scaled", 17),
    fake("slow", 18),
    fake("right", 20),
    fake("launch_error", 20),
    fake("right", 24),
    fake("crashes", 24),
    fake("half", 28),
    fake("compile_error", 28),
    fake("right", 32),
    fake("unwritten", 32),
    fake("narrow", 36, LANES=4),
    fake("forgets_the_total", 36),
    fake("right", 40),
    fake("too_much_shared_mem", 40),
)
RESULTS_BEFORE_KILLS = (0, 0, 0, 0, 0, 0, 5, 7, 8, 10)
"""How many results each of the processes that are killed may add; 0: it is killed while it starts."""
STARTING_S = 0.8
STEADY = "fake_timer:SteadyTimer"


@pytest.fixture(scope="module", autouse=True)
def one_import() -> Iterator[None]:
    with imports_paid_once():
        yield


def steadily(
    asked: SweepRequest, state: RunState | None = None, on_event: Callable[[Event], None] = lambda _: None
) -> tuple[Run, list[Record]]:
    """A sweep of two short rounds on the made-up GPU whose batches are the same each time: its run and its records."""
    records: list[Record] = []
    with pytest.MonkeyPatch.context() as patch:
        take_few_samples(patch)
        run = swept(asked, on_event, records.append, state, STEADY)
    return run, records


def few(log: Path | None = None, **fields: Any) -> SweepRequest:
    subject = FakeSubject(log=str(log or ""))
    return request(*FEW, **{"jobs": 1, "subject": subject, "baseline": FEW[1], **fields})


def table(run: Run) -> list[str]:
    """The rows without what differs from one compilation to the next; as text, in which NaN is equal to itself."""
    return [f"{replace(row, compiled=row.compiled and replace(row.compiled, compile_s=0.0))}" for row in run.rows]


def without_timing(run: Run) -> Run:
    return replace(run, rows=tuple(replace(row, timing=None) for row in run.rows))


def assert_nothing_twice(records: Sequence[Record]) -> None:
    checks = Counter(record.config_id for record in records if isinstance(record, Row) and record.check)
    turns = Counter((record.config_id, record.round) for record in records if isinstance(record, Batch))
    assert {1} >= set(checks.values()), checks
    assert {1} >= set(turns.values()), turns


def place_of(records: Sequence[Record], wanted: Callable[[Record], bool]) -> int:
    """Where the first such record is."""
    return next(place for place, record in enumerate(records) if wanted(record))


def preparations(log: Path) -> int:
    return len(log.read_text().split()) if log.exists() else 0


@pytest.fixture(scope="module")
def whole() -> tuple[Run, list[Record]]:
    """A sweep of a few configs that nothing interrupts."""
    return steadily(few())


@pytest.mark.slow
def test_a_sweep_cut_off_after_one_record_or_another_ends_as_one_that_was_not(whole: tuple[Run, list[Record]]) -> None:
    run, records = whole
    assert ["wrong", "ok", "launch-error", "ok"] == [row.status for row in run.rows]
    assert [None, 2, None, 1] == [row.rank for row in run.rows]
    for cut in range(1, len(records), 3):  # each of them takes half a second
        resumed, later = steadily(few(), state_of(records[:cut]))
        assert table(run) == table(resumed), cut
        assert not resumed.header.interrupted
        assert_nothing_twice([*records[:cut], *later])
        assert resumed == state_of([*records[:cut], *later]).run()


def test_a_config_that_was_checked_but_not_timed_is_timed_and_not_checked_again(
    whole: tuple[Run, list[Record]],
) -> None:
    records = whole[1]
    name = PARAMS.id(FEW[1])
    cut = place_of(records, lambda one: isinstance(one, Batch) and one.config_id == name)
    checked = state_of(records[:cut])
    assert checked.rows[name].check is not None
    resumed, later = steadily(few(budget_s=0.0), checked)
    assert_nothing_twice([*records[:cut], *later])
    assert [0] == [record.round for record in later if isinstance(record, Batch) and record.config_id == name]
    assert [None, 2, None, 1] == [row.rank for row in resumed.rows]
    assert resumed.rows[1].timing is not None
    assert 17 / 16 == pytest.approx(resumed.rows[1].timing.latency_ms, rel=1e-3)


def test_compiling_without_a_gpu_goes_on_after_any_record_and_compiles_nothing_twice() -> None:
    asked = few(gpu=False)
    run, records = steadily(asked)
    for cut in range(1, len(records)):
        resumed, later = steadily(asked, state_of(records[:cut]))
        assert table(run) == table(resumed), cut
        assert not resumed.header.interrupted
        compiled = Counter(
            record.config_id for record in [*records[:cut], *later] if isinstance(record, Row) and record.compiled
        )
        assert [1] * len(FEW) == list(compiled.values())


def test_a_finished_run_is_resumed_without_making_inputs_or_measuring(tmp_path: Path) -> None:
    log = tmp_path / "prepared.log"
    asked = few(log)
    run, records = steadily(asked)
    made = preparations(log)
    assert made > 0
    for cut in (len(records), len(records) - 1):
        resumed, later = steadily(asked, state_of(records[:cut]))
        assert run == resumed
        assert {RunHeader} == {type(record) for record in later}
    assert made == preparations(log)


def test_a_config_that_is_new_is_measured_and_what_was_known_is_not(whole: tuple[Run, list[Record]]) -> None:
    run, records = whole
    asked = request(*FEW, fake("right", 15), jobs=1, baseline=FEW[1])
    resumed, later = steadily(asked, state_of(records))
    assert_nothing_twice([*records, *later])
    assert {fake_id("right", 15)} == {record.config_id for record in later if is_result(record)}  # type: ignore[union-attr]
    assert [None, 3, None, 2, 1] == [row.rank for row in resumed.rows]
    assert [row.timing for row in run.rows] == [row.timing for row in resumed.rows[: len(FEW)]]


def test_a_config_that_is_no_longer_asked_for_keeps_its_row_and_is_not_timed_again(
    whole: tuple[Run, list[Record]],
) -> None:
    records = whole[1]
    first_turn = place_of(records, lambda one: isinstance(one, Batch) and one.round > 0)
    resumed, later = steadily(request(*FEW[:3], jobs=1, baseline=FEW[1]), state_of(records[:first_turn]))
    assert [PARAMS.id(config) for config in FEW] == [row.config_id for row in resumed.rows]
    assert {PARAMS.id(config) for config in FEW[:2]} == {one.config_id for one in later if isinstance(one, Batch)}
    assert [None, 2, None, 1] == [row.rank for row in resumed.rows]


def test_a_sweep_that_was_interrupted_twice_goes_on_each_time(whole: tuple[Run, list[Record]]) -> None:
    def while_measuring(event: Event) -> None:
        if event.phase == "measuring" and event.done >= 2:
            raise KeyboardInterrupt

    def while_refining(event: Event) -> None:
        if event.phase == "refining" and event.done >= 3:
            raise KeyboardInterrupt

    first, records = steadily(few(), on_event=while_measuring)
    assert first.header.interrupted
    assert "interrupted before it was measured" in {row.status_reason for row in first.rows}
    second, later = steadily(few(), state_of(records), while_refining)
    records += later
    assert second.header.interrupted
    assert "not-run" not in {row.status for row in second.rows}
    third, later = steadily(few(), state_of(records))
    assert table(whole[0]) == table(third)
    assert not third.header.interrupted
    assert_nothing_twice([*records, *later])


@pytest.mark.slow
def test_what_timed_out_or_failed_is_not_tried_again() -> None:
    asked = request(fake("hangs_compiler"), fake("hangs"), fake("crashes"), fake("right"), jobs=1, timeout_s=1.5)
    run, records = steadily(asked)
    assert ["timeout", "timeout", "launch-error", "ok"] == [row.status for row in run.rows]
    failed = [PARAMS.id(config) for config in asked.configs[:3]]
    resumed, later = steadily(asked, state_of(records[: place_of(records, is_result)]))
    assert table(run) == table(resumed)
    assert not [record for record in later if isinstance(record, Row) and record.config_id in failed]


def run_in_a_process(asked: SweepRequest, path: Path, kill_after: int | None = None, moment_s: float = 0.0) -> int:
    """Resumes the run in the file, and ends the process a moment after so many new results. How it ended."""
    command = python_command(f"from killed_sweep import main; main({str(path)!r})")
    unwatched = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=unwatched) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pickle.dumps(asked))
        process.stdin.close()
        for results, line in enumerate(process.stdout):
            assert (RESULT if results else BEGUN) == line.decode().strip()
            if results == kill_after:
                time.sleep(moment_s)
                process.kill()
                break
    return process.returncode


def results_in(path: Path) -> list[tuple[str, int | str]]:
    """The checks and the turns that a run file holds, each as often as it is there."""
    lines = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    batches = [(line["config_id"], line["round"]) for line in lines if line["kind"] == "batch"]
    return [(line["config_id"], "check") for line in lines if line["kind"] == "row" and line["check"]] + batches


@pytest.mark.slow
def test_a_sweep_killed_at_ten_random_moments_ends_as_one_that_was_not_killed(tmp_path: Path) -> None:
    asked = request(*MANY, jobs=1, baseline=MANY[-2])
    path = tmp_path / "run.jsonl"
    rng = random.Random(5)
    held: list[int] = []
    for results in rng.sample(RESULTS_BEFORE_KILLS, len(RESULTS_BEFORE_KILLS)):
        moment_s = rng.uniform(0.0, 2 * MOMENT_S if results else STARTING_S)
        assert -signal.SIGKILL == run_in_a_process(asked, path, results, moment_s)
        held.append(len(results_in(path)) if path.exists() else 0)
    assert sorted(held) == held
    assert held[-1] >= sum(RESULTS_BEFORE_KILLS)
    assert len(set(held) - {0}) >= sum(results > 0 for results in RESULTS_BEFORE_KILLS)
    assert 0 == run_in_a_process(asked, path)
    assert held[-1] < len(results_in(path))
    assert {1} == set(Counter(results_in(path)).values())

    killed, whole = load_run(path), swept(asked, device=STEADY)
    assert not killed.header.interrupted
    assert [row.timing for row in whole.ranked] == [row.timing for row in killed.ranked]
    assert table(without_timing(whole)) == table(without_timing(killed))
    for row, other in zip(whole.rows, killed.rows, strict=True):  # what is not in the rounds has one look, now or later
        assert (row.timing is None) == (other.timing is None)
        if row.timing and other.timing:
            assert row.timing.latency_ms == pytest.approx(other.timing.latency_ms, rel=2e-3)
