"""Launches of a file that differ in their data alone: together one subject, each a set of its inputs; no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssdprof.kernels.captured.as_json import to_json
from ssdprof.kernels.captured.model import Argument, CapturedLaunch, DescriptorArg, DtypeArg, KeptStorage, TensorArg
from ssdprof.kernels.errors import UsageError

if TYPE_CHECKING:
    import torch

_KEPT, _NOT_KEPT = KeptStorage(0, "kept"), KeptStorage(0, "")


class InputSet(dict[str, "torch.Tensor"]):
    """A set of inputs by name, on `device`. `number`: which of the subject's sets it is, counted from 0."""

    def __init__(self, tensors: Mapping[str, torch.Tensor], number: int, device: str) -> None:
        super().__init__(tensors)
        self.number, self.device = number, device


def form(launch: CapturedLaunch) -> str:
    """A hash of what launches alike share: source, arguments, config, grid, and layout and roles of the tensors.

    Not the tensors' data, nor how large a storage is beyond them, nor where, when and how fast the launch ran.
    """
    storages = tuple(_KEPT if storage.before else _NOT_KEPT for storage in launch.storages)
    blank = replace(launch, number=1, in_place_ms=None, spreads={}, notes=(), versions={}, device={})
    shared = replace(blank, storages=storages)
    return hashlib.sha256(to_json(shared)).hexdigest()


def alike(launches: Sequence[CapturedLaunch]) -> tuple[tuple[int, ...], ...]:
    """The numbers of the launches, from 0, those together that are alike; in the order of the first of each."""
    groups: dict[str, list[int]] = {}
    for number, launch in enumerate(launches):
        groups.setdefault(form(launch), []).append(number)
    return tuple(map(tuple, groups.values()))


def distinct(launches: Sequence[CapturedLaunch]) -> tuple[CapturedLaunch, ...]:
    """Of launches alike, the first with each data that they read; all of them if no data was kept."""
    found: dict[tuple[str, ...], CapturedLaunch] = {}
    for launch in launches:
        read = sorted({tensor.storage for tensor in launch.tensors if tensor.role != "out"})
        data = tuple(launch.storages[number].before for number in read)
        found.setdefault((*data, str(len(found))) if "" in data else data, launch)
    return tuple(found.values())


def spreads(launches: Sequence[CapturedLaunch]) -> dict[str, float]:
    """By parameter that is summed by atomics, how far apart equal launches left it: the most of launches alike."""
    names = {name: None for launch in launches for name in launch.spreads}
    return {name: max(launch.spreads.get(name, 0.0) for launch in launches) for name in names}


def partly_written(launches: Sequence[CapturedLaunch]) -> frozenset[int]:
    """The numbers of the tensors that launches alike do not read, and that one of them writes in part alone."""
    tensors = enumerate(launches[0].tensors)
    return frozenset(
        number
        for number, kept in tensors
        if kept.role == "out" and any(one.storages[kept.storage].written for one in launches)
    )


def chosen(launches: Sequence[CapturedLaunch], which: str, path: Path) -> int:
    """The number of the launch that a text names, from 0; of several alike, the first. Raises UsageError.

    The text is a number, a kernel's name, or empty if all are alike.
    """
    firsts = {number: group[0] for group in alike(launches) for number in group}
    different = sorted(set(firsts.values()))
    listed = ", ".join(f"{number + 1} {launches[number].name}" for number in different)
    if not launches:
        raise UsageError(f"{path} has no launch whose data was kept: capture the program again")
    if not which and len(different) == 1:
        return different[0]
    if which.isascii() and which.isdigit() and len(which) < 10 and 1 <= int(which) <= len(launches):
        return firsts[int(which) - 1]
    named = [number for number in different if launches[number].name == which]
    if len(named) == 1:
        return named[0]
    if not which:
        raise UsageError(f"{path} has {len(different)} launches ({listed}): name one as {path.name}:NUMBER")
    many = "more than one launch" if named else "no launch"
    raise UsageError(f"{path} has {many} {which!r}: name one of {listed} by its number")


def names(launches: Sequence[CapturedLaunch]) -> list[str]:
    """A text for each launch, or several alike, that `chosen` takes: the kernel's name, a number if several have it."""
    firsts = [group[0] for group in alike(launches)]
    kernels = [launches[number].name for number in firsts]
    return [name if kernels.count(name) == 1 else str(number + 1) for number, name in zip(firsts, kernels, strict=True)]


def told(sets: Sequence[CapturedLaunch]) -> tuple[dict[str, Any], str]:
    """The arguments of launches alike, each in one JSON value; and a hash of them, the tensors and all their data."""
    launch = sets[0]
    arguments = {name: _shown(value, launch) for name, value in launch.args.items()}
    tensors = [[asdict(one) for one in launch.tensors], [one.before for each in sets for one in each.storages]]
    hashed = hashlib.sha256(json.dumps([arguments, tensors], sort_keys=True).encode())
    return arguments, hashed.hexdigest()[:16]


def _shown(value: Argument, launch: CapturedLaunch) -> Any:
    """An argument in one JSON value."""
    if isinstance(value, (TensorArg, DescriptorArg)):
        kept = launch.tensors[value.index]
        text = f"{kept.dtype}[{','.join(map(str, kept.shape))}]"
        return text if isinstance(value, TensorArg) else f"descriptor of {text}"
    if isinstance(value, DtypeArg):
        return value.name
    if isinstance(value, tuple):
        return [_shown(one, launch) for one in value]
    return value if not isinstance(value, float) else repr(value)
