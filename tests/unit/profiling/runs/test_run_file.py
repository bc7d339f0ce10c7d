"""The run file: what is written comes back, at whichever byte it is cut off, and a broken one is an error of a line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from any_records import HEADERS, IDS, LISTS_OF_RECORDS
from fake_models import MODEL
from fake_runs import HEADER, TOO_LARGE, h100_run
from hypothesis import given, settings
from hypothesis import strategies as st
from run_records import kept, records_of, state_of

from ssdprof.kernels.interface import LeftOut, Remark, Tolerances
from ssdprof.profiling.runs.counters import Counted, Counters
from ssdprof.profiling.runs.measured import Batch, Check, Conditions, Finding
from ssdprof.profiling.runs.model import Row, RunHeader
from ssdprof.profiling.runs.modelled import Modelled
from ssdprof.profiling.runs.run_file import NoHeaderError, RunError, dump_records, parse_state
from ssdprof.profiling.runs.state import Record, RunState

BEST = replace(
    h100_run().ranked[0],
    timing=None,
    rank=None,
    speedup_vs_baseline=None,
    tied_with_best=None,
    achieved=None,
    model=None,
    floor_ms=None,
    bound=None,
    driver_blocks_per_sm=7,
    check=Check(0.6, 0.9, 3, 4, False, 5, 2, (Finding("tail", "the last chunk"), Finding("nan", "NaN in 2 rows")), "y"),
    by_construction="sums half of it",
)
BATCH = Batch(BEST.config_id, (2.25, 2.5), "graph", Conditions(1980, 2619, 350.5, 61, ("power", "heat")))
FULL_HEADER = replace(
    HEADER,
    tolerances=(*HEADER.tolerances, Tolerances(0.5, 0.25, "it may", output="y")),
    left_out=(LeftOut("m64n64k32w2s4", "pruned"),),
    remarks=(Remark("note", "without-tma", "no TMA", {"arch": "sm_80", "configs": 3, "share": 0.5}),),
)
ITS_COUNTERS = Counted(BEST.config_id, Counters("ncu 2025.3.1", 2.5, 7, l2_pct=40.5, metrics=(("sm__a.sum", 1.5),)))
ITS_MODEL = Modelled(BEST.config_id, MODEL)
RECORDS: tuple[Record, ...] = (
    FULL_HEADER, BEST, TOO_LARGE, BATCH, ITS_COUNTERS, ITS_MODEL, replace(BATCH, conditions=Conditions())
)  # fmt: skip


def content(state: RunState) -> dict[str, Any]:
    """All that a state holds of the configs named here, comparable."""
    return {
        "header": asdict(state.header),
        "rows": [asdict(row) for row in state.rows.values()],
        "counters": [asdict(one) for name in (BEST.config_id, *IDS) if (one := state.counters(name))],
        "models": [asdict(one) for name in (BEST.config_id, *IDS) if (one := state.model(name))],
        "batches": [asdict(one) for name in (BEST.config_id, *IDS) for one in state.batches(name)],
    }


def same(one: Any, other: Any) -> bool:
    """Equal, with NaN equal to itself, and of the same type."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def test_a_run_comes_back_as_it_was() -> None:
    assert content(state_of(RECORDS)) == content(parse_state(dump_records(RECORDS)))
    assert kept(h100_run()) == parse_state(dump_records(records_of(h100_run()))).run()


@settings(max_examples=60, deadline=None)
@given(HEADERS, LISTS_OF_RECORDS, st.data())
def test_any_records_come_back_as_far_as_their_lines_are_whole_wherever_the_file_is_cut(
    header: RunHeader, others: list[Record], data: st.DataObject
) -> None:
    records = (header, *others)
    text = dump_records(records)
    cut = data.draw(st.integers(0, len(text)))
    whole_lines = text[:cut].count("\n")
    if whole_lines == 0:
        with pytest.raises(NoHeaderError):
            parse_state(text[:cut])
    else:
        assert same(content(state_of(records[:whole_lines])), content(parse_state(text[:cut])))
    assert same(content(state_of(records)), content(parse_state(text)))


@pytest.mark.slow
def test_a_file_cut_at_any_byte_gives_the_records_whose_lines_are_whole() -> None:
    text = dump_records(RECORDS)
    ends = [index + 1 for index, character in enumerate(text) if character == "\n"]
    expected = [content(state_of(RECORDS[:count])) for count in range(1, len(RECORDS) + 1)]
    for cut in range(ends[0]):
        with pytest.raises(NoHeaderError, match="the text is cut off before the end of its first line"):
            parse_state(text[:cut])
    for cut in range(ends[0], len(text) + 1):
        assert expected[sum(end <= cut for end in ends) - 1] == content(parse_state(text[:cut])), cut


def test_each_record_is_a_line_of_strict_json_that_says_what_it_is() -> None:
    bad = replace(BEST, check=Check(math.nan, math.inf, 3, 4, False, 4))
    low = replace(BATCH, samples_ms=(-math.inf,))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    lines = [json.loads(line, parse_constant=refuse) for line in dump_records([HEADER, bad, low]).splitlines()]
    assert [(3, "header"), (None, "row"), (None, "batch")] == [(line.get("format"), line["kind"]) for line in lines]
    assert ("NaN", "Infinity") == (lines[1]["check"]["relative_error"], lines[1]["check"]["worst_row_error"])
    assert ["-Infinity"] == lines[2]["samples_ms"]


def test_a_row_is_kept_without_its_rank_and_what_goes_with_it() -> None:
    derived = {"rank", "speedup_vs_baseline", "tied_with_best", "recorded", "achieved", "answer", "counters"}
    derived |= {"model", "floor_ms", "bound"}
    (line,) = dump_records([h100_run().ranked[0]]).splitlines()
    assert {field.name for field in fields(Row)} - derived | {"kind"} == json.loads(line).keys()


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "null", "two\nlines", "\ud800", "µ\u2028"])
def test_a_text_stays_a_text_whatever_it_says(text: str) -> None:
    header = replace(HEADER, command=text, problem={"dtype": text})
    row = replace(TOO_LARGE, status_reason=text)
    state = parse_state(dump_records([header, row]))
    assert (text, {"dtype": text}) == (state.header.command, state.header.problem)
    assert text == state.rows[row.config_id].status_reason


def test_a_field_that_has_a_default_may_be_left_out() -> None:
    line = json.loads(dump_records([HEADER]))
    del line["budget_s"]
    assert replace(HEADER, budget_s=0.0) == parse_state(json.dumps(line) + "\n").header


def changed(number: int, change: Callable[[dict[str, Any]], Any]) -> str:
    """The records' text with the line of that number changed."""
    lines = dump_records(RECORDS).splitlines()
    line = json.loads(lines[number - 1])
    change(line)
    lines[number - 1] = json.dumps(line)
    return "\n".join(lines) + "\n"


def broken(number: int, line: str) -> str:
    lines = dump_records(RECORDS).splitlines()
    lines[number - 1] = line
    return "\n".join(lines) + "\n"


NO_RUN = "is not a run file: it does not begin with a header of format 3"
LINE = "is not a run file of format 3: line"
BROKEN = {
    "no JSON": ("latency,config\n1.0,a\n", NO_RUN),
    "blank": ("\n\n", NO_RUN),
    "a list": ("[]", NO_RUN),
    "null": ("null\n", NO_RUN),
    "nested without end": ("[" * 100_000, NO_RUN),
    "another program's": ('{"name": "x", "version": 2}\n', NO_RUN),
    "a row first": (dump_records([BEST, HEADER]), NO_RUN),
    "an older format": ('{"format": 1, "header": {}}', "is of format 1, made by an older ssdprof: sweep again"),
    "an older format in lines": ('{\n  "format":1,\n', "is of format 1, made by an older ssdprof: sweep again"),
    "a newer format": (
        '{"format": 4, "kind": "header"}\n',
        "is of format 4, made by a newer ssdprof: this one reads format 3",
    ),
    "a first line of another kind": (
        dump_records([BEST]).replace('{"kind"', '{"format": 3, "kind"', 1),
        f"{LINE} 1: unknown field 'format'",
    ),
    "no kind": (changed(2, lambda line: line.pop("kind")), f"{LINE} 2: not a record: its kind must be one of"),
    "an unknown kind": (
        changed(2, lambda line: line.update(kind="x")),
        f"{LINE} 2: not a record: its kind must be one of",
    ),
    "a kind that is a list": (
        changed(2, lambda line: line.update(kind=[])),
        f"{LINE} 2: not a record: its kind must be",
    ),
    "a broken line": (broken(3, '{"kind": "ba'), f"{LINE} 3: not valid JSON at column 10: Unterminated string"),
    "an empty line": (broken(3, ""), f"{LINE} 3: not valid JSON at column 1: Expecting value"),
    "a broken whole last line": (broken(5, "{"), f"{LINE} 5: not valid JSON at column 2: "),
    "a line nested without end": (broken(2, "[" * 100_000), f"{LINE} 2: maximum recursion depth exceeded"),
    "a number of 5000 digits": (broken(2, "1" * 5000), f"{LINE} 2: "),
    "a line that is a number": (broken(2, "3"), f"{LINE} 2: not a record"),
    "a later header of another format": (broken(4, '{"kind": "header", "format": 2}'), f"{LINE} 4: a header of form"),
    "a header that lacks its kernel": (changed(1, lambda line: line.pop("kernel")), f"{LINE} 1: kernel is missing"),
    "a header without device": (changed(1, lambda line: line.update(device=None)), f"{LINE} 1: device: None is not an"),
    "a header with more than is known": (changed(1, lambda line: line.update(new=1)), f"{LINE} 1: unknown field 'new'"),
    "a field with a line in its name": (changed(2, lambda line: line.update({"a\nb": 1})), "unknown field 'a\\nb'"),
    "a problem that is a list": (changed(1, lambda line: line.update(problem=[])), f"{LINE} 1: problem: [] is not an"),
    "a derived field": (changed(2, lambda line: line.update(rank=1)), f"{LINE} 2: unknown field 'rank'"),
    "a config that is a text": (changed(2, lambda line: line.update(config="m64")), "config: 'm64' is not a config"),
    "a config of an older format": (
        changed(2, lambda line: line.update(config={"block_m": 64, "variant": "tile"})),
        "config: {'block_m': 64, 'variant': 'tile'} is not a config",
    ),
    "a config whose values are a list": (
        changed(2, lambda line: line["config"].update(values=[["BLOCK_SIZE_M", 64]])),
        "config: [['BLOCK_SIZE_M', 64]] is not an object",
    ),
    "a config's value that is a list": (
        changed(2, lambda line: line["config"]["values"].update(BLOCK_SIZE_M=[64])),
        "config: [64] is not a value of a parameter",
    ),
    "a variant that is a number": (changed(2, lambda line: line["config"].update(variant=1)), "config: 1 is not text"),
    "a parameter's default that is a list": (
        changed(1, lambda line: line["params"][0].update(default=[])),
        f"{LINE} 1: params: default: [] is not a value of a parameter",
    ),
    "a parameter without name": (
        changed(1, lambda line: line["params"][0].pop("name")),
        f"{LINE} 1: params: name is missing",
    ),
    "tolerances of an older format": (
        changed(1, lambda line: line.update(tolerances=line["tolerances"][0])),
        f"{LINE} 1: tolerances: {{",
    ),
    "a remark of an unknown status": (
        changed(1, lambda line: line["remarks"][0].update(status="bad")),
        f"{LINE} 1: remarks: status: 'bad' is not one of good, note, warning",
    ),
    "what is laid over a row": (changed(2, lambda line: line.update(recorded=None)), "unknown field 'recorded'"),
    "a number for a text": (changed(2, lambda line: line.update(config_id=3)), "config_id: 3 is not text"),
    "a part of a number": (
        changed(2, lambda line: line["check"].update(rows=0.5)),
        "check: rows: 0.5 is not a whole number",
    ),
    "true for a number": (
        changed(2, lambda line: line["check"].update(rows=True)),
        "check: rows: True is not a whole number",
    ),
    "a number for true": (
        changed(2, lambda line: line["check"].update(repeatable=1)),
        "check: repeatable: 1 is not true or false",
    ),
    "an unknown status": (changed(2, lambda line: line.update(status="good")), "status: 'good' is not one of ok, wron"),
    "a status that is a list": (changed(2, lambda line: line.update(status=[])), "status: [] is not one of ok, wrong"),
    "limiters that are a text": (
        changed(2, lambda line: line["occupancy"].update(limiters="warps")),
        "occupancy: limiters: 'warps' is not a list",
    ),
    "a sample that is a text": (
        changed(4, lambda line: line.update(samples_ms=[1.0, "fast"])),
        f"{LINE} 4: samples_ms: 'fast' is not a number",
    ),
    "a sample that is true": (
        changed(4, lambda line: line.update(samples_ms=[True])),
        "samples_ms: True is not a number",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_text_that_is_no_run_is_an_error_of_one_line_that_says_where(kind: str) -> None:
    text, message = BROKEN[kind]
    with pytest.raises(RunError) as raised:
        parse_state(text, "mine.jsonl")
    assert str(raised.value).startswith("mine.jsonl is ")
    assert message in str(raised.value)
    assert 1 == len(str(raised.value).splitlines())
    assert not isinstance(raised.value, NoHeaderError)


@pytest.mark.parametrize("torn", ['{"kind": "batch", "sam', "\x00\x00\x00", "[" * 100_000])
def test_a_last_line_that_is_not_whole_is_ignored_whatever_it_holds(torn: str) -> None:
    assert content(state_of(RECORDS)) == content(parse_state(dump_records(RECORDS) + torn))
