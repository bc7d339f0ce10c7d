"""Whether a sweep's latencies are those that Nsight Compute (ncu) measures.

    python benchmarks/latency_vs_ncu.py [--space vllm] [--seqlen 50000]

Sweeps the space, then lets ncu profile the correct configs in a process of its own, on inputs made as the sweep makes
them: one launch that does not count and five that do, with ncu's default cache control (caches are flushed before each
launch) and the clocks left alone. Compared are the medians, ours and that of ncu's gpu__time_duration.sum.

Asked (exit code 1 if it is missed): within 3 % for every kernel that takes 0.5 ms or more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from sweeps import TIMEOUT_S, at_least, parser_of, require_gpu, swept, table, temporary_folder, verdict

from ssdprof.kernels.launch import LaunchPlan
from ssdprof.kernels.ssd.presets import problem_from
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.ncu.program import (
    REGISTERS,
    NcuRow,
    find_ncu,
    read_launches,
    read_raw,
    run_program,
    write_launches,
)
from ssdprof.profiling.runs.model import Row

DEVICE = "cuda:0"
DURATION = "gpu__time_duration.sum"
MAX_DIFFERENCE_SHARE = 0.03
FROM_MS = 0.5
"""Kernels that take less are shown and not judged."""
UNCOUNTED, COUNTED = 1, 5
"""Launches of each config under ncu."""
UNITS_MS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}
Pair = tuple[str, float, float]
"""A config's id, and its medians in ms: ours and ncu's."""


def launch_all(path: Path, seqlen: int) -> None:
    """What ncu profiles: every launch of the file in order, each UNCOUNTED + COUNTED times, on a sweep's inputs."""
    import torch

    metas, plans = read_launches(path)
    tensors = ChunkScan(problem_from(seqlen=seqlen)).inputs(DEVICE, 0)
    for name, meta in metas.items():
        if name not in tensors:
            tensors[name] = torch.empty(meta.shape, dtype=getattr(torch, meta.dtype), device=DEVICE)
    for plan in plans.values():
        launch = plan.bind(tensors)
        for _ in range(UNCOUNTED + COUNTED):
            launch()
        torch.cuda.synchronize()


def durations_ms(rows: Sequence[NcuRow]) -> list[float]:
    """The duration of each profiled launch. Ends the script if ncu gave none, or an unknown unit."""
    found = []
    for row in rows:
        number = row.number(DURATION)
        unit = row.units.get(DURATION, "").removesuffix("econd")  # an older ncu says nsecond
        if number is None or unit not in UNITS_MS:
            sys.exit(f"ncu gave no {DURATION}, or in an unknown unit: {unit!r}")
        found.append(number.value * UNITS_MS[unit])
    return found


def pairs(rows: Sequence[Row], ncu_ms: Sequence[float]) -> list[Pair]:
    """Each row with the median of its counted launches, which `ncu_ms` has in order after the uncounted ones."""
    each = UNCOUNTED + COUNTED
    if len(ncu_ms) != each * len(rows):
        sys.exit(f"ncu reports {len(ncu_ms)} launches, not {each * len(rows)}: which is which is not known")
    medians_ms = [median(ncu_ms[start + UNCOUNTED : start + each]) for start in range(0, len(ncu_ms), each)]
    timed = zip(rows, medians_ms, strict=True)
    return [(row.config_id, row.timing.latency_ms, median_ms) for row, median_ms in timed if row.timing]


def report(found: Sequence[Pair]) -> tuple[str, bool]:
    """A line per config, the longest difference and the criterion; and whether it is met."""
    rows = [
        [name, f"{ours_ms:.4f}", f"{ncu_ms:.4f}", f"{ours_ms / ncu_ms:.4f}", "" if ncu_ms >= FROM_MS else "short"]
        for name, ours_ms, ncu_ms in found
    ]
    differences = [abs(ours_ms / ncu_ms - 1) for _, ours_ms, ncu_ms in found if ncu_ms >= FROM_MS]
    near = sum(one <= MAX_DIFFERENCE_SHARE for one in differences)
    passed = 0 < near == len(differences)
    text = (
        f"{near} of {len(differences)} kernels of {FROM_MS} ms or more are within {100 * MAX_DIFFERENCE_SHARE:g} %, "
        f"the largest difference is {100 * max(differences, default=0.0):.2f} %"
    )
    return f"{table(['config', 'ours, ms', 'ncu, ms', 'ratio', ''], rows)}\n\n{verdict(passed, text)}", passed


def profiled_ms(ncu: Path, plans: Mapping[str, LaunchPlan], seqlen: int, visible: str) -> list[float]:
    """The duration of every launch of the target under ncu. Ends the script if ncu gives none."""
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": visible, "LC_ALL": "C"}
    kernels = "|".join(sorted({plan.function for plan in plans.values()}))
    with temporary_folder() as folder:
        launches, path = Path(folder, "launches"), Path(folder, "durations.ncu-rep")
        write_launches(launches, ChunkScan(problem_from(seqlen=seqlen)).tensors(), plans)
        profiling = [
            *(str(ncu), "-f", "-o", str(path), "--clock-control", "none", "--target-processes", "application-only"),
            *("--kernel-name-base", "function", "--kernel-name", f"regex:^({kernels})$"),
            *("--metrics", f"{DURATION},{REGISTERS}"),
            *(sys.executable, __file__, "--target", str(launches), "--seqlen", str(seqlen)),
        ]
        finished = run_program(profiling, env, TIMEOUT_S)
        if not path.exists():
            sys.exit(f"ncu gave no report:\n{finished.text[-2000:]}")
        exporting = [str(ncu), "--import", str(path), "--csv", "--page", "raw", "--print-units", "base"]
        return durations_ms(read_raw(run_program(exporting, env, TIMEOUT_S).text, "ncu's raw page"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Sweeps, profiles and prints the report: 0 if the criterion is met, else 1."""
    parser = parser_of(description=__doc__)
    parser.add_argument("--space", default="vllm", help="configs (default vllm)")
    parser.add_argument("--seqlen", type=at_least(1), default=50_000, help="tokens (default 50000)")
    parser.add_argument("--target", type=Path, metavar="FILE", help="only launch what this file lists: ncu starts this")
    options = parser.parse_args(arguments)
    gpu = require_gpu(parser)
    if options.target:
        launch_all(options.target, options.seqlen)
        return 0
    ncu = find_ncu()
    if ncu is None:
        parser.error("no ncu on PATH, in the CUDA toolkit or in /opt, and this benchmark needs it")
    print(f"{options.space} at {options.seqlen} tokens on {gpu.name}, driver {gpu.driver}", flush=True)
    run, _ = swept(["--space", options.space, "--seqlen", str(options.seqlen)])
    subject = ChunkScan(problem_from(seqlen=options.seqlen))
    plans = {row.config_id: subject.launch(row.config) for row in run.ranked}
    ncu_ms = profiled_ms(ncu, plans, options.seqlen, gpu.visible) if plans else []
    text, passed = report(pairs(run.ranked, ncu_ms))
    print(text)
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
