"""A made-up pynvml: GPUs as NVML describes them, without a driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

GIB = 1 << 30


class NVMLError(Exception):
    pass


class NVMLLibraryMismatchError(Exception):
    pass


@dataclass
class FakeGpu:
    """A GPU, whose fields a test may change as time passes.

    `reasons`: bits of why clocks are lowered; `violations_ns`: by NVML's policy (0 power, 1 thermal), how long they
    were. `compute` and `graphics`: the processes, pid → bytes. `busy_pct`: utilisations in the order they are read, the
    last for ever. `unsupported` functions answer "Not Supported", `mismatched` ones that the driver is another version.
    `mig`: the UUIDs of its instances with the memory of each in bytes.
    """

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    capability: tuple[int, int] = (9, 0)
    memory_bytes: int = 80 * GIB
    free_bytes: int = 79 * GIB
    unsupported: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    mig: Mapping[str, int] = field(default_factory=dict)
    reasons: int = 4
    violations_ns: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 0})
    temperature_c: int = 35
    compute: dict[int, int | None] = field(default_factory=dict)
    graphics: dict[int, int | None] = field(default_factory=dict)
    busy_pct: list[int] = field(default_factory=lambda: [0])


@dataclass(frozen=True)
class FakeInstance:
    """A MIG instance: what NVML tells of it alone."""

    gpu: FakeGpu
    uuid: str
    memory_bytes: int
    unsupported: tuple[str, ...] = (
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetViolationStatus",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetCurrentClocksThrottleReasons",
    )
    mismatched: tuple[str, ...] = ()

    @property
    def free_bytes(self) -> int:
        return self.memory_bytes

    @property
    def compute(self) -> dict[int, int | None]:
        return {}

    graphics = compute


def fake_pynvml(*gpus: FakeGpu, driver: bool = True) -> Any:
    """The module. `driver` False: NVML cannot be loaded. `not_shut_down` counts inits that were not shut down."""
    module: Any = ModuleType("pynvml")
    module.NVMLError, module.NVMLLibraryMismatchError = NVMLError, NVMLLibraryMismatchError
    module.NVML_CLOCK_SM, module.NVML_CLOCK_MEM, module.NVML_TEMPERATURE_GPU = 1, 2, 0
    module.not_shut_down = 0

    def init() -> None:
        if not driver:
            raise NVMLError("NVML Shared Library Not Found")
        module.not_shut_down += 1

    def shutdown() -> None:
        module.not_shut_down -= 1

    def by_uuid(uuid: str) -> FakeInstance:
        found = [FakeInstance(gpu, mig, size_bytes) for gpu in gpus for mig, size_bytes in gpu.mig.items()]
        for instance in found:
            if instance.uuid == uuid:
                return instance
        raise NVMLError("Not Found")

    def gpu_of(instance: Any) -> FakeGpu:
        if isinstance(instance, FakeInstance):
            return instance.gpu
        raise NVMLError("Invalid Argument")

    def optional(name: str, value: Any) -> Any:
        def query(gpu: FakeGpu, *arguments: Any) -> Any:
            if name in gpu.unsupported:
                raise NVMLError("Not Supported")
            if name in gpu.mismatched:
                raise NVMLLibraryMismatchError("the version does not match")
            return value(gpu, *arguments) if callable(value) else value

        return query

    def processes(used_bytes: Mapping[int, int | None]) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=size_bytes) for pid, size_bytes in used_bytes.items()]

    def utilisation(gpu: FakeGpu) -> SimpleNamespace:
        return SimpleNamespace(gpu=gpu.busy_pct.pop(0) if len(gpu.busy_pct) > 1 else gpu.busy_pct[0])

    module.nvmlInit, module.nvmlShutdown = init, shutdown
    module.nvmlDeviceGetCount = lambda: len(gpus)
    module.nvmlDeviceGetHandleByIndex = lambda index: gpus[index]
    module.nvmlDeviceGetUUID = lambda gpu: gpu.uuid
    module.nvmlDeviceGetHandleByUUID = by_uuid
    module.nvmlDeviceGetDeviceHandleFromMigDeviceHandle = gpu_of
    module.nvmlDeviceGetCudaComputeCapability = lambda gpu: gpu.capability
    module.nvmlDeviceGetName = lambda gpu: gpu.name
    module.nvmlSystemGetCudaDriverVersion = lambda: 13010
    module.nvmlSystemGetDriverVersion = lambda: "580.159.04"
    for name, value in {
        "nvmlDeviceGetMemoryInfo": lambda gpu: SimpleNamespace(total=gpu.memory_bytes, free=gpu.free_bytes),
        "nvmlDeviceGetPowerUsage": 123_456,
        "nvmlDeviceGetEnforcedPowerLimit": 700_000,
        "nvmlDeviceGetMigMode": [1, 1],
        "nvmlDeviceGetClockInfo": lambda _, kind: {1: 1755, 2: 2619}[kind],
        "nvmlDeviceGetMaxClockInfo": lambda _, kind: {1: 1980, 2: 2620}[kind],
        "nvmlDeviceGetTemperature": lambda gpu, _: gpu.temperature_c,
        "nvmlDeviceGetCurrentClocksEventReasons": lambda gpu: gpu.reasons,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda gpu: gpu.reasons,
        "nvmlDeviceGetViolationStatus": lambda gpu, policy: SimpleNamespace(violationTime=gpu.violations_ns[policy]),
        "nvmlDeviceGetComputeRunningProcesses": lambda gpu: processes(gpu.compute),
        "nvmlDeviceGetGraphicsRunningProcesses": lambda gpu: processes(gpu.graphics),
        "nvmlDeviceGetUtilizationRates": utilisation,
    }.items():
        setattr(module, name, optional(name, value))
    return module
