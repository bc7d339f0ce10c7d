"""A subject whose parameters are none of the chunk scan's, two outputs, one of them read and written: all the way.

Swept, killed and resumed, kept in a run file and read again, explained, as CSV and as JSON; with a GPU and without.
"""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cpu_sweeps import request
from fake_kernel import LANES, PARAMS, ROWS, BareSubject, FakeSubject, fake, fake_id
from fake_launches import CUBIN_REGISTERS
from fake_runs import screen
from fake_timer import imports_paid_once
from killed_sweep import BEGUN, RESULT

from ssdprof.kernels.config import NUM_STAGES, NUM_WARPS
from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.interface import Tolerances
from ssdprof.profiling import api
from ssdprof.profiling.runs import recorded
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.runs.run_file import dump_records, parse_state
from ssdprof.profiling.runs.state import Record
from ssdprof.profiling.runs.store import load_run, load_state
from ssdprof.profiling.sweep.request import Event
from ssdprof.profiling.sweep.sweep import sweep
from ssdprof.profiling.workers.fork_server import python_command
from ssdprof.reports.export.run_csv import run_csv, sidecar_json
from ssdprof.reports.export.run_json import explanation_json, run_json
from ssdprof.reports.text.explain import explain_report
from ssdprof.reports.text.sweep import sweep_report

SUBJECT = FakeSubject()
CONFIGS = (
    fake(),
    fake(rows=32),
    fake("wrong_tile", 2, LANES=8),
    fake("forgets_the_total"),
    fake("narrow", LANES=4),
    fake("compile_error"),
)
STATUSES = ["ok", "ok", "wrong", "wrong", "wrong", "compile-error"]
KILLED_AFTER = (1, 3)
"""Results that each of the processes that are killed adds."""


@pytest.fixture(scope="module", autouse=True)
def one_import() -> Iterator[None]:
    with imports_paid_once():
        yield


@pytest.fixture(autouse=True)
def nothing_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "recorded_runs", lambda: iter(()))


def sweep_in_a_process(path: Path, kill_after: int | None = None) -> int:
    """Resumes the run in the file or begins it; ends the process when it has so many new results. How it ended."""
    asked = request(*CONFIGS, jobs=1, baseline=CONFIGS[1], budget_s=0.0)
    unwatched = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = python_command(f"from killed_sweep import main; main({str(path)!r})")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=unwatched) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pickle.dumps(asked))
        process.stdin.close()
        for results, line in enumerate(process.stdout):
            assert (RESULT if results else BEGUN) == line.decode().strip()
            if results == kill_after:
                process.kill()
                break
    return process.returncode


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a run on the made-up GPU that was killed twice."""
    path = tmp_path_factory.mktemp("kept") / "run.jsonl"
    for results in KILLED_AFTER:
        assert -signal.SIGKILL == sweep_in_a_process(path, results)
    assert "not-run" in {row.status for row in load_run(path).rows}
    assert 0 == sweep_in_a_process(path)
    return path


@pytest.fixture(scope="module")
def measured(kept: Path) -> Run:
    return load_run(kept)


def cells(run: Run) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run_csv(run))))


def as_json(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_json(run, api.statements(run)))
    return found


@pytest.mark.slow
def test_a_killed_sweep_ends_as_any_other(measured: Run) -> None:
    assert not measured.header.interrupted
    assert STATUSES == [row.status for row in measured.rows]
    assert list(CONFIGS) == [row.config for row in measured.rows]
    assert [1, 2] == [row.rank for row in measured.rows[:2]]
    assert [pytest.approx(2.0, rel=0.01), 1.0] == [row.speedup_vs_baseline for row in measured.rows[:2]]
    assert ["scaled", "scaled", "scaled", "total", "scaled"] == [row.check.output for row in measured.rows if row.check]


@pytest.mark.slow
def test_each_wrong_config_says_which_output_is_wrong_where_and_why(measured: Run) -> None:
    tile, total, narrow = (row.status_reason for row in measured.rows[2:5])
    assert tile.startswith("scaled: relative error ")
    assert "; all in one tile: rows 3 to 4, lanes 8 to 15; worst: row " in tile
    assert total.startswith("total: relative error ")
    assert narrow.endswith("; only 8 of 16 lanes")


@pytest.mark.slow
def test_the_run_file_gives_the_run_again(kept: Path, measured: Run) -> None:
    header = measured.header
    assert ("fake", SUBJECT.identity(), PARAMS.params) == (header.kernel, header.problem, header.params)
    assert SUBJECT.tolerances() == header.tolerances
    assert all(isinstance(one, Tolerances) for one in header.tolerances)
    state = load_state(kept)
    batches = [batch for name in state.rows for batch in state.batches(name)]
    records: list[Record] = [state.header, *state.rows.values(), *batches]
    again = parse_state(dump_records(records)).run()
    assert repr(measured) == repr(again)  # in which NaN is equal to itself
    assert list(CONFIGS) == [parse_config(row.config_id, PARAMS) for row in again.rows]


@pytest.mark.slow
def test_csv_has_a_column_for_each_parameter_of_the_subject(measured: Run) -> None:
    rows = cells(measured)
    names = list(rows[0])
    assert ["rows", "LANES", "num_warps", "num_stages"] == [one for one in names if one in {p.column for p in PARAMS}]
    assert not {"block_m", "block_dstate", "heads", "maxnreg"} & set(names)
    assert [fake_id(), fake_id(rows=32)] == [row["config_id"] for row in rows[:2]]
    assert [("1", "16"), ("2", "32"), *[("", "")] * 4] == [
        (row["rank"], row["rows"] if row["rank"] else "") for row in rows
    ]
    by_id = {row["config_id"]: row for row in rows}
    assert STATUSES == [by_id[PARAMS.id(config)]["status"] for config in CONFIGS]
    assert ("2", "8") == tuple(by_id[PARAMS.id(CONFIGS[2])][name] for name in ("rows", "LANES"))
    assert "fake" == json.loads(sidecar_json(measured))["kernel"]


@pytest.mark.slow
def test_json_has_the_same_rows_and_what_the_figures_say(measured: Run) -> None:
    found = as_json(measured)
    assert [row["config_id"] for row in found["rows"]] == [row["config_id"] for row in cells(measured)]
    by_id = {row["config_id"]: row for row in found["rows"]}
    rows = [by_id[PARAMS.id(config)] for config in CONFIGS]
    assert [(16, 16), (32, 16), (2, 8)] == [(row["rows"], row["LANES"]) for row in rows[:3]]
    assert [*[None] * 4, "covers only 8 of 16 lanes", None] == [row["by_construction"] for row in rows]
    assert {"fastest-correct", "limiters"} <= {one["code"] for one in found["verdicts"]}
    assert ["rows", "LANES", "num_warps", "num_stages"] == [one["column"] for one in found["header"]["params"]]
    assert ["scaled", "total"] == [one["output"] for one in found["header"]["tolerances"]]


@pytest.mark.slow
def test_the_screen_shows_it_without_a_word_of_another_kernel(measured: Run) -> None:
    shown = screen(sweep_report(measured, lists_rejected=True), 250)
    assert "rows" in shown
    assert "all in one tile: rows 3 to 4, lanes 8 to 15" in shown
    assert [] == [word for word in ("block_", "dstate", "chunk scan", "heads") if word in shown.lower()]


@pytest.mark.slow
def test_a_config_of_the_run_is_explained_with_its_latencies(measured: Run) -> None:
    found = api.explain("best", SUBJECT, run=measured, jobs=2, device="none")
    assert fake() == found.row.config
    assert [LANES, NUM_WARPS, NUM_STAGES] == [group.param for group in found.neighbours]
    assert found.row.known_latency_ms == measured.ranked[0].known_latency_ms
    assert str(found.latency_source).startswith("measured on NVIDIA H100 80GB HBM3")
    as_data = json.loads(explanation_json(found))
    assert ["LANES", "num_warps", "num_stages"] == [one["parameter"] for one in as_data["neighbours"]]
    assert "Why LANES matters here, or does not" == as_data["question"]["title"]
    assert CUBIN_REGISTERS == as_data["row"]["registers_per_thread"]

    shown = screen(explain_report(found), 200)
    assert "Why LANES matters here, or does not" in shown
    assert [] == [word for word in ("block_", "dstate", "chunk scan") if word in shown.lower()]


def test_without_a_gpu_the_functions_sweep_keep_resume_and_explain_it(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    said: list[str] = []
    values = {"LANES": [4, 16], "warps": ["2"]}

    def interrupt(event: Event) -> None:
        if event.compiled >= 1:
            raise KeyboardInterrupt

    def swept(**more: Any) -> Run:
        return api.sweep(
            SUBJECT, values=values, device="none", jobs=1, out=path, say=said.append, warn=pytest.fail, **more
        )

    first = swept(on_event=interrupt)
    assert first.header.interrupted
    run = swept(resume=True)
    assert run == load_run(path)
    assert f"resuming {path}" in said
    by_construction = "by construction: covers only 8 of 16 lanes"
    assert 2 * [("wrong", by_construction), ("not-run", "compiled only, no GPU")] == [
        (row.status, row.status_reason) for row in run.rows[:4]
    ]
    assert [(16, 4, 2), (16, 16, 2), (32, 4, 2)] == [
        tuple(row.config.number(one.name) for one in (ROWS, LANES, NUM_WARPS)) for row in run.rows[:3]
    ]
    assert "few, LANES=4,16, warps=2" == run.header.space
    assert all(row.compiled and row.rank is None for row in run.rows)
    codes = [one.code for one in api.statements(run)]
    assert {"not-measured", "wrong-by-construction", "limiters"} <= set(codes)
    assert 6 == len(cells(run)) == len(as_json(run)["rows"])

    found = api.explain(fake_id("narrow", LANES=4), SUBJECT, run=path, device="none", jobs=2)
    assert ("wrong", by_construction) == (found.row.status, found.row.status_reason)


def test_a_subject_without_a_reference_compiles() -> None:
    with closing(api.started("none")) as pool:
        asked = request(fake(), fake(LANES=4), gpu=False, subject=BareSubject())
        run = sweep(asked, lambda _: None, lambda _: None, pool=pool)
    assert ["not-run", "not-run"] == [row.status for row in run.rows]
    assert all(row.compiled for row in run.rows)
    assert (None, None, (), ()) == (run.header.bytes_min, run.header.flops, run.header.tolerances, run.header.remarks)
    assert 2 == len(cells(run)) == len(as_json(run)["rows"])
