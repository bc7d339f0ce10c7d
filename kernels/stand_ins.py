"""What stands for a name that a source file imports and that is not there; no torch, no triton."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from ssdprof.kernels.errors import UsageError

ASSUMED_CAPABILITY = 90
"""What a file that asks for the GPU is told if there is none: an H100's sm_90."""


@lru_cache(maxsize=1)
def gpu_capability() -> int:
    """What a file is told of the GPU, such as 90 for sm_90: the first visible one's, `ASSUMED_CAPABILITY` without one.

    NVML is asked, since asking CUDA would make a context in a process that only prepares launches.
    """
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no NVML, or no driver: no GPU
        return ASSUMED_CAPABILITY
    try:
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()
        find = pynvml.nvmlDeviceGetHandleByIndex if first.isdigit() else pynvml.nvmlDeviceGetHandleByUUID
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(find(int(first) if first.isdigit() else first))
    except pynvml.NVMLError:
        return ASSUMED_CAPABILITY
    finally:
        pynvml.nvmlShutdown()
    return 10 * int(major) + int(minor)


@dataclass(eq=False)
class Loading:
    """The loading of a file that is part of a package: which compute capability it is told, and whether it goes on."""

    file: Path
    package: str
    capability: int | None = None
    is_running: bool = True


class StandIn:
    """Can be imported, and called while the file is loaded; any use afterwards raises UsageError.

    A call gives back a first argument that is a list or a function, as what selects configs or decorates does, and
    otherwise another stand-in. All are false and empty: as a pruning function, one prunes nothing.
    """

    def __init__(self, name: str, loading: Loading) -> None:
        self._name, self._loading = name, loading
        self._shown = name.removeprefix(f"{loading.package}.")

    def _used(self, how: str) -> None:
        if not self._loading.is_running:
            raise UsageError(f"{self._loading.file} {how} {self._shown}, {NOT_THERE}")

    def __repr__(self) -> str:
        return self._shown

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_name", "_loading"):
            raise AttributeError(name)
        self._used(f"uses {name} of")
        return StandIn(f"{self._name}.{name}", self._loading)

    def __call__(self, *args: Any, **_: Any) -> Any:
        self._used("calls")
        if args and (callable(args[0]) or isinstance(args[0], (list, tuple))):
            return args[0]
        return StandIn(f"{self._name}()", self._loading)

    def __getitem__(self, _: object) -> Any:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __bool__(self) -> bool:
        return False

    def __mro_entries__(self, _: object) -> tuple[type, ...]:
        return ()

    def __lt__(self, _: object) -> bool:
        return False

    def __or__(self, _: object) -> Any:  # in an annotation
        return self

    __le__ = __gt__ = __ge__ = __lt__
    __ror__ = __or__

    @staticmethod
    def keys() -> tuple[str, ...]:
        """None, so that it can be unpacked as a mapping."""
        return ()


NOT_THERE = "which is not there when the file is loaded alone: name its checkout's root, or put the module beside it"


def stand_in(name: str, loading: Loading) -> Any:
    """What stands for a dotted name: the thing itself if it is known what is meant by it, else a `StandIn`."""
    import triton

    module, _, last = name.rpartition(".")
    if module == "packaging.version" and last in ("parse", "Version"):
        return _version
    known = {"triton": triton, "tl": triton.language, "HAS_TRITON": True}
    known["version"] = SimpleNamespace(parse=_version, Version=_version) if module == "packaging" else None
    return known.get(last) or (_Platform if last == "current_platform" else StandIn)(name, loading)


class _Capability(NamedTuple):
    major: int
    minor: int

    def to_int(self) -> int:
        return 10 * self.major + self.minor


class _Platform(StandIn):
    """vLLM's `current_platform`: an NVIDIA GPU."""

    def is_cuda(self) -> bool:
        return True

    is_cuda_alike = is_cuda

    def get_device_capability(self, *_: object) -> _Capability:
        return _Capability(*divmod(self._loading.capability or gpu_capability(), 10))

    def is_device_capability(self, asked: int | tuple[int, int], *_: object) -> bool:
        return self.get_device_capability() == _capability(asked)

    def has_device_capability(self, asked: int | tuple[int, int], *_: object) -> bool:
        return self.get_device_capability() >= _capability(asked)


def _capability(asked: int | tuple[int, int]) -> tuple[int, ...]:
    return divmod(asked, 10) if isinstance(asked, int) else asked


def _version(text: str) -> tuple[int, ...]:
    """What compares as versions do, for a file that asks `packaging` where it is not installed."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
