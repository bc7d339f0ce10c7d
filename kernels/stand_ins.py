"""What stands for a name that a source file imports and that is not there; no torch, no triton."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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


_pretended: ContextVar[int | None] = ContextVar("pretended", default=None)


def told_capability() -> int:
    """The compute capability that a file is told while it is loaded: another's if that is pretended, else the GPU's."""
    return _pretended.get() or gpu_capability()


@contextmanager
def pretending(capability: int | None) -> Iterator[None]:
    """Meanwhile files are told another compute capability, such as 80; None: the GPU's."""
    token = _pretended.set(capability)
    try:
        yield
    finally:
        _pretended.reset(token)


@dataclass
class Loading:
    """The loading of a file that is part of a package: whether it is still going on."""

    file: Path
    package: str
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

    last = name.rpartition(".")[2]
    if last == "current_platform":
        return _Platform(name, loading)
    known = {"triton": triton, "tl": triton.language, "HAS_TRITON": True}
    version: dict[str, Any] = {"packaging.version": SimpleNamespace(parse=_version, Version=_version)}
    version |= {"packaging.version.parse": _version, "packaging.version.Version": _version}
    return version.get(name) or known.get(last) or StandIn(name, loading)


class _Capability(NamedTuple):
    major: int
    minor: int

    def to_int(self) -> int:
        return 10 * self.major + self.minor


class _Platform(StandIn):
    """vLLM's `current_platform`: an NVIDIA GPU."""

    @staticmethod
    def is_cuda() -> bool:
        return True

    is_cuda_alike = is_cuda

    @staticmethod
    def get_device_capability(*_: object) -> _Capability:
        return _Capability(*divmod(told_capability(), 10))

    @staticmethod
    def is_device_capability(asked: int | tuple[int, int], *_: object) -> bool:
        return told_capability() == _number(asked)

    @staticmethod
    def has_device_capability(asked: int | tuple[int, int], *_: object) -> bool:
        return told_capability() >= _number(asked)


def _number(asked: int | tuple[int, int]) -> int:
    return asked if isinstance(asked, int) else _Capability(*asked).to_int()


def _version(text: str) -> tuple[int, ...]:
    """What compares as versions do, for a file that asks `packaging` where it is not installed."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
