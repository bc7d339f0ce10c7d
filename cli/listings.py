"""`ssdprof spaces` and `ssdprof presets`: what there is to sweep, and the problems to sweep it on."""

from __future__ import annotations

from ssdprof.cli import console
from ssdprof.cli.options import Json, SubjectOptions, grouped


@grouped
def spaces(subject: SubjectOptions, json: Json = False) -> int:
    """List the spaces of a kernel, a line each: the name for --space, how many configs, and what they are.

    The number is that on the problem, since some spaces depend on it.
    """
    from ssdprof.kernels.space import listed_spaces
    from ssdprof.reports.text import listings

    found = listed_spaces(subject.build())
    console.show(listings.spaces_json(found) if json else listings.spaces_text(found))
    return 0


def presets(json: Json = False) -> int:
    """List the published models whose problems --preset names, a line each: the name, the sizes, and the model."""
    from ssdprof.kernels import registry
    from ssdprof.reports.text import listings

    found = registry.presets()
    console.show(listings.presets_json(found) if json else listings.presets_text(found))
    return 0
