"""How the kernels of the chunk scan are launched: grid, arguments and options for a problem and a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ssdprof.kernels.config import Config
from ssdprof.kernels.launch import DTYPE_BYTES, DescriptorRef, LaunchPlan, TensorMeta, TensorRef
from ssdprof.kernels.ssd import grouped, per_head
from ssdprof.kernels.ssd.on_problem import tensors
from ssdprof.kernels.ssd.params import GROUPED, SPLIT, Numbers
from ssdprof.kernels.ssd.problem import ChunkScanProblem

DESCRIBED = ("x", "states", "z", "out")
"""The tensors that `grouped` can take as descriptors."""
DESCRIPTOR_ALIGNMENT = 16
"""Bytes: their addresses and strides must be multiples of this."""


def launch(problem: ChunkScanProblem, config: Config, metas: Mapping[str, TensorMeta] | None = None) -> LaunchPlan:
    """The launch of a resolved config: grid, arguments by name, launch options.

    `metas`: the tensors if they are not those of `on_problem.tensors`; x, c, out and z may have any outer strides.
    """
    return (_grouped if config.variant == GROUPED else _per_head)(problem, config, metas)


def _per_head(problem: ChunkScanProblem, config: Config, metas: Mapping[str, TensorMeta] | None = None) -> LaunchPlan:
    plan = _common(problem, config, metas or tensors(problem))
    return replace(plan, module=per_head.__name__, function=per_head.chunk_scan_kernel.__name__)


def _grouped(problem: ChunkScanProblem, config: Config, metas: Mapping[str, TensorMeta] | None = None) -> LaunchPlan:
    """If a descriptor cannot be had, only pointers are used."""
    numbers, metas = Numbers.of(config), metas or tensors(problem)
    assert numbers.heads is not None, "the config must be resolved"
    plan = _common(problem, config, metas)
    others = {name: value for name, value in plan.args.items() if name not in ("batch", "SPLIT_DSTATE")}
    described = _descriptors(problem, numbers, metas)
    return replace(
        plan,
        module=grouped.__name__,
        function=grouped.grouped_chunk_scan_kernel.__name__,
        grid=(plan.grid_blocks // numbers.heads,),
        args={
            **others,
            **{f"{name}_desc": described.get(name) for name in DESCRIBED},
            "ngroups": problem.ngroups,
            "HEADS": numbers.heads,
            "NUM_STAGES": numbers.num_stages,
        },
    )


def _common(problem: ChunkScanProblem, config: Config, metas: Mapping[str, TensorMeta]) -> LaunchPlan:
    """What both have in common: arguments, options, and the grid for one head at a time."""
    p, numbers = problem, Numbers.of(config)
    assert numbers.dstate is not None, "the config must be resolved"
    order = ("cb", "x", "dt", "da_cumsum", "c", "states", "out", "d", "z", "seq_idx")
    cb, x, dt, c, states, out = (metas[name].stride for name in ("cb", "x", "dt", "c", "states", "out"))
    z = metas["z"].stride if p.z else x
    tiles = -(-p.headdim // numbers.n) * -(-p.chunk_size // numbers.m)
    options = {"num_warps": numbers.num_warps, "num_stages": numbers.num_stages, "num_ctas": numbers.num_ctas}
    if numbers.maxnreg is not None:
        options["maxnreg"] = numbers.maxnreg
    return LaunchPlan(
        module="",
        function="",
        grid=(tiles * p.batch * p.nchunks * p.nheads,),
        args={f"{name}_ptr": TensorRef(name, metas[name].dtype) if name in metas else None for name in order}
        | {
            "seqlen": p.seqlen,
            "batch": p.batch,
            "nchunks": p.nchunks,
            "heads_per_group": p.nheads // p.ngroups,
            "headdim": p.headdim,
            "dstate": p.dstate,
            "chunk_size": p.chunk_size,
            "stride_cb_batch": cb[0],
            "stride_cb_chunk": cb[1],
            "stride_cb_group": cb[2],
            "stride_x_batch": x[0],
            "stride_x_seqlen": x[1],
            "stride_x_head": None if x[2] == p.headdim else x[2],
            "stride_dt_batch": dt[0],
            "stride_dt_head": dt[1],
            "stride_c_batch": c[0],
            "stride_c_seqlen": c[1],
            "stride_c_group": None if c[2] == p.dstate else c[2],
            "stride_states_batch": states[0],
            "stride_states_chunk": states[1],
            "stride_states_head": states[2],
            **_unless_as_x("out", out, x),
            **_unless_as_x("z", z, x),
            "D_PER_DIM": p.d_form == "head-dim",
            "SPLIT_DSTATE": config.variant == SPLIT,
            "BLOCK_SIZE_M": numbers.m,
            "BLOCK_SIZE_N": numbers.n,
            "BLOCK_SIZE_K": numbers.k,
            "BLOCK_SIZE_DSTATE": numbers.dstate,
        },
        options=options,
    )


def not_described(metas: Mapping[str, TensorMeta]) -> str:
    """Which of the tensors no descriptor can describe; empty if all can be.

    TMA takes strides that are positive multiples of 16 bytes below 2^40 (CUDA driver API, cuTensorMapEncodeTiled).
    """
    for name in DESCRIBED:
        if name in metas:
            strides_bytes = [stride * DTYPE_BYTES[metas[name].dtype] for stride in metas[name].stride[:-1]]
            if any(size % DESCRIPTOR_ALIGNMENT or not 0 < size < 1 << 40 for size in strides_bytes):
                return name
    return ""


def _descriptors(
    problem: ChunkScanProblem, numbers: Numbers, metas: Mapping[str, TensorMeta]
) -> dict[str, DescriptorRef]:
    """Descriptors of x, z, the states and the output; empty if TMA cannot take one of them.

    Tiles are at most 256 long; a tile of the output must end where its chunk does.
    """
    assert numbers.dstate is not None, "the config must be resolved"
    longest = max(numbers.m, numbers.n, numbers.k, numbers.dstate)
    if not_described(metas) or longest > 256 or problem.chunk_size % numbers.m:
        return {}
    tiles = {name: (1, 1, numbers.m, numbers.n) for name in ("out", "z") if name in metas}
    tiles["x"] = (1, 1, numbers.k, numbers.n)
    by_head = {name: _by_head(name, metas[name], tile) for name, tile in tiles.items()}
    states, tile = metas["states"], (1, 1, 1, numbers.n, numbers.dstate)
    return {**by_head, "states": DescriptorRef("states", states.dtype, states.shape, states.stride, tile)}


def _by_head(name: str, meta: TensorMeta, tile: tuple[int, ...]) -> DescriptorRef:
    """The descriptor of a tensor like x, seen as (batch, nheads, seqlen, headdim)."""
    (batch, seqlen, nheads, headdim), of = meta.shape, meta.stride
    return DescriptorRef(name, meta.dtype, (batch, nheads, seqlen, headdim), (of[0], of[2], of[1], of[3]), tile)


def _unless_as_x(name: str, strides: tuple[int, ...], of_x: tuple[int, ...]) -> dict[str, int | None]:
    """The arguments for the strides of a tensor like x; None for all of them if they are x's."""
    axes = [f"stride_{name}_{axis}" for axis in ("batch", "seqlen", "head")]
    return dict.fromkeys(axes) if strides == of_x else dict(zip(axes, strides[:3], strict=True))


def grid_axes(problem: ChunkScanProblem, config: Config) -> tuple[tuple[str, int], ...]:
    """What the programs of a resolved config's grid count, the fastest first."""
    p, numbers = problem, Numbers.of(config)
    rows, columns, chunks = -(-p.chunk_size // numbers.m), -(-p.headdim // numbers.n), p.batch * p.nchunks
    if config.variant != GROUPED:
        return ("tile", rows * columns), ("chunk", chunks), ("head", p.nheads)
    assert numbers.heads is not None, "the config must be resolved"
    blocks = p.nheads // p.ngroups // numbers.heads
    return (
        ("column tile", columns),
        ("block of heads", blocks),
        ("row tile", rows),
        ("group", p.ngroups),
        ("chunk", chunks),
    )
