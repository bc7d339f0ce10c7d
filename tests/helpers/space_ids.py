"""The chunk scan on a short problem, and the configs of a space by their ids."""

from __future__ import annotations

from typing import Any

from ssdprof.kernels.space import space_of
from ssdprof.kernels.ssd.params import PARAMS
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan


def scan(**sizes: Any) -> ChunkScan:
    """A problem of 1000 tokens with these sizes."""
    return ChunkScan(ChunkScanProblem(seqlen=1000, **sizes))


def ids(name: str, variant: str | None = None, **sizes: Any) -> list[str]:
    return [PARAMS.id(config) for config in space_of(scan(**sizes), name, variant=variant).configs]
