"""What a sweep is asked, and what it tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ssdprof.kernels.interface import Config, KernelSpec
from ssdprof.profiling.gpu.devices import GpuInfo
from ssdprof.profiling.runs.model import Row, TimedBy

DEFAULT_BUDGET_S = 10.0
SEEDS = 2
"""Sets of random inputs, each with its reference, that every config is checked on."""
GUARD_BYTES = 16 << 20
"""Memory on either side of the output that a launch must leave as it is."""
FLUSH_L2_FACTOR = 2
"""What is read before each timed launch to flush L2, as a multiple of its size."""
LOAD_BYTES = 64 << 20
"""What is copied over and over beside a launch that is checked under load."""
COPY_BYTES = 1 << 30
"""What is copied to measure bandwidth."""
Phase = Literal["compiling", "preparing", "measuring", "refining"]


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What to sweep. `gpu` None compiles only, for `arch`; `timeout_s` is for one config's compilation or measurement.

    `baseline` None: speed-ups are relative to nothing. `command` is the command line, for the run file. `budget_s` is
    for the rounds in which the best are timed again. `timed_by` None: CUDA graphs where launches are short.
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
    budget_s: float = DEFAULT_BUDGET_S
    timed_by: TimedBy | None = None


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
