"""The answer to what users ask of one parameter, as data, for any kernel's parameter."""

import json
from dataclasses import replace

import pytest
from fake_runs import COMPILE_HEADER, explanation, row

from ssdprof.kernels.config import Config, Param
from ssdprof.kernels.interface import Question
from ssdprof.kernels.ssd.params import chunk_scan_config
from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.profiling.diagnosis.why import answer
from ssdprof.profiling.runs.model import Explanation, Neighbours, Row

ROWS = Param("ROWS", column="rows", heading="row", around=(16, 64, 256))
QUESTION = Question("rows", "Do rows matter?", extent=256)
BASE = row(chunk_scan_config(64, 64, 32, 128, 2, 4), 128, 40_000, status="not-run", reason="compiled only")


def of(value: int, registers: int, by_construction: str = "") -> Row:
    """A row of another kernel: its one parameter, and what it compiled to."""
    compiled = row(BASE.config, registers, 40_000)
    status = "wrong" if by_construction else "not-run"
    return replace(
        BASE,
        config=Config((("ROWS", value),)),
        config_id=f"ROWS={value}",
        compiled=compiled.compiled,
        occupancy=compiled.occupancy,
        status=status,
        by_construction=by_construction,
    )


def answered(*rows: Row) -> dict[str, Statement]:
    neighbours = (Neighbours(ROWS, rows),) if rows else ()
    header = replace(COMPILE_HEADER, params=(ROWS,))
    found = answer(Explanation(header, rows[-1] if rows else BASE, neighbours, QUESTION, None))
    return {one.code: one for one in found}


def test_what_grows_with_the_parameter_is_listed_by_its_values() -> None:
    figures = answered(of(16, 100), of(64, 160), of(256, 250))["growth"].figures
    assert [16, 64, 256] == figures["values"]
    assert [100, 160, 250] == figures["registers_per_thread"]
    assert [0, 0, 0] == figures["spill_bytes"]
    assert [40_000] * 3 == figures["dynamic_shared_mem_bytes"]


def test_rows_are_ordered_by_value_whatever_their_order() -> None:
    assert [16, 64, 256] == answered(of(256, 250), of(16, 100), of(64, 160))["growth"].figures["values"]


def test_a_drop_of_blocks_has_its_cause_and_the_answer() -> None:
    found = answered(of(16, 128), of(256, 250))
    change, limits = found["blocks-change"].figures, found["limits-occupancy"].figures
    assert (5, 4, 256) == (change["blocks_per_sm_before"], change["blocks_per_sm"], change["value"])
    assert ["registers"] == [cause["limiter"] for cause in change["causes"]]
    assert (256, 16) == (limits["value"], limits["least_value"])


def test_no_drop_is_an_answer_too() -> None:
    figures = answered(of(16, 200), of(256, 250))["does-not-limit-occupancy"].figures
    assert (50, [16, 256]) == (figures["registers_more"], figures["limiters"][0]["values"])


def test_a_smaller_value_that_is_wrong_by_construction_is_no_way_out() -> None:
    one = answered(of(16, 100, "sums 16 of 256"), of(64, 160, "sums 64 of 256"), of(256, 250))["smaller-is-wrong"]
    assert "drop-from-list" == one.next_step
    assert {
        "values": [16, 64],
        "reason_value": 16,
        "reason": "sums 16 of 256",
        "relative_errors": [],
        "latency_source": None,
    } == one.figures


def test_a_smaller_value_of_which_nothing_says_that_it_is_wrong_is_a_choice() -> None:
    found = answered(of(16, 100), of(64, 160), of(256, 250))
    assert {"values": [16, 64], "variant": "", "extent": 256} == found["smaller-is-a-choice"].figures
    assert "smaller-is-a-choice" not in answered(of(16, 100), replace(of(64, 160), status="wrong"), of(256, 250))
    assert "smaller-is-a-choice" not in answered(of(16, 100), of(64, 160, "sums 64"), of(256, 250))


def test_without_other_values_there_is_nothing_to_compare() -> None:
    assert {"no-other-value": {"parameter": "rows"}} == {code: one.figures for code, one in answered().items()}
    alone = answered(replace(of(16, 100), compiled=None, occupancy=None, status="compile-error"), of(256, 250))
    assert ["missing-value", "too-few-values"] == list(alone)
    assert [256] == alone["too-few-values"].figures["values"]


@pytest.mark.parametrize("measured", [True, False])
@pytest.mark.parametrize("shape", [(128, 64, 32, 4, 4), (64, 64, 32, 2, 4)])
def test_figures_are_ready_for_json(shape: tuple[int, int, int, int, int], measured: bool) -> None:
    for one in answer(explanation(shape, measured)):
        assert one.figures == json.loads(json.dumps(one.figures)), one.code
        assert not one.message
