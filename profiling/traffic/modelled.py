"""What a launch moves and executes, from its binary in Triton's cache; run in a process that compiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ssdprof.kernels.interface import Peekable
from ssdprof.kernels.launch import LaunchPlan, TensorMeta
from ssdprof.profiling.binary.compiler import compile_launch, compiled_kernel
from ssdprof.profiling.binary.sass.classes import LANES
from ssdprof.profiling.binary.sass.executed import kernel_executed
from ssdprof.profiling.binary.sass.source import source_of
from ssdprof.profiling.hardware.ceilings import Size
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.occupancy import occupancy
from ssdprof.profiling.runs.modelled import Model
from ssdprof.profiling.runs.traffic import Traffic
from ssdprof.profiling.runs.work import Executed, SourceLoop
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
    kernel, _ = compiled_kernel(plan, arch)
    compiled = compile_launch(plan, arch)
    occ = occupancy(compiled.launch, limits_for(arch), num_sms=size.num_sms)
    l1_bytes = max(0, L1_AND_SHARED_BYTES.get(arch, 128 * 1024) - occ.shared_mem_config_bytes)
    ttir: str = kernel.asm["ttir"]
    follower = Follower(plan, tensors, ttir, kernel.asm["ptx"], peeked.contents() if peeked else None)
    absent = []
    traffic: Traffic | None = None
    executed: Executed | None = None
    try:
        executed = kernel_executed(kernel, _trips(ttir, follower), programs=plan.grid_blocks)
    except (TooLongError, ValueError) as error:
        absent.append(f"its machine code is not understood: {error}")
    spilled: Spilled | None = None
    if executed is not None and compiled.spill_bytes:
        held_bytes = compiled.spill_bytes * compiled.num_warps * LANES * occ.blocks_per_sm
        stored_bytes = executed.local_store_bytes
        spilled = Spilled(stored_bytes, executed.local_bytes - stored_bytes, held_bytes)
    try:
        traffic = follower.traffic(Machine(size.num_sms, occ.blocks_per_sm, size.l2_bytes, l1_bytes), spilled)
    except TooLongError:
        absent.append("its programs do too much to be followed")
    return Model(size.gpu, traffic, executed, "; ".join(absent))


def _trips(ttir: str, follower: Follower) -> tuple[SourceLoop, ...]:
    """The kernel's loops with their trips, the mean of a sample of programs."""
    loops = source_of(ttir).loops
    found = follower.trips()
    if len(found) != len(loops):
        return loops
    return tuple(
        replace(loop, mean_trips=one.mean_trips, entries=one.entries, spread=one.spread)
        for loop, one in zip(loops, found, strict=True)
    )
