"""What a sweep asks of the machine and of the architecture before it begins, and what stops it later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cpu_sweeps import request
from fake_kernel import FakeSubject, fake, fake_id
from fake_runs import h100_run, screen
from fake_sweeps import IdlePool
from fake_timer import imports_paid_once

from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.ssd.params import chunk_scan_config
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.binary.needs import Toolchain, ToolchainError
from ssdprof.profiling.diagnosis.verdicts import statements
from ssdprof.profiling.hardware.limits import known_archs
from ssdprof.profiling.runs import recorded
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.profiling.runs.recorded import with_recorded
from ssdprof.profiling.runs.run_file import RunError
from ssdprof.profiling.runs.state import RunState
from ssdprof.profiling.runs.store import Keeper, Kept, load_run
from ssdprof.profiling.sweep.environment import check_arch, with_toolchain
from ssdprof.profiling.sweep.records import run_header
from ssdprof.profiling.sweep.sweep import COMPILED_ONLY, sweep
from ssdprof.profiling.sweep.trouble import IN_A_ROW, Trouble
from ssdprof.profiling.workers.pool import Pool
from ssdprof.profiling.workers.worker import Failure
from ssdprof.reports.text import tables
from ssdprof.reports.words.verdicts import words

REFUSED = Failure("error", "PermissionError", "[Errno 13] Permission denied: '/cache/AB'")
FULL = Failure("error", "OSError", "[Errno 28] No space left on device: '/cache/AB'")


class Answering(IdlePool):
    """A pool whose processes give this answer."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[tuple[Any, ...]] = []

    def ask(self, function: str, *args: Any, timeout_s: float) -> Any:
        self.asked.append(args)
        return self.answer


@pytest.fixture(scope="module", autouse=True)
def one_import() -> Iterator[None]:
    with imports_paid_once():
        yield


@pytest.mark.parametrize("arch", known_archs())
def test_an_architecture_before_tensor_cores_wants_force(arch: str) -> None:
    check_arch(arch, force=True)
    if arch not in ("sm_70", "sm_72", "sm_75"):
        check_arch(arch, force=False)
        return
    with pytest.raises(UsageError) as raised:
        check_arch(arch, force=False)
    assert (
        f"{arch} has no tensor-core path in Triton, so that a config can take minutes to compile: name sm_80 or later "
        "with --arch, or give --force to compile all the same"
    ) == str(raised.value)


def test_the_ptxas_and_its_warnings_are_passed_on() -> None:
    heard: list[str] = []
    asked = with_toolchain(request(fake()), Answering(Toolchain("ptxas 12.9.86", ("unread",))), heard.append)
    assert ("ptxas 12.9.86", ["unread"]) == (asked.ptxas, heard)
    assert "ptxas 12.9.86" == run_header(asked).ptxas


def test_what_launches_need_is_tried_if_there_is_a_gpu() -> None:
    pool, plan = Answering(Toolchain("ptxas 12.9.86")), FakeSubject().launch(fake())
    for gpu in (True, False):
        with_toolchain(request(fake("nothing"), fake(), gpu=gpu), pool, lambda _: None)
    assert [("sm_90", plan, True), ("sm_90", plan, False)] == pool.asked


def test_what_is_missing_ends_it_in_one_line() -> None:
    failure = Failure("error", "ToolchainError", "TRITON_CACHE_DIR=/x: cannot be written")
    with pytest.raises(ToolchainError, match=r"^TRITON_CACHE_DIR=/x: cannot be written$"):
        with_toolchain(request(fake()), Answering(failure), lambda _: None)
    crash = Failure("crashed", "crash", "the worker was ended by SIGILL")
    with pytest.raises(ToolchainError, match=r"^compiling could not be tried, .*: the worker was ended by SIGILL: see"):
        with_toolchain(request(fake()), Answering(crash), lambda _: None)


def test_a_run_is_not_resumed_with_another_ptxas(tmp_path: Path) -> None:
    asked, pool = request(fake()), Answering(Toolchain("ptxas 12.9.86"))
    for there in ("", "ptxas 12.9.86"):
        with_toolchain(asked, pool, lambda _: None, tmp_path, RunState(replace(run_header(asked), ptxas=there)))
    other = RunState(replace(run_header(asked), ptxas="ptxas 12.8.93"))
    with pytest.raises(RunError, match=r"cannot be resumed: ptxas ptxas 12.8.93 there, ptxas 12.9.86 here;"):
        with_toolchain(asked, pool, lambda _: None, tmp_path, other)


def test_a_pool_is_asked_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "file"))
    with closing(Pool()) as pool:
        with pytest.raises(ToolchainError, match=rf"^TRITON_CACHE_DIR={tmp_path}/file: Triton's cache "):
            with_toolchain(request(gpu=False), pool, lambda _: None)
        monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
        assert with_toolchain(request(gpu=False), pool, lambda _: None).ptxas.startswith("ptxas 1")


def test_failures_of_the_machine_in_a_row_stop_it_and_others_do_not() -> None:
    trouble = Trouble()
    own = Failure("error", "CompileError", "no such layout")
    names = [str(i) for i in range(IN_A_ROW)]
    assert [False] * (IN_A_ROW - 1) == [trouble.stops(name, REFUSED) for name in names[1:]]
    assert not trouble.stops("own", own)
    assert [False] * (IN_A_ROW - 1) == [trouble.stops(name, REFUSED) for name in names[1:]]
    assert not trouble.stops("compiled", None)
    assert [False] * (IN_A_ROW - 1) + [True] == [trouble.stops(name, REFUSED) for name in names]
    assert names == trouble.failed
    assert trouble.stops("late", REFUSED)
    assert (
        f"{IN_A_ROW} configs in a row failed to compile: PermissionError: [Errno 13] Permission denied: '/cache/AB': "
        "see whether TRITON_CACHE_DIR and TMPDIR name folders that can be written, and Triton's files are there"
    ) == trouble.reason


def test_several_at_the_end_stop_it_too() -> None:
    trouble = Trouble()
    assert not trouble.ends()
    trouble.stops("first", REFUSED)
    assert not trouble.ends()
    trouble.stops("compiled", None)
    trouble.stops("next", REFUSED)
    trouble.stops("last", FULL)
    assert trouble.ends()
    assert trouble.reason.startswith(
        "2 configs in a row failed to compile: OSError: [Errno 28] No space left on device"
    )


def test_a_full_disk_says_to_make_room() -> None:
    trouble = Trouble()
    for i in range(IN_A_ROW):
        trouble.stops(str(i), FULL)
    assert trouble.reason.endswith(
        "OSError: [Errno 28] No space left on device: '/cache/AB': make room for Triton's cache and temporary files, "
        "or set TRITON_CACHE_DIR and TMPDIR to other folders"
    )


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """A sweep whose cache is a file: what its beginning would have told, it finds out by itself."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "file"))
    configs = [chunk_scan_config(m, 64, 32, 128, warps, 2) for m in (16, 32, 64, 128) for warps in (1, 2, 4, 8)]
    asked = request(*configs, gpu=False, subject=ChunkScan(ChunkScanProblem(seqlen=2048)))
    return sweep(asked, lambda _: None, lambda _: None)


def test_a_sweep_stops_when_the_machine_fails_it_and_what_failed_may_be_resumed(stopped: Run) -> None:
    assert 16 == len(stopped.rows)
    assert {"not-run"} == {row.status for row in stopped.rows}
    assert {f"not compiled: {stopped.header.stopped}"} == {row.status_reason for row in stopped.rows}
    assert stopped.header.stopped.startswith("8 configs in a row failed to compile: NotADirectoryError: ")
    assert not stopped.header.interrupted


def test_a_run_that_gave_up_is_continued_and_says_so_no_more() -> None:
    asked = request(fake(), gpu=False)
    state = RunState(replace(run_header(asked), stopped="8 configs in a row failed"))
    state.add(Row(fake(), fake_id(), "not-run", "not compiled: 8 configs in a row failed"))
    run = sweep(asked, lambda _: None, lambda _: None, state)
    assert ("", [COMPILED_ONLY]) == (run.header.stopped, [row.status_reason for row in run.rows])


def test_what_is_kept_of_it_can_be_resumed(stopped: Run, tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "run.jsonl", warn=lambda _: None)
    keeper(stopped.header, *stopped.rows)
    assert Kept(
        f"gave up; the results so far are kept in {tmp_path}/run.jsonl; continue with --resume", True
    ) == keeper.close(stopped)
    assert stopped == load_run(tmp_path / "run.jsonl")


def test_such_a_run_names_no_recorded_best_and_says_the_reason_once(
    stopped: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = h100_run().ranked[0]
    compiled = replace(stopped.rows[0], compiled=best.compiled, status_reason=COMPILED_ONLY)
    some = replace(stopped, rows=(compiled, *stopped.rows[1:]))
    header = replace(stopped.header, device=h100_run().header.device, stopped="")
    measured = replace(compiled, status="ok", status_reason="", check=best.check, timing=best.timing)
    known = replace(stopped, header=header, rows=(measured,))
    monkeypatch.setattr(recorded, "recorded_runs", lambda: iter((known,)))
    assert with_recorded(replace(some, header=replace(some.header, stopped=""))).ranked
    assert some == with_recorded(some)
    found = statements(some)
    assert "stopped" == found[0].code
    assert {"fastest-correct", "ties"}.isdisjoint(one.code for one in found)
    assert words(found[0]).startswith(f"Gave up: {stopped.header.stopped}. 15 of 16 configs were not compiled, and no ")


def test_a_reason_that_many_share_is_said_once(stopped: Run) -> None:
    lines = "\n".join(screen(part, 2000) for part in tables.rejected_tables(stopped)).splitlines()
    assert [
        "",
        "Not run (not-run): 16",
        f"16 configs: not compiled: {stopped.header.stopped}",
        "--csv FILE and --json list them one by one",
    ] == lines
