"""Latencies recorded elsewhere, in a run that only compiled: the same numbers in tables, CSV, JSON and explanations."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_runs
import pytest
from fake_runs import COMPILE_HEADER, compiled_run, constrained, h100_run
from fake_sweeps import Asked, fake_sweeps, gpus, returns, ship
from run_records import kept

from ssdprof.cli.main import run as ssdprof
from ssdprof.kernels.config import Config
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.profiling.runs.state import Record, RunState
from ssdprof.profiling.sweep import explain as explain_module
from ssdprof.profiling.sweep.request import SweepRequest
from ssdprof.profiling.workers.pool import Pool

Printed = Callable[..., str]

SOURCE = "recorded on NVIDIA H100 80GB HBM3, driver 580.159.04, Triton 3.6.0, 2026-11-23"
MEASURED = {row.config_id: row for row in kept(h100_run()).rows}
CHANGED = "m64n64k32d128w2s4"
"""The config of which the compiler here makes another binary than the recorded one."""


def compiled_here() -> Run:
    """The made-up run without a GPU, with one register less in one row."""
    run = compiled_run()
    return replace(run, rows=tuple(map(with_one_less, map(constrained, run.rows))))


def with_one_less(row: Row) -> Row:
    assert row.compiled is not None or row.status == "out-of-resources"
    if row.config_id != CHANGED or row.compiled is None:
        return row
    compiled = replace(row.compiled, registers_per_thread=row.compiled.registers_per_thread - 1)
    return replace(row, compiled=compiled)


class Neighbours:
    """The sweep of an explanation: its configs as compiled here, and those that only it has not compiled."""

    def __init__(self, request: SweepRequest, _: object, on_record: Callable[[Record], None], pool: Pool) -> None:
        self.on_record, self.state = on_record, RunState(COMPILE_HEADER)
        self.add(request.configs)

    def add(self, configs: Sequence[Config]) -> None:
        for config in configs:
            self.state.add(fake_runs.row(config, status="not-run", reason="not tried"))

    def run(self) -> Run:
        known = {row.config_id: row for row in compiled_here().rows}
        for name in [name for name in self.state.rows if name in known]:
            self.state.add(known[name])
            self.on_record(known[name])
        return Run(COMPILE_HEADER, tuple(self.state.rows.values()))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    """A machine without a GPU, with one recorded run."""
    requests = fake_sweeps(monkeypatch, tmp_path)
    gpus(monkeypatch)
    ship(monkeypatch, kept(h100_run()))
    returns(monkeypatch, requests, lambda _: compiled_here())
    monkeypatch.setattr(explain_module, "Sweep", Neighbours)
    monkeypatch.setenv("COLUMNS", "160")
    return requests


@pytest.fixture
def printed(asked: Asked, capsys: pytest.CaptureFixture[str]) -> Printed:
    """What a command prints."""

    def out(*arguments: str) -> str:
        assert 0 == ssdprof([*arguments, "-q"])
        return capsys.readouterr().out

    return out


def swept_rows(printed: Printed) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(printed("sweep", "--json"))["rows"]
    return rows


def test_rows_are_ranked_by_recorded_latencies_which_are_in_a_column_of_their_own(printed: Printed) -> None:
    rows = {row["config_id"]: row for row in swept_rows(printed)}
    for name, measured in MEASURED.items():
        assert measured.rank == rows[name]["rank"]
        assert rows[name]["latency_ms"] is None
        if measured.timing is not None:
            assert (measured.timing.latency_ms, SOURCE, measured.status, name != CHANGED) == tuple(
                rows[name][f"recorded_{field}"] for field in ("latency_ms", "source", "status", "same_binary")
            )
    ranks = [row["rank"] for row in swept_rows(printed)]
    assert [1, 2, 3, 4, 5, *[None] * 11] == ranks


def test_csv_has_what_json_has(printed: Printed, tmp_path: Path) -> None:
    rows = json.loads(printed("sweep", "--json", "--csv", str(tmp_path / "run.csv")))["rows"]
    with (tmp_path / "run.csv").open(encoding="utf-8") as file:
        cells = list(csv.DictReader(file))
    assert [row["config_id"] for row in rows] == [row["config_id"] for row in cells]
    for name in ("rank", "recorded_latency_ms", "recorded_status", "recorded_source", "recorded_same_binary", "status"):
        assert [cell(row[name]) for row in rows] == [row[name] for row in cells]


def cell(value: object) -> str:
    """A value of the JSON as the CSV writes it."""
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    return str(value)


def test_the_table_has_the_numbers_of_the_json_and_a_mark_at_another_binarys(printed: Printed) -> None:
    table = printed("sweep")
    for row in swept_rows(printed)[:5]:
        mark = "" if row["recorded_same_binary"] else "*"
        line = rf"^ *≈?{row['rank']} +{row['config_id']}{re.escape(mark)} +{row['recorded_latency_ms']:.3f} "
        assert re.search(line, table, re.MULTILINE), line
    assert 1 == table.count(f"{CHANGED}*")
    assert "* registers, spills or shared memory differ from the recorded ones" in table
    assert f"recorded  latencies are of {SOURCE.removeprefix('recorded on ')}" in table


def test_wrong_configs_are_told_with_the_recorded_latency_that_they_must_not_be_chosen_for(printed: Printed) -> None:
    table, rows = printed("sweep", "--wrong"), swept_rows(printed)
    wrong = [row for row in rows if row["status"] == "wrong"]
    assert 10 == len(wrong)
    assert rows[-10:] == wrong
    for row in wrong:
        assert re.search(rf"^{row['config_id']} +{row['recorded_latency_ms']:.3f} ", table, re.MULTILINE)


@pytest.mark.parametrize("config", [CHANGED, "m32n64k32d128w2s5", "m64n64k32d64w2s4"])
def test_an_explanation_has_the_numbers_of_the_sweep(printed: Printed, config: str) -> None:
    swept = {row["config_id"]: row for row in swept_rows(printed)}
    content = json.loads(printed("explain", config, "--json"))
    fields = ("recorded_latency_ms", "recorded_source", "recorded_status", "recorded_same_binary", "status")
    shown = [content["row"], *(row for group in content["neighbours"] for row in group["rows"])]
    known = [row for row in shown if row["config_id"] in swept]
    assert len(known) >= 3
    for row in known:
        assert [swept[row["config_id"]][name] for name in fields] == [row[name] for name in fields]
    assert SOURCE == content["latency_source"]


def test_an_explanation_marks_another_binarys_latency_as_the_sweep_does(printed: Printed) -> None:
    text = " ".join(printed("explain", CHANGED).split())
    assert f"latency 2.332 ms*, {SOURCE} * registers, spills or shared memory differ from the recorded ones" in text
    assert re.search(r"▸ as it is 254 .* 2\.332\*", text)
    assert re.search(r" DSTATE tile 128 → 64 214 .* 1\.890 wrong \[\d\]", text)
    other = " ".join(printed("explain", "m32n64k32d128w2s5").split())
    assert f"latency 2.408 ms, {SOURCE}" in other
    assert "*" not in other


def test_nothing_is_recorded_of_another_kernels_source(monkeypatch: pytest.MonkeyPatch, printed: Printed) -> None:
    run = kept(h100_run())
    ship(monkeypatch, replace(run, header=replace(run.header, kernel_hashes={"tile": "fedcba9876543210"})))
    assert {None} == {row["recorded_latency_ms"] for row in swept_rows(printed)} | {
        row["rank"] for row in swept_rows(printed)
    }
    first = swept_rows(printed)[0]
    assert ("not-run", "compiled only, no GPU") == (first["status"], first["status_reason"])
    assert "latency not measured" in " ".join(printed("explain", CHANGED).split())
