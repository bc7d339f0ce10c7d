"""What a launch moves and executes, from its binary in Triton's cache; run in a process that compiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ssdprof.kernels.interface import Peekable
from ssdprof.kernels.launch import LaunchPlan, TensorMeta
from ssdprof.profiling.binary.compiler import compiled_kernel, resources_of
from ssdprof.profiling.binary.sass.classes import LANES
from ssdprof.profiling.binary.sass.executed import executed
from ssdprof.profiling.binary.sass.source import Source, source_of
from ssdprof.profiling.binary.sass.text import Code, DisassemblyError
from ssdprof.profiling.binary.sass.together import disassembled_together
from ssdprof.profiling.hardware.ceilings import Size
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.occupancy import occupancy
from ssdprof.profiling.runs.measured import Compiled
from ssdprof.profiling.runs.modelled import Model
from ssdprof.profiling.runs.traffic import Traffic
from ssdprof.profiling.runs.work import Executed
from ssdprof.profiling.traffic.caches import Machine, Spilled
from ssdprof.profiling.traffic.evaluate import TooLongError
from ssdprof.profiling.traffic.model import Follower

L1_AND_SHARED_BYTES: Mapping[str, int] = {
    "sm_75": 96 * 1024, "sm_80": 192 * 1024, "sm_86": 128 * 1024, "sm_87": 192 * 1024, "sm_89": 128 * 1024,
    "sm_90": 256 * 1024, "sm_100": 256 * 1024, "sm_103": 256 * 1024, "sm_120": 128 * 1024, "sm_121": 128 * 1024,
}  # fmt: skip
"""L1 and shared memory of an SM together (CUDA C++ Programming Guide, compute capabilities)."""


def launch_model(
    plan: LaunchPlan, tensors: Mapping[str, TensorMeta], arch: str, size: Size, peeked: Peekable | None = None
) -> Model:
    """The model of a launch on a GPU of that size. What cannot be followed is left out.

    `peeked`: the subject, if it knows what its tensors hold.
    """
    [model] = launch_models([plan], tensors, arch, size, peeked)
    return model


def launch_models(
    plans: Sequence[LaunchPlan],
    tensors: Mapping[str, TensorMeta],
    arch: str,
    size: Size,
    peeked: Peekable | None = None,
) -> list[Model]:
    """The models of launches on the same tensors.

    Launches that differ only in options, such as warps and stages, are followed once if they stand beside each other.
    """
    contents = peeked.contents() if peeked else None
    compiled = [(plan, *compiled_kernel(plan, arch)) for plan in plans]
    codes = disassembled_together([(kernel.asm["cubin"], kernel.metadata.name) for _, kernel, _ in compiled])
    models = []
    key: tuple[Any, ...] = ()
    for (plan, kernel, compile_s), code in zip(compiled, codes, strict=True):
        ttir: str = kernel.asm["ttir"]
        now = ttir, plan.grid, repr(plan.args)
        if now != key:
            key, followed = now, _Followed(Follower(plan, tensors, ttir, contents), ttir)
        launch = _Launch(kernel, resources_of(kernel, compile_s, plan), plan.grid_blocks)
        models.append(_model(launch, followed, code, arch, size))
    return models


class _Followed:
    """Launches with one TTIR: their follower, and their source with the trips of its loops, found when first asked."""

    def __init__(self, follower: Follower, ttir: str) -> None:
        self.follower = follower
        self._source, self._has_trips = source_of(ttir), False

    def source(self) -> Source:
        """The source with the mean trips of a sample of programs. Raises TooLongError."""
        if not self._has_trips:
            found = self.follower.trips()
            if len(found) == len(self._source.loops):
                loops = (
                    replace(loop, mean_trips=one.mean_trips, entries=one.entries, spread=one.spread)
                    for loop, one in zip(self._source.loops, found, strict=True)
                )
                self._source = self._source.with_trips(tuple(loops))
            self._has_trips = True
        return self._source


@dataclass(frozen=True, slots=True)
class _Launch:
    """A compiled kernel, as Triton has it and as we do, and the programs of its grid."""

    kernel: Any
    compiled: Compiled
    programs: int


def _model(launch: _Launch, followed: _Followed, code: Code | DisassemblyError, arch: str, size: Size) -> Model:
    compiled, metadata = launch.compiled, launch.kernel.metadata
    occ = occupancy(compiled.launch, limits_for(arch), num_sms=size.num_sms)
    l1_bytes = max(0, L1_AND_SHARED_BYTES.get(arch, 128 * 1024) - occ.shared_mem_config_bytes)
    absent = []
    traffic: Traffic | None = None
    work: Executed | None = None
    try:
        if isinstance(code, DisassemblyError):
            raise code
        work = executed(code, followed.source(), metadata.num_warps * metadata.num_ctas, launch.programs)
    except (TooLongError, ValueError, DisassemblyError) as error:
        absent.append(f"its machine code is not understood: {error}")
    spilled: Spilled | None = None
    if work is not None and compiled.spill_bytes:
        held_bytes = compiled.spill_bytes * compiled.num_warps * LANES * occ.blocks_per_sm
        stored_bytes = work.local_store_bytes
        spilled = Spilled(stored_bytes, work.local_bytes - stored_bytes, held_bytes)
    machine = Machine(size.num_sms, occ.blocks_per_sm, size.l2_bytes, l1_bytes)
    try:
        traffic = followed.follower.traffic(machine, launch.kernel.asm["ptx"], spilled)
    except TooLongError:
        absent.append("its programs do too much to be followed")
    return Model(size.gpu, traffic, work, "; ".join(absent))
