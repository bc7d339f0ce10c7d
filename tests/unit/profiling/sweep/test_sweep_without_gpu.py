"""Sweeps without a GPU: everything is compiled, nothing measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from cpu_sweeps import SHARED_TOO_LARGE, Events, request, swept
from fake_kernel import fake, fake_id
from fake_timer import imports_paid_once

from ssdprof.kernels.ssd.params import chunk_scan_config
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.runs.model import RunHeader
from ssdprof.profiling.runs.state import Record
from ssdprof.profiling.sweep.request import Event
from ssdprof.profiling.sweep.sweep import sweep
from ssdprof.profiling.workers.pool import Pool


@pytest.fixture(scope="module", autouse=True)
def one_import() -> Iterator[None]:
    with imports_paid_once():
        yield


def test_without_a_gpu_everything_is_compiled_and_nothing_measured() -> None:
    events: Events = []
    configs = (fake("right"), fake("wrong_scaled"), fake("too_much_shared_mem"), fake("compile_error"), fake("nothing"))
    run = sweep(request(*configs, gpu=False, baseline=fake("right")), events.append, lambda _: None)
    assert [
        ("not-run", "compiled only, no GPU"),
        ("not-run", "compiled only, no GPU"),
        ("out-of-resources", SHARED_TOO_LARGE),
        ("compile-error", "ValueError: no such layout"),
        ("launch-error", "unknown variant nothing: one of right"),
    ] == [(row.status, row.status_reason.partition(", slow")[0]) for row in run.rows]
    assert (False, (), None) == (run.measured, run.ranked, run.header.device.name)
    assert fake_id("right") == run.header.baseline_id
    assert {"compiling"} == {event.phase for event in events}
    assert 4 == events[-1].done == events[-1].total


def test_what_the_pool_has_begun_is_compiled_once_and_has_its_row() -> None:
    events: Events = []
    asked = request(*(fake(rows=rows) for rows in range(1, 6)), gpu=False, jobs=2)
    plans = {fake_id(rows=rows): asked.subject.launch(fake(rows=rows)) for rows in (2, 3, 5)}
    with closing(Pool()) as pool:
        early = dict(pool.begin(plans, "sm_90", asked.timeout_s, jobs=2, enough=2, limit_s=asked.timeout_s))
        run = sweep(asked, events.append, lambda _: None, pool=pool)
        assert 2 == len(pool.compilers)
    assert 5 == events[-1].done == events[-1].total
    assert {"compiled only, no GPU"} == {row.status_reason for row in run.rows}
    assert early == {row.config_id: row.compiled for row in run.rows if row.config_id in early}


def test_a_config_given_twice_or_in_two_ways_is_run_once() -> None:
    asked = request(fake("right"), fake("right", LANES=None), fake("right"), gpu=False)
    run = sweep(asked, lambda _: None, lambda _: None)
    assert ["rows=16,LANES=16,num_warps=4,num_stages=2"] == [row.config_id for row in run.rows]


def test_a_baseline_outside_the_space_is_none() -> None:
    asked = request(fake("right"), gpu=False, baseline=fake("right", 32))
    assert sweep(asked, lambda _: None, lambda _: None).header.baseline_id is None


def test_a_baseline_that_the_kernel_does_not_take_is_none() -> None:
    """Who asks is told before, by `sweep_request`."""
    asked = request(fake("right"), fake("nothing"), gpu=False, baseline=fake("nothing"))
    assert sweep(asked, lambda _: None, lambda _: None).header.baseline_id is None


def test_no_configs_are_an_empty_run() -> None:
    records: list[Record] = []
    assert () == sweep(request(gpu=False), lambda _: None, records.append).rows
    assert [True, False] == [record.interrupted for record in records if isinstance(record, RunHeader)]


def test_the_chunk_scan_is_compiled_for_an_architecture_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")  # compiling workers must not see it
    small = ChunkScan(ChunkScanProblem(seqlen=64, nheads=2, ngroups=1, headdim=16, dstate=32, chunk_size=16))
    whole, cluster = chunk_scan_config(16, 16, 16, None, 1, 1), chunk_scan_config(16, 16, 16, 32, 1, 1, num_ctas=2)
    too_small = whole.with_values({"BLOCK_SIZE_DSTATE": 8})
    asked = request(whole, too_small, cluster, gpu=False, subject=small, arch="sm_80", seed=0)
    compiled, refused, failed = sweep(asked, lambda _: None, lambda _: None).rows
    assert compiled.compiled is not None
    assert (32, 8) == (compiled.config["BLOCK_SIZE_DSTATE"], compiled.compiled.grid_blocks)
    assert 0 < compiled.compiled.registers_per_thread <= 255
    assert ("launch-error", "compile-error") == (refused.status, failed.status)
    assert "block_dstate must be a power of two from 16 to 512, got 8: try 16" == refused.status_reason
    assert "num_ctas > 1 requires NVIDIA SM90+" in failed.status_reason


def test_ctrl_c_while_compiling_without_a_gpu_calls_compiled_what_was() -> None:
    def interrupt(event: Event) -> None:
        if event.compiled >= 1:
            raise KeyboardInterrupt

    run = swept(request(fake("right"), fake("hangs_compiler"), fake("right", 32), gpu=False, jobs=1), interrupt)
    assert run.header.interrupted
    assert ["compiled only, no GPU", "interrupted before it was compiled", "interrupted before it was compiled"] == [
        row.status_reason for row in run.rows
    ]
