"""`ssdprof devices`: each GPU as NVML describes it, what ssdprof assumes about it, and what its units do at most."""

from __future__ import annotations

from typing import Annotated

from ssdprof.cli import console
from ssdprof.cli.options import Json, Quiet, option


def devices(
    ceilings: Annotated[
        bool, option("Results", "Also what each unit does at most; measured if it is not known yet, in some seconds.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """List each GPU as NVML describes it, and what ssdprof assumes about its architecture."""
    from ssdprof.profiling import api
    from ssdprof.reports.text import devices as report

    found, known_archs = api.devices()
    say = (lambda _: None) if quiet else console.note
    limits = api.ceilings(found, say) if ceilings else None
    console.show(report.devices_json(found, limits) if json else report.devices_report(found, known_archs, limits))
    return 0
