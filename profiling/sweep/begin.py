"""The beginning of a sweep, which tells how long it will take: what Triton has cached, and the first configs."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path

from ssdprof.kernels.launch import DescriptorRef, LaunchPlan, has_tma
from ssdprof.profiling.runs.measured import Compiled
from ssdprof.profiling.sweep.estimate import Shown
from ssdprof.profiling.sweep.request import SweepRequest
from ssdprof.profiling.workers.pool import Pool
from ssdprof.profiling.workers.worker import Failure

CACHED = "ssdprof.profiling.binary.cached:cached_launches"
ASKING_S = 0.5
"""How long to ask Triton's cache; a config takes less than a millisecond, the first of a kernel some ten."""
ANSWER_TIMEOUT_S = 30.0
JUDGED = 4
"""At least so many configs tell how fast this machine compiles, or one a compiler."""
JUDGING_S = 6.0
"""The longest that the first configs are waited for."""
CGROUP_CPU = Path("/sys/fs/cgroup/cpu.max")


def begun(request: SweepRequest, plans: Mapping[str, LaunchPlan], pool: Pool, start_s: float) -> Shown:
    """Asks Triton's cache for the `plans` and starts to compile, with those that are not in it.

    `start_s` is when the sweep was asked for, by the monotonic clock. If there are no more configs to compile than
    compilers, there is nothing to judge by before they are all done, and nothing is started; nor with a GPU, whose
    inputs are prepared while the first configs compile.
    """
    cached = _cached(request.arch, plans, pool) if plans else {}
    asked_anew = {name: plan for name, plan in plans.items() if not (cached or {}).get(name)}
    enough = max(request.jobs, JUDGED)
    compiled_s: dict[str, float] = {}
    if len(asked_anew) > enough and request.gpu is None:
        for name, outcome in pool.begin(
            asked_anew, request.arch, request.timeout_s, jobs=request.jobs, enough=enough, limit_s=JUDGING_S
        ):
            if isinstance(outcome, Compiled):
                compiled_s[name] = outcome.compile_s
    return Shown(cached, compiled_s, time.monotonic() - start_s)


def expect_descriptors(arch: str, plans: Mapping[str, LaunchPlan], pool: Pool) -> None:
    """Has the compilers load what launches with descriptors need, if there are any."""
    arguments = (value for plan in plans.values() for value in plan.args.values())
    if has_tma(arch) and any(isinstance(value, DescriptorRef) for value in arguments):
        pool.expect_descriptors()


def cores() -> int:
    """The cores that this process may use: of its affinity, within the quota of its control group."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CGROUP_CPU.read_text().split()[:2]
        return max(1, min(allowed, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no control group, or `max`
        return allowed


def _cached(arch: str, plans: Mapping[str, LaunchPlan], pool: Pool) -> Mapping[str, bool] | None:
    """Whether Triton has the plans cached, of those asked in time, spread over them all; None if it does not say."""
    names = list(plans)
    stride = next(step for step in range(len(names) * 5 // 8 or 1, 0, -1) if math.gcd(step, len(names)) == 1)
    spread = {names[i * stride % len(names)]: plans[names[i * stride % len(names)]] for i in range(len(names))}
    found: dict[str, bool] | Failure = pool.ask(CACHED, spread, arch, ASKING_S, timeout_s=ANSWER_TIMEOUT_S)
    return found if isinstance(found, dict) and found else None
