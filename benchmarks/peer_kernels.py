"""The chunk scans of mamba_ssm and vLLM as launches on our inputs.

Nothing of theirs is here: their own Python entry prepares the launch, and that launch is noted instead of made. It is
then made again under one config at a time, as their autotuner would, without what autotuner and entry cost the host.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from peer_files import ENTRY, KERNEL, PeerError, said

from ssdprof.kernels.config import config_id, parse_config
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.ssd.problem import ChunkScanProblem

ABSENT = ("D", "z", "seq_idx", "initial_states", "chunk_indices", "chunk_offsets")
"""Parameters for which None says that there is no such thing."""
BY_CHUNK = "cu_chunk_seqlens"
"""The parameter that tells vLLM's newer layout: no batch, chunks of one sequence each, told apart by index, and the
state that each chunk leaves, not the one that it finds."""

Inputs = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class PeerLaunch:
    """A launch as the peer's entry prepared it, without config. `out`: what it writes, in our output's shape."""

    kernel: Any
    grid: Any
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    configs: Sequence[Any]
    out: torch.Tensor

    def under(self, config: Any) -> Callable[[], Any]:
        """The launch under one `triton.Config`."""
        launch, options = self.kernel[self.grid], {**self.options, **config.all_kwargs()}
        return lambda: launch(*self.arguments, **options)


def config_name(config: Any) -> str:
    """Our short id of a `triton.Config`, or Triton's form where it has parameters that ours do not."""
    try:
        return config_id(parse_config(str(config)))
    except ConfigError:
        return str(config)


def prepared(module: ModuleType, problem: ChunkScanProblem, inputs: Inputs, out: torch.Tensor) -> PeerLaunch:
    """The launch that the peer's entry makes of our inputs; written to `out` where the entry takes an output.

    `inputs` are those of `ChunkScan`, `out` is (1, seqlen, nheads, headdim). Raises PeerError where the entry asks for
    something unknown, cannot be given what the problem has, or refuses what it gets.
    """
    entry = getattr(module, ENTRY)
    parameters = inspect.signature(entry).parameters
    refusals = []
    for layout in [_by_chunk] if BY_CHUNK in parameters else [_batched, _unbatched]:
        found, refusal = _noted(module, _arguments(parameters, layout(problem, inputs, out)))
        if found is not None:
            (grid, arguments, options), returned = found
            autotuner = getattr(module, KERNEL)
            written = out if "out" in parameters else _output(returned, out)
            return PeerLaunch(autotuner.fn, grid, arguments, options, tuple(autotuner.configs), written)
        refusals.append(refusal)
    raise PeerError(f"refuses these inputs: {refusals[0]}")


def _arguments(parameters: Mapping[str, inspect.Parameter], known: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name for every parameter that has a known one or needs one."""
    for name, value in known.items():
        if name in ABSENT and value is not None and name not in parameters:
            raise PeerError(f"has no {name}, and the problem has")
    values = {}
    for name, parameter in parameters.items():
        if name in known:
            values[name] = known[name]
        elif name in ABSENT:
            values[name] = None
        elif parameter.default is inspect.Parameter.empty:
            raise PeerError(f"{ENTRY} asks for {name}, which is not known here")
    return values


def _batched(problem: ChunkScanProblem, inputs: Inputs, out: torch.Tensor) -> dict[str, Any]:
    """Names and shapes of mamba_ssm, which are ours."""
    return {
        "cb": inputs["cb"],
        "x": inputs["x"],
        "dt": inputs["dt"],
        "dA_cumsum": inputs["da_cumsum"],
        "C": inputs["c"],
        "states": inputs["states"],
        "D": inputs.get("d"),
        "z": inputs.get("z"),
        "seq_idx": inputs.get("seq_idx"),
        "chunk_size": problem.chunk_size,
        "out": out,
    }


def _unbatched(problem: ChunkScanProblem, inputs: Inputs, out: torch.Tensor) -> dict[str, Any]:
    """The same without the batch, which must be of one sequence."""
    assert problem.batch == 1, "a layout without a batch takes one sequence"
    known = _batched(problem, inputs, out)
    return {
        name: value[0] if isinstance(value, torch.Tensor) and name != "D" else value for name, value in known.items()
    }


def _by_chunk(problem: ChunkScanProblem, inputs: Inputs, out: torch.Tensor) -> dict[str, Any]:
    """Of `BY_CHUNK`. The first chunk begins its sequence, and takes no state."""
    if problem.seq_idx:
        raise PeerError("takes one sequence index per chunk, and these sequences begin inside chunks")
    known = _unbatched(problem, inputs, out)
    after = torch.empty_like(known["states"])
    after[:-1] = known["states"][1:]
    after[-1] = 0  # read by no chunk
    device = known["x"].device
    starts = torch.arange(problem.nchunks + 1, dtype=torch.int32, device=device) * problem.chunk_size
    chunks = torch.zeros(problem.nchunks, dtype=torch.int32, device=device)
    return {**known, "states": after, "seq_idx": chunks, BY_CHUNK: starts.clamp(max=problem.seqlen)}


class _Notes:
    """Stands in for an autotuned kernel, and notes its launches instead of making them."""

    def __init__(self, kernel: Any) -> None:
        self.launches: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        self.best_config = kernel.configs[0]
        self._kernel = kernel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        return lambda *arguments, **options: self.launches.append((grid, arguments, options))


def _noted(module: ModuleType, values: Mapping[str, Any]) -> tuple[Any, str]:
    """The one launch of the entry and what the entry returns, else None and why there is none."""
    kernel = getattr(module, KERNEL)
    notes = _Notes(kernel)
    setattr(module, KERNEL, notes)
    try:
        returned = getattr(module, ENTRY)(**values)
    except Exception as error:
        return None, said(error)
    finally:
        setattr(module, KERNEL, kernel)
    if len(notes.launches) != 1:
        return None, f"{ENTRY} launches {KERNEL} {len(notes.launches)} times, where once is expected"
    return (notes.launches[0], returned), ""


def _output(returned: Any, like: torch.Tensor) -> torch.Tensor:
    """What an entry returns that makes its own output: the output, or several of which it is the first."""
    first = returned[0] if isinstance(returned, tuple) else returned
    if not isinstance(first, torch.Tensor) or first.numel() != like.numel():
        raise PeerError(f"{ENTRY} neither takes an output nor returns one")
    return first.view(like.shape)
