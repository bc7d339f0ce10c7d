"""What a sweep is asked, and what it tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ssdprof.kernels.interface import Config, KernelSpec
from ssdprof.profiling.device import GpuInfo
from ssdprof.profiling.model import Row

Phase = Literal["compiling", "preparing", "measuring", "refining"]


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What to sweep. `gpu` None compiles only, for `arch`; `timeout_s` is for one config's compilation or measurement.

    `baseline` None: speed-ups are relative to nothing. `command` is the command line, for the run file.
    """

    spec: KernelSpec
    problem: Any
    space: str
    configs: tuple[Config, ...]
    arch: str
    gpu: GpuInfo | None
    seed: int
    baseline: Config | None
    jobs: int
    timeout_s: float
    command: str


@dataclass(frozen=True, slots=True)
class Event:
    """Where the sweep stands: `done` of `total` steps of the phase. `eta_s` None: not known yet."""

    phase: Phase
    done: int
    total: int
    compiled: int
    config_id: str | None
    best: Row | None
    eta_s: float | None
