"""A run as CSV, its sidecar, and JSON."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
from fake_runs import (
    BASELINE,
    HEADER,
    TOO_LARGE,
    compiled_run,
    config,
    explanation,
    h100_run,
    row,
    run,
    with_timing,
)

from ssdprof.profiling.runs.model import Finding
from ssdprof.reports.columns import COLUMNS
from ssdprof.reports.export.run_csv import run_csv, sidecar_json, sidecar_path
from ssdprof.reports.export.run_json import explanation_json, run_json
from ssdprof.reports.text.explain import words
from ssdprof.reports.words.verdict import verdicts


def test_csv_has_every_row_the_ranked_ones_first() -> None:
    rows = list(csv.DictReader(io.StringIO(run_csv(h100_run()))))
    assert 16 == len(rows)
    assert [c.name for c in COLUMNS] == list(rows[0])
    assert ["1", "2", "3", "4", "5", ""] == [r["rank"] for r in rows[:6]]
    assert ("2.332", "registers;shared memory", "true") == (
        rows[0]["latency_ms"],
        rows[0]["limiters"],
        rows[0]["repeatable"],
    )


def test_csv_has_no_comments_and_no_dashes_for_what_is_not_there() -> None:
    text = run_csv(h100_run())
    assert text.startswith("rank,config_id,")
    failed = next(r for r in csv.DictReader(io.StringIO(text)) if r["status"] == "out-of-resources")
    assert ("", "", "") == (failed["latency_ms"], failed["registers_per_thread"], failed["limiters"])


def test_pandas_reads_the_csv_with_its_types() -> None:
    frame = pd.read_csv(io.StringIO(run_csv(h100_run())))
    assert 2.332 == frame["latency_ms"].min() + (2.332 - 1.663)
    assert {"ok", "wrong", "out-of-resources"} == set(frame["status"])
    assert 10 == (frame["relative_error"] > 0.5).sum()


def test_floats_in_the_csv_are_read_back_exactly() -> None:
    value = 2.3318879604339 / 3
    text = run_csv(run([row(BASELINE, 255, 41728, latency_ms=value)]))
    assert value == float(next(csv.DictReader(io.StringIO(text)))["latency_ms"])


def test_an_error_that_is_no_number_stays_one_in_csv_and_is_null_in_json() -> None:
    broken = run([row(config(64, 64, 32, 128, 4, 1), 168, 40000, status="wrong", reason="NaN", error=float("nan"))])
    assert "nan" == next(csv.DictReader(io.StringIO(run_csv(broken))))["relative_error"]
    assert json.loads(run_json(broken, []))["rows"][0]["relative_error"] is None


def test_the_sidecar_says_what_the_csv_is_of() -> None:
    meta = json.loads(sidecar_json(h100_run()))
    assert ("NVIDIA H100 80GB HBM3", "580.159.04") == (meta["device"]["name"], meta["device"]["driver"])
    assert ("3.6.0", 0, "0123456789abcdef", "ssdprof sweep --space mamba") == (
        meta["triton"],
        meta["seed"],
        meta["kernel_hashes"]["tile"],
        meta["command"],
    )
    assert 50_000 == meta["problem"]["seqlen"]
    assert Path("out/run.csv.meta.json") == sidecar_path(Path("out/run.csv"))


def test_json_has_header_rows_and_verdicts() -> None:
    content = json.loads(run_json(h100_run(), verdicts(h100_run())))
    assert (1, 16, None) == (content["schema"], len(content["rows"]), content["recorded"])
    assert ["registers", "shared memory"] == content["rows"][0]["limiters"]
    assert "assumed" == content["rows"][0]["shared_mem_config_source"]
    assert "fastest-correct" == content["verdicts"][0]["code"]


def test_json_has_reasons_of_throttling_and_findings_as_lists() -> None:
    nan = Finding("nan", "NaN in the last chunk")
    wrong = row(config(64, 64, 32, 64, 4, 1), 168, 40000, status="wrong", reason="NaN", error=0.5)
    assert wrong.check is not None
    wrong = replace(wrong, check=replace(wrong.check, findings=(nan,)))
    hot = with_timing(row(BASELINE, 255, 41728, latency_ms=2.4), throttled=("thermal",), only_throttled=True)
    rows = json.loads(run_json(run([wrong, hot, TOO_LARGE]), []))["rows"]
    assert [["thermal"], None, None] == [r["throttled"] for r in rows]
    assert [True, None, None] == [r["only_throttled"] for r in rows]
    assert [[], [{"code": "nan", "message": "NaN in the last chunk"}], None] == [r["findings"] for r in rows]


def test_the_sidecar_has_the_state_of_the_gpu() -> None:
    device = replace(HEADER.device, uuid="GPU-1", others=("pid 7 (python), 4.0 GiB",))
    device_meta = json.loads(sidecar_json(run([], replace(HEADER, device=device))))["device"]
    assert ("GPU-1", ["pid 7 (python), 4.0 GiB"]) == (device_meta["uuid"], device_meta["others"])
    assert (1980, 700.0) == (device_meta["conditions"]["sm_clock_mhz"], device_meta["power_limit_w"])


def test_json_of_a_run_without_a_gpu_has_the_recorded_rows_of_its_configs_alone() -> None:
    compiled = replace(compiled_run(), rows=compiled_run().rows[:4])
    content = json.loads(run_json(compiled, [], recorded=h100_run()))
    assert "NVIDIA H100 80GB HBM3" == content["recorded"]["header"]["device"]["name"]
    assert {r.config_id for r in compiled.rows} == {r["config_id"] for r in content["recorded"]["rows"]}
    assert {None} == {r["latency_ms"] for r in content["rows"]}


def test_json_of_an_explanation_has_rows_and_sentences() -> None:
    one = explanation()
    content = json.loads(explanation_json(one, words(one)))
    assert "m64n64k32d128w2s4" == content["row"]["config_id"]
    assert ["block_dstate"] == [group["parameter"] for group in content["neighbours"]]
    assert content["rule"].startswith("The 2.00 theoretical warps per scheduler")
    assert {"headroom", "why_dstate", "occupancy_and_latency"} <= set(content)
