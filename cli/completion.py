"""What a shell completes as values of options. Nothing here imports torch or triton."""

from __future__ import annotations

from collections.abc import Iterable


def presets(incomplete: str) -> list[str]:
    """Published models."""
    from ssdprof.kernels import registry

    return _beginning(incomplete, (one.name for one in registry.presets()))


def spaces(incomplete: str) -> list[str]:
    """The spaces of our own kernel, and a foreign one's own list."""
    from ssdprof.kernels import registry

    return _beginning(incomplete, registry.space_names())


def archs(incomplete: str) -> list[str]:
    """Architectures and GPUs by name, without blanks, which a shell would take for the end of a word."""
    from ssdprof.profiling import api

    return _beginning(incomplete, (name.replace(" ", "-") for name in api.arch_names()))


def runs(incomplete: str) -> list[str]:
    """Kept runs by number, and the recorded ones; a shell itself completes files."""
    from ssdprof.profiling import results

    return _beginning(incomplete, results.run_names())


def dtypes(incomplete: str) -> list[str]:
    """Dtypes of x, C and z."""
    from ssdprof.kernels import registry

    return _beginning(incomplete, registry.DTYPES)


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    """The names that begin so in any case, their beginning as it was typed: a shell takes no other."""
    found = (name for name in names if name.lower().startswith(incomplete.lower()))
    return [incomplete + name[len(incomplete) :] for name in found]
