"""A launch as a value, compiled without a GPU and launched on one; no torch, no triton before it is bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from math import prod
from typing import TYPE_CHECKING, Any, Literal

from ssdprof.kernels.loading import load_module

if TYPE_CHECKING:
    import torch

DTYPE_BYTES: Mapping[str, int] = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "int64": 8, "int32": 4, "int16": 2, "int8": 1,
    "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1,
}  # fmt: skip
Role = Literal["in", "out", "in-out"]


@dataclass(frozen=True, slots=True)
class TensorMeta:
    """A tensor of a launch: shape, dtype (torch's name without the prefix, such as `bfloat16`), and what becomes of it.

    `strides` and `offset` are in elements; None: contiguous, row major. Tensors that name the same `storage` share it.
    """

    shape: tuple[int, ...]
    dtype: str
    role: Role = "in"
    strides: tuple[int, ...] | None = None
    storage: str = ""
    offset: int = 0

    @property
    def stride(self) -> tuple[int, ...]:
        """Strides in elements."""
        if self.strides is not None:
            return self.strides
        return tuple(prod(max(size, 1) for size in self.shape[i:]) for i in range(1, len(self.shape) + 1))

    @property
    def numel(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of its elements."""
        return self.numel * DTYPE_BYTES[self.dtype]

    @property
    def extent(self) -> int:
        """Elements of the storage up to the tensor's last one."""
        last = sum((size - 1) * stride for size, stride in zip(self.shape, self.stride, strict=True))
        return self.offset + (1 + last if self.numel else 0)

    @property
    def is_written(self) -> bool:
        """Whether the launch writes it."""
        return self.role != "in"


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A kernel argument that is a tensor, or the part of one that begins `offset` elements into it."""

    name: str
    dtype: str
    offset: int = 0

    @property
    def offset_bytes(self) -> int:
        """Where the part begins, in bytes."""
        return self.offset * DTYPE_BYTES[self.dtype]


FIRST_WITH_TMA = "sm_90"
"""The first architecture with a tensor memory accelerator, which descriptors need (CUDA C++ Programming Guide)."""


@dataclass(frozen=True, slots=True)
class DescriptorRef:
    """A kernel argument that is a descriptor of tensor `name`.

    It sees the tensor with this `shape` and these `strides` in elements, and moves tiles of `block`. On a GPU without
    TMA, Triton turns it into pointers, often with many spilled bytes. `is_optional`: a kernel with pointers of its own,
    which do better, gets None there.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    block: tuple[int, ...]
    is_optional: bool = True

    def of(self, tensor: Any) -> Any:
        """Triton's descriptor of the tensor, whose address must be a multiple of 16 bytes."""
        from triton.tools.tensor_descriptor import TensorDescriptor

        return TensorDescriptor(tensor, list(self.shape), list(self.strides), list(self.block))


def has_tma(arch: str) -> bool:
    """Whether GPUs of an architecture such as sm_90 or sm_90a have a tensor memory accelerator."""
    return capability(arch) >= capability(FIRST_WITH_TMA)


def capability(arch: str) -> int:
    """The number of an architecture, as Triton takes it: sm_90 is 90."""
    return int(arch.removeprefix("sm_").removesuffix("a"))


def arch_of(device: torch.device) -> str | None:
    """The architecture of a GPU, such as sm_90; None for the CPU."""
    import torch

    return "sm_{}{}".format(*torch.cuda.get_device_capability(device)) if device.type == "cuda" else None


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """One launch: callee, grid, arguments and options.

    The callee is `function` of the importable `module`, or of the source `file` if one is given; stand-ins replace
    those of the file's imports that the kernel does not need. `args` by parameter: tensors by reference, everything
    else by value. `options` are Triton's launch options (num_warps, num_stages, …).
    """

    module: str
    function: str
    grid: tuple[int, ...]
    args: Mapping[str, Any]
    options: Mapping[str, Any]
    file: str = ""

    @property
    def grid_blocks(self) -> int:
        """Number of programs of the launch."""
        return prod(self.grid)

    def callee(self) -> Any:
        """The kernel itself, without any autotuner or heuristics around it."""
        return list(layers(getattr(load_module(self.module, self.file), self.function)))[-1]

    def bind(self, tensors: Mapping[str, torch.Tensor]) -> Callable[[], Any]:
        """The launch on these tensors, as a call without arguments that returns the compiled kernel."""
        function = self.callee()[self.grid]
        arch = arch_of(next(iter(tensors.values())).device)
        # On the CPU, Triton's interpreter takes descriptors.
        arguments = self.arguments(lambda ref: _part(tensors[ref.name], ref), tma=arch is None or has_tma(arch))
        return lambda: function(**arguments, **self.options)

    def prepared(
        self, kernel: Any, names: Sequence[str], *, tma: bool
    ) -> Callable[[Sequence[torch.Tensor | None], Sequence[int]], Any]:
        """The launch of its compiled `kernel`, as `bind` returned it, on tensors and addresses in the order of `names`.

        For many launches on tensors with the same shapes, strides, dtypes, device and addresses modulo 16, to which
        Triton's specialisation is tied: its work on every argument is done once. A tensor that is not used is None, its
        address 0. Pointers are passed as numbers: of a tensor, Triton's launcher asks the driver whether a GPU can
        read it, which the first launch has shown.
        """
        from triton.tools.tensor_descriptor import TensorDescriptor

        run = kernel[(*self.grid, 1, 1)[:3]]
        bound = signature(self.callee().fn).bind(**self.args)
        bound.apply_defaults()
        template = list(bound.arguments.values())
        pointers, descriptors = [], []
        for place, value in enumerate(template):
            if isinstance(value, DescriptorRef):
                template[place] = None
                if tma or not value.is_optional:
                    # What `value.of` makes without the checks, which the first launch went through.
                    fields = {
                        "shape": list(value.shape),
                        "strides": list(value.strides),
                        "block_shape": list(value.block),
                    }
                    descriptors.append((place, names.index(value.name), fields))
            elif isinstance(value, TensorRef):
                pointers.append((place, names.index(value.name), value.offset_bytes))

        def launch(tensors: Sequence[torch.Tensor | None], addresses: Sequence[int]) -> Any:
            arguments = template.copy()
            for place, which, offset in pointers:
                arguments[place] = addresses[which] + offset
            for place, which, fields in descriptors:
                descriptor = arguments[place] = object.__new__(TensorDescriptor)
                descriptor.__dict__.update(fields, base=tensors[which])
            return run(*arguments)

        return launch

    def arguments(self, tensor_of: Callable[[TensorRef | DescriptorRef], Any], *, tma: bool) -> dict[str, Any]:
        """The kernel's arguments, tensors replaced by what `tensor_of` gives; without `tma` no optional descriptors."""
        arguments = dict(self.args)
        for name, value in arguments.items():
            if isinstance(value, DescriptorRef):
                arguments[name] = value.of(tensor_of(value)) if tma or not value.is_optional else None
            elif isinstance(value, TensorRef):
                arguments[name] = tensor_of(value)
        return arguments


def _part(tensor: Any, ref: TensorRef | DescriptorRef) -> Any:
    """The tensor that `ref` names, or the part of it that begins at its offset."""
    offset = ref.offset if isinstance(ref, TensorRef) else 0
    return tensor.as_strided((1,), (1,), tensor.storage_offset() + offset) if offset else tensor


def layers(kernel: Any) -> Iterator[Any]:
    """A kernel as its module has it, with the autotuner and heuristics that are around it, outermost first."""
    # Packages derive autotuners of their own from Triton's: fla does.
    while any(base.__name__ in ("Autotuner", "Heuristics") for base in type(kernel).__mro__):
        yield kernel
        kernel = kernel.fn
    yield kernel


PATTERN = 0xA5
"""A byte that fills what must not be written, or must be: kernels do not write such bytes on purpose, as they do 0."""


def pattern(tensor: torch.Tensor) -> torch.Tensor:
    """One element whose bytes are all PATTERN, of the tensor's dtype, on its device: shape ()."""
    import torch

    filled = torch.full((tensor.element_size(),), PATTERN, dtype=torch.uint8, device=tensor.device)
    return filled.view(tensor.dtype)[0]


def dtype_name(tensor: torch.Tensor) -> str:
    """Torch's name of a tensor's dtype without the prefix, such as `bfloat16`."""
    return str(tensor.dtype).removeprefix("torch.")
