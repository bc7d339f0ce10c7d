"""What a sweep is asked to do, and what it reports while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ssdprof.kernels.config import Config
from ssdprof.kernels.interface import LeftOut, Subject
from ssdprof.profiling.gpu.devices import GpuInfo
from ssdprof.profiling.runs.measured import TimedBy
from ssdprof.profiling.runs.model import Row

DEFAULT_BUDGET_S = 10.0
DEFAULT_TIMEOUT_S = 300.0
Phase = Literal["compiling", "preparing", "measuring", "refining", "counting", "ceilings", "modelling"]


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What to sweep. `gpu` None: only compile, for `arch`. `timeout_s` is for compiling or measuring one config.

    `baseline` None: no speed-ups. `command` is the command line, for the run file. `budget_s` is for the rounds that
    time the best again. `timed_by` None: CUDA graphs if launches are short. `left_out`: configs that the kernel's own
    pruning dropped from the space. `ptxas`: the one that compiles, in words; empty if none does. `models`:
    whether to compute what each config moves and executes.
    """

    subject: Subject
    space: str
    configs: tuple[Config, ...]
    arch: str
    gpu: GpuInfo | None = None
    seed: int = 0
    baseline: Config | None = None
    jobs: int = 1
    timeout_s: float = DEFAULT_TIMEOUT_S
    command: str = ""
    budget_s: float = DEFAULT_BUDGET_S
    timed_by: TimedBy | None = None
    left_out: tuple[LeftOut, ...] = ()
    ptxas: str = ""
    models: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """How far the sweep is: `done` of `total` steps of the phase. `eta_s` None: not known yet."""

    phase: Phase
    done: int
    total: int
    compiled: int
    config_id: str | None
    best: Row | None
    eta_s: float | None
