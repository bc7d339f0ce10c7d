"""Run files: one JSON file per sweep, kept in the user's data folder, and the recorded runs that ship with ssdprof."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import platformdirs

from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.interface import Config
from ssdprof.profiling.model import Check, Compiled, Device, Row, Run, RunHeader, Timing
from ssdprof.profiling.occupancy import Occupancy
from ssdprof.profiling.rank import rank

FORMAT = 1
RECORDED = "recorded"
"""In place of a path: the recorded run that ships with ssdprof."""


class RunError(UsageError):
    """A run file that is missing or cannot be read, or a row that a run does not have."""


def runs_dir() -> Path:
    """Where runs are kept: `ssdprof/runs` in the platform's folder for user data."""
    return Path(platformdirs.user_data_dir("ssdprof", appauthor=False)) / "runs"


def new_run_path(run: Run) -> Path:
    """A name of its own for a new run, which sorts by date."""
    stamp = "".join(character for character in run.header.date if character.isalnum())
    return runs_dir() / f"{stamp}-{Path(run.header.space).stem}-{run.header.device.arch}-{os.getpid()}.json"


def save_run(run: Run, path: Path) -> None:
    """Writes the run whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(dump_run(run), encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def dump_run(run: Run) -> str:
    """The run as JSON text. Values that are no numbers are written as the strings NaN, Infinity and -Infinity."""
    content = {"format": FORMAT, "header": asdict(run.header), "rows": [asdict(row) for row in run.rows]}
    return json.dumps(_encoded(content), allow_nan=False)


def load_run(path: Path) -> Run:
    """Reads a run file. Raises RunError where it is missing or not one of this format."""
    try:
        return parse_run(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"no run file {path}: `ssdprof sweep` keeps one, or give another with --run") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path} is not a run file of format {FORMAT}: {type(error).__name__}: {error}") from error


def parse_run(text: str) -> Run:
    """The run in JSON text. Raises ValueError, KeyError or TypeError where it is none."""
    content = json.loads(text)
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']!r}")
    header, device = content["header"], _decoded(content["header"]["device"])
    device["limits_differ"] = tuple(device.get("limits_differ", ()))
    return Run(
        header=RunHeader(**{**header, "device": Device(**device)}),
        rows=tuple(_row(row) for row in content["rows"]),
    )


def latest_run() -> Run:
    """The run kept last. Raises RunError where there is none."""
    kept = sorted(runs_dir().glob("*.json")) if runs_dir().is_dir() else []
    if not kept:
        raise RunError(
            f"no run has been kept yet: run `ssdprof sweep` first, or give --run {RECORDED} for the recorded one"
        )
    return load_run(kept[-1])


def recorded_runs() -> Iterator[Run]:
    """The runs that ship with ssdprof, each measured on a named GPU."""
    for path in sorted(Path(__file__).parent.glob("recorded_*.json")):
        yield load_run(path)


def recorded_for(run: Run) -> Run | None:
    """The recorded run of the same kernel source, problem and architecture that holds most of this run's configs.

    Only rows of this run's configs are kept, ranked among themselves; None where there is no such row.
    """
    wanted = {row.config_id for row in run.rows}
    best: Run | None = None
    for recorded in recorded_runs():
        if not run.header.comparable(recorded.header):
            continue
        rows = tuple(row for row in recorded.rows if row.config_id in wanted)
        if rows and len(rows) > (len(best.rows) if best else 0):
            best = replace(recorded, rows=rank(rows, run.header.baseline_id))
    return best


def find_row(run: Run, reference: str) -> Row:
    """The row that `#3` (by rank), `best` or `baseline` names; ranks of a compile-only run are the recorded ones.

    Raises RunError where the run has no such row.
    """
    if reference == "baseline":
        wanted = run.header.baseline_id
        if wanted is None:
            raise RunError("this run has no baseline: name one with `ssdprof sweep --baseline CONFIG`")
    else:
        ranked = (run if run.measured else recorded_for(run) or run).ranked
        if not ranked:
            raise RunError(
                f"{reference}: the run has no ranked config (nothing right was measured): name a config by its id"
            )
        place = 1 if reference == "best" else _place(reference)
        if not 1 <= place <= len(ranked):
            raise RunError(f"{reference}: the run has ranks #1 to #{len(ranked)}")
        wanted = ranked[place - 1].config_id
    row = next((row for row in run.rows if row.config_id == wanted), None)
    if row is None:
        raise RunError(f"{reference}: {wanted} is not among the run's configs")
    return row


def _place(reference: str) -> int:
    digits = reference.removeprefix("#")
    if not (reference.startswith("#") and digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise RunError(f"{reference!r} names no row of a run: give #N (its rank), best or baseline")
    return int(digits)


def _row(fields: dict[str, Any]) -> Row:
    parts = {"compiled": Compiled, "check": Check, "timing": Timing}
    values = {name: _decoded(value) for name, value in fields.items()}
    for name, kind in parts.items():
        if values[name] is not None:
            values[name] = kind(**values[name])
    if values["occupancy"] is not None:
        occupancy = values["occupancy"]
        values["occupancy"] = Occupancy(**{**occupancy, "limiters": tuple(occupancy["limiters"])})
    return Row(**{**values, "config": Config(**values["config"])})


def _encoded(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {name: _encoded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(item) for item in value]
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _decoded(item) for name, item in value.items()}
    if value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    return value
