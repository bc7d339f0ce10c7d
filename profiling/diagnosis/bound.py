"""What bounds the latency of a config, as data: which unit, by how much, what DRAM reads again, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssdprof.profiling.diagnosis.statement import NextStep, Statement
from ssdprof.profiling.runs.bound import Bound, BoundCode, judged
from ssdprof.profiling.runs.ceilings import ceilings_for
from ssdprof.profiling.runs.model import Row, RunHeader
from ssdprof.profiling.runs.traffic import Traffic

STEPS: Mapping[BoundCode, NextStep] = {
    "dram": "none",
    "dram-reread": "reorder-grid",
    "l2": "larger-tiles",
    "l1": "larger-tiles",
    "tensor": "none",
    "issue": "larger-tiles",
    "latency-hiding": "hide-latency",
    "launch": "fewer-launches",
    "tail": "fill-last-wave",
}
"""What would help against each."""
WORTH_NAMING = 0.05
"""Tensors with less than this share of all that DRAM moves are not named."""
FEW_WARPS = 2.0
"""Warps per scheduler up to here cannot hide much: one waits, the other too."""


def bound_statement(row: Row, header: RunHeader) -> Statement | None:
    """What bounds the latency of a row; None if that is not known."""
    if row.bound is None or row.model is None or row.model.traffic is None:
        return None
    bound, traffic = row.bound, row.model.traffic
    least_bytes = header.bytes_min or traffic.least_bytes
    figures: dict[str, Any] = {
        "code": bound.code,
        "share": bound.share,
        "shares": dict(bound.shares),
        "latency_ms": row.known_latency_ms,
        "gpu": row.model.gpu,
        "dram_bytes": traffic.dram_bytes,
        "l2_to_sm_bytes": traffic.l2_to_sm_bytes,
        "least_bytes": least_bytes,
        "read_again": read_again(row, traffic),
        "most_through_l2": max(traffic.tensors, key=lambda one: one.l2_to_sm_bytes).name if traffic.tensors else "",
        "waves": bound.waves,
        "hiding": hiding(row),
        "dependent": list(traffic.dependent),
    }
    return Statement("good" if STEPS[bound.code] == "none" else "note", "bound", figures, STEPS[bound.code])


def read_again(row: Row, traffic: Traffic) -> list[dict[str, Any]]:
    """The tensors that DRAM reads again, most first: how much, and along which axis of the grid."""
    found = []
    for one in sorted(traffic.tensors, key=lambda tensor: -tensor.again_bytes):
        if one.again_bytes >= WORTH_NAMING * traffic.dram_bytes and one.again_after is not None:
            axis = row.model.axis_of(one.again_after) if row.model else ""
            found.append(
                {
                    "tensor": one.name,
                    "least_bytes": one.least_bytes,
                    "again_bytes": one.again_bytes,
                    "again_after_programs": one.again_after,
                    "axis": axis,
                }
            )
    return found


def hiding(row: Row) -> dict[str, Any]:
    """What a config has to hide latency with: warps, blocks, and the stages of its pipeline."""
    occ = row.occupancy
    stages = next((value for name, value in row.config.values if name == "num_stages"), None)
    if occ is None:
        return {"num_stages": stages}
    return {
        "warps_per_scheduler": occ.warps_per_scheduler,
        "max_warps_per_scheduler": occ.max_warps_per_scheduler,
        "blocks_per_sm": occ.blocks_per_sm,
        "num_stages": stages,
        "few_warps": occ.warps_per_scheduler <= FEW_WARPS,
    }


def counted_bound(row: Row, header: RunHeader) -> Bound | None:
    """The bound by what ncu counted, judged as ours is; None without its bytes."""
    counters = row.counters
    ceilings = ceilings_for(header.device)
    if counters is None or ceilings is None or counters.dram_bytes is None or not counters.ncu_duration_ms:
        return None
    ms = counters.ncu_duration_ms
    shares: dict[Any, float] = {"dram": counters.dram_bytes / ceilings.dram_gbps / 1e6 / ms}
    if counters.l2_to_sm_bytes is not None and ceilings.l2_gbps:
        shares["l2"] = counters.l2_to_sm_bytes / ceilings.l2_gbps / 1e6 / ms
    for unit, pct in (
        ("l1", counters.l1tex_pct),
        ("tensor", counters.tensor_pipe_pct),
        ("issue", counters.issue_active_pct),
    ):
        if pct is not None:
            shares[unit] = pct / 100
    moved = counters.dram_bytes / header.bytes_min if header.bytes_min else 1.0
    return judged(shares, ms, ceilings, row.occupancy, moved)
