"""How long a whole sweep takes, beside `triton.autotune` tuning the same kernel over the same configs.

    python benchmarks/sweep_vs_autotune.py [--seqlen 50000] [--space tensorrt-llm-pr] [--rounds 2]

A sweep counts from the start of its process to its end: start-up, compilation, inputs, checks of every output, timing
and the table. Of autotune only the first tuned call counts, without its imports and its inputs, which is in its favour;
the time of its whole process is printed beside it. Autotune times by Triton's default `do_bench` and checks nothing.
Cold: with an empty folder as TRITON_CACHE_DIR; warm (the sweep alone): with the same folder again. The processes run
in turn, autotune first, so that it also pays for reading Python's packages from a cold disk.

Asked (exit code 1 if one is missed): cold, the sweep takes at most 0.30 of autotune's time; warm, at most 10 s.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from operator import itemgetter
from pathlib import Path
from statistics import median

from sweeps import at_least, parser_of, require_gpu, run_process, swept, table, temporary_folder, verdict

from ssdprof.profiling.runs.model import Run

MAX_COLD_RATIO = 0.30
MAX_WARM_S = 10.0
TUNED = ("SPLIT_DSTATE", "BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K", "BLOCK_SIZE_DSTATE")
"""The kernel's parameters that differ from config to config."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What autotune picked, the time of its first call, and that of the whole process."""

    picked_id: str
    first_call_s: float
    process_s: float = 0.0


Round = tuple[Tuning, float, float]
"""A cold tuning, and the seconds of the sweep, cold and warm."""


def autotune(space_name: str, seqlen: int) -> Tuning:
    """Lets `triton.autotune` choose among the configs of the space on the GPU, and times its first call."""
    import torch
    import triton

    from ssdprof.kernels.space import space_of
    from ssdprof.kernels.ssd.on_problem import OUTPUT
    from ssdprof.kernels.ssd.per_head import chunk_scan_kernel
    from ssdprof.kernels.ssd.presets import problem_from
    from ssdprof.kernels.ssd.subject import ChunkScan

    subject = ChunkScan(problem_from(seqlen=seqlen))
    configs = [subject.resolve(config) for config in space_of(subject, space_name).configs]
    plans = [subject.launch(config) for config in configs]
    choices = [triton.Config({name: plan.args[name] for name in TUNED}, **plan.options) for plan in plans]
    tuned_values = itemgetter(*TUNED)
    grids = {tuned_values(plan.args): plan.grid for plan in plans}
    inputs = subject.inputs("cuda:0", 0)
    tensors = {**inputs, OUTPUT: torch.empty_like(inputs["x"])}
    bound = plans[0].arguments(lambda ref: tensors[ref.name], tma=True)
    arguments = {name: value for name, value in bound.items() if name not in TUNED}

    tuned = triton.autotune(configs=choices, key=[])(chunk_scan_kernel)
    torch.cuda.synchronize()
    start_s = time.perf_counter()
    tuned[lambda meta: grids[tuned_values(meta)]](**arguments)
    torch.cuda.synchronize()
    first_call_s = time.perf_counter() - start_s
    return Tuning(subject.params.id(configs[choices.index(tuned.best_config)]), first_call_s)


def one_round(options: argparse.Namespace, folder: Path, visible: str) -> tuple[Round, Run]:
    """Autotune once cold, the sweep once cold and once warm, on the GPU `visible`; and the run of the warm sweep."""
    choice = ["--space", options.space, "--seqlen", str(options.seqlen)]
    autotune_env, sweep_env = (
        {"CUDA_VISIBLE_DEVICES": visible, "TRITON_CACHE_DIR": str(folder / cache)} for cache in ("autotune", "sweep")
    )
    command = [sys.executable, __file__, "--autotune-only", *choice]
    stdout, process_s = run_process(command, env=autotune_env, timeout_s=options.timeout)
    tuning = replace(Tuning(**json.loads(stdout.splitlines()[-1])), process_s=process_s)
    print(f"autotune: {tuning.first_call_s:.2f} s, with its process {process_s:.2f} s", flush=True)
    _, cold_s = swept(choice, env=sweep_env, timeout_s=options.timeout)
    print(f"sweep, cold: {cold_s:.2f} s", flush=True)
    run, warm_s = swept(choice, env=sweep_env, timeout_s=options.timeout)
    print(f"sweep, warm: {warm_s:.2f} s", flush=True)
    return (tuning, cold_s, warm_s), run


def report(rounds: Sequence[Round], run: Run) -> tuple[str, bool]:
    """The table, the criteria and what autotune picked; and whether both criteria are met."""
    columns = [(tuning.first_call_s, tuning.process_s, cold_s, warm_s) for tuning, cold_s, warm_s in rounds]
    columns.append(tuple(map(median, zip(*columns, strict=True))))
    names = [
        *("autotune, cold: first call", "autotune, cold: whole process"),
        *("sweep, cold: whole process", "sweep, warm: whole process"),
    ]
    header = ["seconds", *(f"round {number}" for number, _ in enumerate(rounds, start=1)), "median"]
    rows = [[name, *(f"{one:.2f}" for one in values)] for name, *values in zip(names, *columns, strict=True)]
    first_call_s, _, cold_s, warm_s = columns[-1]
    ratio = cold_s / first_call_s
    cold_met, warm_met = ratio <= MAX_COLD_RATIO, warm_s <= MAX_WARM_S
    picked = dict.fromkeys(tuning.picked_id for tuning, _, _ in rounds)
    text = [
        table(header, rows),
        "",
        verdict(cold_met, f"cold, the sweep takes {ratio:.2f} of autotune's time (at most {MAX_COLD_RATIO:.2f} asked)"),
        verdict(warm_met, f"warm, the sweep takes {warm_s:.2f} s (at most {MAX_WARM_S:g} asked)"),
        "",
        *(f"autotune picked {name}: {_said_of(run, name)}" for name in picked),
        *(f"the sweep's best is {row.config_id}: {_said_of(run, row.config_id)}" for row in run.ranked[:1]),
    ]
    return "\n".join(text), cold_met and warm_met


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the rounds and prints the report: 0 if both criteria are met, else 1."""
    parser = parser_of(description=__doc__)
    parser.add_argument("--seqlen", type=at_least(1), default=50_000, help="tokens (default 50000)")
    parser.add_argument("--space", default="tensorrt-llm-pr", help="configs (default tensorrt-llm-pr)")
    parser.add_argument("--rounds", type=at_least(1), default=2, help="how often, in turn (default 2)")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one process (default 600)")
    parser.add_argument("--autotune-only", action="store_true", help="only tune, and print one line of JSON")
    options = parser.parse_args(arguments)
    gpu = require_gpu(parser)
    if options.autotune_only:
        print(json.dumps(asdict(autotune(options.space, options.seqlen))))
        return 0
    print(f"{options.space} at {options.seqlen} tokens on {gpu.name}, driver {gpu.driver}", flush=True)
    rounds = []
    for _ in range(options.rounds):
        with temporary_folder() as folder:
            done, run = one_round(options, Path(folder), gpu.visible)
        rounds.append(done)
    text, passed = report(rounds, run)
    print(text)
    return int(not passed)


def _said_of(run: Run, config_id: str) -> str:
    """What a run says of a config, in a few words."""
    for row in run.rows:
        if row.config_id == config_id:
            latency = f", {row.timing.latency_ms:.3f} ms" if row.timing else ""
            rank = f", rank {row.rank}" if row.rank else ""
            return f"{row.status}{latency}{rank}" + (f" ({row.status_reason})" if row.status_reason else "")
    return "not in the sweep"


if __name__ == "__main__":
    sys.exit(main())
