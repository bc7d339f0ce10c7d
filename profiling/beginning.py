"""The beginning of a process that measures: what takes long and needs no torch goes on while torch is imported."""

from __future__ import annotations

import threading
from typing import Any

from ssdprof.kernels.interface import KernelSpec
from ssdprof.profiling import compiler
from ssdprof.profiling.driver import open_context
from ssdprof.profiling.model import Prepared


def prepare(spec: KernelSpec, problem: Any, device: str, seed: int, visible: str | None = None) -> Prepared:
    """`measure.prepare`, and beside it what its GPU and its first launch need: a context, and Triton with its hash."""
    if device.startswith("cuda"):
        for work in (open_context, compiler.warm_up):
            threading.Thread(target=work, daemon=True).start()
    from ssdprof.profiling import measure  # which imports torch

    return measure.prepare(spec, problem, device, seed, visible)
