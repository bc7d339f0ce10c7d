"""What a launch executes, as values: loops of its source with their trips, and instructions by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

InstructionClass = Literal[
    "tensor", "special", "fp32", "fp16", "fp64", "integer", "conversion", "move",
    "shared", "global", "local", "control", "barrier",
]  # fmt: skip
CLASSES: tuple[InstructionClass, ...] = get_args(InstructionClass)
Dot = tuple[int, int, int, str]
"""M, N, K and the operands' dtype of a product: bfloat16, float16, tf32, float8, int8, float32 or float64."""


@dataclass(frozen=True, slots=True)
class SourceLoop:
    """A loop of the kernel, as Triton's IR has it; loops are listed in the IR's order, outer ones first.

    `file` and `line`: where its `for` stands. `depth`: how many loops are around it. `parent`: the next of them, by its
    place in the list. `mean_trips`: rounds per program, over all the times that a program comes to it, on the launch's
    average. `entries`: how many times a program comes to it, on the same average; None: once, or once in each round of
    the parent. `spread`: if programs differ, (trips each time, share of the times); empty: all alike. `dots`: the
    products of one round, without those of loops inside.
    """

    line: int
    file: str
    depth: int
    mean_trips: float
    parent: int | None = None
    dots: tuple[Dot, ...] = ()
    entries: float | None = None
    spread: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Executed:
    """What all warps of a launch execute, expected from the machine code and the trips of its loops.

    Instructions are counted once per warp, whether or not a predicate lets them do anything. `tensor_flops`: by dtype,
    each multiplication and addition one. `exponentials` and `special_functions` (exponentials among them) are results
    of single threads. Bytes are of all 32 threads: `shared_copy_bytes` are written to shared memory by asynchronous
    copies of threads (LDGSTS), `shared_operand_bytes` are what wgmma instructions read there themselves, once per
    warpgroup; those of the tensor memory accelerator are not among them. `local_bytes`: loads and stores of spilled
    registers; `local_store_bytes`: the stores among them. `l1_wavefronts`: cycles of the L1 data pipes of all SMs, an
    estimate. `assumed`: what had to be guessed, in words.
    """

    warp_instructions: float
    by_class: tuple[tuple[InstructionClass, float], ...]
    tensor_flops: tuple[tuple[str, float], ...]
    exponentials: float
    special_functions: float
    shared_load_bytes: float
    shared_store_bytes: float
    shared_copy_bytes: float
    shared_operand_bytes: float
    local_bytes: float
    l1_wavefronts: float
    assumed: tuple[str, ...] = ()
    local_store_bytes: float = 0.0

    def of_class(self, name: InstructionClass) -> float:
        """Warp instructions of a class."""
        return dict(self.by_class).get(name, 0.0)

    @property
    def flops(self) -> float:
        """Tensor operations of all dtypes."""
        return sum(flops for _, flops in self.tensor_flops)
