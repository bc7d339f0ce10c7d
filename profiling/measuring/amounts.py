"""How much of everything measuring takes: what the engine uses, and what a sweep's estimates count on."""

from __future__ import annotations

from collections.abc import Mapping

from ssdprof.kernels.interface import GivenInputs, Subject
from ssdprof.kernels.launch import TensorMeta

SEEDS = 2
"""Sets of random inputs, each with its reference, to check every config on, unless the subject has its own."""
GUARD_BYTES = 16 << 20
"""Memory on either side of an output that a launch must not change."""
FLUSH_L2_FACTOR = 2
"""Bytes read before each timed launch to flush L2, as a multiple of its size."""
LOAD_BYTES = 64 << 20
"""Bytes per copy; copies repeat beside a launch that is checked under load."""
PIECE_ELEMENTS = 1 << 25
"""Elements of an output that are compared at once."""
COPY_BYTES = 1 << 30
"""Bytes copied to measure bandwidth."""
TURN_MS = 8.0
TURN_SAMPLES = (4, 40)


def input_sets(subject: Subject) -> int:
    """Sets of inputs that a config is checked on: as many as are given, or SEEDS random ones."""
    return subject.input_sets if isinstance(subject, GivenInputs) else SEEDS


def turn_samples(latency_ms: float) -> int:
    """Launches in one turn: about TURN_MS of them."""
    low, high = TURN_SAMPLES
    return max(low, min(high, round(TURN_MS / max(latency_ms, 1e-3))))


def written_storages(metas: Mapping[str, TensorMeta]) -> list[dict[str, TensorMeta]]:
    """For each storage that is written to, its tensors by name; a tensor that names no storage has its own."""
    groups: dict[str, dict[str, TensorMeta]] = {}
    for name, meta in metas.items():
        groups.setdefault(meta.storage or f"/{name}", {})[name] = meta
    return [group for group in groups.values() if any(meta.is_written for meta in group.values())]
