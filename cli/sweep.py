"""`ssdprof sweep`: compiles, checks, times and ranks every config of a space."""

from __future__ import annotations

import shlex
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssdprof.cli.options import (
    Json,
    Quiet,
    SubjectOptions,
    TargetOptions,
    check_writable,
    command_line,
    grouped,
    option,
)
from ssdprof.kernels.errors import UsageError

if TYPE_CHECKING:
    from ssdprof.profiling.runs.keeper import Kept
    from ssdprof.profiling.runs.model import Run

DEFAULT_BUDGET_S = 10.0  # said in the help; ssdprof.profiling.api has it
SPACE_HELP = "compare, mamba, tensorrt-llm-pr, vllm, wide, ssdprof, all; own (foreign kernels); or a JSON or YAML file."
VARIANT_HELP = "tile, split, grouped, or both (tile and split)."
VALUES_HELP = "NAME=VALUE,…: values of a parameter to cross with the space. Can be repeated."

_configs = partial(option, "Configs")
_timing = partial(option, "Timing")
_results = partial(option, "Results")


@dataclass(frozen=True, slots=True)
class SpaceOptions:
    """Which configs to sweep."""

    space: Annotated[str | None, _configs("--space", help=SPACE_HELP, default="compare, or own")] = None
    values: Annotated[list[str] | None, _configs("--values", help=VALUES_HELP)] = None
    variant: Annotated[str | None, _configs("--variant", help=VARIANT_HELP, default="as in the space")] = None
    baseline: Annotated[
        str | None,
        _configs("--baseline", help="Config that speed-ups are relative to.", default="the published kernel's best"),
    ] = None

    @property
    def crossed(self) -> dict[str, list[object]]:
        """The values of `--values` by parameter name. Raises UsageError."""
        from ssdprof.kernels.space import values_from

        return values_from(self.values or ())


@dataclass(frozen=True, slots=True)
class TimingOptions:
    """How configs are timed."""

    budget_s: Annotated[
        float,
        _timing("--budget", help="Seconds to spend timing the best again, in rounds.", default=f"{DEFAULT_BUDGET_S:g}"),
    ] = DEFAULT_BUDGET_S
    timing: Annotated[
        str,
        _timing(
            "--timing", help="events, graph (inside a CUDA graph) or auto (graph for short launches).", default="auto"
        ),
    ] = "auto"
    seed: Annotated[int, _timing("--seed", help="Seed for the random inputs.", default="0")] = 0


@dataclass(frozen=True, slots=True)
class ResultOptions:
    """Where results go."""

    csv: Annotated[Path | None, _results("--csv", help="Write every row as CSV to this file.")] = None
    top: Annotated[int | None, _results("--top", help="Show only the first N rows of each table.")] = None
    run_file: Annotated[
        Path | None,
        _results("--run-file", "-o", help="Keep the run in this file.", default="a new one in your data folder"),
    ] = None
    resume: Annotated[
        bool, _results("--resume", help="Resume the run in that file, or the last one of the same kind.")
    ] = False

    def check(self) -> None:
        """Raises UsageError now for files that could not be written after a long sweep."""
        from ssdprof.reports.export.run_csv import sidecar_path

        if self.top is not None and self.top < 1:
            raise UsageError(f"--top must be at least 1, got {self.top}")
        if self.csv is not None:
            check_writable(self.csv, "--csv")
            check_writable(sidecar_path(self.csv), "--csv")
        if self.run_file is not None:
            check_writable(self.run_file, "--run-file")


@grouped
def sweep(
    subject: SubjectOptions,
    space: SpaceOptions,
    target: TargetOptions,
    timing: TimingOptions,
    results: ResultOptions,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Compile, check, time and rank every config of a space; without a GPU, only compile.

    Prints the ranked configs, then the wrong and the failed ones and why, then a verdict in words.
    """
    with closing(target.started()) as pool:  # it does the slow imports while this process does the rest
        from ssdprof.cli.console import ProgressBar, note
        from ssdprof.profiling import api

        results.check()
        kept: list[Kept] = []
        with ProgressBar(quiet=quiet) as progress:
            run = api.sweep(
                subject.build(),
                space=space.space,
                variant=space.variant,
                values=space.crossed,
                baseline=space.baseline,
                arch=target.arch,
                device=target.device,
                jobs=target.jobs,
                timeout_s=target.timeout_s,
                budget_s=timing.budget_s,
                timing=timing.timing,
                seed=timing.seed,
                out=results.run_file,
                keep=True,
                resume=results.resume,
                command=command_line(),
                on_event=progress,
                warn=note,
                say=(lambda _: None) if quiet else note,
                on_kept=kept.append,
                pool=pool,
            )
        show(run, results, json=json, quiet=quiet)
        for one in kept:
            if one.is_warning:
                note(one.line)
            elif not quiet:
                note(one.line + for_explain(subject, results.run_file))
    return exit_code(run)


def show(run: Run, results: ResultOptions, *, json: bool, quiet: bool) -> None:
    """Prints the run, and writes its CSV if one is asked for."""
    from ssdprof.cli.console import note, stdout
    from ssdprof.profiling import api
    from ssdprof.reports.export import run_csv, run_json
    from ssdprof.reports.text import tables
    from ssdprof.reports.words import verdicts

    found = api.statements(run)
    if json:
        typer.echo(run_json.run_json(run, found), nl=False)
    else:
        console = stdout()
        console.print(tables.sweep_report(run, top=results.top))
        console.print()
        console.print(verdicts.render(found))
    if results.csv is not None:
        try:
            results.csv.write_text(run_csv.run_csv(run), encoding="utf-8")
            run_csv.sidecar_path(results.csv).write_text(run_csv.sidecar_json(run), encoding="utf-8")
        except OSError as error:
            note(f"--csv {results.csv} could not be written: {error.strerror or error}")
        else:
            if not quiet:
                note(f"wrote {results.csv} and {run_csv.sidecar_path(results.csv)}")


def for_explain(subject: SubjectOptions, run_file: Path | None) -> str:
    """The options without which `explain` would not find this kernel or this run."""
    options = [subject.arguments] if subject.kernel else []
    options += [f"--run {shlex.quote(str(run_file))}"] if run_file else []
    return f", with {' '.join(options)}" if options else ""


def exit_code(run: Run) -> int:
    """0 done, 1 if nothing could be measured (or compiled, if that was all), 130 interrupted."""
    if run.header.interrupted:
        return 130
    useful = any(row.timing for row in run.rows) if run.measured else any(row.compiled for row in run.rows)
    return 0 if useful else 1
