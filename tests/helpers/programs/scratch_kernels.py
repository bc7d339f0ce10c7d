"""Kernels whose operations need scratch in shared memory, each of another kind, and a function that is called."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(noinline=True)
def total(p):
    return tl.sum(tl.load(p + tl.arange(0, 512)), 0)


@triton.jit
def scratch_kernel(p, q, h, N: tl.constexpr):  # noqa: N803
    o = tl.arange(0, N)
    x = tl.load(p + o)
    s = tl.cumsum(x, 0)
    called = total(p)
    m = tl.max(x.reshape(N // 16, 16), 0)
    counts = tl.histogram((x * 4).to(tl.int32), 64)
    tl.store(h + tl.arange(0, 64), counts)
    old = tl.atomic_add(q, called)
    taken = tl.gather(s, (o * 7) % N, 0)
    swapped = tl.atomic_cas(h, 1, 2)
    tl.store(p + o, taken + old + swapped)
    tl.store(q + tl.arange(0, 16), m)
