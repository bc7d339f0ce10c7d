"""Which run a sweep resumes: the one of the same that was cut off, and no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import HEADER, TOO_LARGE, h100_run
from run_records import save

from ssdprof.profiling.runs import store
from ssdprof.profiling.runs.measured import Conditions
from ssdprof.profiling.runs.model import Run, RunHeader
from ssdprof.profiling.runs.run_file import RunFile, dump_records
from ssdprof.profiling.runs.store import RunError, differences, new_run_path, resumable

CUT_OFF = replace(HEADER, interrupted=True)


def test_a_run_that_was_cut_off_is_gone_on_with_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(dump_records([CUT_OFF, TOO_LARGE, h100_run().rows[1]]) + '{"kind": "ro')
    found = resumable(replace(HEADER, date="later", command="ssdprof sweep --resume"), path)
    assert found is not None
    where, state = found
    assert (path, CUT_OFF) == (where, state.header)
    assert [one.config_id for one in h100_run().rows[:2]] == list(state.rows)


@pytest.mark.parametrize("text", [None, "", dump_records([HEADER])[:100]])
def test_there_is_nothing_to_go_on_with_where_the_file_holds_no_run(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "mine.jsonl").write_text(text)
    assert resumable(HEADER, tmp_path / "mine.jsonl") is None


def test_a_file_of_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("notes of mine")
    with pytest.raises(RunError, match="is not a run file: it does not begin with a header of format 3"):
        resumable(HEADER, path)
    with pytest.raises(RunError, match="cannot be read: Is a directory"):
        resumable(HEADER, tmp_path)


def test_a_run_of_something_else_is_not_gone_on_with_and_the_message_says_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(dump_records([CUT_OFF]))
    with pytest.raises(RunError) as raised:
        resumable(replace(HEADER, seed=1, problem={**HEADER.problem, "seqlen": 2048}), path)
    assert (
        f"{path} cannot be resumed: problem seqlen 50000 there, 2048 here; seed 0 there, 1 here; a run is resumed "
        "only with the same kernel, problem, space, seed, baseline, GPU, driver and versions: leave --resume out, or "
        "name another file with -o"
    ) == str(raised.value)


def test_a_run_that_another_process_writes_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    file = RunFile(path)
    file.write(CUT_OFF)
    with pytest.raises(RunError, match=r"mine\.jsonl is being written by another ssdprof: wait until it is done"):
        resumable(HEADER, path)
    file.close()
    assert resumable(HEADER, path)


def test_without_a_file_the_last_kept_run_of_the_same_is_gone_on_with() -> None:
    assert resumable(HEADER, None) is None
    dates = {"09:00": 0, "10:00": 0, "11:00": 1}
    for time, seed in dates.items():
        header = replace(CUT_OFF, date=f"2026-11-23T{time}:00.000+00:00", seed=seed)
        save(Run(header, h100_run().rows), new_run_path(header))
    (store.runs_dir() / "8888.jsonl").write_text("{}\n")
    (store.runs_dir() / "9999.jsonl").write_text("")
    found = resumable(replace(HEADER, date="later"), None)
    assert found is not None
    path, state = found
    assert "2026-11-23T10:00:00.000+00:00" == state.header.date
    assert new_run_path(state.header) == path
    assert 16 == len(state.rows)
    assert resumable(replace(HEADER, seed=2), None) is None


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (replace(HEADER, kernel="other"), "kernel chunk_scan there, other here"),
        (
            replace(HEADER, kernel_hashes={"tile": "f" * 16}),
            f"kernel source tile 0123456789abcdef, split 0123456789abcdef there, tile {'f' * 16} here",
        ),
        (replace(HEADER, problem={**HEADER.problem, "z": True}), "problem z False there, True here"),
        (replace(HEADER, problem={**HEADER.problem, "new": 1}), "problem new none there, 1 here"),
        (replace(HEADER, space="wide"), "space mamba there, wide here"),
        (replace(HEADER, seed=1), "seed 0 there, 1 here"),
        (replace(HEADER, baseline_id=None), "baseline m64n64k32d128w2s4 there, none here"),
        (replace(HEADER, device=replace(HEADER.device, arch="sm_100")), "architecture sm_90 there, sm_100 here"),
        (replace(HEADER, device=replace(HEADER.device, name=None)), "GPU NVIDIA H100 80GB HBM3 there, none here"),
        (replace(HEADER, device=replace(HEADER.device, uuid="GPU-1")), "UUID none there, GPU-1 here"),
        (replace(HEADER, device=replace(HEADER.device, driver="590")), "driver 580.159.04 there, 590 here"),
        (replace(HEADER, triton="3.9.0"), "Triton 3.6.0 there, 3.9.0 here"),
        (replace(HEADER, torch="2.13.0"), "PyTorch 2.11.0 there, 2.13.0 here"),
        (replace(HEADER, torch=None), "PyTorch 2.11.0 there, none here"),
        (replace(HEADER, ssdprof="0.2.0"), "ssdprof 0.1.0 there, 0.2.0 here"),
    ],
)
def test_what_keeps_a_run_from_being_gone_on_with_is_named(other: RunHeader, expected: str) -> None:
    assert (expected,) == differences(HEADER, other)


def test_what_may_change_between_two_parts_of_a_run_or_is_known_later_keeps_none_from_going_on() -> None:
    device = replace(
        HEADER.device, num_sms=None, memory_bytes=None, l2_bytes=None, copy_gbps=None, conditions=Conditions(1980)
    )
    later = replace(
        HEADER, device=device, date="later", command="other", python="3.13", budget_s=60.0, torch="2.11.0+cu130"
    )
    assert () == differences(replace(HEADER, interrupted=True), later)
