"""What `test_compiler`, `test_cached`, `test_ledger` and `test_ceilings` have done by a worker process.

It imports this module by its bare name.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling.binary import compiler, ledger
from ssdprof.profiling.binary.cached import cached_launches
from ssdprof.profiling.binary.ledger import kernel_ledger, launch_ledger
from ssdprof.profiling.runs.ledger import Ledger
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


def ledger_and_shared(plan: LaunchPlan, arch: str) -> tuple[Ledger, int]:
    """The ledger of a launch, and the shared memory that Triton launches it with."""
    return launch_ledger(plan, arch), compiler.compiled_kernel(plan, arch)[0].metadata.shared


def alone_and_noted(ttgir: str) -> list[tuple[str, int, int]]:
    """Of each operation its name, the size that it has alone, and the one that Triton notes; 0 if it notes none."""
    allocator = ledger._Allocator(SimpleNamespace(target=SimpleNamespace(arch=90), ptx_version=None))
    module, _ = allocator.allocated(ttgir)
    return [(op.name, allocator.alone(module, op), op.size_bytes) for op in module.ops() if op.name != "tt.call"]


def odd_kernel() -> tuple[Ledger, str]:
    """The ledger of `scratch_kernel` for sm_90, and its IR."""
    import scratch_kernels
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature = {"p": "*fp32", "q": "*fp32", "h": "*i32", "N": "constexpr"}
    source = ASTSource(scratch_kernels.scratch_kernel, signature=signature, constexprs={(3,): 1024})
    kernel = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    return kernel_ledger(kernel.asm["ttgir"], kernel.metadata), kernel.asm["ttgir"]


def instructions_of_the_loop(plan: LaunchPlan, arch: str) -> Counter[str]:
    """The instructions of a launch's only loop by name, without predicates, as Triton's nvdisasm prints them."""
    kernel, _ = compiler.compiled_kernel(plan, arch)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        tool = Path(triton_folder()) / "backends" / "nvidia" / "bin" / "nvdisasm"
        text = subprocess.run([tool, "-c", file.name], check=True, capture_output=True, text=True).stdout
    lines = [re.sub(r"/\*.*?\*/", "", line).strip() for line in text.splitlines()]
    begins = {line.removesuffix(":"): i for i, line in enumerate(lines) if re.fullmatch(r"\.L\w+:", line)}
    loops = []
    for i, line in enumerate(lines):
        target = re.search(r"\bBRA\b.*`\((\.L\w+)\)", line)
        if target and begins[target[1]] < i - 1:
            loops.append(lines[begins[target[1]] + 1 : i + 1])
    [loop] = loops
    names = (re.match(r"(?:@!?\w+\s+)?([A-Z][\w.]*)", line) for line in loop)
    return Counter(re.sub(r"^(LOP3|BRA)\..*", r"\1", name[1]) for name in names if name)


def triton_folder() -> str:
    import triton

    return os.path.dirname(triton.__file__)
