"""One launch as a program made it: the kernel, what is around it, and its arguments by parameter."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

LAUNCH_OPTIONS = ("num_warps", "num_stages", "num_ctas", "maxnreg")
"""What a config sets besides meta-parameters."""
DEFAULT_OPTIONS = {"num_warps": 4, "num_stages": 3, "num_ctas": 1}
"""What Triton takes for a launch that does not say (`triton.Config`)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A layer around the kernel (an autotuner, heuristics) and what it was called with, grid left out."""

    layer: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def is_autotuner(self) -> bool:
        """Whether the layer chooses a config."""
        return hasattr(self.layer, "configs") and hasattr(self.layer, "prune_configs")

    @property
    def heuristics(self) -> Mapping[str, Callable[..., Any]]:
        """The meta-parameters that the layer computes, in order."""
        return getattr(self.layer, "values", None) or {} if not self.is_autotuner else {}


@dataclass(frozen=True, slots=True)
class Call:
    """A launch: `kernel` is the jitted function itself, `args` and `kwargs` all that it gets, grid left out.

    `frames`: the layers around it, outermost first; `program`: what the program itself passed to the outermost.
    `launch`: launches the kernel again on the same arguments, with the grid or what computes it, or only compiles it.
    """

    kernel: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    grid: Any
    frames: tuple[Frame, ...]
    launch: Callable[..., Any]

    @property
    def program(self) -> Frame:
        """What the program passed."""
        return self.frames[0] if self.frames else Frame(self.kernel, self.args, self.kwargs)

    @property
    def autotuner(self) -> Frame | None:
        """The autotuner around the kernel, if there is one."""
        return next((frame for frame in self.frames if frame.is_autotuner), None)

    @property
    def parameters(self) -> tuple[inspect.Parameter, ...]:
        """The kernel's parameters, in order."""
        return parameters_of(self.kernel.fn)

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(one.name for one in self.parameters)

    @property
    def constexprs(self) -> tuple[str, ...]:
        """The parameters that are constants to the compiler."""
        return tuple(one.name for one in self.parameters if is_constexpr(one))

    @property
    def heuristics(self) -> tuple[tuple[str, Callable[..., Any]], ...]:
        """What computes meta-parameters, in the order of evaluation."""
        return tuple(pair for frame in self.frames for pair in frame.heuristics.items())

    @property
    def chosen(self) -> Mapping[str, Any]:
        """What the autotuner's config set for this launch; nothing without an autotuner."""
        frame = self.autotuner
        best = getattr(frame.layer, "best_config", None) if frame else None
        return set_by(best) if best is not None else {}

    def bound(self) -> dict[str, Any]:
        """Every argument of the kernel by parameter, defaults included."""
        return bound(self.parameters, self.args, self.kwargs)

    def passed(self) -> dict[str, Any]:
        """Every argument that the program passed or left at its default; not what configs or heuristics set."""
        mine = bound(self.parameters, self.program.args, self.program.kwargs)
        others = {name for name, _ in self.heuristics} | {name for one in self.listed() for name in one}
        given = {*self.program.kwargs, *self.names[: len(self.program.args)]}
        return {name: value for name, value in mine.items() if name in given or name not in others}

    def listed(self) -> list[Mapping[str, Any]]:
        """The configs of the autotuner's list, in its order."""
        frame = self.autotuner
        return [set_by(config) for config in frame.layer.configs] if frame else []

    def options(self) -> dict[str, Any]:
        """The launch options that the program passed."""
        return {name: value for name, value in self.program.kwargs.items() if name not in self.names}

    def arguments_with(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Every argument of the kernel, had the autotuner chosen that config."""
        kwargs: dict[str, Any] = {**self.program.kwargs, "grid": self.grid, "warmup": False}
        for frame in self.frames:
            if frame.is_autotuner:
                kwargs.update(config)
            for name, compute in frame.heuristics.items():
                kwargs[name] = compute({**dict(zip(self.names, self.program.args, strict=False)), **kwargs})
        return bound(self.parameters, self.program.args, kwargs)


def set_by(config: Any) -> dict[str, Any]:
    """The meta-parameters and launch options that a `triton.Config` sets; an override of its code is no such thing."""
    return {name: value for name, value in config.all_kwargs().items() if name != "ir_override"}


def inner(kernel: Any) -> Any:
    """The jitted function inside all layers."""
    while not inspect.isfunction(kernel.fn):
        kernel = kernel.fn
    return kernel


def bound(
    parameters: tuple[inspect.Parameter, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments by parameter, in the parameters' order, with the defaults of those that are not passed."""
    passed = {**{one.name: value for one, value in zip(parameters, args, strict=False)}, **kwargs}
    defaults = {one.name: one.default for one in parameters if one.default is not inspect.Parameter.empty}
    known = {**defaults, **passed}
    return {one.name: known[one.name] for one in parameters if one.name in known}


@lru_cache(maxsize=4096)
def parameters_of(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """The parameters of a function, in order."""
    return tuple(inspect.signature(function).parameters.values())


def is_constexpr(parameter: inspect.Parameter) -> bool:
    """Whether a kernel's parameter is a constant to the compiler."""
    annotation = parameter.annotation
    return "constexpr" in (annotation if isinstance(annotation, str) else getattr(annotation, "__name__", ""))


def tensors_in(value: Any) -> Iterator[Any]:
    """The tensors of an argument: itself, those of a tuple, and the one that a descriptor or a wrapper is of."""
    if isinstance(value, tuple):
        for one in value:
            yield from tensors_in(one)
    elif hasattr(value, "data_ptr"):
        yield value
    elif hasattr(value, "base") and hasattr(value, "block_shape"):
        yield value.base
