"""A made-up pynvml: GPUs as NVML describes them, without a driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

GIB = 1 << 30


class NVMLError(Exception):
    pass


@dataclass
class FakeGpu:
    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    capability: tuple[int, int] = (9, 0)
    memory_bytes: int = 80 * GIB
    free_bytes: int = 79 * GIB
    unsupported: tuple[str, ...] = ()
    mig: Mapping[str, str] = field(default_factory=dict)


def fake_pynvml(*gpus: FakeGpu, driver: bool = True) -> Any:
    """The module. `driver` False: NVML cannot be loaded. `not_shut_down` counts inits that were not shut down."""
    module: Any = ModuleType("pynvml")
    module.NVMLError = NVMLError
    module.NVML_CLOCK_SM, module.NVML_TEMPERATURE_GPU = 1, 0
    module.not_shut_down = 0

    def init() -> None:
        if not driver:
            raise NVMLError("NVML Shared Library Not Found")
        module.not_shut_down += 1

    def shutdown() -> None:
        module.not_shut_down -= 1

    def by_uuid(uuid: str) -> Any:
        found = next(((gpu, uuid) for gpu in gpus for mig in gpu.mig if mig == uuid), None)
        if found is None:
            raise NVMLError("Not Found")
        return found

    def optional(name: str, value: Any) -> Any:
        def query(gpu: FakeGpu, *_: Any) -> Any:
            if name in gpu.unsupported:
                raise NVMLError("Not Supported")
            return value(gpu) if callable(value) else value

        return query

    module.nvmlInit, module.nvmlShutdown = init, shutdown
    module.nvmlDeviceGetCount = lambda: len(gpus)
    module.nvmlDeviceGetHandleByIndex = lambda index: gpus[index]
    module.nvmlDeviceGetUUID = lambda gpu: gpu.uuid
    module.nvmlDeviceGetHandleByUUID = by_uuid
    module.nvmlDeviceGetDeviceHandleFromMigDeviceHandle = lambda mig: mig[0]
    module.nvmlDeviceGetCudaComputeCapability = lambda gpu: gpu.capability
    module.nvmlDeviceGetName = lambda gpu: gpu.name
    module.nvmlSystemGetCudaDriverVersion = lambda: 13010
    module.nvmlSystemGetDriverVersion = lambda: "580.159.04"
    for name, value in {
        "nvmlDeviceGetMemoryInfo": lambda gpu: SimpleNamespace(total=gpu.memory_bytes, free=gpu.free_bytes),
        "nvmlDeviceGetPowerUsage": 123_456,
        "nvmlDeviceGetEnforcedPowerLimit": 700_000,
        "nvmlDeviceGetMigMode": [1, 1],
        "nvmlDeviceGetClockInfo": 1755,
        "nvmlDeviceGetMaxClockInfo": 1980,
        "nvmlDeviceGetTemperature": 35,
        "nvmlDeviceGetCurrentClocksEventReasons": 4,
    }.items():
        setattr(module, name, optional(name, value))
    return module
