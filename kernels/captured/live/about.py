"""What a launch ran on: versions of software, the GPU, and memory of the host."""

from __future__ import annotations

import platform
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of what compiled and launched the kernel."""
    import torch
    import triton

    return {
        "triton": triton.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "ssdprof": sys.modules["ssdprof"].__version__,
    }


def device_facts(device: Any) -> dict[str, Any]:
    """The name, architecture, memory and driver of a GPU; of the CPU its name alone."""
    import torch

    from ssdprof.kernels.launch import arch_of

    if device.type != "cuda":
        return {"name": "cpu"}
    properties = torch.cuda.get_device_properties(device)
    facts = {"name": properties.name, "arch": arch_of(device), "memory_bytes": properties.total_memory}
    return facts | ({"driver": _driver()} if _driver() else {})


@lru_cache(maxsize=1)
def _driver() -> str:
    with suppress(Exception):
        import pynvml

        pynvml.nvmlInit()
        try:
            return str(pynvml.nvmlSystemGetDriverVersion())
        finally:
            pynvml.nvmlShutdown()
    return ""


def host_free_bytes() -> int:
    """Memory of the host that can be had without swapping; without limit where Linux does not say."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024
    return 1 << 62
