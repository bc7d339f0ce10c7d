"""Captured kernels whose correct outputs ssdprof knows: the chunk scans of mamba-ssm and of what took it over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ssdprof.kernels.captured.model import CapturedLaunch, TensorArg
from ssdprof.kernels.interface import Tensors

if TYPE_CHECKING:
    import torch

CHUNK_SCAN = "_chunk_scan_fwd_kernel"
NAME = "plain PyTorch's chunk scan, which this kernel was recognised as"
_PTR = "_ptr"
_OURS: Mapping[str, str] = {"prev_states": "states"}
"""Our name of a tensor where it is not the kernel's own in lower case."""
_NEEDED: Mapping[str, int] = {"cb": 5, "x": 4, "dt": 4, "da_cumsum": 4, "c": 4, "states": 5}
"""Dimensions of the tensors that every chunk scan takes, with a batch; vLLM's and SGLang's may come without one."""
_OPTIONAL = ("d", "z", "seq_idx")
_OUTPUTS = ("out", "out_x")


def recognised(launch: CapturedLaunch) -> bool:
    """Whether the plain chunk scan takes all that this launch takes, and gives all that it writes."""
    if launch.name != CHUNK_SCAN or launch.args.get("IS_CAUSAL", True) is not True:
        return False
    given = _tensors(launch)
    known = {*_NEEDED, *_OPTIONAL, *_OUTPUTS}
    written = {name for name, index in given.items() if launch.tensors[index].role != "in"}
    if not set(_NEEDED) <= set(given) <= known or not written or not written <= set(_OUTPUTS):
        return False
    missing = {dims - len(launch.tensors[given[name]].shape) for name, dims in _NEEDED.items()}
    return len(missing) == 1 and missing <= {0, 1}


def reference(launch: CapturedLaunch, tensors: Tensors) -> dict[str, torch.Tensor]:
    """The outputs of a recognised launch by parameter, float32; `tensors` by parameter, as the launch found them."""
    from ssdprof.kernels.ssd.reference import chunk_scan

    by_param = {_ours(name): name for name, value in launch.args.items() if isinstance(value, TensorArg)}
    has_batch = len(launch.tensors[_tensors(launch)["x"]].shape) == _NEEDED["x"]
    inputs = {
        ours: tensors[name] if has_batch or ours == "d" else tensors[name][None]
        for ours, name in by_param.items()
        if ours not in _OUTPUTS
    }
    found = {by_param["out"]: chunk_scan(inputs)}
    if "out_x" in by_param:  # before it is gated
        found[by_param["out_x"]] = chunk_scan({name: one for name, one in inputs.items() if name != "z"})
    return found if has_batch else {name: one[0] for name, one in found.items()}


def _tensors(launch: CapturedLaunch) -> dict[str, int]:
    """The numbers of the launch's tensors by our names."""
    return {_ours(name): value.index for name, value in launch.args.items() if isinstance(value, TensorArg)}


def _ours(parameter: str) -> str:
    name = parameter.removesuffix(_PTR).lower()
    return _OURS.get(name, name)
