"""Launches as a file, for a process that another program starts (Nsight Compute starts the one that it profiles)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ssdprof.kernels.interface import DescriptorRef, LaunchPlan, TensorMeta, TensorRef


def launches_text(tensors: Mapping[str, TensorMeta], plans: Mapping[str, LaunchPlan]) -> str:
    """Every tensor by its name and every launch by its config's id, in order, as JSON."""
    content = {
        "tensors": {name: [list(meta.shape), meta.dtype] for name, meta in tensors.items()},
        "launches": {name: _plan_dict(plan) for name, plan in plans.items()},
    }
    return json.dumps(content)


def read_launches(text: str) -> tuple[dict[str, TensorMeta], dict[str, LaunchPlan]]:
    """The tensors and the launches that `launches_text` wrote."""
    content = json.loads(text)
    tensors = {name: TensorMeta(tuple(shape), dtype) for name, (shape, dtype) in content["tensors"].items()}
    return tensors, {name: _plan(entry) for name, entry in content["launches"].items()}


def _plan_dict(plan: LaunchPlan) -> dict[str, Any]:
    arguments = {
        name: asdict(value) if isinstance(value, (TensorRef, DescriptorRef)) else value
        for name, value in plan.args.items()
    }
    return {
        "module": plan.module,
        "function": plan.function,
        "grid": list(plan.grid),
        "args": arguments,
        "options": dict(plan.options),
    }


def _plan(entry: dict[str, Any]) -> LaunchPlan:
    arguments = {name: _reference(value) if isinstance(value, dict) else value for name, value in entry["args"].items()}
    return LaunchPlan(entry["module"], entry["function"], tuple(entry["grid"]), arguments, entry["options"])


def _reference(entry: dict[str, Any]) -> TensorRef | DescriptorRef:
    if "block" not in entry:
        return TensorRef(**entry)
    sizes = {name: tuple(entry[name]) for name in ("shape", "strides", "block")}
    return DescriptorRef(**{**entry, **sizes})
