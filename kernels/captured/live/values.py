"""A launch's arguments as data: numbers and words as they are, tensors by their place in a list."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ssdprof.kernels.captured.live.calls import DEFAULT_OPTIONS, LAUNCH_OPTIONS, Call
from ssdprof.kernels.captured.model import Argument, Autotune, DescriptorArg, DtypeArg, ListedConfig, TensorArg
from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.launch import DTYPE_BYTES, dtype_name

_STATISTICS_ELEMENTS = 1 << 24
_REINTERPRETED = {"fp8e4nv": torch.float8_e4m3fn, "fp8e5": torch.float8_e5m2, "fp16": torch.float16,
                  "bf16": torch.bfloat16, "fp32": torch.float32, "fp64": torch.float64, "int8": torch.int8,
                  "uint8": torch.uint8, "int16": torch.int16, "int32": torch.int32, "int64": torch.int64,
                  "int1": torch.bool}  # fmt: skip


class CannotKeep(UsageError):  # noqa: N818  # says what became of it
    """A launch that cannot be kept: its text is one line, the reason."""


class Arguments:
    """A launch's arguments as data. `tensors`: those of all arguments, each view once; `used_by`: their parameters."""

    def __init__(self) -> None:
        self.tensors: list[torch.Tensor] = []
        self.used_by: list[list[str]] = []
        self._index: dict[tuple[Any, ...], int] = {}

    def all_of(self, values: Mapping[str, Any]) -> dict[str, Argument]:
        """Arguments by parameter. Raises CannotKeep, naming the parameter."""
        return {name: self._named(name, value) for name, value in values.items()}

    def _named(self, name: str, value: Any) -> Argument:
        try:
            return self._argument(name, value)
        except CannotKeep as error:
            raise CannotKeep(f"{name}: {error}") from None

    def _argument(self, name: str, value: Any) -> Argument:
        if type(value).__name__ == "constexpr":
            value = value.value
        if value is None or type(value) in (bool, int, float, str):
            return value  # type: ignore[no-any-return]
        if type(value) is tuple:
            return tuple(self._argument(name, one) for one in value)
        if hasattr(value, "base") and hasattr(value, "block_shape"):
            return self._descriptor(name, value)
        if hasattr(value, "data_ptr"):
            return TensorArg(self._tensor(name, value))
        if isinstance(value, torch.dtype):
            return DtypeArg(str(value))
        if type(value).__name__ == "dtype" and hasattr(value, "primitive_bitwidth"):
            return DtypeArg(value.name)
        if isinstance(value, (bool, int, float, str)) or (hasattr(value, "item") and hasattr(value, "dtype")):
            value = value.item() if hasattr(value, "item") else value
            return next(kind(value) for kind in (bool, int, float, str) if isinstance(value, kind))
        raise CannotKeep(
            f"an argument of type {type(value).__name__} cannot be kept, only numbers, strings and tensors"
        )

    def _descriptor(self, name: str, value: Any) -> DescriptorArg:
        if getattr(value, "padding", "zero") != "zero" or getattr(value, "round_f32_to_tf32", False):
            raise CannotKeep("a descriptor that pads with NaN or rounds to TF32 cannot be kept, only a plain one")
        if hasattr(value, "layout"):
            raise CannotKeep("a descriptor of Gluon cannot be kept, only one of triton.tools")
        shape, strides, block = (tuple(map(int, one)) for one in (value.shape, value.strides, value.block_shape))
        return DescriptorArg(self._tensor(name, value.base), shape, strides, block)

    def _tensor(self, name: str, value: Any) -> int:
        tensor = as_tensor(value)
        if dtype_name(tensor) not in DTYPE_BYTES:
            raise CannotKeep(f"tensors of dtype {dtype_name(tensor)} cannot be kept, only {', '.join(DTYPE_BYTES)}")
        key: tuple[Any, ...] = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.device)
        if not tensor.numel():
            key = (*key, len(self.tensors))
        index = self._index.setdefault(key, len(self.tensors))
        if index == len(self.tensors):
            self.tensors.append(tensor)
            self.used_by.append([])
        if name not in self.used_by[index]:
            self.used_by[index].append(name)
        return index


def as_tensor(value: Any) -> torch.Tensor:
    """The plain tensor behind an argument: without a gradient, and of the dtype that the kernel sees.

    Raises CannotKeep for one that has no memory of its own, or none on a GPU or the CPU.
    """
    if not isinstance(value, torch.Tensor):
        base, dtype = getattr(value, "base", None), getattr(getattr(value, "dtype", None), "name", "")
        if not isinstance(base, torch.Tensor) or dtype not in _REINTERPRETED:
            raise CannotKeep(
                f"an object with an address, of type {type(value).__name__}, cannot be kept, only a tensor"
            )
        if _REINTERPRETED[dtype].itemsize != base.element_size():
            raise CannotKeep(
                "a tensor reinterpreted with elements of another size cannot be kept, only of the same size"
            )
        value = as_tensor(base).view(_REINTERPRETED[dtype])
    if value.device.type not in ("cuda", "cpu") or hasattr(value, "__tensor_flatten__") or value.is_neg():
        raise CannotKeep(f"a {type(value).__name__} on device {value.device} cannot be kept, only a plain tensor")
    return value.detach()  # type: ignore[no-any-return]


def config_of(call: Call, passed: Mapping[str, Argument], compiled: Any) -> dict[str, Any]:
    """The meta-parameters and launch options that a launch ran with, as plain values."""
    if call.autotuner:
        return plain(call.chosen)
    names = [name for name in call.constexprs if type(passed.get(name)) is int]
    options = dict(DEFAULT_OPTIONS)
    metadata = getattr(compiled, "metadata", None)
    for name in LAUNCH_OPTIONS:
        value = call.kwargs.get(name, getattr(metadata, name, None))
        if value is not None:
            options[name] = value
    return plain({**{name: passed[name] for name in names}, **options})


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name, of which none may have a tensor. Raises CannotKeep, naming one that is no plain value."""
    arguments = Arguments()
    kept = arguments.all_of(values)
    if arguments.tensors:
        raise CannotKeep(f"{arguments.used_by[0][0]}: a tensor cannot be kept as an option, only as an argument")
    return kept


def autotune_of(call: Call) -> tuple[Autotune | None, list[str]]:
    """The autotuner's list, and notes on what of it could not be kept."""
    frame = call.autotuner
    if frame is None:
        return None, []
    layer, notes = frame.layer, []
    try:
        left = [id(config) for config in layer.prune_configs({**frame.kwargs, "grid": call.grid, "warmup": False})]
    except Exception as error:
        left = [id(config) for config in layer.configs]
        notes.append(f"what the autotuner leaves out is not known: {type(error).__name__}")
    configs = []
    for config, values in zip(layer.configs, call.listed(), strict=True):
        try:
            configs.append(ListedConfig(plain(values), id(config) not in left))
        except CannotKeep as error:  # noqa: PERF203
            notes.append(f"a config of the autotuner's list is left out: {error}")
    hooked = sum(getattr(config, "pre_hook", None) is not None for config in layer.configs)
    if hooked:
        notes.append(f"{hooked} configs of its list have a pre_hook: tensors are kept as the chosen one's left them")
    return Autotune(
        tuple(configs),
        tuple(getattr(layer, "keys", None) or ()),
        tuple(getattr(layer, "reset_to_zero", None) or ()),
        tuple(getattr(layer, "restore_value", None) or ()),
    ), notes


def grids_of(call: Call) -> tuple[tuple[Mapping[str, Any], tuple[int, ...]], ...]:
    """The grid for each config of the autotuner's list, as the program computes it; none if it is numbers."""
    if not callable(call.grid):
        return ()
    grids = []
    for config in call.listed():
        try:
            grids.append((plain(config), whole(call.grid(call.arguments_with(config)))))
        except Exception:  # noqa: S112, PERF203  # a config that the function cannot take is none that can be launched
            continue
    return tuple(grids)


def whole(grid: Iterable[Any]) -> tuple[int, ...]:
    """A grid as whole numbers."""
    return tuple(int(size) for size in ((grid,) if isinstance(grid, int) else grid))


def statistics_line(index: int, name: str, tensor: torch.Tensor) -> str:
    """A note on a tensor's values: least, greatest, and of floats also mean, deviation and the share of NaN."""
    is_float = tensor.dtype.is_floating_point
    nans, lows, highs, sums, squares, numbers = 0, [], [], 0.0, 0.0, 0
    flat = tensor.reshape(-1)
    for first in range(0, flat.numel(), _STATISTICS_ELEMENTS):
        part = flat[first : first + _STATISTICS_ELEMENTS]
        part = part.double() if is_float else part.long()
        if is_float:
            is_nan = part.isnan()
            nans += int(is_nan.sum())
            part = part[~is_nan]
            sums, squares = sums + float(part.sum()), squares + float(part.square().sum())
        if part.numel():
            numbers += part.numel()
            lows.append(part.min().item())
            highs.append(part.max().item())
    facts: dict[str, Any] = {"tensor": index, "name": name}
    if is_float and tensor.numel():
        facts["nan_share"] = nans / tensor.numel()
    if numbers:
        facts |= {"min": min(lows), "max": max(highs)}
    if numbers and is_float:
        mean = sums / numbers
        variance = squares / numbers - mean * mean
        facts |= {"mean": mean, "std": math.sqrt(max(variance, 0.0)) if math.isfinite(variance) else variance}
    finite = {key: value for key, value in facts.items() if not isinstance(value, float) or math.isfinite(value)}
    return f"data: {json.dumps(finite)}"
