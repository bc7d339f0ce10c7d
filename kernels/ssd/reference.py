"""The correct answers: the SSD recurrence token by token, and the five chunked stages in plain PyTorch.

Notation and algorithm are those of Dao and Gu, "Transformers are SSMs: Generalized Models and Efficient
Algorithms Through Structured State Space Duality" (2024), sections 6 and 7. The stages work in pieces of about
`PIECE_ELEMENTS` intermediate elements: no tensor of size (chunks, heads, chunk, chunk) ever exists.

Head h reads group h // (nheads // ngroups) of B, C and CB. Packed sequences (`seq_idx`) follow one another
along a row: tokens of one sequence are adjacent, and an index does not come back once it has ended.
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


def ssd_recurrence(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    seq_idx: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The definition, by token in float64: h = exp(dt·A)·h + dt·x⊗B, y = h·C + D·x, gated by z·sigmoid(z).

    Shapes: x and z (batch, seqlen, nheads, headdim); dt (batch, seqlen, nheads), already positive; A
    (nheads,), negative; B and C (batch, seqlen, ngroups, dstate); D (nheads,) or (nheads, headdim); seq_idx
    (batch, seqlen), whole numbers: the state restarts from zero where it changes.
    Returns y (batch, seqlen, nheads, headdim) and the last token's state (batch, nheads, headdim, dstate).
    Source: the paper's equation 2 with A_t = exp(dt·A) and B_t = dt·B; D and the gate z as in Mamba's block.
    """
    batch, seqlen, nheads, headdim = x.shape
    heads_per_group = nheads // B.shape[2]
    with torch.no_grad():
        skip = None if D is None else D.double().reshape(nheads, -1)
        state = x.new_zeros((batch, nheads, headdim, B.shape[3]), dtype=torch.float64)
        out = torch.empty_like(x, dtype=torch.float64)
        for i_token in range(seqlen):
            t_x, t_dt = x[:, i_token].double(), dt[:, i_token].double()
            t_B, t_C = (t[:, i_token].double().repeat_interleave(heads_per_group, dim=1) for t in (B, C))
            if seq_idx is not None and i_token > 0:
                continues = seq_idx[:, i_token] == seq_idx[:, i_token - 1]
                state = state * continues[:, None, None, None]
            decay = torch.exp(t_dt * A.double())[:, :, None, None]
            state = decay * state + t_dt[:, :, None, None] * t_x[..., None] * t_B[:, :, None, :]
            y = (state * t_C[:, :, None, :]).sum(dim=-1)
            if skip is not None:
                y = y + skip * t_x
            if z is not None:
                y = y * silu(z[:, i_token].double())
            out[:, i_token] = y
    return out, state


def chunk_cumsum(dt: Tensor, A: Tensor, chunk_size: int) -> tuple[Tensor, Tensor]:
    """Stage 1: the running sum of dt·A inside each chunk, and dt cut into chunks.

    Shapes: dt (batch, seqlen, nheads), A (nheads,). Returns da_cumsum and dt, both (batch, nheads, nchunks,
    chunk_size), float64 if dt is float64, else float32. Beyond the last token dt is 0, so da_cumsum stays
    level there and its last element is the sum over the whole chunk.
    """
    dtype = _compute_dtype(dt)
    nchunks = -(-dt.shape[1] // chunk_size)
    with torch.no_grad():
        padded = pad(dt.to(dtype), (0, 0, 0, nchunks * chunk_size - dt.shape[1]))
        chunked = unflatten(padded, 1, (nchunks, chunk_size)).permute(0, 3, 1, 2).contiguous()
        return (chunked * A.to(dtype)[:, None, None]).cumsum(dim=-1), chunked


def chunk_states(
    B: Tensor,
    x: Tensor,
    dt: Tensor,
    da_cumsum: Tensor,
    seq_idx: Tensor | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Stage 2: the state that each chunk builds up from zero, Σ_k exp(da_last - da_k)·dt_k·x_k⊗B_k.

    Shapes: B (batch, seqlen, ngroups, dstate); x (batch, seqlen, nheads, headdim); dt and da_cumsum as
    `chunk_cumsum` returns them; seq_idx (batch, seqlen): only tokens of the chunk's last sequence count.
    Returns (batch, nchunks, nheads, headdim, dstate) in `dtype` (default: the compute dtype, da_cumsum's).
    """
    batch, seqlen, nheads, headdim = x.shape
    ngroups, dstate = B.shape[2:]
    nchunks, chunk_size = da_cumsum.shape[2:]
    split = (ngroups, nheads // ngroups)
    compute = _compute_dtype(da_cumsum)
    states = x.new_empty((batch, nchunks, *split, headdim, dstate), dtype=dtype or compute)
    x, dt, da_cumsum = unflatten(x, 2, split), unflatten(dt, 1, split), unflatten(da_cumsum, 1, split)
    last_idx = None if seq_idx is None else _last_index(seq_idx, chunk_size)
    elements = chunk_size * (3 * headdim + 2 * dstate) + headdim * dstate
    with _exact_products():
        for i_batch, chunks, groups, heads in _pieces(batch, nchunks, split, elements):
            tokens, n = _tokens(chunks, chunk_size, seqlen), chunks.stop - chunks.start
            b_da = da_cumsum[i_batch, groups, heads, chunks].to(compute)  # (g, h, c, k)
            weight = torch.exp(b_da[..., -1:] - b_da) * dt[i_batch, groups, heads, chunks].to(compute)
            if seq_idx is not None and last_idx is not None:
                b_idx = _chunked(seq_idx[i_batch, tokens], n, chunk_size)
                weight *= b_idx == last_idx[i_batch, chunks, None]
            b_x = _chunked(x[i_batch, tokens, groups, heads], n, chunk_size).to(compute)  # (c, k, g, h, p)
            b_x = b_x.permute(0, 2, 3, 4, 1) * weight.permute(2, 0, 1, 3)[:, :, :, None]  # (c, g, h, p, k)
            b_B = _chunked(B[i_batch, tokens, groups], n, chunk_size).to(compute)  # (c, k, g, n)
            b_states = b_x.flatten(2, 3) @ b_B.transpose(1, 2)
            states[i_batch, chunks, groups, heads] = unflatten(b_states, 2, (-1, headdim))
    return states.flatten(2, 3)


def state_passing(
    states: Tensor, da_cumsum: Tensor, seq_idx: Tensor | None = None, *, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Stage 3: the recurrence over chunks, with the running state in the compute dtype, da_cumsum's.

    Shapes: states (batch, nchunks, nheads, headdim, dstate) as `chunk_states` returns them; da_cumsum (batch,
    nheads, nchunks, chunk_size), of which only each chunk's last element is used; seq_idx (batch, seqlen): no
    state passes through a chunk that ends in a different sequence from the token before it.
    Returns the state before each chunk, in the shape of states and in `dtype` (default: that of states), and
    the state after the last chunk (batch, nheads, headdim, dstate) in the compute dtype.
    """
    with torch.no_grad():
        running = torch.zeros_like(states[:, 0], dtype=_compute_dtype(da_cumsum))
        before = torch.empty_like(states, dtype=dtype or states.dtype)
        scale = torch.exp(da_cumsum[..., -1].to(running.dtype))  # (batch, nheads, nchunks)
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
            tokens, n = _tokens(chunks, chunk_size, seqlen), chunks.stop - chunks.start
            b_C, b_B = (_chunked(t[i_batch, tokens, groups], n, chunk_size).to(compute) for t in (C, B))
            b_cb = b_C.transpose(1, 2) @ b_B.permute(0, 2, 3, 1)
            if seq_idx is not None:
                b_idx = _chunked(seq_idx[i_batch, tokens], n, chunk_size)
                b_cb *= (b_idx[:, :, None] == b_idx[:, None, :])[:, None]
            cb[i_batch, chunks, groups] = b_cb
    return cb


def chunk_scan(
    cb: Tensor,
    x: Tensor,
    dt: Tensor,
    da_cumsum: Tensor,
    C: Tensor,
    prev_states: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    seq_idx: Tensor | None = None,
    *,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Stage 5: exp(da_m)·C_m·state + Σ_{k≤m} cb_mk·exp(da_m - da_k)·dt_k·x_k + D·x_m, times z·sigmoid(z).

    Shapes: cb (batch, nchunks, ngroups, chunk_size, chunk_size); x and z (batch, seqlen, nheads, headdim); dt
    and da_cumsum (batch, nheads, nchunks, chunk_size); C (batch, seqlen, ngroups, dstate); prev_states
    (batch, nchunks, nheads, headdim, dstate), the state before each chunk; D (nheads,) or (nheads, headdim);
    seq_idx (batch, seqlen): the state counts only for tokens of the same sequence as the token before the
    chunk, which is sequence 0 before the first chunk.
    Returns (batch, seqlen, nheads, headdim) in `dtype`; the inputs are converted to it piece by piece.
    """
    batch, seqlen, nheads, headdim = x.shape
    ngroups, dstate = C.shape[2:]
    nchunks, chunk_size = da_cumsum.shape[2:]
    split = (ngroups, nheads // ngroups)
    out = torch.empty_like(x, dtype=dtype)
    x, out_grouped, prev_states = (unflatten(t, 2, split) for t in (x, out, prev_states))
    dt, da_cumsum = unflatten(dt, 1, split), unflatten(da_cumsum, 1, split)
    z = None if z is None else unflatten(z, 2, split)
    skip = None if D is None else D.to(dtype).reshape(*split, -1)
    before_idx = None if seq_idx is None else _index_before(_last_index(seq_idx, chunk_size))
    above_diagonal = torch.ones(chunk_size, chunk_size, dtype=torch.bool, device=x.device).triu(1)
    elements = chunk_size * (2 * chunk_size + 6 * headdim + dstate) + headdim * dstate
    with _exact_products():
        for i_batch, chunks, groups, heads in _pieces(batch, nchunks, split, elements):
            tokens, n = _tokens(chunks, chunk_size, seqlen), chunks.stop - chunks.start
            b_da = da_cumsum[i_batch, groups, heads, chunks].to(dtype).movedim(2, 0)  # (c, g, h, m)
            b_dt = dt[i_batch, groups, heads, chunks].to(dtype).movedim(2, 0)
            b_x = _chunked(x[i_batch, tokens, groups, heads], n, chunk_size).to(dtype)
            b_x = b_x.movedim(1, 3)  # (c, g, h, k, p)

            # The chunk's own tokens. Above the diagonal exp may overflow; it is masked, as inf times zero would be NaN.
            weight = b_da[..., :, None] - b_da[..., None, :]
            weight.masked_fill_(above_diagonal, -torch.inf).exp_()
            weight *= cb[i_batch, chunks, groups, None].to(dtype)
            b_out = weight @ (b_x * b_dt[..., None])

            # The state before the chunk, one product for all heads of a group.
            b_C = _chunked(C[i_batch, tokens, groups], n, chunk_size).to(dtype).transpose(1, 2)  # (c, g, m, n)
            b_states = prev_states[i_batch, chunks, groups, heads].to(dtype).flatten(2, 3)
            from_state = unflatten(b_C @ b_states.transpose(-1, -2), -1, (-1, headdim)).transpose(2, 3)
            decay = b_da.exp()
            if seq_idx is not None and before_idx is not None:
                b_idx = _chunked(seq_idx[i_batch, tokens], n, chunk_size)
                decay *= (b_idx == before_idx[i_batch, chunks, None])[:, None, None]
            b_out += decay[..., None] * from_state

            if skip is not None:
                b_out += skip[groups, heads, None] * b_x
            b_out = b_out.movedim(3, 1).flatten(0, 1)[: tokens.stop - tokens.start]
            if z is not None:
                b_out *= silu(z[i_batch, tokens, groups, heads].to(dtype))
            out_grouped[i_batch, tokens, groups, heads] = b_out
    return out


def chunk_scan_of(inputs: Mapping[str, Tensor]) -> Tensor:
    """`chunk_scan` of the inputs by their names in a launch, float32."""
    optional = {"D": inputs.get("d"), "z": inputs.get("z"), "seq_idx": inputs.get("seq_idx")}
    needed = (inputs[name] for name in ("cb", "x", "dt", "da_cumsum", "c", "states"))
    return chunk_scan(*needed, **optional)  # type: ignore[arg-type]


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
    rooms = (max(1, room // (nheads * ngroups)), max(1, room // nheads), room)
    slices = (_slices(size, step) for size, step in zip((nchunks, ngroups, nheads), rooms, strict=True))
    for i_batch, (chunks, groups, heads) in product(range(batch), product(*slices)):
        yield i_batch, chunks, groups, heads


def _slices(size: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def _tokens(chunks: slice, chunk_size: int, seqlen: int) -> slice:
    return slice(chunks.start * chunk_size, min(chunks.stop * chunk_size, seqlen))


def _chunked(tensor: Tensor, nchunks: int, chunk_size: int) -> Tensor:
    """(tokens, …) as (nchunks, chunk_size, …), padded with zeros."""
    missing = nchunks * chunk_size - tensor.shape[0]
    if missing:
        tensor = torch.cat([tensor, tensor.new_zeros((missing, *tensor.shape[1:]))])
    return unflatten(tensor, 0, (nchunks, chunk_size))


def _last_index(seq_idx: Tensor, chunk_size: int) -> Tensor:
    """The sequence that each chunk ends in: from (batch, seqlen) to (batch, nchunks)."""
    seqlen = seq_idx.shape[1]
    ends = torch.arange(chunk_size, seqlen + chunk_size, chunk_size, device=seq_idx.device)
    return seq_idx[:, ends.clamp(max=seqlen) - 1]


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
