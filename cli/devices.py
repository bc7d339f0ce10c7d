"""`ssdprof devices`: each GPU as NVML describes it, and what ssdprof assumes about it."""

from __future__ import annotations

import typer

from ssdprof.cli.options import Json


def devices(json: Json = False) -> int:
    """List each GPU as NVML describes it, and what ssdprof assumes about its architecture."""
    from ssdprof.cli.console import stdout
    from ssdprof.profiling import api
    from ssdprof.reports.text import devices as report

    found, known_archs = api.devices()
    if json:
        typer.echo(report.devices_json(found), nl=False)
    else:
        stdout().print(report.devices_report(found, known_archs))
    return 0
