"""The chunk scan with faults, one for each config of `FAULTS` and `GATED_FAULTS`, and what a sweep must say of each.

Two faults are configs of the real kernel. The others are chosen by the config's variant, which names an object of this
module that compiles and launches as a Triton kernel does: the real one, with something wrong around it or in what it is
given.
"""

import itertools
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
GATED = replace(PROBLEM, z=True, seq_idx=True)
"""The same with a gate and packed sequences."""
RIGHT = chunk_scan_config(64, 64, 32, 128, num_warps=4, num_stages=2)
"""A config that is correct, and that all but the two are but for their fault."""

Arguments = Mapping[str, Any]
Deed = Callable[[Arguments], object]
"""What goes wrong; it gets the launch's arguments by name, tensors among them."""
Exchange = Callable[[Arguments], dict[str, Any]]
"""Arguments that the kernel gets in place of the launch's, by name."""


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


@triton.jit
def _write_before_start(out_ptr, numel):
    tl.store(out_ptr - 4 + tl.arange(0, 4), 1.0)


def _nothing(_: Arguments) -> None:
    pass


def _none(_: Arguments) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Faulty:
    """The chunk scan's kernel as the engine takes it, with deeds before and after its launch and its compilation.

    `instead`: what the launch gets in place of its arguments.
    """

    before: Deed = _nothing
    instead: Exchange = _none
    after: Deed = _nothing
    before_compiling: Deed = _nothing

    def warmup(self, **arguments: Any) -> Any:
        self.before_compiling(arguments)
        return chunk_scan_kernel.warmup(**arguments)

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., Any]:
        def launch(**arguments: Any) -> Any:
            self.before(arguments)
            compiled = chunk_scan_kernel[grid](**{**arguments, **self.instead(arguments)})
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


def _scaled(factor: float) -> Exchange:
    """Every term of the output times a factor before it is rounded: the products in the chunk, D, and the state's."""

    def instead(arguments: Arguments) -> dict[str, Any]:
        scaled = {name: arguments[name] * factor for name in ("cb_ptr", "d_ptr")}
        return {**scaled, "da_cumsum_ptr": arguments["da_cumsum_ptr"] + math.log(factor)}

    return instead


def _with(name: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> Exchange:
    return lambda arguments: {name: change(arguments[name])}


def _without_tail_of_chunk(cb: torch.Tensor) -> torch.Tensor:
    """Leaves the last 16 tokens of each chunk out of the sum over its tokens."""
    cut = cb.clone()
    cut[..., -16:] = 0.0
    return cut


def _first_output_again() -> Deed:
    """Gives what the first launch gave, whatever the input is."""
    first: list[torch.Tensor] = []

    def deed(arguments: Arguments) -> None:
        out = arguments["out_ptr"]
        if not first:
            first.append(out.clone())
        out.copy_(first[0])

    return deed


def _every_fourth_time(deed: Deed) -> Deed:
    launches = itertools.count(1)
    return lambda arguments: deed(arguments) if next(launches) % 4 == 0 else None


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

is_larger_by_six_thousandths = Faulty(instead=_scaled(1.006))
is_larger_by_four_thousandths = Faulty(instead=_scaled(1.004))
is_smaller_by_four_thousandths = Faulty(instead=_scaled(0.996))
leaves_out_d = Faulty(instead=_with("d_ptr", lambda d: 0.0 * d))
leaves_out_the_diagonal = Faulty(instead=_with("cb_ptr", lambda cb: cb.tril(-1)))
leaves_out_the_tail_of_each_chunk = Faulty(instead=_with("cb_ptr", _without_tail_of_chunk))
takes_the_state_of_the_chunk_before = Faulty(instead=_with("states_ptr", lambda states: states.roll(1, dims=1)))
takes_c_of_another_group = Faulty(instead=_with("c_ptr", lambda c: c.roll(1, dims=2)))
takes_exp_for_exp2 = Faulty(instead=_with("da_cumsum_ptr", lambda da: da * math.log2(math.e)))
leaves_one_nan = Faulty(after=lambda arguments: arguments["out_ptr"][0, 1234, 5, 6].fill_(math.nan))
writes_before_its_output = Faulty(after=_run(_write_before_start))
gives_its_first_output_again = Faulty(after=_first_output_again())
gives_other_bits_now_and_then = Faulty(after=_every_fourth_time(_spoil(0, slice(0, 1), 0, 1.01)))
gates_without_sigmoid = Faulty(
    instead=_with("z_ptr", lambda _: None), after=lambda arguments: arguments["out_ptr"].mul_(arguments["z_ptr"])
)
ignores_sequences = Faulty(instead=_with("seq_idx_ptr", lambda _: None))


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
    "0.6 % too large": Fault(_planted("is_larger_by_six_thousandths"), "wrong", "other configs agree"),
    "0.4 % too large": Fault(_planted("is_larger_by_four_thousandths"), "wrong", "other configs agree"),
    "0.4 % too small": Fault(_planted("is_smaller_by_four_thousandths"), "wrong", "other configs agree"),
    "D left out": Fault(_planted("leaves_out_d"), "wrong", "relative error"),
    "diagonal left out": Fault(_planted("leaves_out_the_diagonal"), "wrong", "relative error"),
    "tail of each chunk left out": Fault(
        _planted("leaves_out_the_tail_of_each_chunk"), "wrong", "tokens 112 to 127 of the chunks"
    ),
    "state of the chunk before": Fault(_planted("takes_the_state_of_the_chunk_before"), "wrong", "relative error"),
    "C of another group": Fault(_planted("takes_c_of_another_group"), "wrong", "relative error"),
    "exp for exp2": Fault(_planted("takes_exp_for_exp2"), "wrong", "relative error"),
    "one NaN": Fault(_planted("leaves_one_nan"), "wrong", "NaN in 1 row"),
    "write before the output": Fault(_planted("writes_before_its_output"), "wrong", "outside its output"),
    "output of earlier inputs": Fault(_planted("gives_its_first_output_again"), "wrong", "relative error"),
    "other bits now and then": Fault(_planted("gives_other_bits_now_and_then"), "unstable", "different bits"),
}
"""On `PROBLEM`."""
GATED_FAULTS: Mapping[str, Fault] = {
    "gate without sigmoid": Fault(_planted("gates_without_sigmoid"), "wrong", "relative error"),
    "sequences ignored": Fault(_planted("ignores_sequences"), "wrong", "relative error"),
}
"""On `GATED`."""

FAULTY_VARIANTS = tuple(sorted({fault.config.variant for fault in (*FAULTS.values(), *GATED_FAULTS.values())} - {TILE}))
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
