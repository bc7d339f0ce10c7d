"""What each operation of a compiled kernel has of a block's shared memory, as Triton's own allocation pass gives it.

The pass runs again on the GPU IR that the compiler kept, and writes each operation's offset. Where it writes no size,
it is asked about the operation alone, in a module with nothing else: what that module needs is the operation's size,
padding included.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling.binary.compiler import compiled_kernel
from ssdprof.profiling.binary.ttgir import Module, Op, encoding_rank, without_locations
from ssdprof.profiling.runs.ledger import Held, HeldKind, Ledger, ledger

_SHARED = "ttg.shared"
_BUFFER = "ttg.local_alloc"
_CALL = "tt.call"
_ATTRIBUTES = ("ttg.num-ctas", "ttg.num-warps", "ttg.target", "ttg.threads-per-warp")
_ATTRIBUTE = re.compile(r'"?([\w.-]+)"? = ("[^"]*"|[^,}]+)')
_VALUE = re.compile(r"%[\w.$-]+(?:#\d+)?")
_NOTED = re.compile(r"allocation\.\w+ = \d+ : i32(?:, )?")


def launch_ledger(plan: LaunchPlan, arch: str) -> Ledger:
    """The ledger of a launch, compiled for `arch` or found in Triton's cache. Raises what `compile_launch` raises."""
    kernel, _ = compiled_kernel(plan, arch)
    return kernel_ledger(kernel.asm["ttgir"], kernel.metadata, plan.callee().fn.__code__.co_filename)


def kernel_ledger(ttgir: str, metadata: Any, file: str = "") -> Ledger:
    """The ledger of a kernel of which Triton kept this IR and these `metadata`.

    `file`: where its source is now; Triton's cache has the path of the file with the same text that was compiled first.
    """
    if not metadata.shared:
        return Ledger((), 0)
    allocator = _Allocator(metadata)
    module, allocated_bytes = allocator.allocated(ttgir)
    ops = list(module.ops())
    sizes = {id(op): op.size_bytes or allocator.alone(module, op) for op in ops if op.name != _CALL}
    called = _sizes_of_functions(ops, sizes)
    sizes |= {id(op): called.get(_callee(op), 0) for op in ops if op.name == _CALL}
    barriers = module.barriers()
    held = [_held(module, op, sizes[id(op)], barriers) for op in ops if op.function == module.public]
    if file:
        held = [replace(row, file=file) if row.file and row.file == module.file else row for row in held]
    return ledger(held, allocated_bytes, metadata.shared)


def _held(module: Module, op: Op, size_bytes: int, barriers: Iterable[str]) -> Held:
    taken, given = op.types
    is_buffer = op.name == _BUFFER
    shaped = module.shaped(next(iter(given if is_buffer else taken), ""))
    shape, copies = shaped.shape if shaped else (), 1
    if is_buffer and shaped and len(shape) == encoding_rank(shaped.layout) + 1:
        copies, shape = shape[0], shape[1:]
    kind: HeldKind = "scratch"
    if is_buffer:
        kind = "barrier" if op.result in barriers else "buffer"
    name, file, line = module.source(op.location)
    if op.name == _CALL:
        kind, name, shape, shaped = "call", _callee(op), (), None
    dtype = shaped.dtype if shaped else ""
    short_name = op.name.rpartition(".")[2]
    return Held(kind, op.offset_bytes, size_bytes, name, short_name, shape, dtype, copies, file, line)


def _callee(op: Op) -> str:
    found = re.search(r"@([\w.$-]+)", op.text)
    return found[1] if found else ""


def _sizes_of_functions(ops: list[Op], sizes: dict[int, int]) -> dict[str, int]:
    """What each function has, calls included: where its last byte ends."""
    ends: dict[str, int] = {}
    for _ in range(len({op.function for op in ops})):  # functions do not call themselves: this deep at most
        ends = {
            name: max(
                op.offset_bytes + (ends.get(_callee(op), 0) if op.name == _CALL else sizes[id(op)])
                for op in ops
                if op.function == name
            )
            for name in {op.function for op in ops}
        }
    return ends


def _lower(manager: Any) -> None:
    """Adds the passes that go before the allocation."""
    from triton._C.libtriton import passes

    passes.ttgpuir.add_combine_tensor_select_and_if(manager)
    try:
        passes.ttgpuir.add_allocate_warp_groups(manager, False)
    except TypeError:  # an earlier Triton, without a sanitizer to tell of
        passes.ttgpuir.add_allocate_warp_groups(manager)
    passes.convert.add_scf_to_cf(manager)
    passes.gluon.add_inliner(manager)


class _Allocator:
    """Triton's passes up to the allocation of shared memory, for the target of one kernel."""

    def __init__(self, metadata: Any) -> None:
        from triton._C.libtriton import ir, nvidia
        from triton.backends.nvidia.compiler import get_ptx_version_from_options

        self._arch = metadata.target.arch
        self._ptx_version = get_ptx_version_from_options(metadata, self._arch)
        self._context = ir.context()
        ir.load_dialects(self._context)
        nvidia.load_dialects(self._context)
        self._known: dict[str, int] = {}

    def allocated(self, ttgir: str, *, is_lowered: bool = False) -> tuple[Module, int]:
        """The module with every offset, and how many bytes they need. `is_lowered`: only the last pass is due."""
        from triton._C.libtriton import ir, nvidia

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "kernel.ttgir")
            file.write_text(ttgir)
            module = ir.parse_mlir_module(str(file), self._context)
        manager = ir.pass_manager(self._context)
        if not is_lowered:  # these would also drop an operation whose result nothing uses
            _lower(manager)
        nvidia.passes.ttgpuir.add_allocate_shared_memory_nv(manager, self._arch, self._ptx_version)
        manager.run(module, "allocate_shared_memory")
        return Module(module.str()), module.get_int_attr(_SHARED) or 0

    def alone(self, module: Module, op: Op) -> int:
        """The bytes of an operation in a module of its own; 0 if it cannot be taken out of its own."""
        taken, given = op.types
        if len(taken) != len(op.operands):
            return 0
        text = _NOTED.sub("", without_locations(op.text))
        names = {operand: f"%argument_{i}" for i, operand in enumerate(op.operands)}
        body = _VALUE.sub(lambda found: names.get(found[0], found[0]), text)
        body = body.replace(op.result, "%result", 1) if op.result else body
        if op.result and given and not any(one.startswith("!ttg.memdesc") for one in given):
            results = ["%result"] if len(given) == 1 else [f"%result#{i}" for i in range(len(given))]
            body += f"\ntt.return {', '.join(results)} : {', '.join(given)}"  # nothing is kept for an unused result
        else:
            body += "\ntt.return"
        if body not in self._known:
            gives = f" -> ({', '.join(given)})" if not body.endswith("tt.return") else ""
            self._known[body] = self._asked(module, body, zip(names.values(), taken, strict=True), gives)
        return self._known[body]

    def _asked(self, module: Module, body: str, arguments: Iterable[tuple[str, str]], gives: str) -> int:
        header = next(line for line in module.lines if line.startswith("module attributes"))
        attributes = ", ".join(
            f'"{name}" = {value}' for name, value in _ATTRIBUTE.findall(header) if name in _ATTRIBUTES
        )
        layouts = [f"{name} = {meaning}" for name, meaning in module.layouts.items()]
        takes = ", ".join(f"{name}: {one}" for name, one in arguments)
        function = [f"tt.func public @alone({takes}){gives} {{", body, "}"]
        text = "\n".join([*layouts, f"module attributes {{{attributes}}} {{", *function, "}"])
        try:
            return self.allocated(text, is_lowered=True)[1]
        except RuntimeError:  # it needs what is around it
            return 0
