"""The correct answers: the five chunked stages of the SSD in plain PyTorch.

Notation and algorithm are those of Dao and Gu, "Transformers are SSMs: Generalized Models and Efficient Algorithms
Through Structured State Space Duality" (2024), sections 6 and 7. The stages work in pieces of about `PIECE_ELEMENTS`
intermediate elements: no tensor of size (chunks, heads, chunk, chunk) ever exists.

Head h reads group h // (nheads // ngroups) of B, C and CB. Packed sequences (`seq_idx`) follow one another along a row:
tokens of one sequence are adjacent, and an index does not come back once it has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product

import torch
from torch import Tensor, unflatten
from torch.nn.functional import pad, silu

PIECE_ELEMENTS = 2**24
"""Intermediate elements of a piece of work, 64 MiB in float32; a piece is at least one head of one chunk."""


def chunk_cumsum(dt: Tensor, A: Tensor, chunk_size: int) -> tuple[Tensor, Tensor]:
    """Stage 1: the running sum of dt·A inside each chunk, and dt cut into chunks.

    Shapes: dt (batch, seqlen, nheads), A (nheads,). Returns da_cumsum and dt, (batch, nheads, nchunks, chunk_size),
    float64 if dt is float64, else float32. Beyond the last token dt is 0, so da_cumsum stays level there and its last
    element is the sum over the whole chunk.
    """
    dtype = _compute_dtype(dt)
    with torch.no_grad():
        padded = pad(dt.to(dtype), (0, 0, 0, -dt.shape[1] % chunk_size))
        chunked = unflatten(padded, 1, (-1, chunk_size)).permute(0, 3, 1, 2).contiguous()
        return (chunked * A.to(dtype)[:, None, None]).cumsum(dim=-1), chunked


def chunk_states(B: Tensor, x: Tensor, dt: Tensor, da_cumsum: Tensor, seq_idx: Tensor | None = None) -> Tensor:
    """Stage 2: the state that each chunk builds up from zero, Σ_k exp(da_last - da_k)·dt_k·x_k⊗B_k.

    Shapes: B (batch, seqlen, ngroups, dstate); x (batch, seqlen, nheads, headdim); dt and da_cumsum as `chunk_cumsum`
    returns them; seq_idx (batch, seqlen): only tokens of the chunk's last sequence count.
    Returns (batch, nchunks, nheads, headdim, dstate) in da_cumsum's dtype.
    """
    batch, seqlen, nheads, headdim = x.shape
    ngroups, dstate = B.shape[2:]
    nchunks, chunk_size = da_cumsum.shape[2:]
    split = (ngroups, nheads // ngroups)
    dtype = da_cumsum.dtype
    states = x.new_empty((batch, nchunks, *split, headdim, dstate), dtype=dtype)
    x, dt, da_cumsum = unflatten(x, 2, split), unflatten(dt, 1, split), unflatten(da_cumsum, 1, split)
    last_idx = None if seq_idx is None else _last_index(seq_idx, chunk_size)
    elements = chunk_size * (3 * headdim + 2 * dstate) + headdim * dstate
    with _exact_products():
        for i_batch, chunks, groups, heads in _pieces(batch, nchunks, split, elements):
            tokens = _tokens(chunks, chunk_size, seqlen)
            b_da = da_cumsum[i_batch, groups, heads, chunks]  # (g, h, c, k)
            weight = torch.exp(b_da[..., -1:] - b_da) * dt[i_batch, groups, heads, chunks]
            if seq_idx is not None and last_idx is not None:
                b_idx = _chunked(seq_idx[i_batch, tokens], chunk_size)
                weight *= b_idx == last_idx[i_batch, chunks, None]
            b_x = _chunked(x[i_batch, tokens, groups, heads], chunk_size).to(dtype)  # (c, k, g, h, p)
            b_x = b_x.permute(0, 2, 3, 4, 1) * weight.permute(2, 0, 1, 3)[:, :, :, None]  # (c, g, h, p, k)
            b_B = _chunked(B[i_batch, tokens, groups], chunk_size).to(dtype)  # (c, k, g, n)
            b_states = b_x.flatten(2, 3) @ b_B.transpose(1, 2)
            states[i_batch, chunks, groups, heads] = unflatten(b_states, 2, (-1, headdim))
    return states.flatten(2, 3)


def state_passing(
    states: Tensor, da_cumsum: Tensor, seq_idx: Tensor | None = None, *, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Stage 3: the recurrence over chunks, with the running state in da_cumsum's dtype.

    Shapes: states (batch, nchunks, nheads, headdim, dstate) as `chunk_states` returns them; da_cumsum (batch, nheads,
    nchunks, chunk_size), of which only each chunk's last element is used; seq_idx (batch, seqlen): no state passes
    through a chunk that ends in a different sequence from the token before it.
    Returns the state before each chunk, in the shape of states and in `dtype` (default: that of states), and the state
    after the last chunk (batch, nheads, headdim, dstate) in da_cumsum's dtype.
    """
    with torch.no_grad():
        running = torch.zeros_like(states[:, 0], dtype=da_cumsum.dtype)
        before = torch.empty_like(states, dtype=dtype or states.dtype)
        scale = torch.exp(da_cumsum[..., -1])  # (batch, nheads, nchunks)
        if seq_idx is not None:
            last_idx = _last_index(seq_idx, da_cumsum.shape[3])
            scale = scale * (last_idx == _index_before(last_idx))[:, None]
        for i_chunk in range(states.shape[1]):
            before[:, i_chunk] = running
            running = scale[:, :, i_chunk, None, None] * running + states[:, i_chunk].to(running.dtype)
    return before, running


def cb_product(C: Tensor, B: Tensor, chunk_size: int, seq_idx: Tensor | None = None) -> Tensor:
    """Stage 4: C_m·B_k for every two tokens of a chunk, also above the diagonal, where it is finite but unused.

    Shapes: C and B (batch, seqlen, ngroups, dstate); seq_idx (batch, seqlen): zero between two sequences.
    Returns (batch, nchunks, ngroups, chunk_size, chunk_size), rows m, columns k, zero beyond the last token;
    float64 if C is float64, else float32.
    """
    batch, seqlen, ngroups, dstate = C.shape
    nchunks = -(-seqlen // chunk_size)
    compute = _compute_dtype(C)
    cb = C.new_empty((batch, nchunks, ngroups, chunk_size, chunk_size), dtype=compute)
    elements = chunk_size * (2 * chunk_size + 4 * dstate)
    with _exact_products():
        for i_batch, chunks, groups, _ in _pieces(batch, nchunks, (ngroups, 1), elements):
            tokens = _tokens(chunks, chunk_size, seqlen)
            b_C, b_B = (_chunked(t[i_batch, tokens, groups], chunk_size).to(compute) for t in (C, B))
            b_cb = b_C.transpose(1, 2) @ b_B.permute(0, 2, 3, 1)
            if seq_idx is not None:
                b_idx = _chunked(seq_idx[i_batch, tokens], chunk_size)
                b_cb *= (b_idx[:, :, None] == b_idx[:, None, :])[:, None]
            cb[i_batch, chunks, groups] = b_cb
    return cb


def chunk_scan(inputs: Mapping[str, Tensor], *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Stage 5: exp(da_m)·C_m·state + Σ_{k≤m} cb_mk·exp(da_m - da_k)·dt_k·x_k + D·x_m, times z·sigmoid(z).

    Inputs by their names in a launch: cb (batch, nchunks, ngroups, chunk_size, chunk_size); x (batch, seqlen, nheads,
    headdim); dt and da_cumsum (batch, nheads, nchunks, chunk_size); c (batch, seqlen, ngroups, dstate); states (batch,
    nchunks, nheads, headdim, dstate), the state before each chunk. If there: d (nheads,) or (nheads, headdim); z as x;
    seq_idx (batch, seqlen): the state counts only for tokens of the same sequence as the token before the chunk, which
    is sequence 0 before the first chunk.
    Returns (batch, seqlen, nheads, headdim) in `dtype`; the inputs are converted to it piece by piece.
    """
    cb, x, dt, da_cumsum, C, states = (inputs[name] for name in ("cb", "x", "dt", "da_cumsum", "c", "states"))
    D, z, seq_idx = (inputs.get(name) for name in ("d", "z", "seq_idx"))
    batch, seqlen, nheads, headdim = x.shape
    ngroups, dstate = C.shape[2:]
    nchunks, chunk_size = da_cumsum.shape[2:]
    split = (ngroups, nheads // ngroups)
    out = torch.empty_like(x, dtype=dtype)
    x, out_grouped, states = (unflatten(t, 2, split) for t in (x, out, states))
    dt, da_cumsum = unflatten(dt, 1, split), unflatten(da_cumsum, 1, split)
    z = None if z is None else unflatten(z, 2, split)
    skip = None if D is None else D.to(dtype).reshape(*split, -1)
    before_idx = None if seq_idx is None else _index_before(_last_index(seq_idx, chunk_size))
    above_diagonal = torch.ones(chunk_size, chunk_size, dtype=torch.bool, device=x.device).triu(1)
    elements = chunk_size * (2 * chunk_size + 6 * headdim + dstate) + headdim * dstate
    with _exact_products():
        for i_batch, chunks, groups, heads in _pieces(batch, nchunks, split, elements):
            tokens = _tokens(chunks, chunk_size, seqlen)
            b_da = da_cumsum[i_batch, groups, heads, chunks].to(dtype).movedim(2, 0)  # (c, g, h, m)
            b_dt = dt[i_batch, groups, heads, chunks].to(dtype).movedim(2, 0)
            b_x = _chunked(x[i_batch, tokens, groups, heads], chunk_size).to(dtype)
            b_x = b_x.movedim(1, 3)  # (c, g, h, k, p)

            # The chunk's own tokens. Above the diagonal exp may overflow; it is masked, as inf times zero would be NaN.
            weight = b_da[..., :, None] - b_da[..., None, :]
            weight.masked_fill_(above_diagonal, -torch.inf).exp_()
            weight *= cb[i_batch, chunks, groups, None].to(dtype)
            b_out = weight @ (b_x * b_dt[..., None])

            # The state before the chunk, one product for all heads of a group.
            b_C = _chunked(C[i_batch, tokens, groups], chunk_size).to(dtype).transpose(1, 2)  # (c, g, m, n)
            b_states = states[i_batch, chunks, groups, heads].to(dtype).flatten(2, 3)
            from_state = unflatten(b_C @ b_states.transpose(-1, -2), -1, (-1, headdim)).transpose(2, 3)
            decay = b_da.exp()
            if seq_idx is not None and before_idx is not None:
                b_idx = _chunked(seq_idx[i_batch, tokens], chunk_size)
                decay *= (b_idx == before_idx[i_batch, chunks, None])[:, None, None]
            b_out += decay[..., None] * from_state

            if skip is not None:
                b_out += skip[groups, heads, None] * b_x
            b_out = b_out.movedim(3, 1).flatten(0, 1)[: tokens.stop - tokens.start]
            if z is not None:
                b_out *= silu(z[i_batch, tokens, groups, heads].to(dtype))
            out_grouped[i_batch, tokens, groups, heads] = b_out
    return out


def _compute_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _pieces(
    batch: int, nchunks: int, split: tuple[int, int], elements: int
) -> Iterator[tuple[int, slice, slice, slice]]:
    """Batch index, slices of chunks, of groups, of heads in a group; one head of one chunk has `elements`.

    A piece is as many whole chunks as fit in PIECE_ELEMENTS; if not even one fits, groups are split, then heads.
    """
    ngroups, nheads = split
    room = max(1, PIECE_ELEMENTS // elements)
    chunks = _slices(nchunks, max(1, room // (nheads * ngroups)))
    return product(range(batch), chunks, _slices(ngroups, max(1, room // nheads)), _slices(nheads, room))


def _slices(size: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def _tokens(chunks: slice, chunk_size: int, seqlen: int) -> slice:
    return slice(chunks.start * chunk_size, min(chunks.stop * chunk_size, seqlen))


def _chunked(tensor: Tensor, chunk_size: int) -> Tensor:
    """(tokens, …) as (nchunks, chunk_size, …), padded with zeros."""
    missing = -tensor.shape[0] % chunk_size
    if missing:
        tensor = torch.cat([tensor, tensor.new_zeros((missing, *tensor.shape[1:]))])
    return unflatten(tensor, 0, (-1, chunk_size))


def _last_index(seq_idx: Tensor, chunk_size: int) -> Tensor:
    """The sequence that each chunk ends in: from (batch, seqlen) to (batch, nchunks)."""
    return torch.cat([seq_idx[:, chunk_size - 1 : -1 : chunk_size], seq_idx[:, -1:]], dim=1)


def _index_before(last_idx: Tensor) -> Tensor:
    """The sequence of the token before each chunk, given that of each chunk's last; 0 before the first."""
    return pad(last_idx[:, :-1], (1, 0))


@contextmanager
def _exact_products() -> Iterator[None]:
    """Float32 products in full float32, without TF32 or bfloat16 shortcuts or gradients; settings are restored.

    Sets `fp32_precision`, not the older `allow_tf32`: restoring that one can leave the two in disagreement, and
    torch then raises when the user's own code reads it.
    """
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    saved = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.no_grad():
            yield
    finally:
        for backend, precision in zip(backends, saved, strict=True):
            backend.fp32_precision = precision
