"""Which changes of one config are tried: one parameter at a time, to the values around its own."""

from __future__ import annotations

from contextlib import suppress

from ssdprof.kernels.config import MAXNREG, Config, Param
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import Subject
from ssdprof.kernels.space import neighbours
from ssdprof.profiling.hardware.headroom import headroom
from ssdprof.profiling.hardware.limits import SmLimits
from ssdprof.profiling.hardware.occupancy import Launch

MOST = 16
"""At two seconds each, two cores compile so many, and the config itself, in less than half a minute."""


def changes(subject: Subject, config: Config, whole: str = "", most: int = MOST - 1) -> list[tuple[Param, Config]]:
    """At most so many changes of a resolved config, the nearest values first: each parameter and the changed config.

    Of the parameter with the column `whole`, every value to try goes first. A cap on registers is tried without it.
    """
    found: list[tuple[int, Param, Config]] = []
    for param, members in neighbours(subject, config).items():
        own = members.index(config)
        steps = [0 if param.column == whole else abs(place - own) for place in range(len(members))]
        found += [(far, param, one) for far, one in zip(steps, members, strict=True) if one != config]
    found.sort(key=lambda one: one[0])
    cap = subject.params.by_name.get(MAXNREG.name)
    if cap is not None and config[cap.name] is not None:
        found.insert(0, (0, cap, config.with_values({cap.name: None})))
    return [(param, one) for _, param, one in found[:most]]


def capped(subject: Subject, config: Config, launch: Launch, limits: SmLimits) -> tuple[Param, Config] | None:
    """The config with the largest cap on registers that gives one more block; None if no cap alone does.

    `launch`: what it compiled to. None too for a kernel whose configs set no cap.
    """
    cap, step = subject.params.by_name.get(MAXNREG.name), headroom(launch, limits).step
    if cap is None or step is None or not step.registers_fewer or step.dynamic_shared_mem_fewer_bytes:
        return None
    with suppress(ConfigError):  # a cap below what ptxas takes
        return cap, subject.resolve(config.with_values({cap.name: step.registers_per_thread}))
    return None
