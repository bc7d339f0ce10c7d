# ruff: noqa: N803, SIM108
"""Kernels whose addresses come about in many ways: by loops, branches, calls, descriptors, shapes and data."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def matmul(
    a_ptr, b_ptr, c_ptr, M, N, K, stride_am, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    GROUP: tl.constexpr,
):  # fmt: skip
    """Grouped order of programs, rows that wrap around, a last step along K that is masked."""
    i = tl.program_id(0)
    rows, columns = tl.cdiv(M, BLOCK_M), tl.cdiv(N, BLOCK_N)
    first = i // (GROUP * columns) * GROUP
    size = tl.minimum(rows - first, GROUP)
    i_m = first + i % (GROUP * columns) % size
    i_n = i % (GROUP * columns) // size
    o_m = (i_m * BLOCK_M + tl.arange(0, BLOCK_M)) % M
    o_n = (i_n * BLOCK_N + tl.arange(0, BLOCK_N)) % N
    o_k = tl.arange(0, BLOCK_K)
    p_a = a_ptr + o_m[:, None] * stride_am + o_k[None, :]
    p_b = b_ptr + o_k[:, None] * N + o_n[None, :]
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for k in range(tl.cdiv(K, BLOCK_K)):
        a = tl.load(p_a, mask=o_k[None, :] < K - k * BLOCK_K, other=0.0)
        b = tl.load(p_b, mask=o_k[:, None] < K - k * BLOCK_K, other=0.0)
        acc += tl.dot(a, b)
        p_a += BLOCK_K
        p_b += BLOCK_K * N
    o_m = i_m * BLOCK_M + tl.arange(0, BLOCK_M)
    o_n = i_n * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = (o_m[:, None] < M) & (o_n[None, :] < N)
    tl.store(c_ptr + o_m[:, None] * N + o_n[None, :], acc, mask=inside)


@triton.jit
def softmax(x_ptr, o_ptr, n, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * n
    total = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, n, BLOCK):
        o = first + tl.arange(0, BLOCK)
        total += tl.exp(tl.load(x_ptr + row + o, mask=o < n, other=0.0))
    scale = tl.sum(total, 0)
    for first in range(0, n, BLOCK):
        o = first + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row + o, mask=o < n, other=0.0)
        tl.store(o_ptr + row + o, tl.exp(x) / scale, mask=o < n)


@triton.jit
def causal(q_ptr, k_ptr, o_ptr, heads, n, D: tl.constexpr, BLOCK: tl.constexpr):
    """A loop that is as long as the program's place, after one whose start depends on it."""
    i, i_bh = tl.program_id(0), tl.program_id(1)
    base = (i_bh // heads).to(tl.int64) * heads * n * D + (i_bh % heads) * n * D
    o_m, o_d = i * BLOCK + tl.arange(0, BLOCK), tl.arange(0, D)
    q = tl.load(q_ptr + base + o_m[:, None] * D + o_d[None, :], mask=(o_m < n)[:, None], other=0.0)
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for low in range(0, i * BLOCK, BLOCK):
        k = tl.load(k_ptr + base + (low + tl.arange(0, BLOCK))[None, :] * D + o_d[:, None])
        acc += tl.dot(q, k)
    for low in range(i * BLOCK, (i + 1) * BLOCK, BLOCK // 2):
        o_n = low + tl.arange(0, BLOCK)
        seen = (o_n[None, :] < n) & (o_n[None, :] <= tl.max(o_m, 0))
        k = tl.load(k_ptr + base + o_n[None, :] * D + o_d[:, None], mask=seen, other=0.0)
        acc += tl.dot(q, k)
    tl.store(o_ptr + base + o_m * D, tl.sum(acc, 1), mask=o_m < n)


@triton.jit
def wrapping(x_ptr, o_ptr, n, BLOCK: tl.constexpr):
    """What a number below zero is to operations without signs, and a scan from the other end."""
    program = tl.program_id(0)
    lanes = tl.arange(0, BLOCK)
    shifted = lanes - 4 + program - 4
    inside = shifted.to(tl.uint32) < n
    back = tl.cumsum(tl.where(lanes % 2 == 0, 1, 0), 0, reverse=True)
    halved = shifted.to(tl.uint32) % 7 + shifted.to(tl.uint8).to(tl.int32)
    total = tl.load(x_ptr + shifted, mask=inside) + tl.load(x_ptr + program * 8 + back)
    tl.store(o_ptr + program * BLOCK + lanes, total + tl.load(x_ptr + halved))


@triton.jit
def early(x_ptr, o_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0)
    if i * BLOCK >= n:
        return
    o = i * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + o, mask=o < n)
    if i % 3 == 1:
        tl.store(o_ptr + o, x, mask=o < n)
        return
    tl.store(o_ptr + n - 1 - o, x, mask=o < n)


@triton.jit
def halving(x_ptr, o_ptr, n, BLOCK: tl.constexpr):
    """A `while`, whose last state is an address."""
    i = tl.program_id(0)
    size = n
    total = tl.zeros((BLOCK,), tl.float32)
    while size > i:
        o = (size + i * BLOCK + tl.arange(0, BLOCK)) % n
        total += tl.load(x_ptr + o)
        size = size // 2
    tl.store(o_ptr + size * BLOCK + i * 8 * BLOCK + tl.arange(0, BLOCK), total)


@triton.jit(noinline=True)
def _row(x_ptr, i, n):
    if i == 2:
        return x_ptr + 8
    return x_ptr + (i * 7 % n) * n


@triton.jit(noinline=True)
def _add_to(o_ptr, x, o, i):
    if i % 2 == 0:
        tl.store(o_ptr + o, x)


@triton.jit
def calling(x_ptr, o_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0)
    row = _row(x_ptr, i, n)
    o = tl.arange(0, BLOCK)
    tl.store(o_ptr + i * BLOCK + o, tl.load(row + o))
    _add_to(o_ptr, 1.0, i * 40, i)


@triton.jit
def blocks(x_ptr, o_ptr, M, N, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """Block pointers, of tiles that reach beyond the tensor."""
    i = tl.program_id(0)
    x = tl.make_block_ptr(x_ptr, (M, N), (N, 1), (i * BLOCK_M, 0), (BLOCK_M, BLOCK_N), (1, 0))
    o = tl.make_block_ptr(o_ptr, (N, M), (M, 1), (0, i * BLOCK_M), (BLOCK_N, BLOCK_M), (1, 0))
    for _ in range(0, N, BLOCK_N):
        tl.store(o, tl.trans(tl.load(x, boundary_check=(0, 1))), boundary_check=(0, 1))
        x = tl.advance(x, (0, BLOCK_N))
        o = tl.advance(o, (BLOCK_N, 0))


@triton.jit
def described(x_desc, o_ptr, M, N, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """A descriptor of the host's, and one made by the kernel."""
    i = tl.program_id(0)
    o_desc = tl.make_tensor_descriptor(o_ptr, [M, N], [N, 1], [BLOCK_M, BLOCK_N])
    for first in range(0, N, BLOCK_N):
        x = x_desc.load([i * BLOCK_M, first])
        o_desc.store([i * BLOCK_M, N - BLOCK_N - first], x)


@triton.jit
def counting(x_ptr, bins_ptr, seen_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0)
    o = i * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + o, mask=o < n, other=0.0)
    tl.atomic_add(bins_ptr + o * 5 % 64, x, mask=o < n)
    tl.atomic_cas(seen_ptr + i * 16, 0, 1)


@triton.jit
def shaped(x_ptr, o_ptr, n, BLOCK: tl.constexpr):
    """Offsets that are reshaped, transposed, joined, split, broadcast, reduced and scanned."""
    i = tl.program_id(0)
    o = tl.arange(0, BLOCK)
    wide = tl.reshape(o, (BLOCK // 8, 8))
    x = tl.load(x_ptr + i * n + tl.trans(wide) * 3)
    both = tl.join(o, o * 2 + i)
    y = tl.load(x_ptr + both)
    even, odd = tl.split(tl.reshape(tl.broadcast_to(o[None, :] * 11, (2, BLOCK)), (BLOCK, 2)))
    z = tl.load(x_ptr + even + odd, mask=even % 2 == 0, other=0.0)
    last = tl.sum(wide, 1)
    steps = tl.cumsum(wide + 1, 1)
    tl.store(o_ptr + last + i * n, tl.sum(tl.trans(x), 1))
    tl.store(o_ptr + i * n + steps * 2 + tl.max(o, 0), tl.trans(x))
    tl.store(o_ptr + i * n + o + 1024, tl.sum(y, 1) + z)


@triton.jit
def negative(x_ptr, o_ptr, n, BLOCK: tl.constexpr):
    """C's division and remainder, which round to zero; shifts and bits; minima and absolute values."""
    i = tl.program_id(0)
    o = tl.arange(0, BLOCK) - BLOCK // 2 - i
    a = o // 3 + o % 5 + (o >> 2) + (o & 6) + (o ^ 3) + tl.abs(o) + tl.minimum(o, -3) + tl.maximum(o, 4) - (-o | 1)
    x = tl.load(x_ptr + tl.abs(a) + n * (tl.cdiv(i, 2) + i // -2 + 2))
    inside = (o >= -7) | ((o < -20) & (o != -23) & ~(o == -29))
    tl.store(o_ptr + i * n + o + 2 * BLOCK, x, mask=inside)


@triton.jit
def gathered(x_ptr, index_ptr, start_ptr, o_ptr, BLOCK: tl.constexpr):
    """Rows that tensors name, and a loop as long as a tensor says."""
    i = tl.program_id(0)
    begin, end = tl.load(start_ptr + i), tl.load(start_ptr + i + 1)
    o = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for first in range(begin, end, 4):
        row = tl.load(index_ptr + first)
        if row >= 0:
            total += tl.load(x_ptr + row * BLOCK + o, mask=o < row * 8, other=0.0)
    tl.store(o_ptr + i * BLOCK + o, total)


@triton.jit
def persistent(x_ptr, o_ptr, tiles, n, BLOCK: tl.constexpr):
    for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
        row, column = tile // n, tile % n
        o = row * n * BLOCK + column * BLOCK + tl.arange(0, BLOCK)
        if tile % 2 == 0:
            p = x_ptr + o
        else:
            p = x_ptr + (tiles - 1 - tile) * BLOCK + tl.arange(0, BLOCK)
        tl.store(o_ptr + o, tl.load(p) + tl.where(tile > 3, 1.0, 2.0))


@triton.jit
def three_axes(x_ptr, o_ptr, sizes, scale, flag, BLOCK: tl.constexpr):
    """A grid of three axes, and a tuple and a float among the arguments."""
    i, j, k = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    o = (i * sizes[0] + j * sizes[1] + k * sizes[2]) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + (o * scale).to(tl.int32))
    if flag > i:
        tl.store(o_ptr + o, x)
    else:
        tl.store(o_ptr + tl.flip(o, 0), x)


@triton.jit
def unfollowed(x_ptr, index_ptr, o_ptr, n, BLOCK: tl.constexpr):
    """Addresses, masks and loops that come from data and from inline assembly."""
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    odd = tl.inline_asm_elementwise("xor.b32 $0, $1, 1;", "=r,r", [o], dtype=tl.int32, is_pure=True, pack=1)
    x = tl.load(x_ptr + odd)
    index = tl.load(index_ptr + o)
    x += tl.load(x_ptr + index)
    tl.store(o_ptr + o, x, mask=index > 3)
    rounds = tl.load(index_ptr + tl.program_id(0))
    for i in range(rounds):
        tl.store(o_ptr + o + i, x)
    if rounds > 4:
        tl.store(o_ptr + n + o, x)
    while rounds > 2:
        rounds = rounds // 2
        tl.store(o_ptr + rounds, 1.0)
