"""Compiles a launch without a GPU, specialised exactly as when launched, and reads the result.

Triton specialises a kernel on its arguments: integers equal to 1, divisibility by 16, pointer alignment, 64-bit values.
So the launch's own arguments go through the JIT's own binder, with a driver that only names the target; each tensor is
replaced by its dtype and an aligned address, as torch's allocator gives. The result goes to Triton's cache, where a
process with a GPU finds it.
"""

from __future__ import annotations

import threading
import time
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from ssdprof.kernels.errors import SsdprofError, first_line
from ssdprof.kernels.launch import DescriptorRef, LaunchPlan, TensorRef, capability, has_tma
from ssdprof.profiling.binary.cubin import read_cubin
from ssdprof.profiling.runs.measured import Compiled

TENSOR_MEMORY_COLUMNS = 512
"""Tensor memory of one SM on sm_100 and later, in columns (PTX ISA, tcgen05)."""


class OutOfResourcesError(SsdprofError):
    """A binary that needs more than the architecture has."""


class CompileError(SsdprofError):
    """A launch that Triton's front end or ptxas rejects."""


@lru_cache(maxsize=1)
def _set_target(arch: str) -> None:
    """Gives Triton a driver that names its target and nothing else."""
    from triton.backends.compiler import GPUTarget
    from triton.runtime.driver import driver

    target = GPUTarget("cuda", capability(arch), 32)
    target_only = SimpleNamespace(
        get_current_target=lambda: target,
        get_current_device=lambda: target.arch,  # the JIT keeps one cache per device: one per target here
        get_current_stream=lambda _device=None: 0,
    )
    driver.set_active(target_only)


def warm_up() -> None:
    """Loads what every compilation needs: Triton, its back end, and what its first specialisation of an argument
    imports (torch, in Triton 3.6). A thread then hashes Triton's own files, which takes half a second.

    A process forked after both has everything. Nothing here chooses a target or touches a GPU.
    """
    from triton.backends.nvidia.compiler import get_ptxas  # noqa: F401  # the back end is loaded with it
    from triton.runtime.cache import triton_key
    from triton.runtime.jit import mangle_type

    threading.Thread(target=triton_key).start()  # hashing lets other threads run
    mangle_type(1)


def compile_launch(plan: LaunchPlan, arch: str) -> Compiled:
    """Compiles `plan` for `arch` such as sm_90, in this process.

    Raises CompileError or another of Triton's errors if it does not compile, OutOfResourcesError if it needs too much
    tensor memory. Shared memory is not judged here: the caller knows the limits.
    """
    return resources_of(*compiled_kernel(plan, arch), plan)


def resources_of(kernel: Any, compile_s: float, plan: LaunchPlan) -> Compiled:
    """What a kernel needs that `compiled_kernel` gave for `plan`. Raises OutOfResourcesError as `compile_launch`."""
    metadata = kernel.metadata
    columns = getattr(metadata, "tmem_size", None) or 0
    if columns > TENSOR_MEMORY_COLUMNS:
        raise OutOfResourcesError(f"tensor memory: needs {columns} columns, an SM has {TENSOR_MEMORY_COLUMNS}")
    resources = read_cubin(kernel.asm["cubin"], metadata.name)
    return Compiled(
        registers_per_thread=resources.registers_per_thread,
        spill_bytes=resources.local_bytes,
        dynamic_shared_mem_bytes=metadata.shared,
        static_shared_mem_bytes=0,
        num_warps=metadata.num_warps,
        num_barriers=resources.num_barriers,
        num_ctas=metadata.num_ctas,
        grid_blocks=plan.grid_blocks * metadata.num_ctas,
        compile_s=compile_s,
    )


def compiled_kernel(plan: LaunchPlan, arch: str) -> tuple[Any, float]:
    """Triton's own result for `plan`, from its cache if it is there, and the seconds that took.

    Raises CompileError or another of Triton's errors if it does not compile.
    """
    _set_target(arch)
    function = plan.callee()
    arguments = plan.arguments(_stand_in, tma=has_tma(arch))
    start_s = time.perf_counter()
    try:
        kernel = function.warmup(grid=plan.grid, **arguments, **plan.options)
    except Exception as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise CompileError(reason) from error
    compile_s = time.perf_counter() - start_s
    return kernel, compile_s


def _stand_in(ref: TensorRef | DescriptorRef) -> Any:
    """A tensor as Triton's specialisation sees it: a dtype and an offset from an aligned address.

    For a descriptor, which needs a torch dtype, an empty tensor.
    """
    if isinstance(ref, TensorRef):
        return SimpleNamespace(dtype=ref.dtype, data_ptr=lambda: ref.offset_bytes)
    import torch

    return torch.empty(0, dtype=getattr(torch, ref.dtype))


def _reason(error: BaseException) -> str | None:
    """What Triton's front end says below its source excerpt, or ptxas below a heading; None for other errors."""
    from triton.compiler.errors import CompilationError
    from triton.runtime.errors import PTXASError

    if isinstance(error, PTXASError):
        return next((line.strip() for line in str(error).splitlines() if "fatal" in line), None)
    if not isinstance(error, CompilationError):
        return None
    line = getattr(error.node, "lineno", None)
    cause: BaseException | None = error
    while isinstance(cause, CompilationError) and not cause.error_message:  # raised in a function that is called
        cause = cause.__cause__
    said = cause.error_message if isinstance(cause, CompilationError) else cause
    return f"{first_line(str(said))} (line {line} of the kernel)" if said else None
