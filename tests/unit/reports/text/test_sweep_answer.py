"""The answer that a sweep begins with, exactly, and within the first twelve lines at any width."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_runs import COMPILE_HEADER, TOO_LARGE, compiled_run, constrained_run, h100_run, recorded_over, run, screen
from rich.cells import cell_len

from ssdprof.profiling.diagnosis.answers import COVERED, answer
from ssdprof.profiling.diagnosis.verdicts import statements
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.runs.recorded import recorded_runs
from ssdprof.reports.text.sweep import answer_lines, sweep_report
from ssdprof.reports.words import answers, verdicts

LINES_MAX = 12


def interrupted() -> Run:
    """The first eight rows measured, the others not."""
    rows = h100_run().rows
    left = [
        replace(row, status="not-run", status_reason="interrupted", timing=None, check=None, rank=None)
        for row in rows[8:]
    ]
    return run([*rows[:8], *left], replace(h100_run().header, interrupted=True))


def stopped() -> Run:
    """A sweep that gave up before anything compiled."""
    rows = [replace(row, compiled=None, occupancy=None, status="not-run") for row in compiled_run().rows]
    return run(rows, replace(COMPILE_HEADER, stopped="Cannot find ptxas: set TRITON_PTXAS_PATH"))


def all_wrong() -> Run:
    return run([row for row in h100_run().rows if row.status == "wrong"])


MEASURED = """\
use        m64n64k32d128w2s4, 2.332 ms: the baseline; 1 is tied. Error 0.0018 in
           10 launches.
floor      40 % of it reached: moving 2.82 GB once takes 0.940 ms at 3000 GB/s.
           Bound by DRAM re-reads at 82 %: 5.76 GB where 2.82 GB would do; c and
           cb are read again for each head, states for each chunk.
occupancy  12.5 % (2 of 16 warps per scheduler), by registers and shared memory;
           18.75 % takes 2.408 ms. Correlation with latency -0.67 (n = 5):
           unclear.
not used   10 wrong and 1 out-of-resources of 16. An autotuner picks
           m32n64k32d32w2s5: 29 % less time, error 0.73.
next       `ssdprof explain best` says why, and what to change."""
COMPILED = """\
use        not known: nothing was measured here. 5 of 16 configs compiled for
           sm_90 and may be correct.
occupancy  6.25 % (1 of 16 warps per scheduler), by shared memory: that of
           m128n64k32d128w4s4, the first to list.
not used   10 wrong and 1 out-of-resources of 16. m128n64k32d32w4s4 sums only
           the first 32 of 128 state elements (dstate) and does not loop over
           the rest: take a DSTATE tile of 128, or the variant split.
next       the same command on a GPU measures; `ssdprof explain
           m128n64k32d128w4s4` says why."""
INTERRUPTED = """\
state      interrupted: 8 of 16 configs left. The same command with --resume
           goes on.
use        m64n128k32d128w4s4, 2.856 ms: there is no baseline's latency to
           compare with."""
STOPPED = """\
state  gave up: Cannot find ptxas: set TRITON_PTXAS_PATH; 16 of 16 configs left.
       The same command with --resume goes on."""
ALL_WRONG = """\
use   nothing: no config of 10 is correct and timed; 10 wrong. Most often (5 of
      10): relative error 0.73, at most 0.01 allowed.
next  find out where the outputs differ: --wrong says it; then mend the kernel
      or its list of configs."""
TOO_LARGE_ALONE = """\
use   nothing: no config of 1 is correct and timed; 1 out-of-resources. All:
      needs 279552 bytes of shared memory per block, sm_90 allows 232448.
next  take smaller tiles or fewer num_stages."""


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (h100_run(), MEASURED),
        (constrained_run(), COMPILED),
        (interrupted(), INTERRUPTED),
        (stopped(), STOPPED),
        (all_wrong(), ALL_WRONG),
        (run([TOO_LARGE]), TOO_LARGE_ALONE),
    ],
    ids=["measured", "compiled only", "interrupted", "gave up", "all wrong", "nothing fits"],
)
def test_the_answer_says_what_to_use_and_what_to_do(of: Run, expected: str) -> None:
    assert screen(answer_lines(answer(of)), 80).startswith(expected)


def test_a_recorded_answer_names_the_gpu_and_what_would_measure() -> None:
    text = " ".join(screen(answer_lines(answer(recorded_over(constrained_run(), h100_run()))), 200).split())
    assert text.startswith("use m64n64k32d128w2s4, 2.332 ms, recorded on NVIDIA H100 80GB HBM3: the baseline;")
    assert text.endswith("next the same command on a GPU measures; `ssdprof explain best` says why.")


def test_the_command_that_explains_can_be_typed_as_it_stands() -> None:
    for of, config in ((h100_run(), "best"), (constrained_run(), "m128n64k32d128w4s4")):
        named = replace(of, file="my runs/one.jsonl")
        command = f"`ssdprof explain {config} --run 'my runs/one.jsonl'`"
        assert command in " ".join(screen(answer_lines(answer(named)), 300).split())
        [limiters] = [one for one in statements(named) if one.code == "limiters"]
        assert verdicts.words(limiters).endswith(f"{command} shows what would change it.")


RUNS = [*recorded_runs(), h100_run(), recorded_over(constrained_run(), h100_run()), constrained_run(), interrupted()]


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("of", [*RUNS, stopped(), all_wrong(), run([TOO_LARGE]), run([TOO_LARGE], COMPILE_HEADER)])
def test_it_is_complete_in_the_first_twelve_lines(of: Run, width: int) -> None:
    found = answer(of)
    lines = screen(sweep_report(of), width).splitlines()
    end = lines.index("")

    assert 0 < end <= LINES_MAX
    assert len(found) <= 6
    assert max(map(cell_len, lines[:end])) <= width
    told = " ".join(" ".join(lines[:end]).split())
    assert all(" ".join(answers.words(one).split()) in told for one in found)


def test_the_fastest_wrong_config_is_beside_what_it_is_faster_than() -> None:
    long = next(one for one in recorded_runs() if one.header.problem["seqlen"] == 50_000)
    of_variant = next(one for one in answer(long) if one.code == "not-used").figures["fastest"]
    assert ("m64n64k32d32w2s4", "tile") == (of_variant["config_id"], of_variant["faster_than"])
    correct = [row for row in long.ranked if row.config.variant == "tile"]
    assert of_variant["latency_ms"] < min(row.known_latency_ms or 0.0 for row in correct)

    of_all = next(one for one in answer(h100_run()) if one.code == "not-used").figures["fastest"]
    assert "best" == of_all["faster_than"]
    slow = run([row for row in h100_run().rows if row.status == "ok" or row.config_id == "m64n128k32d64w4s4"])
    of_none = next(one for one in answer(slow) if one.code == "not-used").figures["fastest"]
    assert of_none["faster_than"] in (None, "best")


def test_what_the_answer_covers_is_not_said_again() -> None:
    text = " ".join(screen(sweep_report(h100_run()), 200).split())
    assert {"fastest-correct", "fastest-is-wrong"} <= {one.code for one in statements(h100_run())} & set(COVERED)
    assert "The fastest correct configs are" not in text
    assert "differ by less than the noise" in text  # the tie itself is


def test_what_is_not_ranked_is_counted_with_the_fastest_of_each_kind() -> None:
    text = screen(sweep_report(h100_run()), 200)
    assert "\nNot ranked: 11 of 16 (--wrong lists them)\n10 wrong " in text
    assert "the fastest, m32n64k32d32w2s5, 1.663 ms, error 0.73: relative error 0.73, at most 0.01 allowed" in text
    assert 1 == text.count("m32n64k32d64w2s5") + text.count("m32n64k32d32w2s5") - 1
