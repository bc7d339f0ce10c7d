"""What the benchmarks share: `ssdprof sweep` run as a user runs it, in a process of its own, and text tables."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssdprof.kernels.interface import LaunchPlan
from ssdprof.profiling.gpu.devices import GpuInfo, gpus
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.runs.store import load_run
from ssdprof.profiling.workers.pool import compile_plans

TIMEOUT_S = 1200.0
PASSED, FAILED = 0, 1


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
    """The first GPU, which is the one that a sweep takes; where there is none the parser ends the script."""
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
    command: Sequence[str], *, env: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
) -> Finished:
    """Runs a command with its output in pipes. Ends the script, with what it last said, where it fails or is late."""
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
    if process.returncode != 0:
        said = (process.stderr.strip() or process.stdout.strip())[-2000:]
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}\n{said}")
    return Finished(process.stdout, wall_s)


def swept(
    options: Sequence[str], path: Path, *, env: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
) -> Swept:
    """`ssdprof sweep` with these options, its run kept at `path`. Ends the script where the sweep fails."""
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "ssdprof", "sweep", *options, "-o", str(path)]
    finished = run_process(command, env=env, timeout_s=timeout_s)
    return Swept(load_run(path), finished.wall_s)


def compile_ahead(plans: Sequence[LaunchPlan], arch: str) -> None:
    """Compiles the launches into Triton's cache, several at once; one that fails will say so when it is launched."""
    named = {str(number): plan for number, plan in enumerate(plans)}
    compile_plans(named, arch, jobs=os.cpu_count() or 1, timeout_s=TIMEOUT_S, on_step=lambda _: None)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under their headings, the first to the left and the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    aligned = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines]
    return "\n".join("  ".join(cells).rstrip() for cells in aligned)


def verdict(passed: bool, text: str) -> str:
    """A criterion in a line, with whether it is met."""
    return f"{'met' if passed else 'NOT MET'}: {text}"
