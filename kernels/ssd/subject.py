"""The chunk scan as the engine sees it: a `KernelSpec`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ssdprof.kernels.config import VARIANTS
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import DTYPE_BYTES, Axis, Config, LaunchPlan, TensorMeta, Tolerances, Work
from ssdprof.kernels.ssd.problem import ChunkScanProblem

if TYPE_CHECKING:
    import torch

_Inputs = Mapping[str, "torch.Tensor"]

INT32_MAX = 2**31 - 1
SOURCES = {"tile": ("per_head.py",), "split": ("per_head.py",), "grouped": ("grouped.py", "per_head.py")}
WORKSPACE_BYTES = 1 << 30
"""Room for the pieces of the reference and of the comparison, and for the CUDA context: an estimate from above."""
SAMPLED_CHUNKS = 4
"""Chunks in a row at which a wrong output is held against sums cut short, once in the middle and once at the end."""
ROUNDOFFS = {"bfloat16": ("bfloat16", 2.0**-8), "float16": ("float16", 2.0**-11), "float32": ("TF32", 2.0**-10)}
"""By the dtype of x: what the operands of a dot are rounded to, and by how much at most, relative. Float32 dots run in
TF32, Triton's default, to which operands may be cut off instead of rounded."""


def whole_state_tile(dstate: int) -> int:
    """The smallest tile that tl.dot takes and that holds the whole state dimension: a power of two, at least 16."""
    return max(16, 1 << (dstate - 1).bit_length())


@dataclass(frozen=True, slots=True)
class ChunkScan:
    """`KernelSpec` of the Mamba-2 SSD chunk scan."""

    name: str = "chunk_scan"
    variants: Sequence[str] = VARIANTS

    def baseline(self, problem: ChunkScanProblem) -> Config:
        """64×64×32, 2 warps, 4 stages, whole state: the fastest right config of the published kernel on an H100."""
        return Config(64, 64, 32, whole_state_tile(problem.dstate), num_warps=2, num_stages=4)

    def resolve(self, config: Config, problem: ChunkScanProblem) -> Config:
        """Fills in the DSTATE tile where it stands for the whole state, and the heads where they are a whole group's.

        Raises ConfigError for an unknown variant, a launch beyond the kernel's 32-bit limits, heads for a variant that
        takes one at a time, and of `grouped` for a part of the chunk or of the state, or heads that do not divide a
        group.
        """
        if config.variant not in self.variants:
            raise ConfigError(f"unknown variant {config.variant!r}: one of {', '.join(self.variants)}")
        if config.block_dstate is None:
            config = replace(config, block_dstate=whole_state_tile(problem.dstate))
        if config.variant == "grouped":
            config = _resolve_grouped(config, problem)
        elif config.heads is not None:
            raise ConfigError(
                f"{config.variant} takes one head at a time: leave heads out, or take the variant grouped"
            )
        blocks = self.launch(problem, config).grid_blocks
        if blocks > INT32_MAX:
            raise ConfigError(f"the launch has {blocks} blocks, CUDA takes at most {INT32_MAX}: choose larger tiles")
        rows = max(problem.chunk_size, config.block_m) * max(problem.nheads * problem.headdim, problem.chunk_size)
        if rows > INT32_MAX:
            raise ConfigError(
                f"one chunk spans {rows} elements of x, 32-bit offsets reach {INT32_MAX}: choose a smaller chunk_size"
            )
        return config

    def source_hashes(self) -> Mapping[str, str]:
        """SHA-256 of the files with the variant's kernel and launch, first 16 hexadecimal digits."""
        return {variant: _hash(*files) for variant, files in SOURCES.items()}

    def tensors(self, problem: ChunkScanProblem) -> Mapping[str, TensorMeta]:
        """Every tensor of a launch by name."""
        from ssdprof.kernels.ssd import per_head

        return per_head.tensors(problem)

    def output_name(self) -> str:
        """The output that is checked; one row is one token and head."""
        return "out"

    def output_axes(self, problem: ChunkScanProblem) -> Sequence[Axis]:
        """Of (batch, seqlen, nheads, headdim)."""
        return Axis("sequence"), Axis("token", chunk=problem.chunk_size), Axis("head"), Axis("dim")

    def launch(self, problem: ChunkScanProblem, config: Config) -> LaunchPlan:
        """The launch of a resolved config."""
        from ssdprof.kernels.ssd import grouped, per_head

        launch: Callable[[ChunkScanProblem, Config], LaunchPlan] = (
            grouped.launch if config.variant == "grouped" else per_head.launch
        )
        return launch(problem, config)

    def make_inputs(self, problem: ChunkScanProblem, device: str, seed: int) -> dict[str, torch.Tensor]:
        """Random x, B, C, dt, A, D and z, put through the stages before the scan, so that the inputs are valid ones.

        x, B, C, z and D are normal; dt is log-uniform in [0.001, 0.1], Mamba-2's initial range (Dao and Gu, 2024); A is
        log-uniform in [-0.25, -0.0625], slow enough for a state to outlive its chunk: at a chunk of 128 about three
        quarters of the output's variance comes through the state, so that neither product can be wrong unseen.
        """
        import torch

        from ssdprof.kernels.ssd import reference

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
        from ssdprof.kernels.ssd import reference

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
        """A few roundings of the operands and of the output to x's dtype.

        The kernel rounds the weights CB · exp · dt, the states and the output to x's dtype, once each; errors of single
        terms are independent, so a right output is off by half of one rounding in all (0.0018 in bfloat16, measured on
        an H100), and the smallest wrong ones seen by 100 (0.41). A row may cancel to a tenth of the usual norm, beyond
        which the check makes no allowance, while its terms' roundings stay what they are.
        """
        relative, row = (1e-2, 5e-2) if problem.dtype == "bfloat16" else (2e-3, 1e-2)
        name, roundoff = ROUNDOFFS[problem.dtype]
        reason = (
            f"operands and output are rounded to {name}, each by up to {roundoff:.2g}: "
            f"{relative / roundoff:.1f} such roundings for the whole, {row / roundoff:.0f} for a row, "
            "whose terms may all but cancel"
        )
        return Tolerances(relative, row, reason)

    def partial_sum(
        self,
        problem: ChunkScanProblem,
        config: Config,
        inputs: Mapping[str, torch.Tensor],
        reference: torch.Tensor,
        out: torch.Tensor,
    ) -> str | None:
        """Which part of its sums a wrong `out` leaves out: of the state beyond one DSTATE tile, or one whole product.

        None where it is none of these. Computed for some chunks of the first sequence: the output that such a cut
        gives must be within the tolerance of `out`, over these chunks together, and the right one must not.
        """
        import torch

        p = problem
        windows = [_window(p, inputs, chunks) for chunks in _sampled_chunks(p.nchunks)]

        def sampled(whole: torch.Tensor) -> torch.Tensor:
            return torch.cat([whole[:1, window.tokens] for window in windows], dim=1).float()

        def outputs(cut: Callable[[_Inputs], _Inputs]) -> torch.Tensor:
            outs = [self.reference(p, cut(window.inputs))[:, window.dropped_tokens :] for window in windows]
            return torch.cat(outs, dim=1)

        written, right = sampled(out), sampled(reference)
        tolerance = self.tolerances(p).relative_error * right.norm()
        if (written - right).norm() <= tolerance:
            return None
        cuts = [
            (
                lambda inputs: _first_of_state(inputs, 0),
                "the product of C and the state (dstate) is missing altogether",
            ),
            (_without_cb, "the product of CB and x inside the chunk is missing altogether"),
        ]
        tile = config.block_dstate
        if tile is not None and tile < p.dstate:
            remedy = (
                f"take a DSTATE tile of {whole_state_tile(p.dstate)}, or the variant split"
                if config.variant == "tile"
                else "the loop over DSTATE tiles ends after one"
            )
            message = f"only the first {tile} of {p.dstate} state elements (dstate) are summed: {remedy}"
            cuts.insert(0, (lambda inputs: _first_of_state(inputs, tile), message))
        return next((message for cut, message in cuts if (written - outputs(cut)).norm() <= tolerance), None)

    def work(self, problem: ChunkScanProblem) -> Work:
        """Each tensor moved once; the state product in full and the causal half of the product inside a chunk."""
        p = problem
        moved = sum(meta.size_bytes for meta in self.tensors(p).values())
        inside = p.chunk_size * (p.chunk_size + 1) // 2
        flops = 2 * p.batch * p.nheads * p.headdim * (p.seqlen * p.dstate + p.nchunks * inside)
        return Work(bytes_min=moved, flops=flops)

    def memory_bytes(self, problem: ChunkScanProblem) -> int:
        """Inputs, B and dt before it is cut into chunks; float32 states, later the float32 reference; workspace."""
        metas = self.tensors(problem)
        inputs = sum(meta.size_bytes for name, meta in metas.items() if name != "out")
        while_making = metas["c"].size_bytes + metas["dt"].size_bytes
        largest = max(metas["states"].numel, metas["out"].numel) * DTYPE_BYTES["float32"]
        return inputs + while_making + largest + WORKSPACE_BYTES

    @staticmethod
    def _packed(problem: ChunkScanProblem, generator: torch.Generator, device: str) -> torch.Tensor:
        """Sequence indices (batch, seqlen) int32 that grow by one at about one token in 1000."""
        import torch

        p = problem
        starts = torch.rand((p.batch, p.seqlen), generator=generator, device=device) < max(1e-3, 2.0 / p.seqlen)
        starts[:, p.chunk_size :: 4 * p.chunk_size] = True
        starts[:, 0] = False
        return starts.to(torch.int32).cumsum(dim=1, dtype=torch.int32)


def _hash(*files: str) -> str:
    source = "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in files)
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def _resolve_grouped(config: Config, problem: ChunkScanProblem) -> Config:
    """The config with all heads of a group where it names none. Raises ConfigError."""
    whole = whole_state_tile(problem.dstate)
    if config.block_dstate != whole:
        raise ConfigError(f"grouped takes the whole state: block_dstate must be {whole}, got {config.block_dstate}")
    in_group = problem.nheads // problem.ngroups
    heads = in_group if config.heads is None else config.heads
    if in_group % heads:
        raise ConfigError(f"heads must divide the {in_group} heads of a group, got {heads}")
    return replace(config, heads=heads)


@dataclass(frozen=True, slots=True)
class _Window:
    """Inputs of adjacent chunks of the first sequence, and which tokens of it they are.

    Packed sequences make a chunk depend on the last token before it: the chunk before goes along for that, and the
    output's first tokens are to be dropped.
    """

    inputs: _Inputs
    tokens: slice
    dropped_tokens: int


def _window(problem: ChunkScanProblem, inputs: _Inputs, chunks: slice) -> _Window:
    size = problem.chunk_size
    first = max(0, chunks.start - 1)
    one, span, tokens = slice(0, 1), slice(first, chunks.stop), slice(first * size, chunks.stop * size)
    by_chunk, by_token, by_head = (one, span), (one, tokens), (one, slice(None), span)
    where = {"cb": by_chunk, "states": by_chunk, "dt": by_head, "da_cumsum": by_head}
    where |= {"x": by_token, "c": by_token, "z": by_token, "seq_idx": by_token}
    sliced = {name: tensor[where[name]] if name in where else tensor for name, tensor in inputs.items()}
    return _Window(sliced, slice(chunks.start * size, chunks.stop * size), dropped_tokens=(chunks.start - first) * size)


def _sampled_chunks(nchunks: int) -> list[slice]:
    """Several in a row, since with packed sequences a chunk that begins one gets no state."""
    if nchunks <= 2 * SAMPLED_CHUNKS:
        return [slice(0, nchunks)]
    middle = nchunks // 2 - SAMPLED_CHUNKS // 2
    return [slice(middle, middle + SAMPLED_CHUNKS), slice(nchunks - SAMPLED_CHUNKS, nchunks)]


def _first_of_state(inputs: _Inputs, count: int) -> _Inputs:
    """Inputs whose state has only its first `count` elements."""
    return {**inputs, "c": inputs["c"][..., :count], "states": inputs["states"][..., :count]}


def _without_cb(inputs: _Inputs) -> _Inputs:
    return {**inputs, "cb": inputs["cb"].new_zeros(()).expand_as(inputs["cb"])}
