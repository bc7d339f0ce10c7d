"""Run files: what is written comes back, a broken file is one line, and rows are found by what users call them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssdprof.profiling import store
from ssdprof.profiling.model import Check, Device, Row, Run
from ssdprof.profiling.store import (
    RunError,
    dump_run,
    find_row,
    latest_run,
    load_run,
    new_run_path,
    parse_run,
    save_run,
)

from .fake_runs import BASELINE, COMPILE_HEADER, HEADER, TOO_LARGE, compiled_run, config, h100_run, id_of, row, run

BEST_ID = id_of(BASELINE)


def no_recorded_runs(monkeypatch: pytest.MonkeyPatch, *recorded: Run) -> None:
    monkeypatch.setattr(store, "recorded_runs", lambda: iter(recorded))


def same(one: Any, other: Any) -> bool:
    """Equal, with NaN equal to itself."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize("make", [h100_run, compiled_run])
def test_a_run_comes_back_as_it_was(make: Callable[[], Run], tmp_path: Path) -> None:
    save_run(make(), tmp_path / "new folder" / "run.json")
    assert make() == load_run(tmp_path / "new folder" / "run.json")


def test_values_that_are_no_numbers_come_back_and_the_file_is_strict_json() -> None:
    bad = replace(h100_run().rows[1], check=Check(math.nan, math.inf, 3, 4, False, 4))
    low = replace(h100_run().rows[2], speedup_vs_baseline=-math.inf, compiled=None, occupancy=None, timing=None)
    text = dump_run(Run(HEADER, (bad, low)))
    assert same(asdict(Run(HEADER, (bad, low))), asdict(parse_run(text)))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert 1 == json.loads(text, parse_constant=refuse)["format"]


@settings(max_examples=50, deadline=None)
@given(
    st.floats(),
    st.floats(),
    st.integers(min_value=0),
    st.booleans(),
    st.text(),
    st.none() | st.floats(),
)
def test_any_check_and_text_come_back(
    relative: float, worst: float, bad_rows: int, repeatable: bool, text: str, copy_gbps: float | None
) -> None:
    found = replace(
        TOO_LARGE, status_reason=f"why: {text}", check=Check(relative, worst, bad_rows, bad_rows, repeatable, 4)
    )
    header = replace(HEADER, command=text, device=replace(HEADER.device, copy_gbps=copy_gbps, limits_differ=(text,)))
    kept = Run(header, (found,))
    assert same(asdict(kept), asdict(parse_run(dump_run(kept))))


def test_a_run_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    save_run(h100_run(), path)
    before = path.read_bytes()

    def half(self: Path, text: str, encoding: str) -> None:
        with self.open("w", encoding=encoding) as file:
            file.write(text[: len(text) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="No space left"):
        save_run(compiled_run(), path)
    assert before == path.read_bytes()
    assert ["run.json"] == os.listdir(tmp_path)


def test_a_run_that_cannot_be_written_as_json_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        save_run(Run(replace(HEADER, problem={"seqlen": object()}), ()), tmp_path / "run.json")
    assert [] == os.listdir(tmp_path)


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        save_run(h100_run(), tmp_path / "file" / "runs" / "run.json")


def changed(change: Callable[[dict[str, Any]], Any]) -> str:
    content = json.loads(dump_run(h100_run()))
    change(content)
    return json.dumps(content)


BROKEN = {
    "empty": "",
    "no JSON": "latency,config\n1.0,a\n",
    "cut off": dump_run(h100_run())[:1000],
    "a list": "[]",
    "null": "null",
    "a number": "3",
    "nested without end": "[" * 100_000,
    "another program's": '{"name": "x", "version": 2}',
    "no format": changed(lambda content: content.pop("format")),
    "a newer format": changed(lambda content: content.update(format=2)),
    "no header": changed(lambda content: content.pop("header")),
    "a header that is a text": changed(lambda content: content.update(header="x")),
    "a header without a device": changed(lambda content: content["header"].pop("device")),
    "a header with more than is known": changed(lambda content: content["header"].update(colour="red")),
    "a header that lacks its kernel": changed(lambda content: content["header"].pop("kernel")),
    "rows that are a number": changed(lambda content: content.update(rows=3)),
    "a row that is null": changed(lambda content: content.update(rows=[None])),
    "a row without a config": changed(lambda content: content["rows"][0].pop("config")),
    "a config that is a text": changed(lambda content: content["rows"][0].update(config="m64")),
    "a timing with a field less": changed(lambda content: content["rows"][-1]["timing"].pop("samples")),
    "limiters that are a number": changed(lambda content: content["rows"][-1]["occupancy"].update(limiters=3)),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_is_no_run_is_an_error_of_one_line_that_names_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(BROKEN[kind])
    with pytest.raises(RunError) as raised:
        load_run(path)
    message = str(raised.value)
    assert message.startswith(f"{path} is not a run file of format 1: ")
    assert 1 == len(message.splitlines())


def test_a_newer_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(BROKEN["a newer format"])
    with pytest.raises(RunError, match=r"not a run file of format 1: ValueError: format 2$"):
        load_run(path)


def test_bytes_that_are_no_text_and_a_folder_are_errors_of_one_line(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(b"\xff\xfe\x00")
    for broken in (path, tmp_path):
        with pytest.raises(RunError) as raised:
            load_run(broken)
        assert 1 == len(str(raised.value).splitlines())


def test_a_missing_file_says_where_runs_come_from(tmp_path: Path) -> None:
    with pytest.raises(RunError) as raised:
        load_run(tmp_path / "none.json")
    assert f"no run file {tmp_path / 'none.json'}: `ssdprof sweep` keeps one, or give another with --run" == str(
        raised.value
    )


def test_the_latest_run_is_the_one_begun_last_whenever_it_was_written(data_home: Path) -> None:
    begun = {
        "z": "2026-11-23T09:00:00.500+00:00",
        "a": "2026-11-23T10:00:00.000+00:00",
        "b": "2026-11-23T09:00:00.600+00:00",
    }
    runs = [replace(h100_run(), header=replace(HEADER, date=date, space=space)) for space, date in begun.items()]
    for one in reversed(runs):
        save_run(one, new_run_path(one))
    assert runs[1] == latest_run()
    assert 3 == len(list((data_home / "ssdprof" / "runs").glob("*.json")))


def test_a_partial_file_is_not_the_latest_run() -> None:
    save_run(h100_run(), new_run_path(h100_run()))
    (store.runs_dir() / f".9999.json.{os.getpid()}.partial").write_text("{")
    assert h100_run() == latest_run()


@pytest.mark.parametrize("made", [False, True])
def test_no_kept_run_says_how_to_get_one(made: bool) -> None:
    if made:
        store.runs_dir().mkdir(parents=True)
    with pytest.raises(RunError, match="no run has been kept yet: run `ssdprof sweep` first, or give --run recorded"):
        latest_run()


def test_a_new_path_names_space_and_architecture_even_if_the_space_is_a_file() -> None:
    path = new_run_path(replace(h100_run(), header=replace(HEADER, space="/home/me/my.tiles.yaml")))
    assert store.runs_dir() == path.parent
    assert f"20261123T0900000000-my.tiles-sm_90-{os.getpid()}.json" == path.name


def test_recorded_runs_that_ship_are_measured_ones() -> None:
    for recorded in store.recorded_runs():
        assert recorded.measured
        assert recorded.ranked


def test_the_recorded_run_is_of_the_same_kernel_problem_and_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {
        "kernel": replace(HEADER, kernel="other"),
        "source": replace(HEADER, kernel_hash="0" * 16),
        "problem": replace(HEADER, problem={**HEADER.problem, "seqlen": 2048}),
        "architecture": replace(HEADER, device=Device(arch="sm_80", name="NVIDIA A100")),
    }
    no_recorded_runs(monkeypatch, *(replace(h100_run(), header=header) for header in others.values()))
    assert store.recorded_for(compiled_run()) is None
    no_recorded_runs(monkeypatch, *(replace(h100_run(), header=header) for header in others.values()), h100_run())
    found = store.recorded_for(compiled_run())
    assert found is not None
    assert HEADER == found.header


def test_the_recorded_run_with_most_of_the_configs_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = h100_run().rows
    few = Run(replace(HEADER, space="few"), rows[:4])
    most = Run(replace(HEADER, space="most"), rows[:9])
    other = [row(config(16, 16, 16, 16, 1, stages), 40, latency_ms=1.0) for stages in range(1, 20)]
    foreign = run(other, replace(HEADER, space="foreign"))
    no_recorded_runs(monkeypatch, few, most, foreign)
    found = store.recorded_for(compiled_run())
    assert found is not None
    assert ("most", 9) == (found.header.space, len(found.rows))
    no_recorded_runs(monkeypatch, foreign)
    assert store.recorded_for(compiled_run()) is None


def test_recorded_rows_of_other_configs_are_left_out_and_the_rest_is_ranked_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded = h100_run()
    no_recorded_runs(monkeypatch, recorded)
    wanted = recorded.ranked[1:3]
    asked = run([replace(one, status="not-run", timing=None) for one in wanted], COMPILE_HEADER)
    found = store.recorded_for(asked)
    assert found is not None
    assert [one.config_id for one in wanted] == [one.config_id for one in found.ranked]
    assert [1, 2] == [one.rank for one in found.ranked]
    assert [None, None] == [one.speedup_vs_baseline for one in found.ranked]


def test_speed_ups_of_recorded_rows_are_over_the_asked_runs_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    no_recorded_runs(monkeypatch, h100_run())
    slowest = h100_run().ranked[-1].config_id
    asked = replace(compiled_run(), header=replace(COMPILE_HEADER, baseline_id=slowest))
    found = store.recorded_for(asked)
    assert found is not None
    assert 1.0 == found.ranked[-1].speedup_vs_baseline


def test_rows_are_found_by_rank_best_and_baseline() -> None:
    measured = h100_run()
    assert (
        measured.ranked[0] == find_row(measured, "#1") == find_row(measured, "best") == find_row(measured, "baseline")
    )
    assert measured.ranked[2] == find_row(measured, "#3")
    assert measured.ranked[2] == find_row(measured, "#03")


def test_ranks_of_a_run_without_gpu_are_those_of_the_recorded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    no_recorded_runs(monkeypatch, h100_run())
    found = find_row(compiled_run(), "#2")
    assert h100_run().ranked[1].config_id == found.config_id
    assert "not-run" == found.status
    assert BEST_ID == find_row(compiled_run(), "best").config_id


def test_a_baseline_is_found_without_any_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    no_recorded_runs(monkeypatch)
    assert BEST_ID == find_row(compiled_run(), "baseline").config_id


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("#0", "#0: the run has ranks #1 to #5"),
        ("#6", "#6: the run has ranks #1 to #5"),
        ("#999999999", "#999999999: the run has ranks #1 to #5"),
        ("#1234567890", "'#1234567890' names no row of a run: give #N (its rank), best or baseline"),
        ("#", "'#' names no row of a run: give #N (its rank), best or baseline"),
        ("#-1", "'#-1' names no row of a run: give #N (its rank), best or baseline"),
        ("#³", "'#³' names no row of a run: give #N (its rank), best or baseline"),
        ("3", "'3' names no row of a run: give #N (its rank), best or baseline"),
        ("worst", "'worst' names no row of a run: give #N (its rank), best or baseline"),
    ],
)
def test_a_reference_to_no_row_says_what_there_is(reference: str, message: str) -> None:
    with pytest.raises(RunError) as raised:
        find_row(h100_run(), reference)
    assert message == str(raised.value)


def test_a_run_without_baseline_says_how_to_name_one() -> None:
    with pytest.raises(RunError, match="this run has no baseline: name one with `ssdprof sweep --baseline CONFIG`"):
        find_row(replace(h100_run(), header=replace(HEADER, baseline_id=None)), "baseline")


def test_a_baseline_that_is_no_row_is_an_error() -> None:
    with pytest.raises(RunError, match="baseline: m1n1 is not among the run's configs"):
        find_row(replace(h100_run(), header=replace(HEADER, baseline_id="m1n1")), "baseline")


@pytest.mark.parametrize("reference", ["best", "#1"])
def test_a_run_without_a_right_row_has_no_ranks(monkeypatch: pytest.MonkeyPatch, reference: str) -> None:
    no_recorded_runs(monkeypatch)
    message = f"{reference}: the run has no ranked config (nothing right was measured): name a config by its id"
    for without in (compiled_run(), run([TOO_LARGE])):
        with pytest.raises(RunError) as raised:
            find_row(without, reference)
        assert message == str(raised.value)


def test_the_made_up_best_row_has_every_part_but_the_drivers_answer() -> None:
    """So that the round trip above is one of every part of a row, and stays one."""
    full = next(one for one in h100_run().rows if one.rank == 1)
    assert isinstance(full, Row)
    assert {"driver_blocks_per_sm"} == {name for name, value in asdict(full).items() if value is None}
