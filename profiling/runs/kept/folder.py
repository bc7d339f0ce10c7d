"""The folder that runs are kept in. Light: a list of the runs imports nothing else that knows them."""

from __future__ import annotations

from pathlib import Path

import platformdirs

SUFFIX = ".jsonl"


def runs_dir() -> Path:
    """Where runs are kept: `ssdprof/runs` in the platform's folder for user data."""
    return Path(platformdirs.user_data_dir("ssdprof", appauthor=False)) / "runs"


def kept_files() -> list[Path]:
    """The files in the data folder, latest run first."""
    return sorted(runs_dir().glob(f"*{SUFFIX}"), reverse=True)
