"""Whether the check ever calls a correct config wrong.

    python benchmarks/false_alarms.py [--seqlen 8100] [--space mamba --space vllm --space wide --space ssdprof]

Sweeps every config of the spaces on four problems: bfloat16 with D; float16 with a gate z; packed sequences, whose
last chunk is short if --seqlen is no multiple of 128; float32. A config is correct by construction if it loops over the
state or takes all of it in one tile. It may still fail for another reason than the check: it does not fit the GPU, for
example.

Exit code 1 if the check calls one of them wrong or unstable, or says that its error stands out from the others'. One
shape is listed apart and not counted: `split` with N = 32, K = 64, a DSTATE tile of 64 and one stage; ptxas 12.8, which
Triton 3.6 has, miscompiles it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from sweeps import at_least, parser_of, require_gpu, swept, verdict

from ssdprof.kernels.errors import SpaceError
from ssdprof.kernels.space import space_of
from ssdprof.kernels.ssd.arguments import miscompiled_shape
from ssdprof.kernels.ssd.presets import problem_from
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.runs.answers.outliers import outliers
from ssdprof.profiling.runs.model import Run

SPACES = ("mamba", "vllm", "wide", "ssdprof")
PROBLEMS: Mapping[str, tuple[str, ...]] = {
    "bfloat16 with D": ("--dtype", "bfloat16", "--d-form", "head"),
    "float16 with z": ("--dtype", "float16", "--z"),
    "packed sequences, a short last chunk": ("--dtype", "bfloat16", "--seq-idx"),
    "float32": ("--dtype", "float32", "--states-dtype", "float32"),
}
ALARM, MISCOMPILED, OTHER = "ALARM", "of the shape that ptxas 12.8 miscompiles:", "failed otherwise:"


def union(names: Sequence[str], subject: ChunkScan) -> list[str]:
    """The ids of all configs of the spaces, none of them twice. Raises SpaceError."""
    ids = (subject.params.id(config) for name in names for config in space_of(subject, name).configs)
    return list(dict.fromkeys(ids))


def report(name: str, run: Run, subject: ChunkScan) -> tuple[str, int]:
    """One problem's counts by status, its alarms and its other failures, and how many false alarms there are."""
    correct = [row for row in run.rows if subject.wrong_by_construction(row.config) is None]
    standing_out = outliers(run.rows, run.header.tolerances)
    counts = Counter(row.status for row in correct).most_common()
    counted = ", ".join(f"{count} {status}" for status, count in counts) or "none"
    listed: dict[str, list[str]] = {ALARM: [], MISCOMPILED: [], OTHER: []}
    for row in correct:
        if row.status != "ok":
            kind = ALARM if row.status in ("wrong", "unstable") else OTHER
            kind = MISCOMPILED if miscompiled_shape(row.config) else kind
            listed[kind].append(f"\n  {kind} {row.config_id}: {row.status}: {row.status_reason}")
        elif row.config_id in standing_out:
            listed[ALARM].append(f"\n  {ALARM} {row.config_id}: {standing_out[row.config_id].reason}")
    said = "".join(line for lines in listed.values() for line in lines)
    return f"{name}: {len(correct)} configs correct by construction: {counted}{said}", len(listed[ALARM])


def main(arguments: Sequence[str] | None = None) -> int:
    """Sweeps the four problems and prints a report of each: 0 if there is no false alarm, else 1."""
    parser = parser_of(description=__doc__)
    parser.add_argument("--seqlen", type=at_least(1), default=8_100, help="tokens (default 8100, 36 of them last)")
    parser.add_argument(
        "--space", action="append", help="configs; may be given again (default mamba, vllm, wide, ssdprof)"
    )
    options = parser.parse_args(arguments)
    gpu = require_gpu(parser)
    subject = ChunkScan(problem_from(seqlen=options.seqlen))
    try:
        ids = union(options.space or SPACES, subject)
    except SpaceError as error:
        parser.error(f"--space: {error}")
    print(f"{len(ids)} configs at {options.seqlen} tokens on {gpu.name}, driver {gpu.driver}", flush=True)
    false_alarms = checked = 0
    for problem, choice in PROBLEMS.items():
        # the budget is for timing the best again, which does not matter here
        run, _ = swept(["--seqlen", str(options.seqlen), "--budget", "1", *choice], ids)
        text, alarms = report(problem, run, subject)
        print(text, flush=True)
        false_alarms += alarms
        checked += sum(row.check is not None for row in run.rows)
    print()
    print(verdict(false_alarms == 0, f"{false_alarms} false alarms among {checked} outputs that were checked"))
    return int(false_alarms > 0)


if __name__ == "__main__":
    sys.exit(main())
