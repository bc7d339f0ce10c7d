"""Run files of earlier versions, whose ids spell out how many heads a program takes, are the runs they were."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_runs import COMPILE_HEADER, HEADER, row, run
from run_records import records_of

from ssdprof.kernels.registry import recorded_files, todays_id
from ssdprof.kernels.ssd.params import PARAMS, chunk_scan_config
from ssdprof.profiling.runs.recorded import find_row, with_recorded
from ssdprof.profiling.runs.run_file import dump_records, parse_state
from ssdprof.profiling.runs.store import resumable

GROUPED = chunk_scan_config(64, 64, 64, 128, 4, 3, variant="grouped", heads=16)
OTHER = chunk_scan_config(64, 64, 64, 128, 4, 3, variant="grouped", heads=8, maxnreg=128, num_ctas=2)
LONG = {
    "grouped:m64n64k64d128w4s3h16": "grouped:m64n64k64d128w4s3,heads=16",
    "grouped:m64n64k64d128w4s3r128h8,num_ctas=2": "grouped:m64n64k64d128w4s3r128,num_ctas=2,heads=8",
}


def earlier(text: str) -> str:
    """A run file's text as an earlier version wrote it: long ids, and no letter for the parameter."""

    def written(line: dict[str, Any]) -> dict[str, Any]:
        for param in line.get("params", ()):
            if param["name"] == "HEADS":
                param["letter"] = ""
        ids = {key: line[key] for key in ("config_id", "baseline_id") if line.get(key)}
        return {**line, **{key: LONG.get(name, re.sub(r"h(\d+)$", r",heads=\1", name)) for key, name in ids.items()}}

    return "".join(f"{json.dumps(written(json.loads(line)))}\n" for line in text.splitlines())


def two_heads_run(header: Any = HEADER) -> Any:
    """A run of two configs that set their heads, one of them the baseline."""
    rows = [row(GROUPED, 220, 76344, latency_ms=0.95), row(OTHER, 128, 76344, latency_ms=1.5)]
    hashes = {**HEADER.kernel_hashes, "grouped": "0123456789abcdef"}
    return run(rows, replace(header, baseline_id=PARAMS.id(OTHER), kernel_hashes=hashes))


@pytest.mark.parametrize("path", recorded_files(), ids=lambda path: path.name)
def test_a_recorded_run_with_long_ids_has_the_same_rows_and_ranks(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    old = earlier(text)
    assert 18 == old.count(",heads=")
    assert parse_state(text).run().rows == parse_state(old).run().rows


def test_samples_and_baseline_belong_to_the_same_configs() -> None:
    text = dump_records(records_of(two_heads_run()))
    state = parse_state(earlier(text))
    assert list(LONG) == list(state.rows)
    assert [1, 1] == [len(state.batches(name)) for name in LONG]
    assert "grouped:m64n64k64d128w4s3r128h8,num_ctas=2" == state.header.baseline_id
    assert parse_state(text).run().rows == state.run().rows
    assert [1, 2] == [found.rank for found in state.run().rows]
    assert GROUPED == find_row(state.run(), "#1").config
    assert OTHER == find_row(state.run(), "baseline").config


def test_its_latencies_are_laid_over_the_configs_of_today() -> None:
    source = parse_state(earlier(dump_records(records_of(two_heads_run())))).run()
    compiled = two_heads_run(COMPILE_HEADER)
    bare = [replace(one, status="not-run", status_reason="no GPU", check=None, timing=None) for one in compiled.rows]
    found = with_recorded(replace(compiled, rows=tuple(bare)), source)
    assert [0.95, 1.5] == [one.known_latency_ms for one in found.rows]


def test_a_sweep_of_today_resumes_it(tmp_path: Path) -> None:
    made = two_heads_run()
    path = tmp_path / "run.jsonl"
    path.write_text(earlier(dump_records(records_of(made))), encoding="utf-8")
    found = resumable(made.header, path)
    assert found is not None
    assert list(LONG) == list(found[1].rows)


def test_only_ids_of_our_own_kernel_are_shortened() -> None:
    assert list(LONG) == [todays_id("chunk_scan", name) for name in LONG.values()]
    assert list(LONG) == [todays_id("chunk_scan", name) for name in LONG]
    for kernel, name in [
        ("mamba_ssm:ssd_chunk_scan", "m64n64k32w2s4,heads=8"),
        ("chunk_scan", "what,heads=many"),
        ("chunk_scan", "m64n64k32d128w2s4,num_ctas=2"),
    ]:
        assert name == todays_id(kernel, name)
