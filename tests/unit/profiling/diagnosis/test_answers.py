"""What a sweep's answer says of the parameter that users of the kernel ask about, and its figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fake_runs import HEADER, QUESTION, TOO_LARGE, config, row, run

from ssdprof.profiling.diagnosis.answers import answer
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.reports.words.answers import words


def asked(*rows: Row) -> Run:
    return run(rows, replace(HEADER, question=QUESTION))


def of(code: str, found: Run) -> dict[str, Any]:
    return next(one for one in answer(found) if one.code == code).figures


def tile(dstate: int, registers: int, *, variant: str = "split", status: str = "ok", latency_ms: float = 2.0) -> Row:
    here = config(64, 64, 32, dstate, 2, 4, variant=variant)
    return row(here, registers, 16_384, status=status, latency_ms=latency_ms)  # type: ignore[arg-type]


def test_a_tile_limits_if_a_smaller_one_has_more_blocks() -> None:
    found = asked(tile(128, 255, latency_ms=2.0), tile(32, 128, latency_ms=3.0))
    figures = of("question", found)
    assert (True, 128, 32, [32]) == (
        figures["limits"], figures["value"], figures["most_value"], figures["other_values"]
    )  # fmt: skip
    text = words(next(one for one in answer(found) if one.code == "question"))
    assert "a tile of 128 limits split:m64n64k32d128w2s4: 2 warps per scheduler, 4 with 32." == text


def test_it_does_not_if_no_smaller_one_has() -> None:
    found = asked(tile(128, 255, latency_ms=2.0), tile(64, 250, latency_ms=3.0), tile(32, 248, latency_ms=3.0))
    assert not of("question", found)["limits"]
    text = words(next(one for one in answer(found) if one.code == "question"))
    assert text == (
        "128 is not the limit: split:m64n64k32d128w2s4 has no more than 2 warps per scheduler with 32 and 64."
    )


@pytest.mark.parametrize(
    ("registers", "expected"), [(128, ", 4 with 32, which is wrong."), (255, "Smaller tiles are wrong.")]
)
def test_that_the_smaller_tile_is_wrong_is_said(registers: int, expected: str) -> None:
    found = asked(tile(128, 255, variant="tile"), tile(32, registers, variant="tile", status="wrong", latency_ms=1.0))
    assert words(next(one for one in answer(found) if one.code == "question")).endswith(expected)


def test_without_a_smaller_tile_that_is_said() -> None:
    found = asked(tile(128, 255))
    assert {"parameter": "DSTATE", "extent": 128} == of("question", found)
    assert "no smaller tile than the whole 128 was tried." == words(
        next(one for one in answer(found) if one.code == "question")
    )


def test_a_kernel_of_which_nobody_asks_anything_has_no_such_line() -> None:
    found = run([tile(128, 255)], HEADER)
    assert ["use", "floor", "occupancy", "next"] == [one.code for one in answer(found)]


def test_counts_are_of_all_that_is_not_ranked_by_status() -> None:
    found = asked(tile(128, 255), tile(32, 128, variant="tile", status="wrong", latency_ms=1.0), TOO_LARGE)
    figures = of("not-used", found)
    assert {"wrong": 1, "out-of-resources": 1} == figures["statuses"]
    assert ("best", 50.0) == (figures["fastest"]["faster_than"], figures["fastest"]["less_pct"])
