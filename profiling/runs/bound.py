"""What bounds a latency: how much of what each unit can do in that time a launch asks of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ssdprof.profiling.hardware.ceilings import Ceilings
from ssdprof.profiling.hardware.occupancy import Occupancy
from ssdprof.profiling.runs.modelled import Model

BoundCode = Literal["dram", "dram-reread", "l2", "l1", "tensor", "issue", "latency-hiding", "launch", "tail"]
Unit = Literal["dram", "l2", "l1", "tensor", "issue"]
AT_CEILING = 0.65
"""A unit that does at least this share of what it can bounds the latency."""
REREAD = 1.25
"""DRAM moves what it need not if it moves this many times the least."""
LAUNCHES = 3.0
"""A latency below so many launches of an empty kernel is the launch's own."""
_WAVEFRONT_BYTES = 128


@dataclass(frozen=True, slots=True)
class Bound:
    """What bounds a latency. `share`: of the unit that is used most, of what it can do in that time.

    `shares`: by unit, largest first. `waves`: of blocks over all SMs, None if not known.
    """

    code: BoundCode
    share: float
    shares: tuple[tuple[Unit, float], ...]
    waves: float | None = None

    def of(self, unit: Unit) -> float | None:
        """The share of a unit; None if it is not known."""
        return dict(self.shares).get(unit)


def bound_of(
    model: Model | None, latency_ms: float, ceilings: Ceilings, occupancy: Occupancy | None, least_bytes: int | None
) -> Bound | None:
    """What bounds the latency of a launch with this model; None without its traffic."""
    if model is None or model.traffic is None:
        return None
    shares = demands(model, ceilings)
    moved = model.traffic.dram_bytes / least_bytes if least_bytes else 1.0
    return judged({unit: ms / latency_ms for unit, ms in shares.items()}, latency_ms, ceilings, occupancy, moved)


def demands(model: Model, ceilings: Ceilings) -> dict[Unit, float]:
    """The milliseconds that each unit needs for what the launch asks of it, if it does nothing else."""
    found: dict[Unit, float] = {}
    if model.traffic is not None:
        found["dram"] = model.traffic.dram_bytes / ceilings.dram_gbps / 1e6
        if ceilings.l2_gbps:
            found["l2"] = model.traffic.l2_to_sm_bytes / ceilings.l2_gbps / 1e6
    if model.executed is not None:
        executed = model.executed
        if ceilings.smem_gbps:
            found["l1"] = executed.l1_wavefronts * _WAVEFRONT_BYTES / ceilings.smem_gbps / 1e6
        if ceilings.issue_gips:
            found["issue"] = executed.warp_instructions / ceilings.issue_gips / 1e6
        rates = {dtype: ceilings.tensor(dtype) for dtype, _ in executed.tensor_flops}
        found["tensor"] = sum(flops / rate / 1e9 for dtype, flops in executed.tensor_flops if (rate := rates[dtype]))
    return found


def judged(
    shares: Mapping[Unit, float], latency_ms: float, ceilings: Ceilings, occupancy: Occupancy | None, moved: float
) -> Bound:
    """The bound of shares, however they were obtained. `moved`: the bytes that DRAM moves over the least."""
    ordered = tuple(sorted(shares.items(), key=lambda item: -item[1]))
    unit, share = ordered[0]
    waves = occupancy.waves_per_sm if occupancy else None
    if share >= AT_CEILING:
        code: BoundCode = "dram-reread" if unit == "dram" and moved >= REREAD else unit
    elif latency_ms * 1e3 < LAUNCHES * ceilings.launch_us:
        code = "launch"
    elif waves and share * math.ceil(waves) / waves >= AT_CEILING:
        code = "tail"
    else:
        code = "latency-hiding"
    return Bound(code, share, ordered, waves)
