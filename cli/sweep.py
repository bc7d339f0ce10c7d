"""`ssdprof sweep`: every config of a space compiled, checked, timed and ranked."""

from __future__ import annotations

import math
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssdprof.cli.options import (
    Json,
    ProblemOptions,
    Quiet,
    TargetOptions,
    check_writable,
    command_line,
    grouped,
    option,
)
from ssdprof.kernels.errors import UsageError

if TYPE_CHECKING:
    from ssdprof.kernels.interface import Config, KernelSpec
    from ssdprof.kernels.ssd.problem import ChunkScanProblem
    from ssdprof.profiling.runs.model import Run, TimedBy
    from ssdprof.profiling.runs.store import Resumed
    from ssdprof.profiling.sweep.request import SweepRequest

VARIANTS = ("tile", "split", "both")
DEFAULT_BUDGET_S = 10.0  # said in the help; ssdprof.profiling.sweep.request has it
TIMINGS: dict[str, TimedBy | None] = {"auto": None, "events": "events", "graph": "graph"}
SPACE_HELP = "compare, mamba, tensorrt-llm-pr, vllm, wide, ssdprof, all, or a JSON or YAML file."


_configs = partial(option, "Configs", default=True)
_timing = partial(option, "Timing")
_results = partial(option, "Results")


@dataclass(frozen=True, slots=True)
class SpaceOptions:
    """Which configs to sweep."""

    space: Annotated[str, _configs("--space", help=SPACE_HELP)] = "compare"
    variant: Annotated[
        str | None, _configs("--variant", help="tile, split or both.", default="as the space has it")
    ] = None
    baseline: Annotated[
        str | None,
        _configs("--baseline", help="Config that speed-ups are over.", default="the published kernel's best"),
    ] = None

    def configs(self, problem: ChunkScanProblem) -> tuple[Config, ...]:
        """The configs to sweep. Raises SpaceError or UsageError."""
        from ssdprof.kernels.ssd.spaces import space

        if self.variant is not None and self.variant not in VARIANTS:
            raise UsageError(f"unknown variant {self.variant!r}: one of {', '.join(VARIANTS)}")
        return space(
            self.space,
            variant=self.variant,
            dstate=problem.dstate,
            chunk_size=problem.chunk_size,
            headdim=problem.headdim,
            heads_per_group=problem.nheads // problem.ngroups,
        ).configs

    def baseline_config(self, spec: KernelSpec, problem: Any) -> Config:
        """The baseline that the user named, else the kernel's own. Raises ConfigError or RunError."""
        from ssdprof.kernels.config import is_run_reference, parse_config
        from ssdprof.profiling.runs.store import find_row, latest_run

        if self.baseline is None:
            return spec.baseline(problem)
        if is_run_reference(self.baseline):
            return find_row(latest_run(), self.baseline.strip()).config
        return parse_config(self.baseline, spec.variants)


@dataclass(frozen=True, slots=True)
class TimingOptions:
    """How configs are timed."""

    budget_s: Annotated[
        float | None,
        _timing("--budget", help="Seconds for timing the best again, in rounds.", default=f"{DEFAULT_BUDGET_S:g}"),
    ] = None
    timing: Annotated[
        str,
        _timing("--timing", help="events, graph (launches inside CUDA graphs), auto: by length.", default="auto"),
    ] = "auto"
    seed: Annotated[int, _timing("--seed", help="Of the random inputs.", default="0")] = 0

    def checked_budget_s(self) -> float:
        """Seconds. Raises UsageError where it is no time."""
        budget_s = DEFAULT_BUDGET_S if self.budget_s is None else self.budget_s
        if not 0 <= budget_s < math.inf:
            raise UsageError(f"--budget must be 0 seconds or more, got {budget_s:g}")
        return budget_s

    def timed_by(self) -> TimedBy | None:
        """The way of timing, None where the engine chooses. Raises UsageError for an unknown one."""
        if self.timing not in TIMINGS:
            raise UsageError(f"unknown timing {self.timing!r}: one of {', '.join(TIMINGS)}")
        return TIMINGS[self.timing]


@dataclass(frozen=True, slots=True)
class ResultOptions:
    """Where results go."""

    csv: Annotated[Path | None, _results("--csv", help="Write every row as CSV to this file.")] = None
    top: Annotated[int | None, _results("--top", help="Show the first N of each table.")] = None
    run_file: Annotated[
        Path | None,
        _results("--run-file", "-o", help="Keep the run in this file.", default="a new one in your data folder"),
    ] = None
    resume: Annotated[
        bool, _results("--resume", help="Go on with the run in that file, or with the last of the same kind.")
    ] = False

    def check(self) -> None:
        """Raises UsageError for what could not be written after a long sweep."""
        from ssdprof.reports.export.run_csv import sidecar_path

        if self.top is not None and self.top < 1:
            raise UsageError(f"--top must be at least 1, got {self.top}")
        if self.csv is not None:
            check_writable(self.csv, "--csv")
            check_writable(sidecar_path(self.csv), "--csv")
        if self.run_file is not None:
            check_writable(self.run_file, "--run-file")

    def resumed(self, request: SweepRequest, *, quiet: bool) -> Resumed | None:
        """What there is to go on with; None without --resume or where there is nothing. Raises RunError."""
        from ssdprof.cli.console import note
        from ssdprof.profiling.runs.store import resumable
        from ssdprof.profiling.sweep.header import run_header

        if not self.resume:
            return None
        found = resumable(run_header(request), self.run_file)
        if not quiet:
            note(f"going on with {found.path}" if found else "nothing to go on with: a new run begins")
        return found


@grouped
def sweep(
    problem: ProblemOptions,
    space: SpaceOptions,
    target: TargetOptions,
    timing: TimingOptions,
    results: ResultOptions,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Compile, check, time and rank every config of a space; without a GPU, compile alone.

    Prints the ranked configs, below them the wrong and the failed ones with why, and a verdict in words.
    """
    from ssdprof.profiling.workers.pool import start_measurer, start_server

    with ExitStack() as started:  # processes import all that takes long, while this one imports the rest
        server = started.enter_context(closing(start_server()))
        measurer = started.enter_context(closing(start_measurer(server))) if target.may_measure() else None
        from ssdprof.cli.console import ProgressBar, note
        from ssdprof.cli.keeper import Keeper
        from ssdprof.profiling.sweep.preflight import preflight
        from ssdprof.profiling.sweep.sweep import sweep as run_sweep

        results.check()
        request = sweep_request(problem, space, target, timing)
        if measurer and not request.gpu:
            measurer.hang_up()
        resumed = results.resumed(request, quiet=quiet)
        state = resumed.state if resumed else None
        if not quiet:
            note(preflight(request, state).line)
        keeper = Keeper(results.run_file, resumed=resumed, quiet=quiet)
        with ProgressBar(quiet=quiet) as progress:
            run = run_sweep(request, progress, keeper, state, server, measurer if request.gpu else None)
        show(run, results, json=json, quiet=quiet)
        keeper.tell(run)
    return exit_code(run)


def sweep_request(
    problem_options: ProblemOptions,
    space: SpaceOptions,
    target: TargetOptions,
    timing: TimingOptions,
) -> SweepRequest:
    """The sweep that the options ask for. Raises UsageError of one kind or another where they ask the impossible."""
    from ssdprof.kernels.ssd.subject import ChunkScan
    from ssdprof.profiling.gpu.devices import check_memory
    from ssdprof.profiling.sweep.request import SweepRequest

    spec, problem = ChunkScan(), problem_options.build()
    jobs, budget_s, timed_by = target.checked_jobs(), timing.checked_budget_s(), timing.timed_by()
    arch, gpu = target.choose()
    configs, baseline = space.configs(problem), space.baseline_config(spec, problem)
    spec.resolve(baseline, problem)
    if gpu is not None:
        check_memory(spec, problem, gpu)
    if gpu is not None or space.baseline is not None:
        configs = (*configs, baseline)  # named twice it runs once
    return SweepRequest(
        spec=spec,
        problem=problem,
        space=space.space,
        configs=configs,
        arch=arch,
        gpu=gpu,
        seed=timing.seed,
        baseline=baseline,
        jobs=jobs,
        timeout_s=target.timeout_s,
        command=command_line(),
        budget_s=budget_s,
        timed_by=timed_by,
    )


def show(run: Run, results: ResultOptions, *, json: bool, quiet: bool) -> None:
    """Prints the run, and writes its CSV where one is asked for."""
    from ssdprof.cli.console import note, stdout
    from ssdprof.profiling.runs.store import recorded_for
    from ssdprof.reports.export import run_csv as csv_export
    from ssdprof.reports.export import run_json as json_export
    from ssdprof.reports.text import tables
    from ssdprof.reports.words import verdict

    recorded = None if run.measured else recorded_for(run)
    found = verdict.verdicts(run, recorded=recorded)
    if json:
        typer.echo(json_export.run_json(run, found, recorded=recorded), nl=False)
    else:
        console = stdout()
        console.print(tables.sweep_report(run, recorded=recorded, top=results.top))
        console.print()
        console.print(verdict.render(found))
    if results.csv is not None:
        try:
            results.csv.write_text(csv_export.run_csv(run), encoding="utf-8")
            csv_export.sidecar_path(results.csv).write_text(csv_export.sidecar_json(run), encoding="utf-8")
        except OSError as error:
            note(f"--csv {results.csv} could not be written: {error.strerror or error}")
        else:
            if not quiet:
                note(f"wrote {results.csv} and {csv_export.sidecar_path(results.csv)}")


def exit_code(run: Run) -> int:
    """0 done, 1 where nothing could be measured (or compiled, where that was all), 130 interrupted."""
    if run.header.interrupted:
        return 130
    useful = any(row.timing for row in run.rows) if run.measured else any(row.compiled for row in run.rows)
    return 0 if useful else 1
