"""The function `chunk_scan` as a program calls it: host time of one call, and what x, z, C as slices cost.

    python benchmarks/one_call.py [--peer mamba_ssm | --peer PATH] [--calls 2000]

Host time: at 128 tokens of the default preset, from call to return, while the GPU works or idles; the median and the
range of the middle half of CALLS calls, in rounds of which each has all that are compared. With --peer, mamba-ssm's own
entry `_chunk_scan_fwd` on the same tensors, from the installed package or a checkout's root or file.

Slices: at 50 000 tokens with a gate, x, z and C as slices of one projection against contiguous ones of the same values,
both into the same out; CUDA events, medians of rounds in turns. Outputs must be the same bit for bit.

Asked (exit code 1 if missed): a host time of at most 40 us, slices at most 3 % slower, equal outputs.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sweeps import at_least, parser_of, require_gpu, table, verdict

from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.foreign.files import find
from ssdprof.kernels.loading import load_module
from ssdprof.kernels.ssd.presets import problem_from
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan

HOST_US_MAX, SLICES_MAX = 40.0, 1.03
PRESET, SHORT, LONG = "nemotron-3-super", 128, 50_000
ROUND = 50
"""Calls of each kind in a round: few enough to fit the queue of launches, so that no call waits for the GPU."""
Call = Callable[[], object]


def host_us(calls: Mapping[str, Call], count: int, synchronize: Call) -> dict[str, list[float]]:
    """Microseconds of each of `count` calls by name."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(-(-count // ROUND)):
        for name, call in calls.items():
            synchronize()
            for _ in range(ROUND):
                start_ns = time.perf_counter_ns()
                call()
                found[name].append((time.perf_counter_ns() - start_ns) / 1000)
    return found


def device_ms(calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """Milliseconds on the GPU of each call by name, in turns."""
    import torch

    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            call()
            end.record()
            torch.cuda.synchronize()
            found[name].append(begin.elapsed_time(end))
    return found


def arguments(problem: ChunkScanProblem) -> dict[str, Any]:
    """Valid tensors of a problem, as `chunk_scan` names them."""
    inputs = ChunkScan(problem).inputs("cuda:0", 0)
    return {{"c": "C", "d": "D"}.get(name, name): tensor for name, tensor in inputs.items()}


def as_slices(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The same with x, z and C as slices of one projection, laid out as Mamba-2's is: z, x, B, C, dt."""
    import torch

    x = tensors["x"]
    wide, narrow = x[0, 0].numel(), tensors["C"][0, 0].numel()
    projection = torch.zeros(*x.shape[:2], 2 * wide + 2 * narrow + x.shape[2], dtype=x.dtype, device=x.device)
    begins = {"z": 0, "x": wide, "C": 2 * wide + narrow}
    slices = {}
    for name, begin in begins.items():
        tensor = tensors[name]
        slices[name] = projection[..., begin : begin + tensor[0, 0].numel()].unflatten(2, tensor.shape[2:])
        slices[name].copy_(tensor)
    return {**tensors, **slices}


def spread(values: Sequence[float]) -> str:
    """The range of the middle half."""
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.4g} to {high:.4g}"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints both comparisons; 0 if all that is asked holds."""
    parser = parser_of(description=__doc__)
    parser.add_argument("--peer", help="mamba_ssm, or a path of its checkout or file")
    parser.add_argument("--calls", type=at_least(100), default=2000, help="calls of each kind that are timed")
    options = parser.parse_args(argv)
    gpu = require_gpu(parser)
    try:
        peer = find(options.peer) if options.peer else None
    except UsageError as error:
        parser.error(f"--peer: {error}")
    import torch

    from ssdprof.kernels import chunk_scan

    short = arguments(problem_from(PRESET, seqlen=SHORT))
    out = torch.empty_like(short["x"])
    calls: dict[str, Call] = {
        "chunk_scan": lambda: chunk_scan(**short),
        "chunk_scan, out given": lambda: chunk_scan(**short, out=out),
    }
    if peer:
        entry = load_module(peer.module, peer.file)._chunk_scan_fwd
        given = [short.get(name) for name in ("cb", "x", "dt", "da_cumsum", "C", "states", "D")]
        calls["mamba-ssm's entry"] = lambda: entry(*given)
    for call in calls.values():
        call()
    host = host_us(calls, options.calls, torch.cuda.synchronize)

    tensors = arguments(replace(problem_from(PRESET, seqlen=LONG), z=True))
    slices, outs = as_slices(tensors), [torch.empty_like(tensors["x"]) for _ in range(2)]
    kinds: dict[str, Call] = {
        "contiguous": lambda: chunk_scan(**tensors, out=outs[0]),
        "slices": lambda: chunk_scan(**slices, out=outs[1]),
    }
    for call in (*kinds.values(), *kinds.values()):
        call()
    device = device_ms(kinds, max(20, options.calls // 20))
    same = torch.equal(*outs)

    print(f"{gpu.name}, Python {sys.version.split()[0]}, PyTorch {torch.__version__}, {PRESET}")
    rows = [[name, f"{statistics.median(us):.1f}", spread(us)] for name, us in host.items()]
    print(table([f"host time at {SHORT} tokens", "us", "middle half"], rows))
    rows = [[name, f"{statistics.median(ms):.4f}", spread(ms)] for name, ms in device.items()]
    print(table([f"GPU time at {LONG} tokens, with z", "ms", "middle half"], rows))
    slowest_us = max(statistics.median(us) for name, us in host.items() if name.startswith("chunk_scan"))
    ratio = statistics.median(device["slices"]) / statistics.median(device["contiguous"])
    criteria = [
        (slowest_us <= HOST_US_MAX, f"a host time of at most {HOST_US_MAX:g} us: {slowest_us:.1f}"),
        (ratio <= SLICES_MAX, f"slices at most {SLICES_MAX - 1:.0%} slower: {ratio - 1:+.1%}"),
        (same, "slices give the same output bit for bit"),
    ]
    print(*(verdict(*criterion) for criterion in criteria), sep="\n")
    return 0 if all(passed for passed, _ in criteria) else 1


if __name__ == "__main__":
    sys.exit(main())
