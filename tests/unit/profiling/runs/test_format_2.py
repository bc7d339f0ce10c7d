"""Run files of format 2 are still read: a part of one that shipped, measured on an H100."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.interface import Tolerances
from ssdprof.kernels.registry import subject_of_run
from ssdprof.kernels.ssd.params import PARAMS
from ssdprof.profiling.runs.run_file import NoHeaderError, RunError, dump_records, parse_state

GOLDEN = Path(__file__).parents[3] / "golden" / "run_format_2.jsonl"
TEXT = GOLDEN.read_text(encoding="utf-8")
LINES = TEXT.splitlines()


def test_rows_have_their_status_latency_and_rank() -> None:
    assert [
        ("m128n256k64d32w8s3", "wrong", None, "0.128", None),
        ("m128n256k64d128w8s3", "out-of-resources", None, "–", None),
        ("m64n64k32d128w2s4", "ok", 2, "0.072", 1.0),
        ("split:m128n256k64d32w8s3", "ok", 3, "0.159", 0.454),
        ("split:m64n32k64d64w4s1", "launch-error", None, "–", None),
        ("grouped:m64n64k64d128w4s2h8", "ok", 1, "0.051", 1.404),
    ] == [
        (
            row.config_id,
            row.status,
            row.rank,
            f"{row.timing.latency_ms:.3f}" if row.timing else "–",
            row.speedup_vs_baseline and round(row.speedup_vs_baseline, 3),
        )
        for row in parse_state(TEXT).run().rows
    ]


def test_configs_are_tables_of_values_that_have_the_ids_they_had() -> None:
    for row in parse_state(TEXT).run().rows:
        assert row.config == PARAMS.validated(row.config) == parse_config(row.config_id, PARAMS)
        assert row.config_id == PARAMS.id(row.config)
        assert "" == row.by_construction


def test_the_header_has_the_table_of_parameters_and_the_tolerance_of_the_one_output() -> None:
    header = parse_state(TEXT).run().header
    written = json.loads(LINES[0])["tolerances"]

    assert PARAMS.params == header.params
    assert (Tolerances(0.01, 0.05, written["reason"], output="out"),) == header.tolerances
    assert ((), ()) == (header.left_out, header.remarks)
    assert written["reason"].startswith("operands and output are rounded to bfloat16")
    assert header.problem == subject_of_run(header.kernel, header.problem).identity()


def test_samples_and_conditions_are_as_they_were() -> None:
    state = parse_state(TEXT)
    written = [json.loads(line) for line in LINES if '"kind": "batch"' in line]

    assert 10 == len(written)
    for one in written:
        batches = state.batches(one["config_id"].replace(",heads=", "h"))
        assert 1 == sum(
            (list(batch.samples_ms), batch.round, batch.timed_by, batch.conditions.power_w)
            == (one["samples_ms"], one["round"], one["timed_by"], one["conditions"]["power_w"])
            for batch in batches
        )


def test_it_is_written_as_format_3_and_is_the_same_run() -> None:
    state = parse_state(TEXT)
    records = [state.header, *state.rows.values(), *(one for name in state.rows for one in state.batches(name))]
    text = dump_records(records)

    assert text.startswith('{"format": 3, "kind": "header", ')
    assert parse_state(TEXT).run() == parse_state(text).run()


def test_it_is_read_as_far_as_its_lines_are_whole_wherever_it_is_cut() -> None:
    first = len(LINES[0]) + 1
    for cut in (*range(0, first, 97), first - 1):
        with pytest.raises(NoHeaderError):
            parse_state(TEXT[:cut])
    for cut in range(first, len(TEXT) + 1, 61):
        rows = sum('"kind": "row"' in line for line in LINES[: TEXT[:cut].count("\n")])
        assert rows == len(parse_state(TEXT[:cut]).rows), cut


def changed(number: int, change: Callable[[dict[str, Any]], Any]) -> str:
    """The file with the line of that number changed."""
    line = json.loads(LINES[number - 1])
    change(line)
    return "\n".join([*LINES[: number - 1], json.dumps(line), *LINES[number:]]) + "\n"


@pytest.mark.parametrize(
    ("expected", "written"),
    [("one-tile", "tile"), ("partial", "partial"), ("tail", "tail"), ("everywhere", "everywhere")],
)
def test_codes_of_findings_have_todays_names(expected: str, written: str) -> None:
    finding = {"code": written, "message": "where it is"}
    row = next(iter(parse_state(changed(2, lambda line: line["check"].update(findings=[finding]))).run().rows))
    assert row.check
    assert [(expected, "where it is")] == [(one.code, one.message) for one in row.check.findings]


def test_what_an_older_file_left_out_is_not_set() -> None:
    text = changed(2, lambda line: [line["config"].pop(name) for name in ("heads", "maxnreg", "num_ctas", "variant")])
    assert parse_state(TEXT).run().rows[0].config == parse_state(text).run().rows[0].config
    assert () == parse_state(changed(1, lambda line: line.pop("tolerances"))).run().header.tolerances


BROKEN: dict[str, tuple[str, str]] = {
    "a config of today": (
        changed(2, lambda line: line.update(config={"values": {}, "variant": "tile"})),
        "line 2: config: unknown field 'values'",
    ),
    "no config": (changed(2, lambda line: line.pop("config")), "line 2: config: not an object"),
    "a config without a tile": (changed(2, lambda line: line["config"].pop("block_m")), "line 2: config: block_m is "),
    "a tile that is a list": (
        changed(2, lambda line: line["config"].update(block_m=[64])),
        "line 2: config: [64] is not a value of a parameter",
    ),
    "tolerances of today": (changed(1, lambda line: line.update(tolerances=[])), "line 1: tolerances: not an object"),
    "half of the tolerances": (
        changed(1, lambda line: line["tolerances"].pop("reason")),
        "line 1: tolerances: reason is missing",
    ),
    "a finding that is a text": (
        changed(2, lambda line: line["check"].update(findings=["tile"])),
        "line 2: check: findings: 'tile' is not an object",
    ),
    "a finding whose code is a list": (
        changed(2, lambda line: line["check"].update(findings=[{"code": [], "message": ""}])),
        "line 2: check: findings: code: [] is not one of ",
    ),
    "findings that are none": (
        changed(2, lambda line: line["check"].update(findings=7)),
        "line 2: check: findings: 7 is not a list",
    ),
    "a later header of format 3": (TEXT + '{"format": 3, "kind": "header"}\n', "line 18: a header of format 3"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_one_is_an_error_of_one_line_that_says_where(kind: str) -> None:
    text, message = BROKEN[kind]
    with pytest.raises(RunError) as raised:
        parse_state(text, "mine.jsonl")
    assert str(raised.value).startswith(f"mine.jsonl is not a run file of format 2: {message}")
    assert 1 == len(str(raised.value).splitlines())
