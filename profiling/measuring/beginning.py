"""The beginning of a process that measures: it imports before it is asked, and opens its GPU meanwhile."""

from __future__ import annotations

import gc
import importlib
import os
import threading

from ssdprof.kernels.interface import Subject
from ssdprof.profiling.binary import compiler
from ssdprof.profiling.gpu.driver import open_context
from ssdprof.profiling.runs.measured import Prepared
from ssdprof.profiling.workers import worker

_MEASURE = "ssdprof.profiling.measuring.measure"


def serve(fd: int) -> None:
    """`worker.serve`, with the imports of measuring (torch, and Triton with its hash) under way."""
    for work in (_import_measure, compiler.warm_up):
        threading.Thread(target=work, daemon=True).start()
    worker.serve(fd)


def _import_measure() -> None:
    """Without looking for garbage, of which an import leaves little and which takes a tenth of its time."""
    gc.disable()
    try:
        importlib.import_module(_MEASURE)
    finally:
        gc.freeze()
        gc.enable()


def prepare(subject: Subject, device: str, seed: int, visible: str | None = None) -> Prepared:
    """`measure.prepare`, on the one GPU of the entry `visible` in CUDA_VISIBLE_DEVICES, if one is given."""
    if device.startswith("cuda"):
        if visible is not None:  # before anything asks CUDA for its devices
            os.environ["CUDA_VISIBLE_DEVICES"] = visible
        threading.Thread(target=open_context, daemon=True).start()
    prepared: Prepared = importlib.import_module(_MEASURE).prepare(subject, device, seed, visible)
    return prepared
