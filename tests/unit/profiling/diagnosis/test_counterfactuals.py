"""What one change does: what helps most comes first, and only a difference beyond the noise is one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_runs import COMPILE_HEADER, HEADER, QUESTION, config, row

from ssdprof.kernels.config import NUM_STAGES, NUM_WARPS
from ssdprof.profiling.diagnosis.counterfactuals import counterfactuals, most_helpful, own_row
from ssdprof.profiling.runs.model import Explanation, Neighbours, Row
from ssdprof.reports.words.counterfactuals import change
from ssdprof.reports.words.counterfactuals import most_helpful as worded


def of(
    stages: int, registers: int | None = 128, latency_ms: float | None = None, warps: int = 4, **more: object
) -> Row:
    """A correct row if it has a latency, else one that was compiled alone."""
    if latency_ms is None and "status" not in more:
        more |= {"status": "not-run", "reason": "compiled only, no GPU"}
    return row(config(64, 64, 32, 128, warps, stages), registers, 40_000, latency_ms=latency_ms, **more)  # type: ignore[arg-type]


def explained(own: Row, *stages: Row, warps: tuple[Row, ...] = ()) -> Explanation:
    groups = [Neighbours(NUM_STAGES, (own, *stages))] + [Neighbours(NUM_WARPS, (own, *warps))] * bool(warps)
    return Explanation(COMPILE_HEADER, own, tuple(groups), QUESTION, "recorded on a GPU")


def order(explanation: Explanation) -> list[tuple[int, str]]:
    return [(one.row.config.number("num_stages"), one.finding) for one in counterfactuals(explanation)]


def said(explanation: Explanation) -> str:
    found = most_helpful(explanation)
    return worded(explanation, found) if found else ""


def test_faster_ones_come_first_then_what_is_not_known_then_slower_ones_and_those_not_to_be_used_last() -> None:
    explanation = explained(
        of(4, latency_ms=2.0),
        of(1, latency_ms=3.0),
        of(2, latency_ms=1.0, status="wrong", reason="relative error 0.7"),
        of(3, latency_ms=1.5),
        of(5, latency_ms=2.001),
        of(6),
        of(7, None, status="compile-error", reason="no"),
    )
    assert [
        (3, "faster"), (5, "same"), (6, "untimed"), (1, "slower"), (2, "not-usable"), (7, "not-usable"),
    ] == order(explanation)  # fmt: skip
    first, *_, slower, wrong, broken = counterfactuals(explanation)
    assert (NUM_STAGES, 4, 3) == (first.param, first.before, first.value)
    assert pytest.approx((2 / 1.5, 2 / 3)) == (first.times_as_fast, slower.times_as_fast)
    assert (None, None) == (wrong.times_as_fast, broken.times_as_fast)
    assert (0, None) == (wrong.more_blocks_per_sm, broken.more_blocks_per_sm)


def test_without_latencies_more_occupancy_comes_first_then_fewer_spills() -> None:
    own = of(4, 255, spill_bytes=24)
    explanation = explained(
        own, of(1, 255, spill_bytes=80), of(2, 160), of(3, 255, spill_bytes=8), warps=(of(4, 255, warps=8),)
    )
    assert [2, 4, 3, 1] == [stages for stages, _ in order(explanation)]
    found = counterfactuals(explanation)
    assert [1, -1, 0, 0] == [one.more_blocks_per_sm for one in found]
    assert [24, 24, 16, -56] == [one.fewer_spill_bytes for one in found]


def test_a_latency_of_an_output_that_is_not_correct_helps_nobody() -> None:
    explanation = explained(of(4, latency_ms=2.0), of(3, latency_ms=0.5, status="differs", reason="another output"))
    assert [(3, "not-usable")] == order(explanation)
    assert "No single change can be used: each is wrong or fails." == said(explanation)


def test_the_config_itself_is_the_one_among_its_neighbours() -> None:
    own = of(4, latency_ms=2.0)
    explanation = replace(explained(own, of(3)), row=replace(own, timing=None))
    assert own is own_row(explanation)
    assert () == counterfactuals(replace(explanation, neighbours=()))
    assert most_helpful(replace(explanation, neighbours=())) is None


def test_the_most_helpful_change_is_named_with_its_gain() -> None:
    explanation = explained(of(4, latency_ms=2.0), of(3, latency_ms=1.6), of(2, latency_ms=1.8))
    assert (
        "Most helpful: num_stages 4 → 3 (m64n64k32d128w4s3), 1.25 times as fast: 1.600 ms as recorded against 2.000 ms."
        == said(explanation)
    )
    measured = replace(explanation, latency_source="measured on a GPU")
    assert said(measured).endswith("1.25 times as fast: 1.600 ms against 2.000 ms.")
    assert "num_stages 4 → 3" == change(explanation, counterfactuals(explanation)[0])


def test_if_none_is_faster_it_says_by_how_much_the_next_misses_it() -> None:
    own = of(4, latency_ms=2.0)
    assert (
        "No single change helps: the fastest, m64n64k32d128w4s3, takes 2.500 ms as recorded against 2.000 ms."
        == said(explained(own, of(3, latency_ms=2.5)))
    )
    assert said(explained(own, of(3, latency_ms=1.999))).endswith(
        "against 2.000 ms, which is no difference within the noise."
    )


def test_without_a_latency_the_most_promising_change_is_named_and_how_to_know() -> None:
    own = of(4, 255, spill_bytes=24)
    promise = (
        "Most promising: num_stages 4 → 2 (m64n64k32d128w4s2), 18.75 % occupancy instead of 12.5 % and 0 bytes spilled "
        "per thread instead of 24. Whether it is faster is not known: the same command on a GPU tells."
    )
    assert promise == said(explained(own, of(2, 160)))
    timed = explained(of(4, 255, 2.0, spill_bytes=24), of(1, 255, 3.0), of(2, 160))
    assert f"No change with a latency is faster. {promise}" == said(timed)
    spills = said(explained(own, of(3, 255, spill_bytes=8)))
    assert "12.5 % occupancy as before and 8 bytes spilled per thread instead of 24." in spills
    here = replace(explained(own, of(2, 160)), header=HEADER)
    assert said(here).endswith("Whether it is faster is not known.")
    nothing = "No single change gives more occupancy without more spills, or spills less."
    assert nothing == said(explained(own, of(3, 255, spill_bytes=24), of(2, 160, spill_bytes=136)))


def test_a_config_that_cannot_be_used_is_told_the_change_that_can() -> None:
    wrong = of(4, latency_ms=1.0, status="wrong", reason="relative error 0.7")
    assert "Most helpful: num_stages 4 → 3 (m64n64k32d128w4s3). It is correct and takes 2.000 ms as recorded." == said(
        explained(wrong, of(3, latency_ms=2.0), of(2, latency_ms=2.5))
    )
    broken = of(4, None, status="compile-error", reason="no")
    assert "Most helpful: num_stages 4 → 3 (m64n64k32d128w4s3). It compiles, 25 % occupancy." == said(
        explained(broken, of(3))
    )


def test_without_a_latency_of_its_own_there_is_nothing_to_compare_with() -> None:
    assert (
        "The fastest: num_stages 4 → 3 (m64n64k32d128w4s3), 2.000 ms as recorded. There is no latency of "
        "m64n64k32d128w4s4 to compare with." == said(explained(of(4), of(3, latency_ms=2.0)))
    )


def test_a_cap_that_is_not_set_is_none() -> None:
    capped = row(config(64, 64, 32, 128, 4, 4, maxnreg=168), 168, 40_000, status="not-run", reason="compiled only")
    own = of(4, 255)
    cap = next(one for one in COMPILE_HEADER.params if one.name == "maxnreg")
    explanation = replace(explained(own), neighbours=(Neighbours(cap, (capped, own)),))
    assert "maxnreg none → 168" == change(explanation, counterfactuals(explanation)[0])
