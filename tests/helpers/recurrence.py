"""The definition of the SSD, which its chunked stages are compared with: a recurrence, token by token."""

from __future__ import annotations

# ruff: noqa: N803, N806 (A, B, C and D are the paper's names)
import torch
from torch import Tensor
from torch.nn.functional import silu


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
