"""What the benchmarks share: `ssdprof sweep` run as a user runs it, in a process of its own, and text tables."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ssdprof.profiling.gpu.devices import GpuInfo, gpus
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.runs.store import RunError, load_run

TIMEOUT_S = 1200.0
temporary_folder = partial(TemporaryDirectory, prefix="ssdprof-benchmark-")
parser_of = partial(argparse.ArgumentParser, formatter_class=argparse.RawDescriptionHelpFormatter)


def require_gpu(parser: argparse.ArgumentParser) -> GpuInfo:
    """The first GPU, which is the one that a sweep takes; if there is none, the parser ends the script."""
    found = gpus()
    if not found:
        parser.error("no NVIDIA GPU is visible here, and this benchmark needs one")
    return found[0]


def at_least(low: int) -> Callable[[str], int]:
    """An argument type: a whole number from `low` on."""

    def number(text: str) -> int:
        if (value := int(text)) < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}, got {value}")
        return value

    number.__name__ = "whole number"  # argparse names it in its message
    return number


def run_process(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
    run: Path | None = None,
) -> tuple[str, float]:
    """What a command prints on stdout, and its seconds from start to exit.

    Ends the script with what the command said last, if it fails or takes too long. A sweep that exits with 1 has not
    failed if its file `run` is complete: no config has a latency, and the run says why.
    """
    env, start_s = {**os.environ, **(env or {})}, time.perf_counter()
    try:
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        sys.exit(f"{' '.join(command)}: not done after {timeout_s:.0f} s")
    wall_s = time.perf_counter() - start_s
    if done.returncode and not (done.returncode == 1 and run and _is_complete(run)):
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{said}")
    return done.stdout, wall_s


def swept(options: Sequence[str], ids: Sequence[str] = (), **settings: Any) -> tuple[Run, float]:
    """The run of `ssdprof sweep` with these options, and the seconds of its process; `ids`: the configs, if listed.

    `settings` are those of `run_process`.
    """
    with temporary_folder() as folder:
        path, listed = Path(folder, "run.jsonl"), Path(folder, "configs.json")
        listed.write_text(json.dumps(ids), encoding="utf-8")
        space = ["--space", str(listed)] if ids else []
        command = [sys.executable, "-m", "ssdprof", "sweep", *options, *space, "-o", str(path)]
        _, wall_s = run_process(command, run=path, **settings)
        return load_run(path), wall_s


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under their headings, the first to the left and the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    aligned = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines]
    return "\n".join("  ".join(cells).rstrip() for cells in aligned)


def verdict(passed: bool, text: str) -> str:
    """A criterion in a line, with whether it is met."""
    return f"{'met' if passed else 'NOT MET'}: {text}"


def _is_complete(path: Path) -> bool:
    with suppress(RunError):
        return not load_run(path).header.interrupted
    return False
