"""A program that launches Triton kernels, for the tests that capture it; with TRITON_INTERPRET=1 it needs no GPU."""

from __future__ import annotations

import os
import sys
import time

import torch
import triton
import triton.language as tl

DEVICE = os.environ.get("PROGRAM_DEVICE", "cpu")


def first_is_best(launch, quantiles):
    """In place of a benchmark, which needs a GPU: each config is launched once, and all take as long."""
    launch()
    return [1.0, 1.0, 1.0]


def without_large_blocks(configs, _named, **_):
    return [config for config in configs if config.kwargs["BLOCK"] < 256]


@triton.autotune(
    configs=[triton.Config({"BLOCK": block}, num_warps=warps) for block in (64, 128, 256) for warps in (2, 4)],
    key=["n"],
    prune_configs_by={"early_config_prune": without_large_blocks},
    do_bench=first_is_best if DEVICE == "cpu" else None,
)
@triton.heuristics({"EVEN": lambda args: args["n"] % args["BLOCK"] == 0})
@triton.jit
def scale_kernel(x_ptr, y_ptr, n, factor, BLOCK: tl.constexpr, EVEN: tl.constexpr):  # noqa: N803
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if EVEN:
        tl.store(y_ptr + i, tl.load(x_ptr + i) * factor)
    else:
        tl.store(y_ptr + i, tl.load(x_ptr + i, mask=i < n) * factor, mask=i < n)


@triton.jit
def add_kernel(total_ptr, x_ptr, n, BLOCK: tl.constexpr = 64):  # noqa: N803
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m = i < n
    tl.store(total_ptr + i, tl.load(total_ptr + i, mask=m) + tl.load(x_ptr + i, mask=m), mask=m)


@triton.jit
def even_rows_kernel(x_ptr, out_ptr, columns, stride, BLOCK: tl.constexpr):  # noqa: N803
    """Writes every second row, and of it the first `columns`."""
    row = 2 * tl.program_id(0)
    i = tl.arange(0, BLOCK)
    m = i < columns
    tl.store(out_ptr + row * stride + i, tl.load(x_ptr + row * stride + i, mask=m) + 1.0, mask=m)


@triton.jit
def order_kernel(x_ptr, order_ptr, count_ptr, sum_ptr, BLOCK: tl.constexpr):  # noqa: N803
    """Writes where each number is not negative, counts them, and adds them up atomically."""
    i = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i)
    tl.store(order_ptr + i, i, mask=x >= 0)
    tl.atomic_add(count_ptr, tl.sum((x >= 0).to(tl.int32)))
    tl.atomic_add(sum_ptr + i % 1, x)


@triton.jit
def through_address_kernel(address, out_ptr):
    """Loads from an address that it gets as a number."""
    tl.store(out_ptr, tl.load(address.to(tl.pointer_type(tl.float32))))


def scale(x, y, factor=2.5):
    """y = factor * x."""
    scale_kernel[lambda meta: (triton.cdiv(x.numel(), meta["BLOCK"]),)](x, y, x.numel(), factor)


def add(total, x, **options):
    """total += x."""
    add_kernel[(triton.cdiv(x.numel(), 64),)](total, x, x.numel(), **options)


def even_rows(x, out, columns):
    """Of every second row of `out`, the first columns are those of x, plus one."""
    even_rows_kernel[(x.shape[0] // 2,)](x, out, columns, x.stride(0), 32)


def main(n: int = 300) -> None:
    """Three launches of one kernel, two of another; what they compute is checked."""
    x = torch.arange(n, dtype=torch.float32, device=DEVICE)
    y, total = torch.zeros(n + 10, device=DEVICE)[5 : 5 + n], torch.ones(n, device=DEVICE)
    for _ in range(3):
        scale(x, y)
    add(total, x)
    add(total, x, num_warps=8)
    assert torch.equal(total, 1 + 2 * x)
    assert torch.equal(y, 2.5 * x)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
    if "wait" in sys.argv:
        print("waiting", flush=True)
        time.sleep(60)
    print("done")
    sys.exit(3 if "fail" in sys.argv else 0)
