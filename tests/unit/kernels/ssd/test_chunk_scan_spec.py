"""What the chunk scan's spec says of outputs: axes, tolerances, sums cut short, memory. On the CPU, in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from ssdprof.kernels.interface import Axis, Config
from ssdprof.kernels.ssd import reference
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import SAMPLED_CHUNKS, WORKSPACE_BYTES, ChunkScan

SPEC = ChunkScan()
SMALL = ChunkScanProblem(
    seqlen=330, nheads=4, ngroups=2, headdim=8, dstate=64, chunk_size=16, dtype="float32", states_dtype="float32"
)
"""Of 21 chunks, the last of 10 tokens: more than are sampled."""
OPTIONS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "batch of two": {"batch": 2},
    "gate": {"z": True},
    "no D": {"d_form": "none"},
    "D per head and dimension": {"d_form": "head-dim"},
    "packed sequences": {"seq_idx": True},
    "bfloat16": {"dtype": "bfloat16", "states_dtype": "bfloat16"},
    "float16": {"dtype": "float16"},
    "float32 states": {"dtype": "bfloat16"},
    "few chunks": {"seqlen": 50},
    "odd state dimension": {"dstate": 37},
    "everything at once": {
        "batch": 2,
        "z": True,
        "d_form": "head-dim",
        "seq_idx": True,
        "dtype": "bfloat16",
        "dstate": 40,
    },
}
TILE, SPLIT = Config(16, 16, 16, 16, num_warps=4, num_stages=1), Config(16, 16, 16, 16, 4, 1, variant="split")


def inputs_of(problem: ChunkScanProblem) -> dict[str, torch.Tensor]:
    return SPEC.make_inputs(problem, "cpu", 0)


def output(problem: ChunkScanProblem, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return SPEC.reference(problem, inputs).to(getattr(torch, problem.dtype))


def first_of_state(inputs: Mapping[str, torch.Tensor], count: int) -> dict[str, torch.Tensor]:
    c = inputs["c"].clone()
    c[..., count:] = 0
    return {**inputs, "c": c}


def test_axes_name_the_output_in_order_and_only_tokens_come_in_chunks() -> None:
    assert (Axis("sequence"), Axis("token", chunk=16), Axis("head"), Axis("dim")) == SPEC.output_axes(SMALL)
    assert len(SPEC.tensors(SMALL)["out"].shape) == len(SPEC.output_axes(SMALL))


def partial_sum(
    problem: ChunkScanProblem, config: Config, inputs: Mapping[str, torch.Tensor], out: torch.Tensor
) -> str | None:
    return SPEC.partial_sum(problem, config, inputs, output(problem, inputs), out)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_output_of_the_first_state_elements_alone_is_told_with_the_remedy(option: str) -> None:
    problem = replace(SMALL, **OPTIONS[option])
    inputs = inputs_of(problem)

    out = output(problem, first_of_state(inputs, 16))

    expected = f"only the first 16 of {problem.dstate} state elements (dstate) are summed: "
    assert expected + "take a DSTATE tile of 64, or the variant split" == partial_sum(problem, TILE, inputs, out)
    assert expected + "the loop over DSTATE tiles ends after one" == partial_sum(problem, SPLIT, inputs, out)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_product_left_out_is_told(option: str) -> None:
    problem = replace(SMALL, **OPTIONS[option])
    inputs = inputs_of(problem)

    no_state = output(problem, first_of_state(inputs, 0))
    no_inside = output(problem, {**inputs, "cb": torch.zeros_like(inputs["cb"])})

    for config in (TILE, replace(TILE, block_dstate=128), replace(TILE, block_dstate=None)):
        assert "the product of C and the state (dstate) is missing altogether" == partial_sum(
            problem, config, inputs, no_state
        )
        assert "the product of CB and x inside the chunk is missing altogether" == partial_sum(
            problem, config, inputs, no_inside
        )


@pytest.mark.parametrize("option", OPTIONS)
def test_a_right_output_and_ones_wrong_in_other_ways_are_no_sum_cut_short(option: str) -> None:
    problem = replace(SMALL, **OPTIONS[option])
    inputs = inputs_of(problem)
    right = output(problem, inputs)

    for out in (right, 1.2 * right, torch.zeros_like(right), torch.full_like(right, torch.nan), -right):
        assert partial_sum(problem, TILE, inputs, out) is None
    assert partial_sum(problem, TILE, inputs, output(problem, first_of_state(inputs, 32))) is None


def test_a_tile_that_holds_the_whole_state_is_not_blamed() -> None:
    inputs = inputs_of(SMALL)
    out = output(SMALL, first_of_state(inputs, 32))
    assert partial_sum(SMALL, replace(TILE, block_dstate=64), inputs, out) is None
    assert partial_sum(SMALL, replace(TILE, block_dstate=32), inputs, out) is not None


@pytest.mark.parametrize("seq_idx", [False, True])
@pytest.mark.parametrize("nchunks", [1, 2 * SAMPLED_CHUNKS, 2 * SAMPLED_CHUNKS + 1, 30])
def test_only_some_chunks_are_computed_and_they_are_as_the_whole_has_them(
    monkeypatch: pytest.MonkeyPatch, nchunks: int, seq_idx: bool
) -> None:
    problem = replace(SMALL, seqlen=16 * nchunks - 3, seq_idx=seq_idx, z=True)
    inputs = inputs_of(problem)
    right, cut = output(problem, inputs), output(problem, {**inputs, "cb": torch.zeros_like(inputs["cb"])})
    tokens = []
    whole = reference.chunk_scan

    def counted(cb: torch.Tensor, x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        tokens.append(x.shape[1])
        return whole(cb, x, *args, **options)

    monkeypatch.setattr(reference, "chunk_scan", counted)

    assert SPEC.partial_sum(problem, TILE, inputs, right, right) is None
    assert not tokens
    assert "CB and x" in (SPEC.partial_sum(problem, TILE, inputs, right, cut) or "")
    tried = 3  # part of the state, no state, no CB
    assert tried * (1 if nchunks <= 2 * SAMPLED_CHUNKS else 2) == len(tokens)
    assert sum(tokens) <= tried * 2 * (SAMPLED_CHUNKS + 1) * problem.chunk_size


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_rounding_the_operands_and_the_output_stays_well_within_the_tolerances(dtype: str) -> None:
    from ssdprof.profiling.measuring.check import judge, merge, output_errors, row_norm_rms

    problem = replace(SMALL, dtype=dtype, headdim=64, chunk_size=64)
    inputs = inputs_of(problem)
    right = SPEC.reference(problem, inputs)
    rounded = {**inputs, "states": inputs["states"].to(getattr(torch, dtype)).float()}
    # The weights CB · exp · dt are rounded as a whole; CB rounded stands for them.
    rounded["cb"] = inputs["cb"].to(getattr(torch, dtype)).float()

    tolerances = SPEC.tolerances(problem)
    found = output_errors(output(problem, rounded), right, tolerances, row_norm_rms(right))

    assert ("ok", "") == judge(merge([found], True, 1), tolerances)
    assert tolerances.relative_error / 10 < found.relative_error < tolerances.relative_error / 3


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("bfloat16", "bfloat16, each by up to 0.0039: 2.6 such roundings for the whole, 13 for a row"),
        ("float16", "float16, each by up to 0.00049: 4.1 such roundings for the whole, 20 for a row"),
        ("float32", "TF32, each by up to 0.00098: 2.0 such roundings for the whole, 10 for a row"),
    ],
)
def test_tolerances_say_how_many_roundings_they_allow(dtype: str, expected: str) -> None:
    reason = SPEC.tolerances(replace(SMALL, dtype=dtype)).reason
    assert f"operands and output are rounded to {expected}, whose terms may all but cancel" == reason


def test_memory_is_that_of_one_set_of_inputs_and_its_reference_at_the_peak() -> None:
    problem = ChunkScanProblem(seqlen=50_000)
    sizes = {name: meta.size_bytes for name, meta in SPEC.tensors(problem).items()}

    kept = sum(sizes.values()) - sizes["out"]
    reference_bytes = 2 * sizes["out"]  # float32 where the output is bfloat16

    needed = SPEC.memory_bytes(problem)
    assert kept + reference_bytes + WORKSPACE_BYTES < needed < kept + reference_bytes + 1.2 * WORKSPACE_BYTES
    states = replace(problem, dstate=256, chunk_size=64)
    bigger = SPEC.tensors(states)["states"].numel
    assert SPEC.memory_bytes(states) > 4 * bigger + 2 * bigger
