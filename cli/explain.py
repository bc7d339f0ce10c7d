"""`ssdprof explain CONFIG`: why a config has its occupancy and latency."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ssdprof.cli import completion, console
from ssdprof.cli.counting import CountersOptions
from ssdprof.cli.options import RUN_HELP, Json, Quiet, SubjectOptions, TargetOptions, command_line, grouped, option

CONFIG_HELP = "An id, Triton's printed form, KEY=VALUE,…, or best, baseline or '#3' from a run."


@grouped
def explain(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help=CONFIG_HELP)],
    subject: SubjectOptions,
    target: TargetOptions,
    counters: CountersOptions,
    run: Annotated[
        str | None, option("Target", RUN_HELP, default="the last of this kernel", values=completion.runs)
    ] = None,
    force: Annotated[
        bool, option("Target", "Compile for sm_75 or earlier, which takes minutes a config.", "--force")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Explain why a config has its occupancy and latency, and what changing one parameter would do.

    Prints what the config itself tells, then recompiles it with one parameter changed at a time; a GPU checks and times
    all of these (--device none: it does not). Other latencies come from the run.
    """
    from ssdprof.profiling import api
    from ssdprof.reports.export.run_json import explanation_json
    from ssdprof.reports.text.explain import first_part, second_part

    with console.ProgressBar(quiet=quiet) as progress:
        explanation = api.explain(
            config,
            subject.build() if subject.arguments else None,
            run=run,
            **asdict(target),
            **counters.asked(),
            force=force,
            command=command_line(),
            on_event=progress,
            warn=console.note,
            on_answer=lambda first: None if json else progress.show(first_part(first)),
        )
    console.show(explanation_json(explanation) if json else second_part(explanation))
    return 130 if explanation.header.interrupted else int(explanation.row.compiled is None)
