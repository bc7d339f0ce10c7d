"""Explains one config: recompiles it with one parameter changed at a time, puts the results side by side, and reads
what its shared memory holds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import replace

from ssdprof.kernels.config import Config
from ssdprof.kernels.interface import Diagnosing
from ssdprof.kernels.space import neighbours
from ssdprof.profiling.runs.ledger import Ledger
from ssdprof.profiling.runs.model import Explanation, Neighbours, Row, Run
from ssdprof.profiling.runs.recorded import latencies_for, latency_source, with_latencies
from ssdprof.profiling.runs.state import Record
from ssdprof.profiling.sweep.request import Event, SweepRequest
from ssdprof.profiling.sweep.sweep import sweep
from ssdprof.profiling.workers.pool import Pool
from ssdprof.profiling.workers.worker import Failure

LEDGER = "ssdprof.profiling.binary.ledger:launch_ledger"


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
    own, ledgers = subject.params.id(config), list[Ledger | Failure]()
    with nullcontext(pool) if pool is not None else closing(Pool()) as running:

        def read_ledger(record: Record) -> None:
            """Once the config's binary is in Triton's cache, and while its neighbours compile: that takes a moment."""
            if isinstance(record, Row) and record.config_id == own and record.compiled is not None and not ledgers:
                launch = subject.launch(config)
                ledgers.append(running.ask(LEDGER, launch, request.arch, timeout_s=request.timeout_s))

        run = sweep(replace(request, configs=configs, gpu=None), on_event, read_ledger, pool=running)
    found_ledger = ledgers[0] if ledgers else None
    found = latencies_for(run, measured, how)
    run = with_latencies(run, found) if found else run
    rows = {row.config_id: row for row in run.rows}
    return Explanation(
        header=run.header,
        row=rows[own],
        neighbours=tuple(
            Neighbours(param, tuple(rows[subject.params.id(member)] for member in group))
            for param, group in groups.items()
        ),
        question=subject.question(config) if isinstance(subject, Diagnosing) else None,
        latency_source=latency_source(run),
        source=found.source if found else None,
        ledger=None if isinstance(found_ledger, Failure) else found_ledger,
        ledger_absent=found_ledger.line if isinstance(found_ledger, Failure) else "",
    )
