"""Launches each kernel once, for the driver and Nsight Compute to report on. Runs on a GPU.

What a launch occupies does not depend on the contents of its tensors: a worker calls `prepare` and `launch_once`, and
Nsight Compute starts a process that calls `main`, all on zeros. What a launch moves can depend on them: to count that,
Nsight Compute starts a process that calls `main_on_inputs`.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from ssdprof.kernels.interface import Subject
from ssdprof.kernels.launch import LaunchPlan, TensorMeta
from ssdprof.profiling.gpu.driver import cuda_driver, driver_attributes, loaded
from ssdprof.profiling.ncu.program import read_launches
from ssdprof.profiling.runs.measured import Loaded

_tensors: dict[str, torch.Tensor] = {}


def prepare(tensors: Mapping[str, TensorMeta], device: str) -> dict[str, int]:
    """Makes the tensors on `device`, filled with zeros; returns the driver's attributes of device 0 by name."""
    _tensors.clear()
    _tensors.update(_zeros(tensors, device))
    return driver_attributes(cuda_driver()) if device.startswith("cuda") else {}


def _zeros(tensors: Mapping[str, TensorMeta], device: str) -> dict[str, torch.Tensor]:
    made, sizes_bytes = dict[str, torch.Tensor](), dict[str, int]()
    for name, meta in tensors.items():
        storage, size_bytes = meta.storage or f"/{name}", meta.extent * getattr(torch, meta.dtype).itemsize
        sizes_bytes[storage] = max(sizes_bytes.get(storage, 0), size_bytes)
    storages = {name: torch.zeros(size, dtype=torch.uint8, device=device) for name, size in sizes_bytes.items()}
    for name, meta in tensors.items():
        dtype = getattr(torch, meta.dtype)
        part = storages[meta.storage or f"/{name}"][: meta.extent * dtype.itemsize].view(dtype)
        made[name] = part.as_strided(meta.shape, meta.stride, meta.offset)
    return made


def launch_once(plan: LaunchPlan) -> Loaded:
    """Launches `plan` and waits; returns what the driver says about the kernel. Raises what the launch raises."""
    compiled = plan.bind(_tensors)()
    if any(tensor.is_cuda for tensor in _tensors.values()):
        torch.cuda.synchronize()
    return loaded(compiled)


def main(launches: str, launched: str, device: str) -> None:
    """Launches everything in the file `launches` in order; writes the ids of those that ran to the file `launched`."""
    tensors, plans = read_launches(Path(launches))
    prepare(tensors, device)
    _launch_each(plans, launched, before=lambda: None)


def main_on_inputs(work: str, launched: str, device: str) -> None:
    """The same for a subject, a seed and launches that the file `work` has, on the inputs of that seed.

    A launch that reads what it writes finds those inputs, whatever the launches before it wrote.
    """
    subject: Subject
    subject, seed, plans = pickle.loads(Path(work).read_bytes())  # noqa: S301  # our own file
    metas, inputs = subject.tensors(), subject.inputs(device, seed)
    written = {meta.storage or f"/{name}" for name, meta in metas.items() if meta.is_written}
    made = _zeros({name: meta for name, meta in metas.items() if (meta.storage or f"/{name}") in written}, device)
    _tensors.update({**inputs, **made})

    def restore() -> None:
        for name, tensor in made.items():
            if metas[name].role != "out":
                tensor.copy_(inputs[name])

    _launch_each(plans, launched, restore)


def _launch_each(plans: Mapping[str, LaunchPlan], launched: str, before: Callable[[], None]) -> None:
    with Path(launched).open("w", encoding="utf-8") as file:
        for name, plan in plans.items():
            before()
            try:
                launch_once(plan)
            except Exception as error:  # it is then missing from the file, where the caller notices
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
                continue
            print(name, file=file, flush=True)
