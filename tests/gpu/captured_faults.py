"""A program with a kernel for each fault, which FAULT=1 plants; it launches every kernel once, without faults."""

import torch
import triton
import triton.language as tl

N, COLUMNS = 1 << 16, 512


@triton.jit
def small_tile(x, out, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    tl.store(out + row, tl.sum(tl.load(x + row * 512 + columns), axis=0))


@triton.jit
def race(x, out, n, BLOCK: tl.constexpr, FAULT: tl.constexpr):
    pid = tl.program_id(0)
    i = pid * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n, other=0.0)
    if FAULT:  # neighbours write the same elements, with other values
        i = (i + BLOCK // 2) % n
        tl.store(out + (i // 2), value, mask=i < n)
    tl.store(out + i, value * 2, mask=i < n)


@triton.jit
def outside(x, out, n, BLOCK: tl.constexpr, FAULT: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n, other=0.0)
    tl.store(out + i, value * 2, mask=i < n)
    if FAULT:
        tl.store(out + i + 16, value * 2, mask=(i >= n - 16) & (i < n))


@triton.jit
def in_place(x, out, n, BLOCK: tl.constexpr, FAULT: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    old = tl.load(out + i, mask=i < n, other=0.0)
    value = tl.load(x + i, mask=i < n, other=0.0)
    tl.store(out + i, value if FAULT else old + value, mask=i < n)


@triton.jit
def uninitialised(x, out, n, BLOCK: tl.constexpr, FAULT: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n, other=0.0)
    if FAULT:
        value += 0.5 * tl.load(out + i, mask=i < n, other=0.0)
    tl.store(out + i, value, mask=i < n)


@triton.jit
def one_element(x, out, n, BLOCK: tl.constexpr, FAULT: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n, other=0.0)
    if FAULT:
        value = tl.where(i == 12345, value + 0.25, value)
    tl.store(out + i, value, mask=i < n)


@triton.jit
def depends_on_previous(x, out, n, BLOCK: tl.constexpr, FAULT: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n, other=0.0)
    if FAULT:
        value = tl.maximum(value, tl.load(out + i, mask=i < n, other=0.0))
    tl.store(out + i, value, mask=i < n)


@triton.jit
def last_tile(x, out, n, BLOCK: tl.constexpr, FAULT: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    end = n - (n % 64 if FAULT else 0)
    tl.store(out + i, tl.load(x + i, mask=i < end, other=0.0) * 3, mask=i < end)


@triton.jit
def counts(x, out, n, BLOCK: tl.constexpr, FAULT: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n, other=0.0)
    above = (value > 0).to(tl.int64)
    if FAULT:
        above = tl.where(i == n // 2, above + 1, above)
    tl.store(out + i, above, mask=i < n)


@triton.jit
def atomic_sum(x, out, n, BLOCK: tl.constexpr, FAULT: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n, other=0.0)
    tl.atomic_add(out + i % 512, value, mask=i < n)
    if FAULT:
        tl.atomic_add(out + i % 512, value, mask=i < n - n // 2)


def main() -> None:
    """Launches each kernel once."""
    torch.manual_seed(0)
    n = N - 24
    x = torch.randn(N, device="cuda")
    matrix = torch.randn(256, COLUMNS, device="cuda")

    def grid(meta: dict[str, int]) -> tuple[int]:
        return (triton.cdiv(n, meta["BLOCK"]),)

    small_tile[(256,)](matrix, torch.empty(256, device="cuda"), BLOCK=512)
    for kernel in (race, outside, uninitialised, one_element, depends_on_previous, last_tile):
        kernel[grid](x, torch.empty(n, device="cuda"), n, BLOCK=256, FAULT=0)
    in_place[grid](x, torch.randn(n, device="cuda"), n, BLOCK=256, FAULT=0)
    counts[grid](x, torch.empty(n, device="cuda", dtype=torch.int64), n, BLOCK=256, FAULT=0)
    atomic_sum[grid](x, torch.zeros(512, device="cuda"), n, BLOCK=256, FAULT=0)


if __name__ == "__main__":
    main()
