"""`ssdprof devices`: each GPU as NVML describes it, and what ssdprof assumes about it."""

from __future__ import annotations

from ssdprof.cli import console
from ssdprof.cli.options import Json


def devices(json: Json = False) -> int:
    """List each GPU as NVML describes it, and what ssdprof assumes about its architecture."""
    from ssdprof.profiling import api
    from ssdprof.reports.text import devices as report

    found, known_archs = api.devices()
    console.show(report.devices_json(found) if json else report.devices_report(found, known_archs))
    return 0
