"""The bytes that the traffic model expects of chunk-scan launches, beside those that Nsight Compute counted.

Each row of `--counters` is a launch: preset, seqlen, chunk, dtype, states_dtype, config_id, and ncu's metrics by name.
Each is compiled for sm_90, without a GPU, and modelled for an H200; the table has a line for each problem.
Criterion: DRAM within 10 % for at least 90 % of the launches, L2-to-SM within 5 % for at least 95 %.
Exit code 0 if both are met, 1 if not.

    python benchmarks/traffic.py --counters tests/golden/ncu_h200_chunk_scan.csv
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import median

from sweeps import at_least, parser_of, table, verdict

from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.ssd.presets import problem_from
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.hardware.ceilings import Size
from ssdprof.profiling.runs.traffic import Traffic

SECTOR_BYTES = 32
H200 = Size("NVIDIA H200", 132, 62_914_560)
DRAM_SHARE, L2_SHARE = 0.10, 0.05
DRAM_OF, L2_OF = 0.90, 0.95
HEADER = ("preset", "tokens", "chunk", "dtype", "launches", "L2-SM median %", "largest %", "DRAM median %", "largest %")


@dataclass(frozen=True, slots=True)
class Result:
    """A launch's problem, and how far the model is from ncu, relative to ncu."""

    problem: tuple[str, int, int, str]
    l2_to_sm_error: float
    dram_error: float


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
    met = dram >= DRAM_OF * len(results) and l2 >= L2_OF * len(results)
    print(verdict(met, f"DRAM within 10 %: {dram} of {len(results)}; L2-to-SM within 5 %: {l2} of {len(results)}"))
    return 0 if met else 1


def result_of(row: Mapping[str, str]) -> Result:
    """The model of one launch, held against its counters."""
    found = modelled(row)
    l2_to_sm = float(row["lts__t_sectors_srcunit_tex.sum"]) * SECTOR_BYTES
    dram = float(row["dram__bytes_read.sum"]) + float(row["dram__bytes_write.sum"])
    problem = row["preset"], int(row["seqlen"]), int(row["chunk"]), row["dtype"]
    return Result(problem, found.l2_to_sm_bytes / l2_to_sm - 1, found.dram_bytes / dram - 1)


def modelled(row: Mapping[str, str]) -> Traffic:
    """The traffic of a row's launch on an H200."""
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
    return model.traffic


def _line(problem: Sequence[object], results: Sequence[Result]) -> list[str]:
    cells = [*map(str, problem), str(len(results))]
    for errors in ([one.l2_to_sm_error for one in results], [one.dram_error for one in results]):
        cells += [f"{100 * median(map(abs, errors)):.1f}", f"{100 * max(errors, key=abs):+.1f}"]
    return cells


if __name__ == "__main__":
    sys.exit(main())
