"""Configs that are known to be wrong before anything runs: what they are without a GPU, and that on one they are
checked all the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cpu_sweeps import request, swept, take_few_samples
from fake_kernel import FakeSubject, fake
from fake_timer import imports_paid_once
from run_records import state_of

from ssdprof.kernels.config import Config
from ssdprof.profiling.diagnosis.verdicts import statements
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.profiling.runs.state import Record
from ssdprof.profiling.sweep.request import Event
from ssdprof.profiling.sweep.sweep import NOT_MEASURED_YET

BY_CONSTRUCTION = "by construction: covers only 8 of 16 lanes"
STEADY = "fake_timer:SteadyTimer"


@pytest.fixture(scope="module", autouse=True)
def one_import() -> Iterator[None]:
    with imports_paid_once():
        yield


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    take_few_samples(monkeypatch)


def narrow(variant: str, rows: int = 16) -> Config:
    """A config whose two turns cover half of the lanes: wrong by construction, says the subject of any variant."""
    return fake(variant, rows, LANES=4)


def verdicts(run: Run) -> list[tuple[str, str]]:
    return [(row.status, row.status_reason) for row in run.rows]


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_without_a_gpu_they_are_wrong_on_every_architecture_and_compiled_like_the_others(arch: str) -> None:
    run = swept(request(narrow("right"), fake("right"), gpu=False, arch=arch))
    assert [("wrong", BY_CONSTRUCTION), ("not-run", "compiled only, no GPU")] == verdicts(run)
    assert all(row.compiled and row.occupancy and row.rank is None for row in run.rows)
    assert ["wrong-by-construction"] == [one.code for one in statements(run) if "construction" in one.code]


def test_it_goes_before_whatever_else_is_the_matter_with_them() -> None:
    run = swept(request(narrow("compile_error"), narrow("too_much_shared_mem"), narrow("crashes_compiler"), gpu=False))
    beside = f"{BY_CONSTRUCTION}; here it also failed "
    needs = "needs 300000 bytes of shared memory per block, sm_90 allows 232448"
    assert [
        ("wrong", f"{beside}(compile-error: ValueError: no such layout)"),
        ("wrong", f"{beside}(out-of-resources: {needs})"),
        ("wrong", f"{beside}(compile-error: the worker was ended by SIGABRT: LLVM ERROR: cannot select)"),
    ] == verdicts(run)


def test_a_config_that_the_kernel_does_not_take_is_a_launch_error_whatever_it_would_give() -> None:
    [row] = swept(request(fake("nothing", LANES=4), gpu=False)).rows
    assert ("launch-error", "") == (row.status, row.by_construction)


@pytest.fixture(scope="module")
def measured() -> tuple[Run, list[Record]]:
    """One that is wrong as the subject says, one that is correct though it says so, and three that fail to run."""
    records: list[Record] = []
    configs = (narrow("narrow"), narrow("right"), fake("right", 32), narrow("compile_error"), narrow("crashes"))
    with pytest.MonkeyPatch.context() as patch:
        take_few_samples(patch)
        asked = request(*configs, narrow("refused_by_driver"), jobs=1)
        return swept(asked, on_record=records.append, device=STEADY), records


def test_on_a_gpu_the_check_decides(measured: tuple[Run, list[Record]]) -> None:
    wrong, correct, other, *_ = measured[0].rows
    assert ("wrong", True) == (wrong.status, wrong.status_reason.endswith("; only 8 of 16 lanes"))
    assert not wrong.status_reason.startswith("by construction")
    assert wrong.check is not None
    assert [("ok", "", 1), ("ok", "", 2)] == [(row.status, row.status_reason, row.rank) for row in (correct, other)]
    assert correct.check is not None
    assert wrong.by_construction == correct.by_construction != other.by_construction == ""


def test_a_check_that_disagrees_is_reported(measured: tuple[Run, list[Record]]) -> None:
    [said] = [one for one in statements(measured[0]) if one.code == "by-construction-disagrees"]
    assert ("warning", [measured[0].rows[1].config_id]) == (said.status, said.figures["config_ids"])


def test_on_a_gpu_too_what_cannot_be_checked_is_wrong_by_construction(measured: tuple[Run, list[Record]]) -> None:
    beside = f"{BY_CONSTRUCTION}; here it also failed "
    assert [
        ("wrong", f"{beside}(compile-error: ValueError: no such layout)"),
        ("wrong", f"{beside}(launch-error: the worker was ended by SIGABRT: an illegal memory access)"),
        (
            "wrong",
            f"{beside}(out-of-resources: OutOfResources: shared memory, Required: 300000, Hardware limit: 232448)",
        ),
    ] == verdicts(measured[0])[3:]
    assert {None} == {row.rank for row in measured[0].rows[3:]}


def test_on_a_gpu_they_are_not_said_to_be_wrong_before_they_are_checked(measured: tuple[Run, list[Record]]) -> None:
    name = measured[0].rows[1].config_id
    rows = [record for record in measured[1] if isinstance(record, Row) and record.config_id == name]
    assert ["not reached", NOT_MEASURED_YET, ""] == [row.status_reason for row in rows]


def test_a_sweep_that_is_resumed_checks_those_that_it_had_not_come_to() -> None:
    """Though they were wrong by construction in the meantime."""

    def interrupt(event: Event) -> None:
        if event.phase == "measuring" and event.done >= 1:
            raise KeyboardInterrupt

    asked = request(fake("right"), narrow("right"), narrow("narrow"), narrow("compile_error"), jobs=1)
    whole = swept(asked, device=STEADY)
    records: list[Record] = []
    first = swept(asked, interrupt, records.append, device=STEADY)
    assert first.header.interrupted
    assert "wrong" == first.rows[2].status
    assert first.rows[2].check is None

    resumed = swept(asked, on_record=records.append, state=state_of(records), device=STEADY)

    assert verdicts(whole) == verdicts(resumed)
    assert [row.rank for row in whole.rows] == [row.rank for row in resumed.rows]
    assert [row.check for row in whole.rows] == [row.check for row in resumed.rows]


def test_a_gpu_that_cannot_be_prepared_leaves_them_wrong_until_one_can_be() -> None:
    records: list[Record] = []
    asked = request(fake("right"), narrow("right"), subject=FakeSubject(trouble="raise"))
    failed = swept(asked, on_record=records.append, device=STEADY)
    assert ["not-run", "wrong"] == [row.status for row in failed.rows]
    assert BY_CONSTRUCTION == failed.rows[1].status_reason

    resumed = swept(request(*asked.configs), state=state_of(records), device=STEADY)

    assert ["ok", "ok"] == [row.status for row in resumed.rows]


def test_without_a_gpu_what_failed_is_not_compiled_again() -> None:
    asked = request(narrow("compile_error"), narrow("right"), gpu=False)
    records: list[Record] = []
    whole = swept(asked, on_record=records.append)
    later: list[Record] = []
    assert whole == swept(asked, on_record=later.append, state=state_of(records))
    assert not [record for record in later if isinstance(record, Row)]
