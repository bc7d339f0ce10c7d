"""The command around a made-up sweep: what it shall return, and what it was asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fake_models import MODEL
from fake_runs import H100_GPU, compiled_run, h100_run
from run_records import records_of

from ssdprof.kernels.config import Config
from ssdprof.profiling.binary.needs import Toolchain
from ssdprof.profiling.gpu import devices as device
from ssdprof.profiling.gpu.devices import GpuInfo
from ssdprof.profiling.runs import recorded
from ssdprof.profiling.runs.ledger import Ledger
from ssdprof.profiling.runs.model import Explanation, Run
from ssdprof.profiling.runs.registers import Registers
from ssdprof.profiling.runs.state import Record, RunState
from ssdprof.profiling.sweep import begin, environment, estimate
from ssdprof.profiling.sweep import explain as explain_module
from ssdprof.profiling.sweep import sweep as sweep_module
from ssdprof.profiling.sweep.added import modelling
from ssdprof.profiling.sweep.request import Event, SweepRequest
from ssdprof.profiling.workers import pool as pool_module
from ssdprof.profiling.workers.pool import Pool

Asked = list[SweepRequest]
PTXAS = "ptxas 12.9.86"


class Explain(NamedTuple):
    """What an explanation was asked for."""

    config: Config
    sweep: SweepRequest
    run: Run | None


class IdlePool(Pool):
    """Starts no process, and compiles and measures nothing."""

    def __init__(self, *, measurers: int = 0, **_: object) -> None:
        self.measurers_asked = measurers
        self.dismissed = self.closed = False

    def ask(self, function: str, *args: Any, timeout_s: float) -> object:
        """What every sweep asks before it begins, and an explanation of its config; Triton has nothing cached."""
        if function == explain_module.LEDGER:
            return Ledger((), 0)
        if function == explain_module.REGISTERS:
            return Registers((), 16, 0)
        if function == modelling.MODEL:
            return MODEL
        if function == begin.CACHED:
            return dict.fromkeys(args[0], False)
        assert function == environment.TOOLCHAIN
        return Toolchain(PTXAS)

    def begin(self, *args: Any, **options: Any) -> list[tuple[Any, Any]]:
        return []

    def expect_measuring(self) -> None:
        pass

    def expect_descriptors(self) -> None:
        pass

    def dismiss_measurers(self) -> None:
        self.dismissed = True

    def close(self) -> None:
        self.closed = True


def fake_sweeps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    """Sweeps return the made-up H100 run, or without a GPU the compiled one; what they are asked is kept."""
    requests: Asked = []
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(device, "gpus", lambda: (H100_GPU,))
    ship(monkeypatch)
    monkeypatch.setattr(pool_module, "Pool", IdlePool)
    returns(monkeypatch, requests, lambda request: h100_run() if request.gpu else compiled_run())
    return requests


def returns(monkeypatch: pytest.MonkeyPatch, requests: Asked, result: Callable[[SweepRequest], Run]) -> None:
    def sweep(
        request: SweepRequest,
        on_event: Callable[[Event], None],
        on_record: Callable[[Record], None],
        state: RunState | None = None,
        pool: Pool | None = None,
    ) -> Run:
        assert isinstance(pool, IdlePool)
        requests.append(request)
        on_event(Event("compiling", 0, len(request.configs), 0, None, None, None))
        found = result(request)
        header, *others = records_of(found)
        on_record(replace(found.header, interrupted=True))
        for record in others:
            on_record(record)
        on_record(header)
        return found

    monkeypatch.setattr(sweep_module, "sweep", sweep)


def explains(monkeypatch: pytest.MonkeyPatch, requests: list[Explain], result: Explanation) -> None:
    """Explanations are this one, its answer given first; what they are asked is kept."""

    def explain(
        config: Config,
        sweep: SweepRequest,
        run: Run | None,
        how: str,
        on_event: Callable[[Event], None],
        pool: Pool,
        on_answer: Callable[[Explanation], None],
        whose: str,
    ) -> Explanation:
        assert (sweep.ptxas, sweep.configs) == (PTXAS, (config,))
        requests.append(Explain(config, sweep, run))
        on_event(Event("compiling", 0, 1, 0, None, None, None))
        on_answer(replace(result, neighbours=(), whose=whose))
        return replace(result, whose=whose)

    monkeypatch.setattr(explain_module, "explain", explain)


def gpus(monkeypatch: pytest.MonkeyPatch, *found: GpuInfo) -> None:
    monkeypatch.setattr(device, "gpus", lambda: found)


def ship(monkeypatch: pytest.MonkeyPatch, *runs: Run) -> None:
    """The recorded runs that ship with ssdprof are these."""
    for module in (recorded, estimate):
        monkeypatch.setattr(module, "recorded_runs", lambda: iter(runs))
