"""Explains one config: recompiles it with one parameter changed at a time and puts the results side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ssdprof.kernels.config import config_id
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import Config, KernelSpec
from ssdprof.profiling.runs.model import Explanation, Neighbours, Row, Run
from ssdprof.profiling.runs.store import recorded_for
from ssdprof.profiling.sweep.request import Event, SweepRequest
from ssdprof.profiling.sweep.sweep import sweep

STEPS: dict[str, tuple[int, ...]] = {
    "block_dstate": (32, 64, 128),
    "num_warps": (1, 2, 4, 8),
    "num_stages": (1, 2, 3, 4, 5),
    "heads": (1, 2, 4, 8, 16),
}
"""The values each parameter is given in turn, where the config has it and the kernel takes it; its own joins them."""


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """What to explain. `sweep` names kernel, problem, architecture and workers; its configs are ignored.

    `run`: where latencies are taken from, where it is measured and of the same kernel source, problem and architecture.
    """

    config: Config
    sweep: SweepRequest
    run: Run | None


def explain(request: ExplainRequest, on_event: Callable[[Event], None]) -> Explanation:
    """Compiles the config and its neighbours. Raises ConfigError where the kernel does not take the config.

    Latencies, statuses and errors come from `request.run` or, failing that, from the recorded run of the same kernel
    source, problem and architecture; nothing is measured here.
    """
    spec, problem = request.sweep.spec, request.sweep.problem
    config = spec.resolve(request.config, problem)
    groups = {
        parameter: _members(spec, problem, config, parameter, values)
        for parameter, values in STEPS.items()
        if getattr(config, parameter) is not None
    }
    groups = {parameter: members for parameter, members in groups.items() if len(members) > 1}
    configs = tuple(dict.fromkeys([config, *(member for group in groups.values() for member in group)]))
    run = sweep(replace(request.sweep, configs=configs, gpu=None), on_event, lambda _: None)
    source = _latency_run(run, request.run)
    how = "measured" if source and request.run and source.header is request.run.header else "recorded"
    known = {row.config_id: row for row in source.rows} if source else {}
    rows = {row.config_id: _with_measured(row, known.get(row.config_id)) for row in run.rows}
    return Explanation(
        header=run.header,
        row=rows[config_id(config)],
        neighbours=tuple(
            Neighbours(parameter, tuple(rows[config_id(member)] for member in group))
            for parameter, group in groups.items()
        ),
        latency_source=f"{how} on {source.header.provenance}" if source else None,
    )


def _members(spec: KernelSpec, problem: Any, config: Config, parameter: str, values: Iterable[int]) -> list[Config]:
    """The config with each of the values and its own, in order, but for those that the kernel does not take."""
    members = []
    for value in sorted({*values, getattr(config, parameter)}):
        with suppress(ConfigError):
            members.append(spec.resolve(replace(config, **{parameter: value}), problem))
    return members


def _latency_run(compiled: Run, run: Run | None) -> Run | None:
    """`run` where its latencies are of this kernel, problem and architecture, else the recorded run that is."""
    rows = run.comparable_rows(compiled.header) if run is not None and run.measured else ()
    return replace(run, rows=rows) if run is not None and rows else recorded_for(compiled)


def _with_measured(row: Row, known: Row | None) -> Row:
    """A compiled row with what was measured of the same config; what was compiled here stays."""
    if known is None or row.compiled is None:
        return row
    return replace(
        row,
        status=known.status,
        status_reason=known.status_reason,
        check=known.check,
        timing=known.timing,
        rank=known.rank,
        speedup_vs_baseline=known.speedup_vs_baseline,
        tied_with_best=known.tied_with_best,
    )
