"""`ssdprof capture`: runs a program and keeps its launches of Triton kernels; `ssdprof launches`: lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssdprof.cli import console
from ssdprof.cli.options import Force, Json, Quiet, option
from ssdprof.kernels.errors import UsageError

DEFAULT_FILE = "captured.launch"
DEFAULT_LIMIT_GIB = 16.0  # said in the help; ssdprof.kernels.captured.live.options has it
SUFFIX = ".launch"  # ssdprof.kernels.captured has it
SIGNALLED = 128
"""What shells add to the number of a signal that ended a program, for its exit code."""
COMMAND_HELP = "The program, after --: a Python script, -m MODULE, or any command that runs Python."


def capture(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help=COMMAND_HELP, show_default=False)],
    kernel: Annotated[
        str | None, option("Launches", "Only kernels of this name (*, ? and [] fit any).", default="all kernels")
    ] = None,
    launch: Annotated[
        int | None, option("Launches", "Only the launch of this number.", default="the first of each kernel")
    ] = None,
    slowest: Annotated[
        bool, option("Launches", "Only the kernel that took most GPU time in all.", "--slowest")
    ] = False,
    keep: Annotated[
        int, option("Launches", "So many launches of each kernel, alike but for their data.", "--keep", default=True)
    ] = 1,
    no_data: Annotated[
        bool,
        option(
            "Launches",
            "Keep statistics, not data: inputs are then made up, which some kernels do not bear.",
            "--no-data",
        ),
    ] = False,
    limit_gib: Annotated[
        float, option("Launches", "Largest size of the file in GiB.", "--limit", default=True)
    ] = DEFAULT_LIMIT_GIB,
    out: Annotated[
        Path, option("Results", "Keep the launches in this file, which ends in .launch.", "--out", "-o", default=True)
    ] = Path(DEFAULT_FILE),
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Run a program and keep the launches that it makes of Triton kernels, to sweep them afterwards.

    Nothing is edited. Lists every kernel that was launched; the exit code is the program's own.
    """
    from ssdprof.kernels.captured.live.options import CaptureOptions
    from ssdprof.kernels.captured.live.startup import run_command
    from ssdprof.reports.text import captured as report

    if out.suffix != SUFFIX:
        raise UsageError(f"--out {out}: the name must end in {SUFFIX}, by which the other commands know it")
    console.check_writable(out, "--out", force)
    options = CaptureOptions(kernel, launch, slowest, not no_data, limit_gib, keep)
    done = run_command(command, out, options)
    for problem in done.problems:
        console.note(problem)
    exit_code = done.exit_code if done.exit_code >= 0 else SIGNALLED - done.exit_code
    captured = done.captured
    if captured is None or not captured.seen:
        if exit_code == 0:
            console.note(
                f"{' '.join(command)} launched no Triton kernel: nothing is kept. Only Python processes that have "
                "ssdprof are seen, and kernels that Triton launches itself, not those that were compiled ahead"
            )
        return exit_code or 1
    if not captured.launches:
        names = ", ".join(dict.fromkeys(one.name for one in captured.seen))
        console.note(f"no launch is kept: {names} were launched; the list says why none was kept")
    console.show(report.launches_json(captured) if json else report.launches_report(captured))
    if captured.launches and not quiet:
        kept = f"kept {len(captured.launches)} in {out} ({report.size_text(out.stat().st_size)})"
        console.note(f"{kept}; next: {report.next_of(captured, out)}")
    return exit_code or (0 if captured.launches else 1)


def launches(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A capture file.", show_default=False)],
    json: Json = False,
) -> int:
    """List what a capture file has: every kernel that was seen, and the launches that are kept. Runs nothing."""
    from ssdprof.kernels.captured.file import read
    from ssdprof.reports.text import captured as report

    captured = read(file)
    console.show(report.launches_json(captured) if json else report.launches_report(captured))
    return 0
