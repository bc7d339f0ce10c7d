"""The chunk scan with the heads of a group handled together, so that C and CB are read once for all of them.

The published grid order has the heads outermost: by the time the next head of a group comes to a chunk, the C and CB
that it shares with the one before have left L2. Here one program takes a tile of a chunk's tokens for several heads of
one group, one after the other, and holds the tile's rows of C and CB while the heads' states and x stream by. What it
computes is what `chunk_scan_kernel` computes.
"""

from __future__ import annotations

from dataclasses import replace

import triton
import triton.language as tl

from ssdprof.kernels import per_head
from ssdprof.kernels.interface import Config, LaunchPlan
from ssdprof.kernels.problem import ChunkScanProblem

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def grouped_chunk_scan_kernel(
    # pointers
    cb_ptr, x_ptr, dt_ptr, da_cumsum_ptr, c_ptr, states_ptr, out_ptr, d_ptr, z_ptr, seq_idx_ptr,
    # sizes
    seqlen, nchunks, ngroups, heads_per_group: tl.constexpr,
    headdim: tl.constexpr, dstate: tl.constexpr, chunk_size: tl.constexpr,
    # strides, in elements; the last dimension of every tensor is contiguous
    stride_cb_batch, stride_cb_chunk, stride_cb_group,
    stride_x_batch, stride_x_seqlen,
    stride_dt_batch, stride_dt_head,
    stride_c_batch, stride_c_seqlen,
    stride_states_batch, stride_states_chunk, stride_states_head,
    # meta-parameters
    D_PER_DIM: tl.constexpr, HEADS: tl.constexpr,
    BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr, BLOCK_SIZE_K: tl.constexpr, BLOCK_SIZE_DSTATE: tl.constexpr,
):  # fmt: skip
    """Output (batch, seqlen, nheads, headdim) from the tensors that `chunk_scan_kernel` documents, as it takes them.

    BLOCK_SIZE_K holds a whole chunk and BLOCK_SIZE_DSTATE the whole state; HEADS divides heads_per_group. Grid: one
    dimension, tiles of headdim fastest, then heads of a group, tiles of a chunk, groups, chunks, batches slowest, so
    that programs that share C and CB are neighbours. Offsets of batch, chunk and head are 64-bit, those inside a chunk
    32-bit.
    """
    n_tiles_n: tl.constexpr = (headdim + BLOCK_SIZE_N - 1) // BLOCK_SIZE_N
    n_tiles_m: tl.constexpr = (chunk_size + BLOCK_SIZE_M - 1) // BLOCK_SIZE_M
    n_tiles_h: tl.constexpr = heads_per_group // HEADS
    pid = tl.program_id(0)
    i_n = pid % n_tiles_n
    i_h = pid // n_tiles_n % n_tiles_h
    i_m = pid // (n_tiles_n * n_tiles_h) % n_tiles_m
    i_rest = pid // (n_tiles_n * n_tiles_h * n_tiles_m)
    i_g = i_rest % ngroups
    i_c = (i_rest // ngroups % nchunks).to(tl.int64)
    i_b = (i_rest // (ngroups * nchunks)).to(tl.int64)
    first_head = (i_g * heads_per_group + i_h * HEADS).to(tl.int64)

    o_m = i_m * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    o_n = i_n * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)
    o_k = tl.arange(0, BLOCK_SIZE_K)
    o_d = tl.arange(0, BLOCK_SIZE_DSTATE)
    first_token = i_c * chunk_size
    limit = tl.minimum(chunk_size, seqlen - first_token).to(tl.int32)
    k_end = tl.minimum((i_m + 1) * BLOCK_SIZE_M, limit)

    # What all heads share.
    p_c = c_ptr + i_b * stride_c_batch + first_token * stride_c_seqlen + i_g * dstate
    b_c = tl.load(
        p_c + o_m[:, None] * stride_c_seqlen + o_d[None, :],
        mask=(o_m[:, None] < limit) & (o_d[None, :] < dstate), other=0.0,
    )  # fmt: skip
    p_cb = cb_ptr + i_b * stride_cb_batch + i_c * stride_cb_chunk + i_g * stride_cb_group
    m_causal = (o_m[:, None] >= o_k[None, :]) & (o_k[None, :] < k_end)
    b_cb = tl.load(
        p_cb + o_m[:, None] * chunk_size + o_k[None, :], mask=m_causal & (o_m[:, None] < chunk_size), other=0.0
    )
    if seq_idx_ptr is not None:
        p_seq_idx = seq_idx_ptr + i_b * seqlen + first_token
        before = tl.load(p_seq_idx - 1, mask=i_c > 0, other=0)
        m_same = tl.load(p_seq_idx + o_m, mask=o_m < limit, other=-1) == before

    p_dt = dt_ptr + i_b * stride_dt_batch + first_head * stride_dt_head + first_token
    p_da = da_cumsum_ptr + i_b * stride_dt_batch + first_head * stride_dt_head + first_token
    o_x = i_b * stride_x_batch + first_token * stride_x_seqlen + first_head * headdim
    p_state = states_ptr + i_b * stride_states_batch + i_c * stride_states_chunk + first_head * stride_states_head
    o_out = o_m[:, None] * stride_x_seqlen + o_n[None, :]
    m_out = (o_m[:, None] < limit) & (o_n[None, :] < headdim)

    for i_head in range(HEADS):
        b_state = tl.load(
            p_state + o_d[:, None] + o_n[None, :] * dstate,
            mask=(o_d[:, None] < dstate) & (o_n[None, :] < headdim), other=0.0,
        )  # fmt: skip
        b_x = tl.load(
            x_ptr + o_x + o_k[:, None] * stride_x_seqlen + o_n[None, :],
            mask=(o_k[:, None] < k_end) & (o_n[None, :] < headdim), other=0.0,
        )  # fmt: skip
        b_da_m = tl.load(p_da + o_m, mask=o_m < limit, other=0.0) * LOG2E
        b_da_k = tl.load(p_da + o_k, mask=o_k < k_end, other=0.0) * LOG2E
        b_dt_k = tl.load(p_dt + o_k, mask=o_k < k_end, other=0.0)

        b_scale_m = tl.math.exp2(b_da_m)
        if seq_idx_ptr is not None:
            b_scale_m = tl.where(m_same, b_scale_m, 0.0)
        b_acc = tl.dot(b_c, b_state.to(b_c.dtype)) * b_scale_m[:, None]
        # Above the diagonal the power may overflow; it is chosen away, never multiplied by 0.
        b_power = tl.where(m_causal, b_da_m[:, None] - b_da_k[None, :], float("-inf"))
        b_weight = b_cb * tl.math.exp2(b_power) * b_dt_k[None, :]
        b_acc = tl.dot(b_weight.to(b_x.dtype), b_x, b_acc)

        if d_ptr is not None:
            if D_PER_DIM:
                b_d = tl.load(d_ptr + (first_head + i_head) * headdim + o_n, mask=o_n < headdim, other=0.0)[None, :]
            else:
                b_d = tl.load(d_ptr + first_head + i_head)
            if BLOCK_SIZE_M == BLOCK_SIZE_K:
                b_acc += b_d * b_x.to(tl.float32)
            else:
                b_acc += b_d * tl.load(x_ptr + o_x + o_out, mask=m_out, other=0.0).to(tl.float32)
        if z_ptr is not None:
            b_z = tl.load(z_ptr + o_x + o_out, mask=m_out, other=0.0).to(tl.float32)
            b_acc *= b_z * tl.sigmoid(b_z)
        tl.store(out_ptr + o_x + o_out, b_acc.to(out_ptr.dtype.element_ty), mask=m_out)

        p_dt += stride_dt_head
        p_da += stride_dt_head
        o_x += headdim
        p_state += stride_states_head


def launch(problem: ChunkScanProblem, config: Config) -> LaunchPlan:
    """The launch of a resolved config of variant `grouped`: that of `chunk_scan_kernel`, but for what differs."""
    assert config.heads is not None, "the config must be resolved"
    plan = per_head.launch(problem, config)
    others = {name: value for name, value in plan.args.items() if name not in ("batch", "SPLIT_DSTATE")}
    return replace(
        plan,
        module=__name__,
        function="grouped_chunk_scan_kernel",
        grid=(plan.grid_blocks // config.heads,),
        args={**others, "ngroups": problem.ngroups, "HEADS": config.heads},
    )
