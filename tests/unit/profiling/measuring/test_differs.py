"""Outputs that are held against what is not known to be correct: another one differs, and only damage is wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from fake_kernel import HELD_AGAINST, CapturedSubject, fake
from fake_launches import CHECKED
from fake_runs import HEADER, config, row, run, screen
from host_timer import HOST
from measured_here import planted

from ssdprof.kernels.interface import Tolerances
from ssdprof.profiling.diagnosis.rows import rejected_rows
from ssdprof.profiling.measuring import measure as measure_module
from ssdprof.profiling.measuring.check import judge
from ssdprof.profiling.measuring.measure import measure, prepare
from ssdprof.profiling.measuring.session import LAUNCHES_PER_SEED
from ssdprof.profiling.runs.answers.outliers import compared
from ssdprof.profiling.runs.measured import Check, Finding, Measurement
from ssdprof.profiling.runs.model import Status
from ssdprof.profiling.runs.rank import derived
from ssdprof.profiling.sweep.rounds import finalists
from ssdprof.reports.text.sweep import sweep_report
from ssdprof.reports.text.tables import status_colour

AGAINST = HELD_AGAINST
HELD = Tolerances(0.01, 0.05, "operands are rounded", output="out", against=AGAINST)


class TwiceCaptured(CapturedSubject):
    """With two sets of inputs."""

    input_sets = 2


SUBJECT = TwiceCaptured()


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_module, "_session", None)
    prepare(SUBJECT, HOST, seed=3)


def measured(name: str) -> Measurement:
    return measure(SUBJECT.launch(fake(name)), fake(name), name)


def status(found: Measurement) -> tuple[Status, str]:
    return judge(found.check, {one.output: one for one in SUBJECT.tolerances()})


def judged(
    relative_error: float, bad_rows: int = 3, tolerances: Tolerances = HELD, **changes: object
) -> tuple[str, str]:
    check = Check(relative_error, relative_error, bad_rows, 100, True, 5)
    return judge(replace(check, **changes), {"out": tolerances})  # type: ignore[arg-type]


def test_another_output_differs_and_says_from_what_and_how_far() -> None:
    assert ("differs", f"another output than {AGAINST}: relative error 0.73, tolerance 0.01") == judged(0.73)
    found = (Finding("rows", "3 % of rows: row 2"),)
    expected = "another output than the launch as captured: 3 of 100 rows wrong, the worst by 0.0010, tolerance 0.05"
    assert ("differs", f"{expected}; 3 % of rows: row 2") == judged(0.001, findings=found)


def test_other_integers_differ_in_so_many_rows() -> None:
    exact = replace(HELD, relative_error=0.0, row_error=0.0)
    assert ("differs", f"another output than {AGAINST}: 12 of 100 rows differ") == judged(0.2, 12, exact)


def test_the_same_output_is_ok_and_what_is_damage_elsewhere_is_so_here() -> None:
    assert ("ok", "") == judged(0.001, 0)
    assert "wrong" == judged(math.nan)[0]
    assert ("wrong", "wrote there") == judged(0.73, findings=(Finding("outside", "wrote there"),))
    assert "unstable" == judged(0.73, repeatable=False)[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("right", "ok"),
        ("wrong_scaled", "differs"),
        ("wrong_row", "differs"),
        ("unwritten", "wrong"),
        ("nan_rows", "wrong"),
        ("beyond", "wrong"),
        ("scribbles", "wrong"),
        ("unstable", "unstable"),
    ],
)
def test_measured_launches_differ_if_they_gave_whole_and_repeatable_outputs(name: str, expected: Status) -> None:
    assert expected == status(measured(name))[0]


def test_a_config_that_differs_is_checked_and_timed_as_often_as_a_correct_one() -> None:
    found, correct = measured("wrong_scaled"), measured("right")
    assert (2, 2 * LAUNCHES_PER_SEED) == (found.check.seeds, found.check.launches)
    assert found.batch
    assert correct.batch
    assert len(correct.batch.samples_ms) == len(found.batch.samples_ms)


def test_a_config_that_differs_and_gives_other_bits_when_timed_is_unstable(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, "differs_then_races", lambda launch, t: t.scaled.mul_(1.5 if launch <= CHECKED else 1.6))
    assert "unstable" == status(measured("differs_then_races"))[0]


def test_an_error_that_stands_out_differs_too_and_comparing_again_changes_nothing() -> None:
    rows = [row(config(64, 64, 32, 128, 2, stages), 128, latency_ms=2.0, error=0.0018) for stages in range(1, 7)]
    odd = row(config(64, 64, 32, 128, 4, 4), 128, latency_ms=1.0, error=0.008)
    found = compared([*rows, odd], [HELD])
    assert ["ok"] * 6 + ["differs"] == [one.status for one in found]
    assert found == compared(found, [HELD])


def test_the_fastest_that_differs_is_timed_again_beside_the_fastest_wrong_one() -> None:
    statuses: tuple[Status, ...] = ("ok", "wrong", "differs", "differs")
    rows = [
        row(config(64, 64, 32, 128, 2, stages), 128, latency_ms=2.0 + stages, status=status)
        for stages, status in enumerate(statuses, 1)
    ]
    assert (("m64n64k32d128w2s1",), ("m64n64k32d128w2s2", "m64n64k32d128w2s3")) == finalists(rows, None)


def test_configs_that_differ_are_counted_and_listed_as_wrong_ones_are() -> None:
    right = row(config(64, 64, 32, 128, 2, 4), 255, 16_384, latency_ms=2.0)
    other = row(config(64, 64, 32, 64, 2, 4), 128, 16_384, latency_ms=1.0, status="differs", reason="another output")
    found = run([right, other], HEADER)
    assert {"differs": [derived(other, HEADER)]} == rejected_rows(found)
    text = screen(sweep_report(found, lists_rejected=True), 120)
    assert "Another output than what it is held against: which is correct is not known (differs): 1" in text
    assert status_colour("wrong") == status_colour("differs")
