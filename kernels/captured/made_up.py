"""Inputs for a launch whose data was not kept: random values after the statistics that were."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ssdprof.kernels.captured.arguments import tensor_from
from ssdprof.kernels.captured.model import CapturedLaunch

if TYPE_CHECKING:
    import torch

MARK = "data: "
"""How the notes begin that have a tensor's statistics, as JSON."""


def inputs(launch: CapturedLaunch, device: str | torch.device, seed: int) -> dict[int, torch.Tensor]:
    """Every tensor of a launch by number, sharing storages as in the program; what is known of none is zero.

    Floats are normal with the mean and deviation that were noted, between the least and the greatest; integers are
    uniform between these.
    """
    import torch

    generator = torch.Generator(device=device).manual_seed(seed)
    storages = [torch.zeros(one.size_bytes, dtype=torch.uint8, device=device) for one in launch.storages]
    tensors = {i: tensor_from(storages[kept.storage], kept) for i, kept in enumerate(launch.tensors)}
    for index, facts in _statistics(launch).items():
        tensor = tensors[index]
        if "min" not in facts or not tensor.numel():
            continue
        low, high = facts["min"], facts["max"]
        if tensor.dtype.is_floating_point:
            values = torch.randn(tensor.shape, generator=generator, device=device)
            values = values * facts.get("std", 0.0) + facts.get("mean", low)
            tensor.copy_(values.clamp(low, high))
        elif tensor.dtype == torch.bool:
            tensor.copy_(torch.randint(int(low), int(high) + 1, tensor.shape, generator=generator, device=device) > 0)
        else:
            high = min(int(high), torch.iinfo(torch.int64).max - 1)
            tensor.copy_(torch.randint(int(low), high + 1, tensor.shape, generator=generator, device=device))
    return tensors


def plain_notes(launch: CapturedLaunch) -> list[str]:
    """The notes of a capture that are for people."""
    return [note for note in launch.notes if not note.startswith(MARK)]


def _statistics(launch: CapturedLaunch) -> Mapping[int, dict[str, Any]]:
    found = [json.loads(note.removeprefix(MARK)) for note in launch.notes if note.startswith(MARK)]
    return {one["tensor"]: one for one in found}
