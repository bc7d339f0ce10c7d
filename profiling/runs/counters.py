"""What Nsight Compute counted while a config ran."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counters:
    """What ncu counted in one launch of a config. None: that ncu does not give it.

    `source`: the version of ncu, or the export that it is from. `ncu_duration_ms`: of that launch. `dram_bytes`: read
    and written. `l2_to_sm_bytes`: moved between L2 and the SMs, reads and writes. `dram_pct`, `l2_pct`, `l1tex_pct`
    (L1 and shared memory), `tensor_pipe_pct` and `issue_active_pct`: how busy each unit was, as a share of the most
    that it could sustain over the whole launch. `achieved_occupancy_pct`: warps at a time, as a share of those that an
    SM can hold. `l1_hit_pct`, `l2_hit_pct`: sectors that were found there. `top_stall`: why warps waited most, as ncu
    names it, and `top_stall_pct`: its share of the time that warps spend between two instructions.
    `metrics`: what else was asked for, by ncu's names, in base units.
    """

    source: str
    ncu_duration_ms: float | None = None
    dram_bytes: int | None = None
    l2_to_sm_bytes: int | None = None
    dram_pct: float | None = None
    l2_pct: float | None = None
    l1tex_pct: float | None = None
    tensor_pipe_pct: float | None = None
    issue_active_pct: float | None = None
    achieved_occupancy_pct: float | None = None
    l1_hit_pct: float | None = None
    l2_hit_pct: float | None = None
    top_stall: str | None = None
    top_stall_pct: float | None = None
    metrics: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """The counters of a config, as a record of a run; a later one replaces them."""

    config_id: str
    counters: Counters
