"""`ssdprof explain CONFIG`: why a config has the occupancy and the latency it has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssdprof.cli.options import Json, ProblemOptions, Quiet, TargetOptions, command_line, grouped
from ssdprof.kernels.errors import UsageError

if TYPE_CHECKING:
    from ssdprof.kernels.interface import Config
    from ssdprof.kernels.ssd.problem import ChunkScanProblem
    from ssdprof.profiling.runs.model import Run
    from ssdprof.profiling.sweep.explain import ExplainRequest

RECORDED = "recorded"
CONFIG_HELP = "An id as m64n64k32d128w2s4, Triton's printed form, KEY=VALUE,…, or best, baseline, '#3' of a run."


@grouped
def explain(
    config: Annotated[
        str,
        typer.Argument(metavar="CONFIG", help=CONFIG_HELP),
    ],
    problem: ProblemOptions,
    target: TargetOptions,
    run: Annotated[
        str | None,
        typer.Option("--run", help=f"Run file, or {RECORDED}: the shipped one.", show_default="the run kept last"),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Why a config has the occupancy and the latency it has, and what DSTATE=128 does to its warps per scheduler.

    Compiles it again with other DSTATE tiles, num_warps and num_stages. Measures nothing: latencies are the run's.
    """
    from ssdprof.cli.console import ProgressBar, stdout
    from ssdprof.profiling.sweep.explain import explain as run_explain
    from ssdprof.reports.export.run_json import explanation_json
    from ssdprof.reports.text import explain as report

    request = explain_request(config, problem, target, run)
    with ProgressBar(quiet=quiet) as progress:
        explanation = run_explain(request, progress)
    if json:
        typer.echo(explanation_json(explanation, report.words(explanation)), nl=False)
    else:
        stdout().print(report.explain_report(explanation))
    return 0 if explanation.row.compiled is not None else 1


def explain_request(
    config_text: str, problem_options: ProblemOptions, target: TargetOptions, run_text: str | None
) -> ExplainRequest:
    """What the options ask for: the run's own problem where they name none. Raises UsageError."""
    from ssdprof.kernels.ssd.subject import ChunkScan
    from ssdprof.profiling.sweep.explain import ExplainRequest
    from ssdprof.profiling.sweep.request import SweepRequest

    spec, jobs = ChunkScan(), target.checked_jobs()
    named = problem_options.build() if problem_options.given else None
    run = run_of(run_text, named or problem_options.build(), needed=_is_reference(config_text))
    problem = named or (_problem_of(run) if run is not None else problem_options.build())
    config = config_of(config_text, run, spec.variants)
    spec.resolve(config, problem)
    arch, _ = target.choose()
    if run is not None and target.arch is None:
        arch = run.header.device.arch
    sweep = SweepRequest(
        spec=spec,
        problem=problem,
        space="neighbours",
        configs=(),
        arch=arch,
        gpu=None,
        seed=0,
        baseline=None,
        jobs=jobs,
        timeout_s=target.timeout_s,
        command=command_line(),
    )
    return ExplainRequest(config=config, sweep=sweep, run=run)


def run_of(text: str | None, problem: ChunkScanProblem, *, needed: bool) -> Run | None:
    """The run that `--run` names; without it the run kept last, or None where none is kept and none is `needed`."""
    from ssdprof.profiling.runs.store import RunError, latest_run, load_run, recorded_runs

    if text == RECORDED:
        runs = [one for one in recorded_runs() if one.header.problem == problem.as_dict()]
        if not runs:
            raise UsageError("no recorded run is of this problem: leave --run out, or run `ssdprof sweep` on a GPU")
        return max(runs, key=lambda one: len(one.rows))
    if text is not None:
        return load_run(Path(text))
    try:
        return latest_run()
    except RunError:
        if needed:
            raise
        return None


def config_of(text: str, run: Run | None, variants: Sequence[str]) -> Config:
    """The config that `text` names, by itself or as one of the run's. Raises ConfigError or RunError."""
    from ssdprof.kernels.config import parse_config
    from ssdprof.profiling.runs.store import find_row

    if run is not None and _is_reference(text):
        return find_row(run, text.strip()).config
    return parse_config(text, variants)


def _is_reference(text: str) -> bool:
    from ssdprof.kernels.config import is_run_reference

    return is_run_reference(text)


def _problem_of(run: Run) -> ChunkScanProblem:
    from ssdprof.kernels.ssd.problem import ChunkScanProblem

    return ChunkScanProblem(**run.header.problem)
