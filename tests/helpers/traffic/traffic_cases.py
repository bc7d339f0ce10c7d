"""Launches of `traffic_kernels`, their TTIR, and what Triton's interpreter says they touch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ssdprof.kernels.launch import DescriptorRef, LaunchPlan, TensorMeta, TensorRef
from ssdprof.profiling.traffic.access import Access
from ssdprof.profiling.traffic.arguments import addresses, arguments, owner
from ssdprof.profiling.traffic.contents import Contents
from ssdprof.profiling.traffic.evaluate import Evaluator
from ssdprof.profiling.traffic.sectors import touched
from ssdprof.profiling.traffic.ttir import Program

Touch = tuple[int, str, int, bool]
"""Program, tensor, sector counted from the tensor's first, and whether it is written."""


@dataclass(frozen=True)
class Case:
    """One launch of a kernel; `contents`: integers that tensors hold, of those that addresses depend on."""

    kernel: str
    grid: tuple[int, ...]
    tensors: Mapping[str, TensorMeta]
    args: Mapping[str, Any]
    contents: Mapping[str, Any] = field(default_factory=dict)
    descriptor: DescriptorRef | None = None

    @property
    def plan(self) -> LaunchPlan:
        """The launch; parameters that end in `_ptr` and `_desc` are tensors."""
        pointers = {f"{name}_ptr": TensorRef(name, meta.dtype) for name, meta in self.tensors.items()}
        if self.descriptor is not None:
            del pointers[f"{self.descriptor.name}_ptr"]
            pointers[f"{self.descriptor.name}_desc"] = self.descriptor
        return LaunchPlan("traffic_kernels", self.kernel, self.grid, {**pointers, **self.args}, {"num_warps": 1})


def floats(**sizes: int) -> dict[str, TensorMeta]:
    """One-dimensional float32 tensors; a last one whose name begins with o is written."""
    return {
        name: TensorMeta((size,), "float32", "out" if name in ("o", "c", "bins") else "in")
        for name, size in sizes.items()
    }


_INTS = TensorMeta((64,), "int32")
_STARTS = np.array([0, 9, 9, 30, 41, 42, 64], np.int32)
_ROWS = (np.arange(64, dtype=np.int32) * 13 + 5) % 32 - 3
CASES = {
    one.kernel: one
    for one in (
        Case(
            "matmul", (12,), floats(a=90 * 56, b=56 * 50, c=90 * 50),
            {"M": 90, "N": 50, "K": 56, "stride_am": 56, "BLOCK_M": 32, "BLOCK_N": 16, "BLOCK_K": 16, "GROUP": 2},
        ),
        Case("softmax", (9,), floats(x=9 * 77, o=9 * 77), {"n": 77, "BLOCK": 32}),
        Case(
            "causal", (5, 6), floats(q=6 * 75 * 16, k=6 * 75 * 16, o=6 * 75 * 16),
            {"heads": 3, "n": 75, "D": 16, "BLOCK": 16},
        ),
        Case("wrapping", (9,), floats(x=600, o=400), {"n": 40, "BLOCK": 32}),
        Case("early", (9,), floats(x=200, o=200), {"n": 200, "BLOCK": 32}),
        Case("halving", (6,), floats(x=100, o=600), {"n": 100, "BLOCK": 8}),
        Case("calling", (7,), floats(x=1100, o=300), {"n": 33, "BLOCK": 32}),
        Case("blocks", (4,), floats(x=60 * 44, o=60 * 44), {"M": 60, "N": 44, "BLOCK_M": 16, "BLOCK_N": 16}),
        Case(
            "described", (4,), floats(x=60 * 48, o=60 * 48), {"M": 60, "N": 48, "BLOCK_M": 16, "BLOCK_N": 16},
            descriptor=DescriptorRef("x", "float32", (60, 48), (48, 1), (16, 16)),
        ),
        Case(
            "counting", (5,), {**floats(x=150, bins=64), "seen": TensorMeta((80,), "int32", "in-out")},
            {"n": 150, "BLOCK": 32},
        ),
        Case("shaped", (3,), floats(x=2048, o=4096), {"n": 333, "BLOCK": 64}),
        Case("negative", (5,), floats(x=4096, o=4096), {"n": 300, "BLOCK": 64}),
        Case(
            "gathered", (6,), {**floats(x=32 * 64, o=6 * 64), "index": _INTS, "start": TensorMeta((7,), "int32")},
            {"BLOCK": 64}, {"index": _ROWS, "start": _STARTS},
        ),
        Case("persistent", (4,), floats(x=21 * 32, o=21 * 32), {"tiles": 21, "n": 3, "BLOCK": 32}),
        Case(
            "three_axes", (2, 3, 2), floats(x=24 * 16, o=24 * 16),
            {"sizes": (1, 2, 6), "scale": 0.5, "flag": 1, "BLOCK": 16},
        ),
        Case("unfollowed", (2,), {**floats(x=64, o=256), "index": _INTS}, {"n": 64, "BLOCK": 32}),
    )
}  # fmt: skip


class _StoppedError(Exception):
    """Carries the TTIR out of a compilation, which need not go on."""


def ttir_of(kernel: str) -> str:
    """The TTIR of a case's kernel. For a worker process: it sets Triton's target."""
    from triton.backends.nvidia.compiler import CUDABackend

    from ssdprof.profiling.binary.compiler import compiled_kernel

    def stop(module: Any, *_: Any) -> None:
        raise _StoppedError(str(module))

    before = CUDABackend.make_ttgir
    CUDABackend.make_ttgir = staticmethod(stop)
    try:
        compiled_kernel(CASES[kernel].plan, "sm_90")
    except _StoppedError as stopped:
        return str(stopped)
    finally:
        CUDABackend.make_ttgir = before
    raise AssertionError("compiled to the end")


def touched_as_modelled(kernel: str, ttir: str) -> tuple[Counter[Touch], set[str]]:
    """What the evaluator says of the same, and why something is not known."""
    case, program = CASES[kernel], Program(ttir)
    places = addresses(case.tensors)
    name_of = owner(case.tensors, places)
    found: Counter[Touch] = Counter()
    reasons: set[str] = set()

    def on_access(access: Access) -> None:
        if access.reason:
            reasons.add(f"{access.operation.name}: {access.reason}")
        for one in touched(access, case.plan.grid_blocks):
            for number, first in zip(one.programs.tolist(), one.first.tolist(), strict=True):
                for sector in (first + one.sectors).tolist():
                    name = name_of(sector * 32)
                    found[number, name, sector - places.get(name, 0) // 32, access.kind != "load"] += 1

    names = [name.lstrip("%") for name, _ in program.kernel.arguments]
    memory = Contents(case.contents, places).at
    given = arguments(case.plan, places, names)
    Evaluator(program, given, case.grid, on_access=on_access, memory=memory).run(np.arange(case.plan.grid_blocks))
    return found, reasons


def ttirs(has_block_pointers: bool) -> dict[str, str]:
    """The TTIR of every case, by kernel. For a worker process."""
    return {kernel: ttir_of(kernel) for kernel in CASES if has_block_pointers or kernel != "blocks"}


def touched_in_interpreter(kernel: str) -> Counter[Touch]:
    """How often each program's operations touch each sector. For a worker process that interprets kernels."""
    import torch
    from triton.runtime.interpreter import InterpreterBuilder, interpreter_builder

    case = CASES[kernel]
    given = {name: torch.from_numpy(array) for name, array in case.contents.items()}
    tensors = {
        name: given[name] if name in given else torch.zeros(meta.shape, dtype=getattr(torch, meta.dtype))
        for name, meta in case.tensors.items()
    }
    found: Counter[Touch] = Counter()

    def note(pointers: Any, mask: Any, *, writes: bool) -> None:
        x, y, z = interpreter_builder.grid_idx
        program = x + case.grid[0] * (y + (case.grid[1] if len(case.grid) > 1 else 1) * z)
        addresses = np.broadcast_to(pointers.data, mask.shape)[mask].astype(np.int64)
        for name, tensor in tensors.items():
            offsets = addresses - tensor.data_ptr()
            inside = (offsets >= 0) & (offsets < max(1, tensor.numel()) * tensor.element_size())
            for sector in np.unique(offsets[inside] // 32).tolist():
                found[program, name, sector, writes] += 1

    def wrapped(name: str, place: int | None, *, writes: bool) -> Any:
        original = getattr(InterpreterBuilder, name)

        def call(self: Any, pointers: Any, *rest: Any, **more: Any) -> Any:
            mask = np.ones(pointers.data.shape, bool) if place is None else np.asarray(rest[place].data, bool)
            note(pointers, mask, writes=writes)
            return original(self, pointers, *rest, **more)

        return call

    wrappers = {
        "create_masked_load": wrapped("create_masked_load", 0, writes=False),
        "create_masked_store": wrapped("create_masked_store", 1, writes=True),
        "create_atomic_cas": wrapped("create_atomic_cas", None, writes=True),
    }
    atomic = InterpreterBuilder.create_atomic_rmw

    def create_atomic_rmw(self: Any, operation: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        note(pointers, np.asarray(mask.data, bool), writes=True)
        return atomic(self, operation, pointers, value, mask, *rest)

    wrappers["create_atomic_rmw"] = create_atomic_rmw
    originals = {name: getattr(InterpreterBuilder, name) for name in wrappers}
    try:
        for name, wrapper in wrappers.items():
            setattr(InterpreterBuilder, name, wrapper)
        case.plan.bind(tensors)()
    finally:
        for name, original in originals.items():
            setattr(InterpreterBuilder, name, original)
    return found
