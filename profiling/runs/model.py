"""A run as values: a row for each config, what the run is of, and what explains a config of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from ssdprof.kernels.config import Config, Param
from ssdprof.kernels.interface import LeftOut, Question, Remark, Tolerances
from ssdprof.profiling.hardware.ceilings import Ceilings
from ssdprof.profiling.hardware.occupancy import Occupancy
from ssdprof.profiling.runs.bound import Bound
from ssdprof.profiling.runs.counters import Counters
from ssdprof.profiling.runs.ledger import Ledger
from ssdprof.profiling.runs.measured import Check, Compiled, Conditions, Timing
from ssdprof.profiling.runs.modelled import Model
from ssdprof.profiling.runs.registers import Registers

Status = Literal[
    "ok", "wrong", "differs", "unstable", "compile-error", "out-of-resources", "launch-error", "timeout", "not-run"
]
STATUSES: Mapping[Status, str] = MappingProxyType(
    {
        "ok": "Correct",
        "wrong": "Wrong output: not ranked, not to be used",
        "differs": "Another output than what it is held against: which is correct is not known",
        "unstable": "Unstable output: not ranked, not to be used",
        "compile-error": "Did not compile",
        "out-of-resources": "Need more than the GPU has",
        "launch-error": "Failed to launch",
        "timeout": "Took too long",
        "not-run": "Not run",
    }
)
"""Every status a row can have, in listing order, with the heading for such rows."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What another run measured for the same config, kernel source, problem and architecture.

    `source` names that run. `same_binary`: whether its registers, spills and shared memory are the same; if not, the
    latency is that of a different binary.
    """

    source: str
    status: Status
    status_reason: str
    check: Check | None
    timing: Timing | None
    same_binary: bool
    copy_gbps: float | None = None

    @property
    def latency_ms(self) -> float | None:
        """The median latency, if there is one."""
        return self.timing.latency_ms if self.timing else None


@dataclass(frozen=True, slots=True)
class Achieved:
    """What a latency makes of the least that the problem needs, whatever the kernel itself moves and computes.

    `gbps`: its least bytes over the latency. `tflops`: its operations over it. `floor_share_pct`: the time that the
    least bytes take at the GPU's measured copy bandwidth, as a share of it. None if a figure behind it is not known.
    """

    gbps: float | None
    tflops: float | None
    floor_share_pct: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """Everything known about one config. `status_reason` is empty only if `status` is ok.

    `rank` counts from 1: ok rows by latency or, in a run that measured nothing, rows that were recorded as ok.
    `tied_with_best`: its difference from the best is within the noise. `driver_blocks_per_sm` is the driver's own
    answer, if a GPU was asked. `by_construction`: why the output must be wrong, known before anything ran; empty if it
    need not be. `recorded` is added to rows of a run that measured nothing, and is not kept with them. Only rows with a
    rank have `achieved` something: a wrong output is no work done. `answer` counts the run's different outputs from 1,
    the reference's first, if which of them is correct is not known. `counters`: what ncu counted, if it was asked.
    `model`: what it moves and executes, computed from its binary. `floor_ms`: the time that the least bytes take at the
    GPU's copy bandwidth. `bound`: what bounds its latency, if that is known.
    """

    config: Config
    config_id: str
    status: Status
    status_reason: str = ""
    compiled: Compiled | None = None
    check: Check | None = None
    timing: Timing | None = None
    occupancy: Occupancy | None = None
    driver_blocks_per_sm: int | None = None
    rank: int | None = None
    speedup_vs_baseline: float | None = None
    tied_with_best: bool | None = None
    by_construction: str = ""
    recorded: Recorded | None = None
    achieved: Achieved | None = None
    answer: int | None = None
    counters: Counters | None = None
    model: Model | None = None
    floor_ms: float | None = None
    bound: Bound | None = None

    @property
    def known_status(self) -> Status:
        """Its own status, or the recorded one if it only compiled here."""
        return self.recorded.status if self._only_compiled and self.recorded else self.status

    @property
    def known_reason(self) -> str:
        """The reason for that status."""
        return self.recorded.status_reason if self._only_compiled and self.recorded else self.status_reason

    @property
    def known_timing(self) -> Timing | None:
        """Its own timing, or the recorded one."""
        return self.timing or (self.recorded.timing if self.recorded else None)

    @property
    def known_check(self) -> Check | None:
        """Its own check, or the recorded one."""
        return self.check or (self.recorded.check if self.recorded else None)

    @property
    def known_latency_ms(self) -> float | None:
        """The median of that timing."""
        return self.known_timing.latency_ms if self.known_timing else None

    @property
    def _only_compiled(self) -> bool:
        return self.status == "not-run" and self.compiled is not None


@dataclass(frozen=True, slots=True)
class Device:
    """The device that a run was measured on, or compiled for (`name` None: nothing was measured).

    `limits_differ`: where the driver's attributes differ from those used to compute occupancy, a line each.
    `conditions` are those before the run. `others`: other processes that used the GPU, a line each. `ceilings`: those
    that were measured on it; `ceilings_for` knows some of a GPU that has none.
    """

    arch: str
    name: str | None = None
    uuid: str | None = None
    driver: str | None = None
    cuda: str | None = None
    num_sms: int | None = None
    memory_bytes: int | None = None
    l2_bytes: int | None = None
    copy_gbps: float | None = None
    limits_differ: tuple[str, ...] = ()
    sm_clock_max_mhz: int | None = None
    memory_clock_max_mhz: int | None = None
    power_limit_w: float | None = None
    conditions: Conditions = Conditions()  # noqa: RUF009  # frozen
    others: tuple[str, ...] = ()
    ceilings: Ceilings | None = None


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What a run measured: everything that must be equal before two latencies may be compared.

    `kernel_hashes`: hashes of the source, by variant. `problem` is the subject's identity, `params` what its configs
    set. `bytes_min` and `flops` are the least that the problem needs; None if the subject does not say. `budget_s`: the
    time for the rounds that time the best configs again. `tolerances`: how far off each correct output may be.
    `left_out`: configs that the kernel's own pruning dropped. `remarks`: what the subject says about these configs.
    `kernel_file`: the source file that the kernel was loaded from, if it is not part of ssdprof. `ptxas`: the version
    of the one that compiled, and its path unless it is Triton's own; empty if that was not noted. `stopped`: why the
    sweep gave up compiling, which no config is to blame for; empty if it did not. `question`: what users of this kernel
    ask about one parameter. `unordered`: outputs that the kernel sums by atomics. `reference`: what outputs
    were held against, in words; empty if the subject does not say.
    """

    kernel: str
    kernel_hashes: dict[str, str]
    problem: dict[str, Any]
    space: str
    device: Device
    triton: str
    torch: str | None
    python: str
    ssdprof: str
    seed: int
    date: str
    command: str
    baseline_id: str | None
    bytes_min: int | None
    flops: int | None
    budget_s: float = 0.0
    tolerances: tuple[Tolerances, ...] = ()
    interrupted: bool = False
    params: tuple[Param, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[Remark, ...] = ()
    kernel_file: str = ""
    ptxas: str = ""
    stopped: str = ""
    question: Question | None = None
    unordered: tuple[str, ...] = ()
    reference: str = ""

    @property
    def provenance(self) -> str:
        """Where and when a run was measured: device, driver, Triton, date."""
        driver = f", driver {self.device.driver}" if self.device.driver else ""
        return f"{self.device.name}{driver}, Triton {self.triton}, {self.date[:10]}"

    def comparable_variants(self, other: RunHeader) -> frozenset[str]:
        """The variants with the same source, problem and architecture in the other run, so latencies compare."""
        ours = (self.kernel, self.problem, self.device.arch)
        if ours != (other.kernel, other.problem, other.device.arch):
            return frozenset()
        return frozenset(name for name, of in self.kernel_hashes.items() if of == other.kernel_hashes.get(name))


@dataclass(frozen=True, slots=True)
class Run:
    """The complete result of one sweep. `file`: what `explain` must be given to find it; empty if it was kept last."""

    header: RunHeader
    rows: tuple[Row, ...]
    file: str = field(default="", compare=False)

    @property
    def measured(self) -> bool:
        """Whether this run was measured on a GPU, not only compiled."""
        return self.header.device.name is not None

    @property
    def ranked(self) -> tuple[Row, ...]:
        """The rows with a rank, best first."""
        return tuple(sorted((row for row in self.rows if row.rank is not None), key=lambda row: row.rank or 0))


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The config recompiled with one parameter changed, ordered by its value, the config itself among them."""

    param: Param
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A config as compiled, and as compiled with one parameter changed at a time.

    `question`: what users of this kernel ask about one parameter. `latency_source` says where the rows' recorded
    latencies come from ("measured on NVIDIA H100 …", "recorded on …"), `source` is that run; None if there are none.
    `whose` says which problem and run it is of. `ledger`: what the config's shared memory holds; None if it did not
    compile, or if that could not be read, for the reason in `ledger_absent`. `registers` likewise of its registers.
    """

    header: RunHeader
    row: Row
    neighbours: tuple[Neighbours, ...]
    question: Question | None
    latency_source: str | None
    whose: str = ""
    source: Run | None = None
    ledger: Ledger | None = None
    ledger_absent: str = ""
    registers: Registers | None = None
    registers_absent: str = ""
