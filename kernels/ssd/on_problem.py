"""What every chunk scan has in common, whoever wrote its kernel: problem, inputs, reference, tolerances, work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ssdprof.kernels.config import Config
from ssdprof.kernels.interface import Axis, Tensors, Tolerances, Work
from ssdprof.kernels.launch import DTYPE_BYTES, TensorMeta
from ssdprof.kernels.ssd.params import BLOCK_DSTATE, TILE
from ssdprof.kernels.ssd.partial import LOOP_ENDS, partial_sum, remedy_of_partial_state
from ssdprof.kernels.ssd.problem import ChunkScanProblem

if TYPE_CHECKING:
    import torch

OUTPUT = "out"
WORKSPACE_BYTES = 1 << 30
"""Room for the pieces of the reference and the comparison, and for the CUDA context: an upper estimate."""
ROUNDOFFS = {"bfloat16": ("bfloat16", 2.0**-8), "float16": ("float16", 2.0**-11), "float32": ("TF32", 2.0**-10)}
"""By the dtype of x: what the operands of a dot are rounded to, and the largest relative error of that. Float32 dots
run in TF32, Triton's default; their operands may be truncated instead of rounded."""


@dataclass(frozen=True)
class ChunkScanOnProblem:
    """The parts of a `Subject` that follow from the problem alone."""

    problem: ChunkScanProblem

    def identity(self) -> dict[str, Any]:
        """Every field of the problem."""
        return self.problem.as_dict()

    def tensors(self) -> Mapping[str, TensorMeta]:
        """Every tensor of a launch by name, with the shapes that `per_head.chunk_scan_kernel` documents."""
        return tensors(self.problem)

    def axes(self, output: str) -> Sequence[Axis]:  # there is one
        """Those of (batch, seqlen, nheads, headdim); one row is one token and head."""
        return Axis("sequence"), Axis("token", chunk=self.problem.chunk_size), Axis("head"), Axis("dim")

    def inputs(self, device: str, seed: int) -> dict[str, torch.Tensor]:
        """Random x, B, C, dt, A, D and z, put through the stages before the scan, so the inputs are valid.

        x, B, C, z and D are normal; dt is log-uniform in [0.001, 0.1], Mamba-2's initial range (Dao and Gu, 2024); A is
        log-uniform in [-0.25, -0.0625], slow enough for a state to outlive its chunk: with chunks of 128, about three
        quarters of the output's variance comes through the state, so an error in either product shows.
        """
        import torch

        from ssdprof.kernels.ssd import reference

        p = self.problem
        generator = torch.Generator(device=device).manual_seed(seed)

        normal = partial(torch.randn, generator=generator, device=device, dtype=getattr(torch, p.dtype))
        uniform = partial(torch.rand, generator=generator, device=device, dtype=torch.float32)
        x = normal(p.batch, p.seqlen, p.nheads, p.headdim)
        B, C = (normal(p.batch, p.seqlen, p.ngroups, p.dstate) for _ in range(2))
        dt = 10.0 ** (-3.0 + 2.0 * uniform(p.batch, p.seqlen, p.nheads))
        A = -(2.0 ** (-4.0 + 2.0 * uniform(p.nheads)))
        seq_idx = _packed(p, generator, device) if p.seq_idx else None
        da_cumsum, dt = reference.chunk_cumsum(dt, A, p.chunk_size)
        states = reference.chunk_states(B, x, dt, da_cumsum, seq_idx)
        states, _ = reference.state_passing(states, da_cumsum, seq_idx, dtype=getattr(torch, p.states_dtype))
        cb = reference.cb_product(C, B, p.chunk_size, seq_idx)
        inputs = {"cb": cb, "x": x, "dt": dt, "da_cumsum": da_cumsum, "c": C, "states": states}
        if p.d_form != "none":
            inputs["d"] = torch.randn(tensors(p)["d"].shape, generator=generator, device=device)
        if p.z:
            inputs["z"] = normal(*x.shape)
        return inputs if seq_idx is None else {**inputs, "seq_idx": seq_idx}

    def reference(self, inputs: Tensors) -> dict[str, torch.Tensor]:
        """The correct output, float32 (batch, seqlen, nheads, headdim), from the plain PyTorch stage."""
        from ssdprof.kernels.ssd import reference

        return {OUTPUT: reference.chunk_scan(inputs)}

    def tolerances(self) -> tuple[Tolerances, ...]:
        """A few roundings of the operands and the output to x's dtype.

        The kernel rounds the weights CB · exp · dt, the states and the output to x's dtype, once each. Errors of single
        terms are independent, so a correct output is off by half a rounding in all (0.0018 in bfloat16, measured on an
        H100); the smallest wrong ones seen are off by 100 roundings (0.41). A row may cancel to a tenth of the usual
        norm, the check's lower limit for it, while the roundings of its terms stay the same; they average out over its
        elements, but hardly over a few.
        """
        dtype = self.problem.dtype
        relative, row = (1e-2, 5e-2) if dtype == "bfloat16" else (2e-3, 1e-2)
        row *= max(1.0, (16 / self.problem.headdim) ** 0.5)
        name, roundoff = ROUNDOFFS[dtype]
        reason = (
            f"operands and output are rounded to {name}, each by up to {roundoff:.2g}: "
            f"{relative / roundoff:.1f} such roundings for the whole, {row / roundoff:.0f} for a row, "
            "whose terms may all but cancel"
        )
        return (Tolerances(relative, row, reason, output=OUTPUT),)

    def cause(self, config: Config, inputs: Tensors, reference: Tensors, outputs: Tensors) -> str | None:
        """Which part of its sums a wrong output leaves out, found by computing sums without it; None if none fits."""
        tile, (tolerances,) = dict(config.values).get(BLOCK_DSTATE.name), self.tolerances()
        tile = tile if isinstance(tile, int) else self.problem.dstate
        pair = reference[OUTPUT], outputs[OUTPUT]
        return partial_sum(self.problem, inputs, *pair, tolerances.relative_error, tile, self.remedy(config))

    def remedy(self, config: Config) -> str:
        """What is wrong in the kernel, or what to do, if a config sums only part of the state."""
        return remedy_of_partial_state(self.problem.dstate) if config.variant == TILE else LOOP_ENDS

    def work(self) -> Work:
        """Each tensor moved once; the whole state product, and the causal half of the product inside a chunk."""
        p = self.problem
        moved = sum(meta.size_bytes for meta in self.tensors().values())
        inside = p.chunk_size * (p.chunk_size + 1) // 2
        flops = 2 * p.batch * p.nheads * p.headdim * (p.seqlen * p.dstate + p.nchunks * inside)
        return Work(bytes_min=moved, flops=flops)

    def memory_bytes(self) -> int:
        """Inputs, B, and dt before it is cut into chunks; float32 states, later the float32 reference; workspace."""
        metas = {**tensors(self.problem), **self.tensors()}
        inputs = sum(meta.size_bytes for name, meta in metas.items() if name != OUTPUT)
        while_making = metas["c"].size_bytes + metas["dt"].size_bytes
        largest = max(metas["states"].numel, metas[OUTPUT].numel) * DTYPE_BYTES["float32"]
        return inputs + while_making + largest + WORKSPACE_BYTES


def tensors(problem: ChunkScanProblem) -> dict[str, TensorMeta]:
    """Every tensor of a launch by name, with the shapes that `per_head.chunk_scan_kernel` documents; all contiguous."""
    p = problem
    like_x = TensorMeta((p.batch, p.seqlen, p.nheads, p.headdim), p.dtype)
    like_dt = TensorMeta((p.batch, p.nheads, p.nchunks, p.chunk_size), "float32")
    metas = {
        "cb": TensorMeta((p.batch, p.nchunks, p.ngroups, p.chunk_size, p.chunk_size), "float32"),
        "x": like_x,
        "dt": like_dt,
        "da_cumsum": like_dt,
        "c": TensorMeta((p.batch, p.seqlen, p.ngroups, p.dstate), p.dtype),
        "states": TensorMeta((p.batch, p.nchunks, p.nheads, p.headdim, p.dstate), p.states_dtype),
        OUTPUT: replace(like_x, role="out"),
    }
    if p.d_form != "none":
        metas["d"] = TensorMeta((p.nheads, p.headdim) if p.d_form == "head-dim" else (p.nheads,), "float32")
    if p.z:
        metas["z"] = like_x
    if p.seq_idx:
        metas["seq_idx"] = TensorMeta((p.batch, p.seqlen), "int32")
    return metas


def _packed(p: ChunkScanProblem, generator: torch.Generator, device: str) -> torch.Tensor:
    """Sequence indices (batch, seqlen) int32 that increase by one at about one token in 1000."""
    import torch

    starts = torch.rand((p.batch, p.seqlen), generator=generator, device=device) < max(1e-3, 2.0 / p.seqlen)
    starts[:, p.chunk_size :: 4 * p.chunk_size] = True
    starts[:, 0] = False
    return starts.to(torch.int32).cumsum(dim=1, dtype=torch.int32)
