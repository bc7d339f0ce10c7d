"""What the chunk scan says of its outputs: axes, tolerances, sums cut short, memory. On the CPU, in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from ssdprof.kernels.config import Config
from ssdprof.kernels.interface import Axis, Tolerances
from ssdprof.kernels.ssd import reference
from ssdprof.kernels.ssd.on_problem import WORKSPACE_BYTES
from ssdprof.kernels.ssd.params import chunk_scan_config
from ssdprof.kernels.ssd.partial import SAMPLED_CHUNKS
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan

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
TILE = chunk_scan_config(16, 16, 16, 16, num_warps=4, num_stages=1)
SPLIT, GROUPED = (replace(TILE, variant=variant) for variant in ("split", "grouped"))


def with_tile(dstate: int | None) -> Config:
    return TILE.with_values({"BLOCK_SIZE_DSTATE": dstate})


def inputs_of(problem: ChunkScanProblem) -> dict[str, torch.Tensor]:
    return ChunkScan(problem).inputs("cpu", 0)


def tolerances_of(problem: ChunkScanProblem) -> Tolerances:
    (tolerances,) = ChunkScan(problem).tolerances()
    assert "out" == tolerances.output
    return tolerances


def output(problem: ChunkScanProblem, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return ChunkScan(problem).reference(inputs)["out"].to(getattr(torch, problem.dtype))


def first_of_state(inputs: Mapping[str, torch.Tensor], count: int) -> dict[str, torch.Tensor]:
    c = inputs["c"].clone()
    c[..., count:] = 0
    return {**inputs, "c": c}


def test_axes_name_the_output_in_order_and_only_tokens_come_in_chunks() -> None:
    subject = ChunkScan(SMALL)
    assert (Axis("sequence"), Axis("token", chunk=16), Axis("head"), Axis("dim")) == subject.axes("out")
    assert len(subject.tensors()["out"].shape) == len(subject.axes("out"))


@pytest.mark.parametrize("option", OPTIONS)
def test_inputs_are_every_tensor_that_is_read_with_its_shape_and_dtype(option: str) -> None:
    problem = replace(SMALL, **OPTIONS[option])
    metas, inputs = ChunkScan(problem).tensors(), inputs_of(problem)

    assert {name for name, meta in metas.items() if meta.role == "in"} == inputs.keys()
    assert ["out"] == [name for name, meta in metas.items() if meta.is_written]
    for name, tensor in inputs.items():
        assert (metas[name].shape, getattr(torch, metas[name].dtype)) == (tensor.shape, tensor.dtype), name
        assert tensor.is_contiguous()
        assert metas[name].strides is None


def cause(
    problem: ChunkScanProblem, config: Config, inputs: Mapping[str, torch.Tensor], out: torch.Tensor
) -> str | None:
    return ChunkScan(problem).cause(config, inputs, {"out": output(problem, inputs)}, {"out": out})


@pytest.mark.parametrize("option", OPTIONS)
def test_an_output_of_the_first_state_elements_alone_is_told_with_the_remedy(option: str) -> None:
    problem = replace(SMALL, **OPTIONS[option])
    inputs = inputs_of(problem)

    out = output(problem, first_of_state(inputs, 16))

    expected = f"only the first 16 of {problem.dstate} state elements (dstate) are summed: "
    assert expected + "take a DSTATE tile of 64, or the variant split" == cause(problem, TILE, inputs, out)
    assert expected + "the loop over DSTATE tiles ends after one" == cause(problem, SPLIT, inputs, out)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_product_left_out_is_told(option: str) -> None:
    problem = replace(SMALL, **OPTIONS[option])
    inputs = inputs_of(problem)

    no_state = output(problem, first_of_state(inputs, 0))
    no_inside = output(problem, {**inputs, "cb": torch.zeros_like(inputs["cb"])})

    for config in (TILE, with_tile(128), with_tile(None)):
        assert "the product of C and the state (dstate) is missing altogether" == cause(
            problem, config, inputs, no_state
        )
        assert "the product of CB and x inside the chunk is missing altogether" == cause(
            problem, config, inputs, no_inside
        )


@pytest.mark.parametrize("option", OPTIONS)
def test_a_correct_output_and_ones_wrong_in_other_ways_are_no_sum_cut_short(option: str) -> None:
    problem = replace(SMALL, **OPTIONS[option])
    inputs = inputs_of(problem)
    correct = output(problem, inputs)

    for out in (correct, 1.2 * correct, torch.zeros_like(correct), torch.full_like(correct, torch.nan), -correct):
        assert cause(problem, TILE, inputs, out) is None
    assert cause(problem, TILE, inputs, output(problem, first_of_state(inputs, 32))) is None


def test_a_tile_that_holds_the_whole_state_is_not_blamed() -> None:
    inputs = inputs_of(SMALL)
    out = output(SMALL, first_of_state(inputs, 32))
    assert cause(SMALL, with_tile(64), inputs, out) is None
    assert cause(SMALL, with_tile(32), inputs, out) is not None


@pytest.mark.parametrize("seq_idx", [False, True])
@pytest.mark.parametrize("nchunks", [1, 2 * SAMPLED_CHUNKS, 2 * SAMPLED_CHUNKS + 1, 30])
def test_only_some_chunks_are_computed_and_they_are_as_the_whole_has_them(
    monkeypatch: pytest.MonkeyPatch, nchunks: int, seq_idx: bool
) -> None:
    problem = replace(SMALL, seqlen=16 * nchunks - 3, seq_idx=seq_idx, z=True)
    inputs = inputs_of(problem)
    correct, cut = output(problem, inputs), output(problem, {**inputs, "cb": torch.zeros_like(inputs["cb"])})
    tokens = []
    whole = reference.chunk_scan

    def counted(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        tokens.append(inputs["x"].shape[1])
        return whole(inputs)

    monkeypatch.setattr(reference, "chunk_scan", counted)

    assert ChunkScan(problem).cause(TILE, inputs, {"out": correct}, {"out": correct}) is None
    assert not tokens
    assert "CB and x" in (ChunkScan(problem).cause(TILE, inputs, {"out": correct}, {"out": cut}) or "")
    tried = 3  # part of the state, no state, no CB
    assert tried * (1 if nchunks <= 2 * SAMPLED_CHUNKS else 2) == len(tokens)
    assert sum(tokens) <= tried * 2 * (SAMPLED_CHUNKS + 1) * problem.chunk_size


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_rounding_the_operands_and_the_output_stays_well_within_the_tolerances(dtype: str) -> None:
    from ssdprof.profiling.measuring.check import judge, merge
    from ssdprof.profiling.measuring.compare import output_errors, row_norm_rms

    problem = replace(SMALL, dtype=dtype, headdim=64, chunk_size=64)
    inputs = inputs_of(problem)
    correct = ChunkScan(problem).reference(inputs)["out"]
    rounded = {**inputs, "states": inputs["states"].to(getattr(torch, dtype)).float()}
    # The weights CB · exp · dt are rounded as a whole; CB rounded stands for them.
    rounded["cb"] = inputs["cb"].to(getattr(torch, dtype)).float()

    tolerances = tolerances_of(problem)
    found = output_errors(output(problem, rounded), correct, tolerances, row_norm_rms(correct))

    assert ("ok", "") == judge(merge([found], True, 1), {"out": tolerances})
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
    reason = tolerances_of(replace(SMALL, dtype=dtype, headdim=16)).reason
    assert f"operands and output are rounded to {expected}, whose terms may all but cancel" == reason


def test_rounding_alone_is_no_wrong_row_if_a_row_has_one_element() -> None:
    """As on an H100: 59 760 rows of one element in TF32 were off by 0.00075 in all, and the worst row by 0.014."""
    from ssdprof.profiling.measuring.compare import output_errors, row_norm_rms

    problem = replace(SMALL, headdim=1, dtype="float32")
    generator = torch.Generator().manual_seed(0)
    correct, noise = (torch.randn((3, 498, 40, 1), generator=generator) for _ in range(2))
    found = output_errors(correct + 7.5e-4 * noise, correct, tolerances_of(problem), row_norm_rms(correct))

    assert found.worst_row_error > tolerances_of(replace(problem, headdim=64)).row_error
    assert 0 == found.bad_rows


def test_memory_is_that_of_one_set_of_inputs_and_its_reference_at_the_peak() -> None:
    problem = ChunkScanProblem(seqlen=50_000)
    sizes = {name: meta.size_bytes for name, meta in ChunkScan(problem).tensors().items()}

    kept = sum(sizes.values()) - sizes["out"]
    reference_bytes = 2 * sizes["out"]  # float32 where the output is bfloat16

    needed = ChunkScan(problem).memory_bytes()
    assert kept + reference_bytes + WORKSPACE_BYTES < needed < kept + reference_bytes + 1.2 * WORKSPACE_BYTES
    states = replace(problem, dstate=256, chunk_size=64)
    bigger = ChunkScan(states).tensors()["states"].numel
    assert ChunkScan(states).memory_bytes() > 4 * bigger + 2 * bigger


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("tile", (("tile", 2), ("chunk", 22), ("head", 4))),
        ("grouped", (("column tile", 1), ("block of heads", 1), ("row tile", 2), ("group", 2), ("chunk", 22))),
    ],
)
def test_the_axes_of_the_grid_are_named_fastest_first_and_multiply_to_its_blocks(
    variant: str, expected: tuple[tuple[str, int], ...]
) -> None:
    subject = ChunkScan(replace(SMALL, batch=2, headdim=16, chunk_size=32))
    config = subject.resolve(chunk_scan_config(16, 16, 16, 64, num_warps=1, num_stages=1, variant=variant))
    assert expected == subject.grid_axes(config)
    assert subject.launch(config).grid_blocks == math.prod(size for _, size in expected)
