"""`ssdprof runs` and `ssdprof show`: the runs that are kept, and one of them printed again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssdprof.cli import completion, console
from ssdprof.cli.options import RUN_HELP, Force, Json, Quiet, option, results_option
from ssdprof.cli.sweep import ResultOptions
from ssdprof.cli.sweep import show as show_run
from ssdprof.kernels.errors import UsageError

DEFAULT_RUN = "last"
KEPT_HELP = "Only these: by the number in front, by path, or last."


def runs(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help=KEPT_HELP, show_default=False, autocompletion=completion.runs),
    ] = None,
    remove: Annotated[bool, option("Remove", "Remove the runs that are named.", "--remove")] = False,
    prune: Annotated[int | None, option("Remove", "Remove all but the newest N.", "--prune")] = None,
    older_than: Annotated[
        float | None, option("Remove", "Remove those that were begun more than so many days ago.", "--older-than")
    ] = None,
    json: Json = False,
) -> int:
    """List the runs that are kept, the newest first, with the best config of each; or remove some of them.

    The number in front names a run to show, to explain (--run) and here; it counts from the newest.
    """
    from ssdprof.profiling import results

    if remove and not names:
        raise UsageError("--remove needs the runs to remove: name them, such as `ssdprof runs 3 4 --remove`")
    removed = None
    if remove or prune is not None or older_than is not None:
        removed = results.remove(names or (), prune, older_than)
    found = results.kept_runs(names or ()) if removed is None else ()
    if json:
        from ssdprof.reports.export.kept_json import removed_json, runs_json

        console.show(runs_json(found) if removed is None else removed_json(removed))
    else:
        from ssdprof.reports.text.kept.runs import removed_text, runs_report

        console.show(runs_report(found) if removed is None else removed_text(removed))
    return 0


def show(
    name: Annotated[
        str, typer.Argument(metavar="RUN", help=RUN_HELP, show_default=True, autocompletion=completion.runs)
    ] = DEFAULT_RUN,
    csv: Annotated[
        Path | None, results_option("Write every row as CSV to this file; -: to stdout, instead of the tables.")
    ] = None,
    top: Annotated[int | None, results_option("Show the N best configs.", default="10")] = None,
    all_rows: Annotated[bool, results_option("Show every ranked config.", "--all")] = False,
    wrong: Annotated[bool, results_option("List the wrong and failed configs one by one.", "--wrong")] = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Print a run again as sweep printed it. Needs no GPU: nothing is compiled or measured.

    Its figures are those of the machine that it was swept on, which the first line names.
    """
    from ssdprof.profiling import results

    options = ResultOptions(csv=csv, top=top, all_rows=all_rows, wrong=wrong, force=force)
    options.check(json=json, several=False)
    run = results.load(name)
    if not json and csv != console.STDOUT:
        console.show(f"{results.origin(run, name)}\n\n")
    show_run(run, options, json=json, quiet=quiet)
    return 0
