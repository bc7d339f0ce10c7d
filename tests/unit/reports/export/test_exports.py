"""A run as CSV, its sidecar, and JSON."""

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
from fake_runs import (
    BASELINE,
    HEADER,
    TOO_LARGE,
    compiled_run,
    config,
    constrained_run,
    explanation,
    h100_run,
    recorded_over,
    row,
    run,
    with_timing,
)

from ssdprof.kernels.config import Config, Param
from ssdprof.kernels.config_text import config_from_pairs, parse_config
from ssdprof.kernels.ssd.params import PARAMS
from ssdprof.profiling.diagnosis.verdicts import statements
from ssdprof.profiling.runs.measured import Finding
from ssdprof.profiling.runs.model import Run
from ssdprof.reports.columns import columns_of
from ssdprof.reports.export.run_csv import run_csv, runs_csv, sidecar_json, sidecar_path
from ssdprof.reports.export.run_json import explanation_json, run_json


def test_csv_has_every_row_the_ranked_ones_first() -> None:
    rows = list(csv.DictReader(io.StringIO(run_csv(h100_run()))))
    assert 16 == len(rows)
    assert [c.name for c in columns_of(HEADER.params)] == list(rows[0])
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
    assert ["BLOCK_SIZE_M", "M"] == [meta["params"][0]["name"], meta["params"][0]["heading"]]
    assert [0.01, "out"] == [meta["tolerances"][0]["relative_error"], meta["tolerances"][0]["output"]]
    assert Path("out/run.csv.meta.json") == sidecar_path(Path("out/run.csv"))


def test_json_has_header_rows_and_verdicts() -> None:
    content = json.loads(run_json(h100_run(), statements(h100_run())))
    assert (1, 16, None) == (content["schema"], len(content["rows"]), content["recorded"])
    assert ["registers", "shared memory"] == content["rows"][0]["limiters"]
    assert "assumed" == content["rows"][0]["shared_mem_config_source"]
    first, ties = content["verdicts"][:2]
    assert ("good", "fastest-correct", "none") == (first["status"], first["code"], first["next_step"])
    assert ("raise-budget", {"tied_configs": 2, "budget_s": 10.0}) == (ties["next_step"], ties["figures"])
    assert first["message"].startswith("The fastest correct configs are m64n64k32d128w2s4 and m32n64k32d128w2s5")


def test_json_has_each_config_as_triton_takes_it() -> None:
    rows = json.loads(run_json(h100_run(), []))["rows"]
    for content in rows:
        config_of_row = parse_config(content["config_id"], PARAMS)
        assert config_of_row == parse_config(content["triton_config"], PARAMS)
        assert config_of_row == config_from_pairs(content["triton_kwargs"].items(), PARAMS)
    tiles = {"BLOCK_SIZE_M": 64, "BLOCK_SIZE_N": 64, "BLOCK_SIZE_K": 32, "BLOCK_SIZE_DSTATE": 128}
    assert {"kwargs": tiles, "num_warps": 2, "num_stages": 4} == rows[0]["triton_kwargs"]


def test_json_has_reasons_of_throttling_and_findings_as_lists() -> None:
    nan = Finding("nan", "NaN in the last chunk")
    wrong = row(config(64, 64, 32, 64, 4, 1), 168, 40000, status="wrong", reason="NaN", error=0.5)
    assert wrong.check is not None
    wrong = replace(wrong, check=replace(wrong.check, findings=(nan,)))
    hot = with_timing(row(BASELINE, 255, 41728, latency_ms=2.4), throttled=("thermal",), only_throttled=True)
    rows = json.loads(run_json(run([wrong, hot, TOO_LARGE]), []))["rows"]
    assert [["thermal"], None, None] == [r["throttled"] for r in rows]
    assert [True, None, None] == [r["only_throttled"] for r in rows]
    assert [[], None, [{"code": "nan", "message": "NaN in the last chunk"}]] == [r["findings"] for r in rows]


def test_the_sidecar_has_the_state_of_the_gpu() -> None:
    device = replace(HEADER.device, uuid="GPU-1", others=("pid 7 (python), 4.0 GiB",))
    device_meta = json.loads(sidecar_json(run([], replace(HEADER, device=device))))["device"]
    assert ("GPU-1", ["pid 7 (python), 4.0 GiB"]) == (device_meta["uuid"], device_meta["others"])
    assert (1980, 700.0) == (device_meta["conditions"]["sm_clock_mhz"], device_meta["power_limit_w"])


def test_rows_of_a_run_without_a_gpu_have_the_recorded_latencies_best_first_in_csv_and_json() -> None:
    recorded = recorded_over(constrained_run(), h100_run())
    content = json.loads(run_json(recorded, []))
    of_csv = list(csv.DictReader(io.StringIO(run_csv(recorded))))
    source = "recorded on NVIDIA H100 80GB HBM3, driver 580.159.04, Triton 3.6.0, 2026-11-23"

    assert {"source": source, "rows": 15, "other_binaries": 0} == content["recorded"]
    assert [1, 2, 3, 4, 5, None] == [r["rank"] for r in content["rows"][:6]]
    best = content["rows"][0]
    assert ("m64n64k32d128w2s4", None, 2.332) == (best["config_id"], best["latency_ms"], best["recorded_latency_ms"])
    assert ("not-run", "ok", True) == (best["status"], best["recorded_status"], best["recorded_same_binary"])
    assert [2.332, 0.0018166] == [best["recorded"]["timing"]["latency_ms"], best["recorded"]["check"]["relative_error"]]
    wrong = next(r for r in content["rows"] if r["config_id"] == "m32n64k32d32w2s5")
    assert (None, "wrong", 1.663) == (wrong["rank"], wrong["status"], wrong["recorded_latency_ms"])
    assert wrong["by_construction"].startswith("sums only the first 32 of 128 state elements")
    assert [r["config_id"] for r in content["rows"]] == [r["config_id"] for r in of_csv]
    assert ["1", "2.332", "ok", source, "true"] == [
        of_csv[0][name]
        for name in ("rank", "recorded_latency_ms", "recorded_status", "recorded_source", "recorded_same_binary")
    ]


def test_rows_without_a_rank_keep_the_order_of_the_space() -> None:
    recorded = recorded_over(constrained_run(), h100_run())
    rows = json.loads(run_json(recorded, []))["rows"]
    assert [r.config_id for r in recorded.rows if r.rank is None] == [r["config_id"] for r in rows[5:]]


def test_a_run_that_has_nothing_recorded_says_so() -> None:
    content = json.loads(run_json(compiled_run(), statements(compiled_run())))
    assert content["recorded"] is None
    assert {None} == {r["recorded"] for r in content["rows"]} | {r["rank"] for r in content["rows"]}
    assert ["measure-on-gpu", "explain"] == [one["next_step"] for one in content["verdicts"]]


def test_a_figure_that_is_no_number_is_null_in_json() -> None:
    broken = row(config(64, 64, 32, 64, 4, 1), 168, 40000, latency_ms=1.0, status="wrong", reason="NaN", error=math.nan)
    one = run([broken, row(BASELINE, 255, 41728, latency_ms=2.4)])
    found = {verdict["code"]: verdict for verdict in json.loads(run_json(one, statements(one)))["verdicts"]}
    assert found["fastest-is-wrong"]["figures"]["relative_error"] is None
    assert "(relative error nan)" in found["fastest-is-wrong"]["message"]


def test_json_of_an_explanation_has_rows_figures_and_sentences() -> None:
    content = json.loads(explanation_json(explanation()))
    assert "m64n64k32d128w2s4" == content["row"]["config_id"]
    assert ["block_dstate"] == [group["parameter"] for group in content["neighbours"]]
    assert [1.798, 1.89, 2.332] == [r["recorded_latency_ms"] for r in content["neighbours"][0]["rows"]]
    assert content["rule"].startswith("The 2.00 theoretical warps per scheduler")
    assert content["headroom"][0].startswith("87 registers fewer per thread")
    question = content["question"]
    assert ("block_dstate", "Why DSTATE matters here, or does not") == (question["parameter"], question["title"])
    assert question["answer"].startswith("From a DSTATE tile of 32 to 64 to 128")
    assert [[32, 64, 128], [205, 214, 255]] == [
        question["figures"]["values"],
        question["figures"]["registers_per_thread"],
    ]
    assert content["occupancy_and_latency"].startswith("Cannot be said: no correct neighbour")
    assert ["growth", "does-not-limit-occupancy", "carve-out", "operands-in-registers", "smaller-is-wrong"] == [
        one["code"] for one in content["statements"][:-1]
    ]
    assert " ".join(one["message"] for one in content["statements"][:-1]) == question["answer"]


def test_json_of_an_explanation_that_nobody_asks_about_has_no_question() -> None:
    content = json.loads(explanation_json(replace(explanation(), question=None)))
    assert content["question"] is None
    assert ["no-higher-occupancy"] == [one["code"] for one in content["statements"]]


def test_runs_of_several_kernels_are_one_table_and_what_one_has_not_is_empty() -> None:
    first = h100_run()
    other_params = tuple(param for param in first.header.params if param.name != "maxnreg")
    header = replace(first.header, kernel="other", problem={"rows": 7}, params=(Param("EVEN", low=0), *other_params))
    names = {param.name for param in header.params}
    rows = [
        replace(row, config=Config((("EVEN", 1), *(one for one in row.config.values if one[0] in names))))
        for row in first.rows[:2]
    ]
    table = list(csv.DictReader(io.StringIO(runs_csv([first, Run(header, tuple(rows))]))))
    assert ["kernel", "seqlen"] == list(table[0])[:2]
    ours, theirs = table[0], table[-1]
    assert (first.header.kernel, "50000", "", "") == (ours["kernel"], ours["seqlen"], ours["rows"], ours["EVEN"])
    assert ("other", "", "7", "1") == (theirs["kernel"], theirs["seqlen"], theirs["rows"], theirs["EVEN"])
    assert len(first.rows) + 2 == len(table)
    assert list(table[0]).index("EVEN") < list(table[0]).index("status")
