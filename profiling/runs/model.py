"""The results of a sweep, as values: what was compiled, checked, timed and computed for each config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from ssdprof.kernels.config import Config, Param
from ssdprof.kernels.interface import LeftOut, Question, Remark, Tolerances
from ssdprof.profiling.hardware.occupancy import Launch, Occupancy

Status = Literal["ok", "wrong", "unstable", "compile-error", "out-of-resources", "launch-error", "timeout", "not-run"]
STATUSES: Mapping[Status, str] = MappingProxyType(
    {
        "ok": "Correct",
        "wrong": "Wrong output: not ranked, not to be used",
        "unstable": "Unstable output: not ranked, not to be used",
        "compile-error": "Did not compile",
        "out-of-resources": "Need more than the GPU has",
        "launch-error": "Failed to launch",
        "timeout": "Took too long",
        "not-run": "Not run",
    }
)
"""Every status a row can have, in the order in which they are listed, with what heads such rows."""
FindingCode = Literal["input-changed", "outside", "nan", "partial", "tail", "one-tile", "rows", "everywhere"]
FORBIDDEN_WRITES: tuple[FindingCode, ...] = ("input-changed", "outside")
TimedBy = Literal["events", "graph", "host"]


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the compiler produced for one config, read from the binary.

    `num_warps` is the compiled count, which warp specialisation raises; `grid_blocks` counts the blocks of clusters one
    by one. `spill_bytes` is local memory per thread, stack included. `num_barriers` is what the binary declares.
    """

    registers_per_thread: int
    spill_bytes: int
    dynamic_shared_mem_bytes: int
    static_shared_mem_bytes: int
    num_warps: int
    num_barriers: int
    num_ctas: int
    grid_blocks: int
    compile_s: float

    @property
    def threads_per_block(self) -> int:
        """Threads of one block."""
        return 32 * self.num_warps

    @property
    def launch(self) -> Launch:
        """The launch as the occupancy model takes it."""
        return Launch(
            threads_per_block=self.threads_per_block,
            registers_per_thread=self.registers_per_thread,
            dynamic_shared_mem_bytes=self.dynamic_shared_mem_bytes,
            static_shared_mem_bytes=self.static_shared_mem_bytes,
            num_barriers=self.num_barriers,
            grid_blocks=self.grid_blocks,
            num_ctas=self.num_ctas,
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with an output: a reason code, and a message with its figures and the likely cause.

    `input-changed`: the launch wrote to its input; `outside`: it wrote beyond its output. The others say where the
    wrong rows are: NaN among them, an output that leaves out part of a sum (`partial`), the last chunk alone (`tail`),
    one tile alone, some rows, everywhere.
    """

    code: FindingCode
    message: str


@dataclass(frozen=True, slots=True)
class Check:
    """How far the output was from the reference, over all launches that were checked.

    Errors are relative and NaN where an element was not a number or was never written. `bad_rows` of `rows` exceed the
    row tolerance. `repeatable`: every launch on the same input gave the same bits. `seeds`: inputs it was checked on.
    Of several outputs the figures are those of the worst, which `output` names.
    """

    relative_error: float
    worst_row_error: float
    bad_rows: int
    rows: int
    repeatable: bool
    launches: int
    seeds: int = 1
    findings: tuple[Finding, ...] = ()
    output: str = ""

    @property
    def harmless(self) -> bool:
        """Whether nothing but the output was written: what writes elsewhere is not launched again to be timed."""
        return all(finding.code not in FORBIDDEN_WRITES for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What NVML says of a GPU while it is timed; None where NVML does not say.

    `throttled` names the thermal and power reasons for which the clocks were lowered, none in most cases.
    """

    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    power_w: float | None = None
    temperature_c: int | None = None
    throttled: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Latencies of one config's launches in a row, L2 flushed before each, and the GPU's conditions meanwhile.

    `timed_by`: CUDA events between launches, events inside a CUDA graph, or the host's clock. `round` 0 is the first
    look at a config, right after its check; from 1 they are the rounds in which the best are timed again.
    """

    config_id: str
    samples_ms: tuple[float, ...]
    timed_by: TimedBy
    conditions: Conditions = Conditions()
    round: int = 0

    @property
    def throttled(self) -> bool:
        """Whether clocks were lowered for heat or power meanwhile, so that the samples do not count."""
        return bool(self.conditions.throttled)


@dataclass(frozen=True, slots=True)
class Timing:
    """Latency of one launch with a flushed L2: median, percentiles, 95 % confidence interval of the median.

    `samples` were kept and `dropped_samples` dropped, taken while clocks were lowered for the reasons in `throttled`
    (None: NVML does not say). `only_throttled`: none was taken otherwise, so these stand, for want of better. Clocks,
    power and temperature are medians over the batches, None where NVML does not say.
    """

    latency_ms: float
    latency_p20_ms: float
    latency_p80_ms: float
    latency_ci95_low_ms: float
    latency_ci95_high_ms: float
    samples: int
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    power_w: float | None = None
    temperature_c: int | None = None
    timed_by: TimedBy = "events"
    dropped_samples: int = 0
    throttled: tuple[str, ...] | None = None
    only_throttled: bool = False

    @property
    def interval_share(self) -> float:
        """Width of the confidence interval over the median."""
        return (self.latency_ci95_high_ms - self.latency_ci95_low_ms) / self.latency_ms if self.latency_ms else 0.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A device ready to measure: what torch says of it, and its measured copy bandwidth (bytes read and written).

    `limits_differ`: where the driver's attributes are not those of limits.json, a line each. `pid`: of the process that
    measures.
    """

    num_sms: int | None
    l2_bytes: int | None
    memory_bytes: int | None
    copy_gbps: float | None
    limits_differ: tuple[str, ...] = ()
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the driver says of the loaded kernel."""

    registers_per_thread: int
    spill_bytes: int
    blocks_per_sm: int | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One launch, checked and timed: one batch, or none where it was not worth it."""

    check: Check
    batch: Batch | None
    loaded: Loaded | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What another run measured of the same config, kernel source, problem and architecture.

    `source` says of which run. `same_binary`: whether registers, spills and shared memory are the same there; if not,
    the latency is that of another binary.
    """

    source: str
    status: Status
    status_reason: str
    check: Check | None
    timing: Timing | None
    same_binary: bool

    @property
    def latency_ms(self) -> float | None:
        """The median latency, if there is one."""
        return self.timing.latency_ms if self.timing else None


@dataclass(frozen=True, slots=True)
class Row:
    """Everything known of one config. `status_reason` is empty only if `status` is ok.

    `rank` counts from 1: the ok rows by latency and, in a run that measured nothing, those that were recorded as ok.
    `tied_with_best`: its difference to the best is within the noise. `driver_blocks_per_sm` is the driver's own answer,
    if a GPU was asked. `by_construction`: why the output must be wrong, known before anything ran; empty: nothing says
    so. `recorded` is laid over rows of a run that measured nothing, and is not kept with them.
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

    @property
    def known_status(self) -> Status:
        """Its own status, or the recorded one if it only compiled here."""
        return self.recorded.status if self._only_compiled and self.recorded else self.status

    @property
    def known_reason(self) -> str:
        """The reason of that status."""
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
    """Where a run was measured, or for what it was compiled (`name` None: nothing was measured).

    `limits_differ`: where the driver's attributes are not those that occupancy was computed with, a line each.
    `conditions` are those before the run. `others`: other processes that used the GPU, a line each.
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
    conditions: Conditions = Conditions()
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What a run is of: everything that must be equal before two latencies may be compared.

    `kernel_hashes`: of the source, by variant. `problem` is the subject's identity, `params` what its configs set.
    `bytes_min` and `flops` are what the problem needs at least, None if the subject does not say. `budget_s`: the time
    given to the rounds in which the best configs are timed again. `tolerances`: what each correct output may be off by.
    `left_out`: configs that the kernel's own pruning left out. `remarks`: what the subject says of these configs.
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

    @property
    def provenance(self) -> str:
        """Where and when a measured run was measured: device, driver, Triton, date."""
        driver = f", driver {self.device.driver}" if self.device.driver else ""
        return f"{self.device.name}{driver}, Triton {self.triton}, {self.date[:10]}"

    def comparable_variants(self, other: RunHeader) -> frozenset[str]:
        """The variants whose latencies in the other run are of the same source, problem and architecture."""
        ours = (self.kernel, self.problem, self.device.arch)
        if ours != (other.kernel, other.problem, other.device.arch):
            return frozenset()
        return frozenset(name for name, of in self.kernel_hashes.items() if of == other.kernel_hashes.get(name))


@dataclass(frozen=True, slots=True)
class Run:
    """One sweep's complete result."""

    header: RunHeader
    rows: tuple[Row, ...]

    def comparable_rows(self, header: RunHeader) -> tuple[Row, ...]:
        """The rows that are of the same source, problem and architecture as a run with that header."""
        variants = header.comparable_variants(self.header)
        return tuple(row for row in self.rows if row.config.variant in variants)

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
    """A config, what the compiler made of it, and of it with one parameter changed at a time.

    `question`: what users of this kernel ask of one parameter. `latency_source` says where the recorded latencies of
    the rows come from ("measured on NVIDIA H100 …", "recorded on …"), None if there are none.
    """

    header: RunHeader
    row: Row
    neighbours: tuple[Neighbours, ...]
    question: Question | None
    latency_source: str | None
