"""Explains one config: recompiles it with one parameter changed at a time, and puts the results side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ssdprof.kernels.config import Config
from ssdprof.kernels.interface import Diagnosing
from ssdprof.kernels.space import neighbours
from ssdprof.profiling.runs.model import Explanation, Neighbours, Run
from ssdprof.profiling.runs.recorded import latencies_for, latency_source, with_latencies
from ssdprof.profiling.sweep.request import Event, SweepRequest
from ssdprof.profiling.sweep.sweep import sweep
from ssdprof.profiling.workers.pool import Pool


def explain(
    config: Config,
    request: SweepRequest,
    measured: Run | None,
    how: str,
    on_event: Callable[[Event], None],
    pool: Pool | None = None,
) -> Explanation:
    """Compiles the config and its neighbours. Raises ConfigError if the kernel cannot take the config.

    `request` names subject, architecture and workers; its configs are ignored. Measurements come from `measured` or,
    failing that, from the recorded run, if it is of the same kernel source, problem and architecture. `how`: whether
    the user `measured` that run, or it is `recorded` and ships with ssdprof. `pool`: processes to
    compile in, for the caller to close. Nothing is measured here.
    """
    subject = request.subject
    config = subject.resolve(config)
    groups = neighbours(subject, config)
    configs = tuple(dict.fromkeys([config, *(member for group in groups.values() for member in group)]))
    run = sweep(replace(request, configs=configs, gpu=None), on_event, lambda _: None, pool=pool)
    found = latencies_for(run, measured, how)
    run = with_latencies(run, found) if found else run
    rows = {row.config_id: row for row in run.rows}
    return Explanation(
        header=run.header,
        row=rows[subject.params.id(config)],
        neighbours=tuple(
            Neighbours(param, tuple(rows[subject.params.id(member)] for member in group))
            for param, group in groups.items()
        ),
        question=subject.question(config) if isinstance(subject, Diagnosing) else None,
        latency_source=latency_source(run),
        source=found.source if found else None,
    )
