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
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from sweeps import FAILED, PASSED, at_least, require_gpu, run_process, swept, table, verdict

from ssdprof.profiling.runs.model import Row, Run

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


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of one round."""

    autotune_cold: Tuning
    sweep_cold_s: float
    sweep_warm_s: float


def autotune(space_name: str, seqlen: int) -> Tuning:
    """Lets `triton.autotune` choose among the configs of the space on the GPU, and times its first call."""
    import torch
    import triton

    from ssdprof.kernels.space import space_of
    from ssdprof.kernels.ssd.on_problem import OUTPUT
    from ssdprof.kernels.ssd.per_head import chunk_scan_kernel
    from ssdprof.kernels.ssd.presets import problem_from
    from ssdprof.kernels.ssd.subject import ChunkScan

    problem = problem_from(seqlen=seqlen)
    subject = ChunkScan(problem)
    ids, choices = [], []
    for config in map(subject.resolve, space_of(subject, space_name).configs):
        plan = subject.launch(config)
        ids.append(subject.params.id(config))
        choices.append(triton.Config({name: plan.args[name] for name in TUNED}, **plan.options))
    inputs = subject.inputs("cuda:0", 0)
    tensors = {**inputs, OUTPUT: torch.empty_like(inputs["x"])}
    bound = plan.arguments(lambda ref: tensors[ref.name], tma=True)
    arguments = {name: value for name, value in bound.items() if name not in TUNED}

    def grid(meta: Mapping[str, Any]) -> tuple[int]:
        tiles = triton.cdiv(problem.headdim, meta["BLOCK_SIZE_N"]) * triton.cdiv(
            problem.chunk_size, meta["BLOCK_SIZE_M"]
        )
        return (tiles * problem.batch * problem.nchunks * problem.nheads,)

    tuned = triton.autotune(configs=choices, key=[])(chunk_scan_kernel)
    torch.cuda.synchronize()
    start_s = time.perf_counter()
    tuned[grid](**arguments)
    torch.cuda.synchronize()
    first_call_s = time.perf_counter() - start_s
    return Tuning(ids[choices.index(tuned.best_config)], first_call_s)


def one_round(options: argparse.Namespace, folder: Path, gpu_env: Mapping[str, str]) -> tuple[Round, Run]:
    """Autotune once cold, the sweep once cold and once warm, and the run of the warm sweep."""
    choice = ["--space", options.space, "--seqlen", str(options.seqlen)]

    def tuning() -> Tuning:
        command = [sys.executable, __file__, "--autotune-only", *choice]
        env = {**gpu_env, "TRITON_CACHE_DIR": str(folder / "autotune")}
        finished = run_process(command, env=env, timeout_s=options.timeout)
        tuned = replace(Tuning(**json.loads(finished.stdout.splitlines()[-1])), process_s=finished.wall_s)
        print(f"autotune: {tuned.first_call_s:.2f} s, with its process {tuned.process_s:.2f} s", flush=True)
        return tuned

    def sweep(name: str) -> tuple[float, Run]:
        env = {**gpu_env, "TRITON_CACHE_DIR": str(folder / "sweep")}
        done = swept(choice, folder / f"{name}.jsonl", env=env, timeout_s=options.timeout)
        print(f"sweep, {name}: {done.wall_s:.2f} s", flush=True)
        return done.wall_s, done.run

    autotune_cold, (sweep_cold_s, _), (sweep_warm_s, run) = tuning(), sweep("cold"), sweep("warm")
    return Round(autotune_cold, sweep_cold_s, sweep_warm_s), run


def report(rounds: Sequence[Round], run: Run) -> tuple[str, bool]:
    """The table, the criteria and what autotune picked; and whether both criteria are met."""
    lines = {
        "autotune, cold: first call": [one.autotune_cold.first_call_s for one in rounds],
        "autotune, cold: whole process": [one.autotune_cold.process_s for one in rounds],
        "sweep, cold: whole process": [one.sweep_cold_s for one in rounds],
        "sweep, warm: whole process": [one.sweep_warm_s for one in rounds],
    }
    header = ["seconds", *(f"round {number}" for number, _ in enumerate(rounds, start=1)), "median"]
    rows = [[name, *(f"{one:.2f}" for one in (*values, median(values)))] for name, values in lines.items()]
    ratio = median(lines["sweep, cold: whole process"]) / median(lines["autotune, cold: first call"])
    warm_s = median(lines["sweep, warm: whole process"])
    cold_met, warm_met = ratio <= MAX_COLD_RATIO, warm_s <= MAX_WARM_S
    picked = dict.fromkeys(one.autotune_cold.picked_id for one in rounds)
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seqlen", type=at_least(1), default=50_000, help="tokens (default 50000)")
    parser.add_argument("--space", default="tensorrt-llm-pr", help="configs (default tensorrt-llm-pr)")
    parser.add_argument("--rounds", type=at_least(1), default=2, help="how often, in turn (default 2)")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one process (default 600)")
    parser.add_argument("--autotune-only", action="store_true", help="only tune, and print one line of JSON")
    options = parser.parse_args(arguments)
    gpu = require_gpu(parser)
    if options.autotune_only:
        print(json.dumps(asdict(autotune(options.space, options.seqlen))))
        return PASSED
    print(f"{options.space} at {options.seqlen} tokens on {gpu.name}, driver {gpu.driver}", flush=True)
    rounds = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="ssdprof-benchmark-") as folder:
            done, run = one_round(options, Path(folder), {"CUDA_VISIBLE_DEVICES": gpu.visible})
        rounds.append(done)
    text, passed = report(rounds, run)
    print(text)
    return PASSED if passed else FAILED


def _said_of(run: Run, config_id: str) -> str:
    """What a run says of a config, in a few words."""
    row = next((row for row in run.rows if row.config_id == config_id), None)
    return "not in the sweep" if row is None else _said(row)


def _said(row: Row) -> str:
    latency = f", {row.timing.latency_ms:.3f} ms" if row.timing else ""
    rank = f", rank {row.rank}" if row.rank else ""
    reason = f" ({row.status_reason})" if row.status_reason else ""
    return f"{row.status}{latency}{rank}{reason}"


if __name__ == "__main__":
    sys.exit(main())
