"""Shapes in a few words, of a launch in the program and of one that was kept; no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ssdprof.kernels.captured.live.calls import tensors_in
from ssdprof.kernels.captured.model import CapturedLaunch, DescriptorArg, TensorArg

_SHORT = (("bfloat", "bf"), ("float8_", "fp8_"), ("float", "f"), ("uint", "u"), ("int", "i"))


def shapes_text(values: Mapping[str, Any]) -> str:
    """The tensors among arguments by parameter: `x[1, 50000, 8192] bf16, y[8192] f32`."""
    return _text((name, one.shape, one.dtype) for name, value in values.items() for one in tensors_in(value))


def kept_shapes(launch: CapturedLaunch) -> str:
    """The same text, of a launch that was kept."""
    tensors = launch.tensors
    return _text(
        (name, tensors[index].shape, tensors[index].dtype)
        for name in launch.parameters
        for index in _indices(launch.args.get(name))
    )


def _indices(argument: Any) -> Iterator[int]:
    if isinstance(argument, tuple):
        for one in argument:
            yield from _indices(one)
    elif isinstance(argument, (TensorArg, DescriptorArg)):
        yield argument.index


def _text(parts: Iterable[tuple[str, Iterable[Any], Any]]) -> str:
    return ", ".join(
        f"{name}[{', '.join(str(int(one)) for one in shape)}] {_short(dtype)}" for name, shape, dtype in parts
    )


def _short(dtype: Any) -> str:
    """`bf16` for `torch.bfloat16`, and so on."""
    name = str(dtype).removeprefix("torch.")
    for long, short in _SHORT:
        if name.startswith(long):
            return short + name.removeprefix(long)
    return name
