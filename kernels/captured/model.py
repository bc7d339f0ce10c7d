"""What is kept of a captured launch, as data; no torch, no triton."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ssdprof.kernels.launch import Role


@dataclass(frozen=True, slots=True)
class Ref:
    """A function of the sources: the module there, and its name in it."""

    module: str
    name: str


@dataclass(frozen=True, slots=True)
class Sources:
    """The text of a kernel and of everything that it calls, as modules that import triton, torch and each other.

    `modules`: the text by module name (an identifier). `kernel`: the jitted function. `grid`: what computes the grid
    from a mapping of all arguments; None if the launch had plain numbers, or if `grid_absent` says why it could not be
    kept. `heuristics`: (meta-parameter, function of a mapping of all arguments), in the order in which they are
    evaluated.
    """

    modules: Mapping[str, str]
    kernel: Ref
    grid: Ref | None = None
    grid_absent: str = ""
    heuristics: tuple[tuple[str, Ref], ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a kernel came from: its name, module, source file and line, and a hash of its own text there.

    The hash is `ssdprof.kernels.captured.source.texts.text_hash` of the lines of the function, decorators left out.
    """

    qualname: str
    module: str
    file: str
    line: int
    text_hash: str


@dataclass(frozen=True, slots=True)
class TensorArg:
    """An argument that is tensor number `index` of the launch."""

    index: int


@dataclass(frozen=True, slots=True)
class DescriptorArg:
    """An argument that is a descriptor (`triton.tools.tensor_descriptor.TensorDescriptor`) of tensor number `index`."""

    index: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    block: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DtypeArg:
    """An argument that is a dtype: Triton's (`fp32`, from `tl.dtype.name`) or torch's (`torch.float32`)."""

    name: str


Argument: TypeAlias = "int | float | bool | str | TensorArg | DescriptorArg | DtypeArg | tuple[Argument, ...] | None"
"""A kernel's argument; a constexpr is its value."""


@dataclass(frozen=True, slots=True)
class KeptTensor:
    """A tensor of a launch: part of a storage, `strides` and `offset` in elements; `role`: what becomes of it."""

    storage: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    role: Role = "in"


@dataclass(frozen=True, slots=True)
class KeptStorage:
    """A storage of a launch. The blobs are named by their SHA-256, in hexadecimal digits; "" is one that was not kept.

    `before`: its bytes as the launch found them. `after`: as it left them, if it wrote some; bytes that it did not
    write are as before. `written`: one bit for each byte (`numpy.packbits` order, first byte in the highest bit), set
    if the launch wrote it; "" if it wrote every byte of the tensors whose role is not in, or if that was not found out.
    """

    size_bytes: int
    before: str
    after: str = ""
    written: str = ""


@dataclass(frozen=True, slots=True)
class ListedConfig:
    """A config of the kernel's own autotune list: all meta-parameters and launch options that it sets.

    `pruned`: whether the autotuner's pruning left it out for this launch.
    """

    values: Mapping[str, Any]
    pruned: bool = False


@dataclass(frozen=True, slots=True)
class Autotune:
    """The kernel's own autotuner: its list, its key, and the tensors that it resets (by parameter)."""

    configs: tuple[ListedConfig, ...]
    key: tuple[str, ...] = ()
    reset_to_zero: tuple[str, ...] = ()
    restore_value: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CapturedLaunch:
    """One launch of a kernel as a program made it.

    `args`: every argument that the program passed, by parameter, defaults included; neither what a config of the
    autotuner sets nor what heuristics compute. `constexprs`: the parameters that are constants to the compiler.
    `parameters`: all of the kernel's, in order. `config`: meta-parameters and launch options (num_warps, num_stages,
    num_ctas, maxnreg) that it ran with: of the autotuner's choice or, without one, the constexprs that are whole
    numbers and the options. `options`: launch options that the program itself passed. `grid`: as launched. `grids`: the
    grid for other configs, as the program's function gave it, each with the values that it was asked for.
    `float_atomics`: parameters to which the kernel adds floating-point numbers atomically; `spreads`: how far apart
    equal launches left each, relative to its norm. `in_place_ms`: its latency, the median over some launches right
    after it was captured, each with L2 flushed. `number`: counts the program's launches of Triton kernels from 1.
    """

    name: str
    sources: Sources
    origin: Origin
    parameters: tuple[str, ...]
    constexprs: tuple[str, ...]
    args: Mapping[str, Argument]
    config: Mapping[str, Any]
    options: Mapping[str, Any]
    grid: tuple[int, ...]
    tensors: tuple[KeptTensor, ...]
    storages: tuple[KeptStorage, ...]
    grids: tuple[tuple[Mapping[str, Any], tuple[int, ...]], ...] = ()
    autotune: Autotune | None = None
    float_atomics: tuple[str, ...] = ()
    spreads: Mapping[str, float] = field(default_factory=dict)
    in_place_ms: float | None = None
    number: int = 1
    versions: Mapping[str, str] = field(default_factory=dict)
    device: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """A kernel that a program launched with the same shapes: how often, how long, and whether a launch of it is kept.

    `total_ms`: GPU time of all its launches; None if it was not timed. `why_not`: why none is kept, or fewer than were
    asked for, in one line.
    """

    name: str
    source: str
    shapes: str
    count: int
    total_ms: float | None
    first_number: int
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Captured:
    """What a file has: launches that are kept, all kernels that were seen, the command, and when it ran."""

    launches: tuple[CapturedLaunch, ...]
    seen: tuple[Seen, ...]
    command: str = ""
    date: str = ""
