"""The tables of what bounds a latency and of what moves; what is not known is said, and what was not asked is not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fake_models import MODEL
from fake_runs import HEADER, h100_run, screen
from rich.console import Group

from ssdprof.profiling.runs.model import Explanation, Row
from ssdprof.profiling.runs.rank import derived
from ssdprof.profiling.runs.recorded import recorded_runs
from ssdprof.reports.export.run_json import explanation_json
from ssdprof.reports.text.bound import parts
from ssdprof.reports.text.explain import explain_report

BEST = h100_run().ranked[0]


def of(row: Row) -> Explanation:
    return Explanation(HEADER, derived(row, HEADER), (), None, None)


def shown(one: Explanation, width: int = 100) -> str:
    return screen(Group(*parts(one)), width)


def test_the_share_of_the_table_is_that_of_the_bound() -> None:
    one = of(BEST)
    assert one.row.bound is not None
    (line,) = (line for line in shown(one).splitlines() if line.startswith("DRAM  "))
    assert f"{one.row.bound.share:.2f}" == line.split()[2]
    assert round(20 * one.row.bound.share) == line.count("█")


@pytest.mark.parametrize("missing", [{"model": None}, {"compiled": None}])
def test_nothing_is_shown_of_what_was_not_modelled_or_does_not_compile(missing: dict[str, None]) -> None:
    assert [] == parts(of(replace(BEST, **missing)))


def test_a_launch_that_cannot_be_followed_says_why() -> None:
    absent = replace(MODEL, traffic=None, absent="its programs do too much to be followed")
    expected = "What bounds the time is not known: its programs do too much to be followed."
    assert expected == shown(of(replace(BEST, model=absent))).strip()


def test_a_gpu_without_ceilings_has_its_bytes_alone() -> None:
    header = replace(HEADER, device=replace(HEADER.device, arch="sm_75", name="Tesla T4"))
    text = shown(replace(of(BEST), header=header, row=replace(BEST, bound=None)))
    assert "What bounds the time" not in text
    assert text.startswith("\nWhat moves\n")


def test_recorded_latencies_have_their_bound_in_the_answer_and_in_json() -> None:
    run = next(recorded_runs())
    row = derived(replace(run.ranked[0], model=MODEL), run.header)
    one = Explanation(run.header, row, (), None, None, source=run)
    content = json.loads(explanation_json(one))
    assert row.bound is not None
    assert ("bound", row.bound.code) == (content["bound"]["code"], content["bound"]["figures"]["code"])
    assert content["bound"]["message"].partition(". ")[0] in " ".join(screen(explain_report(one), 120).split())
    assert ("H100 SXM", "states") == (content["model"]["gpu"], content["model"]["traffic"]["tensors"][0]["name"])
    assert (row.bound.code, row.bound.share) == (content["row"]["bound"], content["row"]["bound_share"])


def test_json_without_a_model_has_neither() -> None:
    content = json.loads(explanation_json(of(replace(BEST, model=None))))
    assert (None, None) == (content["bound"], content["model"])
