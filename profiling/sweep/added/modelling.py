"""Adds to the rows of a run what each binary moves and executes, computed from its addresses and its machine code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ssdprof.kernels.interface import Gridded, Peekable, Subject
from ssdprof.profiling.hardware.ceilings import Size, size_of
from ssdprof.profiling.runs.model import Device, Row
from ssdprof.profiling.runs.modelled import Model, Modelled
from ssdprof.profiling.sweep.added.ceilings import Measured
from ssdprof.profiling.workers.pool import Pool
from ssdprof.profiling.workers.worker import Failure

MODEL = "ssdprof.profiling.traffic.modelled:launch_model"
TIMEOUT_S = 60.0
"""For one config: what takes longer is left out."""


def add_models(sweep: Measured) -> None:
    """Records the model of each config that compiled and has none yet."""
    size, request = size_for(sweep.state.header.device), sweep.request
    rows = [
        row
        for row in sweep.state.rows.values()
        if row.compiled is not None and row.occupancy is not None and sweep.state.model(row.config_id) is None
    ]
    if size is None or not rows:
        return
    tasks = {row.config_id: model_task(request.subject, row, request.arch, size) for row in rows}
    for done, (name, outcome) in enumerate(sweep.pool.each(MODEL, tasks, request.jobs, TIMEOUT_S), start=1):
        model = _model(outcome, size)
        row = sweep.state.rows[name]
        sweep.record(Modelled(name, replace(model, axes=_axes(request.subject, row))))
        sweep.tell("modelling", done, len(tasks), name)


def model_of(subject: Subject, row: Row, arch: str, device: Device, pool: Pool) -> Model | None:
    """The model of one row; None if the size of its GPU is not known."""
    size = size_for(device)
    if size is None:
        return None
    found = _model(pool.ask(MODEL, *model_task(subject, row, arch, size), timeout_s=TIMEOUT_S), size)
    return replace(found, axes=_axes(subject, row))


def model_task(subject: Subject, row: Row, arch: str, size: Size) -> tuple[Any, ...]:
    """The arguments of `launch_model` for a row."""
    tensors: Mapping[str, Any] = subject.tensors()
    peeked = subject if isinstance(subject, Peekable) else None
    return subject.launch(row.config), dict(tensors), arch, size, peeked


def size_for(device: Device) -> Size | None:
    """The size of a run's GPU, or of the one that stands for its architecture; None if it is not known."""
    if device.num_sms and device.l2_bytes:
        return Size(device.name or device.arch, device.num_sms, device.l2_bytes)
    return size_of(device.arch, device.name)


def _axes(subject: Subject, row: Row) -> tuple[tuple[str, int], ...]:
    """The axes of the grid in the subject's words, else by their letters."""
    if isinstance(subject, Gridded):
        return tuple(subject.grid_axes(row.config))
    grid = subject.launch(row.config).grid
    return tuple((f"axis {letter} of the grid", size) for letter, size in zip("xyz", grid, strict=False))


def _model(outcome: Model | Failure, size: Size) -> Model:
    return Model(size.gpu, None, None, outcome.line) if isinstance(outcome, Failure) else outcome
