"""The time that `ssdprof sweep` tells before its work, beside the time that it takes, cold and warm.

Each case is swept with an empty cache of Triton and then again with the filled one, `--repeat` times. Each estimate is
held against its own sweep, and the median of these ratios is judged: load comes and goes between sweeps. Works with and
without a GPU. `--cores` limits the sweeps to so many, by CPU affinity.
Criterion: that median is within a factor of 1.5. Exit code 0 if all are, 1 if not.

    python benchmarks/estimate.py --device none --cores 1 --cores 2
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps import TIMEOUT_S, at_least, parser_of, table, temporary_folder, verdict

FACTOR = 1.5
CASES = ("--space vllm", "--space compare", "--space compare --seqlen 2048")
UNITS_S = {"s": 1.0, "minutes": 60.0}
_TOLD = re.compile(r"^ssdprof: .*\babout ([\d.]+) (s|minutes)$", re.MULTILINE)
HEADER = ("sweep", "cores", "cache", "estimate s", "taken s", "estimate / taken", "from", "to")


@dataclass(frozen=True, slots=True)
class Result:
    """One sweep's estimate and the time from its start to its exit."""

    estimate_s: float
    taken_s: float

    @property
    def ratio(self) -> float:
        """The estimate relative to the time taken."""
        return self.estimate_s / self.taken_s


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 0 if every estimate is close."""
    parser = parser_of(description=__doc__)
    parser.add_argument("--case", action="append", help=f"options of a sweep, repeatable (default: {CASES})")
    parser.add_argument("--cores", type=at_least(1), action="append", help="how many cores, repeatable (default: all)")
    parser.add_argument("--repeat", type=at_least(1), default=3, help="cold and warm sweeps of each case")
    parser.add_argument("--device", default="auto", help="as of `ssdprof sweep`")
    given = parser.parse_args(argv)
    allowed = sorted(os.sched_getaffinity(0))
    for cores in given.cores or ():
        if cores > len(allowed):
            parser.error(f"--cores {cores}: this process may use {len(allowed)}")
    rows, are_close = [], []
    for case in given.case or CASES:
        for cores in given.cores or (len(allowed),):
            options = [*case.split(), "--device", given.device]
            pairs = [cold_and_warm(options, allowed[:cores]) for _ in range(given.repeat)]
            for cache, results in zip(("cold", "warm"), zip(*pairs, strict=True), strict=True):
                ratios = [one.ratio for one in results]
                are_close.append(1 / FACTOR <= statistics.median(ratios) <= FACTOR)
                rows.append((case, str(cores), cache, *figures(results)))
                print("  ".join(rows[-1]), file=sys.stderr, flush=True)
    print(table(HEADER, rows))
    text = f"estimates within a factor of {FACTOR} of the time taken: {sum(are_close)} of {len(are_close)}"
    print(verdict(all(are_close), text))
    return 0 if all(are_close) else 1


def figures(results: Sequence[Result]) -> tuple[str, ...]:
    """The median estimate, time and ratio, and the least and the greatest ratio."""
    ratios = [one.ratio for one in results]
    estimate_s = statistics.median(one.estimate_s for one in results)
    taken_s = statistics.median(one.taken_s for one in results)
    shares = (f"{ratio:.2f}" for ratio in (statistics.median(ratios), min(ratios), max(ratios)))
    return f"{estimate_s:.1f}", f"{taken_s:.1f}", *shares


def cold_and_warm(options: Sequence[str], cores: Sequence[int]) -> tuple[Result, Result]:
    """A sweep with an empty cache and one with what that left."""
    with temporary_folder() as folder:
        return told_and_taken(options, cores, folder), told_and_taken(options, cores, folder)


def told_and_taken(options: Sequence[str], cores: Sequence[int], folder: str) -> Result:
    """One sweep on these cores, whose cache and kept runs are in `folder`. Ends the script if it fails."""
    env = {**os.environ, "TRITON_CACHE_DIR": str(Path(folder, "cache")), "XDG_DATA_HOME": str(Path(folder, "data"))}
    command = [sys.executable, "-m", "ssdprof", "sweep", *options]
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # which the process inherits
    try:
        start_s = time.perf_counter()
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        taken_s = time.perf_counter() - start_s
    finally:
        os.sched_setaffinity(0, allowed)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.strip()[-2000:]}")
    return Result(told_s(done.stderr), taken_s)


def told_s(stderr: str) -> float:
    """The estimate in what a sweep says. Ends the script if there is none."""
    found = _TOLD.search(stderr)
    if found is None:
        sys.exit(f"the sweep said no estimate:\n{stderr.strip()[-2000:]}")
    return float(found[1]) * UNITS_S[found[2]]


if __name__ == "__main__":
    sys.exit(main())
