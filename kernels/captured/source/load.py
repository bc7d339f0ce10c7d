"""From kept texts back to a kernel, what computes its grid, and its heuristics.

The texts go to a folder of the user's cache that is named by their hash, once; from there they are imported like any
other module, since Triton reads a kernel's text from its file.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any

from ssdprof.kernels.captured.model import Ref, Sources
from ssdprof.kernels.errors import UsageError, first_line


class LoadError(UsageError):
    """Kept texts that do not run here."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was kept, to be used: the jitted function, the grid's function if there is one, and the heuristics'."""

    kernel: Any
    grid: Callable[[Any], Any] | None
    heuristics: tuple[tuple[str, Callable[[Any], Any]], ...]


def load(sources: Sources) -> Loaded:
    """The kernel, the grid and the heuristics of texts, which are run: once in a process for the same texts.

    Raises LoadError if they do not run, for want of a module that is not installed here or of a name in it.
    """
    package = _package(_texts(sources))
    kernel = _found(package, sources.kernel)
    grid = _found(package, sources.grid) if sources.grid else None
    return Loaded(kernel, grid, tuple((name, _found(package, ref)) for name, ref in sources.heuristics))


def source_file(sources: Sources) -> tuple[str, str]:
    """(module, file) of the kernel, for `LaunchPlan` and `load_module`; nothing is run."""
    texts = _texts(sources)
    return f"{_name(texts)}.{sources.kernel.module}", str(_folder(texts) / f"{sources.kernel.module}.py")


_Texts = tuple[tuple[str, str], ...]
_LOCK = RLock()


def _texts(sources: Sources) -> _Texts:
    for name in sources.modules:
        if not re.fullmatch(r"[A-Za-z]\w{0,99}", name, re.ASCII):
            raise LoadError(
                f"{name[:40]!r} is no name of a module: these sources are damaged; capture the launch again"
            )
    for ref in (sources.kernel, sources.grid, *(ref for _, ref in sources.heuristics)):
        if ref is not None and ref.module not in sources.modules:
            raise LoadError(
                f"the module {ref.module[:40]!r} is missing: these sources are damaged; capture the launch again"
            )
    return tuple(sorted(sources.modules.items()))


@lru_cache(maxsize=256)
def _name(texts: _Texts) -> str:
    return f"ssdprof_captured_{hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]}"


@lru_cache(maxsize=256)
def _package(texts: _Texts) -> str:
    """The name of the package that the texts make, from now on in `sys.modules`."""
    name = _name(texts)
    package = ModuleType(name, "Kept texts.")
    package.__path__ = [str(_folder(texts))]
    with _LOCK:
        sys.modules.setdefault(name, package)
    return name


def _found(package: str, ref: Ref) -> Any:
    try:
        return getattr(importlib.import_module(f"{package}.{ref.module}"), ref.name)
    except Exception as error:
        said = first_line(f"{type(error).__name__}: {error}")
        raise LoadError(f"the kept text of {ref.name} does not run here: {said}; install what it imports") from error


@lru_cache(maxsize=256)
def _folder(texts: _Texts) -> Path:
    """The folder that has the texts, written if it is not there: in the user's cache, else a temporary one."""
    import platformdirs

    name = _name(texts)
    cached = Path(platformdirs.user_cache_dir("ssdprof", appauthor=False), "captured", name)
    try:
        return _write(cached, texts)
    except OSError:
        return _write(Path(tempfile.mkdtemp(prefix="ssdprof-"), name), texts)


def _write(folder: Path, texts: _Texts) -> Path:
    """Each file appears whole: written under another name and renamed, so that processes may do this at once."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts:
        file, given = folder / f"{name}.py", text.encode()
        if file.is_file() and file.read_bytes() == given:
            continue
        handle, part = tempfile.mkstemp(prefix=f".{name}-", dir=folder)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(given)
            os.replace(part, file)
        except OSError:
            Path(part).unlink(missing_ok=True)
            raise
    return folder
