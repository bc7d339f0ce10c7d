"""Counters from an exported report, and what `--counters`, `--metrics` and `--counters-from` may say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_ncu import SECTORS, export_of
from fake_runs import BASELINE, H100_GPU, SUBJECT, compiled_run, h100_run, id_of, run

from ssdprof.kernels.errors import UsageError
from ssdprof.profiling.runs.counters import Counted
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.profiling.sweep.added import counting
from ssdprof.profiling.sweep.added.counting import Wanted, wanted_counters, with_counters
from ssdprof.profiling.sweep.request import Event, SweepRequest

RUN = h100_run()
BASE = id_of(BASELINE)
REQUEST = SweepRequest(SUBJECT, "mamba", (), "sm_90", gpu=H100_GPU, seed=3)
NCU = Path("ncu")


class Heard:
    """What `with_counters` tells: events, records and warnings."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.records: list[Counted] = []
        self.warnings: list[str] = []

    def count(self, run: Run, wanted: Wanted, request: SweepRequest = REQUEST) -> Run:
        return with_counters(run, wanted, request, self.events.append, self.records.append, self.warnings.append)


def from_export(*rows: Row, metrics: Sequence[str] = (), **cells: str) -> Wanted:
    return Wanted(None, tuple(metrics), rows=export_of(*rows, **cells), source="the export a.csv")


def test_an_export_gives_counters_to_the_configs_that_look_like_its_launches_without_a_gpu() -> None:
    compiled = compiled_run()
    one = next(row for row in compiled.rows if row.config_id == BASE)
    heard = Heard()
    wanted = from_export(one, metrics=["launch__waves_per_multiprocessor"], **SECTORS)

    found = heard.count(compiled, wanted, replace(REQUEST, gpu=None))

    (row,) = (row for row in found.rows if row.counters)
    assert row.counters is not None
    assert (BASE, 320, "the export a.csv") == (row.config_id, row.counters.l2_to_sm_bytes, row.counters.source)
    assert ["launch__waves_per_multiprocessor"] == [name for name, _ in row.counters.metrics]
    assert [Counted(BASE, row.counters)] == heard.records
    assert [] == heard.warnings


def test_an_export_of_other_launches_is_told() -> None:
    heard = Heard()
    assert heard.count(RUN, from_export(*RUN.ranked[:1], launch__grid_size="7", **SECTORS)) == RUN
    assert [
        (
            "no counters: no launch in the export a.csv is of one of these configs: none has the function, registers, "
            "shared memory, block and grid that it has here"
        )
    ] == heard.warnings


def test_configs_whose_launches_look_the_same_are_named() -> None:
    first, second = RUN.ranked[:2]
    twins = run([first, replace(second, compiled=first.compiled)])
    heard = Heard()
    assert heard.count(twins, from_export(first, **SECTORS)) == twins
    assert [
        f"no counters of {first.config_id}, {second.config_id}: their launches look the same in the export a.csv"
    ] == heard.warnings


def test_an_export_without_counters_is_told() -> None:
    heard = Heard()
    counted = ("gpu__time_duration.sum", "sm__warps_active.avg.pct_of_peak_sustained_active")
    assert heard.count(RUN, from_export(*RUN.ranked[:1], **dict.fromkeys(counted, ""))) == RUN
    (warning,) = heard.warnings
    assert warning.startswith("no counters in the export a.csv: profile with ncu --set full")


# what is asked


def test_nothing_is_wanted_unless_it_is_asked_for() -> None:
    assert wanted_counters(None, (), None, pytest.fail) is None
    assert Wanted(3, ("sm__a.sum",), NCU) == wanted_counters(3, ["sm__a.sum"], NCU, pytest.fail)
    assert Wanted(None, (), NCU) == wanted_counters("all", (), NCU, pytest.fail)


def test_without_ncu_a_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "find_ncu", lambda: None)
    said: list[str] = []
    assert wanted_counters(3, (), None, said.append) is None
    assert [
        (
            "no counters: no ncu on PATH or in /usr/local/cuda/bin, /opt/nvidia/nsight-compute/*; install Nsight "
            "Compute, or give --ncu-path or --counters-from"
        )
    ] == said


@pytest.mark.parametrize("counters", [0, -1, "some", 2.5])
def test_only_a_number_of_configs_or_all_can_be_counted(counters: Any) -> None:
    with pytest.raises(UsageError, match=rf"^--counters takes all or how many .*, at least 1; got {counters}$"):
        wanted_counters(counters, (), NCU, pytest.fail)


def test_metrics_without_counters_are_an_error() -> None:
    with pytest.raises(UsageError, match=r"^--metrics says what else ncu counts: give --counters too, or "):
        wanted_counters(None, "sm__a.sum", None, pytest.fail)


def test_an_export_must_have_the_metrics_that_are_asked_for() -> None:
    path = Path(__file__).parents[4] / "golden" / "ncu_h100_raw_page.csv"
    with pytest.raises(UsageError, match=r"raw_page\.csv has no metric sm__a\.sum: profile with --metrics$"):
        wanted_counters(path, "launch__grid_size,sm__a.sum", None, pytest.fail)
    wanted = wanted_counters(path, "launch__grid_size", None, pytest.fail)
    assert wanted is not None
    assert (3, "the export ncu_h100_raw_page.csv") == (len(wanted.rows), wanted.source)


def test_a_file_that_is_no_export_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--counters-from .*none\.csv cannot be read: No such file"):
        wanted_counters(tmp_path / "none.csv", (), None, pytest.fail)
