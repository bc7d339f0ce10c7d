"""The fake subject's kernels: each is correct, wrong or broken in a way of its own.

They compile as Triton's JIT functions do (`warmup` gives back metadata and a cubin, here a recorded one) and launch as
they do (`function[grid](...)`), and need neither Triton nor a GPU.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

CUBIN = Path(__file__).parents[2] / "golden" / "chunk_scan_sm_90.cubin"
CUBIN_KERNEL = "chunk_scan_kernel"
CUBIN_REGISTERS, CUBIN_STACK_BYTES, CUBIN_BARRIERS = 255, 24, 1
SHARED_MEM_BYTES = 41_728
FOREVER_S = 600.0
TURNS = 2
"""Turns that a program takes: it covers TURNS · LANES lanes."""
CHECKED = 1 + 2 * (1 + 5)
"""Launches before the first look: one to load, and for each of two sets of inputs one to time and five to check."""

last_latency_ms = 0.0
"""What the fake timer takes the last launch to have lasted: a sixteenth of its ROWS."""


@dataclass(frozen=True)
class Tensors:
    """What a launch gets: tensors by name, and the lanes of its config."""

    x: torch.Tensor
    scaled: torch.Tensor
    total: torch.Tensor
    weights: torch.Tensor
    lanes: int

    def beyond(self, elements: int) -> torch.Tensor:
        """So many elements directly after the last of the outputs' storage, which is one of `weights`."""
        last = self.weights.storage_offset() + (len(self.weights) - 1) * self.weights.stride(0)
        return self.weights.as_strided((elements,), (1,), storage_offset=last + 1)


Body = Callable[[Tensors], None]
Warmup = Callable[[], dict[str, Any]]
KERNELS: dict[str, FakeKernel] = {}


@dataclass(frozen=True)
class FakeKernel:
    """As a JIT function: `warmup` compiles, `[grid](...)` launches. Both may do as they like."""

    launch: Body
    compiles: Warmup = dict

    def warmup(self, *, grid: tuple[int, ...], num_warps: int, num_stages: int, **arguments: Any) -> Any:
        assert all(isinstance(arguments[name].data_ptr(), int) for name in ("x", "scaled", "total", "weights"))
        metadata = {"name": CUBIN_KERNEL, "shared": SHARED_MEM_BYTES, "num_warps": num_warps, "num_ctas": 1}
        changed = self.compiles()
        cubin = changed.pop("cubin", None) or CUBIN.read_bytes()
        return SimpleNamespace(metadata=SimpleNamespace(**metadata | changed), asm={"cubin": cubin})

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def run(*, LANES: int, num_warps: int, num_stages: int, **tensors: torch.Tensor) -> None:  # noqa: N803
            global last_latency_ms
            last_latency_ms = grid[0] / 16
            self.launch(Tensors(**tensors, lanes=LANES))

        return run


class OutOfMemoryError(Exception):  # torch's own name
    pass


class OutOfResources(Exception):  # noqa: N818  (Triton's own name)
    pass


def write(t: Tensors) -> None:
    """What a correct kernel does."""
    t.scaled.copy_(2 * t.x)
    t.total.add_(t.weights[:, None] * t.x)


def abort(last_words: str) -> None:
    print(last_words, file=sys.stderr, flush=True)
    os.abort()


def _kernel(name: str, launch: Body = write, compiles: Warmup = dict) -> None:
    kernel = FakeKernel(launch, compiles)
    KERNELS[name] = globals()[name] = kernel


def _and(trouble: Body) -> Body:
    """A correct kernel with something wrong afterwards."""

    def body(t: Tensors) -> None:
        write(t)
        trouble(t)

    return body


def _slowly(duration_s: float) -> Body:
    return _and(lambda _: time.sleep(duration_s))


def _unwritten(t: Tensors) -> None:
    """Leaves the first lane as it was poisoned."""
    t.scaled[:, 1:].copy_(2 * t.x[:, 1:])
    t.total.add_(t.weights[:, None] * t.x)


def _narrow(t: Tensors) -> None:
    """Covers the lanes of its turns alone."""
    write(t)
    t.scaled[:, TURNS * t.lanes :] = 0.0


def _race_when_timed(t: Tensors) -> None:
    """Correct in all launches that are checked; other bits in the one that is timed."""
    write(t)
    t.scaled.mul_(1.5 if _nth("race") == CHECKED + 1 else 1)


def _crash(_: Tensors) -> None:
    abort("an illegal memory access")


def _hang(*_: Any) -> dict[str, Any]:
    time.sleep(FOREVER_S)
    raise AssertionError("not reached")


def _hanging(_: Tensors) -> None:
    _hang()


def _raise(error: Exception) -> Callable[..., Any]:
    def body(*_: Any) -> None:
        raise error

    return body


def _fails_when_timed_again(name: str, how: Body) -> Body:
    """Correct for the launches of a measurement; the next ones go wrong."""

    def body(t: Tensors) -> None:
        write(t)
        if _nth(name) > CHECKED + 1:
            how(t)

    return body


def _spoil(rows: slice | int, lanes: slice, factor: float) -> Body:
    def trouble(t: Tensors) -> None:
        t.scaled[rows, lanes] *= factor

    return _and(trouble)


def _add(to: Callable[[Tensors], torch.Tensor]) -> Body:
    """Correct, and adds 1 to what it has no business with."""

    def trouble(t: Tensors) -> None:
        to(t).add_(1.0)

    return _and(trouble)


_launches: Counter[str] = Counter()


def _nth(name: str) -> int:
    """Which launch of that name this is in this process, from 1."""
    _launches[name] += 1
    return _launches[name]


ALL = slice(None)
NAN = float("nan")
TOO_MUCH = "shared memory, Required: 300000"
_kernel("right")
_kernel("slow", _slowly(0.05))
_kernel("narrow", _narrow)
_kernel("wrong_scaled", _spoil(ALL, ALL, 1.5))
_kernel("wrong_row", _spoil(3, ALL, 1.2))
_kernel("wrong_tile", _spoil(slice(3, 5), slice(8, 16), 1.5))
_kernel("forgets_the_total", _and(lambda t: t.total.copy_(t.weights[:, None] * t.x)))
_kernel("unwritten", _unwritten)
_kernel("nan_rows", _spoil(slice(2, 4), ALL, NAN))
_kernel("last_chunk", _spoil(slice(6, None), ALL, 0.0))
_kernel("a_little_more", _spoil(ALL, ALL, 1.004))  # within the tolerance of 0.01
_kernel("a_little_less", _spoil(ALL, ALL, 0.996))
_kernel("half", _spoil(ALL, ALL, 0.5))
_kernel("beyond", _and(lambda t: t.beyond(2).fill_(1.0)))
_kernel("between", _add(lambda t: t.weights.as_strided((1,), (1,), t.weights.storage_offset() + 1)))
_kernel("scribbles", _add(lambda t: t.x[1, 1]))
_kernel("scribbles_on_weights", _add(lambda t: t.weights[1]))
_kernel("unstable", _and(lambda t: t.scaled.mul_(1 + 1e-5 * _nth("unstable"))))
_kernel("unstable_when_timed", _race_when_timed)
_kernel("too_much_shared_mem", compiles=lambda: {"shared": 300_000})
_kernel("too_many_warps", compiles=lambda: {"num_warps": 36})
_kernel("too_much_tensor_memory", compiles=lambda: {"tmem_size": 1024})
_kernel("refused_by_triton", compiles=_raise(OutOfResources(TOO_MUCH)))
_kernel("refused_by_driver", _raise(OutOfResources(f"{TOO_MUCH}, Hardware limit: 232448\nand more")))
_kernel("compile_error", compiles=_raise(ValueError("\n\nno such layout\nat line 3")))
_kernel("broken_cubin", compiles=lambda: {"cubin": b"not an ELF file"})
_kernel("crashes_compiler", compiles=lambda: abort("LLVM ERROR: cannot select") or {})
_kernel("hangs_compiler", compiles=_hang)
_kernel("launch_error", _raise(RuntimeError("invalid argument")))
_kernel("crashes", _crash)
_kernel("hangs", _hanging)
_kernel("crashes_when_timed_again", _fails_when_timed_again("crash", _crash))
_kernel("races_when_timed_again", _fails_when_timed_again("drift", lambda t: t.scaled.mul_(1 + 1e-5)))
_kernel("too_much_memory", _raise(OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 TiB")))
