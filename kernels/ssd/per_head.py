"""The chunk scan of Mamba-2's state space duality (SSD) as a Triton kernel.

For every token m of a chunk, head h and head dimension p (Dao and Gu, "Transformers are SSMs", 2024, section 6):

    out[m, p] = exp(dA_cumsum[m]) · Σ_n C[m, n] · state[p, n]
              + Σ_{k ≤ m} CB[m, k] · exp(dA_cumsum[m] − dA_cumsum[k]) · dt[k] · x[k, p]
              + D · x[m, p],                                             then · z · sigmoid(z) if there is a gate

where `state` is the one before the chunk. Two variants:
`tile` takes a single tile of BLOCK_SIZE_DSTATE along n, as the published kernels do up to a state dimension of 128: a
tile smaller than the state gives a wrong result. It is here to reproduce that.
`split` loops over such tiles and is correct for every tile size.

Recorded runs are tied to a hash of the kernels, their launches and all that these use.
"""

from __future__ import annotations

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _add_state_product(
    b_acc, p_c, p_state, o_m, o_n, o_d, limit, stride_c_seqlen, headdim: tl.constexpr, dstate: tl.constexpr
):
    """b_acc (M, N) + C tile (M, DSTATE) · state tile (DSTATE, N); p_c, p_state: the chunk's first elements."""
    m_c = (o_m[:, None] < limit) & (o_d[None, :] < dstate)
    m_state = (o_d[:, None] < dstate) & (o_n[None, :] < headdim)
    b_c = tl.load(p_c + o_m[:, None] * stride_c_seqlen + o_d[None, :], mask=m_c, other=0.0)
    b_state = tl.load(p_state + o_d[:, None] + o_n[None, :] * dstate, mask=m_state, other=0.0)
    return tl.dot(b_c, b_state.to(b_c.dtype), b_acc)


@triton.jit
def first_element(i_b, first_token, i_h, stride_batch, stride_seqlen, stride_head):
    """Offset of the first element of a batch, token and head, 64-bit."""
    return i_b * stride_batch + first_token * stride_seqlen + i_h.to(tl.int64) * stride_head


@triton.jit
def chunk_scan_kernel(
    # pointers
    cb_ptr, x_ptr, dt_ptr, da_cumsum_ptr, c_ptr, states_ptr, out_ptr, d_ptr, z_ptr, seq_idx_ptr,
    # sizes
    seqlen, batch, nchunks, heads_per_group,
    headdim: tl.constexpr, dstate: tl.constexpr, chunk_size: tl.constexpr,
    # strides, in elements; the last dimension of every tensor is contiguous
    stride_cb_batch, stride_cb_chunk, stride_cb_group,
    stride_x_batch, stride_x_seqlen, stride_x_head,
    stride_dt_batch, stride_dt_head,
    stride_c_batch, stride_c_seqlen, stride_c_group,
    stride_states_batch, stride_states_chunk, stride_states_head,
    stride_out_batch, stride_out_seqlen, stride_out_head,
    stride_z_batch, stride_z_seqlen, stride_z_head,
    # meta-parameters
    D_PER_DIM: tl.constexpr, SPLIT_DSTATE: tl.constexpr,
    BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr, BLOCK_SIZE_K: tl.constexpr,
    BLOCK_SIZE_DSTATE: tl.constexpr,
):  # fmt: skip
    """Computes one (BLOCK_SIZE_M tokens, BLOCK_SIZE_N head dimensions) tile of one chunk and head.

    cb (batch, nchunks, ngroups, chunk_size, chunk_size) float32; x, out, z (batch, seqlen, nheads, headdim);
    dt, da_cumsum (batch, nheads, nchunks, chunk_size) float32; c (batch, seqlen, ngroups, dstate);
    states (batch, nchunks, nheads, headdim, dstate), the state before each chunk;
    d (nheads) or (nheads, headdim) or None;
    seq_idx (batch, seqlen) int32 or None. cb must be 0 between tokens of different sequences.
    Strides that are None: those of heads of x and groups of c follow from the sizes, out and z have x's.

    Grid: one dimension; tiles of a chunk are fastest, then chunks, batches, and heads slowest, as in the published
    kernels. Offsets of batch, chunk and head are 64-bit, so tensors may exceed 2^31 elements; those inside a chunk are
    32-bit.
    """
    n_tiles_n: tl.constexpr = (headdim + BLOCK_SIZE_N - 1) // BLOCK_SIZE_N
    n_tiles: tl.constexpr = n_tiles_n * ((chunk_size + BLOCK_SIZE_M - 1) // BLOCK_SIZE_M)
    s_x_head = headdim if stride_x_head is None else stride_x_head
    s_c_group = dstate if stride_c_group is None else stride_c_group
    s_out_batch = stride_x_batch if stride_out_batch is None else stride_out_batch
    s_out_seqlen = stride_x_seqlen if stride_out_seqlen is None else stride_out_seqlen
    s_out_head = s_x_head if stride_out_head is None else stride_out_head
    s_z_batch = stride_x_batch if stride_z_batch is None else stride_z_batch
    s_z_seqlen = stride_x_seqlen if stride_z_seqlen is None else stride_z_seqlen
    s_z_head = s_x_head if stride_z_head is None else stride_z_head

    pid = tl.program_id(0)
    i_tile = pid % n_tiles
    i_rest = pid // n_tiles
    i_bc = i_rest % (batch * nchunks)
    i_h = (i_rest // (batch * nchunks)).to(tl.int64)
    i_b = (i_bc // nchunks).to(tl.int64)
    i_c = (i_bc % nchunks).to(tl.int64)
    i_g = i_h // heads_per_group

    o_m = (i_tile // n_tiles_n) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    o_n = (i_tile % n_tiles_n) * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)
    first_token = i_c * chunk_size
    limit = tl.minimum(chunk_size, seqlen - first_token).to(tl.int32)

    p_cb = cb_ptr + i_b * stride_cb_batch + i_c * stride_cb_chunk + i_g * stride_cb_group
    p_dt = dt_ptr + i_b * stride_dt_batch + i_h * stride_dt_head + first_token
    p_da = da_cumsum_ptr + i_b * stride_dt_batch + i_h * stride_dt_head + first_token
    o_x = i_b * stride_x_batch + first_token * stride_x_seqlen + i_h * s_x_head
    p_x = x_ptr + o_x
    p_c = c_ptr + i_b * stride_c_batch + first_token * stride_c_seqlen + i_g * s_c_group
    p_state = states_ptr + i_b * stride_states_batch + i_c * stride_states_chunk + i_h * stride_states_head

    # The contribution of the state before the chunk.
    b_da_m = tl.load(p_da + o_m, mask=o_m < limit, other=0.0) * LOG2E
    b_scale_m = tl.math.exp2(b_da_m)
    if seq_idx_ptr is not None:
        p_seq_idx = seq_idx_ptr + i_b * seqlen + first_token
        before = tl.load(p_seq_idx - 1, mask=i_c > 0, other=0)
        b_seq_idx = tl.load(p_seq_idx + o_m, mask=o_m < limit, other=-1)
        b_scale_m = tl.where(b_seq_idx == before, b_scale_m, 0.0)
    b_acc = tl.zeros((BLOCK_SIZE_M, BLOCK_SIZE_N), dtype=tl.float32)
    o_d = tl.arange(0, BLOCK_SIZE_DSTATE)
    if SPLIT_DSTATE:
        for first_d in range(0, dstate, BLOCK_SIZE_DSTATE):
            b_acc = _add_state_product(
                b_acc, p_c, p_state, o_m, o_n, first_d + o_d, limit, stride_c_seqlen, headdim, dstate
            )
    else:
        b_acc = _add_state_product(b_acc, p_c, p_state, o_m, o_n, o_d, limit, stride_c_seqlen, headdim, dstate)
    b_acc *= b_scale_m[:, None]

    # The contribution of the chunk's own tokens, up to the diagonal.
    k_end = tl.minimum((i_tile // n_tiles_n + 1) * BLOCK_SIZE_M, limit)
    for first_k in range(0, k_end, BLOCK_SIZE_K):
        o_k = first_k + tl.arange(0, BLOCK_SIZE_K)
        m_k = o_k < limit
        b_cb = tl.load(
            p_cb + o_m[:, None] * chunk_size + o_k[None, :], mask=(o_m[:, None] < chunk_size) & m_k[None, :], other=0.0
        )
        b_da_k = tl.load(p_da + o_k, mask=m_k, other=0.0) * LOG2E
        b_dt_k = tl.load(p_dt + o_k, mask=m_k, other=0.0)
        b_x = tl.load(
            p_x + o_k[:, None] * stride_x_seqlen + o_n[None, :], mask=m_k[:, None] & (o_n[None, :] < headdim), other=0.0
        )
        b_weight = b_cb * tl.math.exp2(b_da_m[:, None] - b_da_k[None, :]) * b_dt_k[None, :]
        # Above the diagonal the power may overflow; it is selected away, never multiplied by 0.
        b_weight = tl.where(o_m[:, None] >= o_k[None, :], b_weight, 0.0)
        b_acc = tl.dot(b_weight.to(b_x.dtype), b_x, b_acc)

    # The skip connection and the gate.
    m_out = (o_m[:, None] < limit) & (o_n[None, :] < headdim)
    if d_ptr is not None:
        if D_PER_DIM:
            b_d = tl.load(d_ptr + i_h * headdim + o_n, mask=o_n < headdim, other=0.0).to(tl.float32)[None, :]
        else:
            b_d = tl.load(d_ptr + i_h).to(tl.float32)
        o_skip = o_m[:, None] * stride_x_seqlen + o_n[None, :]
        b_acc += b_d * tl.load(p_x + o_skip, mask=m_out, other=0.0).to(tl.float32)
    if z_ptr is not None:
        o_first = first_element(i_b, first_token, i_h, s_z_batch, s_z_seqlen, s_z_head)
        o_z = o_m[:, None] * s_z_seqlen + o_n[None, :]
        b_z = tl.load(z_ptr + o_first + o_z, mask=m_out, other=0.0).to(tl.float32)
        b_acc *= b_z * tl.sigmoid(b_z)
    o_first = first_element(i_b, first_token, i_h, s_out_batch, s_out_seqlen, s_out_head)
    o_out = o_m[:, None] * s_out_seqlen + o_n[None, :]
    tl.store(out_ptr + o_first + o_out, b_acc.to(out_ptr.dtype.element_ty), mask=m_out)
