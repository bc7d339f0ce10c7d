"""The configs of a space by their ids."""

from __future__ import annotations

from ssdprof.kernels.config import config_id
from ssdprof.kernels.ssd.spaces import space


def ids(name: str, dstate: int = 128, variant: str | None = None) -> list[str]:
    return [config_id(config) for config in space(name, dstate=dstate, variant=variant).configs]
