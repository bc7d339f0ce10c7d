"""Whether a wrong output of a chunk scan comes from a sum cut short, decided by computing such sums."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ssdprof.kernels.interface import Tensors
from ssdprof.kernels.ssd.params import SPLIT, whole_tile
from ssdprof.kernels.ssd.problem import ChunkScanProblem

if TYPE_CHECKING:
    from torch import Tensor

SAMPLED_CHUNKS = 4
"""Adjacent chunks for which a wrong output is compared with sums cut short: once in the middle, once at the end."""
LOOP_ENDS = "the loop over DSTATE tiles ends after one"


def partial_sum(
    problem: ChunkScanProblem, inputs: Tensors, reference: Tensor, out: Tensor, error_max: float, tile: int, remedy: str
) -> str | None:
    """Which part of its sums a wrong `out` leaves out: the state beyond one DSTATE tile, or one whole product.

    None if neither fits. Computed for some chunks of the first sequence: the output with that cut must be within
    `error_max` of `out`, relative, over these chunks together, and the correct output must not. `remedy`: what to say
    if only one tile of the state is summed.
    """
    import torch

    from ssdprof.kernels.ssd.reference import chunk_scan

    windows = [_window(problem, inputs, chunks) for chunks in _sampled_chunks(problem.nchunks)]

    def sampled(whole: Tensor) -> Tensor:
        return torch.cat([whole[:1, tokens] for _, tokens, _ in windows], dim=1).float()

    def outputs(cut: Callable[[Tensors], Tensors]) -> Tensor:
        return torch.cat([chunk_scan(cut(part))[:, dropped:] for part, _, dropped in windows], dim=1)

    written, correct = sampled(out), sampled(reference)
    tolerance = error_max * correct.norm()
    if (written - correct).norm() <= tolerance:
        return None
    part = f"only the first {tile} of {problem.dstate} state elements (dstate) are summed: {remedy}"
    cuts: list[tuple[Callable[[Tensors], Tensors], str]] = [
        (partial(_first_of_state, 0), "the product of C and the state (dstate) is missing altogether"),
        (_without_cb, "the product of CB and x inside the chunk is missing altogether"),
    ]
    if tile < problem.dstate:
        cuts.insert(0, (partial(_first_of_state, tile), part))
    return next((message for cut, message in cuts if (written - outputs(cut)).norm() <= tolerance), None)


def remedy_of_partial_state(dstate: int, looping_variant: str = SPLIT) -> str:
    """What to do about a tile of part of the state and no loop over it; `looping_variant`: one that loops, if any."""
    return f"take a DSTATE tile of {whole_tile(dstate)}" + f", or the variant {looping_variant}" * bool(looping_variant)


def _window(problem: ChunkScanProblem, inputs: Tensors, chunks: slice) -> tuple[Tensors, slice, int]:
    """Inputs of adjacent chunks of the first sequence, the tokens that these cover, and how many come before them."""
    size = problem.chunk_size
    first = max(0, chunks.start - 1)  # with packed sequences a chunk depends on the last token before it
    one, span, tokens = slice(0, 1), slice(first, chunks.stop), slice(first * size, chunks.stop * size)
    by_chunk, by_token, by_head = (one, span), (one, tokens), (one, slice(None), span)
    where = {"cb": by_chunk, "states": by_chunk, "dt": by_head, "da_cumsum": by_head}
    where |= {"x": by_token, "c": by_token, "z": by_token, "seq_idx": by_token}
    sliced = {name: tensor[where[name]] if name in where else tensor for name, tensor in inputs.items()}
    return sliced, slice(chunks.start * size, chunks.stop * size), (chunks.start - first) * size


def _sampled_chunks(nchunks: int) -> list[slice]:
    """Several adjacent chunks, since with packed sequences a chunk that begins a sequence gets no state."""
    if nchunks <= 2 * SAMPLED_CHUNKS:
        return [slice(0, nchunks)]
    middle = nchunks // 2 - SAMPLED_CHUNKS // 2
    return [slice(middle, middle + SAMPLED_CHUNKS), slice(nchunks - SAMPLED_CHUNKS, nchunks)]


def _first_of_state(count: int, inputs: Tensors) -> Tensors:
    return {**inputs, "c": inputs["c"][..., :count], "states": inputs["states"][..., :count]}


def _without_cb(inputs: Tensors) -> Tensors:
    return {**inputs, "cb": inputs["cb"].new_zeros(()).expand_as(inputs["cb"])}
