"""Occupancy as JSON: of one launch, or of a table of launches."""

from __future__ import annotations

from dataclasses import asdict

from ssdprof.profiling.hardware.gpu_names import SmCount
from ssdprof.profiling.hardware.headroom import headroom, occupancy_curves
from ssdprof.profiling.hardware.launch_table import LaunchTable
from ssdprof.profiling.hardware.limits import SmLimits
from ssdprof.profiling.hardware.occupancy import Launch, Occupancy
from ssdprof.profiling.hardware.rule import estimated_local_speedup_pct, rule_sentence
from ssdprof.reports.export.run_json import SCHEMA, json_text
from ssdprof.reports.text.occupancy import headroom_lines


def launch_json(launch: Launch, occ: Occupancy, limits: SmLimits, sms: SmCount | None = None) -> str:
    """One launch as JSON: what was asked, every field of the answer, the sentence, and the headroom.

    `sms`: what waves are over.
    """
    return json_text(
        {
            "schema": SCHEMA,
            "arch": limits.arch,
            "num_sms": sms and sms.number,
            "num_sms_of": sms and sms.gpu and sms.gpu.name,
            "launch": asdict(launch),
            "occupancy": asdict(occ),
            "sentence": rule_sentence(occ),
            "estimated_local_speedup_pct": estimated_local_speedup_pct(occ),
            "headroom": asdict(headroom(launch, limits)),
            "headroom_lines": headroom_lines(launch, occ, limits),
            "curves": [asdict(curve) for curve in occupancy_curves(launch, occ, limits)],
        }
    )


def table_json(table: LaunchTable) -> str:
    """Many launches as JSON: a record each, input columns as text, limiters as a list; without an answer, no value."""
    rows = [{**record, "limiters": _listed(record["limiters"])} for record in table.as_records()]
    return json_text({"schema": SCHEMA, "rows": rows})


def _listed(limiters: object) -> list[str] | None:
    return None if limiters is None else [name for name in str(limiters).split(";") if name]
