"""What the binaries of a sweep move, computed at its end by the workers that compile, kept, and not computed again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import pytest
from cpu_sweeps import request, swept
from fake_kernel import FakeSubject, fake, fake_id
from fake_models import MODEL, TRAFFIC
from fake_runs import H100
from fake_timer import imports_paid_once
from run_records import state_of

from ssdprof.kernels.config import Config
from ssdprof.kernels.interface import Gridded
from ssdprof.profiling.runs.model import Device, Row, RunHeader
from ssdprof.profiling.runs.modelled import Modelled
from ssdprof.profiling.runs.state import Record
from ssdprof.profiling.sweep.added import modelling as module
from ssdprof.profiling.sweep.added.modelling import model_of, size_for
from ssdprof.profiling.sweep.request import Event
from ssdprof.profiling.workers.pool import Pool

IDS = [fake_id(), fake_id(rows=32), fake_id("narrow")]
FEW = (fake(), fake(rows=32), fake("narrow"))


@pytest.fixture(scope="module", autouse=True)
def one_import() -> Iterator[None]:
    with imports_paid_once():
        yield


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MODEL", "fake_models:launch_model")
    monkeypatch.setattr(module, "MODELS", "fake_models:launch_models")


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with closing(Pool()) as pool:
        yield pool


class Gridlike(FakeSubject):
    """Says what the programs of its grid are."""

    def grid_axes(self, config: Config) -> Sequence[tuple[str, int]]:
        return ("row", config.number("ROWS")), ("half", 2)


def modelled(records: Sequence[Record]) -> list[str]:
    return sorted(one.config_id for one in records if isinstance(one, Modelled))


def test_every_config_that_compiles_has_its_model_and_one_that_cannot_be_followed_the_reason() -> None:
    records: list[Record] = []
    events: list[Event] = []
    asked = request(*FEW, fake("compile_error"), gpu=False, models=True)
    run = swept(asked, events.append, records.append)
    right, wide, narrow, broken = run.rows
    assert right.model is not None
    assert wide.model is not None
    assert ("H100 SXM of sm_90", 32, 64) == (
        right.model.gpu,
        *(one.model.traffic.programs for one in (right, wide) if one.model and one.model.traffic),
    )
    assert (("axis x of the grid", 16), ("axis y of the grid", 2)) == right.model.axes
    assert narrow.model is not None
    assert (None, "RuntimeError: no TTIR") == (narrow.model.traffic, narrow.model.absent)
    assert broken.model is None
    assert all(row.floor_ms and row.bound is None for row in (right, wide, narrow))
    assert sorted(IDS) == modelled(records)
    assert [0, 1, 2, 3] == [event.done for event in events if event.phase == "modelling"]


def test_a_sweep_that_is_interrupted_meanwhile_keeps_what_it_has_and_computes_the_rest_when_resumed() -> None:
    kept: list[Record] = []

    def keep(record: Record) -> None:
        kept.append(record)
        if isinstance(record, Modelled):
            raise KeyboardInterrupt

    asked = request(*FEW, gpu=False, models=True, jobs=1)
    run = swept(asked, on_record=keep)
    assert run.header.interrupted
    [first] = modelled(kept)
    assert [first] == [row.config_id for row in run.rows if row.model]
    assert all(row.compiled for row in run.rows)

    more: list[Record] = []
    header, *others = kept
    assert isinstance(header, RunHeader)
    resumed = swept(asked, on_record=more.append, state=state_of((header, *others)))
    assert not resumed.header.interrupted
    assert sorted(set(IDS) - {first}) == modelled(more)
    assert all(row.model for row in resumed.rows)


def test_a_sweep_that_asks_for_no_models_has_none() -> None:
    run = swept(request(fake(), gpu=False))
    assert [None] == [row.model for row in run.rows]


def test_what_takes_too_long_is_left_out(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.5)
    row = replace(swept_row(), config=fake("nan"))
    found = model_of(FakeSubject(), row, "sm_90", H100, pool)
    assert found is not None
    assert (H100.name, None, None) == (found.gpu, found.traffic, found.executed)
    assert "no result after" in found.absent


def test_one_that_takes_too_long_costs_those_that_were_modelled_with_it_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.5)
    run = swept(request(fake("nan_rows"), *FEW, gpu=False, models=True, jobs=1))
    models = {row.config_id: row.model for row in run.rows}
    late, right, wide, narrow = (models[one] for one in (fake_id("nan_rows"), *IDS))
    assert late is not None
    assert "no result after" in late.absent
    assert all(one is not None and one.traffic is not None for one in (right, wide))
    assert narrow is not None
    assert "RuntimeError: no TTIR" == narrow.absent


def test_configs_that_differ_only_in_launch_options_are_modelled_together() -> None:
    configs = [fake(rows=rows, num_warps=warps) for warps in (1, 2, 4) for rows in (16, 32)]
    rows = [Row(config, str(config), "not-run") for config in configs]
    plans = {row.config_id: FakeSubject().launch(row.config) for row in rows}

    def parts(count: int) -> list[list[int]]:
        return [[configs.index(row.config) for row in part] for part in module.together(rows, plans, count)]

    assert [[0, 2, 4, 1, 3, 5]] == parts(1)
    assert [[0, 2, 4], [1, 3, 5]] == parts(2)
    assert [[0, 2], [4, 5], [1, 3]] == parts(3)
    assert [[0], [2], [4], [1], [3], [5]] == parts(6) == parts(8)


def swept_row() -> Row:
    return Row(fake(), fake_id(), "not-run")


def test_a_subject_names_the_axes_of_its_grid(pool: Pool) -> None:
    assert not isinstance(FakeSubject(), Gridded)
    found = model_of(Gridlike(), swept_row(), "sm_90", H100, pool)
    assert found is not None
    assert (("row", 16), ("half", 2)) == found.axes
    assert (replace(TRAFFIC, programs=32), "half") == (found.traffic, found.axis_of(16))
    assert found.gpu == f"{H100.name} of sm_90"
    assert MODEL.axes != found.axes


def test_a_gpu_whose_size_is_not_known_has_no_models(pool: Pool) -> None:
    assert model_of(FakeSubject(), swept_row(), "sm_75", Device("sm_75"), pool) is None
    run = swept(request(fake(), gpu=False, models=True, arch="sm_75"))
    assert [None] == [row.model for row in run.rows]


def test_the_size_is_that_of_the_runs_gpu_or_of_the_one_that_stands_for_its_architecture() -> None:
    here, there, unknown = size_for(H100), size_for(Device("sm_90")), size_for(Device("sm_89", "NVIDIA L4"))
    assert here is not None
    assert there is not None
    assert ("NVIDIA H100 80GB HBM3", 132, 52_428_800) == (here.gpu, here.num_sms, here.l2_bytes)
    assert ("H100 SXM", 132, 50 << 20) == (there.gpu, there.num_sms, there.l2_bytes)
    assert unknown is None
