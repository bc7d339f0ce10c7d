"""The chunk scan as a function: tensors in, tensor out; it chooses a launch configuration unless one is given."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from triton.runtime.errors import OutOfResources

from ssdprof.kernels.config import Config
from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.errors import ConfigError, TensorError
from ssdprof.kernels.launch import FIRST_WITH_TMA, LaunchPlan, TensorMeta, arch_of, has_tma
from ssdprof.kernels.ssd import arguments, launches
from ssdprof.kernels.ssd.params import GROUPED, PARAMS, SPLIT, chunk_scan_config, whole_tile
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan

WHOLE_MAX, HEADS_MAX = 256, 16
"""Of `grouped`: the longest chunk and largest state, and the most heads of a program (see `candidates`)."""
CALLS_MAX = 1024
"""Kinds of calls that are remembered; with more, all are forgotten."""
_NAMES = ("cb", "x", "dt", "da_cumsum", "C", "states", "D", "z", "seq_idx", "out")
_REQUIRED, _X, _OUT = _NAMES[:6], _NAMES.index("x"), _NAMES.index("out")

_chosen: dict[tuple[str | None, ChunkScanProblem, int], int] = {}
"""Which candidate fits, by architecture, problem (whatever its seqlen and batch) and number of candidates."""
_calls: dict[Any, _Call] = {}
"""What is known of calls with such tensors and such a config, by all that their launch depends on."""
_thread = threading.local()


@dataclass(frozen=True, slots=True)
class _Call:
    """One kind of call whose first was checked: its launch, and how many bytes each tensor spans."""

    launch: Callable[[Sequence[Tensor | None], Sequence[int]], object]
    extents: tuple[int, ...]


def chunk_scan(
    cb: Tensor,
    x: Tensor,
    dt: Tensor,
    da_cumsum: Tensor,
    C: Tensor,
    states: Tensor,
    *,
    D: Tensor | None = None,
    z: Tensor | None = None,
    seq_idx: Tensor | None = None,
    out: Tensor | None = None,
    config: Config | str | None = None,
) -> Tensor:
    """The last stage of Mamba-2's SSD, forward only, on an NVIDIA GPU:

        out[m] = exp(da_m)·C_m·state + Σ_{k≤m} cb_mk·exp(da_m − da_k)·dt_k·x_k + D·x_m, times z·sigmoid(z)

    of every token m and head (Dao and Gu, "Transformers are SSMs", 2024, section 6), sums in float32.

    Tensors, all on one GPU and contiguous (row major, last dimension fastest), but for x, z, C and out, of which only
    the last dimension must be: as slices of one projection they are taken without a copy:

    - x (batch, seqlen, nheads, headdim), bfloat16, float16 or float32;
    - cb (batch, nchunks, ngroups, chunk_size, chunk_size) float32: C·B inside each chunk. chunk_size is a power of two,
      nchunks is seqlen / chunk_size rounded up, heads are a multiple of groups;
    - dt, da_cumsum (batch, nheads, nchunks, chunk_size) float32: step sizes, and the cumulative sum of dt·A in a chunk;
    - C (batch, seqlen, ngroups, dstate) of x's dtype;
    - states (batch, nchunks, nheads, headdim, dstate), bfloat16 or float32: the state before each chunk;
    - D (nheads,) or (nheads, headdim) float32, the skip connection; z like x, the gate;
    - seq_idx (batch, seqlen) int32, each token's sequence if several are packed; cb must then be 0 between tokens of
      different sequences;
    - out like x, which is written and returned; None makes a new one, contiguous. No input may share its memory.

    Float32 products run in TF32, Triton's default.

    `config`: a `Config`, or a text that names one in any form of `parse_config`; it is used as it is. None: variant
    `grouped` with the first of `candidates` that fits the GPU, found on the first call for each problem and GPU, or
    variant `split`, with a warning, if none fits, if headdim is at most 32, or if a stride or an address of x, states,
    z or out is not a multiple of 16 bytes: ptxas 12.8, which Triton 3.6 has, miscompiles `grouped` then
    (docs/kernel.md). What depends on shapes, strides, dtypes and addresses modulo 16 alone is worked out once.

    Before anything is launched, raises TensorError if a tensor is not as above, or requires grad while grad is enabled
    (there is no backward); ConfigError for a config that cannot be read, that the kernel cannot take or whose output
    would be wrong, such as `tile` with a tile smaller than the state, `grouped` in the case above, or the one shape of
    `split` that ptxas 12.8 is known to miscompile. For a given config, Triton's own errors pass through, such as
    OutOfResources.
    """
    given = (cb, x, dt, da_cumsum, C, states, D, z, seq_idx, out)
    if torch.compiler.is_compiling():
        return _in_a_graph(given, config)
    key: Any = None
    addresses: list[int] = []
    gradient = False
    try:
        facts: list[object] = [config]  # all that a launch depends on, except the addresses themselves
        for one in given:
            if one is None:
                addresses.append(0)
                facts.append(None)
            else:
                address = one.data_ptr()
                addresses.append(address)
                facts += (one.shape, one.stride(), one.dtype, address % 16, one.get_device())
                gradient |= one.requires_grad
        key = tuple(facts)
        call = _calls.get(key)
    except (AttributeError, TypeError):  # something that is no tensor, or no config
        key = call = None
    if call is None or (gradient and torch.is_grad_enabled()) or (out is not None and _close(call, addresses)):
        return _first_call(given, config, key)
    if out is None:
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        addresses[_OUT] = out.data_ptr()
    with _on_device(x.device):
        call.launch((*given[:_OUT], out), addresses)
    return out


@lru_cache(maxsize=64)
def candidates(problem: ChunkScanProblem) -> tuple[Config, ...]:
    """The configs to try in turn, none needing more shared memory than the one before.

    Configs of `grouped` come first. On an H100 at 50 000 tokens, the best were (docs/kernel.md):
    - tiles of 64 tokens, four warps, three stages, two blocks per SM; with float32 states, whose tiles are twice as
      large, 128 tokens and eight warps;
    - all 16 heads of a group together, and 16 from a group of 80: with more, the load balances badly.
    Fewer stages are for GPUs with less shared memory. A chunk or state beyond 256 leaves no registers for the rest.
    The last is of `split` and needs at most 64 KiB, which every GPU has.
    """
    dim_tile = min(64, whole_tile(problem.headdim))
    split = chunk_scan_config(64, 64, 32, min(64, whole_tile(problem.dstate)), num_warps=4, num_stages=2, variant=SPLIT)
    if max(problem.chunk_size, problem.dstate) > WHOLE_MAX:
        return (split,)
    rows = max(16, min(64, problem.chunk_size))
    heads = max(count for count in range(1, HEADS_MAX + 1) if problem.heads_per_group % count == 0)
    tiles = [(rows, 4, 3), (rows, 4, 2), (rows, 4, 1)]
    if problem.states_dtype == "float32" and problem.chunk_size >= 128:
        tiles.insert(0, (128, 8, 3))
    of_grouped = (chunk_scan_config(m, dim_tile, m, None, w, s, variant=GROUPED, heads=heads) for m, w, s in tiles)
    return (*of_grouped, split)


def _in_a_graph(given: Sequence[Tensor | None], config: Config | str | None) -> Tensor:
    """A call that torch.compile traces: one operator of its graph, which is the call itself when the graph runs."""
    if _wants_gradient(given):
        raise TensorError("the kernel has no backward: call it under torch.no_grad()")
    x, out = given[_X], given[_OUT]
    assert x is not None
    if out is None:
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
    text = PARAMS.id(config) if isinstance(config, Config) else config
    _operator(*given[:_OUT], out, text)
    return out


@torch.library.custom_op(
    "ssdprof::chunk_scan",
    mutates_args=("out",),
    schema=(
        "(Tensor cb, Tensor x, Tensor dt, Tensor da_cumsum, Tensor C, Tensor states, Tensor? D, Tensor? z, "
        "Tensor? seq_idx, Tensor(a!) out, str? config) -> ()"
    ),
)
def _operator(*given: Any) -> None:
    *tensors, D, z, seq_idx, out, config = given
    chunk_scan(*tensors, D=D, z=z, seq_idx=seq_idx, out=out, config=config)


def _wants_gradient(given: Sequence[Tensor | None]) -> bool:
    return torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in given)


def _close(call: _Call, addresses: Sequence[int]) -> bool:
    """Whether the memory that out spans has a byte in common with that of an input."""
    first, end = addresses[_OUT], addresses[_OUT] + call.extents[_OUT]
    spans = zip(addresses[:_OUT], call.extents[:_OUT], strict=True)
    return any(address < end and first < address + extent for address, extent in spans)


def _first_call(given: Sequence[Tensor | None], config: Config | str | None, key: Any) -> Tensor:
    """A call with everything checked; what can be kept of it is noted under `key`, unless that is None."""
    named = zip(_NAMES, given, strict=True)
    tensors = arguments.checked({name: one for name, one in named if name in _REQUIRED or one is not None})
    problem = arguments.problem_of(tensors)
    metas = arguments.metas_of(tensors, problem)
    if given[_OUT] is None:
        tensors["out"] = torch.empty_like(tensors["x"], memory_format=torch.contiguous_format)
    arch = arch_of(tensors["x"].device)
    unsafe = arguments.unsafe(tensors, metas, arch)
    if config is None:
        plan, kernel = _launch_first_that_fits(problem, tensors, metas, unsafe)
    else:
        chosen = _config_of(config)
        if wrong := ChunkScan(problem).wrong_by_construction(chosen):
            raise ConfigError(f"{PARAMS.id(chosen)} {wrong}")
        if chosen.variant == GROUPED and unsafe:
            raise ConfigError(f"{PARAMS.id(chosen)} may be wrong here: {unsafe}: take the variant {SPLIT}")
        if arch and problem.dtype != "float32" and arguments.miscompiled_shape(chosen):
            raise ConfigError(f"{PARAMS.id(chosen)} may be wrong here: {arguments.MISCOMPILES}: take two stages")
        plan = _plan(problem, chosen, _strides(metas))
        kernel = _launch(plan, tensors)
    if key is not None and kernel is not None:
        if len(_calls) >= CALLS_MAX:
            _calls.clear()
        launch = plan.prepared(kernel, [name.lower() for name in _NAMES], tma=arch is not None and has_tma(arch))
        extents = tuple(arguments.extent_bytes(tensors[name]) if name in tensors else 0 for name in _NAMES)
        _calls[key] = _Call(launch, extents)
    return tensors["out"]


def _config_of(config: Config | str) -> Config:
    """The config that this is or names. Raises ConfigError."""
    if isinstance(config, str):
        return parse_config(config, PARAMS)
    if not isinstance(config, Config):
        raise ConfigError(f"config is a {type(config).__name__}: pass a Config, a text that names one, or None")
    return PARAMS.validated(config)


def _strides(metas: Mapping[str, TensorMeta]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The strides of the tensors that are not contiguous, by name."""
    return tuple((name, meta.strides) for name, meta in metas.items() if meta.strides is not None)


@lru_cache(maxsize=256)
def _plan(problem: ChunkScanProblem, config: Config, strides: tuple[tuple[str, tuple[int, ...]], ...]) -> LaunchPlan:
    subject = ChunkScan(problem)
    metas = dict(subject.tensors())
    metas |= {name: replace(metas[name], strides=of) for name, of in strides}
    return launches.launch(problem, subject.resolve(config), metas)


def _launch_first_that_fits(
    problem: ChunkScanProblem, tensors: Mapping[str, Tensor], metas: Mapping[str, TensorMeta], unsafe: str
) -> tuple[LaunchPlan, Any]:
    """Launches the first candidate that fits; warns if that is not of `grouped`, or if `grouped` has no TMA.

    Returns the launch and the compiled kernel. Raises OutOfResources if none fits.
    """
    arch, configs = arch_of(tensors["x"].device), candidates(problem)
    if unsafe:
        configs, reason = configs[-1:], unsafe
    else:
        reason = f"a chunk_size of {problem.chunk_size} or dstate of {problem.dstate} is beyond its {WHOLE_MAX}"
    key = (arch, replace(problem, seqlen=1, batch=1), len(configs))
    known = _chosen.get(key)
    for place in range(known or 0, len(configs)):
        plan = _plan(problem, configs[place], _strides(metas))
        try:
            kernel = _launch(plan, tensors)
        except OutOfResources as error:  # raised before the launch: out is as it was
            if place == len(configs) - 1:
                raise
            unit = "bytes of " if error.name == "shared memory" else ""
            reason = f"its smallest tiles need {error.required} {unit}{error.name}, the GPU has {error.limit}"
            continue
        if known == place:
            return plan, kernel
        _chosen[key], said = place, ""
        if configs[place].variant != GROUPED:
            said = (
                f"cannot use the variant grouped here, {reason}: it uses {PARAMS.id(configs[place])}, which reads C "
                "and CB once for each head, not once for each group"
            )
        elif arch and not has_tma(arch):
            said = (
                f"runs on {arch}, which has no tensor memory accelerator ({FIRST_WITH_TMA} is the first with one): "
                "its kernel loads and stores through pointers, not tensor descriptors, and its configs were chosen on "
                "an H100"
            )
        if said:
            warnings.warn(f"chunk_scan {said}. Pass config= to choose another", stacklevel=4)
        return plan, kernel
    raise AssertionError("there is always a candidate")


def _launch(plan: LaunchPlan, tensors: Mapping[str, Tensor]) -> Any:
    """Launches on the tensors' device, which need not be the current one. Returns the compiled kernel, if compiled."""
    launch = plan.bind({name.lower(): tensor for name, tensor in tensors.items()})
    with _on_device(tensors["x"].device):
        return launch()


_STAY = nullcontext()


def _on_device(device: torch.device) -> AbstractContextManager[object]:
    """Makes a GPU the current one, if it is not, and its context known in this thread."""
    if device.type != "cuda":
        return _STAY
    index = device.index
    known = getattr(_thread, "devices", ())
    if index not in known:
        _bind_context(device)
        _thread.devices = {*known, index}
    return _STAY if index == torch.cuda.current_device() else torch.cuda.device(device)


def _bind_context(device: torch.device) -> None:
    """Makes CUDA's context current in a thread that has called nothing of CUDA yet: descriptors are made without it.

    Any call of CUDA's runtime does; PyTorch makes none as long as its own memory is enough. In a thread that captures a
    graph there was one.
    """
    with torch.cuda.device(device):
        if not torch.cuda.is_current_stream_capturing():
            torch.cuda.current_stream(device).query()
