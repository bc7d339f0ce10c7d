"""Launches in a file, for a process that another program starts (Nsight Compute starts the one that it profiles)."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

from ssdprof.kernels.launch import LaunchPlan, TensorMeta

Launches = tuple[dict[str, TensorMeta], dict[str, LaunchPlan]]


def write_launches(path: Path, tensors: Mapping[str, TensorMeta], plans: Mapping[str, LaunchPlan]) -> None:
    """Writes every tensor by name and every launch by its config's id, in order."""
    path.write_bytes(pickle.dumps((dict(tensors), dict(plans))))


def read_launches(path: Path) -> Launches:
    """The tensors and launches in a file from `write_launches`. Read no other file: reading can run code."""
    launches: Launches = pickle.loads(path.read_bytes())  # noqa: S301  # our own file
    return launches
