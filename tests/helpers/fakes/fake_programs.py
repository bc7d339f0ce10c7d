"""Programs with kernels for the tests of kept texts, and the PTX of a kernel without a GPU."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

ARCH = "sm_90"


@contextmanager
def program(folder: Path, **files: str) -> Iterator[ModuleType]:
    """The module `main` of a program with these modules, by name; forgotten afterwards."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(dedent(text).lstrip("\n"))
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield importlib.import_module("main")
    finally:
        sys.path.remove(str(folder))
        for name in files:
            sys.modules.pop(name, None)


def compiled(kernel: Any, *args: Any, **kwargs: Any) -> Any:
    """A kernel compiled for `ARCH`; tensors are given by torch dtypes."""
    from ssdprof.profiling.binary.compiler import _set_target

    _set_target(ARCH)
    return kernel.warmup(*args, grid=(1,), **kwargs)


def binary(kernel: Any, *args: Any, **kwargs: Any) -> str:
    """The PTX without what tells where its source is: file names, lines, debug sections, and names of modules."""
    ptx = compiled(kernel, *args, **kwargs).asm["ptx"]
    ptx = ptx.partition(".section")[0]
    kept = [line for line in ptx.splitlines() if not re.match(r"\s*(\.loc|\.file|//|\$L__(tmp|func|info)\S*:)", line)]
    return re.sub(r"\S*?(\w+)__(P|i32|fp32)", r"\1__\2", "\n".join(re.sub(r"\s*//.*", "", line) for line in kept))


def all_texts(modules: Mapping[str, str]) -> str:
    """The texts one after the other, for messages."""
    return "\n\n".join(f"# {name}.py\n{text}" for name, text in modules.items())
