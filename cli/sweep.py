"""`ssdprof sweep`: compiles, checks, times and ranks every config of a space."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssdprof.cli import completion, console
from ssdprof.cli.counting import CountersOptions
from ssdprof.cli.options import (
    Json,
    Quiet,
    SubjectOptions,
    TargetOptions,
    command_line,
    grouped,
    option,
    results_option,
)
from ssdprof.kernels.errors import UsageError

if TYPE_CHECKING:
    from ssdprof.profiling.runs.model import Run
    from ssdprof.profiling.runs.store import Kept
    from ssdprof.profiling.workers.pool import Pool

DEFAULT_BUDGET_S = 10.0  # said in the help; ssdprof.profiling.api has it
LAUNCH_HELP = "A captured launch, FILE.launch or FILE.launch:NUMBER; --all: each of the file, and the whole."
SPACE_HELP = "compare, mamba, tensorrt-llm-pr, vllm, wide, ssdprof, all; own (foreign kernels); or a JSON or YAML file."
AROUND_HELP = "This config (an id, best, '#3', …) and what explain tries beside it, instead of --space."
VARIANT_HELP = "tile, split, grouped, or both (tile and split)."
VALUES_HELP = "NAME=VALUE,…: values of a parameter to cross with the space. Can be repeated."

_configs = partial(option, "Configs")
_timing = partial(option, "Timing")


@dataclass(frozen=True, slots=True)
class SpaceOptions:
    """Which configs to sweep."""

    space: Annotated[str | None, _configs(SPACE_HELP, default="compare, or own", values=completion.spaces)] = None
    around: Annotated[str | None, _configs(AROUND_HELP)] = None
    values: Annotated[list[str] | None, _configs(VALUES_HELP)] = None
    variant: Annotated[str | None, _configs(VARIANT_HELP, default="as in the space")] = None
    baseline: Annotated[
        str | None, _configs("Config that speed-ups are relative to.", default="the published kernel's best")
    ] = None


@dataclass(frozen=True, slots=True)
class TimingOptions:
    """How configs are timed."""

    budget_s: Annotated[
        float,
        _timing("Seconds to spend timing the best again, in rounds.", "--budget", default=f"{DEFAULT_BUDGET_S:g}"),
    ] = DEFAULT_BUDGET_S
    timing: Annotated[
        str, _timing("events, graph (inside a CUDA graph) or auto (graph for short launches).", default="auto")
    ] = "auto"
    seed: Annotated[int, _timing("Seed for the random inputs.", default="0")] = 0


@dataclass(frozen=True, slots=True)
class ResultOptions:
    """Where results go."""

    csv: Annotated[
        Path | None, results_option("Write every row as CSV to this file; -: to stdout, instead of the tables.")
    ] = None
    top: Annotated[int | None, results_option("Show the N best configs.", default="10")] = None
    all_rows: Annotated[
        bool, results_option("Show every ranked config; of a capture file, sweep each launch.", "--all")
    ] = False
    wrong: Annotated[bool, results_option("List the wrong and failed configs one by one.", "--wrong")] = False
    run_file: Annotated[
        Path | None,
        results_option(
            "Keep the run in this file; of several lengths, the runs in this folder.",
            "--run-file",
            "-o",
            default="a new one in your data folder",
        ),
    ] = None
    resume: Annotated[bool, results_option("Resume the run in that file, or the last like it.", "--resume")] = False
    force: Annotated[
        bool, results_option("Replace result files that exist already, and compile for sm_75 or earlier.", "--force")
    ] = False

    def check(self, *, json: bool, several: bool) -> None:
        """Raises UsageError now for what could not be written after a long sweep, or after `several`."""
        from ssdprof.reports.export.run_csv import sidecar_path

        if self.top is not None and self.top < 1:
            raise UsageError(f"--top must be at least 1, got {self.top}")
        if self.top is not None and self.all_rows:
            raise UsageError("--top and --all exclude each other: leave one of them out")
        console.check_csv(self.csv, json=json, force=self.force)
        if self.csv is not None and self.csv != console.STDOUT:
            console.check_writable(sidecar_path(self.csv), "--csv", self.force)
        if self.run_file is not None:
            check = console.check_folder if several else console.check_writable
            check(self.run_file, "--run-file", self.force or self.resume)

    def of(self, subject: SubjectOptions) -> ResultOptions:
        """The same for one problem of several: its run's own file in the folder."""
        folder = self.run_file
        return self if folder is None else replace(self, run_file=folder / f"{subject.file_stem}.jsonl")


@grouped
def sweep(
    subject: SubjectOptions,
    space: SpaceOptions,
    target: TargetOptions,
    timing: TimingOptions,
    counters: CountersOptions,
    results: ResultOptions,
    launch: Annotated[str | None, typer.Argument(metavar="LAUNCH", help=LAUNCH_HELP, show_default=False)] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Compile, check, time and rank every config of a space; without a GPU, only compile.

    Prints the answer, the best configs, how many are wrong or failed and why, and what the figures are of.
    """
    from ssdprof.profiling import api

    if launch is not None and subject.kernel is not None:
        raise UsageError(f"{launch} and --kernel {subject.kernel} both name a kernel: leave one of them out")
    subject = replace(subject, kernel=launch) if launch is not None else subject
    if launch is not None and not subject.is_captured:
        raise UsageError(f"{launch} is no captured launch: name a file that ends in .launch, or a kernel with --kernel")
    with closing(api.started(target.device)) as pool:  # it does the slow imports while this process does the rest
        from ssdprof.kernels.config_text import is_run_reference
        from ssdprof.kernels.space import values_from

        problems = subject.each_captured() if subject.is_captured and results.all_rows else subject.each()
        if len(problems) > 1 and is_run_reference(space.around or ""):
            raise UsageError(f"--around {space.around} is of one run, not of {len(problems)}: name the config itself")
        results.check(json=json, several=len(problems) > 1)
        options = {**asdict(space), **asdict(target), **asdict(timing), **counters.asked()}
        options["values"] = values_from(space.values or ())
        if len(problems) > 1:
            return sweep_each(problems, options, results, pool, json=json, quiet=quiet)
        asked = Asked(subject, options, results, quiet)
        return exit_code(asked.swept(pool, partial(show, results=results, json=json, quiet=quiet)))


@dataclass(frozen=True, slots=True)
class Asked:
    """One sweep as asked for: of which problem, with which options, and where the run goes."""

    subject: SubjectOptions
    options: Mapping[str, Any]
    results: ResultOptions
    quiet: bool
    is_one_of_several: bool = False

    def swept(self, pool: Pool, show: Callable[[Run], None]) -> Run:
        """Sweeps with the processes of `pool`, shows the run and says where it is kept."""
        from ssdprof.profiling import api

        kept: list[Kept] = []
        with console.ProgressBar(quiet=self.quiet) as progress:
            run = api.sweep(
                self.subject.build(),
                **self.options,
                out=self.results.run_file,
                keep=True,
                resume=self.results.resume,
                force=self.results.force,
                command=command_line(),
                on_event=progress,
                warn=console.note,
                say=(lambda _: None) if self.quiet else console.note,
                on_kept=kept.append,
                pool=pool,
            )
        run = replace(run, file=self._to_name(kept))
        try:
            show(run)
        finally:
            for one in kept:
                if one.is_warning or not self.quiet:
                    named = f", with --run {shlex.quote(run.file)}" if run.file and not one.is_warning else ""
                    console.note(one.line + named)
        return run

    def _to_name(self, kept: Sequence[Kept]) -> str:
        """The file without which `explain` would take another run than this, and that one's kernel; empty if none."""
        path = self.results.run_file
        if path is None and kept and (self.is_one_of_several or not kept[0].is_latest):
            path = kept[0].path
        return str(path or "")


def sweep_each(
    problems: Sequence[SubjectOptions],
    options: Mapping[str, Any],
    results: ResultOptions,
    pool: Pool,
    *,
    json: bool,
    quiet: bool,
) -> int:
    """Sweeps one problem after the other, and returns the worst exit code; an interruption ends them all.

    Tables are shown as each is done, JSON and CSV of all that were swept in the end.
    """
    from ssdprof.profiling import api
    from ssdprof.reports.text.whole import whole_report

    runs: list[Run] = []

    def show_one(run: Run) -> None:
        runs.append(run)
        if not json and results.csv != console.STDOUT:
            console.show(f"Problem {len(runs)} of {len(problems)}: {problems[len(runs) - 1].title}\n\n")
            show(run, replace(results, csv=None), json=False, quiet=quiet)
            console.show("\n")

    for one in problems:
        one.build()  # what is wrong with any of them is told before the first is swept
    if results.run_file is not None:
        results.run_file.mkdir(exist_ok=True)
    try:
        for i_problem, one in enumerate(problems):
            with closing(api.started(options["device"])) if i_problem else nullcontext(pool) as own:
                asked = Asked(one, options, results.of(one), quiet, is_one_of_several=True)
                if asked.swept(own, show_one).header.interrupted:
                    break
    finally:
        if runs:
            show_together(runs, results, json=json, quiet=quiet)
        if runs and problems[0].is_captured and not json and results.csv != console.STDOUT:
            console.show(whole_report(runs))
    return max(map(exit_code, runs))


def show(run: Run, results: ResultOptions, *, json: bool, quiet: bool) -> None:
    """Prints the run, and writes its CSV if one is asked for."""
    from ssdprof.profiling import api
    from ssdprof.reports.export import run_csv, run_json
    from ssdprof.reports.text.sweep import BEST_SHOWN, sweep_report

    if results.csv == console.STDOUT:
        console.show(run_csv.run_csv(run))
        return
    if json:
        console.show(run_json.run_json(run, api.statements(run)))
    else:
        top = None if results.all_rows else results.top or BEST_SHOWN
        console.show(sweep_report(run, top=top, lists_rejected=results.wrong))
    if results.csv is not None:
        sidecar = run_csv.sidecar_path(results.csv)
        console.write_csv({results.csv: run_csv.run_csv(run), sidecar: run_csv.sidecar_json(run)}, quiet=quiet)


def show_together(runs: Sequence[Run], results: ResultOptions, *, json: bool, quiet: bool) -> None:
    """Prints several runs as JSON, or as CSV on stdout, and writes their CSV, if either is asked for."""
    from ssdprof.profiling import api
    from ssdprof.reports.export import run_csv, run_json

    if results.csv == console.STDOUT:
        console.show(run_csv.runs_csv(runs))
        return
    if json:
        console.show(run_json.runs_json([(run, api.statements(run)) for run in runs]))
    if results.csv is not None:
        sidecar = run_csv.sidecar_path(results.csv)
        console.write_csv({results.csv: run_csv.runs_csv(runs), sidecar: run_csv.sidecars_json(runs)}, quiet=quiet)


def exit_code(run: Run) -> int:
    """0 done, 1 if nothing could be measured (or compiled, if that was all) or it gave up, 130 interrupted."""
    if run.header.interrupted:
        return 130
    if run.header.stopped:
        return 1
    useful = any(row.timing for row in run.rows) if run.measured else any(row.compiled for row in run.rows)
    return 0 if useful else 1
