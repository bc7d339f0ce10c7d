"""The entry point of the command line: registers the commands and turns errors into one line and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated

import typer
from typer.completion import get_completion_inspect_parameters, install_callback, show_callback

from ssdprof.cli import console
from ssdprof.cli.capture import capture, launches
from ssdprof.cli.counting import with_counters_value
from ssdprof.cli.devices import devices
from ssdprof.cli.examples import WHOLE, epilog
from ssdprof.cli.explain import explain
from ssdprof.cli.listings import presets, spaces
from ssdprof.cli.occupancy import occupancy
from ssdprof.cli.options import normal_name
from ssdprof.cli.runs import runs, show
from ssdprof.cli.sweep import sweep
from ssdprof.cli.verify import verify
from ssdprof.kernels.errors import SsdprofError, UsageError

DONE, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130
COMPLETION = "_SSDPROF_COMPLETE"  # in a shell's question what may come next
TYPER_USAGE_ERROR = typer.BadParameter.__mro__[1]  # typer's own, which it does not export

app = typer.Typer(
    name="ssdprof",
    add_completion=False,  # typer's own options would import pydantic for every command; ours do the same
    no_args_is_help=True,
    add_help_option=False,  # typer's own would import pydantic for every command's help
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": normal_name},
)
for _command in (sweep, explain, show, runs, capture, launches, occupancy, verify, spaces, presets, devices):
    app.command(epilog=epilog(_command.__name__))(_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(console.version_line())
        raise typer.Exit


def _print_help(context: typer.Context, wanted: bool) -> None:
    if wanted:
        _echo_help(context.get_help())
        raise typer.Exit


def _echo_help(text: str) -> None:
    if text:  # typer with rich has printed it by now and returns nothing
        typer.echo(text)


@app.callback(epilog=epilog(WHOLE))
def ssdprof(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print versions and exit.")
    ] = False,
    help: Annotated[  # noqa: A002  # the option's name
        bool, typer.Option("--help", "-h", callback=_print_help, is_eager=True, help="Show this message and exit.")
    ] = False,
    install_completion: Annotated[
        bool,
        typer.Option(
            "--install-completion",
            callback=install_callback,
            is_eager=True,
            help="Teach your shell to complete commands, options and their values.",
        ),
    ] = False,
    show_completion: Annotated[
        bool,
        typer.Option("--show-completion", callback=show_callback, is_eager=True, help="Show the script that does so."),
    ] = False,
) -> None:
    """Checks, times and explains every launch configuration of a Triton kernel;
    the chunk scan of Mamba-2's SSD is built in.

    Start with [bold]ssdprof sweep --dstate 128 --seqlen 50000[/bold], then [bold]ssdprof explain best[/bold].
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0 done, 1 nothing measured, 2 bad usage, 130 interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what it started and keeps the run, as Ctrl-C does
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal of ASCII must not end a command after all its work
            stream.reconfigure(errors="replace")
    if COMPLETION in os.environ:
        get_completion_inspect_parameters()  # it tells typer the shells
    given = with_counters_value(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(given, prog_name="ssdprof", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except UsageError as error:
        return _fail(str(error), BAD_USAGE)
    except SsdprofError as error:
        return _fail(str(error), FAILED)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed
        return _fail(f"stdout cannot be written: {error.strerror}", FAILED)
    except Exception as error:
        if not isinstance(error, TYPER_USAGE_ERROR):
            raise
        return _usage_error(error)
    return code if isinstance(code, int) else DONE


def _usage_error(error: Exception) -> int:
    """Prints typer's message and how to get help; without a command, the help itself."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if type(error).__name__ == "NoArgsIsHelpError":
        _echo_help(message)
        return BAD_USAGE
    command = getattr(getattr(error, "ctx", None), "command_path", None) or "ssdprof"
    return _fail(f"{message.rstrip('.')} (see {command} --help)", BAD_USAGE)


def _fail(message: str, code: int) -> int:
    console.note(" ".join(message.split()))
    return code
