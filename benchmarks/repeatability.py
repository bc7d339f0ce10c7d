"""Whether sweeps of the same configs agree with each other.

    python benchmarks/repeatability.py [--space vllm] [--seqlen 50000 --seqlen 2048] [--sweeps 3]

Sweeps the space several times at each length and compares the runs.

Asked (exit code 1 if one is missed): the best of each sweep is the best of the others or tied with it there; the
medians of the ten fastest configs of the first sweep are within 1 % of their smallest in each, 2 % below 50 000 tokens.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sweeps import at_least, parser_of, require_gpu, swept, table, verdict

from ssdprof.profiling.runs.model import Run

SEQLENS = (50_000, 2_048)
LONG_SEQLEN = 50_000
MAX_SHARE_LONG, MAX_SHARE_SHORT = 0.01, 0.02
FASTEST = 10
Spread = tuple[str, list[float | None], float | None]
"""A config's id, its median in each sweep in ms, None if it was not ranked there, and the largest difference between
two sweeps over the smallest median; None if one is missing."""


def max_share(seqlen: int) -> float:
    """The largest difference that is asked at this length."""
    return MAX_SHARE_LONG if seqlen >= LONG_SEQLEN else MAX_SHARE_SHORT


def bests_agree(runs: Sequence[Run]) -> bool:
    """Whether the best of each run is the best of every other or tied with it there."""
    leading = [{row.config_id for row in run.ranked if row.rank == 1 or row.tied_with_best} for run in runs]
    return all(run.ranked and all(run.ranked[0].config_id in ids for ids in leading) for run in runs)


def spreads(runs: Sequence[Run]) -> list[Spread]:
    """The ten fastest configs of the first run, in its order, with their medians in each."""
    by_run = [{row.config_id: row.timing.latency_ms for row in run.ranked if row.timing} for run in runs]
    found: list[Spread] = []
    for name in (row.config_id for row in runs[0].ranked[:FASTEST]):
        known_ms = [one[name] for one in by_run if name in one]
        share = max(known_ms) / min(known_ms) - 1 if len(known_ms) == len(runs) else None
        found.append((name, [one.get(name) for one in by_run], share))
    return found


def report(runs: Sequence[Run], limit: float) -> tuple[str, bool]:
    """The medians, the best of each and the criteria; and whether both are met. `limit` is the largest difference."""
    found, agree = spreads(runs), bests_agree(runs)
    known = [share for _, _, share in found if share is not None]
    lost = len(found) - len(known)
    near = bool(known) and not lost and max(known) <= limit
    header = ["median, ms", *(f"sweep {number}" for number, _ in enumerate(runs, start=1)), "difference, %"]
    rows = [
        [
            name,
            *("not ranked" if one is None else f"{one:.4f}" for one in each_ms),
            "–" if share is None else f"{100 * share:.2f}",
        ]
        for name, each_ms, share in found
    ]
    largest = f"{100 * max(known):.2f} %" if known else "not known"
    differ = f"the medians of the {len(found)} fastest differ by at most {largest} ({100 * limit:g} % asked)"
    text = [
        table(header, rows),
        *(f"sweep {number}: {_best(run)}" for number, run in enumerate(runs, start=1)),
        verdict(agree, "the best of each sweep is the best of the others or tied with it there"),
        verdict(near, differ + (f", and {lost} were not ranked each time" if lost else "")),
    ]
    return "\n".join(text), agree and near


def main(arguments: Sequence[str] | None = None) -> int:
    """Sweeps and prints a report for each length: 0 if all criteria are met, else 1."""
    lengths = "tokens; may be given again (default 50000 and 2048)"
    parser = parser_of(description=__doc__)
    parser.add_argument("--space", default="vllm", help="configs (default vllm)")
    parser.add_argument("--seqlen", type=at_least(1), action="append", help=lengths)
    parser.add_argument("--sweeps", type=at_least(2), default=3, help="sweeps at each length (default 3)")
    options = parser.parse_args(arguments)
    gpu = require_gpu(parser)
    passed = True
    for seqlen in options.seqlen or SEQLENS:
        print(f"{options.space} at {seqlen} tokens on {gpu.name}, driver {gpu.driver}", flush=True)
        runs = [swept(["--space", options.space, "--seqlen", str(seqlen)])[0] for _ in range(options.sweeps)]
        text, met = report(runs, max_share(seqlen))
        print(text, end="\n\n", flush=True)
        passed &= met
    return int(not passed)


def _best(run: Run) -> str:
    if not run.ranked:
        return "nothing was ranked"
    tied = ", ".join(row.config_id for row in run.ranked[1:] if row.tied_with_best)
    return f"best {run.ranked[0].config_id}" + (f", tied with {tied}" if tied else "")


if __name__ == "__main__":
    sys.exit(main())
