"""What `test_compiler` and `test_cached` have done by a worker process, which imports this module by its bare name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling.binary import compiler
from ssdprof.profiling.binary.cached import cached_launches
from ssdprof.profiling.runs.measured import Compiled


def compiled_and_binary(plan: LaunchPlan, arch: str) -> tuple[Compiled, str, bytes]:
    """What `compile_launch` says, the binary's hash, which stands for its specialisation too, and the binary."""
    function = plan.callee()
    kernels = []

    def warmup(**arguments: Any) -> Any:
        kernels.append(type(function).warmup(function, **arguments))
        return kernels[0]

    function.warmup = warmup
    try:
        compiled = compiler.compile_launch(plan, arch)
    finally:
        del function.warmup
    return compiled, kernels[0].hash, kernels[0].asm["cubin"]


def hash_with_tensors(plan: LaunchPlan, arch: str, device: str) -> str:
    """The hash if torch's own tensors on `device` take the place of the stand-ins."""
    import torch

    compiler._set_target(arch)
    function = plan.callee()
    arguments = plan.arguments(lambda ref: torch.empty(64, dtype=getattr(torch, ref.dtype), device=device), tma=True)
    found: str = function.warmup(grid=plan.grid, **arguments, **plan.options).hash
    return found


def asked_of_another_triton(plans: Mapping[str, LaunchPlan], arch: str, limit_s: float) -> dict[str, bool]:
    """The answer if the back end's method has another name."""
    from triton.backends.compiler import BaseBackend
    from triton.backends.nvidia.compiler import CUDABackend

    for one in (CUDABackend, BaseBackend):
        if "add_stages" in vars(one):
            del one.add_stages
    return cached_launches(plans, arch, limit_s)
