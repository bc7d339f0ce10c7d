"""Which launches Triton has in its cache already, found out without compiling any."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling.binary.compiler import compile_launch


class _NotCached(Exception):  # noqa: N818  # no error: it ends a compilation before the first stage
    """Triton has looked into its cache and is about to compile."""


def cached_launches(plans: Mapping[str, LaunchPlan], arch: str, limit_s: float) -> dict[str, bool]:
    """Whether each plan is in Triton's cache; after `limit_s`, the rest is left out.

    Triton itself looks: this process has a back end whose list of stages, which Triton asks for only after a miss, ends
    the compilation. So this process can compile nothing from now on. Plans that fail otherwise are left out too.
    """
    from triton.backends.nvidia.compiler import CUDABackend

    def no_stages(*_: Any, **__: Any) -> NoReturn:
        raise _NotCached

    CUDABackend.add_stages  # noqa: B018  # without it, an AttributeError says that nothing is known
    CUDABackend.add_stages = no_stages
    deadline_s = time.monotonic() + limit_s
    found = {}
    for name, plan in plans.items():
        if time.monotonic() > deadline_s:
            break
        with suppress(Exception):
            found[name] = _is_cached(plan, arch)
    return found


def _is_cached(plan: LaunchPlan, arch: str) -> bool:
    try:
        compile_launch(plan, arch)
    except _NotCached:
        return False
    return True
