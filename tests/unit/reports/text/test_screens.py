"""Whole screens at 80, 120 and 200 columns, as they were looked at: files of tests/golden/screens.

A change of a screen is made on purpose: with WRITE_SCREENS=1 this module writes the files anew, to be looked at again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from fake_ceilings import MEASURED
from fake_models import MODEL, TENSORS, TRAFFIC
from fake_runs import (
    COMPILE_HEADER,
    H100,
    H100_GPU,
    HEADER,
    QUESTION,
    TOO_LARGE,
    among,
    compiled_run,
    constrained_run,
    explanation,
    h100_run,
    recorded_over,
    run,
    screen,
    with_timing,
)
from rich.console import Group, RenderableType
from rich.text import Text

from ssdprof.profiling import results
from ssdprof.profiling.hardware.ceilings import ceilings_of
from ssdprof.profiling.hardware.limits import known_archs
from ssdprof.profiling.runs.counters import Counters
from ssdprof.profiling.runs.kept.index import summary_of
from ssdprof.profiling.runs.kept.listed import KeptRun, KeptState
from ssdprof.profiling.runs.model import Explanation, Row, Run
from ssdprof.profiling.runs.rank import derived
from ssdprof.profiling.runs.recorded import recorded_runs
from ssdprof.reports.text import bound
from ssdprof.reports.text.devices import devices_report
from ssdprof.reports.text.explain import explain_report, second_part
from ssdprof.reports.text.kept.runs import runs_report
from ssdprof.reports.text.sweep import sweep_report

SCREENS = Path(__file__).parents[3] / "golden" / "screens"
WIDTHS = (80, 120, 200)
LONG = next(one for one in recorded_runs() if one.header.problem["seqlen"] == 50_000)
SHORT = next(one for one in recorded_runs() if one.header.problem["seqlen"] == 2048)
WRONG, TOO_LARGE_ID = "m64n64k32d32w2s4", "m128n256k64d128w8s3"


def interrupted() -> Run:
    """The measured run when half of its configs were left."""
    half = len(LONG.rows) // 2
    left = [replace(row, status="not-run", status_reason="interrupted", timing=None, check=None, rank=None,
                    speedup_vs_baseline=None, tied_with_best=False) for row in LONG.rows[half:]]  # fmt: skip
    return run([*(replace(row, tied_with_best=False) for row in LONG.rows[:half]), *left],
               replace(LONG.header, interrupted=True))  # fmt: skip


def does_not_compile() -> Row:
    row = next(one for one in LONG.rows if one.config_id == "m64n64k32d128w2s4")
    reason = "CompilationError: at 12:8: Shape element 0 must be a power of 2"
    nothing = dict.fromkeys(("compiled", "occupancy", "timing", "check", "rank", "speedup_vs_baseline"))
    return replace(row, status="compile-error", status_reason=reason, **nothing)


def explained(config: str | Row) -> RenderableType:
    """What `explain` says of a config of the measured run, without neighbours."""
    own = config if isinstance(config, Row) else next(row for row in LONG.rows if row.config_id == config)
    whose = "the run in nemotron.jsonl, of 2026-11-25 20:40 (others: --run, or a problem's options)"
    return explain_report(Explanation(LONG.header, own, (), QUESTION, None, whose, LONG))


def counted() -> Explanation:
    """A config that was measured, with ceilings of its GPU, and counted by ncu."""
    header = replace(HEADER, device=replace(HEADER.device, ceilings=MEASURED))
    counters = Counters("ncu 2025.3.1", 2.41, 5_620_000_000, 9_100_000_000, 77.9, 41.0, 41.2, 12.6, 43.8)
    row = replace(h100_run().ranked[0], counters=counters)
    return Explanation(header, derived(row, header), (), None, None)


def elsewhere() -> Explanation:
    """A launch with addresses that depend on data, on a GPU whose L1 and issue rate are not known."""
    header = replace(HEADER, device=replace(H100, arch="sm_89", name="NVIDIA L4", copy_gbps=None), bytes_min=None)
    traffic = replace(TRAFFIC, dependent=("load of x by seq_idx",), masked_pct=12.4, tensors=TENSORS[:3])
    model = replace(MODEL, gpu="L4", traffic=traffic, executed=None, absent="its machine code is not understood: SASS")
    row = replace(h100_run().ranked[0], model=model)
    return Explanation(header, derived(with_timing(row, latency_ms=60.0), header), (), None, None)


def kept_runs() -> RenderableType:
    """A list with every state that a run can be in, of two kernels."""
    softmax = replace(
        HEADER, kernel="captured:softmax", problem={"x_ptr": "float32[8192,8192]", "n": 8192}, space="own"
    )
    runs = (
        LONG,
        SHORT,
        compiled_run(),
        interrupted(),
        run(ALL_WRONG, LONG.header),
        replace(h100_run(), header=softmax),
    )
    states: tuple[KeptState, ...] = ("running", "done", "done", "interrupted", "done", "done")
    found = [
        KeptRun(number, Path(f"{number}.jsonl"), 700_000, state, summary_of(one))
        for number, (one, state) in enumerate(zip(runs, states, strict=True), 1)
    ]
    error = "old.jsonl is of format 1, made by an older ssdprof: sweep again"
    return runs_report([*found, KeptRun(7, Path("old.jsonl"), 0, "unreadable", None, error)])


def shown() -> RenderableType:
    """A recorded run as `show` prints it."""
    found = results.load("recorded")
    return Group(Text(results.origin(found, "recorded")), Text(), sweep_report(found))


ALL_WRONG = [row for row in LONG.rows if row.status == "wrong"]
NOT_COMPILED = [does_not_compile(), TOO_LARGE]
CASES: Mapping[str, Callable[[], RenderableType]] = {
    "sweep_measured": lambda: sweep_report(LONG),
    "sweep_measured_2048": lambda: sweep_report(SHORT),
    "sweep_measured_every_row": lambda: sweep_report(h100_run(), top=None, lists_rejected=True),
    "sweep_recorded": lambda: sweep_report(recorded_over(constrained_run(), h100_run())),
    "sweep_compiled_only": lambda: sweep_report(compiled_run()),
    "sweep_interrupted": lambda: sweep_report(interrupted()),
    "sweep_all_wrong": lambda: sweep_report(run(ALL_WRONG, LONG.header)),
    "sweep_nothing_compiles": lambda: sweep_report(run(NOT_COMPILED, COMPILE_HEADER)),
    "explain_best": partial(explained, LONG.ranked[0].config_id),
    "explain_baseline": partial(explained, "m64n64k32d128w2s4"),
    "explain_wrong": partial(explained, WRONG),
    "explain_out_of_resources": partial(explained, TOO_LARGE_ID),
    "explain_does_not_compile": lambda: explained(does_not_compile()),
    "kept_runs": kept_runs,
    "kept_runs_shipped": lambda: runs_report(
        [KeptRun(i, Path("x"), 0, "done", summary_of(one)) for i, one in enumerate((SHORT, LONG), 1)]
    ),
    "kept_runs_none": lambda: runs_report([]),
    "show_recorded": shown,
    "devices_ceilings": lambda: devices_report((H100_GPU,), known_archs(), (MEASURED,)),
    "devices_ceilings_of_the_table": lambda: devices_report((H100_GPU,), known_archs(), (ceilings_of("sm_90"),)),
    "explain_with_neighbours": lambda: explain_report(explanation()),
    "bound_measured": lambda: Group(*bound.parts(counted())),
    "bound_of_another_gpu": lambda: Group(*bound.parts(elsewhere())),
    "bound_compiled_only": lambda: Group(*bound.parts(explanation(measured=False))),
    "explain_changes": lambda: second_part(among(LONG, "split:m128n64k64d128w8s3")),
    "explain_changes_of_the_best": lambda: second_part(among(LONG, LONG.ranked[0].config_id)),
}


def text_of(case: str) -> str:
    """The case at every width, one below the other."""
    parts = [f"======== {width} columns\n{screen(CASES[case](), width).rstrip()}\n" for width in WIDTHS]
    lines = (line.rstrip() for line in "\n".join(parts).splitlines())
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("case", CASES)
def test_the_screen_is_the_one_that_was_looked_at(case: str) -> None:
    file = SCREENS / f"{case}.txt"
    if os.environ.get("WRITE_SCREENS") == "1":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text_of(case), encoding="utf-8")
    assert text_of(case) == file.read_text(encoding="utf-8")


def test_no_file_is_left_over() -> None:
    assert set(CASES) == {file.stem for file in SCREENS.iterdir()}
