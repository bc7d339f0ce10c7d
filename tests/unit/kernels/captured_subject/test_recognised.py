"""Captured chunk scans of mamba-ssm and its heirs are known, and held against plain PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from captured_softmax import softmax_launch

from ssdprof.kernels.captured import recognised
from ssdprof.kernels.captured.arguments import kept_tensor
from ssdprof.kernels.captured.model import CapturedLaunch, KeptTensor, TensorArg
from ssdprof.kernels.ssd.presets import problem_from
from ssdprof.kernels.ssd.reference import chunk_scan
from ssdprof.kernels.ssd.subject import ChunkScan

PARAMETERS = {
    "cb_ptr": "cb",
    "x_ptr": "x",
    "z_ptr": "z",
    "dt_ptr": "dt",
    "dA_cumsum_ptr": "da_cumsum",
    "seq_idx_ptr": "seq_idx",
    "C_ptr": "c",
    "prev_states_ptr": "states",
    "D_ptr": "d",
}
"""Our names of the tensors by the kernel's parameters."""
BATCHED = tuple(name for name in PARAMETERS if name != "D_ptr")


@pytest.fixture(scope="module")
def given() -> dict[str, torch.Tensor]:
    """Inputs of a small chunk scan by parameter."""
    sizes: dict[str, Any] = {"nheads": 4, "headdim": 8, "ngroups": 2, "dstate": 16, "chunk_size": 16}
    problem = problem_from(seqlen=40, batch=1, d_form="head", z=True, seq_idx=True, **sizes)
    inputs = ChunkScan(problem).inputs("cpu", 3)
    return {name: inputs[ours] for name, ours in PARAMETERS.items()}


def launch(tensors: Mapping[str, torch.Tensor], outputs: tuple[str, ...] = ("out_ptr",), **args: Any) -> CapturedLaunch:
    """A launch of that name on these tensors."""
    written = {name: torch.empty_like(tensors["x_ptr"]) for name in outputs if "x_ptr" in tensors}
    kept = [
        kept_tensor(one, i, "out" if name in written else "in")
        for i, (name, one) in enumerate({**tensors, **written}.items())
    ]
    arguments = {name: TensorArg(i) for i, name in enumerate([*tensors, *written])}
    return softmax_launch(
        name=recognised.CHUNK_SCAN, tensors=tuple(kept), args={**arguments, "chunk_size": 16, "HAS_Z": True, **args}
    )


def unbatched(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: one[0] if name in BATCHED else one for name, one in tensors.items()}


def without(tensors: Mapping[str, torch.Tensor], *names: str) -> dict[str, torch.Tensor]:
    return {name: one for name, one in tensors.items() if name not in names}


def ours(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {PARAMETERS[name]: one for name, one in tensors.items()}


def test_a_chunk_scan_is_recognised_and_gives_what_plain_pytorch_gives(given: dict[str, torch.Tensor]) -> None:
    captured = launch(given, IS_CAUSAL=True)
    assert recognised.recognised(captured)
    found = recognised.reference(captured, given)
    assert ["out_ptr"] == list(found)
    assert torch.equal(chunk_scan(ours(given)), found["out_ptr"])


def test_one_without_a_batch_gives_the_same_without_it(given: dict[str, torch.Tensor]) -> None:
    captured = launch(unbatched(given))
    assert recognised.recognised(captured)
    found = recognised.reference(captured, unbatched(given))["out_ptr"]
    assert torch.equal(chunk_scan(ours(given))[0], found)


def test_what_it_keeps_before_the_gate_is_not_gated(given: dict[str, torch.Tensor]) -> None:
    captured = launch(given, ("out_ptr", "out_x_ptr"))
    assert recognised.recognised(captured)
    found = recognised.reference(captured, given)
    assert torch.equal(chunk_scan(ours(without(given, "z_ptr"))), found["out_x_ptr"])
    assert not torch.equal(found["out_ptr"], found["out_x_ptr"])


@pytest.mark.parametrize("absent", ["z_ptr", "D_ptr", "seq_idx_ptr"])
def test_what_a_chunk_scan_may_lack_may_be_absent(given: dict[str, torch.Tensor], absent: str) -> None:
    tensors = without(given, absent)
    captured = launch(tensors, **{absent: None})
    assert recognised.recognised(captured)
    assert torch.equal(chunk_scan(ours(tensors)), recognised.reference(captured, tensors)["out_ptr"])


def test_another_kernel_is_not_recognised(given: dict[str, torch.Tensor]) -> None:
    assert not recognised.recognised(replace(launch(given), name="_chunk_state_fwd_kernel"))
    assert not recognised.recognised(softmax_launch())


@pytest.mark.parametrize("absent", ["cb_ptr", "x_ptr", "dt_ptr", "dA_cumsum_ptr", "C_ptr", "prev_states_ptr"])
def test_one_without_what_every_chunk_scan_takes_is_not(given: dict[str, torch.Tensor], absent: str) -> None:
    assert not recognised.recognised(launch(without(given, absent)))


def test_one_that_takes_more_is_not(given: dict[str, torch.Tensor]) -> None:
    assert not recognised.recognised(launch({**given, "initstates_ptr": torch.zeros(1, 2)}))


def test_one_that_is_not_causal_is_not(given: dict[str, torch.Tensor]) -> None:
    assert not recognised.recognised(launch(given, IS_CAUSAL=False))


def test_one_that_writes_an_input_or_nothing_is_not(given: dict[str, torch.Tensor]) -> None:
    def with_role(number: int, role: Any) -> CapturedLaunch:
        captured = launch(given)
        tensors = list(captured.tensors)
        tensors[number] = replace(tensors[number], role=role)
        return replace(captured, tensors=tuple(tensors))

    assert not recognised.recognised(with_role(list(given).index("x_ptr"), "in-out"))
    assert not recognised.recognised(with_role(len(given), "in"))


def test_one_whose_tensors_disagree_on_a_batch_is_not(given: dict[str, torch.Tensor]) -> None:
    assert not recognised.recognised(launch({**given, "dt_ptr": given["dt_ptr"][0]}))
    flat = KeptTensor(1, "float32", (3,), (1,), 0)
    captured = launch(given)
    assert not recognised.recognised(replace(captured, tensors=tuple(flat for _ in captured.tensors)))
