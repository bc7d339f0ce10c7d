"""The chunk scan with the heads of a group handled together, so C and CB are read once for all of them.

The published grid order has heads outermost: by the time the next head of a group reaches a chunk, the C and CB that it
shares with the head before have left L2. Here one program takes a tile of a chunk's tokens for several heads of a
group, one after another, and keeps the tile's rows of C and CB while the heads' states and x stream past. It computes
the same as `chunk_scan_kernel`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ssdprof.kernels.ssd.per_head import first_element

LOG2E = tl.constexpr(1.4426950408889634)
INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)
LAST_UNITS = tl.constexpr(64)
"""Chunks of a group at the grid's end that go longest tiles first; their states and x fit in an H100's L2."""


@triton.jit
def grouped_chunk_scan_kernel(
    # pointers
    cb_ptr, x_ptr, dt_ptr, da_cumsum_ptr, c_ptr, states_ptr, out_ptr, d_ptr, z_ptr, seq_idx_ptr,
    # tensor descriptors, or None
    x_desc, states_desc, z_desc, out_desc,
    # sizes
    seqlen, nchunks, ngroups, heads_per_group: tl.constexpr,
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
    D_PER_DIM: tl.constexpr, HEADS: tl.constexpr, NUM_STAGES: tl.constexpr,
    BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr, BLOCK_SIZE_K: tl.constexpr, BLOCK_SIZE_DSTATE: tl.constexpr,
):  # fmt: skip
    """Output (batch, seqlen, nheads, headdim) from the same tensors as `chunk_scan_kernel`, which documents them.

    BLOCK_SIZE_DSTATE holds the whole state; HEADS divides heads_per_group. Grid: one dimension; tiles of headdim are
    fastest, then heads of a group, tiles of a chunk (the last, with most work, first), groups, chunks, and batches
    slowest, so programs that share C and CB are neighbours. In the last LAST_UNITS chunks of a group (counting all
    groups and batches) the tiles of a chunk are slowest: the shortest come last, so all SMs finish at about the same
    time. Offsets of batch, chunk and head are 64-bit, those inside a chunk 32-bit.
    Descriptors, if given, replace pointers: x_desc of x as (batch, nheads, seqlen, headdim) in tiles of BLOCK_SIZE_K
    tokens, z_desc and out_desc of z and the output likewise in tiles of BLOCK_SIZE_M, states_desc of the states as
    (batch, nchunks, nheads, headdim, dstate).
    """
    n_tiles_n: tl.constexpr = (headdim + BLOCK_SIZE_N - 1) // BLOCK_SIZE_N
    n_tiles_m: tl.constexpr = (chunk_size + BLOCK_SIZE_M - 1) // BLOCK_SIZE_M
    n_tiles_h: tl.constexpr = heads_per_group // HEADS
    pid = tl.program_id(0)
    i_n = pid % n_tiles_n
    i_h = pid // n_tiles_n % n_tiles_h
    i_tile = pid // (n_tiles_n * n_tiles_h)
    n_units = tl.num_programs(0) // (n_tiles_n * n_tiles_h * n_tiles_m)
    n_last = tl.minimum(LAST_UNITS, n_units)
    i_tile_of_last = i_tile - (n_units - n_last) * n_tiles_m
    if i_tile_of_last < 0:
        i_unit = i_tile // n_tiles_m
        i_m = n_tiles_m - 1 - i_tile % n_tiles_m
    else:
        i_unit = n_units - n_last + i_tile_of_last % n_last
        i_m = n_tiles_m - 1 - i_tile_of_last // n_last
    i_g = i_unit % ngroups
    i_c = (i_unit // ngroups % nchunks).to(tl.int64)
    i_b = (i_unit // (ngroups * nchunks)).to(tl.int64)
    first_head = i_g * heads_per_group + i_h * HEADS
    limit = tl.minimum(chunk_size, seqlen - i_c * chunk_size).to(tl.int32)

    # The number of x tiles that a tile of tokens needs is a constant in the code for it: no loop, nothing skipped.
    n_tiles_k = (tl.minimum((i_m + 1) * BLOCK_SIZE_M, chunk_size) + BLOCK_SIZE_K - 1) // BLOCK_SIZE_K
    for i in tl.static_range((chunk_size + BLOCK_SIZE_K - 1) // BLOCK_SIZE_K):
        if n_tiles_k == i + 1 and i_m * BLOCK_SIZE_M < limit:
            _scan_heads(
                cb_ptr, x_ptr, dt_ptr, da_cumsum_ptr, c_ptr, states_ptr, out_ptr, d_ptr, z_ptr, seq_idx_ptr,
                x_desc, states_desc, z_desc, out_desc,
                i_b, i_c, i_g, first_head, i_m * BLOCK_SIZE_M, i_n * BLOCK_SIZE_N, limit,
                seqlen, headdim, dstate, chunk_size,
                stride_cb_batch, stride_cb_chunk, stride_cb_group,
                stride_x_batch, stride_x_seqlen, stride_x_head,
                stride_dt_batch, stride_dt_head,
                stride_c_batch, stride_c_seqlen, stride_c_group,
                stride_states_batch, stride_states_chunk, stride_states_head,
                stride_out_batch, stride_out_seqlen, stride_out_head,
                stride_z_batch, stride_z_seqlen, stride_z_head,
                D_PER_DIM, HEADS, NUM_STAGES, i + 1, BLOCK_SIZE_M, BLOCK_SIZE_N, BLOCK_SIZE_K, BLOCK_SIZE_DSTATE,
            )  # fmt: skip


@triton.jit
def _scan_heads(
    cb_ptr, x_ptr, dt_ptr, da_cumsum_ptr, c_ptr, states_ptr, out_ptr, d_ptr, z_ptr, seq_idx_ptr,
    x_desc, states_desc, z_desc, out_desc,
    i_b, i_c, i_g, first_head, first_m, first_n, limit,
    seqlen, headdim: tl.constexpr, dstate: tl.constexpr, chunk_size: tl.constexpr,
    stride_cb_batch, stride_cb_chunk, stride_cb_group,
    stride_x_batch, stride_x_seqlen, stride_x_head,
    stride_dt_batch, stride_dt_head,
    stride_c_batch, stride_c_seqlen, stride_c_group,
    stride_states_batch, stride_states_chunk, stride_states_head,
    stride_out_batch, stride_out_seqlen, stride_out_head,
    stride_z_batch, stride_z_seqlen, stride_z_head,
    D_PER_DIM: tl.constexpr, HEADS: tl.constexpr, NUM_STAGES: tl.constexpr, N_TILES_K: tl.constexpr,
    BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr, BLOCK_SIZE_K: tl.constexpr, BLOCK_SIZE_DSTATE: tl.constexpr,
):  # fmt: skip
    """HEADS heads of one tile of tokens and headdim, which needs the first N_TILES_K tiles of the chunk's x."""
    n_diagonal: tl.constexpr = (BLOCK_SIZE_M + BLOCK_SIZE_K - 1) // BLOCK_SIZE_K
    o_m = first_m + tl.arange(0, BLOCK_SIZE_M)
    o_n = first_n + tl.arange(0, BLOCK_SIZE_N)
    o_k = tl.arange(0, BLOCK_SIZE_K)
    o_d = tl.arange(0, BLOCK_SIZE_DSTATE)
    o_both = tl.arange(0, 2)
    first_token = i_c * chunk_size
    k_end = tl.minimum(first_m + BLOCK_SIZE_M, limit)

    # What all heads share: first all loads, then the layout changes, so no load waits for the one before.
    p_c = c_ptr + i_b * stride_c_batch + first_token * stride_c_seqlen
    p_c += i_g * dstate if stride_c_group is None else i_g.to(tl.int64) * stride_c_group
    m_c = (o_m[:, None] < limit) & (o_d[None, :] < dstate)
    b_c = tl.load(p_c + o_m[:, None] * stride_c_seqlen + o_d[None, :], mask=m_c, other=0.0)
    p_cb = cb_ptr + i_b * stride_cb_batch + i_c * stride_cb_chunk + i_g * stride_cb_group
    loaded = ()
    for i_k in tl.static_range(N_TILES_K):
        o_i = i_k * BLOCK_SIZE_K + o_k
        m_cb = (o_m[:, None] >= o_i[None, :]) & (o_m[:, None] < limit)
        b_cb = tl.load(p_cb + o_m[:, None] * chunk_size + o_i[None, :], mask=m_cb, other=0.0)
        loaded += (b_cb,)  # type: ignore[assignment]
    if seq_idx_ptr is not None:
        p_seq_idx = seq_idx_ptr + i_b * seqlen + first_token
        before = tl.load(p_seq_idx - 1, mask=i_c > 0, other=0)
        m_same = tl.load(p_seq_idx + o_m, mask=o_m < limit, other=-1) == before
    b_c = _in_layout_of_dot(b_c)
    cb_tiles = ()
    for i_k in tl.static_range(N_TILES_K):
        cb_tiles += (_in_layout_of_dot(loaded[i_k]),)  # type: ignore[assignment]

    o_head_dt = i_b * stride_dt_batch + first_head.to(tl.int64) * stride_dt_head + first_token
    s_x_head = headdim if stride_x_head is None else stride_x_head
    o_head_x = i_b * stride_x_batch + first_token * stride_x_seqlen
    o_head_x += first_head * headdim if stride_x_head is None else first_head.to(tl.int64) * stride_x_head
    o_head_state = i_b * stride_states_batch + i_c * stride_states_chunk + first_head.to(tl.int64) * stride_states_head
    o_skip = o_m[:, None] * stride_x_seqlen + o_n[None, :]
    o_out = o_skip if stride_out_seqlen is None else o_m[:, None] * stride_out_seqlen + o_n[None, :]
    o_z = o_skip if stride_z_seqlen is None else o_m[:, None] * stride_z_seqlen + o_n[None, :]
    m_out = (o_m[:, None] < limit) & (o_n[None, :] < headdim)
    i_token = first_token.to(tl.int32)
    for i in tl.range(HEADS, num_stages=NUM_STAGES):
        i_head = first_head + i
        if states_desc is not None:
            b_state = states_desc.load([i_b.to(tl.int32), i_c.to(tl.int32), i_head, first_n, 0])
            b_state = tl.reshape(b_state, (BLOCK_SIZE_N, BLOCK_SIZE_DSTATE))
            _use_outside_dot(b_state)
            b_state = b_state.T
        else:
            b_state = tl.load(
                states_ptr + o_head_state + o_d[:, None] + o_n[None, :] * dstate,
                mask=(o_d[:, None] < dstate) & (o_n[None, :] < headdim), other=0.0,
            )  # fmt: skip
        p_da = da_cumsum_ptr + o_head_dt
        b_da_m = tl.load(p_da + o_m, mask=o_m < limit, other=0.0) * LOG2E
        b_acc = tl.dot(_kept_apart(b_c, i + limit), b_state.to(b_c.dtype)) * tl.math.exp2(b_da_m)[:, None]
        if seq_idx_ptr is not None:
            b_acc = tl.where(m_same[:, None], b_acc, 0.0)

        for i_k in tl.static_range(N_TILES_K):
            o_i = i_k * BLOCK_SIZE_K + o_k
            if x_desc is not None:
                b_x = x_desc.load([i_b.to(tl.int32), i_head, i_token + i_k * BLOCK_SIZE_K, first_n])
                b_x = tl.reshape(b_x, (BLOCK_SIZE_K, BLOCK_SIZE_N))
                _use_outside_dot(b_x)
            else:
                b_x = tl.load(
                    x_ptr + o_head_x + o_i[:, None] * stride_x_seqlen + o_n[None, :],
                    mask=(o_i[:, None] < k_end) & (o_n[None, :] < headdim), other=0.0,
                )  # fmt: skip
            # One load for both: of a tile with fewer elements than threads, Triton has 32 threads load each element.
            p_both = tl.where(o_both[None, :] == 0, p_da + o_i[:, None], dt_ptr + o_head_dt + o_i[:, None])
            b_da_k, b_dt_k = tl.split(tl.load(p_both, mask=o_i[:, None] < k_end, other=0.0))
            b_power = b_da_m[:, None] - b_da_k[None, :] * LOG2E
            if i_k >= N_TILES_K - n_diagonal:
                # Above the diagonal CB is 0, but the power may overflow, and 0 times infinity is not 0.
                b_power = tl.minimum(b_power, 127.0)
            b_weight = cb_tiles[i_k] * tl.math.exp2(b_power) * b_dt_k[None, :]
            b_acc = tl.dot(b_weight.to(b_x.dtype), b_x, b_acc)

        if d_ptr is not None:
            if D_PER_DIM:
                b_d = tl.load(d_ptr + i_head * headdim + o_n, mask=o_n < headdim, other=0.0)[None, :]
            else:
                b_d = tl.load(d_ptr + i_head)
            if BLOCK_SIZE_M == BLOCK_SIZE_K:  # the last tile of x holds the tokens of the output
                b_acc += b_d * _to_float32(b_x)
            else:
                b_acc += b_d * tl.load(x_ptr + o_head_x + o_skip, mask=m_out, other=0.0).to(tl.float32)
        if z_ptr is not None:
            if z_desc is not None:
                b_z = z_desc.load([i_b.to(tl.int32), i_head, i_token + first_m, first_n])
                b_z = _to_float32(tl.reshape(b_z, (BLOCK_SIZE_M, BLOCK_SIZE_N)))
            else:
                o_head = o_head_x
                if stride_z_head is not None:
                    o_head = first_element(i_b, first_token, i_head, stride_z_batch, stride_z_seqlen, stride_z_head)
                b_z = _to_float32(tl.load(z_ptr + o_head + o_z, mask=m_out, other=0.0))
            b_acc = b_acc * b_z / (1.0 + tl.math.exp2(b_z * -LOG2E))
        b_out = b_acc.to(out_ptr.dtype.element_ty)
        if out_desc is not None:
            b_out = tl.reshape(b_out, (1, 1, BLOCK_SIZE_M, BLOCK_SIZE_N))
            out_desc.store([i_b.to(tl.int32), i_head, i_token + first_m, first_n], b_out)
        else:
            o_head = o_head_x
            if stride_out_head is not None:
                o_head = first_element(i_b, first_token, i_head, stride_out_batch, stride_out_seqlen, stride_out_head)
            tl.store(out_ptr + o_head + o_out, b_out, mask=m_out)
        o_head_dt += stride_dt_head
        o_head_x += s_x_head
        o_head_state += stride_states_head


@triton.jit
def _in_layout_of_dot(b):
    """`b` itself, bit for bit, spread over the threads as a dot spreads its result.

    What is computed from it then goes into the next dot without a detour through shared memory.
    """
    zeros_m = tl.zeros((b.shape[0], 16), dtype=tl.bfloat16)
    zeros_n = tl.zeros((16, b.shape[1]), dtype=tl.bfloat16)
    return tl.dot(zeros_m, zeros_n, b.to(tl.float32)).to(b.dtype)


@triton.jit
def _kept_apart(b, positive):
    """`b` itself, in its own registers.

    ptxas 12.8 overwrites registers that a wgmma reads in every iteration of a loop if their values stay the same. It
    does not do so if it cannot see that they do, which it cannot here: it does not know that `positive` is positive.
    """
    if INTERPRETED:  # which knows no assembly
        return b
    bits: tl.constexpr = b.dtype.primitive_bitwidth
    zero = (positive < 0).to(tl.int16 if bits == 16 else tl.int32)
    return tl.inline_asm_elementwise("xor.b32 $0, $1, $2;", "=r,r,r", [b, zero], b.dtype, is_pure=True, pack=32 // bits)


@triton.jit
def _to_float32(b):
    """`b` in float32: two bfloat16 in a register take one shift and one mask, where Triton takes three steps."""
    if INTERPRETED or b.dtype != tl.bfloat16:
        return b.to(tl.float32)
    asm: tl.constexpr = "shl.b32 $0, $2, 16; and.b32 $1, $2, 0xffff0000;"
    return tl.inline_asm_elementwise(asm, "=r,=r,r", [b], tl.float32, is_pure=True, pack=2)


@triton.jit
def _use_outside_dot(b):
    """Makes `b` a tile that is not used by dots alone, at no cost: its reader is empty, and ptxas drops it.

    For a pipelined tile that only wgmma reads, Triton keeps one more buffer than for others, in case a wgmma is still
    running in the next iteration. Here each is waited for, and the shared memory is better spent on a second block.
    """
    if not INTERPRETED:  # which knows no assembly
        per_register: tl.constexpr = 32 // b.dtype.primitive_bitwidth
        tl.inline_asm_elementwise("", "=r,r", [b], b.dtype, is_pure=False, pack=per_register)
