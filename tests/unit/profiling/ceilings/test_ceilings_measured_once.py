"""Ceilings around a sweep: taken from before, measured once after all else, and no result is lost if that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pytest
from cpu_sweeps import request
from fake_ceilings import MEASURED
from fake_kernel import fake
from fake_runs import H100_GPU

from ssdprof.profiling import api
from ssdprof.profiling.hardware.ceilings import Ceilings, ceilings_of
from ssdprof.profiling.measuring.ceiling_probes import probes
from ssdprof.profiling.runs.ceilings import keep_ceilings, kept_ceilings, measured_on
from ssdprof.profiling.runs.measured import Prepared
from ssdprof.profiling.runs.model import RunHeader
from ssdprof.profiling.runs.state import Record, RunState
from ssdprof.profiling.sweep import records
from ssdprof.profiling.sweep.added import ceilings as module
from ssdprof.profiling.sweep.added.ceilings import add_ceilings, with_kept
from ssdprof.profiling.sweep.request import Phase, SweepRequest
from ssdprof.profiling.sweep.sweep import Sweep
from ssdprof.profiling.workers.pool import Pool
from ssdprof.profiling.workers.worker import Worker

PROBES = probes("sm_90")
GPU = replace(H100_GPU, uuid="GPU-0", visible="GPU-0")
PREPARED = Prepared(num_sms=132, l2_bytes=50 << 20, memory_bytes=80 << 30, copy_gbps=3000.0)
ON = measured_on(records.device_of(GPU), version("triton"))
assert ON is not None


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with closing(Pool(measurers=1, early=False)) as pool:
        pool.add_compilers(1)
        yield pool


@pytest.fixture(autouse=True)
def nothing_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "probes", lambda arch: {})


class Done:
    """A sweep of which all else is done."""

    def __init__(self, pool: Pool, asked: SweepRequest, device: str = "cuda:0") -> None:
        self.request, self.pool, self.device = asked, pool, device
        self.measurer: Worker | None = pool.measurers[0]
        self.state = RunState(records.with_prepared(records.run_header(asked), PREPARED))
        self.recorded: list[Record] = []
        self.phases: list[str] = []

    def record(self, record: Record) -> None:
        self.state.add(record)
        self.recorded.append(record)

    def tell(self, phase: Phase, done: int, total: int, name: str | None) -> None:
        self.phases.append(phase)


def done(pool: Pool, **changes: Any) -> Done:
    return Done(pool, replace(request(fake("right")), gpu=GPU), **changes)


def test_they_are_measured_kept_and_part_of_the_run(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEASURE", "fake_ceilings:measure")
    sweep = done(pool)
    add_ceilings(sweep)
    [header] = sweep.recorded
    assert isinstance(header, RunHeader)
    assert (MEASURED, 3000.0) == (header.device.ceilings, header.device.copy_gbps)
    assert (header, ["ceilings"]) == (sweep.state.header, sweep.phases)
    assert MEASURED == kept_ceilings(ON) == with_kept(records.device_of(GPU)).ceilings

    add_ceilings(sweep)
    assert [header] == sweep.recorded


def test_kernels_are_compiled_by_the_sweeps_compilers_and_what_does_not_compile_is_left_out(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue, exp = PROBES["issue"], PROBES["exp"]
    missing = replace(exp, plan=replace(exp.plan, function="logarithms"))
    probes_of = {"sm_90": {"issue": issue, "log": missing, "exp": exp}}
    monkeypatch.setattr(module, "MEASURE", "fake_ceilings:measure_two")
    monkeypatch.setattr(module, "probes", probes_of.__getitem__)
    sweep = done(pool)
    add_ceilings(sweep)
    assert MEASURED == sweep.state.header.device.ceilings


@pytest.mark.parametrize("function", ["cannot", "too_old"])
def test_a_gpu_on_which_they_cannot_be_measured_loses_nothing(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    monkeypatch.setattr(module, "MEASURE", f"fake_ceilings:{function}")
    sweep = done(pool)
    add_ceilings(sweep)
    assert ([], None, None) == (sweep.recorded, sweep.state.header.device.ceilings, kept_ceilings(ON))


def test_ctrl_c_meanwhile_leaves_the_run_complete(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "measured", interrupted)
    sweep = done(pool)
    add_ceilings(sweep)
    assert [] == sweep.recorded


def test_a_sweep_that_times_on_something_else_measures_none(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "measured", lambda *_: pytest.fail("measured"))
    without_gpu = done(pool)
    without_gpu.measurer = None
    for sweep in (done(pool, device="fake_timer:SteadyTimer"), without_gpu):
        add_ceilings(sweep)
        assert ([], []) == (sweep.recorded, sweep.phases)


def test_a_sweep_takes_those_that_were_kept_as_soon_as_its_gpu_is_ready() -> None:
    keep_ceilings(ON, MEASURED)
    sweep = Sweep(replace(request(fake("right")), gpu=GPU), lambda _: None, lambda _: None)
    with closing(sweep.pool):
        sweep._set_prepared(PREPARED)
    assert MEASURED == sweep.state.header.device.ceilings


class TestOnThisMachine:
    """What `ssdprof devices --ceilings` asks for."""

    def ask(self) -> tuple[Ceilings | None, list[str]]:
        said: list[str] = []
        [found] = api.ceilings([replace(GPU, name="NVIDIA H100 80GB HBM3")], said.append)
        return found, said

    def test_they_are_measured_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MEASURE", "fake_ceilings:measure_alone")
        assert (MEASURED, ["measuring the ceilings of NVIDIA H100 80GB HBM3, once …"]) == self.ask()
        assert (MEASURED, []) == self.ask()

    def test_if_it_fails_a_line_says_why_and_the_table_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MEASURE", "fake_ceilings:cannot")
        found, said = self.ask()
        assert ceilings_of("sm_90", "H100") == found
        assert "could not be measured: RuntimeError: CUDA error: out of memory" in said[-1]
