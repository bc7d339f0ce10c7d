"""Made-up runs for the tests of reports and commands. Registers, shared memory and most latencies are those that the
published chunk scan had on an H100 (Triton 3.6, 50 000 tokens); the rest of a row is made up around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from typing import Any

from fake_ledgers import LEDGERS
from fake_models import MODEL
from rich.console import Console, RenderableType

from ssdprof.kernels.config import Config
from ssdprof.kernels.interface import Question, Tolerances
from ssdprof.kernels.ssd.params import BLOCK_DSTATE, PARAMS, chunk_scan_config
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.gpu.devices import GpuInfo
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.occupancy import occupancy
from ssdprof.profiling.runs.measured import Check, Compiled, Conditions, Timing
from ssdprof.profiling.runs.model import Device, Explanation, Neighbours, Row, Run, RunHeader, Status
from ssdprof.profiling.runs.rank import derived
from ssdprof.profiling.runs.recorded import with_recorded

# What the driver of that H100 says of it.
H100_ATTRIBUTES = {
    "CU_DEVICE_ATTRIBUTE_WARP_SIZE": 32,
    "CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK": 1024,
    "CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR": 2048,
    "CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR": 32,
    "CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK": 65536,
    "CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR": 65536,
    "CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK": 49152,
    "CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 232448,
    "CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR": 233472,
    "CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK": 1024,
}

H100 = Device(
    arch="sm_90",
    name="NVIDIA H100 80GB HBM3",
    driver="580.159.04",
    cuda="13.0",
    num_sms=132,
    memory_bytes=85_520_809_984,
    l2_bytes=52_428_800,
    copy_gbps=3000.0,
    sm_clock_max_mhz=1980,
    memory_clock_max_mhz=2619,
    power_limit_w=700.0,
    conditions=Conditions(1980, 2619, 120.0, 35, ()),
)
NO_GPU = Device(arch="sm_90")
PROBLEM: dict[str, Any] = {
    "seqlen": 50_000,
    "batch": 1,
    "nheads": 128,
    "headdim": 64,
    "ngroups": 8,
    "dstate": 128,
    "chunk_size": 128,
    "dtype": "bfloat16",
    "states_dtype": "bfloat16",
    "d_form": "head",
    "z": False,
    "seq_idx": False,
}
HEADER = RunHeader(
    kernel="chunk_scan",
    kernel_hashes={"tile": "0123456789abcdef", "split": "0123456789abcdef"},
    problem=PROBLEM,
    space="mamba",
    device=H100,
    triton="3.6.0",
    torch="2.11.0",
    python="3.11.7",
    ssdprof="0.1.0",
    seed=0,
    date="2026-11-23T09:00:00+00:00",
    command="ssdprof sweep --space mamba",
    baseline_id="m64n64k32d128w2s4",
    bytes_min=2_820_000_000,
    flops=1_200_000_000_000,
    tolerances=(Tolerances(0.01, 0.05, "operands and output are rounded", output="out"),),
    budget_s=10.0,
    params=PARAMS.params,
)
COMPILE_HEADER = replace(HEADER, device=NO_GPU, triton="3.9.0", budget_s=0.0)
SUBJECT = ChunkScan(ChunkScanProblem(**PROBLEM))


def config(
    m: int, n: int, k: int, dstate: int, warps: int, stages: int, maxnreg: int | None = None, variant: str = "tile"
) -> Config:
    return chunk_scan_config(m, n, k, dstate, warps, stages, maxnreg=maxnreg, variant=variant)


def id_of(config: Config) -> str:
    return PARAMS.id(config)


def timing(latency_ms: float, spread: float = 0.003) -> Timing:
    """A timing whose interval is a third of its spread, which is a share of the latency to either side."""
    return Timing(
        latency_ms=latency_ms,
        latency_p20_ms=latency_ms * (1 - spread),
        latency_p80_ms=latency_ms * (1 + spread),
        latency_ci95_low_ms=latency_ms * (1 - spread / 3),
        latency_ci95_high_ms=latency_ms * (1 + spread / 3),
        samples=100,
        sm_clock_mhz=1980,
        memory_clock_mhz=2619,
        power_w=600.5,
        temperature_c=52,
        throttled=(),
    )


def row(
    config: Config,
    registers: int | None = None,
    smem_bytes: int = 0,
    *,
    latency_ms: float | None = None,
    error: float | None = 0.0018,
    status: Status = "ok",
    reason: str = "",
    spill_bytes: int = 0,
) -> Row:
    """A row, compiled if `registers` are given and timed if `latency_ms` is; its occupancy is the real one.

    Its model is that of one config, whatever its own.
    """
    compiled = occupied = check = None
    if registers is not None:
        compiled = Compiled(registers, spill_bytes, smem_bytes, 0, config.number("num_warps"), 1, 1, 100_096, 1.5)
        occupied = occupancy(compiled.launch, limits_for("sm_90"), num_sms=132)
        if error is not None and status in ("ok", "wrong", "differs", "unstable"):
            bad_rows = 0 if status == "ok" else 6_400_000
            check = Check(error, 2 * error, bad_rows, 6_400_000, status != "unstable", launches=10, seeds=2)
    return Row(
        config=config,
        config_id=id_of(config),
        status=status,
        status_reason=reason,
        compiled=compiled,
        check=check,
        timing=None if latency_ms is None else timing(latency_ms),
        occupancy=occupied,
        model=None if compiled is None else MODEL,
    )


def with_timing(row: Row, **changes: Any) -> Row:
    """The row with fields of its timing changed."""
    assert row.timing is not None
    return replace(row, timing=replace(row.timing, **changes))


def run(rows: Sequence[Row], header: RunHeader = HEADER, tied: Sequence[str] = ()) -> Run:
    """A run of these rows: ok and timed ones are ranked, those whose ids are in `tied` are ties with the best."""
    by_latency = sorted((r for r in rows if r.status == "ok" and r.timing), key=_latency_ms)
    baseline = next((r for r in rows if r.config_id == header.baseline_id and r.timing), None)
    ranked = {
        r.config_id: replace(
            r,
            rank=rank,
            speedup_vs_baseline=None if baseline is None else _latency_ms(baseline) / _latency_ms(r),
            tied_with_best=rank == 1 or r.config_id in tied,
        )
        for rank, r in enumerate(by_latency, 1)
    }
    filled = (ranked.get(r.config_id, r) for r in rows)
    return Run(header, tuple(derived(r, header) for r in filled))


def _latency_ms(row: Row) -> float:
    assert row.timing is not None
    return row.timing.latency_ms


BASELINE = config(64, 64, 32, 128, 2, 4)
TILES: tuple[tuple[tuple[int, int, int, int, int], dict[int, tuple[int, int, float]]], ...] = (
    ((128, 64, 32, 4, 4), {32: (186, 86784, 2.164), 64: (186, 99072, 2.251), 128: (180, 123648, 3.766)}),
    ((64, 128, 32, 4, 4), {32: (150, 74496, 1.877), 64: (155, 86784, 2.309), 128: (162, 111360, 2.856)}),
    ((64, 32, 32, 2, 5), {32: (128, 46080, 2.688), 64: (137, 46080, 2.787), 128: (199, 46080, 3.176)}),
    ((32, 64, 32, 2, 5), {32: (110, 35840, 1.663), 64: (127, 35840, 1.757), 128: (145, 35840, 2.408)}),
    ((64, 64, 32, 2, 4), {32: (205, 41728, 1.798), 64: (214, 41728, 1.890), 128: (255, 41728, 2.332)}),
)
"""(M, N, K, warps, stages) → DSTATE tile → (registers, dynamic shared memory in bytes, latency in ms)."""
ERRORS = {32: 0.7294619, 64: 0.5955081, 128: 0.0018166}


def tile_row(shape: tuple[int, int, int, int, int], dstate: int, measured: bool = True) -> Row:
    """A row of `TILES`: wrong if the tile covers only part of a state of 128."""
    m, n, k, warps, stages = shape
    registers, smem_bytes, latency_ms = dict(TILES)[shape][dstate]
    here = config(m, n, k, dstate, warps, stages)
    if not measured:
        return row(here, registers, smem_bytes, status="not-run", reason="compiled only, no GPU")
    if dstate == 128:
        return row(here, registers, smem_bytes, latency_ms=latency_ms, error=ERRORS[dstate])
    reason = f"relative error {ERRORS[dstate]:.2g}, at most 0.01 allowed"
    return row(here, registers, smem_bytes, latency_ms=latency_ms, error=ERRORS[dstate], status="wrong", reason=reason)


def constrained(row: Row) -> Row:
    """The row as the sweep of a subject that is `Constrained` has it: wrong by construction unless it was checked."""
    why = SUBJECT.wrong_by_construction(row.config)
    if why is None:
        return row
    settled = replace(row, by_construction=why)
    return settled if row.check else replace(settled, status="wrong", status_reason=f"by construction: {why}")


TOO_LARGE = row(
    config(128, 256, 64, 128, 8, 3),
    status="out-of-resources",
    reason="needs 279552 bytes of shared memory per block, sm_90 allows 232448",
)


def h100_run() -> Run:
    """Five shapes × three DSTATE tiles and one that does not fit: 5 right, 10 wrong, 1 failed."""
    rows = [tile_row(shape, dstate) for shape, tiles in TILES for dstate in tiles]
    return run([TOO_LARGE, *rows], tied=["m32n64k32d128w2s5"])


def compiled_run() -> Run:
    """The same configs without a GPU."""
    rows = [tile_row(shape, dstate, measured=False) for shape, tiles in TILES for dstate in tiles]
    return run([TOO_LARGE, *rows], COMPILE_HEADER)


def recorded_over(compiled: Run, source: Run) -> Run:
    """The compiled run with the latencies and ties of `source` laid over its rows, as recorded ones."""
    known = {row.config_id: row for row in source.rows}

    def laid(row: Row) -> Row:
        if row.recorded is None:
            return row
        text = row.recorded.source.replace("measured on", "recorded on")
        tied = known[row.config_id].tied_with_best if row.rank else None
        return replace(row, recorded=replace(row.recorded, source=text), tied_with_best=tied)

    run = with_recorded(compiled, source)
    return replace(run, rows=tuple(map(laid, run.rows)))


def recorded_run() -> Run:
    """The compiled run with what the H100 run measured of it."""
    return recorded_over(compiled_run(), h100_run())


def constrained_run() -> Run:
    """The compiled run of a subject that knows which configs are wrong by construction; nothing is recorded of it."""
    compiled = compiled_run()
    return replace(compiled, rows=tuple(map(constrained, compiled.rows)))


QUESTION: Question = SUBJECT.question(BASELINE)


def explanation(shape: tuple[int, int, int, int, int] = (64, 64, 32, 2, 4), measured: bool = True) -> Explanation:
    """One shape at its whole-state tile, with its DSTATE tiles as neighbours; `measured`: in a run of one's own."""
    rows = tuple(constrained(tile_row(shape, dstate, measured=False)) for dstate in dict(TILES)[shape])
    compiled = Run(COMPILE_HEADER, rows)
    run = with_recorded(compiled, h100_run()) if measured else compiled
    return Explanation(
        header=COMPILE_HEADER,
        row=run.rows[-1],
        neighbours=(Neighbours(BLOCK_DSTATE, run.rows),),
        question=QUESTION,
        latency_source=f"measured on {HEADER.provenance}" if measured else None,
        whose="the run you gave",
        **(LEDGERS if shape == (64, 64, 32, 2, 4) else {}),
    )


def among(run: Run, config_id: str) -> Explanation:
    """An explanation of a row of the run, with the neighbours that the run has too."""
    own = next(row for row in run.rows if row.config_id == config_id)
    groups = []
    for param in run.header.params:
        others = [one for one in run.header.params if one != param]
        same = [row for row in run.rows if all(row.config[one.name] == own.config[one.name] for one in others)]
        groups.append(Neighbours(param, tuple(row for row in same if row.config.variant == own.config.variant)))
    found = tuple(group for group in groups if len(group.rows) > 1)
    source = f"recorded on {run.header.provenance}"
    return Explanation(run.header, own, found, QUESTION, source, "the run you gave", run)


def screen(renderable: RenderableType, width: int = 80) -> str:
    """What a terminal of that width shows, without colours and trailing blanks."""
    text = StringIO()
    Console(file=text, width=width, highlight=False).print(renderable, crop=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


H100_GPU = GpuInfo(
    index=0,
    visible="GPU-0",
    name="NVIDIA H100 80GB HBM3",
    arch="sm_90",
    driver="580.159.04",
    cuda="13.0",
    memory_bytes=85_520_809_984,
    memory_free_bytes=84_400_000_000,
    sm_clock_mhz=1980,
    sm_clock_max_mhz=1980,
    power_w=120.0,
    power_limit_w=700.0,
    temperature_c=35,
    mig=False,
    throttle_reasons=0,
)
