"""The chunked stages against the definition, in float64, and their bounds on memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import pytest
import torch
from recurrence import ssd_recurrence
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from ssdprof.kernels.ssd import reference
from ssdprof.kernels.ssd.reference import cb_product, chunk_cumsum, chunk_scan, chunk_states, state_passing

MIB = 2**20


@dataclass(frozen=True)
class Inputs:
    x: Tensor
    dt: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None = None
    z: Tensor | None = None
    seq_idx: Tensor | None = None


def random_inputs(
    batch: int = 2,
    seqlen: int = 45,
    nheads: int = 6,
    headdim: int = 5,
    ngroups: int = 3,
    dstate: int = 7,
    d_form: str = "none",
    z: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Inputs:
    generator = torch.Generator().manual_seed(seqlen)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)

    shapes = {"none": None, "head": (nheads,), "head-dim": (nheads, headdim)}
    d_shape = shapes[d_form]
    return Inputs(
        x=normal(batch, seqlen, nheads, headdim),
        dt=normal(batch, seqlen, nheads).abs() * 0.3 + 0.001,
        A=-normal(nheads).abs() * 3 - 0.1,
        B=normal(batch, seqlen, ngroups, dstate),
        C=normal(batch, seqlen, ngroups, dstate),
        D=None if d_shape is None else normal(*d_shape),
        z=normal(batch, seqlen, nheads, headdim) if z else None,
    )


def packed(*boundaries: tuple[int, ...], seqlen: int, first: int = 0) -> Tensor:
    """One row of sequence indices for each tuple of positions at which a new sequence starts."""
    seq_idx = torch.zeros(len(boundaries), seqlen, dtype=torch.int32)
    for row, starts in zip(seq_idx, boundaries, strict=True):
        row[list(starts)] = 1
    return seq_idx.cumsum(dim=1).to(torch.int32) + first


def by_stages(inputs: Inputs, chunk_size: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    i = inputs
    da_cumsum, dt = chunk_cumsum(i.dt, i.A, chunk_size)
    states = chunk_states(i.B, i.x, dt, da_cumsum, i.seq_idx)
    prev_states, final_state = state_passing(states, da_cumsum, i.seq_idx)
    cb = cb_product(i.C, i.B, chunk_size, i.seq_idx)
    return scan(i, cb, dt, da_cumsum, prev_states, dtype), final_state


def scan(
    i: Inputs, cb: Tensor, dt: Tensor, da_cumsum: Tensor, states: Tensor, dtype: torch.dtype = torch.float64
) -> Tensor:
    needed = {"cb": cb, "x": i.x, "dt": dt, "da_cumsum": da_cumsum, "c": i.C, "states": states}
    optional = {"d": i.D, "z": i.z, "seq_idx": i.seq_idx}
    return chunk_scan(needed | {name: t for name, t in optional.items() if t is not None}, dtype=dtype)


def by_definition(inputs: Inputs) -> tuple[Tensor, Tensor]:
    i = inputs
    return ssd_recurrence(i.x, i.dt, i.A, i.B, i.C, i.D, i.z, i.seq_idx)


def largest_error(inputs: Inputs, chunk_size: int) -> float:
    pairs = zip(by_definition(inputs), by_stages(inputs, chunk_size), strict=True)
    return max((expected - got).abs().max().item() for expected, got in pairs)


@pytest.mark.parametrize("z", [False, True], ids=["ungated", "gated"])
@pytest.mark.parametrize("d_form", ["none", "head", "head-dim"])
@pytest.mark.parametrize("seqlen", [1, 15, 16, 17, 45, 64])
def test_stages_agree_with_the_recurrence(seqlen: int, d_form: str, z: bool) -> None:
    assert largest_error(random_inputs(seqlen=seqlen, d_form=d_form, z=z), chunk_size=16) < 1e-10


@pytest.mark.parametrize("ngroups", [1, 2, 3, 6])
def test_heads_read_their_own_group(ngroups: int) -> None:
    assert largest_error(random_inputs(ngroups=ngroups), chunk_size=16) < 1e-10


@pytest.mark.parametrize(
    ("headdim", "dstate", "chunk_size"), [(1, 1, 1), (1, 9, 2), (33, 1, 32), (17, 65, 64), (64, 128, 16)]
)
def test_any_headdim_dstate_and_chunk_size_agree(headdim: int, dstate: int, chunk_size: int) -> None:
    assert largest_error(random_inputs(headdim=headdim, dstate=dstate), chunk_size) < 1e-10


@pytest.mark.parametrize("first", [0, 1, 4])
@pytest.mark.parametrize(
    "boundaries",
    [
        pytest.param(((5,), (40,)), id="inside a chunk"),
        pytest.param(((16,), (32,)), id="at a chunk's edge"),
        pytest.param(((15, 16, 17), (31, 33)), id="around a chunk's edge"),
        pytest.param(((3, 5, 9, 11), (18, 20, 30)), id="several in one chunk"),
        pytest.param(((1,), (44,)), id="after the first and before the last token"),
        pytest.param((tuple(range(1, 45)), ()), id="every token alone, and one sequence"),
    ],
)
def test_packed_sequences_agree_with_the_recurrence(boundaries: tuple[tuple[int, ...], ...], first: int) -> None:
    inputs = random_inputs(d_form="head", z=True)
    inputs = replace(inputs, seq_idx=packed(*boundaries, seqlen=45, first=first))

    assert largest_error(inputs, chunk_size=16) < 1e-10


def test_packed_sequences_equal_the_sequences_alone() -> None:
    inputs = random_inputs(batch=1)
    starts = (0, 13, 16, 41, 45)

    out, final_state = by_definition(replace(inputs, seq_idx=packed(starts[1:-1], seqlen=45)))

    for start, stop in pairwise(starts):
        t = slice(start, stop)
        alone, state = by_definition(
            replace(inputs, x=inputs.x[:, t], dt=inputs.dt[:, t], B=inputs.B[:, t], C=inputs.C[:, t])
        )
        assert torch.equal(alone, out[:, t])
    assert torch.equal(state, final_state)


def test_recurrence_of_one_token_is_the_formula() -> None:
    i = random_inputs(batch=1, seqlen=1, nheads=1, ngroups=1, d_form="head", z=True)
    assert i.D is not None
    assert i.z is not None

    out, state = by_definition(i)

    expected_state = i.dt.item() * torch.outer(i.x.flatten(), i.B.flatten())
    expected = (expected_state @ i.C.flatten() + i.D * i.x.flatten()) * i.z.flatten() * i.z.flatten().sigmoid()
    torch.testing.assert_close(expected_state, state[0, 0])
    torch.testing.assert_close(expected, out.flatten())


def test_recurrence_is_in_float64_whatever_the_inputs() -> None:
    out, state = by_definition(random_inputs(dtype=torch.bfloat16))

    assert (torch.float64, torch.float64) == (out.dtype, state.dtype)


def test_strong_decay_neither_overflows_nor_gives_nan() -> None:
    inputs = random_inputs(seqlen=200)
    inputs = replace(inputs, dt=inputs.dt * 100, A=inputs.A * 100)

    out, final_state = by_stages(inputs, chunk_size=64, dtype=torch.float32)

    assert out.isfinite().all()
    assert final_state.isfinite().all()
    torch.testing.assert_close(by_definition(inputs)[0].float(), out, rtol=1e-5, atol=1e-4)


def test_cumsum_never_increases_and_stays_level_beyond_the_last_token() -> None:
    inputs = random_inputs(seqlen=45)

    da_cumsum, dt = chunk_cumsum(inputs.dt, inputs.A, 16)

    assert (2, 6, 3, 16) == da_cumsum.shape == dt.shape
    assert (da_cumsum.diff(dim=-1) <= 0).all()
    assert (da_cumsum[:, :, -1, 12:] == da_cumsum[:, :, -1, 12:13]).all()
    assert (dt[:, :, -1, 13:] == 0).all()
    assert torch.equal(inputs.dt.movedim(2, 1), dt.flatten(2)[:, :, :45])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_stages_compute_in_float32_for_narrower_inputs(dtype: torch.dtype) -> None:
    inputs = random_inputs(d_form="head", z=True, dtype=dtype)

    out, final_state = by_stages(inputs, 16, torch.float32)

    assert (torch.float32, torch.float32) == (out.dtype, final_state.dtype)
    expected, expected_state = by_definition(inputs)
    torch.testing.assert_close(expected.float(), out, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(expected_state.float(), final_state, rtol=1e-4, atol=1e-4)


def test_states_pass_in_float32_and_come_in_the_dtype_asked_for() -> None:
    inputs = random_inputs(dtype=torch.bfloat16)
    da_cumsum, dt = chunk_cumsum(inputs.dt, inputs.A, 16)

    wide = chunk_states(inputs.B, inputs.x, dt, da_cumsum)
    prev_states, final_state = state_passing(wide, da_cumsum, dtype=torch.bfloat16)

    assert (2, 3, 6, 5, 7) == wide.shape == prev_states.shape
    assert (torch.float32, torch.bfloat16, torch.float32) == (wide.dtype, prev_states.dtype, final_state.dtype)
    assert torch.equal(state_passing(wide, da_cumsum)[0].bfloat16(), prev_states)


def test_cb_is_finite_above_the_diagonal_and_zero_between_sequences_and_beyond_the_end() -> None:
    inputs = random_inputs(batch=1, seqlen=21, ngroups=2)

    cb = cb_product(inputs.C, inputs.B, 16, packed((4,), seqlen=21))

    assert cb.shape == (1, 2, 2, 16, 16)
    torch.testing.assert_close((inputs.C[0, 2, 1] @ inputs.B[0, 3, 1]), cb[0, 0, 1, 2, 3])
    assert (cb[0, 0, :, 4:, :4] == 0).all()
    assert (cb[0, 0, :, :4, 4:] == 0).all()
    assert (cb[0, 1, :, 5:] == 0).all()
    assert (cb[0, 1, :, :, 5:] == 0).all()


@pytest.mark.parametrize(("first", "counts"), [(0, True), (1, False)])
def test_a_state_before_the_first_chunk_belongs_to_sequence_zero(first: int, counts: bool) -> None:
    i = random_inputs(seqlen=10)
    da_cumsum, dt = chunk_cumsum(i.dt, i.A, 16)
    cb = cb_product(i.C, i.B, 16)
    state = torch.ones(2, 1, 6, 5, 7, dtype=torch.float64)
    seq_idx = packed((), (), seqlen=10, first=first)

    with_state = scan(replace(i, seq_idx=seq_idx), cb, dt, da_cumsum, state)

    decay = da_cumsum[:, :, 0, :10].exp().movedim(1, 2)
    from_state = (decay * i.C.sum(dim=-1).repeat_interleave(2, dim=-1))[..., None]
    expected = by_definition(i)[0] + from_state * counts
    torch.testing.assert_close(expected, with_state, rtol=1e-10, atol=1e-10)


def test_inputs_stay_as_they_were() -> None:
    inputs = random_inputs(d_form="head-dim", z=True)
    inputs = replace(inputs, seq_idx=packed((20,), (16,), seqlen=45))
    tensors = [t for t in vars(inputs).values() if isinstance(t, Tensor)]
    copies = [t.clone() for t in tensors]

    by_stages(inputs, 16)
    by_definition(inputs)

    assert all(torch.equal(copy, t) for copy, t in zip(copies, tensors, strict=True))


@pytest.mark.parametrize("piece_elements", [1, 2000, 5000, 20000])
def test_pieces_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch, piece_elements: int) -> None:
    inputs = replace(random_inputs(d_form="head", z=True), seq_idx=packed((20,), (16,), seqlen=45))
    whole = by_stages(inputs, 16)

    monkeypatch.setattr(reference, "PIECE_ELEMENTS", piece_elements)

    for expected, got in zip(whole, by_stages(inputs, 16), strict=True):
        torch.testing.assert_close(expected, got, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("split", [(1, 1), (1, 6), (6, 1), (3, 2)])
@pytest.mark.parametrize("piece_elements", [1, 10, 25, 60, 200, 10_000])
def test_pieces_cover_everything_once_and_keep_to_their_size(
    monkeypatch: pytest.MonkeyPatch, piece_elements: int, split: tuple[int, int]
) -> None:
    monkeypatch.setattr(reference, "PIECE_ELEMENTS", piece_elements)
    covered = torch.zeros(2, 5, *split, dtype=torch.int32)

    for piece in reference._pieces(2, 5, split, 10):
        covered[piece] += 1
        assert covered[piece].numel() * 10 <= max(piece_elements, 10)

    assert (covered == 1).all()


def peak_allocated_bytes(call: Callable[[], object]) -> int:
    """Most CPU memory that `call` holds at once of what it allocates through torch, as its profiler saw it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        result = call()
    del result
    assert recorded.profiler is not None
    assert recorded.profiler.kineto_results is not None
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = list(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))
    return max(held)


@pytest.mark.slow
def test_memory_is_bounded_by_the_results_and_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """One (chunks, heads, chunk, chunk) tensor would be 64 MiB here, the inputs in float32 some 12 MiB."""
    piece_bytes = 2 * MIB
    monkeypatch.setattr(reference, "PIECE_ELEMENTS", piece_bytes // 4)
    i = random_inputs(1, 4096, 32, 8, 2, 16, d_form="head", z=True, dtype=torch.bfloat16)
    seq_idx = packed((2000,), seqlen=4096)
    da_cumsum, dt = chunk_cumsum(i.dt, i.A, 128)
    states = chunk_states(i.B, i.x, dt, da_cumsum)
    prev_states, _ = state_passing(states, da_cumsum)
    cb = cb_product(i.C, i.B, 128)
    whole = replace(i, seq_idx=seq_idx)
    stages: list[tuple[int, Callable[[], object]]] = [
        (states.nbytes, lambda: chunk_states(i.B, i.x, dt, da_cumsum, seq_idx)),
        (states.nbytes, lambda: state_passing(states, da_cumsum, seq_idx)),
        (cb.nbytes, lambda: cb_product(i.C, i.B, 128, seq_idx)),
        (i.x.numel() * 4, lambda: scan(whole, cb, dt, da_cumsum, prev_states, torch.float32)),
    ]
    for result_bytes, call in stages:
        peak_bytes = peak_allocated_bytes(call)
        assert result_bytes <= peak_bytes <= result_bytes + 1.25 * piece_bytes
