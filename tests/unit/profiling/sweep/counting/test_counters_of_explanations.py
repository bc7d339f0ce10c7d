"""The counters of a config that is explained: known ones, newly counted ones, those of an export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_ncu import SECTORS, CountingNcu, export_of
from fake_runs import BASELINE, H100_GPU, SUBJECT, explanation, h100_run, id_of, run

from ssdprof.profiling.ncu import program
from ssdprof.profiling.runs.counters import Counters
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.profiling.sweep import sweep as sweep_module
from ssdprof.profiling.sweep.added.counting import Wanted, explained_with_counters
from ssdprof.profiling.sweep.request import SweepRequest

RUN = h100_run()
BASE = id_of(BASELINE)
REQUEST = SweepRequest(SUBJECT, "mamba", (), "sm_90", gpu=H100_GPU, seed=3)
NCU = Path("ncu")


@pytest.fixture
def ncu(monkeypatch: pytest.MonkeyPatch) -> CountingNcu:
    fake = CountingNcu()
    monkeypatch.setattr(program, "run_program", fake)
    return fake


def from_export(*rows: Row, metrics: Sequence[str] = (), **cells: str) -> Wanted:
    return Wanted(None, tuple(metrics), rows=export_of(*rows, **cells), source="the export a.csv")


def explained(
    wanted: Wanted | None, gpu: Any = H100_GPU, source: Run | None = None, **known: Any
) -> tuple[Any, list[str]]:
    """The counters of an explanation, and what was warned of. `known`: changes of what is recorded of its config."""
    warnings: list[str] = []
    made = explanation()
    assert made.row.recorded is not None
    made = replace(made, row=replace(made.row, recorded=replace(made.row.recorded, **known)), source=source)
    request = replace(REQUEST, gpu=None, configs=(made.row.config,))
    found = explained_with_counters(made, wanted, request, gpu, lambda _: None, warnings.append)
    return found.row.counters, warnings


def test_a_config_that_is_known_to_be_correct_is_counted(ncu: CountingNcu) -> None:
    counters, warnings = explained(Wanted(5, (), NCU))
    assert [(BASE,)] == ncu.launched
    assert ("ncu 2025.3.1", []) == (counters.source, warnings)


def test_the_counters_of_the_run_are_shown_and_not_counted_again(ncu: CountingNcu) -> None:
    before = Counters("ncu 2024.1.0", dram_bytes=1)
    rows = tuple(replace(row, counters=before if row.config_id == BASE else None) for row in RUN.rows)
    source = replace(RUN, rows=rows)
    assert (before, []) == explained(None, source=source)
    assert (before, []) == explained(Wanted(5, (), NCU), source=source)
    assert [] == ncu.launched
    assert (None, []) == explained(None, source=source, same_binary=False)


def test_without_a_gpu_of_the_architecture_nothing_is_counted(ncu: CountingNcu) -> None:
    another = replace(H100_GPU, arch="sm_80")
    assert (None, ["no counters: there is no GPU here; --counters-from FILE takes an export of another machine"]) == (
        explained(Wanted(5, (), NCU), gpu=None)
    )
    _, warnings = explained(Wanted(5, (), NCU), gpu=another)
    assert warnings[0].startswith("no counters: the GPU here is of sm_80, not sm_90; ")
    assert [] == ncu.launched


@pytest.mark.parametrize("status", ["ok", "wrong"])
def test_a_config_that_is_not_known_to_be_correct_is_checked_first(
    ncu: CountingNcu, monkeypatch: pytest.MonkeyPatch, status: Any
) -> None:
    asked: list[SweepRequest] = []

    def sweep(request: SweepRequest, *_: Any) -> Run:
        asked.append(request)
        row = next(row for row in RUN.rows if row.config_id == BASE)
        return run([replace(row, status=status, status_reason="" if status == "ok" else "it is off")])

    monkeypatch.setattr(sweep_module, "sweep", sweep)
    counters, warnings = explained(Wanted(5, (), NCU), same_binary=False)
    assert [(H100_GPU, (BASELINE,), 0.0)] == [(one.gpu, one.configs, one.budget_s) for one in asked]
    if status == "ok":
        assert ("ncu 2025.3.1", []) == (counters.source, warnings)
    else:
        assert (None, [f"no counters: {BASE} is wrong here, it is off"]) == (counters, warnings)
        assert [] == ncu.launched


def test_an_explanation_takes_its_configs_counters_from_an_export() -> None:
    row = explanation().row
    counters, warnings = explained(from_export(row, **SECTORS))
    assert (320, []) == (counters.l2_to_sm_bytes, warnings)
    counters, warnings = explained(from_export(*explanation().neighbours[0].rows[:1], **SECTORS))
    assert counters is None
    assert warnings[0].startswith(f"no counters: no launch in the export a.csv is of {BASE}: none has the function")
