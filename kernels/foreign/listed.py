"""What a config of a foreign kernel sets, and the configs of its own autotune list as its pruning leaves them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ssdprof.kernels.config import MAXNREG, NUM_CTAS, NUM_STAGES, NUM_WARPS, TRITON_DEFAULTS, Config, Param, ParamTable
from ssdprof.kernels.errors import ConfigError, UsageError
from ssdprof.kernels.foreign.files import KERNEL
from ssdprof.kernels.foreign.noting import Noted
from ssdprof.kernels.loading import cuda_untouched, load_module
from ssdprof.kernels.ssd.params import BLOCK_DSTATE, BLOCK_K, BLOCK_M, BLOCK_N
from ssdprof.kernels.stand_ins import gpu_capability

_ASKS_WHICH_GPU = ("current_platform", "device_capability", "get_device_properties")
_OTHER_CAPABILITIES = (80, 90, 100)
"""Ampere, Hopper, Blackwell: for each, a file may have another list."""
_KNOWN = {param.name: param for param in (BLOCK_M, BLOCK_N, BLOCK_K, BLOCK_DSTATE)}


def table_of(noted: Noted) -> ParamTable:
    """The parameters of its configs: what its list sets and the tiles that its entry sets, then launch options.

    Those that our own table has are ours, with their letters; others have none. Raises UsageError if the kernel has
    another one that nothing sets.
    """
    listed = _listed(noted)
    names = dict.fromkeys(name for config in listed for name in config.kwargs)
    computed = {name for layer in noted.heuristics for name in layer.values}
    for name, parameter in noted.parameters.items():
        is_tile = name.startswith("BLOCK") and "constexpr" in str(parameter.annotation)
        if is_tile and name not in computed and type(noted.given(name)) is int:
            names.setdefault(name)
        if name not in {*names, *computed, *noted.bound} and parameter.default is parameter.empty:
            raise UsageError(f"{noted.module.__file__}: neither the entry nor a config nor a heuristic sets {name}")
    ours = [_ours(param, noted, listed) for name, param in _KNOWN.items() if name in names]
    others = [_unknown(name, noted, listed) for name in names if name not in _KNOWN]
    table = ParamTable((*ours, NUM_WARPS, NUM_STAGES, MAXNREG, *others, NUM_CTAS))
    read = (_read(one, table, noted) for one in listed)
    return replace(table, example=next((config for config in read if isinstance(config, Config)), None))


def own_list(noted: Noted, table: ParamTable, owner: str) -> tuple[list[Config], dict[str, str], str]:
    """The configs of its list in order; why others are left out, by id or printed form; a note for the description.

    Left out are those that its own pruning drops on this problem, and those that our configs cannot hold.
    """
    listed = _listed(noted)
    kept, by, note = _pruned(noted, listed)
    read = [(_read(one, table, noted), any(one is other for other in kept), str(one)) for one in listed]
    configs = list(dict.fromkeys(config for config, is_kept, _ in read if is_kept and isinstance(config, Config)))
    left_out = {}
    for config, _, printed in read:
        if isinstance(config, str):
            left_out[printed] = config
        elif config not in configs:
            left_out[table.id(config)] = f"left out by {owner}'s own pruning ({by}) on this problem"
    here = divmod(gpu_capability(), 10)
    for config in (_read(one, table, noted) for one in _elsewhere(noted)):
        if isinstance(config, Config) and config not in configs:
            reason = f"left out by {owner}'s own file for compute capability {here[0]}.{here[1]}, while it is loaded"
            left_out.setdefault(table.id(config), reason)
    return configs, left_out, note


def _elsewhere(noted: Noted) -> list[Any]:
    """The configs of its list on other GPUs, if the file asks which one it is on."""
    file = str(noted.module.__file__)
    asks = any(word in Path(file).read_text(encoding="utf-8") for word in _ASKS_WHICH_GPU)
    if noted.autotuner is None or not asks:
        return []
    modules = [load_module(noted.module.__name__, file, capability) for capability in _OTHER_CAPABILITIES]
    return [config for module in modules for config in getattr(getattr(module, KERNEL), "configs", ())]


def filled(config: Config, table: ParamTable, noted: Noted) -> Config:
    """A config with what it does not set filled in: by the entry, else by the kernel's default. Raises ConfigError."""
    unset = [param.name for param in table.shape_params if config[param.name] is None]
    full = table.validated(config.with_values({name: noted.given(name) for name in unset}))
    missing = [name for name in unset if full[name] is None]
    if missing:
        raise ConfigError(f"{missing[0]} is not set, and neither the kernel nor its entry has a value for it: set it")
    return full


def _listed(noted: Noted) -> list[Any]:
    """Its `triton.Config`s; for a kernel without an autotuner a single one, of what the entry passes."""
    if noted.autotuner is not None:
        return list(noted.autotuner.configs)
    import triton

    return [triton.Config({}, **{name: noted.options.get(name, value) for name, value in TRITON_DEFAULTS.items()})]


def _read(listed: Any, table: ParamTable, noted: Noted) -> Config | str:
    """A `triton.Config` as one of our configs, or why it cannot be one."""
    values = listed.all_kwargs()
    beyond = [name for name in values if name not in table.by_name] + ["pre_hook"] * (listed.pre_hook is not None)
    if beyond:
        return f"sets {beyond[0]}, which ssdprof's configs cannot hold"
    try:
        return filled(table.config(values), table, noted)
    except ConfigError as error:
        return str(error)


def _ours(param: Param, noted: Noted, listed: list[Any]) -> Param:
    """A parameter of our own table, required only if every config sets it, and as large as the entry's own value."""
    is_listed = all(param.name in config.kwargs for config in listed)
    given = noted.given(param.name)
    high = max(param.high, given) if type(given) is int else param.high
    return replace(param, required=param.required and is_listed, high=high)


def _unknown(name: str, noted: Noted, listed: list[Any]) -> Param:
    """A parameter that only this kernel has: of any value, or a whole number if it is one wherever it is set."""
    values = [noted.given(name), *(config.kwargs.get(name) for config in listed)]
    whole = all(type(value) is int and value >= 0 for value in values if value is not None)
    return Param(
        name, description="meta-parameter of this kernel", low=0 if whole else None,
        default=None, is_option=name not in noted.parameters,
    )  # fmt: skip


def _pruned(noted: Noted, listed: list[Any]) -> tuple[list[Any], str, str]:
    """What its autotuner would time on this problem, what drops the others, and a note if pruning cannot run."""
    autotuner = noted.autotuner
    if autotuner is None:
        return listed, "", ""
    early = getattr(autotuner, "early_config_prune", None)
    by = " and ".join(name for name in ("early_config_prune", "perf_model") if getattr(autotuner, name, None))
    if early is not None and not by:  # only stood in for
        return listed, by, f"; its pruning, {early!r}, is not there when the file is loaded alone"
    arguments = list(noted.bound.items())
    held = getattr(autotuner, "nargs", None)
    autotuner.nargs = dict(arguments[: noted.positional])
    try:
        with cuda_untouched():
            return list(autotuner.prune_configs(dict(arguments[noted.positional :]))), by, ""
    except Exception as error:
        return listed, by, f"; its pruning fails here ({type(error).__name__})"
    finally:
        autotuner.nargs = held
