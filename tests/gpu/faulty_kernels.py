"""The chunk scan with fifteen faults, one for each config of `FAULTS`, and what a sweep must say of each.

Two faults are configs of the real kernel. The others are chosen by the config's variant, which names an object of this
module that compiles and launches as a Triton kernel does: the real one, with something wrong around it.
"""

import math
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import triton
import triton.language as tl

from ssdprof.kernels.config import Config, ParamTable
from ssdprof.kernels.launch import LaunchPlan
from ssdprof.kernels.ssd.params import PARAMS, SPLIT, TILE, VARIANTS, chunk_scan_config
from ssdprof.kernels.ssd.per_head import chunk_scan_kernel
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.runs.model import Status

MORE_THAN_ANY_GPU_BYTES = 1 << 50
TIMEOUT_S = 20.0
PROBLEM = ChunkScanProblem(seqlen=2000, nheads=16, ngroups=2)
"""15 whole chunks and one of 80 tokens."""
RIGHT = chunk_scan_config(64, 64, 32, 128, num_warps=4, num_stages=2)
"""A config that is correct, and that all but the two are but for their fault."""

Arguments = Mapping[str, Any]
Deed = Callable[[Arguments], object]
"""What goes wrong; it gets the launch's arguments by name, tensors among them."""


@triton.jit
def _write_behind_end(out_ptr, numel):
    tl.store(out_ptr + numel + tl.arange(0, 4), 1.0)


@triton.jit
def _write_low_bits_of_clock(out_ptr):
    o = tl.arange(0, 16)
    p_out = out_ptr.to(tl.pointer_type(tl.int16)) + o
    ticks = (tl.extra.cuda.globaltimer() >> 10).to(tl.int32)  # the clock's last bits stand still on some GPUs
    tl.store(p_out, (tl.load(p_out) & -2) | ((ticks >> o) & 1).to(tl.int16))


@triton.jit
def _never_end(out_ptr, turns):
    value = tl.load(out_ptr)
    while turns > 0:
        tl.store(out_ptr, value)
        turns = tl.maximum(turns, 1)


@triton.jit
def _write_far_outside(out_ptr, far):
    tl.store(out_ptr + far, 1.0)


@triton.jit(debug=True)
def _assert_on_device(out_ptr, numel):
    tl.device_assert(numel < 0, "an output has no negative size")
    tl.store(out_ptr, tl.load(out_ptr))


@triton.jit
def _refuse_to_compile(out_ptr):
    tl.static_assert(False, "this kernel never compiles")
    tl.store(out_ptr, 0.0)


def _nothing(_: Arguments) -> None:
    pass


@dataclass(frozen=True)
class Faulty:
    """The chunk scan's kernel as the engine takes it, with deeds before and after its launch and its compilation."""

    before: Deed = _nothing
    after: Deed = _nothing
    before_compiling: Deed = _nothing

    def warmup(self, **arguments: Any) -> Any:
        self.before_compiling(arguments)
        return chunk_scan_kernel.warmup(**arguments)

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., Any]:
        def launch(**arguments: Any) -> Any:
            self.before(arguments)
            compiled = chunk_scan_kernel[grid](**arguments)
            self.after(arguments)
            return compiled

        return launch


def _spoil(batch: int, tokens: slice, heads: int | slice, factor: float) -> Deed:
    return lambda arguments: arguments["out_ptr"][batch, tokens, heads].mul_(factor)


def _run(kernel: Any, *numbers: int) -> Deed:
    """One block of `kernel` on the output; without numbers of its own it gets the output's size in elements."""

    def deed(arguments: Arguments) -> None:
        out = arguments["out_ptr"]
        kernel[(1,)](out, *(numbers or (out.numel(),)))

    return deed


def _kill_itself(_: Arguments) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _allocate(arguments: Arguments) -> torch.Tensor:
    return torch.empty(MORE_THAN_ANY_GPU_BYTES, dtype=torch.int8, device=arguments["out_ptr"].device)


leaves_nan = Faulty(after=_spoil(0, slice(300, 304), 1, math.nan))
spoils_a_tile = Faulty(after=_spoil(0, slice(320, 384), 3, 1.5))
spoils_the_last_chunk = Faulty(after=_spoil(0, slice(1920, 2000), slice(0, 16), 1.5))
writes_outside = Faulty(after=_run(_write_behind_end))
overwrites_states = Faulty(before=lambda arguments: arguments["states_ptr"][0, 3, 1].zero_())
gives_other_bits = Faulty(after=lambda arguments: _write_low_bits_of_clock[(1,)](arguments["out_ptr"]))
never_ends = Faulty(after=_run(_never_end))
writes_where_nothing_is = Faulty(after=_run(_write_far_outside, 1 << 44))
asserts_on_device = Faulty(after=_run(_assert_on_device))
does_not_compile = Faulty(
    before_compiling=lambda arguments: _refuse_to_compile.warmup(out_ptr=arguments["out_ptr"], grid=(1,))
)
kills_its_compiler = Faulty(before_compiling=_kill_itself)
kills_its_worker = Faulty(before=_kill_itself)
takes_all_memory = Faulty(before=_allocate)


@dataclass(frozen=True, slots=True)
class Fault:
    """A config that is faulty, and the status and the words that its row must have."""

    config: Config
    status: Status
    words: str


def _planted(variant: str) -> Config:
    return replace(RIGHT, variant=variant)


FAULTS: Mapping[str, Fault] = {
    "part of the state left out": Fault(RIGHT.with_values({"BLOCK_SIZE_DSTATE": 32}), "wrong", "32 of 128"),
    "NaN rows": Fault(_planted("leaves_nan"), "wrong", "NaN"),
    "one wrong tile in one head": Fault(_planted("spoils_a_tile"), "wrong", "one tile"),
    "last chunk wrong": Fault(_planted("spoils_the_last_chunk"), "wrong", "last chunk"),
    "out-of-bounds write": Fault(_planted("writes_outside"), "wrong", "outside its output"),
    "input overwritten": Fault(_planted("overwrites_states"), "wrong", "states"),
    "other bits each time": Fault(_planted("gives_other_bits"), "unstable", "different bits"),
    "endless loop": Fault(_planted("never_ends"), "timeout", f"{TIMEOUT_S:.0f} s"),
    "illegal address": Fault(_planted("writes_where_nothing_is"), "launch-error", "illegal memory access"),
    "device assertion": Fault(_planted("asserts_on_device"), "launch-error", "device-side assert"),
    "too much shared memory": Fault(chunk_scan_config(128, 256, 64, 128, 8, 4), "out-of-resources", "shared memory"),
    "compile error": Fault(_planted("does_not_compile"), "compile-error", "this kernel never compiles"),
    "compiler killed": Fault(_planted("kills_its_compiler"), "compile-error", "SIGKILL"),
    "worker killed": Fault(_planted("kills_its_worker"), "launch-error", "SIGKILL"),
    "out of memory": Fault(_planted("takes_all_memory"), "out-of-resources", "out of memory"),
}


FAULTY_VARIANTS = tuple(sorted({fault.config.variant for fault in FAULTS.values()} - {TILE}))
FAULTY_PARAMS = replace(PARAMS, variants=(*VARIANTS, *FAULTY_VARIANTS))


@dataclass(frozen=True)
class FaultyChunkScan(ChunkScan):
    """The chunk scan; a variant that is none of its own is the object of that name in this module."""

    params: ParamTable = FAULTY_PARAMS

    def source_hashes(self) -> Mapping[str, str]:
        own = ChunkScan.source_hashes(self)
        return {**own, **dict.fromkeys(FAULTY_VARIANTS, own[TILE])}

    def launch(self, config: Config) -> LaunchPlan:
        plan = ChunkScan.launch(self, config)
        if config.variant in (TILE, SPLIT):
            return plan
        return replace(plan, module=__name__, function=config.variant)
