"""The start of a measuring process: it imports before it is asked to, and opens its GPU meanwhile."""

from __future__ import annotations

import gc
import importlib
import os
import threading
from collections.abc import Collection

from ssdprof.kernels.interface import Subject
from ssdprof.profiling.binary import compiler
from ssdprof.profiling.gpu.driver import open_context
from ssdprof.profiling.hardware.ceilings import Ceilings
from ssdprof.profiling.runs.measured import Prepared
from ssdprof.profiling.workers import worker

_MEASURE = "ssdprof.profiling.measuring.measure"
_CEILINGS = "ssdprof.profiling.measuring.ceilings"


def serve(fd: int) -> None:
    """`worker.serve`, while the imports for measuring (torch, and Triton with its hash) run in threads."""
    for work in (_import_measure, compiler.warm_up):
        threading.Thread(target=work, daemon=True).start()
    worker.serve(fd)


def _import_measure() -> None:
    """Imports without garbage collection: there is little garbage, and looking for it takes a tenth of the time."""
    gc.disable()
    try:
        importlib.import_module(_MEASURE)
    finally:
        gc.freeze()
        gc.enable()


def prepare(subject: Subject, device: str, seed: int, visible: str | None = None) -> Prepared:
    """`measure.prepare`, on the GPU that `visible`, an entry in CUDA_VISIBLE_DEVICES, names if given."""
    _begin(device, visible)
    prepared: Prepared = importlib.import_module(_MEASURE).prepare(subject, device, seed, visible)
    return prepared


def ceilings(device: str, visible: str | None, copy_gbps: float | None, names: Collection[str]) -> Ceilings | None:
    """`ceilings.measure`, on that GPU; in a process that has prepared it or done nothing yet."""
    _begin(device, visible)
    found: Ceilings | None = importlib.import_module(_CEILINGS).measure(device, visible, copy_gbps, names)
    return found


def _begin(device: str, visible: str | None) -> None:
    if device.startswith("cuda"):
        if visible is not None:  # before anything asks CUDA for its devices
            os.environ["CUDA_VISIBLE_DEVICES"] = visible
        threading.Thread(target=open_context, daemon=True).start()
