"""What the engine knows of a kernel: a config, a launch plan and the `KernelSpec` protocol.

Nothing here imports torch or triton, so that command-line help and compile-only runs stay quick.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Config:
    """One launch configuration: tile sizes in elements, launch options, and the kernel variant.

    `block_dstate` None stands for the whole state dimension, as Triton's printed form of the published kernels leaves
    it out; `resolve` fills it in. `maxnreg` None leaves the register count to ptxas. `heads`: how many heads of a group
    one program takes, where the variant takes several; None stands for all of them.
    """

    block_m: int
    block_n: int
    block_k: int
    block_dstate: int | None
    num_warps: int
    num_stages: int
    maxnreg: int | None = None
    num_ctas: int = 1
    variant: str = "tile"
    heads: int | None = None


@dataclass(frozen=True, slots=True)
class TensorMeta:
    """Shape and dtype of a contiguous tensor; `dtype` is torch's name without the prefix, such as `bfloat16`."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def stride(self) -> tuple[int, ...]:
        """Strides in elements, row major."""
        strides = [1]
        for size in reversed(self.shape[1:]):
            strides.append(strides[-1] * max(size, 1))
        return tuple(reversed(strides))

    @property
    def numel(self) -> int:
        """Number of elements."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return self.numel * DTYPE_BYTES[self.dtype]


DTYPE_BYTES: Mapping[str, int] = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int32": 4, "int64": 8}


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A kernel argument that is a tensor: bound to real memory at launch, to its dtype alone when only compiling."""

    name: str
    dtype: str


FIRST_WITH_TMA = "sm_90"
"""The first architecture with a tensor memory accelerator, which descriptors are for (CUDA C++ Programming Guide)."""


@dataclass(frozen=True, slots=True)
class DescriptorRef:
    """A kernel argument that is a tensor descriptor of tensor `name`, and None where the GPU has no TMA.

    It sees the tensor with this `shape` and these `strides` in elements, and moves tiles of `block`. Triton would make
    pointers of it on such a GPU, with thousands of spilled bytes: a kernel does better with the pointers it is given.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    block: tuple[int, ...]

    def of(self, tensor: Any) -> Any:
        """Triton's descriptor of the tensor, whose address must be a multiple of 16."""
        from triton.tools.tensor_descriptor import TensorDescriptor

        return TensorDescriptor(tensor, list(self.shape), list(self.strides), list(self.block))


def has_tma(arch: str) -> bool:
    """Whether GPUs of an architecture such as sm_90 or sm_90a have a tensor memory accelerator."""
    return capability(arch) >= capability(FIRST_WITH_TMA)


def capability(arch: str) -> int:
    """The number of an architecture, as Triton takes it: sm_90 is 90."""
    match = re.fullmatch(r"sm_(\d+)a?", arch)
    assert match is not None, arch
    return int(match.group(1))


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """One launch, spelled out: the same plan is compiled without a GPU and launched on one, so both specialise alike.

    `args` are in the order of the kernel's parameters: tensors by reference, everything else by value.
    `options` are launch options of Triton (num_warps, num_stages, …).
    """

    module: str
    function: str
    grid: tuple[int, ...]
    args: Mapping[str, TensorRef | DescriptorRef | int | float | bool | None]
    options: Mapping[str, int]

    @property
    def grid_blocks(self) -> int:
        """Number of blocks of the launch."""
        blocks = 1
        for size in self.grid:
            blocks *= size
        return blocks

    def bind(self, tensors: Mapping[str, torch.Tensor]) -> Callable[[], Any]:
        """The launch on these tensors as a call without arguments, which returns the compiled kernel."""
        function = getattr(importlib.import_module(self.module), self.function)[self.grid]
        arch = arch_of(next(iter(tensors.values())).device)
        tma = arch is None or has_tma(arch)  # on the CPU, Triton's interpreter acts as if
        arguments = self.arguments(lambda ref: tensors[ref.name], tma=tma)
        return lambda: function(**arguments, **self.options)

    def arguments(self, tensor_of: Callable[[TensorRef | DescriptorRef], Any], *, tma: bool) -> dict[str, Any]:
        """The kernel's arguments, with what `tensor_of` gives in the place of tensors; no descriptors without `tma`."""
        return {name: _argument(value, tensor_of, tma) for name, value in self.args.items()}


def _argument(value: Any, tensor_of: Callable[[TensorRef | DescriptorRef], Any], tma: bool) -> Any:
    if isinstance(value, DescriptorRef):
        return value.of(tensor_of(value)) if tma else None
    return tensor_of(value) if isinstance(value, TensorRef) else value


def arch_of(device: torch.device) -> str | None:
    """The architecture of a GPU, such as sm_90; None of the CPU."""
    import torch

    if device.type != "cuda":
        return None
    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


@dataclass(frozen=True, slots=True)
class Axis:
    """A dimension of an output: what one index along it is called, and how many together make a chunk, if they do."""

    name: str
    chunk: int | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What a problem needs at least: each input read once, each output written once, and the products' operations."""

    bytes_min: int
    flops: int


class Problem(Protocol):
    """What the engine asks of a problem: names for the run file, and nothing about its meaning."""

    def as_dict(self) -> dict[str, Any]:
        """Every field by name, JSON-ready; two problems are the same where these are equal."""
        ...


class KernelSpec(Protocol):
    """A kernel as the engine sees it. Implementations are picklable and cheap to make."""

    @property
    def name(self) -> str:
        """The kernel's name in run files."""
        ...

    @property
    def variants(self) -> Sequence[str]:
        """The kernel's variants; the first is the one meant when none is named."""
        ...

    def baseline(self, problem: Any) -> Config:
        """The config that speed-ups are relative to when the user names none."""
        ...

    def resolve(self, config: Config, problem: Any) -> Config:
        """`config` with what depends on the problem filled in. Raises ConfigError where the kernel cannot take it."""
        ...

    def source_hashes(self) -> Mapping[str, str]:
        """By variant, the SHA-256 of the source that makes its binary and launch, first 16 hexadecimal digits."""
        ...

    def tensors(self, problem: Any) -> Mapping[str, TensorMeta]:
        """Every tensor that a launch reads or writes, by name."""
        ...

    def output_name(self) -> str:
        """The name, in `tensors`, of the output that is checked; its last dimension is a row."""
        ...

    def output_axes(self, problem: Any) -> Sequence[Axis]:
        """The output's dimensions in order, for saying where it is wrong; the last is a row's own."""
        ...

    def launch(self, problem: Any, config: Config) -> LaunchPlan:
        """The launch of a resolved config."""
        ...

    def make_inputs(self, problem: Any, device: str, seed: int) -> dict[str, torch.Tensor]:
        """Valid random inputs on `device`, by name: all of `tensors` but the output."""
        ...

    def reference(self, problem: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The right output, float32, in the output's shape, computed without the kernel."""
        ...

    def tolerances(self, problem: Any) -> Tolerances:
        """How far a right output may be from the reference, and why that far."""
        ...

    def partial_sum(
        self,
        problem: Any,
        config: Config,
        inputs: Mapping[str, torch.Tensor],
        reference: torch.Tensor,
        out: torch.Tensor,
    ) -> str | None:
        """Where a wrong `out` is that of a sum cut short, as a tile smaller than the dimension makes it: which part.

        None where it is not. To be decided by computing that part, not from the config alone. `reference` is the right
        output of `inputs`.
        """
        ...

    def work(self, problem: Any) -> Work:
        """Least bytes moved through DRAM and operations done."""
        ...

    def memory_bytes(self, problem: Any) -> int:
        """Device memory to make one set of inputs and its reference, at its peak (an estimate from above).

        Workspaces and the CUDA context are in it; what the engine holds besides is not.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tolerances:
    """Largest relative errors of a right output: of the whole (Frobenius norm), of any single row; `reason`: why."""

    relative_error: float
    row_error: float
    reason: str
