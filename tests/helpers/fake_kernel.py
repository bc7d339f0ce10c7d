"""A kernel that needs neither Triton nor a GPU. Each of its variants is right, wrong or broken in a way of its own.

Its output is twice the input. A variant is the name of one of the "JIT functions" below, which compile as Triton's do
(`warmup` gives back metadata and a cubin, here a recorded one) and launch as they do (`function[grid](...)`).
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import Axis, Config, LaunchPlan, TensorMeta, TensorRef, Tolerances, Work

if TYPE_CHECKING:
    import torch

CUBIN = Path(__file__).parents[1] / "golden" / "chunk_scan_sm_90.cubin"
CUBIN_KERNEL = "chunk_scan_kernel"
CUBIN_REGISTERS, CUBIN_STACK_BYTES, CUBIN_BARRIERS = 255, 24, 1
SHARED_MEM_BYTES = 41_728
FOREVER_S = 600.0


@dataclass(frozen=True, slots=True)
class FakeProblem:
    """`log`: a file that gets a line with the process id for each set of inputs that is made.

    `trouble`: how preparing fails, "raise", or "abort" from the second time on; empty where it does not.
    """

    rows: int = 8
    columns: int = 16
    log: str = ""
    trouble: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class FakeSpec:
    name: str = "fake"
    variants: Sequence[str] = ("right",)

    def baseline(self, problem: FakeProblem) -> Config:
        return fake("right")

    def resolve(self, config: Config, problem: FakeProblem) -> Config:
        if config.variant not in KERNELS:
            raise ConfigError(f"unknown variant {config.variant!r}")
        return replace(config, block_dstate=16) if config.block_dstate is None else config

    def source_hashes(self) -> Mapping[str, str]:
        return dict.fromkeys(KERNELS, "fa4e" * 4)

    def tensors(self, problem: FakeProblem) -> Mapping[str, TensorMeta]:
        meta = TensorMeta((problem.rows, problem.columns), "float32")
        return {"x": meta, "out": meta}

    def output_name(self) -> str:
        return "out"

    def output_axes(self, problem: FakeProblem) -> Sequence[Axis]:
        return (Axis("row", chunk=3), Axis("column"))

    def launch(self, problem: FakeProblem, config: Config) -> LaunchPlan:
        return LaunchPlan(
            module=__name__,
            function=config.variant,
            grid=(config.block_m, 2),
            args={"x": TensorRef("x", "float32"), "out": TensorRef("out", "float32"), "scale": 2},
            options={"num_warps": config.num_warps, "num_stages": config.num_stages},
        )

    def make_inputs(self, problem: FakeProblem, device: str, seed: int) -> dict[str, torch.Tensor]:
        import torch

        if problem.log:
            with Path(problem.log).open("a") as log:
                log.write(f"{os.getpid()}\n")
        generator = torch.Generator(device=device).manual_seed(seed)
        return {"x": torch.randn((problem.rows, problem.columns), generator=generator, device=device)}

    def reference(self, problem: FakeProblem, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if problem.trouble == "raise":
            raise RuntimeError("no reference today")
        if problem.trouble == "abort" and len(set(Path(problem.log).read_text().split())) > 1:
            _abort("the reference went down")
        return 2 * inputs["x"]

    def tolerances(self, problem: FakeProblem) -> Tolerances:
        return Tolerances(relative_error=1e-2, row_error=5e-2, reason="it suits the tests")

    def partial_sum(
        self,
        problem: FakeProblem,
        config: Config,
        inputs: Mapping[str, torch.Tensor],
        reference: torch.Tensor,
        out: torch.Tensor,
    ) -> str | None:
        return "only half of two" if bool((out == inputs["x"]).all()) else None

    def work(self, problem: FakeProblem) -> Work:
        elements = problem.rows * problem.columns
        return Work(bytes_min=8 * elements, flops=elements)

    def memory_bytes(self, problem: FakeProblem) -> int:
        return 5 << 30


def fake(variant: str, block_m: int = 16, **fields: Any) -> Config:
    """A config of the fake kernel; `block_m` tells several of one variant apart."""
    return replace(Config(block_m, 16, 16, 16, num_warps=4, num_stages=2, variant=variant), **fields)


last_latency_ms = 0.0
"""What the fake timer takes the last launch to have lasted: a sixteenth of its block_m."""

Body = Callable[..., None]
Warmup = Callable[..., dict[str, Any]]
KERNELS: dict[str, FakeKernel] = {}


@dataclass(frozen=True)
class FakeKernel:
    """As a JIT function: `warmup` compiles, `[grid](...)` launches. Both may do as they like."""

    launch: Body
    compiles: Warmup

    def warmup(self, *, grid: tuple[int, ...], x: Any, out: Any, scale: int, num_warps: int, num_stages: int) -> Any:
        assert isinstance(x.data_ptr(), int)
        metadata = {"name": CUBIN_KERNEL, "shared": SHARED_MEM_BYTES, "num_warps": num_warps, "num_ctas": 1}
        changed = self.compiles()
        cubin = changed.pop("cubin", None) or CUBIN.read_bytes()
        return SimpleNamespace(metadata=SimpleNamespace(**metadata | changed), asm={"cubin": cubin})

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def run(x: torch.Tensor, out: torch.Tensor, scale: int, num_warps: int, num_stages: int) -> None:
            global last_latency_ms
            last_latency_ms = grid[0] / 16
            self.launch(x, out)

        return run


class OutOfMemoryError(Exception):  # torch's own name
    pass


class OutOfResources(Exception):  # noqa: N818  (Triton's own name)
    pass


def _kernel(name: str, launch: Body | None = None, compiles: Warmup = dict) -> None:
    kernel = FakeKernel(launch or _write, compiles)
    KERNELS[name] = globals()[name] = kernel


def _write(x: torch.Tensor, out: torch.Tensor) -> None:
    out.copy_(2 * x)


def _slowly(duration_s: float) -> Body:
    def body(x: torch.Tensor, out: torch.Tensor) -> None:
        time.sleep(duration_s)
        _write(x, out)

    return body


def _scaled(x: torch.Tensor, out: torch.Tensor) -> None:
    out.copy_(3 * x)


def _one_bad_row(x: torch.Tensor, out: torch.Tensor) -> None:
    _write(x, out)
    out[3] *= 1.2


def _unwritten(x: torch.Tensor, out: torch.Tensor) -> None:
    out[:, 1:].copy_(2 * x[:, 1:])


def _unstable(x: torch.Tensor, out: torch.Tensor) -> None:
    out.copy_(2 * x * (1 + 1e-5 * _nth("unstable")))


CHECKED = 1 + 2 * (1 + 5)
"""Launches before the first look: one to load, and for each of two sets of inputs one to time and five to check."""


def _race_when_timed(x: torch.Tensor, out: torch.Tensor) -> None:
    """Right in all launches that are checked; other bits in the one that is timed."""
    out.copy_(2 * x * (1.5 if _nth("race") == CHECKED + 1 else 1))


def _nan_rows(x: torch.Tensor, out: torch.Tensor) -> None:
    _write(x, out)
    out[2:4] = float("nan")


def _last_chunk(x: torch.Tensor, out: torch.Tensor) -> None:
    _write(x, out)
    out[6:] = 0.0


def _half(x: torch.Tensor, out: torch.Tensor) -> None:
    out.copy_(x)


def _beyond(x: torch.Tensor, out: torch.Tensor) -> None:
    """Right, and two elements beyond the end of the output."""
    _write(x, out)
    beyond = out.as_strided((2,), (1,), storage_offset=out.storage_offset() + out.numel())
    beyond.fill_(1.0)


def _scribbles(x: torch.Tensor, out: torch.Tensor) -> None:
    """Right, but its input is not what it was."""
    _write(x, out)
    x[1, 1] += 1.0


def _crash(x: Any, out: Any) -> None:
    _abort("an illegal memory access")


def _hang(*_: Any) -> dict[str, Any]:
    time.sleep(FOREVER_S)
    raise AssertionError("not reached")


def _raise(error: Exception) -> Callable[..., Any]:
    def body(*_: Any) -> None:
        raise error

    return body


def _fails_when_timed_again(how: Callable[..., Any]) -> Body:
    """Right for the launches of a measurement; the next ones go wrong."""

    def body(x: torch.Tensor, out: torch.Tensor) -> None:
        _write(x, out)
        if _nth(how.__name__) > CHECKED + 1:
            how(x, out)

    return body


def _drift(x: torch.Tensor, out: torch.Tensor) -> None:
    out.mul_(1 + 1e-5)


def _abort(last_words: str) -> None:
    print(last_words, file=sys.stderr, flush=True)
    os.abort()


_launches: Counter[str] = Counter()


def _nth(name: str) -> int:
    """Which launch of that name this is in this process, from 1."""
    _launches[name] += 1
    return _launches[name]


_kernel("right")
_kernel("slow", _slowly(0.05))
_kernel("slower", _slowly(0.1))
_kernel("wrong_scaled", _scaled)
_kernel("wrong_row", _one_bad_row)
_kernel("unwritten", _unwritten)
_kernel("nan_rows", _nan_rows)
_kernel("last_chunk", _last_chunk)
_kernel("half", _half)
_kernel("beyond", _beyond)
_kernel("scribbles", _scribbles)
_kernel("unstable", _unstable)
_kernel("unstable_when_timed", _race_when_timed)
_kernel("too_much_shared_mem", compiles=lambda: {"shared": 300_000})
_kernel("too_many_warps", compiles=lambda: {"num_warps": 36})
_kernel("too_much_tensor_memory", compiles=lambda: {"tmem_size": 1024})
_kernel("refused_by_triton", compiles=_raise(OutOfResources("shared memory, Required: 300000")))
_kernel(
    "refused_by_driver", _raise(OutOfResources("shared memory, Required: 300000, Hardware limit: 232448\nand more"))
)
_kernel("compile_error", compiles=_raise(ValueError("\n\nno such layout\nat line 3")))
_kernel("broken_cubin", compiles=lambda: {"cubin": b"not an ELF file"})
_kernel("crashes_compiler", compiles=lambda: _abort("LLVM ERROR: cannot select") or {})
_kernel("hangs_compiler", compiles=_hang)
_kernel("launch_error", _raise(RuntimeError("invalid argument")))
_kernel("crashes", _crash)
_kernel("hangs", _hang)
_kernel("crashes_when_timed_again", _fails_when_timed_again(_crash))
_kernel("races_when_timed_again", _fails_when_timed_again(_drift))
_kernel("too_much_memory", _raise(OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 TiB")))
