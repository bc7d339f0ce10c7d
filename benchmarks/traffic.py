"""The bytes that the model expects of chunk-scan launches and what bounds them, beside what Nsight Compute counted.

Each row of `--counters` is a launch: preset, seqlen, chunk, dtype, states_dtype, config_id, and ncu's metrics by name.
Each is compiled for sm_90, without a GPU, and modelled for an H200; the table has a line for each problem. The bound is
that of the model for the time that ncu counted, and agrees if it is that of the counters, or if the unit it names is
within 0.05 of the one that they name; launches where it does not are listed.
Criterion: DRAM within 10 % for at least 90 % of the launches, L2-to-SM within 5 % for at least 95 %, the bound agrees
for at least 90 %. Exit code 0 if all are met, 1 if not. The shipped counters are of binaries by Triton 3.6.0: another
Triton's spill other registers, and a note says so.

    python benchmarks/traffic.py --counters tests/golden/ncu_h200_chunk_scan.csv
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from statistics import median

from sweeps import at_least, parser_of, table, verdict

from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.ssd.presets import problem_from
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.hardware.ceilings import Ceilings, Size
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.occupancy import Occupancy, occupancy
from ssdprof.profiling.runs.bound import AT_CEILING, Bound, Unit, bound_of, judged
from ssdprof.profiling.runs.modelled import Model

SECTOR_BYTES = 32
H200 = Size("NVIDIA H200", 132, 62_914_560)
DRAM_SHARE, L2_SHARE = 0.10, 0.05
DRAM_OF, L2_OF, BOUND_OF = 0.90, 0.95, 0.90
NEAR = 0.05
COUNTED_TRITON = "3.6.0"
CEILINGS = Ceilings(
    "measured", H200.gpu, "2026-12-01", 4264.7, 8967.0, 33194.2,
    (("bfloat16", 938.8), ("float16", 900.1), ("tf32", 481.5)), 1039.9, 4153.5, 3.36, sm_clock_mhz=1980,
)  # fmt: skip
"""By `ssdprof devices --ceilings` on the GPU that the counters are of."""
PERCENT: dict[Unit, str] = {
    "l1": "l1tex__throughput.avg.pct_of_peak_sustained_elapsed",
    "tensor": "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed",
    "issue": "smsp__issue_active.avg.pct_of_peak_sustained_elapsed",
}
HEADER = ("preset", "tokens", "chunk", "dtype", "launches", "L2-SM median %", "largest %", "DRAM median %", "largest %")


@dataclass(frozen=True, slots=True)
class Result:
    """A launch's problem, how far the model is from ncu, relative to ncu, and the bounds by both."""

    problem: tuple[str, int, int, str]
    config_id: str
    l2_to_sm_error: float
    dram_error: float
    modelled: Bound
    counted: Bound

    @property
    def agrees(self) -> bool:
        """Whether the counters name the same bound, or one whose unit is about as busy as that of the model."""
        if self.modelled.code == self.counted.code:
            return True
        unit, _ = self.modelled.shares[0]
        share = self.counted.of(unit) or 0.0
        both = (self.modelled.share >= AT_CEILING) == (self.counted.share >= AT_CEILING)
        near = unit == self.counted.shares[0][0] and abs(self.modelled.share - self.counted.share) <= NEAR
        return near or (both and share >= self.counted.share - NEAR)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 0 if enough launches are close."""
    parser = parser_of(description=__doc__)
    parser.add_argument("--counters", type=Path, required=True, help="CSV of launches with ncu's metrics")
    parser.add_argument("--jobs", type=at_least(1), default=2, help="processes that compile")
    given = parser.parse_args(argv)
    with given.counters.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        parser.error(f"{given.counters}: no launches")
    with ProcessPoolExecutor(given.jobs) as pool:
        results = sorted(pool.map(result_of, rows, chunksize=4), key=lambda one: one.problem)
    lines = [_line(problem, list(group)) for problem, group in groupby(results, lambda one: one.problem)]
    print(table(HEADER, [*lines, _line(("all", "", "", ""), results)]))
    dram = sum(abs(one.dram_error) <= DRAM_SHARE for one in results)
    l2 = sum(abs(one.l2_to_sm_error) <= L2_SHARE for one in results)
    same = sum(one.modelled.code == one.counted.code for one in results)
    agree = sum(one.agrees for one in results)
    for one in results:
        if not one.agrees:
            print(
                f"{' '.join(map(str, one.problem))} {one.config_id}: {_words(one.modelled)}; ncu: {_words(one.counted)}"
            )
    count = len(results)
    if version("triton") != COUNTED_TRITON:
        print(f"the shipped counters are of binaries by Triton {COUNTED_TRITON}, these are by {version('triton')}")
    met = dram >= DRAM_OF * count and l2 >= L2_OF * count and agree >= BOUND_OF * count
    parts = f"DRAM within 10 %: {dram} of {count}; L2-to-SM within 5 %: {l2}; bound agrees: {agree}, the same: {same}"
    print(verdict(met, parts))
    return 0 if met else 1


def result_of(row: Mapping[str, str]) -> Result:
    """The model of one launch, held against its counters."""
    found, occ, least_bytes = modelled(row)
    assert found.traffic is not None
    l2_to_sm = float(row["lts__t_sectors_srcunit_tex.sum"]) * SECTOR_BYTES
    dram = float(row["dram__bytes_read.sum"]) + float(row["dram__bytes_write.sum"])
    problem = row["preset"], int(row["seqlen"]), int(row["chunk"]), row["dtype"]
    ms = float(row["gpu__time_duration.sum"]) / 1e6
    ceilings = CEILINGS.at_clock(float(row["sm__cycles_elapsed.avg.per_second"]) / 1e6)
    by_model = bound_of(found, ms, ceilings, occ, least_bytes)
    assert by_model is not None
    assert ceilings.l2_gbps is not None
    shares: dict[Unit, float] = {
        "dram": dram / ceilings.dram_gbps / 1e6 / ms,
        "l2": l2_to_sm / ceilings.l2_gbps / 1e6 / ms,
        **{unit: float(row[name]) / 100 for unit, name in PERCENT.items()},
    }
    counted = judged(shares, ms, ceilings, occ, dram / least_bytes)
    errors = found.traffic.l2_to_sm_bytes / l2_to_sm - 1, found.traffic.dram_bytes / dram - 1
    return Result(problem, row["config_id"], *errors, by_model, counted)


def modelled(row: Mapping[str, str]) -> tuple[Model, Occupancy, int]:
    """The model of a row's launch on an H200, its occupancy, and the bytes that its problem must move."""
    from ssdprof.profiling.binary.compiler import compile_launch
    from ssdprof.profiling.traffic.modelled import launch_model

    problem = problem_from(
        preset=row["preset"],
        seqlen=int(row["seqlen"]),
        chunk_size=int(row["chunk"]),
        dtype=row["dtype"],
        states_dtype=row["states_dtype"],
    )
    subject = ChunkScan(problem)
    plan = subject.launch(subject.resolve(parse_config(row["config_id"], subject.params)))
    model = launch_model(plan, dict(subject.tensors()), "sm_90", H200)
    if model.traffic is None:
        sys.exit(f"{row['config_id']} on {row['preset']}: {model.absent}")
    occ = occupancy(compile_launch(plan, "sm_90").launch, limits_for("sm_90"), num_sms=H200.num_sms)
    return model, replace(occ, waves_per_sm=float(row["launch__waves_per_multiprocessor"])), subject.work().bytes_min


def _words(bound: Bound) -> str:
    return f"{bound.code} ({', '.join(f'{unit} {share:.2f}' for unit, share in bound.shares[:2])})"


def _line(problem: Sequence[object], results: Sequence[Result]) -> list[str]:
    cells = [*map(str, problem), str(len(results))]
    for errors in ([one.l2_to_sm_error for one in results], [one.dram_error for one in results]):
        cells += [f"{100 * median(map(abs, errors)):.1f}", f"{100 * max(errors, key=abs):+.1f}"]
    return cells


if __name__ == "__main__":
    sys.exit(main())
