"""The launch of a captured kernel under any config: its arguments, heuristics evaluated anew, and its grid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from ssdprof.kernels.captured.model import Argument, CapturedLaunch, DescriptorArg, DtypeArg, KeptTensor, TensorArg
from ssdprof.kernels.captured.params import OPTIONS
from ssdprof.kernels.captured.source.load import Loaded, load, source_file
from ssdprof.kernels.config import Config, ParamTable
from ssdprof.kernels.errors import ConfigError, UsageError, first_line
from ssdprof.kernels.launch import DescriptorRef, LaunchPlan, TensorRef

_OPTION_NAMES = {param.name for param in OPTIONS}


class Launching:
    """Makes plans of one captured launch. Its source runs when a plan or a grid is asked for, not before.

    `names`: the tensors by the first parameter that has them.
    """

    def __init__(self, launch: CapturedLaunch, params: ParamTable) -> None:
        self.launch, self.params = launch, params
        self.names: dict[str, int] = {}
        for name in launch.parameters:
            value = launch.args.get(name)
            if isinstance(value, (TensorArg, DescriptorArg)) and value.index not in self.names.values():
                self.names[name] = value.index
        self._grids: dict[Config, tuple[int, ...]] = {}

    def plan(self, config: Config) -> LaunchPlan:
        """The launch of a config. Raises ConfigError if its grid is not known."""
        values = self._values(config)
        launch = self.launch
        args = {name: self._passed(launch.args[name]) if name in launch.args else values[name] for name in values}
        args |= {name: value for name, value in self._set(config).items() if name in values}
        args |= {name: values[name] for name, _ in launch.sources.heuristics}
        given = {name: value for name, value in config.values if value is not None and name not in values}
        module, file = source_file(launch.sources)
        options = {name: value for name, value in launch.options.items() if name not in _OPTION_NAMES}
        return LaunchPlan(module, launch.sources.kernel.name, self.grid(config), args, {**options, **given}, file)

    def grid(self, config: Config) -> tuple[int, ...]:
        """The grid of a config. Raises ConfigError if it is not known."""
        if config not in self._grids:
            self._grids[config] = self._grid(config)
        return self._grids[config]

    def grid_remark(self, configs: Sequence[Config]) -> str:
        """What to say of the grids of these configs; empty if the program's own function gives them."""
        sources = self.launch.sources
        if sources.grid is not None:
            return ""
        if sources.grid_absent:
            return f"the program's grid function could not be kept ({sources.grid_absent}): other configs cannot run"
        if {self._meta(config) for config in configs} <= {self._meta(self.params.example or configs[0])}:
            return ""
        return (
            "the program gave its grid as plain numbers, so every config is launched with that grid: one that needs "
            "another does too much or too little, and the check of its output tells the latter"
        )

    @cached_property
    def _loaded(self) -> Loaded:
        return load(self.launch.sources)

    def _set(self, config: Config) -> dict[str, Any]:
        """The values of a config by parameter of the kernel; what is not set is left out."""
        return {name: value for name, value in config.values if value is not None and name in self.launch.parameters}

    def _meta(self, config: Config) -> tuple[tuple[str, Any], ...]:
        return tuple((name, value) for name, value in config.values if name not in _OPTION_NAMES)

    def _values(self, config: Config) -> dict[str, Any]:
        """Every argument by parameter, tensors on the meta device. Raises ConfigError where a heuristic fails."""
        launch, chosen = self.launch, self._set(config)
        known = {name: self._seen(value) for name, value in launch.args.items()}
        values = {name: chosen.get(name, known.get(name)) for name in launch.parameters}
        for name, value_of in self._heuristics():
            if name not in chosen:
                try:
                    values[name] = value_of(dict(values))
                except Exception as error:
                    said = first_line(f"{type(error).__name__}: {error}", 120)
                    raise ConfigError(f"the heuristic of {name} fails under this config: {said}") from None
        return values

    def _heuristics(self) -> Sequence[tuple[str, Any]]:
        return self._loaded.heuristics if self.launch.sources.heuristics else ()

    def _grid(self, config: Config) -> tuple[int, ...]:
        launch = self.launch
        if launch.sources.grid is not None:
            grid = self._loaded.grid
            assert grid is not None, "the sources have it"
            options = {name: value for name, value in config.values if name in _OPTION_NAMES and value is not None}
            try:
                found = grid({**self._values(config), **options})
                sizes = tuple(int(size) for size in (found if isinstance(found, (tuple, list)) else (found,)))
            except ConfigError:
                raise
            except Exception as error:
                said = first_line(f"{type(error).__name__}: {error}", 120)
                raise ConfigError(f"the program's grid function fails under this config: {said}") from None
            if not all(size > 0 for size in sizes):
                raise ConfigError(f"the program's grid function gives {sizes} under this config")
            return sizes
        if not launch.sources.grid_absent:
            return launch.grid
        defaults = {param.name: param.default for param in self.params}
        for values, sizes in ((launch.config, launch.grid), *launch.grids):
            asked = {**defaults, **values}
            if all(config[name] == asked[name] for name in self._meta_names):
                return sizes
        raise ConfigError(
            f"the grid of this config is not known, since the program's grid function could not be kept "
            f"({launch.sources.grid_absent}): take a config of the kernel's own list, or other launch options alone"
        )

    @cached_property
    def _meta_names(self) -> frozenset[str]:
        return frozenset(param.name for param in self.params if param.name not in _OPTION_NAMES)

    def _seen(self, value: Argument) -> Any:
        """An argument as a heuristic or a grid function sees it: a tensor without data."""
        if isinstance(value, (TensorArg, DescriptorArg)):
            return meta_tensor(self.launch.tensors[value.index])
        return self._passed(value)

    def _passed(self, value: Argument) -> Any:
        """An argument as a plan has it."""
        if isinstance(value, TensorArg):
            return TensorRef(self._name_of(value.index), self.launch.tensors[value.index].dtype)
        if isinstance(value, DescriptorArg):
            dtype = self.launch.tensors[value.index].dtype
            name = self._name_of(value.index)
            return DescriptorRef(name, dtype, value.shape, value.strides, value.block, is_optional=False)
        if isinstance(value, DtypeArg):
            return dtype_of(value)
        if isinstance(value, tuple):
            return tuple(self._passed(one) for one in value)
        return value

    def _name_of(self, index: int) -> str:
        names = [name for name, one in self.names.items() if one == index]
        if not names:
            raise UsageError(f"{self.launch.name} takes a tensor inside a tuple, which ssdprof cannot launch yet")
        return names[0]


def meta_tensor(kept: KeptTensor) -> Any:
    """A tensor without data."""
    import torch

    return torch.empty_strided(kept.shape, kept.strides, dtype=getattr(torch, kept.dtype), device="meta")


def dtype_of(value: DtypeArg) -> Any:
    """The dtype itself: torch's or Triton's."""
    if value.name.startswith("torch."):
        import torch

        return getattr(torch, value.name.removeprefix("torch."))
    import triton.language as tl

    return tl.dtype(value.name)
