"""Adds to the rows of a run what each binary moves and executes, computed from its addresses and its machine code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ssdprof.kernels.interface import Gridded, Peekable, Subject
from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling.hardware.ceilings import Size, size_of
from ssdprof.profiling.runs.model import Device, Row
from ssdprof.profiling.runs.modelled import Model, Modelled
from ssdprof.profiling.sweep.added.ceilings import Measured
from ssdprof.profiling.workers.pool import Pool
from ssdprof.profiling.workers.worker import Failure

MODEL = "ssdprof.profiling.traffic.modelled:launch_model"
MODELS = "ssdprof.profiling.traffic.modelled:launch_models"
TIMEOUT_S = 60.0
"""For one config: what takes longer is left out."""
TOGETHER = 32
"""Configs of one task, about: nvdisasm starts once for all of them."""
_OF_TIMEOUT = 1 / 6
"""What each config of a task adds to the time that it may take, relative to that of one alone."""


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
    sweep.tell("modelling", 0, len(rows), None)
    for done, (row, model) in enumerate(_models(rows, size, sweep), start=1):
        sweep.record(Modelled(row.config_id, replace(model, axes=_axes(request.subject, row))))
        sweep.tell("modelling", done, len(rows), row.config_id)


def _models(rows: list[Row], size: Size, sweep: Measured) -> Iterator[tuple[Row, Model]]:
    """The model of each row as they come: of several at once, and of each of these alone if that fails."""
    request, alone = sweep.request, []
    plans = {row.config_id: request.subject.launch(row.config) for row in rows}
    rounds = -(-len(rows) // (request.jobs * TOGETHER))
    parts = {part[0].config_id: part for part in together(rows, plans, request.jobs * rounds)}
    longest = max(map(len, parts.values()))
    shared = _shared(request.subject, request.arch, size)
    tasks = {name: ([plans[row.config_id] for row in part], *shared) for name, part in parts.items()}
    for name, outcome in sweep.pool.each(MODELS, tasks, request.jobs, TIMEOUT_S * (1 + longest * _OF_TIMEOUT)):
        if isinstance(outcome, Failure) and len(parts[name]) > 1:
            alone += parts[name]
        else:
            found = [outcome] if isinstance(outcome, Failure) else outcome
            yield from ((row, _model(one, size)) for row, one in zip(parts[name], found, strict=True))
    tasks = {row.config_id: ([plans[row.config_id]], *shared) for row in alone}
    for name, outcome in sweep.pool.each(MODELS, tasks, request.jobs, TIMEOUT_S):
        [model] = [outcome] if isinstance(outcome, Failure) else outcome
        yield sweep.state.rows[name], _model(model, size)


def together(rows: Sequence[Row], plans: Mapping[str, LaunchPlan], parts: int) -> list[list[Row]]:
    """The rows in so many parts of about one size; those that differ only in launch options, in one part."""
    alike: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        plan = plans[row.config_id]
        alike.setdefault((plan.module, plan.function, plan.file, plan.grid, repr(plan.args)), []).append(row)
    most = -(-len(rows) // parts)
    found: list[list[Row]] = [[] for _ in range(parts)]
    for ones in alike.values():
        ones.sort(key=lambda row: row.occupancy.blocks_per_sm if row.occupancy else 0)  # as many programs at once
        for begin in range(0, len(ones), most):
            min(found, key=len).extend(ones[begin : begin + most])  # so each gets some of those that take long
    return [part for part in found if part]


def model_of(subject: Subject, row: Row, arch: str, device: Device, pool: Pool) -> Model | None:
    """The model of one row; None if the size of its GPU is not known."""
    size = size_for(device)
    if size is None:
        return None
    outcome = pool.ask(MODEL, subject.launch(row.config), *_shared(subject, arch, size), timeout_s=TIMEOUT_S)
    return replace(_model(outcome, size), axes=_axes(subject, row))


def _shared(subject: Subject, arch: str, size: Size) -> tuple[Any, ...]:
    """The arguments of `launch_model` and `launch_models` after what is launched: the same for all rows."""
    peeked = subject if isinstance(subject, Peekable) else None
    return dict(subject.tensors()), arch, size, peeked


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
