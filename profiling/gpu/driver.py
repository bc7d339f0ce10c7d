"""What the CUDA driver says: device attributes, blocks per SM of a loaded kernel. Through ctypes, without torch."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ssdprof.profiling.hardware.limits import DRIVER_ATTRIBUTES
from ssdprof.profiling.runs.measured import Loaded

SM_COUNT = "CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT"
DRIVER_FILES = (Path("/dev/nvidiactl"), Path("/proc/driver/nvidia"), Path("/dev/dxg"))
"""At least one of these exists if NVIDIA's driver does, on Linux and on WSL."""
ATTRIBUTE_NUMBERS: Mapping[str, int] = {**DRIVER_ATTRIBUTES, SM_COUNT: 16}
"""The values of the CUDA driver API's CUdevice_attribute that are used here."""


def may_measure() -> bool:
    """Whether this machine has a GPU driver; does not ask it anything."""
    return any(path.exists() for path in DRIVER_FILES)


def cuda_driver() -> Any:
    """The driver's library. Raises OSError if there is none."""
    return ctypes.CDLL("libcuda.so.1")


def open_context() -> None:
    """Opens the first visible device's primary context for torch to find open. If that fails, torch fails again."""
    with suppress(OSError):
        cuda, device, context = cuda_driver(), ctypes.c_int(), ctypes.c_void_p()
        if cuda.cuInit(0) == 0 and cuda.cuDeviceGet(ctypes.byref(device), 0) == 0:
            cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)


def driver_attributes(cuda: Any) -> dict[str, int]:
    """The attributes of device 0 that limits.json has too, and its SMs; those that the driver lacks are left out."""
    cuda.cuInit(0)
    found = {}
    for name, number in ATTRIBUTE_NUMBERS.items():
        value = ctypes.c_int()
        if cuda.cuDeviceGetAttribute(ctypes.byref(value), number, 0) == 0:
            found[name] = value.value
    return found


def driver_blocks_per_sm(cuda: Any, function: int, threads: int, dynamic_bytes: int) -> int | None:
    """CuOccupancyMaxActiveBlocksPerMultiprocessor of a loaded function; None if the driver refuses."""
    blocks = ctypes.c_int()
    status = cuda.cuOccupancyMaxActiveBlocksPerMultiprocessor(
        ctypes.byref(blocks), ctypes.c_void_p(function), ctypes.c_int(threads), ctypes.c_size_t(dynamic_bytes)
    )
    return blocks.value if status == 0 else None


def loaded(compiled: Any) -> Loaded:
    """What the driver says about a launched kernel, given as Triton returns it."""
    metadata = compiled.metadata
    blocks = driver_blocks_per_sm(cuda_driver(), compiled.function, 32 * metadata.num_warps, metadata.shared)
    return Loaded(registers_per_thread=compiled.n_regs, spill_bytes=4 * compiled.n_spills, blocks_per_sm=blocks)
