"""Made-up peers for the benchmark of our kernels beside those of mamba_ssm and vLLM: files, timer and candidates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from benchmark_runs import benchmark

from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.profiling.measuring.timer import HostTimer
from ssdprof.profiling.runs.model import Conditions, TimedBy

peers, peer_bench, peer_files, peer_kernels = map(benchmark, ("peers", "peer_bench", "peer_files", "peer_kernels"))

SMALL = ChunkScanProblem(seqlen=40, nheads=4, headdim=16, ngroups=2, dstate=16, chunk_size=16, dtype="float32")
MADE_UP_KERNEL = """
import torch
import triton

from ssdprof.kernels.ssd import reference


class MadeUp:
    '''Writes the right output; with 8 warps a wrong one, with 9 stages none.'''

    def __getitem__(self, grid):
        def launch(cb, x, dt, da, c, states, out, D=None, z=None, seq_idx=None, *, num_warps, num_stages, **tiles):
            assert grid({"BLOCK_SIZE_M": tiles["BLOCK_SIZE_M"]}) == (7,)
            if num_stages == 9:
                raise RuntimeError("too many stages\\nreally")
            right = reference.chunk_scan(cb, x, dt, da, c, states, D=D, z=z, seq_idx=seq_idx)
            out.copy_(right * (2 if num_warps == 8 else 1))

        return launch


class Tuned:
    keys = ["chunk_size"]
    fn = MadeUp()
    configs = [
        triton.Config({"BLOCK_SIZE_M": 64, "BLOCK_SIZE_N": 32, "BLOCK_SIZE_K": 32}, num_warps=warps, num_stages=stages)
        for warps, stages in ((4, 2), (8, 2), (4, 9))
    ]

    def __getitem__(self, grid):
        raise AssertionError("nothing is to be tuned")


_chunk_scan_fwd_kernel = Tuned()
"""
LIKE_MAMBA = """
def _chunk_scan_fwd(cb, x, dt, dA_cumsum, C, states, D=None, z=None, seq_idx=None):
    batch, seqlen, nheads, headdim = x.shape
    out = torch.empty_like(x)
    _chunk_scan_fwd_kernel[lambda meta: (7,)](cb, x, dt, dA_cumsum, C, states, out, D=D, z=z, seq_idx=seq_idx)
    return out, None
"""
LIKE_OLDER_VLLM = """
def _chunk_scan_fwd(cb, x, dt, dA_cumsum, C, states, D=None, z=None, seq_idx=None, chunk_indices=None, out=None):
    seqlen, nheads, headdim = x.shape
    cb, x, dt, dA_cumsum, C, states, out = (t[None] for t in (cb, x, dt, dA_cumsum, C, states, out))
    _chunk_scan_fwd_kernel[lambda meta: (7,)](cb, x, dt, dA_cumsum, C, states, out, D=D)
"""
LIKE_VLLM = """
def _chunk_scan_fwd(cb, x, dt, dA_cumsum, C, states, cu_chunk_seqlens, out, seq_idx, D=None, z=None,
                    initial_states=None):
    assert cu_chunk_seqlens.tolist() == [0, 16, 32, 40], cu_chunk_seqlens
    assert seq_idx.tolist() == [0, 0, 0], seq_idx
    found = torch.zeros_like(states)
    found[1:] = states[:-1]
    cb, x, dt, dA_cumsum, C, found, out = (t[None] for t in (cb, x, dt, dA_cumsum, C, found, out))
    kernel = _chunk_scan_fwd_kernel
    assert kernel.keys == ["chunk_size"]
    kernel[lambda meta: (7,)](cb, x, dt, dA_cumsum, C, found, out, D=D)
    assert kernel.best_config.pre_hook is None
"""


class MadeUpTimer(HostTimer):
    """Launches take what `took_ms` was set to by the last of them."""

    on_gpu = True
    took_ms = 1.0

    def once_ms(self, launch: Callable[[], Any]) -> float:
        launch()
        return self.took_ms

    def batch(
        self, launch: Callable[[], Any], samples: int, latency_ms: float, timed_by: TimedBy | None
    ) -> tuple[tuple[float, ...], TimedBy, Conditions]:
        launch()
        return (self.took_ms,) * samples, "events", Conditions()

    def copy_gbps(self) -> float:
        return 1000.0


@pytest.fixture(autouse=True)
def small_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard zones that take no time."""
    monkeypatch.setattr(peer_bench, "GUARD_BYTES", 1 << 12)


def checkout(folder: Path, name: str, text: str, **others: str) -> Path:
    """A checkout's root with the peer's file, and other files beside it."""
    file = folder.joinpath(*peer_files.MODULES[name].split(".")).with_suffix(".py")
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    for other, content in others.items():
        (file.parent / f"{other}.py").write_text(content, encoding="utf-8")
    return folder


def made_up(folder: Path, entry: str, name: str = "mamba_ssm") -> ModuleType:
    loaded: ModuleType = peer_files.load(name, checkout(folder, name, MADE_UP_KERNEL + entry))
    return loaded


def bench(timer: HostTimer | None = None, problem: ChunkScanProblem = SMALL) -> Any:
    return peer_bench.Bench(problem, timer or MadeUpTimer())


def candidate(on: Any, kernel: str, config: str, took_ms: float, spoil: Callable[[torch.Tensor], Any] = id) -> Any:
    """Writes the right output, spoiled, and takes `took_ms`."""
    right = on.spec.reference(on.problem, on.inputs)

    def launch() -> None:
        on.out.copy_(right)
        spoil(on.out)
        on.timer.took_ms = took_ms

    return peer_bench.Candidate(kernel, config, launch, on.out)
