"""What a config of a captured kernel sets, and the configs of its own autotune list, from what is kept of a launch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ssdprof.kernels.captured.model import CapturedLaunch, ListedConfig
from ssdprof.kernels.config import MAXNREG, NUM_CTAS, NUM_STAGES, NUM_WARPS, TRITON_DEFAULTS, Config, Param, ParamTable
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import LeftOut, Space

OWN = "own"
"""The space that is the kernel's own list."""
OPTIONS = (NUM_WARPS, NUM_STAGES, MAXNREG, NUM_CTAS)
_SIZES = re.compile(r"(BLOCK|BLK|TILE|CHUNK|GROUP|SPLIT)|B[A-Z]{1,2}$", re.IGNORECASE)
"""How names of meta-parameters that are sizes begin, or short ones such as BM; those have neighbours at half and at
twice the value. Without a list of its own, a kernel's configs set these alone."""


def table_of(launch: CapturedLaunch) -> ParamTable:
    """The parameters: what its list sets, launch options, then its other constants, at the values of the launch."""
    options = {param.name for param in OPTIONS}
    listed = _listed(launch)
    names = [*dict.fromkeys(name for one in listed for name in one.values if name not in options)]
    given = _constants(launch)
    others = [name for name in given if name not in names]
    tunables = [_tunable(name, [one.values.get(name) for one in listed], given.get(name)) for name in names]
    fixed = [
        Param(name, description="constant of this launch", low=_low([given[name]]), default=given[name], is_passed=True)
        for name in others
    ]
    table = ParamTable((*tunables, *OPTIONS, *fixed), functions=(launch.name,))
    return replace(table, example=captured_config(launch, table))


def captured_config(launch: CapturedLaunch, table: ParamTable) -> Config:
    """The config that the program's launch ran with."""
    return table.config({**_options(launch, table), **_known(launch.config, table)})


def own_space(launch: CapturedLaunch, table: ParamTable) -> Space:
    """Its autotune list without what its pruning leaves out, or the captured config alone."""
    kept, left_out, options = [], {}, _options(launch, table)
    for one in _listed(launch):
        try:
            config = table.config({**options, **one.values})
        except ConfigError as error:
            left_out[", ".join(f"{key}={value}" for key, value in one.values.items())] = str(error)
            continue
        if one.pruned:
            left_out[table.id(config)] = "left out by the kernel's own pruning for this launch"
        else:
            kept.append(config)
    configs = tuple(dict.fromkeys(kept or [captured_config(launch, table)]))
    several = f"the kernel's own autotune list: {len(configs)} configs"
    description = several if launch.autotune is not None else "the captured config: the kernel has no list of its own"
    return Space(OWN, configs, description, tuple(LeftOut(*one) for one in left_out.items()))


def _listed(launch: CapturedLaunch) -> tuple[ListedConfig, ...]:
    if launch.autotune is not None:
        return launch.autotune.configs
    names = [name for name in launch.config if name not in launch.constexprs or _SIZES.match(name)]
    return (ListedConfig({name: launch.config[name] for name in names}),)


def _constants(launch: CapturedLaunch) -> dict[str, Any]:
    """Whole numbers and texts among its constants, as the program passed them; computed ones have no value."""
    computed = dict.fromkeys(name for name, _ in launch.sources.heuristics)
    found = {name: launch.args.get(name, launch.config.get(name)) for name in launch.constexprs if name not in computed}
    plain = {name: value for name, value in found.items() if type(value) in (int, str)}
    return {**plain, **dict.fromkeys(name for name in computed if name in launch.constexprs)}


def _options(launch: CapturedLaunch, table: ParamTable) -> dict[str, Any]:
    """What the program itself passed of launch options, else Triton's defaults: what a config need not set."""
    return {**TRITON_DEFAULTS, **_known(launch.options, table)}


def _known(values: Mapping[str, Any], table: ParamTable) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in table.by_name}


def _tunable(name: str, listed: list[Any], given: Any) -> Param:
    """A meta-parameter of the list: it must be set if every config sets it and the launch has no value for it."""
    values = [value for value in (*listed, given) if value is not None]
    around = {value for value in values if type(value) is int}
    if _SIZES.match(name):
        around |= {half for value in around if (half := value // 2) >= 1} | {2 * value for value in around}
    return Param(
        name,
        description="meta-parameter of this kernel",
        low=_low(values),
        required=None not in listed,
        default=None if None not in listed else given,
        around=tuple(sorted(around)) if _low(values) is not None else (),
    )


def _low(values: list[Any]) -> int | None:
    """0 for what is set, and a whole number of 31 bits wherever it is; None: any value."""
    given = [value for value in values if value is not None]
    return 0 if given and all(type(value) is int and 0 <= value < 1 << 31 for value in given) else None
