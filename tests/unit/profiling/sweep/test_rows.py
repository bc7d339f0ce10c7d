"""What becomes of a config's row on its way through a sweep: pure functions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cpu_sweeps import SHARED_TOO_LARGE
from fake_kernel import BareSubject, FakeSubject, fake, fake_id

from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.occupancy import occupancy
from ssdprof.profiling.runs.measured import Check, Compiled, Loaded
from ssdprof.profiling.runs.model import Row, Status
from ssdprof.profiling.sweep.records import first_rows, is_untried, settled, with_compiled, with_loaded

LIMITS = limits_for("sm_90")
COMPILED = Compiled(255, 24, 41_728, 0, 4, 1, 1, 32, compile_s=1.0)
CHECK = Check(0.7, 0.9, 8, 8, True, 3)
WHY = "covers only 8 of 16 lanes"


def row(status: Status = "not-run", reason: str = "not reached", *, by_construction: str = "") -> Row:
    return Row(fake(), fake_id(), status, reason, by_construction=by_construction)


def test_each_config_has_one_row_in_order_as_the_kernel_takes_it() -> None:
    rows = first_rows(FakeSubject(), [fake(rows=8), fake(LANES=None), fake(), fake("half")])
    assert [fake_id(rows=8), fake_id(), fake_id("half")] == list(rows)
    assert [fake(rows=8), fake(), fake("half")] == [row.config for row in rows.values()]
    assert {("not-run", "not reached", "")} == {
        (row.status, row.status_reason, row.by_construction) for row in rows.values()
    }


def test_a_config_that_the_kernel_does_not_take_is_a_row_as_it_was_asked_for() -> None:
    refused = fake(LANES=12)
    [(name, row)] = first_rows(FakeSubject(), [refused]).items()
    reason = "LANES must be a power of two from 1 to 256, got 12: try 8"
    assert (fake_id(LANES=12), refused, "launch-error", reason) == (name, row.config, row.status, row.status_reason)


def test_what_is_wrong_by_construction_is_known_before_anything_is_tried() -> None:
    configs = [fake(LANES=4), fake(LANES=8)]
    assert [WHY, ""] == [row.by_construction for row in first_rows(FakeSubject(), configs).values()]
    assert ["", ""] == [row.by_construction for row in first_rows(BareSubject(), configs).values()]


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        ("not-run", "compiled only, no GPU", f"by construction: {WHY}"),
        (
            "compile-error",
            "ValueError: no",
            f"by construction: {WHY}; here it also failed (compile-error: ValueError: no)",
        ),
        (
            "out-of-resources",
            SHARED_TOO_LARGE,
            f"by construction: {WHY}; here it also failed (out-of-resources: {SHARED_TOO_LARGE})",
        ),
        ("timeout", "late", f"by construction: {WHY}; here it also failed (timeout: late)"),
    ],
)
def test_what_is_wrong_by_construction_is_wrong_whatever_else_became_of_it(
    status: Status, reason: str, expected: str
) -> None:
    found = settled(row(status, reason, by_construction=WHY))
    assert ("wrong", expected) == (found.status, found.status_reason)
    assert found == settled(found)
    assert (status == "not-run") == is_untried(found)


@pytest.mark.parametrize("status", ["ok", "wrong", "unstable"])
def test_what_was_checked_is_what_the_check_says(status: Status) -> None:
    checked = replace(row(status, "" if status == "ok" else "as checked", by_construction=WHY), check=CHECK)
    assert checked == settled(checked)
    assert not is_untried(checked)


def test_what_is_not_wrong_by_construction_stays_what_it_is() -> None:
    for status in ("not-run", "compile-error", "out-of-resources"):
        one = row(status, "a reason")  # type: ignore[arg-type]
        assert one == settled(one)
        assert (status == "not-run") == is_untried(one)


def test_a_config_that_compiled_has_its_occupancy_and_waits() -> None:
    found = with_compiled(row(), COMPILED, LIMITS, 132, "not measured yet")
    assert ("not-run", "not measured yet", COMPILED) == (found.status, found.status_reason, found.compiled)
    assert occupancy(COMPILED.launch, LIMITS, num_sms=132) == found.occupancy


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dynamic_shared_mem_bytes": 300_000}, SHARED_TOO_LARGE),
        ({"num_warps": 36}, "1152 threads per block: sm_90 takes 1 to 1024"),
    ],
)
def test_a_config_that_needs_more_than_the_architecture_has_is_out_of_resources(
    changes: dict[str, int], reason: str
) -> None:
    found = with_compiled(row(), replace(COMPILED, **changes), LIMITS, None, "not measured yet")
    assert ("out-of-resources", reason) == (found.status, found.status_reason)
    assert found.compiled is not None


def test_what_the_driver_says_of_the_loaded_kernel_goes_before_the_compilers_figures() -> None:
    found = with_loaded(with_compiled(row(), COMPILED, LIMITS, 132, "waits"), Loaded(96, 8, 5), LIMITS, 132)
    expected = replace(COMPILED, registers_per_thread=96, spill_bytes=8)
    assert (expected, 5) == (found.compiled, found.driver_blocks_per_sm)
    assert occupancy(expected.launch, LIMITS, num_sms=132) == found.occupancy
    assert row() == with_loaded(row(), Loaded(96, 8, 5), LIMITS, 132)
