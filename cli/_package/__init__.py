"""ssdprof: checks, times and explains every launch configuration of a Triton kernel.

run = ssdprof.sweep(ssdprof.subject("chunk-scan", seqlen=50_000), space="vllm")
ssdprof.explain("best", run=run)
ssdprof.occupancy(threads_per_block=64, registers_per_thread=255, dynamic_shared_mem_bytes=41_728)
"""

from typing import TYPE_CHECKING

__all__ = ["capture", "explain", "occupancy", "subject", "sweep", "sweep_kernel"]
__version__ = "0.1.0"

if TYPE_CHECKING:
    from ssdprof.kernels.captured.live.hooks import capture
    from ssdprof.kernels.registry import subject
    from ssdprof.profiling.api import explain, occupancy, sweep
    from ssdprof.profiling.direct import sweep_kernel
else:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "subject":
            from ssdprof.kernels import registry as module
        elif name == "capture":
            from ssdprof.kernels.captured.live import hooks as module
        elif name == "sweep_kernel":
            from ssdprof.profiling import direct as module
        else:
            from ssdprof.profiling import api as module
        return getattr(module, name)
