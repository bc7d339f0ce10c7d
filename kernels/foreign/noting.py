"""The launch that an engine's own Python entry prepares of our inputs, noted instead of made; no GPU is needed."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import torch

from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.foreign.files import ENTRY, KERNEL
from ssdprof.kernels.foreign.layouts import BY_CHUNK, Layout, batched, by_chunk, named, unbatched
from ssdprof.kernels.launch import TensorMeta, TensorRef, dtype_name, layers
from ssdprof.kernels.loading import cuda_untouched, load_module
from ssdprof.kernels.ssd.on_problem import OUTPUT
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.stand_ins import NOT_THERE, StandIn


@dataclass(frozen=True)
class Noted:
    """A launch without its config.

    `autotuner`: None if the kernel has none; `heuristics`: what computes meta-parameters from others, outermost first.
    `bound`: arguments by parameter, tensors on the meta device; `positional`: how many of them came by position.
    `refs`: the tensors among them as a plan has them, by parameter; `tensors`: what they refer to.
    """

    module: ModuleType
    autotuner: Any
    heuristics: list[Any]
    parameters: Mapping[str, inspect.Parameter]
    grid: Any
    bound: Mapping[str, Any]
    positional: int
    options: Mapping[str, Any]
    refs: Mapping[str, TensorRef]
    tensors: Mapping[str, TensorMeta]

    def given(self, name: str) -> Any:
        """A parameter's value without a config: what the entry passes, else the kernel's default, else None."""
        default = self.parameters[name].default if name in self.parameters else None
        return self.bound.get(name, None if default is inspect.Parameter.empty else default)

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every argument by parameter under a config's values, heuristics evaluated, tensors on meta."""
        values = {name: given.get(name, self.given(name)) for name in self.parameters}
        for layer in self.heuristics:
            for name, value_of in layer.values.items():
                values[name] = value_of(dict(values))
        return values

    def grid_of(self, values: Mapping[str, Any]) -> tuple[int, ...]:
        """The grid of a launch with these arguments."""
        grid = self.grid(dict(values)) if callable(self.grid) else self.grid
        return tuple(int(size) for size in (grid if isinstance(grid, (tuple, list)) else (grid,)))


def noted(file: str, module_name: str, problem: ChunkScanProblem) -> Noted:
    """The one launch that the file's entry makes of a problem.

    Raises UsageError if the file cannot be loaded, and if its entry asks for something unknown, cannot be given what
    the problem has, or refuses what it gets.
    """
    try:
        module = load_module(module_name, file)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{file} cannot be loaded: {_said(error)}") from error
    where = f"{ENTRY} of {file}"
    parameters = inspect.signature(getattr(module, ENTRY)).parameters
    refusals = []
    for layout in [by_chunk(problem, where)] if BY_CHUNK in parameters else [batched(problem), unbatched(problem)]:
        arguments = layout.arguments(parameters, where)
        try:
            launches, returned = _launches(module, arguments)
        except UsageError:
            raise
        except Exception as error:
            refusals.append(_said(error))
            continue
        if len(launches) != 1:
            raise UsageError(f"{where} launches {KERNEL} {len(launches)} times instead of once")
        if problem.batch > 1 and layout.values["x"].dim() == 3:
            raise UsageError(f"{where} takes no batch: the problem's must be 1, got {problem.batch}")
        if "out" not in parameters:  # then the first that it returns is our output, if it has its shape
            meta = layout.metas.pop(OUTPUT)
            for out in returned[:1]:
                if tuple(out.shape) in (meta.shape, meta.shape[problem.batch == 1 :]):
                    strides = None if out.is_contiguous() else (out.stride()[0] * out.shape[0], *out.stride())[-4:]
                    layout.metas[OUTPUT] = replace(meta, dtype=dtype_name(out), strides=strides)
                    layout.tensors[OUTPUT] = out
        return _bound(module, launches[0], layout, returned, where)
    raise UsageError(f"{where} refuses these inputs: {refusals[0]}")


class _Recorder:
    """Stands in for the kernel and notes its launches, also those of the kernel inside the autotuner (`fn`)."""

    def __init__(self, kernel: Any) -> None:
        self.launches: list[_Launch] = []
        self._kernel = kernel
        self.fn = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)

    @property
    def best_config(self) -> Any:
        return self._kernel.configs[0]

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        return lambda *args, **kwargs: self.launches.append((grid, args, kwargs))


_Launch = tuple[Any, tuple[Any, ...], dict[str, Any]]


def _launches(module: ModuleType, arguments: Mapping[str, Any]) -> tuple[list[_Launch], list[torch.Tensor]]:
    kernel = getattr(module, KERNEL)
    recorder = _Recorder(kernel)
    setattr(module, KERNEL, recorder)
    try:
        with cuda_untouched():
            return recorder.launches, _tensors(getattr(module, ENTRY)(**arguments))
    finally:
        setattr(module, KERNEL, kernel)


def _bound(module: ModuleType, launch: _Launch, layout: Layout, outputs: list[torch.Tensor], where: str) -> Noted:
    """The launch by the kernel's parameters, its tensors by our names. Raises UsageError if it cannot be made."""
    grid, args, kwargs = launch
    *around, kernel = layers(getattr(module, KERNEL))
    function = getattr(kernel, "fn", None)
    if not inspect.isfunction(function):
        raise UsageError(f"{KERNEL} of {module.__file__} is not a Triton kernel, a function under @triton.jit")
    _check_names(kernel, f"the kernel of {module.__file__}")
    parameters = inspect.signature(function).parameters
    if len(args) > len(parameters):
        raise UsageError(f"{where} passes {len(args)} arguments, and its kernel takes {len(parameters)}")
    bound = dict(zip(parameters, args, strict=False)) | {name: kwargs[name] for name in kwargs if name in parameters}
    bound = {name: value.value if type(value).__name__ == "constexpr" else value for name, value in bound.items()}
    refs = {}
    for name, value in bound.items():
        if not isinstance(value, torch.Tensor):
            _check_plain(name, value, where)
            continue
        ours, returned = named(value, layout.tensors.items()), named(value, ((name, one) for one in outputs))
        if not ours and not returned:
            raise UsageError(f"{where} passes its kernel a tensor that it makes itself, {name}, and does not return")
        if not ours:
            ours = name.removesuffix("_ptr")
            layout.tensors[ours] = value
            layout.metas[ours] = TensorMeta(tuple(value.shape), dtype_name(value), "out", tuple(value.stride()))
        refs[name] = TensorRef(ours, dtype_name(value), int(value.storage_offset()))
    used = {ref.name for ref in refs.values()}
    if OUTPUT not in used:
        raise UsageError(f"{where} neither takes an output nor returns one of the problem's shape")
    options = {name: value for name, value in kwargs.items() if name not in parameters}
    metas = {name: meta for name, meta in layout.metas.items() if name in used}
    heuristics = [layer for layer in around if type(layer).__name__ == "Heuristics"]
    autotuner = next((layer for layer in around if layer not in heuristics), None)
    return Noted(module, autotuner, heuristics, parameters, grid, bound, len(args), options, refs, metas)


def _check_names(kernel: Any, what: str) -> None:
    """Raises UsageError if a kernel, or a function that it calls, uses what is only stood in for."""
    kernels = [kernel]
    for one in kernels:
        for name in one.fn.__code__.co_names:
            value = one.fn.__globals__.get(name)
            if isinstance(value, StandIn):
                raise UsageError(f"{what} uses {value!r}, {NOT_THERE}")
            if inspect.isfunction(getattr(value, "fn", None)) and not any(value is known for known in kernels):
                kernels.append(value)


def _check_plain(name: str, value: Any, where: str) -> None:
    try:
        pickle.dumps(value)  # to hand it to another process
    except Exception:
        passed = f"a {type(value).__name__} as {name}"
        raise UsageError(f"{where} passes its kernel {passed}: ssdprof can pass numbers, text and tensors") from None


def _tensors(returned: Any) -> list[torch.Tensor]:
    if isinstance(returned, (tuple, list)):
        return [tensor for one in returned for tensor in _tensors(one)]
    return [returned] if isinstance(returned, torch.Tensor) else []


def _said(error: Exception) -> str:
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
