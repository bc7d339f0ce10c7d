"""Made-up ceilings, what a worker says of them, and a kernel that only counts its turns."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from ssdprof.profiling.hardware.ceilings import Ceilings

MEASURED = Ceilings(
    source="measured",
    device="NVIDIA H100 80GB HBM3",
    date="2026-12-01T10:00:00+00:00",
    dram_gbps=3001.0,
    l2_gbps=6543.2,
    smem_gbps=33251.2,
    tensor_tflops=(("bfloat16", 931.3), ("float16", 891.6), ("tf32", 481.6), ("float8", 1812.8), ("int8", 1930.3)),
    issue_gips=1041.7,
    exp_gops=4154.3,
    launch_us=3.23,
)


def measure(device: str, visible: str | None, copy_gbps: float | None, names: Collection[str]) -> Ceilings:
    assert ("cuda:0", "GPU-0", 3000.0, set()) == (device, visible, copy_gbps, names)
    return MEASURED


def measure_two(device: str, visible: str | None, copy_gbps: float | None, names: Collection[str]) -> Ceilings:
    assert {"issue", "exp"} == names
    return MEASURED


def measure_alone(device: str, visible: str | None, copy_gbps: float | None, names: Collection[str]) -> Ceilings:
    assert ("cuda:0", "GPU-0", None) == (device, visible, copy_gbps)
    return MEASURED


def cannot(device: str, visible: str | None, copy_gbps: float | None, names: Collection[str]) -> Ceilings:
    raise RuntimeError("CUDA error: out of memory")


def too_old(device: str, visible: str | None, copy_gbps: float | None, names: Collection[str]) -> None:
    return None


class Turns:
    """A kernel: `turns` of its last launch, and how many launches there were."""

    turns = launches = 0

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(out: Any, turns: int, num_warps: int) -> None:
            self.turns, self.launches = turns, self.launches + 1

        return launch


TURNS = Turns()


class Busy:
    """A kernel that keeps a made-up GPU busy for 2 µs with each of its turns, and with nothing for 1 µs."""

    gpu: Any
    """A `FakeCuda`."""

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*, num_warps: int, out: Any = None, turns: int = 0) -> None:
            self.gpu.queue("launch", 0.001 + 0.002 * turns)

        return launch


BUSY = Busy()
