# ruff: noqa: N803
"""Kernels whose loops the compiler unrolls, or inlines from one function at two places."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def softmax_kernel(x_ptr, o_ptr, n, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * n
    highest = tl.full((BLOCK,), -float("inf"), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, n, BLOCK):
        o = first + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row + o, mask=o < n, other=-float("inf")).to(tl.float32)
        higher = tl.maximum(highest, x)
        total = total * tl.exp(highest - higher) + tl.exp(x - higher)
        highest = higher
    top = tl.max(highest, 0)
    scale = tl.sum(total * tl.exp(highest - top), 0)
    for first in range(0, n, BLOCK):
        o = first + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row + o, mask=o < n, other=0.0).to(tl.float32)
        tl.store(o_ptr + row + o, tl.exp(x - top) / scale, mask=o < n)


@triton.jit
def _attend(
    acc, total, highest, q, k_ptr, v_ptr, low, high, o_m, D: tl.constexpr, BLOCK_N: tl.constexpr, LAST: tl.constexpr
):
    o_n, o_d = tl.arange(0, BLOCK_N), tl.arange(0, D)
    for first in range(low, high, BLOCK_N):
        k = tl.load(k_ptr + (first + o_n)[None, :] * D + o_d[:, None])
        power = tl.dot(q, k)
        if LAST:
            power = tl.where(o_m[:, None] >= (first + o_n)[None, :], power, -1.0e6)
        higher = tl.maximum(highest, tl.max(power, 1))
        weight = tl.math.exp2(power - higher[:, None])
        scale = tl.math.exp2(highest - higher)
        total = total * scale + tl.sum(weight, 1)
        v = tl.load(v_ptr + (first + o_n)[:, None] * D + o_d[None, :])
        acc = tl.dot(weight.to(v.dtype), v, acc * scale[:, None])
        highest = higher
    return acc, total, highest


@triton.jit
def attention_kernel(q_ptr, k_ptr, v_ptr, o_ptr, D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    i = tl.program_id(0)
    o_m, o_d = i * BLOCK_M + tl.arange(0, BLOCK_M), tl.arange(0, D)
    q = tl.load(q_ptr + o_m[:, None] * D + o_d[None, :])
    highest = tl.full((BLOCK_M,), -float("inf"), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    acc = tl.zeros((BLOCK_M, D), tl.float32)
    acc, total, highest = _attend(acc, total, highest, q, k_ptr, v_ptr, 0, i * BLOCK_M, o_m, D, BLOCK_N, False)
    acc, total, highest = _attend(
        acc, total, highest, q, k_ptr, v_ptr, i * BLOCK_M, (i + 1) * BLOCK_M, o_m, D, BLOCK_N, True
    )
    tl.store(o_ptr + o_m[:, None] * D + o_d[None, :], (acc / total[:, None]).to(o_ptr.dtype.element_ty))


@triton.jit(noinline=True)
def _third(x):
    return tl.fdiv(x, 3.0, ieee_rounding=True) + tl.sqrt_rn(x)


@triton.jit
def calling_kernel(x_ptr, o_ptr, n, BLOCK: tl.constexpr):
    """Calls a function of its own, and those that the compiler has for what is rounded correctly."""
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + o, mask=o < n).to(tl.float32)
    third = _third(n * 1.0)
    tl.store(o_ptr + o, x * third, mask=o < n)


@triton.jit
def dividing_kernel(x_ptr, o_ptr, n, BLOCK: tl.constexpr):
    """Calls functions that the compiler puts into the kernel's own code."""
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + o, mask=o < n).to(tl.float32)
    tl.store(o_ptr + o, tl.fdiv(tl.sqrt_rn(x), 3.0 + x, ieee_rounding=True), mask=o < n)
