"""Runs a kernel's TTIR for many programs at once, as far as its addresses, masks and loops need it.

Nothing is loaded unless an address depends on it; floating-point work is left out. A program that does not take part in
a loop's iteration or in a branch is masked out, as on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ssdprof.profiling.traffic.access import ADDRESSED, Access, Descriptor, access_of, descriptor_of
from ssdprof.profiling.traffic.needed import needed
from ssdprof.profiling.traffic.operations import computed
from ssdprof.profiling.traffic.ttir import Block, Function, Operation, Program
from ssdprof.profiling.traffic.values import Array, Mask, Sum, Unknown, Value, mask_of, number, select

WORK = frozenset(
    ("tt.dot", "tt.dot_scaled", "math.exp", "math.exp2", "math.log", "math.log2", "math.sin", "math.cos", "math.erf",
     "math.tanh", "math.rsqrt", "math.sqrt", "arith.divf", "tt.extern_elementwise")
)  # fmt: skip
"""The operations whose amount of work is counted: products, and what special-function units do."""


class TooLongError(Exception):
    """The programs do more than there is time to follow."""


class Evaluator:
    """A kernel's program with its arguments, run for the programs that `run` is given.

    `arguments`: numbers and descriptors by the name of the kernel's parameter. `memory` gives what an array of
    addresses holds, or None. `on_access`, `on_loop` and `on_work` hear of each execution.
    """

    def __init__(
        self,
        program: Program,
        arguments: Mapping[str, Any],
        grid: Sequence[int],
        *,
        on_access: Callable[[Access], None],
        on_loop: Callable[[Operation, Array, Mask], None] | None = None,
        on_work: Callable[[Operation, Mask], None] | None = None,
        memory: Callable[[Array, Array, int], Array | None] | None = None,
        max_operations: int = 2_000_000,
    ) -> None:
        self.program, self.arguments, self.grid = program, arguments, (*grid, 1, 1)[:3]
        self.on_access, self.on_loop, self.on_work, self.memory = on_access, on_loop, on_work, memory
        self.left = max_operations
        self.needed = needed(program)
        self.active = Mask(())
        self.ids: tuple[Array, ...] = ()

    def run(self, programs: Array) -> None:
        """All programs with these numbers, in the order of the grid: x first."""
        x, y, _ = self.grid
        self.ids = programs % x, programs // x % y, programs // (x * y)
        self.active = Mask(())
        function = self.program.kernel
        given = {name: self._argument(name) for name, _ in function.arguments}
        self._blocks(function.blocks, given, {})

    def _argument(self, name: str) -> Any:
        value = self.arguments.get(name.lstrip("%"))
        if isinstance(value, Descriptor):
            return value
        if value is None:
            return Unknown(f"argument {name}")
        return Mask((np.full((1,), value),)) if isinstance(value, bool) else number(value)

    def _blocks(self, blocks: list[Block], values: dict[str, Any], outer: Mapping[str, Any]) -> list[Value]:
        """The blocks of a region in order, each by the programs that branch to it; what the last one gives."""
        values = {**outer, **values}
        if len(blocks) == 1:
            return self._block(blocks[0], values)
        entered = {blocks[0].name: self.active}
        before = self.active
        given: list[Value] = []
        for i, block in enumerate(blocks):
            self.active = entered.get(block.name, Mask((np.zeros((1,), bool),))) if i else before
            if self._nobody():
                continue
            last = self._block(block, values, entered, {one.name: one.arguments for one in blocks})
            if given and last:
                last = [select(self.active, new, old) for new, old in zip(last, given, strict=True)]
            given = last or given
        self.active = before
        return given

    def _nobody(self) -> bool:
        return any(not factor.any() for factor in self.active.factors) or not self.active.dense().any()

    def _block(
        self,
        block: Block,
        values: dict[str, Any],
        entered: dict[str, Mask] | None = None,
        arguments: Mapping[str, list[str]] | None = None,
    ) -> list[Value]:
        for operation in block.operations:
            name = operation.name
            if name in ADDRESSED:
                self._access(operation, values)
            elif name == "scf.for":
                self._for(operation, values)
            elif name == "scf.if":
                self._if(operation, values)
            elif name == "scf.while":
                self._while(operation, values)
            elif name == "tt.call":
                self._call(operation, values)
            elif name in ("scf.yield", "tt.return", "scf.condition"):
                return [values.get(one, Unknown("not followed")) for one in operation.operands]
            elif name in ("cf.br", "cf.cond_br") and entered is not None and arguments is not None:
                self._branch(operation, values, entered, arguments)
            elif name in WORK and self.on_work is not None and operation.results[0] not in self.needed:
                self.on_work(operation, self.active)
            elif any(result in self.needed for result in operation.results):
                self._spend(1)
                values.update(zip(operation.results, self._computed(operation, values), strict=False))
        return []

    def _spend(self, operations_done: int) -> None:
        self.left -= operations_done
        if self.left < 0:
            raise TooLongError

    def _computed(self, operation: Operation, values: Mapping[str, Any]) -> list[Any]:
        name = operation.name
        if name in ("tt.get_program_id", "tt.get_num_programs"):
            axis = "xyz".index(operation.attributes.strip()[0])
            return [Sum((self.ids[axis],)) if name == "tt.get_program_id" else number(int(self.grid[axis]))]
        given = [values.get(one, Unknown(f"{name} of {one}")) for one in operation.operands]
        if name == "tt.make_tensor_descriptor":
            return [descriptor_of(operation, given)]
        for one in given:
            if isinstance(one, Unknown):
                return [one] * len(operation.results)
        try:
            return computed(operation, given)
        except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError):
            # another Triton's form of it, or an operand that is no number, such as a descriptor
            return [Unknown(f"{name}, which is not followed")] * len(operation.results)

    def _branch(
        self, operation: Operation, values: dict[str, Any], entered: dict[str, Mask], arguments: Mapping[str, list[str]]
    ) -> None:
        taken: list[Mask]
        if operation.name == "cf.br":
            taken = [self.active]
        else:
            condition = values.get(operation.operands[0])
            if not isinstance(condition, Mask):
                self._guess(operation, condition.reason if isinstance(condition, Unknown) else "its condition")
                taken = [self.active, self.active]
            else:
                holds = condition.dense()
                taken = [mask_of(*self.active.factors, holds), mask_of(*self.active.factors, ~holds)]
        for (name, given), mask in zip(operation.successors, taken, strict=True):
            for parameter, one in zip(arguments.get(name, []), given, strict=False):
                new = values.get(one, Unknown("not followed"))
                values[parameter] = select(mask, new, values[parameter]) if parameter in values else new
            if name in entered:
                either = entered[name].dense() | mask.dense()
                entered[name] = mask_of(either)
            else:
                entered[name] = mask

    def _call(self, operation: Operation, values: dict[str, Any]) -> None:
        function: Function | None = self.program.functions.get(operation.callee)
        given = [values.get(one, Unknown("not followed")) for one in operation.operands]
        found: list[Value] = []
        if function is not None:
            inside = {name: value for (name, _), value in zip(function.arguments, given, strict=True)}
            found = self._blocks(function.blocks, inside, {})
        for i, result in enumerate(operation.results):
            values[result] = found[i] if i < len(found) else Unknown(f"a call of {operation.callee}")

    def _for(self, operation: Operation, values: dict[str, Any]) -> None:
        low, high, step = (values.get(one) for one in operation.operands[:3])
        names = [name for name, _ in operation.pairs]
        carried: list[Any] = [values.get(one, Unknown("not followed")) for _, one in operation.pairs]
        bounds = [one.uniform for one in (low, high, step) if isinstance(one, Sum)]
        if len(bounds) < 3 or any(one is None for one in bounds):
            reason = next((one.reason for one in (low, high, step) if isinstance(one, Unknown)), "its bounds")
            trips, first, stride = np.ones((1,), np.int64), np.zeros((1,), np.int64), np.ones((1,), np.int64)
            self._guess(operation, reason)
        else:
            first, end, stride = (one.astype(np.int64) for one in bounds if one is not None)
            trips = np.maximum(0, -((first - end) // stride))
        before = self.active
        if self.on_loop:
            self.on_loop(operation, trips, before)
        everyone = trips if not before.factors else np.where(before.dense(), trips, 0)
        block = operation.regions[0][0]
        for i in range(int(everyone.max(initial=0))):
            inside = trips > i
            self.active = mask_of(*before.factors, inside)
            values[operation.callee] = Sum((first + i * stride,))
            values.update(zip(names, carried, strict=True))
            given = self._block(block, values)
            kept = Mask(() if inside.all() else (inside,))
            carried = [select(kept, new, old) for new, old in zip(given, carried, strict=True)] if names else []
        self.active = before
        values.update(zip(operation.results, carried, strict=False))

    def _guess(self, operation: Operation, reason: str) -> None:
        self.on_access(Access(operation, "flow", None, self.active, (), 0, reason=reason))

    def _if(self, operation: Operation, values: dict[str, Any]) -> None:
        condition = values.get(operation.operands[0])
        before = self.active
        holds = condition.dense() if isinstance(condition, Mask) else np.ones((1,), bool)
        if not isinstance(condition, Mask):
            reason = condition.reason if isinstance(condition, Unknown) else "its condition"
            self._guess(operation, reason)
        found: list[list[Value]] = []
        for i, region in enumerate(operation.regions):
            self.active = mask_of(*before.factors, holds if i == 0 else ~holds)
            found.append([] if self._nobody() else self._blocks(region, {}, values))
        self.active = before
        for i, result in enumerate(operation.results):
            sides = [one[i] for one in found if i < len(one)]
            values[result] = select(Mask((holds,)), *sides) if len(sides) == 2 else sides[0] if sides else Unknown("if")

    def _while(self, operation: Operation, values: dict[str, Any]) -> None:
        before, [conditions, body] = self.active, operation.regions
        carried: list[Any] = [values.get(one, Unknown("not followed")) for _, one in operation.pairs]
        names = [name for name, _ in operation.pairs]
        passed: list[Any] = []
        running = np.ones((1,), bool)
        trips = np.zeros((1,), np.int64)
        while True:
            self._spend(10)
            values.update(zip(names, carried, strict=True))
            holds, *now = self._blocks(conditions, {}, values) or [Unknown("while")]
            passed = [select(Mask((running,)), new, old) for new, old in zip(now, passed or now, strict=True)]
            if not isinstance(holds, Mask):
                self._guess(operation, holds.reason if isinstance(holds, Unknown) else "its condition")
                break
            running = running & holds.dense()
            self.active = mask_of(*before.factors, running)
            if self._nobody():
                break
            trips = trips + running
            arguments = dict(zip(body[0].arguments, passed, strict=True))
            given = self._blocks(body, arguments, values)
            carried = [select(Mask((running,)), new, old) for new, old in zip(given, carried, strict=True)]
        self.active = before
        if self.on_loop:
            self.on_loop(operation, trips, before)
        values.update(zip(operation.results, passed, strict=False))

    def _access(self, operation: Operation, values: dict[str, Any]) -> None:
        self._spend(5)
        access = access_of(operation, values, self.active)
        self.on_access(access)
        for result in operation.results:
            if result in self.needed:
                values[result] = self._loaded(operation, access, values)

    def _loaded(self, operation: Operation, access: Access, values: Mapping[str, Any]) -> Value:
        unknown = Unknown(f"data that {operation.operands[0].lstrip('%')} points to")
        if self.memory is None or access.address is None or access.kind != "load" or access.bulk or access.reason:
            return unknown
        mask, addresses = access.mask.dense(), access.address.dense()
        mask = mask.reshape(mask.shape + (1,) * (addresses.ndim - mask.ndim))
        addresses, mask = np.broadcast_arrays(addresses, mask)
        found = self.memory(addresses, mask, access.item_bytes)
        if found is None:
            return unknown
        loaded = mask_of(found != 0) if "ptr<i1>" in operation.types else Sum((found,))
        others = [values.get(one) for one in operation.operands[2:3]]
        return select(Mask((mask,)), loaded, others[0]) if others and others[0] is not None else loaded
