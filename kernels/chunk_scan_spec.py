"""The chunk scan as the engine sees it: a `KernelSpec`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import DTYPE_BYTES, Config, LaunchPlan, TensorMeta, Tolerances, Work
from ssdprof.kernels.problem import ChunkScanProblem

if TYPE_CHECKING:
    import torch

INT32_MAX = 2**31 - 1
WORKSPACE_BYTES = 1 << 30
"""Room for the pieces of the reference and of the comparison, and for the CUDA context: an estimate from above."""


def whole_state_tile(dstate: int) -> int:
    """The smallest tile that tl.dot takes and that holds the whole state dimension: a power of two, at least 16."""
    return max(16, 1 << (dstate - 1).bit_length())


@dataclass(frozen=True, slots=True)
class ChunkScan:
    """`KernelSpec` of the Mamba-2 SSD chunk scan."""

    name: str = "chunk_scan"
    variants: Sequence[str] = ("tile", "split")

    def baseline(self, problem: ChunkScanProblem) -> Config:
        """64×64×32, 2 warps, 4 stages, whole state: the fastest right config of the published kernel on an H100."""
        return Config(64, 64, 32, whole_state_tile(problem.dstate), num_warps=2, num_stages=4)

    def resolve(self, config: Config, problem: ChunkScanProblem) -> Config:
        """Fills in the DSTATE tile where it stands for the whole state.

        Raises ConfigError for an unknown variant or a launch beyond the kernel's 32-bit limits.
        """
        if config.variant not in self.variants:
            raise ConfigError(f"unknown variant {config.variant!r}: one of {', '.join(self.variants)}")
        if config.block_dstate is None:
            config = replace(config, block_dstate=whole_state_tile(problem.dstate))
        blocks = self.launch(problem, config).grid_blocks
        if blocks > INT32_MAX:
            raise ConfigError(f"the launch has {blocks} blocks, CUDA takes at most {INT32_MAX}: choose larger tiles")
        rows = max(problem.chunk_size, config.block_m) * max(problem.nheads * problem.headdim, problem.chunk_size)
        if rows > INT32_MAX:
            raise ConfigError(
                f"one chunk spans {rows} elements of x, 32-bit offsets reach {INT32_MAX}: choose a smaller chunk_size"
            )
        return config

    def source_hash(self) -> str:
        """SHA-256 of the file with the kernel and its launch, first 16 hexadecimal digits."""
        source = Path(__file__).with_name("chunk_scan.py").read_text(encoding="utf-8")
        return hashlib.sha256(source.encode()).hexdigest()[:16]

    def tensors(self, problem: ChunkScanProblem) -> Mapping[str, TensorMeta]:
        """Every tensor of a launch by name."""
        from ssdprof.kernels import chunk_scan

        return chunk_scan.tensors(problem)

    def output_name(self) -> str:
        """The output that is checked; one row is one token and head."""
        return "out"

    def launch(self, problem: ChunkScanProblem, config: Config) -> LaunchPlan:
        """The launch of a resolved config."""
        from ssdprof.kernels import chunk_scan

        return chunk_scan.launch(problem, config)

    def make_inputs(self, problem: ChunkScanProblem, device: str, seed: int) -> dict[str, torch.Tensor]:
        """Random x, B, C, dt, A, D and z, put through the stages before the scan, so that the inputs are valid ones.

        x, B, C, z and D are normal; dt is log-uniform in [0.001, 0.1], Mamba-2's initial range (Dao and Gu, 2024); A is
        log-uniform in [-0.25, -0.0625], slow enough for a state to outlive its chunk: at a chunk of 128 about three
        quarters of the output's variance comes through the state, so that neither product can be wrong unseen.
        """
        import torch

        from ssdprof.kernels import reference

        p = problem
        dtype, states_dtype = getattr(torch, p.dtype), getattr(torch, p.states_dtype)
        generator = torch.Generator(device=device).manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator, device=device, dtype=dtype)

        def uniform(*shape: int) -> torch.Tensor:
            return torch.rand(shape, generator=generator, device=device, dtype=torch.float32)

        x = normal(p.batch, p.seqlen, p.nheads, p.headdim)
        B, C = (normal(p.batch, p.seqlen, p.ngroups, p.dstate) for _ in range(2))
        dt = 10.0 ** (-3.0 + 2.0 * uniform(p.batch, p.seqlen, p.nheads))
        A = -(2.0 ** (-4.0 + 2.0 * uniform(p.nheads)))
        seq_idx = self._packed(p, generator, device) if p.seq_idx else None
        da_cumsum, dt_chunked = reference.chunk_cumsum(dt, A, p.chunk_size)
        states = reference.chunk_states(B, x, dt_chunked, da_cumsum, seq_idx, dtype=torch.float32)
        prev_states, _ = reference.state_passing(states, da_cumsum, seq_idx, dtype=states_dtype)
        del states
        inputs = {
            "cb": reference.cb_product(C, B, p.chunk_size, seq_idx),
            "x": x,
            "dt": dt_chunked,
            "da_cumsum": da_cumsum,
            "c": C,
            "states": prev_states,
        }
        if p.d_form != "none":
            shape = (p.nheads, p.headdim) if p.d_form == "head-dim" else (p.nheads,)
            inputs["d"] = torch.randn(shape, generator=generator, device=device)
        if p.z:
            inputs["z"] = normal(*x.shape)
        if seq_idx is not None:
            inputs["seq_idx"] = seq_idx
        return inputs

    def reference(self, problem: ChunkScanProblem, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The right output, float32 (batch, seqlen, nheads, headdim), from the plain PyTorch stage."""
        from ssdprof.kernels import reference

        return reference.chunk_scan(
            inputs["cb"],
            inputs["x"],
            inputs["dt"],
            inputs["da_cumsum"],
            inputs["c"],
            inputs["states"],
            D=inputs.get("d"),
            z=inputs.get("z"),
            seq_idx=inputs.get("seq_idx"),
        )

    def tolerances(self, problem: ChunkScanProblem) -> Tolerances:
        """A few roundings of x's dtype, to which every operand is cast; float32 dots run in TF32, Triton's default."""
        if problem.dtype == "bfloat16":
            return Tolerances(relative_error=1e-2, row_error=5e-2)
        return Tolerances(relative_error=2e-3, row_error=1e-2)

    def work(self, problem: ChunkScanProblem) -> Work:
        """Each tensor moved once; the state product in full and the causal half of the product inside a chunk."""
        p = problem
        moved = sum(meta.size_bytes for meta in self.tensors(p).values())
        inside = p.chunk_size * (p.chunk_size + 1) // 2
        flops = 2 * p.batch * p.nheads * p.headdim * (p.seqlen * p.dstate + p.nchunks * inside)
        return Work(bytes_min=moved, flops=flops)

    def memory_bytes(self, problem: ChunkScanProblem) -> int:
        """Peak of making inputs (float32 states) or of checking (output twice, float32 reference), room."""
        metas = self.tensors(problem)
        inputs = sum(meta.size_bytes for name, meta in metas.items() if name != "out") + metas["c"].size_bytes
        states = metas["states"].numel * DTYPE_BYTES["float32"]
        output = 2 * metas["out"].size_bytes + metas["out"].numel * DTYPE_BYTES["float32"]
        return inputs + max(states, output) + WORKSPACE_BYTES

    @staticmethod
    def _packed(problem: ChunkScanProblem, generator: torch.Generator, device: str) -> torch.Tensor:
        """Sequence indices (batch, seqlen) int32 that grow by one at about one token in 1000."""
        import torch

        p = problem
        starts = torch.rand((p.batch, p.seqlen), generator=generator, device=device) < max(1e-3, 2.0 / p.seqlen)
        starts[:, p.chunk_size :: 4 * p.chunk_size] = True
        starts[:, 0] = False
        return starts.to(torch.int32).cumsum(dim=1, dtype=torch.int32)
