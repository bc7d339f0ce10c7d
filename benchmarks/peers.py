"""Our chunk scans beside those of mamba_ssm and vLLM: latency, share of the roofline, and which configs are wrong.

    python benchmarks/peers.py [--problems super-50k super-2k | all] [--peer mamba_ssm=PATH] [--peer vllm=PATH]

In one process, on the same inputs: `tile` over the list of mamba, `split` over its best configs of the recorded run,
`grouped` over the space ssdprof (or --space), and each peer that is installed or pointed to (a checkout's root, or the
file itself) over its own list. Every config's output is checked: five launches, four of them under load. The few
fastest right ones of each kernel are then timed in rounds of random order, and checked after each turn. The roofline is
the time to move each tensor once at the copy bandwidth measured at the start.

A problem is one that --problems names, or given by --preset, --seqlen and so on. Ours are compiled ahead, on all cores,
into Triton's cache; a peer's one by one.

Asked of our best, by problem (exit code 1 where one is missed): its share of the roofline, and how many times as fast
it is as the best right config of `tile`.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import torch
from peer_bench import REFERENCE, Bench, Candidate, Entry, Result, entries
from peer_files import MODULES, PeerError, load, source_file
from peer_kernels import config_name, prepared
from sweeps import FAILED, PASSED, at_least, compile_ahead, require_gpu, table, verdict

from ssdprof.kernels.config import config_id, parse_config
from ssdprof.kernels.errors import ConfigError, ProblemError, SpaceError
from ssdprof.kernels.interface import Config
from ssdprof.kernels.ssd.presets import DEFAULT_PRESET, problem_from
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.spaces import space
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.measuring.timer import CudaTimer

DEFAULT_CASE = "super-50k"
SPLIT = (
    *("split:m32n64k32d64w2s3", "split:m32n64k32d64w4s3", "split:m32n64k32d128w4s3", "split:m32n64k32d64w2s4"),
    *("split:m64n64k32d64w4s3", "split:m64n64k32d128w4s2"),
)
"""The first of the recorded run, and two of the next tile for longer chunks."""


@dataclass(frozen=True, slots=True)
class Case:
    """A problem as options, and what is asked of our best there; None: nothing."""

    options: str
    roofline_share: float | None = None
    speedup: float | None = None


CASES: Mapping[str, Case] = MappingProxyType(
    {
        "super-50k": Case("", 0.88, 2.1),
        "super-2k": Case("--seqlen 2048", 0.72),
        "super-50k-chunk256": Case("--chunk-size 256", 0.80),
        "nano-50k": Case("--preset nemotron-3-nano", speedup=1.7),
        "super-tp4-50k": Case("--tp 4", speedup=1.7),
        "super-tp8-50k": Case("--tp 8", speedup=1.7),
        "mamba2-2.7b-50k": Case("--preset mamba2-2.7b", speedup=1.7),
        "codestral-50k": Case("--preset codestral-mamba-7b", speedup=1.7),
        "super-z": Case("--z", speedup=1.5),
        "super-seq-idx": Case("--seq-idx", speedup=1.5),
        "super-fp16": Case("--dtype float16", speedup=1.5),
        "super-fp32-states": Case("--states-dtype float32", speedup=1.5),
    }
)


def listed(problem: ChunkScanProblem, own_space: str) -> list[Config]:
    """Every config of ours that the kernel takes on this problem, none of them twice."""
    own = space(
        own_space,
        dstate=problem.dstate,
        chunk_size=problem.chunk_size,
        headdim=problem.headdim,
        heads_per_group=problem.nheads // problem.ngroups,
    )
    configs = [
        *space("mamba", dstate=problem.dstate).configs,
        *(parse_config(text) for text in SPLIT),
        *own.configs,
    ]
    return list(dict.fromkeys(filter(None, (_resolved(config, problem) for config in configs))))


def ours(bench: Bench, configs: Sequence[Config]) -> list[Candidate]:
    """The candidates of these configs."""
    tensors = {**bench.inputs, bench.spec.output_name(): bench.out}
    found = []
    for config in configs:
        name = config_id(config).removeprefix(f"{config.variant}:")
        found.append(Candidate(config.variant, name, bench.spec.launch(bench.problem, config).bind(tensors), bench.out))
    return found


def theirs(name: str, module: ModuleType, bench: Bench) -> list[Candidate]:
    """A peer's configs on this problem; none, and a line that says why, where it cannot be given the problem."""
    try:
        launch = prepared(module, bench.problem, bench.inputs, bench.out)
    except PeerError as error:
        print(f"  without {name}: {error}", flush=True)
        return []
    return [Candidate(name, config_name(one), launch.under(one), launch.out) for one in launch.configs]


def report(found: Sequence[Entry], case: Case) -> tuple[str, bool]:
    """The table, and what is asked of the best of ours; and whether all of that is met."""
    header = ["kernel", "best right config", "latency ms", "roofline", f"× {REFERENCE}", "error", "worst row"]
    rows = [
        [
            *(one.kernel, one.config or "none"),
            *(_cell(one.latency_ms, ".4f"), _cell(one.roofline_share, ".3f"), _cell(one.speedup, ".2f")),
            *(_cell(one.relative_error, ".2g"), _cell(one.worst_row_error, ".2g")),
            *(f"{one.wrong} of {one.configs}", f"{one.failed}"),
        ]
        for one in found
    ]
    own = [one for one in found if one.kernel not in MODULES and one.latency_ms is not None]
    best = min(own, key=lambda one: one.latency_ms or 0.0, default=None)
    asked = [("of the roofline", case.roofline_share), (f"times the speed of {REFERENCE}", case.speedup)]
    values = (best.roofline_share, best.speedup) if best else (None, None)
    verdicts = [
        (
            value is not None and value >= least,
            f"the best of ours, {best.kernel if best else 'none'}, has {_cell(value, '.3f')} {what} ({least:g} asked)",
        )
        for value, (what, least) in zip(values, asked, strict=True)
        if least is not None
    ]
    text = [table([*header, "wrong", "failed"], rows), *(verdict(met, said) for met, said in verdicts)]
    return "\n".join(text), all(met for met, _ in verdicts)


def run(bench: Bench, configs: Sequence[Config], peers: Mapping[str, ModuleType], rounds: int) -> list[Result]:
    """Checks all candidates and times the best; says which peers and configs have no latency, and why."""
    candidates = ours(bench, configs)
    for name, module in peers.items():
        candidates += theirs(name, module, bench)
    results = bench.race([bench.check(one) for one in candidates], rounds)
    for one in results:
        if one.status != "ok":
            print(f"  {one.candidate.name}: {one.status}: {one.reason}", flush=True)
    return results


def problem_options() -> argparse.ArgumentParser:
    """The options that make a problem, of which none is given where all are None."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--preset", help=f"a model's shape (default {DEFAULT_PRESET})")
    parser.add_argument("--seqlen", type=at_least(1), help="tokens (default 50000)")
    parser.add_argument("--chunk-size", type=at_least(1), help="tokens of a chunk")
    parser.add_argument("--tp", type=at_least(1), help="GPUs that heads and groups are divided among")
    parser.add_argument("--dtype", help="of x: bfloat16, float16 or float32")
    parser.add_argument("--states-dtype", help="of the states: bfloat16 or float32")
    parser.add_argument("--z", action="store_true", default=None, help="a gate")
    parser.add_argument("--seq-idx", action="store_true", default=None, help="packed sequences")
    return parser


def problem_of(options: Mapping[str, Any]) -> ChunkScanProblem:
    """The problem of these options. Raises ProblemError where there is none."""
    known = {name: value for name, value in options.items() if value is not None}
    tp, preset = known.pop("tp", 1), known.pop("preset", DEFAULT_PRESET)
    return problem_from(preset, **known).divided(tp)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the problems and prints a table of each: 0 where all that is asked holds, else 1."""
    own = problem_options()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[own]
    )
    parser.add_argument("--problems", nargs="+", choices=[*CASES, "all"], metavar="NAME", help=", ".join(CASES))
    parser.add_argument(
        "--peer", type=peer, action="append", default=[], metavar="NAME=PATH", help="may be given again"
    )
    parser.add_argument(
        "--space", default="ssdprof", help="configs of ours beside mamba's and split's (default ssdprof)"
    )
    parser.add_argument("--rounds", type=at_least(1), default=8, help="in which the best are timed (default 8)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the tables' rows, without what is asked")
    options = parser.parse_args(arguments)
    given = {name: getattr(options, name) for name in vars(own.parse_args([]))}
    try:
        problems = chosen(options.problems, given)
    except ProblemError as error:
        parser.error(str(error))
    gpu = require_gpu(parser)
    try:
        file = options.csv.open("w", newline="", encoding="utf-8") if options.csv else None
    except OSError as error:
        parser.error(f"--csv: {error}")
    writer = csv.DictWriter(file, [field.name for field in fields(Entry)]) if file else None
    if writer:
        writer.writeheader()
    timer = CudaTimer("cuda:0", gpu.visible)
    copy_gbps = timer.copy_gbps()
    print(f"{gpu.name}, driver {gpu.driver}, copies at {copy_gbps:.0f} GB/s", flush=True)
    paths = dict(options.peer)
    peers = {name: module for name in MODULES if (module := loaded(name, paths.get(name)))}
    try:
        configs = {name: listed(problem, options.space) for name, (problem, _) in problems.items()}
    except SpaceError as error:
        parser.error(f"--space: {error}")
    spec = ChunkScan()
    compile_ahead([spec.launch(problems[name][0], one) for name, ones in configs.items() for one in ones], gpu.arch)
    passed = []
    for name, (problem, case) in problems.items():
        roofline_ms = spec.work(problem).bytes_min / (1e6 * copy_gbps)
        print(f"\n{name}: {problem}, roofline {roofline_ms:.4f} ms", flush=True)
        found = entries(name, run(Bench(problem, timer), configs[name], peers, options.rounds), roofline_ms)
        torch.cuda.empty_cache()
        text, met = report(found, case)
        print(text, flush=True)
        passed.append(met)
        if writer and file:
            writer.writerows(asdict(one) for one in found)
            file.flush()
    return PASSED if all(passed) else FAILED


def chosen(names: Sequence[str] | None, given: Mapping[str, Any]) -> dict[str, tuple[ChunkScanProblem, Case]]:
    """The named problems, or the one of the options in `given`. Raises ProblemError."""
    options = {name.replace("_", "-"): value for name, value in given.items() if value is not None}
    if options and names:
        raise ProblemError(f"--problems names whole problems: leave --{next(iter(options))} out, or --problems")
    if options:
        return {"given": (problem_of(given), Case(""))}
    wanted = CASES if "all" in (names or []) else names or [DEFAULT_CASE]
    parser = problem_options()
    return {name: (problem_of(vars(parser.parse_args(CASES[name].options.split()))), CASES[name]) for name in wanted}


def peer(text: str) -> tuple[str, Path]:
    """An argument type: a peer's name and where its file is."""
    name, _, path = text.partition("=")
    if name not in MODULES or not path:
        raise argparse.ArgumentTypeError(f"must be NAME=PATH with a name of {', '.join(MODULES)}, got {text!r}")
    try:
        return name, source_file(name, Path(path))
    except PeerError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def loaded(name: str, path: Path | None) -> ModuleType | None:
    """A peer from its file or installed; None, and a line that says why, where it cannot be had."""
    try:
        return load(name, path)
    except PeerError as error:
        print(f"without {name}: {error}", flush=True)
        return None


def _resolved(config: Config, problem: ChunkScanProblem) -> Config | None:
    """The config as it is launched, None where the kernel cannot take it on this problem."""
    try:
        return ChunkScan().resolve(config, problem)
    except ConfigError:
        return None


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


if __name__ == "__main__":
    sys.exit(main())
