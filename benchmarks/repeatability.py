"""Whether sweeps of the same configs agree with each other.

    python benchmarks/repeatability.py [--space vllm] [--seqlen 50000 --seqlen 2048] [--sweeps 3]

Sweeps the space several times at each length, each time in a process of its own, and compares the runs: whether the
best of each is the best of the others or tied with it there, and by how much the medians of the ten fastest configs
(by the first sweep) differ from sweep to sweep, relative to the smallest.

Asked (exit code 1 if one is missed): the same best or a tied one; medians within 1 % from 50 000 tokens on, within
2 % below that.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps import FAILED, PASSED, at_least, require_gpu, swept, table, verdict

from ssdprof.profiling.runs.model import Run

SEQLENS = (50_000, 2_048)
LONG_SEQLEN = 50_000
MAX_SHARE_LONG, MAX_SHARE_SHORT = 0.01, 0.02
FASTEST = 10


@dataclass(frozen=True, slots=True)
class Spread:
    """Medians of one config in each sweep, None if it was not ranked."""

    config_id: str
    latencies_ms: tuple[float | None, ...]

    @property
    def share(self) -> float | None:
        """The largest difference between two sweeps over the smallest median; None if one is missing."""
        known_ms = [one for one in self.latencies_ms if one is not None]
        if len(known_ms) < len(self.latencies_ms):
            return None
        return max(known_ms) / min(known_ms) - 1


def max_share(seqlen: int) -> float:
    """The largest difference that is asked at this length."""
    return MAX_SHARE_LONG if seqlen >= LONG_SEQLEN else MAX_SHARE_SHORT


def bests_agree(runs: Sequence[Run]) -> bool:
    """Whether the best of each run is the best of every other or tied with it there."""
    leading = [{row.config_id for row in run.ranked if row.rank == 1 or row.tied_with_best} for run in runs]
    return all(run.ranked and all(run.ranked[0].config_id in ids for ids in leading) for run in runs)


def spreads(runs: Sequence[Run]) -> tuple[Spread, ...]:
    """The ten fastest configs of the first run, in its order, with their medians in each."""
    latencies_ms = [{row.config_id: row.timing.latency_ms for row in run.ranked if row.timing} for run in runs]
    names = [row.config_id for row in runs[0].ranked[:FASTEST]]
    return tuple(Spread(name, tuple(one.get(name) for one in latencies_ms)) for name in names)


def report(runs: Sequence[Run], limit: float) -> tuple[str, bool]:
    """The medians, the best of each and the criteria; and whether both are met. `limit` is the largest difference."""
    found = spreads(runs)
    shares = [one.share for one in found]
    known = [share for share in shares if share is not None]
    near = bool(found) and len(known) == len(shares) and max(known) <= limit
    agree = bests_agree(runs)
    header = ["median, ms", *(f"sweep {number}" for number, _ in enumerate(runs, start=1)), "difference, %"]
    rows = [
        [
            one.config_id,
            *("not ranked" if latency_ms is None else f"{latency_ms:.4f}" for latency_ms in one.latencies_ms),
            "–" if one.share is None else f"{100 * one.share:.2f}",
        ]
        for one in found
    ]
    largest = f"{100 * max(known):.2f} %" if known else "not known"
    lost = len(shares) - len(known)
    text = [
        table(header, rows),
        *(_best_line(number, run) for number, run in enumerate(runs, start=1)),
        verdict(agree, "the best of each sweep is the best of the others or tied with it there"),
        verdict(
            near,
            f"the medians of the {len(found)} fastest differ by at most {largest} ({100 * limit:g} % asked)"
            + (f", and {lost} were not ranked each time" if lost else ""),
        ),
    ]
    return "\n".join(text), agree and near


def main(arguments: Sequence[str] | None = None) -> int:
    """Sweeps and prints a report for each length: 0 if all criteria are met, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="vllm", help="configs (default vllm)")
    parser.add_argument(
        "--seqlen", type=at_least(1), action="append", help="tokens; may be given again (default 50000 and 2048)"
    )
    parser.add_argument("--sweeps", type=at_least(2), default=3, help="sweeps at each length (default 3)")
    options = parser.parse_args(arguments)
    gpu = require_gpu(parser)
    passed = []
    with tempfile.TemporaryDirectory(prefix="ssdprof-benchmark-") as folder:
        for seqlen in options.seqlen or SEQLENS:
            print(f"{options.space} at {seqlen} tokens on {gpu.name}, driver {gpu.driver}", flush=True)
            choice = ["--space", options.space, "--seqlen", str(seqlen)]
            runs = [swept(choice, Path(folder) / f"{number}.jsonl").run for number in range(options.sweeps)]
            text, met = report(runs, max_share(seqlen))
            print(text, end="\n\n", flush=True)
            passed.append(met)
    return PASSED if all(passed) else FAILED


def _best_line(number: int, run: Run) -> str:
    if not run.ranked:
        return f"sweep {number}: nothing was ranked"
    best = run.ranked[0]
    tied = [row.config_id for row in run.ranked[1:] if row.tied_with_best]
    return f"sweep {number}: best {best.config_id}" + (f", tied with {', '.join(tied)}" if tied else "")


if __name__ == "__main__":
    sys.exit(main())
