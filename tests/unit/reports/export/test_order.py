"""A sweep without a GPU shows the recorded run in one order everywhere: on the screen, in CSV and in JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from fake_runs import NO_GPU, screen

from ssdprof.profiling import api
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.profiling.runs.recorded import recorded_runs, with_recorded
from ssdprof.profiling.runs.run_file import dump_records, parse_state
from ssdprof.profiling.sweep.records import settled
from ssdprof.reports.export.run_csv import run_csv
from ssdprof.reports.export.run_json import run_json
from ssdprof.reports.text import tables

RECORDED = list(recorded_runs())
SEQLENS = [run.header.problem["seqlen"] for run in RECORDED]
each_problem = pytest.mark.parametrize("i_run", range(len(RECORDED)), ids=SEQLENS)


def without_gpu(row: Row) -> Row:
    """A row as it is if the config only compiles."""
    compiled = row.compiled is not None and row.status != "out-of-resources"
    status = replace(row, status="not-run", status_reason="compiled only, no GPU") if compiled else row
    return settled(replace(status, check=None, timing=None, driver_blocks_per_sm=None))


@cache
def swept(i_run: int) -> Run:
    """The recorded run's configs swept without a GPU."""
    header = replace(RECORDED[i_run].header, device=NO_GPU)
    kept = dump_records([header, *map(without_gpu, RECORDED[i_run].rows)])
    return with_recorded(parse_state(kept).run())


@cache
def json_of(i_run: int) -> Any:
    return json.loads(run_json(swept(i_run), api.statements(swept(i_run))))


@cache
def csv_of(i_run: int) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run_csv(swept(i_run)))))


@each_problem
def test_csv_json_and_the_screen_have_the_same_order(i_run: int) -> None:
    of_json = [row["config_id"] for row in json_of(i_run)["rows"]]
    table = screen(tables.ranked_table(swept(i_run)), 200).splitlines()
    shown = [line.split()[1] for line in table if re.match(r"≈?\s*\d+  ", line.strip())]
    assert [row.config_id for row in RECORDED[i_run].ranked] == shown == of_json[: len(shown)]
    assert of_json == [row["config_id"] for row in csv_of(i_run)]


@each_problem
def test_the_first_row_is_what_the_screen_recommends(i_run: int) -> None:
    first = json_of(i_run)["rows"][0]
    found = next(one for one in api.statements(swept(i_run)) if one.code == "fastest-correct")
    assert first["config_id"] == csv_of(i_run)[0]["config_id"] == found.figures["config_ids"][0]
    assert first["recorded_latency_ms"] == found.figures["latency_ms"][0]


@each_problem
def test_ranks_latencies_speed_ups_and_what_they_achieve_are_the_recorded_ones(i_run: int) -> None:
    names = {
        "recorded_latency_ms": lambda row: row.known_latency_ms,
        "speedup_vs_baseline": lambda row: row.speedup_vs_baseline,
        "achieved_gbps": lambda row: row.achieved.gbps,
        "achieved_tflops": lambda row: row.achieved.tflops,
        "floor_share_pct": lambda row: row.achieved.floor_share_pct,
    }
    ranked = RECORDED[i_run].ranked
    rows, cells = json_of(i_run)["rows"], csv_of(i_run)
    assert [row.rank for row in ranked] == [row["rank"] for row in rows[: len(ranked)]]
    assert [str(row.rank) for row in ranked] == [row["rank"] for row in cells[: len(ranked)]]
    for name, of in names.items():
        expected = [of(row) for row in ranked]
        assert None not in expected
        assert expected == [row[name] for row in rows[: len(ranked)]]
        assert expected == [float(row[name]) for row in cells[: len(ranked)]]
    source = f"recorded on {RECORDED[i_run].header.provenance}"
    assert {source} == {row["recorded_source"] for row in rows[: len(ranked)]}


@each_problem
def test_a_wrong_row_has_a_latency_and_no_achieved_work(i_run: int) -> None:
    wrong = [row for row in json_of(i_run)["rows"] if row["recorded_status"] == "wrong"]
    assert 22 == len(wrong)
    assert all(row["recorded_latency_ms"] for row in wrong)
    names = ("rank", "speedup_vs_baseline", "achieved_gbps", "achieved_tflops", "floor_share_pct")
    assert {None} == {row[name] for row in wrong for name in names}
