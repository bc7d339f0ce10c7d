"""Capturing a whole program: it and its child processes note their launches, each in a file, which are put together."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from ssdprof.kernels.captured.live.options import CaptureError, CaptureOptions
from ssdprof.kernels.captured.model import Captured

FOLDER_VARIABLE = "SSDPROF_CAPTURE_FOLDER"
"""The environment variable with the folder in which the processes of a program put their files."""
OPTIONS_VARIABLE = "SSDPROF_CAPTURE_OPTIONS"
"""The one with what they keep, as `CaptureOptions.text` gives it."""
_ENDING = ".capture"
_SITE = """\
# Of ssdprof: notes launches of Triton kernels in this process, then runs the sitecustomize that would run without it.
import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
_mine = sys.modules.pop("sitecustomize", None)
_path = list(sys.path)
sys.path[:] = [one for one in sys.path if os.path.abspath(one or ".") != _here]
try:
    import sitecustomize
except ImportError as error:
    if error.name != "sitecustomize":
        raise
    sys.modules["sitecustomize"] = _mine
finally:
    try:
        from ssdprof.kernels.captured.live.startup import begin
    except Exception as error:
        with open(os.path.join({folder!r}, "%d.failed" % os.getpid()), "w") as file:
            file.write("%s: %s: %s" % (sys.executable, type(error).__name__, error))
    else:
        begin()
"""


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ran: its exit code (negative: the signal that ended it), what was kept, and what went wrong.

    `captured` is None, and there is no file, if no process of it launched a Triton kernel.
    """

    exit_code: int
    captured: Captured | None
    problems: tuple[str, ...] = ()


def run_command(command: Sequence[str], path: Path, options: CaptureOptions) -> Finished:
    """Runs a program, and keeps launches of it and of all its child processes in a file at `path`.

    `command`: as for a shell; `-m module` and a file that ends in `.py` are run by this Python. The program has the
    terminal's input and output, and Ctrl-C and SIGTERM end it and not this. Its processes must be of Pythons that have
    ssdprof; those with `-I`, `-E` or `-S` are not noted. Raises CaptureError for a command that cannot be started,
    CaptureFileError if the file cannot be written.
    """
    command = python_command(command)
    with _PassingOn() as passing_on:
        folder = _folder_beside(path)
        try:
            exit_code = _run(command, _environment(folder, options), passing_on)
            captured, problems = _together(folder, path, options, " ".join(command))
            return Finished(exit_code, captured, problems)
        finally:
            rmtree(folder, ignore_errors=True)


def python_command(command: Sequence[str]) -> list[str]:
    """The command with this Python in front if it names a module or a file of Python."""
    if not command:
        raise CaptureError("no command: say what to run, such as `script.py` or `-m module`")
    is_python = command[0] in ("-m", "-c") or (command[0].endswith(".py") and not os.access(command[0], os.X_OK))
    is_python = is_python or (command[0].endswith(".py") and os.path.isfile(command[0]))
    return [sys.executable, *command] if is_python else list(command)


def begin() -> None:
    """Has this process note its launches, as its environment says: each child process does that when it starts."""
    folder, text = os.environ.get(FOLDER_VARIABLE), os.environ.get(OPTIONS_VARIABLE)
    if not folder or not text or not os.path.isdir(folder):
        return
    from ssdprof.kernels.captured.live import hooks
    from ssdprof.kernels.captured.live.noting import Noter

    noter = Noter(_own_path(folder), CaptureOptions.from_text(text), always=False)
    hooks.install(noter)
    end = _End(noter)
    atexit.register(end)
    os.register_at_fork(after_in_child=lambda: end.in_child(folder))
    end.on_termination()


class _End:
    """Ends the file of a process, however the process ends: once, and only in the process itself."""

    def __init__(self, noter: Any) -> None:
        self.noter = noter
        self.process = os.getpid()
        self.is_ending = False

    def __call__(self) -> None:
        """Ends the file, if the process launched anything; what goes wrong is left for `run_command` to tell."""
        if self.process != os.getpid():
            return
        self.process, self.is_ending = 0, True
        try:
            self.noter.finish()
        except Exception as error:
            with suppress(OSError):
                self.noter.path.with_suffix(".failed").write_text(f"process {os.getpid()}: {error}")
        self.is_ending = False

    def in_child(self, folder: str) -> None:
        """Begins anew in a forked process. Those of `multiprocessing` end without `atexit`, but with finalizers."""
        self.process = os.getpid()
        self.noter.in_child(_own_path(folder))
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util.register_after_fork(self, lambda end: util.Finalize(None, end, exitpriority=-100))

    def on_termination(self) -> None:
        """SIGTERM ends the file too, unless the program handles it; the process then ends as it would have."""
        with suppress(ValueError):  # not in the main thread
            if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
                signal.signal(signal.SIGTERM, self._terminated)

    def _terminated(self, number: int, _: object) -> None:
        if self.is_ending:  # a second signal, as from `timeout`, must not cut the file off
            return
        self()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


class _PassingOn:
    """Passes SIGTERM on to the program; one that comes once that has ended changes nothing, so the file gets whole."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early = 0
        self._before: Any = None

    def __enter__(self) -> _PassingOn:
        with suppress(ValueError):  # not in the main thread, which alone hears signals
            self._before = signal.signal(signal.SIGTERM, self._pass_on)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def to(self, process: subprocess.Popen[bytes]) -> None:
        """The program, once it runs; it gets what came before."""
        self._process = process
        if self._early:
            process.send_signal(self._early)

    def _pass_on(self, number: int, _: object) -> None:
        if self._process is None:
            self._early = number
        else:
            self._process.send_signal(number)


def _own_path(folder: str) -> Path:
    """A file of this process alone, also if a number of a process is given out twice."""
    descriptor, name = tempfile.mkstemp(suffix=".process", prefix=f"{os.getpid()}-", dir=folder)
    os.close(descriptor)
    return Path(name).with_suffix(_ENDING)


def _folder_beside(path: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.absolute().parent))
    except OSError as error:
        from ssdprof.kernels.captured.file import CaptureFileError

        raise CaptureFileError(
            f"cannot write {path}: {error.strerror}: name a file in a folder that can be written"
        ) from None


def _environment(folder: Path, options: CaptureOptions) -> Mapping[str, str]:
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_SITE.format(folder=str(folder)), encoding="utf-8")
    before = os.environ.get("PYTHONPATH")
    python_path = os.pathsep.join([str(site), *([before] if before else [])])
    return {**os.environ, "PYTHONPATH": python_path, FOLDER_VARIABLE: str(folder), OPTIONS_VARIABLE: options.text()}


def _run(command: Sequence[str], environment: Mapping[str, str], passing_on: _PassingOn) -> int:
    try:
        process = subprocess.Popen(command, env=environment)
    except OSError as error:
        raise CaptureError(
            f"cannot run {command[0]}: {error.strerror}: name a program, or a file that ends in .py"
        ) from None
    passing_on.to(process)
    while process.returncode is None:
        with suppress(KeyboardInterrupt):  # the program got it too, and decides
            process.wait()
    return process.returncode


def _together(
    folder: Path, path: Path, options: CaptureOptions, command: str
) -> tuple[Captured | None, tuple[str, ...]]:
    """Puts the processes' files together; what went wrong in them, each in one line."""
    from dataclasses import replace

    from ssdprof.kernels.captured.file import merge, part_path
    from ssdprof.kernels.captured.live.choosing import chosen
    from ssdprof.kernels.captured.live.hooks import now

    problems = [one.read_text(encoding="utf-8") for one in sorted(folder.glob("*.failed"))]
    parts, unfinished = [], []
    for begun in sorted(folder.glob("*.process"), key=lambda one: one.stat().st_mtime_ns):
        whole = begun.with_suffix(_ENDING)
        if whole.exists():
            parts.append(whole)
        elif part_path(whole).exists():
            parts.append(part_path(whole))
            unfinished.append(str(part_path(whole)))
            number = begun.name.partition("-")[0]
            problems.append(f"process {number} was killed: what it kept is there, what it launched was not counted")
    if not parts:
        return None, tuple(dict.fromkeys(problems))
    captured, wrong = merge(
        parts, path, lambda everything: replace(chosen(everything, options), command=command, date=now())
    )
    problems += [line for line in wrong if not any(part in line for part in unfinished)]
    return captured, tuple(dict.fromkeys(problems))
