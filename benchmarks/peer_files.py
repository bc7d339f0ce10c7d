"""The files of mamba_ssm and vLLM that hold their chunk scans: installed, or in a checkout and loaded alone.

Nothing of theirs is here. Of a file's own package, plain modules are loaded from the same checkout; packages are not,
since theirs pull in compiled extensions and half of an inference engine: a stand-in offers `triton`, `tl` and
`current_platform`, and for any other name something that can be imported and not used.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import triton
import triton.language as tl

from ssdprof.profiling.workers.worker import first_line

MODULES: Mapping[str, str] = {
    "mamba_ssm": "mamba_ssm.ops.triton.ssd_chunk_scan",
    "vllm": "vllm.model_executor.layers.mamba.ops.ssd_chunk_scan",
}
ENTRY, KERNEL = "_chunk_scan_fwd", "_chunk_scan_fwd_kernel"
NOT_NEEDED = ("einops",)
"""Imported by these files and used by nothing that the scan runs: a stand-in will do where it is not installed."""


class PeerError(Exception):
    """Why a peer does not take part, in one line."""


def said(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {first_line(str(error))}"


def source_file(name: str, path: Path) -> Path:
    """The peer's file: `path` itself, or where it lies in the checkout `path`. Raises PeerError where there is none."""
    inside = Path(*MODULES[name].split(".")).with_suffix(".py")
    file = path if path.is_file() else path / inside
    if not file.is_file():
        raise PeerError(f"no {inside} in {path}: name a checkout's root, or the file itself")
    return file.resolve()


def load(name: str, path: Path | None = None) -> ModuleType:
    """The peer's module, of the installed package where there is no `path`. Raises PeerError where it cannot be."""
    if path is None and importlib.util.find_spec(name) is None:
        raise PeerError(f"not installed; --peer {name}=PATH takes a checkout of it")
    try:
        module = importlib.import_module(MODULES[name]) if path is None else _load_alone(name, source_file(name, path))
    except PeerError:
        raise
    except Exception as error:
        raise PeerError(f"cannot be loaded: {said(error)}") from error
    if not hasattr(module, ENTRY) or not getattr(getattr(module, KERNEL, None), "configs", None):
        raise PeerError(f"{module.__file__} has no {ENTRY}, or no {KERNEL} with configs: a version not known here")
    return module


class _Missing:
    """A name of a stand-in: can be imported, not used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise PeerError(f"uses {self._name}.{name}, which is not there when the file is loaded alone")

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise PeerError(f"calls {self._name}, which is not there when the file is loaded alone")


class _Platform(_Missing):
    """vLLM's `current_platform`, as far as the list of configs asks it."""

    def is_cuda(self) -> bool:
        """Whether there is an NVIDIA GPU."""
        return torch.cuda.is_available() and torch.version.hip is None

    def is_device_capability(self, capability: int) -> bool:
        """Whether the GPU's compute capability is this one: 90 is 9.0."""
        major, minor = torch.cuda.get_device_capability()
        return capability == 10 * major + minor


class _Beside(MetaPathFinder, Loader):
    """Finds what a file of `module` imports of its own package: plain modules of its checkout, stand-ins for others."""

    def __init__(self, module: str, file: Path) -> None:
        self._parts, self._folder = module.split("."), file.parent
        inside = (*self._parts[:-1], f"{self._parts[-1]}.py")
        self._root = file.parents[len(inside) - 1] if file.parts[-len(inside) :] == inside else None

    def takes(self, name: str) -> bool:
        """Whether a module is found here."""
        return name.partition(".")[0] in (self._parts[0], *NOT_NEEDED)

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:  # noqa: ARG002
        """As import asks for it."""
        if not self.takes(fullname):
            return None
        if fullname.partition(".")[0] in NOT_NEEDED and (installed := PathFinder.find_spec(fullname, path)):
            return installed
        file = self.file_of(fullname)
        if file is not None:
            return importlib.util.spec_from_file_location(fullname, file)
        return ModuleSpec(fullname, self, is_package=True)

    def file_of(self, fullname: str) -> Path | None:
        """The plain module of that name: beside the peer's file, or elsewhere in its checkout where that is known."""
        parts = fullname.split(".")
        folder = self._folder if parts[:-1] == self._parts[:-1] else self._root and self._root.joinpath(*parts[:-1])
        file = folder and folder / f"{parts[-1]}.py"
        return file if file and file.is_file() else None

    def exec_module(self, module: ModuleType) -> None:
        """Makes a stand-in of an empty module."""

        def named(name: str) -> Any:
            full = f"{module.__name__}.{name}"
            if name.startswith("__") or self.file_of(full):  # so that import looks for a module of that name
                raise AttributeError(name)
            return {"triton": triton, "tl": tl, "current_platform": _Platform(full)}.get(name) or _Missing(full)

        module.__dict__["__getattr__"] = named


@contextmanager
def _found_by(finder: _Beside) -> Iterator[None]:
    """What is imported inside comes from the finder; afterwards all is as it was."""
    held = {name: sys.modules.pop(name) for name in list(sys.modules) if finder.takes(name)}
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if finder.takes(name)]:
            del sys.modules[name]
        sys.modules.update(held)


def _load_alone(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(MODULES[name], file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _found_by(_Beside(MODULES[name], file)):
        sys.modules[MODULES[name]] = module
        spec.loader.exec_module(module)
    return module
