"""Our chunk scan beside those of inference engines: latency, share of the roofline, and which configs are wrong.

    python benchmarks/peers.py [--problems super-50k super-2k | all] [--peer sglang] [--peer mamba_ssm=PATH]

Sweeps each kernel by itself, in turn on the same GPU: `tile` over the list of mamba, `split` over its best configs of
the recorded run, `grouped` over the space ssdprof (or --space), each peer over its own autotune list. A peer is an
engine or a path, as --kernel takes it; without --peer, every engine that is installed takes part.

Compared are medians of the best correct configs: `roofline` is the time to move each tensor once at the copy bandwidth
of the same run, over the median; `× tile` is the median of `tile` over the median.

Asked of our best, by problem (exit code 1 if one is missed): its share of the roofline, and its `× tile`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from sweeps import parser_of, require_gpu, swept, table, verdict

from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.foreign.files import PLACES, find
from ssdprof.kernels.interface import Subject
from ssdprof.kernels.registry import subject
from ssdprof.kernels.space import space_of
from ssdprof.kernels.ssd.params import TILE, VARIANTS
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.sweep.records import resolved_id

SPLIT = (
    *("split:m32n64k32d64w2s3", "split:m32n64k32d64w4s3", "split:m32n64k32d128w4s3", "split:m32n64k32d64w2s4"),
    *("split:m64n64k32d64w4s3", "split:m64n64k32d128w4s2"),
)
"""The first of the recorded run, and two of the next tile for longer chunks."""


@dataclass(frozen=True, slots=True)
class Case:
    """A problem by what differs from the default one, and what is asked of our best there; None: nothing."""

    problem: Mapping[str, Any]
    roofline_share: float | None = None
    speedup: float | None = None

    @property
    def options(self) -> list[str]:
        """The problem as a sweep takes it."""
        flags = {f"--{name.replace('_', '-')}": value for name, value in self.problem.items()}
        return [flag if value is True else f"{flag}={value}" for flag, value in flags.items()]


CASES: Mapping[str, Case] = {
    "super-50k": Case({}, 0.88, 2.1),
    "super-2k": Case({"seqlen": 2048}, 0.72),
    "super-50k-chunk256": Case({"chunk_size": 256}, 0.80),
    "nano-50k": Case({"preset": "nemotron-3-nano"}, speedup=1.7),
    "super-tp4-50k": Case({"tp": 4}, speedup=1.7),
    "super-tp8-50k": Case({"tp": 8}, speedup=1.7),
    "mamba2-2.7b-50k": Case({"preset": "mamba2-2.7b"}, speedup=1.7),
    "codestral-50k": Case({"preset": "codestral-mamba-7b"}, speedup=1.7),
    "super-z": Case({"z": True}, speedup=1.5),
    "super-seq-idx": Case({"seq_idx": True}, speedup=1.5),
    "super-fp16": Case({"dtype": "float16"}, speedup=1.5),
    "super-fp32-states": Case({"states_dtype": "float32"}, speedup=1.5),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A kernel on a problem: how many configs it has, and its best correct one; None and empty if there is none."""

    kernel: str
    configs: int
    wrong: int
    failed: int
    config: str = ""
    latency_ms: float | None = None
    roofline_share: float | None = None
    errors: tuple[float, float] | None = None


def ours(on: Subject, own_space: str) -> dict[str, list[str]]:
    """By variant the ids of our configs, those that the kernel takes on this problem. Raises SpaceError."""
    split = [parse_config(text, on.params) for text in SPLIT]
    ids: dict[str, dict[str, None]] = {}
    for config in (*space_of(on, "mamba").configs, *split, *space_of(on, own_space).configs):
        if name := resolved_id(on, config):
            ids.setdefault(config.variant, {})[name] = None
    return {variant: list(names) for variant, names in ids.items()}


def entry(kernel: str, run: Run, ids: Collection[str]) -> Entry:
    """The kernel's line, from the configs in `ids` alone: a run has its baseline besides."""
    statuses = [row.status for row in run.rows if row.config_id in ids]
    wrong = statuses.count("wrong") + statuses.count("unstable")
    counts = (len(statuses), wrong, len(statuses) - wrong - statuses.count("ok"))
    best = next((row for row in run.ranked if row.config_id in ids), None)
    if best is None or best.timing is None or best.check is None:
        return Entry(kernel, *counts)
    bytes_min, copy_gbps, latency_ms = run.header.bytes_min, run.header.device.copy_gbps, best.timing.latency_ms
    share = bytes_min / (1e6 * copy_gbps) / latency_ms if bytes_min and copy_gbps else None
    errors = best.check.relative_error, best.check.worst_row_error
    return Entry(kernel, *counts, best.config_id, latency_ms, share, errors)


def report(found: Sequence[Entry], case: Case) -> tuple[str, bool]:
    """The table, and what is asked of the best of ours; and whether all of that is met."""
    tile_ms = next((one.latency_ms for one in found if one.kernel == TILE), None)
    speedups = {one: tile_ms / one.latency_ms if tile_ms and one.latency_ms else None for one in found}
    rows = [
        [
            *(one.kernel, one.config or "none", _cell(one.latency_ms, ".4f"), _cell(one.roofline_share, ".3f")),
            *(_cell(speedups[one], ".2f"), *(_cell(error, ".2g") for error in one.errors or (None, None))),
            *(f"{one.wrong} of {one.configs}", f"{one.failed}"),
        ]
        for one in found
    ]
    own = [one for one in found if one.kernel in VARIANTS and one.latency_ms is not None]
    best = min(own, key=lambda one: one.latency_ms or 0.0, default=None)
    name, share, speedup = (best.kernel, best.roofline_share, speedups[best]) if best else ("none", None, None)
    asked = [(share, case.roofline_share, "of the roofline"), (speedup, case.speedup, f"times the speed of {TILE}")]
    verdicts = [
        (value is not None and value >= least, f"{_cell(value, '.3f')} {what} ({least:g} asked)")
        for value, least, what in asked
        if least is not None
    ]
    header = ["kernel", "best correct config", "latency ms", "roofline", f"× {TILE}", "error", "worst row"]
    said = [verdict(met, f"the best of ours, {name}, has {text}") for met, text in verdicts]
    return "\n".join([table([*header, "wrong", "failed"], rows), *said]), all(met for met, _ in verdicts)


def theirs(name: str, kernel: str, case: Case) -> list[str]:
    """The ids of a peer's own list on a problem; none, and a line that says why, if it cannot be given the problem."""
    try:
        on = subject(kernel, **case.problem)
        return [resolved_id(on, config) or "" for config in space_of(on, "own").configs]
    except UsageError as error:
        print(f"  without {name}: {error}", flush=True)
        return []


def compared(case: Case, own_space: str, peers: Mapping[str, str]) -> list[Entry]:
    """Sweeps every kernel on a problem in turn; says which configs have no latency, and why."""
    asked = {variant: ("chunk-scan", ids) for variant, ids in ours(subject(**case.problem), own_space).items()}
    asked |= {name: (kernel, ids) for name, kernel in peers.items() if (ids := theirs(name, kernel, case))}
    found = []
    for name, (kernel, ids) in asked.items():
        space = ["--space", "own"] if name in peers else []
        run, _ = swept(["--kernel", kernel, *space, *case.options], () if name in peers else ids)
        found.append(entry(name, run, ids))
        for row in run.rows:
            if row.config_id in ids and row.status != "ok":
                print(f"  {name} {row.config_id}: {row.status}: {row.status_reason}", flush=True)
    return found


def peer(text: str) -> tuple[str, str]:
    """An argument type: what to call a peer, and its kernel as --kernel takes it."""
    name, equals, path = text.partition("=")
    if not re.fullmatch(r"[\w.-]+", name) or name in VARIANTS or (equals and not path):
        raise argparse.ArgumentTypeError(f"must be NAME or NAME=PATH, NAME none of {', '.join(VARIANTS)}, got {text!r}")
    try:
        find(path or name)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name, path or name


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the problems and prints a table of each: 0 if all that is asked holds, else 1."""
    parser = parser_of(description=__doc__)
    parser.add_argument(
        "--problems", nargs="+", choices=[*CASES, "all"], default=["super-50k"], metavar="NAME", help=", ".join(CASES)
    )
    parser.add_argument("--peer", type=peer, action="append", metavar="NAME[=PATH]", help="may be given again")
    parser.add_argument("--space", default="ssdprof", help="our configs besides mamba's and split's (default ssdprof)")
    options = parser.parse_args(arguments)
    cases = {name: CASES[name] for name in (CASES if "all" in options.problems else options.problems)}
    try:
        for case in cases.values():
            ours(subject(**case.problem), options.space)
    except UsageError as error:
        parser.error(f"--space: {error}")
    gpu = require_gpu(parser)
    print(f"{gpu.name}, driver {gpu.driver}", flush=True)
    peers = dict(options.peer or ()) or {name: name for name in PLACES if find_spec(name)}
    passed = True
    for name, case in cases.items():
        print(f"\n{name}: {' '.join(case.options) or 'the default problem'}", flush=True)
        text, met = report(compared(case, options.space, peers), case)
        print(text, flush=True)
        passed &= met
    return int(not passed)


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


if __name__ == "__main__":
    sys.exit(main())
