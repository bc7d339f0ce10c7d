"""What the benchmarks share: `ssdprof sweep` run as a user runs it, in a process of its own, and text tables."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ssdprof.profiling.gpu.devices import GpuInfo, gpus
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.runs.store import RunError, load_run

TIMEOUT_S = 1200.0
PASSED, FAILED = 0, 1
NOTHING_MEASURED = 1
"""The exit code of a sweep that came to its end without a latency."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that ended well: what it printed on stdout, and its time from start to exit."""

    stdout: str
    wall_s: float


@dataclass(frozen=True, slots=True)
class Swept:
    """A sweep's run, and the time of its whole process."""

    run: Run
    wall_s: float


def require_gpu(parser: argparse.ArgumentParser) -> GpuInfo:
    """The first GPU, which is the one that a sweep takes; if there is none, the parser ends the script."""
    found = gpus()
    if not found:
        parser.error("no NVIDIA GPU is visible here, and this benchmark needs one")
    return found[0]


def at_least(low: int) -> Callable[[str], int]:
    """An argument type: a whole number from `low` on."""

    def number(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}, got {value}")
        return value

    number.__name__ = "whole number"  # argparse names it in its message
    return number


def run_process(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
    allowed: Callable[[int], bool] = lambda code: code == 0,
) -> Finished:
    """Runs a command with its output in pipes.

    Ends the script with what the command said last, if it takes too long or its exit code is not an `allowed` one.
    """
    start_s = time.perf_counter()
    try:
        process = subprocess.run(
            list(command),
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        sys.exit(f"{' '.join(command)}: not done after {timeout_s:.0f} s")
    wall_s = time.perf_counter() - start_s
    if not allowed(process.returncode):
        said = (process.stderr.strip() or process.stdout.strip())[-2000:]
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}\n{said}")
    return Finished(process.stdout, wall_s)


def swept(
    options: Sequence[str], path: Path, *, env: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
) -> Swept:
    """`ssdprof sweep` with these options, its run kept at `path`.

    Ends the script if the sweep fails. A sweep all of whose configs fail does not: its run says why they do.
    """
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "ssdprof", "sweep", *options, "-o", str(path)]

    def allowed(code: int) -> bool:
        return code == 0 or (code == NOTHING_MEASURED and _is_finished(path))

    finished = run_process(command, env=env, timeout_s=timeout_s, allowed=allowed)
    return Swept(load_run(path), finished.wall_s)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under their headings, the first to the left and the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    aligned = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines]
    return "\n".join("  ".join(cells).rstrip() for cells in aligned)


def verdict(passed: bool, text: str) -> str:
    """A criterion in a line, with whether it is met."""
    return f"{'met' if passed else 'NOT MET'}: {text}"


def _is_finished(path: Path) -> bool:
    """Whether a run was kept there, and came to its end."""
    with suppress(RunError):
        return not load_run(path).header.interrupted
    return False
