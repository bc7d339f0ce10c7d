"""What a user must be able to rely on, with the command line in a process of its own on a real GPU.

A sweep that is killed goes on where it was; CUDA graphs and events give the same latencies; a hidden GPU is none.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.runs.store import load_run

pytestmark = pytest.mark.gpu

SMALL = ("--space", "vllm", "--seqlen", "4096", "--budget", "2")
SHORT = ("--space", "vllm", "--seqlen", "2048", "--budget", "4")
KILLS = 10
TIMEOUT_S = 300.0


def start(options: Sequence[str], path: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ssdprof", "sweep", *options, "-o", str(path)],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def swept(options: Sequence[str], path: Path, **environment: str) -> Run:
    process = start(options, path, **environment)
    _, said = process.communicate(timeout=TIMEOUT_S)
    assert 0 == process.returncode, said
    return load_run(path)


def resume(path: Path) -> tuple[str, ...]:
    return ("--resume",) if path.exists() else ()


def killed_after(delay_s: float, options: Sequence[str], path: Path) -> bool:
    """Whether the sweep was still running then, and so was killed."""
    process = start(options, path)
    try:
        _, said = process.communicate(timeout=delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True
    assert 0 == process.returncode, said
    return False


def checked_twice(path: Path) -> list[str]:
    """The configs of which the file has more than one row with a check; a line that was cut off counts for nothing."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    records = [json.loads(line) for line in lines]
    checked = Counter(one["config_id"] for one in records if one["kind"] == "row" and one["check"] is not None)
    return [name for name, count in checked.items() if count > 1]


def test_a_sweep_that_is_killed_ten_times_and_resumed_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole_path, path = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    swept(SMALL, tmp_path / "first.jsonl")  # compiles, so that the next ones take as long as those that are killed
    start_s = time.monotonic()
    whole = swept(SMALL, whole_path)
    whole_s = time.monotonic() - start_s
    assert whole.measured
    moments = random.Random(0)
    kills = finished = 0

    while kills < KILLS:
        if killed_after(moments.uniform(0.0, whole_s), (*SMALL, *resume(path)), path):
            kills += 1
            continue
        finished += 1  # done before its moment came: the rest of the kills go to a new run
        assert [] == checked_twice(path)
        assert statuses(whole) == statuses(load_run(path))
        path.unlink()
    resumed = swept((*SMALL, *resume(path)), path)

    print(f"killed {kills} times within {whole_s:.1f} s, {finished + 1} runs finished")
    assert statuses(whole) == statuses(resumed)
    assert [row.config_id for row in whole.rows] == [row.config_id for row in resumed.rows]
    assert {row.config_id for row in whole.ranked} == {row.config_id for row in resumed.ranked}
    assert not resumed.header.interrupted
    assert [] == checked_twice(path)


def test_cuda_graphs_and_events_agree_on_short_launches(tmp_path: Path) -> None:
    runs = {way: swept((*SHORT, "--timing", way), tmp_path / f"{way}.jsonl") for way in ("graph", "events")}

    timings = {way: {row.config_id: row.timing for row in run.ranked if row.timing} for way, run in runs.items()}
    fastest = [row.config_id for row in runs["graph"].ranked[:10]]
    ratios = {name: timings["events"][name].latency_ms / timings["graph"][name].latency_ms for name in fastest}
    print({name: round(ratio, 4) for name, ratio in ratios.items()})
    assert 10 == len(ratios)
    assert all(timings[way][name].timed_by == way for way in timings for name in fastest)
    assert [] == [(name, ratio) for name, ratio in ratios.items() if abs(ratio - 1) > 0.05]


def test_a_hidden_gpu_is_none(tmp_path: Path) -> None:
    one = tmp_path / "one.json"
    one.write_text(json.dumps(["m64n64k32d128w4s2"]))

    run = swept(("--space", str(one), "--seqlen", "4096"), tmp_path / "run.jsonl", CUDA_VISIBLE_DEVICES="")

    assert not run.measured
    assert {("not-run", "compiled only, no GPU")} == {(row.status, row.status_reason) for row in run.rows}


def statuses(run: Run) -> dict[str, str]:
    return {row.config_id: row.status for row in run.rows}
