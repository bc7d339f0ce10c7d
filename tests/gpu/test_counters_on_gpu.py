"""ncu on this machine's GPU: what it counts of the chunk scan and of another kernel, and how it refuses a metric."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_kernel import fake

import ssdprof
from ssdprof.kernels.interface import Subject
from ssdprof.profiling.gpu.devices import gpus
from ssdprof.profiling.ncu import counters as ncu_counters
from ssdprof.profiling.ncu import program
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.sweep.added.counting import Wanted, wanted_counters, with_counters
from ssdprof.profiling.sweep.request import SweepRequest
from ssdprof.profiling.sweep.sweep import sweep

NCU = program.find_ncu()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(NCU is None, reason="there is no ncu here")]
SEQLEN = 12_000
CONFIGS = ("m64n64k32d128w2s4", "m128n64k32d128w4s4", "m32n32k32d128w4s3")
INSTRUCTIONS = "sm__inst_executed.sum"


@pytest.fixture(scope="module")
def subject() -> Subject:
    return ssdprof.subject("chunk-scan", preset="nemotron-3-nano", seqlen=SEQLEN)


@pytest.fixture(scope="module")
def warnings() -> list[str]:
    return []


@pytest.fixture(scope="module")
def counted(subject: Subject, warnings: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """Three configs and what ncu counted of each; and the page that it printed, as an export."""
    folder = tmp_path_factory.mktemp("counters")
    (folder / "three.yaml").write_text(f"[{', '.join(CONFIGS)}]")
    export, read = folder / "export.csv", program.read_raw

    def kept(text: str, source: str) -> tuple[program.NcuRow, ...]:
        export.write_text(text)
        return read(text, source)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "read_raw", kept)
        run = ssdprof.sweep(
            subject, space=str(folder / "three.yaml"), budget_s=0.5, counters="all", metrics=[INSTRUCTIONS],
            out=folder / "run.jsonl", warn=warnings.append,
        )  # fmt: skip
    return run, export


def test_each_config_moves_what_it_must_and_no_unit_is_busier_than_it_can_be(
    subject: Subject, counted: tuple[Run, Path], warnings: list[str]
) -> None:
    rows = {row.config_id: row for row in counted[0].ranked}
    assert (set(CONFIGS), []) == (set(rows), warnings)
    reads = sum(meta.size_bytes for meta in subject.tensors().values() if not meta.is_written)
    for row in rows.values():
        of = row.counters
        assert of is not None
        assert of.dram_bytes is not None
        assert of.l2_to_sm_bytes is not None
        assert of.ncu_duration_ms is not None
        assert row.timing is not None
        assert 0.98 * reads <= of.dram_bytes <= of.l2_to_sm_bytes
        assert 0.5 <= of.ncu_duration_ms / row.timing.latency_ms <= 2
        busy = (of.dram_pct, of.l2_pct, of.l1tex_pct, of.tensor_pipe_pct, of.issue_active_pct)
        shares = (*busy, of.l1_hit_pct, of.l2_hit_pct, of.top_stall_pct)
        assert all(share is not None and 0 <= share <= 100 for share in shares)
        assert of.top_stall
        assert row.occupancy is not None
        assert of.achieved_occupancy_pct == pytest.approx(row.occupancy.theoretical_occupancy_pct, rel=0.2)
        assert [INSTRUCTIONS] == [name for name, number in of.metrics if number > 1e6]


def test_the_export_of_the_same_launches_gives_the_same_counters(subject: Subject, counted: tuple[Run, Path]) -> None:
    run, export = counted
    wanted = wanted_counters(export, INSTRUCTIONS, None, pytest.fail)
    assert wanted is not None
    bare = replace(run, rows=tuple(replace(row, counters=None) for row in run.rows))
    request = SweepRequest(subject, "three", (), run.header.device.arch)
    again = with_counters(bare, wanted, request, pytest.fail, lambda _: None, pytest.fail)
    for before, after in zip(run.rows, again.rows, strict=True):
        assert before.counters is not None
        assert replace(before.counters, source="the export export.csv") == after.counters


def test_the_run_is_kept_with_its_counters_and_explain_shows_them(
    counted: tuple[Run, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, export = counted

    def nothing(*_: object, **__: object) -> None:
        raise AssertionError("it was counted again")

    monkeypatch.setattr(ncu_counters, "profile", nothing)
    found = ssdprof.explain("best", run=export.with_name("run.jsonl"), counters=1)
    assert run.ranked[0].counters == found.row.counters


def test_a_config_that_no_run_has_is_checked_and_counted(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    found = ssdprof.explain("m64n32k32d128w2s5", subject, run=None, counters=1, warn=warnings.append)
    assert [] == warnings
    assert found.row.counters is not None
    assert found.row.counters.dram_bytes


def test_an_unknown_metric_is_told(subject: Subject, counted: tuple[Run, Path]) -> None:
    warnings: list[str] = []
    run = counted[0]
    gpu = gpus()[0]
    request = SweepRequest(subject, "three", (), gpu.arch, gpu=gpu)
    wanted = Wanted(1, ("sm__no_such_metric.sum",), NCU)
    found = with_counters(run, wanted, request, lambda _: None, lambda _: None, warnings.append)
    assert [row.config_id for row in run.rows] == [row.config_id for row in found.rows]
    (warning,) = warnings
    assert "sm__no_such_metric.sum" in warning


def test_a_kernel_that_reads_what_it_writes_is_counted_and_a_wrong_config_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import accumulate as planted

    subject, gpu = planted.Accumulate(rows=10_000, columns=192), gpus()[0]
    configs = (fake("adds", 4, LANES=64), fake("adds", 16, LANES=128), fake(planted.FORGETS, 4, LANES=64))
    request = SweepRequest(
        subject=subject, space="all", configs=configs, arch=gpu.arch, gpu=gpu, baseline=configs[0], jobs=4, budget_s=0.2
    )
    warnings: list[str] = []
    run = sweep(request, lambda _: None, lambda _: None)

    found = with_counters(run, Wanted(None, (), NCU), request, lambda _: None, lambda _: None, warnings.append)

    by_config = {row.config: row.counters for row in found.rows}
    assert ([], None) == (warnings, by_config[configs[2]])
    moved = [counters.l2_to_sm_bytes for config in configs[:2] if (counters := by_config[config])]
    assert 2 == len(moved)
    assert all(bytes_moved is not None and bytes_moved >= 10_000 * 192 * 4 * 4 for bytes_moved in moved)
