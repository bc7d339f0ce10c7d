"""Whether a wrong output of a chunk scan comes from a sum cut short, decided by computing such sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ssdprof.kernels.ssd.params import SPLIT, whole_tile
from ssdprof.kernels.ssd.problem import ChunkScanProblem

if TYPE_CHECKING:
    import torch

_Inputs = Mapping[str, "torch.Tensor"]
SAMPLED_CHUNKS = 4
"""Adjacent chunks for which a wrong output is compared with sums cut short: once in the middle, once at the end."""
LOOP_ENDS = "the loop over DSTATE tiles ends after one"


def partial_sum(
    problem: ChunkScanProblem,
    inputs: _Inputs,
    reference: torch.Tensor,
    out: torch.Tensor,
    relative_error: float,
    tile: int | None,
    remedy: str,
) -> str | None:
    """Which part of its sums a wrong `out` leaves out: the state beyond one DSTATE tile, or one whole product.

    None if neither fits. Computed for some chunks of the first sequence: the output with that cut must be within
    `relative_error` of `out`, over these chunks together, and the correct output must not. `remedy`: what to say if
    only one tile of the state is summed.
    """
    import torch

    from ssdprof.kernels.ssd.reference import chunk_scan_of

    p = problem
    windows = [_window(p, inputs, chunks) for chunks in _sampled_chunks(p.nchunks)]

    def sampled(whole: torch.Tensor) -> torch.Tensor:
        return torch.cat([whole[:1, window.tokens] for window in windows], dim=1).float()

    def outputs(cut: Callable[[_Inputs], _Inputs]) -> torch.Tensor:
        outs = [chunk_scan_of(cut(window.inputs))[:, window.dropped_tokens :] for window in windows]
        return torch.cat(outs, dim=1)

    written, correct = sampled(out), sampled(reference)
    tolerance = relative_error * correct.norm()
    if (written - correct).norm() <= tolerance:
        return None
    cuts = [
        (lambda inputs: _first_of_state(inputs, 0), "the product of C and the state (dstate) is missing altogether"),
        (_without_cb, "the product of CB and x inside the chunk is missing altogether"),
    ]
    if tile is not None and tile < p.dstate:
        message = f"only the first {tile} of {p.dstate} state elements (dstate) are summed: {remedy}"
        cuts.insert(0, (lambda inputs: _first_of_state(inputs, tile), message))
    return next((message for cut, message in cuts if (written - outputs(cut)).norm() <= tolerance), None)


def remedy_of_partial_state(dstate: int, looping_variant: str = SPLIT) -> str:
    """What to do about a tile that holds only part of the state, in a kernel that does not loop over it.

    `looping_variant`: the variant that does; empty if there is none.
    """
    return f"take a DSTATE tile of {whole_tile(dstate)}" + f", or the variant {looping_variant}" * bool(looping_variant)


@dataclass(frozen=True, slots=True)
class _Window:
    """Inputs of adjacent chunks of the first sequence, and which of its tokens they cover.

    With packed sequences a chunk depends on the last token before it, so the chunk before is included, and the first
    `dropped_tokens` of the output do not count.
    """

    inputs: _Inputs
    tokens: slice
    dropped_tokens: int


def _window(problem: ChunkScanProblem, inputs: _Inputs, chunks: slice) -> _Window:
    size = problem.chunk_size
    first = max(0, chunks.start - 1)
    one, span, tokens = slice(0, 1), slice(first, chunks.stop), slice(first * size, chunks.stop * size)
    by_chunk, by_token, by_head = (one, span), (one, tokens), (one, slice(None), span)
    where = {"cb": by_chunk, "states": by_chunk, "dt": by_head, "da_cumsum": by_head}
    where |= {"x": by_token, "c": by_token, "z": by_token, "seq_idx": by_token}
    sliced = {name: tensor[where[name]] if name in where else tensor for name, tensor in inputs.items()}
    return _Window(sliced, slice(chunks.start * size, chunks.stop * size), dropped_tokens=(chunks.start - first) * size)


def _sampled_chunks(nchunks: int) -> list[slice]:
    """Several adjacent chunks, since with packed sequences a chunk that begins a sequence gets no state."""
    if nchunks <= 2 * SAMPLED_CHUNKS:
        return [slice(0, nchunks)]
    middle = nchunks // 2 - SAMPLED_CHUNKS // 2
    return [slice(middle, middle + SAMPLED_CHUNKS), slice(nchunks - SAMPLED_CHUNKS, nchunks)]


def _first_of_state(inputs: _Inputs, count: int) -> _Inputs:
    """The inputs with only the first `count` elements of the state."""
    return {**inputs, "c": inputs["c"][..., :count], "states": inputs["states"][..., :count]}


def _without_cb(inputs: _Inputs) -> _Inputs:
    return {**inputs, "cb": inputs["cb"].new_zeros(()).expand_as(inputs["cb"])}
