"""What a config of a foreign kernel sets, and the configs of its own autotune list as its pruning leaves them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from ssdprof.kernels.config import MAXNREG, NUM_CTAS, NUM_STAGES, NUM_WARPS, TRITON_DEFAULTS, Config, Param, ParamTable
from ssdprof.kernels.errors import ConfigError, SpaceError, UsageError
from ssdprof.kernels.foreign.files import KERNEL
from ssdprof.kernels.foreign.noting import Noted, noted
from ssdprof.kernels.interface import LeftOut, Space
from ssdprof.kernels.loading import cuda_untouched, load_module
from ssdprof.kernels.ssd.params import BLOCK_DSTATE, BLOCK_K, BLOCK_M, BLOCK_N
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.stand_ins import gpu_capability

_ASKS_WHICH_GPU = ("current_platform", "device_capability", "get_device_properties")
_OTHER_CAPABILITIES = (80, 90, 100)
"""Ampere, Hopper, Blackwell: for each, a file may have another list."""
_KNOWN = {param.name: param for param in (BLOCK_M, BLOCK_N, BLOCK_K, BLOCK_DSTATE)}


@dataclass(frozen=True)
class Listed:
    """A noted launch with its kernel's own autotune list."""

    noted: Noted

    @cached_property
    def table(self) -> ParamTable:
        """The parameters of its configs: what its list or its entry sets, then launch options. Raises UsageError."""
        noted = self.noted
        names = dict.fromkeys(name for config in self._configs for name in config.kwargs)
        computed = {name for layer in noted.heuristics for name in layer.values}
        for name, parameter in noted.parameters.items():
            is_tile = name.startswith("BLOCK") and "constexpr" in str(parameter.annotation)
            if is_tile and name not in computed and type(noted.given(name)) is int:
                names.setdefault(name)
            if name not in {*names, *computed, *noted.bound} and parameter.default is parameter.empty:
                raise UsageError(f"{noted.module.__file__}: neither the entry nor a config nor a heuristic sets {name}")
        ours = [self._param(name) for name in _KNOWN if name in names]
        others = [self._param(name) for name in names if name not in _KNOWN]
        table = ParamTable((*ours, NUM_WARPS, NUM_STAGES, MAXNREG, *others, NUM_CTAS), functions=(KERNEL,))
        read = (self._read(one, table) for one in self._configs)
        return replace(table, example=next((config for config in read if isinstance(config, Config)), None))

    def space(self, name: str, owner: str) -> Space:
        """The configs of its list that its own pruning keeps and ours can hold, in order. Raises SpaceError if none."""
        kept, by, note = self._pruned()
        read = [(one, self._read(one, self.table)) for one in self._configs]
        fitting = {self._read(one, self.table) for one in kept}
        configs = tuple(dict.fromkeys(one for _, one in read if isinstance(one, Config) and one in fitting))
        left_out = {}
        for one, config in read:
            if isinstance(config, str):
                left_out[str(one)] = config
            elif config not in configs:
                left_out[self.table.id(config)] = f"left out by {owner}'s own pruning ({by}) on this problem"
        major, minor = divmod(gpu_capability(), 10)
        for config in (self._read(one, self.table) for one in self._elsewhere()):
            if isinstance(config, Config) and config not in configs:
                reason = f"left out by {owner}'s own file for compute capability {major}.{minor}, while it is loaded"
                left_out.setdefault(self.table.id(config), reason)
        if not configs:
            first, reason = next(iter(left_out.items()))
            raise SpaceError(f"{owner}'s own autotune list has no config for this problem: {first}: {reason}")
        description = f"{owner}'s own autotune list: {len(configs)} configs{note}"
        return Space(name, configs, description, tuple(LeftOut(*one) for one in left_out.items()))

    def filled(self, config: Config, table: ParamTable) -> Config:
        """A config with unset values filled in by the entry, else by the kernel's defaults. Raises ConfigError."""
        unset = [param.name for param in table.shape_params if config[param.name] is None]
        full = table.validated(config.with_values({name: self.noted.given(name) for name in unset}))
        if none := [name for name in unset if full[name] is None]:
            raise ConfigError(f"{none[0]} is not set, and neither the kernel nor its entry has a value for it: set it")
        return full

    @cached_property
    def _configs(self) -> list[Any]:
        """Its `triton.Config`s; for a kernel without an autotuner a single one, of what the entry passes."""
        if self.noted.autotuner is not None:
            return list(self.noted.autotuner.configs)
        import triton

        options = {name: self.noted.options.get(name, value) for name, value in TRITON_DEFAULTS.items()}
        return [triton.Config({}, **options)]

    def _elsewhere(self) -> Iterator[Any]:
        """The configs of its list on other GPUs, if the file asks which one it is on."""
        file = str(self.noted.module.__file__)
        text = Path(file).read_text(encoding="utf-8")
        if self.noted.autotuner is not None and any(word in text for word in _ASKS_WHICH_GPU):
            for capability in _OTHER_CAPABILITIES:
                module = load_module(self.noted.module.__name__, file, capability)
                yield from getattr(getattr(module, KERNEL), "configs", ())

    def _read(self, listed: Any, table: ParamTable) -> Config | str:
        """A `triton.Config` as one of our configs, or why it cannot be one."""
        values = listed.all_kwargs()
        beyond = [name for name in values if name not in table.by_name] + ["pre_hook"] * (listed.pre_hook is not None)
        if beyond:
            return f"sets {beyond[0]}, which ssdprof's configs cannot hold"
        try:
            return self.filled(table.config(values), table)
        except ConfigError as error:
            return str(error)

    def _param(self, name: str) -> Param:
        """Ours, required if every config sets it, as large as the entry's; or another, whole if it is wherever set."""
        given, listed = self.noted.given(name), [config.kwargs.get(name) for config in self._configs]
        if known := _KNOWN.get(name):
            high = max(known.high, given) if type(given) is int else known.high
            return replace(known, required=known.required and None not in listed, high=high)
        values = [value for value in (given, *listed) if value is not None]
        low = 0 if all(type(value) is int and value >= 0 for value in values) else None
        is_option = name not in self.noted.parameters
        return Param(name, description="meta-parameter of this kernel", low=low, is_option=is_option)

    def _pruned(self) -> tuple[list[Any], str, str]:
        """What its autotuner would time on this problem, what drops the others, and a note if pruning cannot run."""
        autotuner = self.noted.autotuner
        by = " and ".join(name for name in ("early_config_prune", "perf_model") if getattr(autotuner, name, None))
        early = getattr(autotuner, "early_config_prune", None)
        if early is not None and not by:  # only stood in for
            return self._configs, by, f"; its pruning, {early!r}, is not there when the file is loaded alone"
        if autotuner is None:
            return self._configs, by, ""
        arguments = list(self.noted.bound.items())
        held = getattr(autotuner, "nargs", None)
        autotuner.nargs = dict(arguments[: self.noted.positional])
        try:
            with cuda_untouched():
                return list(autotuner.prune_configs(dict(arguments[self.noted.positional :]))), by, ""
        except Exception as error:
            return self._configs, by, f"; its pruning fails here ({type(error).__name__})"
        finally:
            autotuner.nargs = held


@lru_cache(maxsize=16)
def listed_in(file: str, module: str, problem: ChunkScanProblem, _mtime_ns: int) -> Listed:
    """Of the launch that a file's entry makes of a problem. Raises UsageError as `noted` does."""
    return Listed(noted(file, module, problem))
