"""What compiling, checking and timing one config gives, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ssdprof.profiling.hardware.occupancy import Launch

FindingCode = Literal["input-changed", "outside", "nan", "partial", "tail", "one-tile", "rows", "everywhere"]
FORBIDDEN_WRITES: tuple[FindingCode, ...] = ("input-changed", "outside")
TimedBy = Literal["events", "graph", "host"]


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the compiler produced for one config, read from the binary.

    `num_warps` is the compiled count, which warp specialisation raises; `grid_blocks` counts each block of a cluster.
    `spill_bytes` is local memory per thread, stack included. `num_barriers` is what the binary declares.
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
        """Threads per block."""
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
    """What is wrong with an output: a reason code, and a message with figures and the likely cause.

    `input-changed`: the launch wrote to its input; `outside`: it wrote beyond its output; `partial`: the output leaves
    out part of a sum. The others say which rows are wrong: some with NaN, only the last chunk (`tail`), only one tile,
    some rows, everywhere.
    """

    code: FindingCode
    message: str


@dataclass(frozen=True, slots=True)
class Check:
    """How far the output was from the reference, over all checked launches.

    Errors are relative; NaN if an element was not a number or was never written. `bad_rows` of `rows` exceed the row
    tolerance. `repeatable`: every launch on the same input gave the same bits. `seeds`: sets of inputs it was checked
    on. With several outputs the figures are those of the worst, named by `output`. `sketch`: numbers whose distance
    from those of another config is about that of the outputs, if which is correct is not known; else empty.
    `sums_alone`: if not repeatable, it is for sums in no fixed order that were within their tolerance in some launches.
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
    sketch: tuple[float, ...] = ()
    sums_alone: bool = False

    @property
    def harmless(self) -> bool:
        """Whether only the output was written; a launch that writes elsewhere is not repeated for timing."""
        return all(finding.code not in FORBIDDEN_WRITES for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What NVML says about a GPU while it is timed; None if NVML does not say.

    `throttled` names the thermal and power reasons for lowered clocks; usually there are none.
    """

    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    power_w: float | None = None
    temperature_c: int | None = None
    throttled: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Latencies of one config's consecutive launches, L2 flushed before each, and the GPU's conditions meanwhile.

    `timed_by`: CUDA events between launches, events inside a CUDA graph, or the host's clock. `round` 0 is the first
    look at a config, right after its check; rounds from 1 time the best again.
    """

    config_id: str
    samples_ms: tuple[float, ...]
    timed_by: TimedBy
    conditions: Conditions = Conditions()
    round: int = 0

    @property
    def throttled(self) -> bool:
        """Whether heat or power lowered the clocks meanwhile, so the samples do not count."""
        return bool(self.conditions.throttled)


@dataclass(frozen=True, slots=True)
class Timing:
    """Latency of one launch with a flushed L2: median, percentiles, 95 % confidence interval of the median.

    `samples` were kept; `dropped_samples` were taken while clocks were lowered, for the reasons in `throttled` (None:
    NVML does not say), and dropped. `only_throttled`: all were taken like that, and are used for lack of better ones.
    Clocks, power and temperature are medians over the batches; None if NVML does not say.
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
    """A device ready to measure: what torch says about it, and its measured copy bandwidth (bytes read and written).

    `limits_differ`: where the driver's attributes differ from limits.json, a line each. `pid`: the measuring process.
    """

    num_sms: int | None
    l2_bytes: int | None
    memory_bytes: int | None
    copy_gbps: float | None
    limits_differ: tuple[str, ...] = ()
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the driver says about the loaded kernel."""

    registers_per_thread: int
    spill_bytes: int
    blocks_per_sm: int | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One launch, checked and timed: one batch, or none if it was not worth timing.

    `failed`: the type and message of the error that a later step raised on a config that is not correct anyway.
    """

    check: Check
    batch: Batch | None
    loaded: Loaded | None
    failed: tuple[str, str] | None = None
