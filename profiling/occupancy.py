"""Theoretical occupancy as Nsight Compute computes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Occupancy:
    """placeholder until the model lands"""

    blocks_per_sm: int
